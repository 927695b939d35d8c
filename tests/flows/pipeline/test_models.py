"""What a model is: told from its recipe and the settings of its run."""

from pathlib import Path
from typing import Any

import pytest

from taskdistill.configs.experiment import Experiment
from taskdistill.configs.models import Backbone
from taskdistill.flows.pipeline.chain import CONTROL, STUDENT, chain
from taskdistill.flows.pipeline.models import TEACHER, facts_of, remark_on
from taskdistill.flows.pipeline.running import experiment_settings_of
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from tests.flows.conftest import Done, call
from tests.flows.scored import commit
from tests.untrained import commit_model


@pytest.fixture
def teacher(store: ArtifactStore, with_finetuned_teacher: Experiment) -> ArtifactRef:
    settings = experiment_settings_of(with_finetuned_teacher)
    return commit_model(store, with_finetuned_teacher.teacher, "ab", settings=settings)


def test_a_finetuned_teacher_is_told_from_the_finetuned_student(
    store: ArtifactStore, teacher: ArtifactRef, with_finetuned_teacher: Experiment
) -> None:
    settings = experiment_settings_of(with_finetuned_teacher)
    student = commit_model(store, with_finetuned_teacher.student, "ab", settings=settings)
    assert facts_of(store.manifest(teacher)).role == TEACHER
    assert facts_of(store.manifest(student)).role == CONTROL
    assert remark_on(store, student) == []


def test_a_teacher_that_is_taken_for_a_student_is_remarked_upon(
    store: ArtifactStore, teacher: ArtifactRef, tmp_path: Path
) -> None:
    assert "is the finetuned teacher (test_vit), no student" in call(store, "label", "birds", str(teacher)).stdout
    (tmp_path / "in").mkdir()
    assert "teacher finetuned" in call(store, "list", "model").stdout


def test_where_teacher_and_student_are_one_network_their_settings_tell(
    store: ArtifactStore, with_finetuned_teacher: Experiment
) -> None:
    alike = with_finetuned_teacher.model_copy(update={"student": with_finetuned_teacher.teacher})
    model = commit_model(store, Backbone(**dict(alike.student)), "ab", settings=experiment_settings_of(alike))
    assert facts_of(store.manifest(model)).role == CONTROL  # its recipe is not that of the teacher


@pytest.mark.parametrize("kind", ["blends", "unlabelled"])
def test_a_student_that_learnt_from_images_without_labels_has_one_name_in_tables_and_in_lists(
    store: ArtifactStore, experiment: Experiment, kind: Any
) -> None:
    asked = experiment.model_copy(update={"synthetic_images": kind})
    inputs, settings = {"synthetic": commit(store, "image-set", {})}, experiment_settings_of(asked)
    model = commit_model(store, asked.student, "ab", stage="distill", inputs=inputs, settings=settings)
    assert facts_of(store.manifest(model)).role == f"student distilled +{kind}" == chain(asked).models[-1].model


def test_list_and_show_tell_network_preset_seed_temperature_alpha_and_scores(
    finished: ArtifactStore, first_run: tuple[Path, Done], experiment: Experiment
) -> None:
    rows = call(finished, "list", "model", "--json").json["artifacts"]
    by_role = {row["role"]: row for row in rows}
    assert by_role.keys() == {STUDENT, CONTROL}
    row = by_role[STUDENT]
    assert (row["network"], row["preset"], row["seed"]) == ("test_resnet", "shapes", 0)
    assert (row["temperature"], row["alpha"]) == (experiment.distill.temperature, experiment.distill.alpha)
    assert by_role[CONTROL]["alpha"] is None
    scored = {
        (one["model"], one["split"]): one["value"] for one in first_run[1].json["scores"] if one["metric"] == "top1"
    }
    for split in ("val", "test"):
        assert row["scores"][split]["value"] == scored[STUDENT, split]
    shown = call(finished, "show", row["reference"]).stdout
    assert "role student distilled; network test_resnet; preset shapes; seed 0" in shown
    assert "top-1" in shown
    assert "test_resnet" in call(finished, "list", "model").stdout


def test_a_label_is_removed_and_what_it_named_stays(finished: ArtifactStore) -> None:
    model = finished.references("model")[0]
    call(finished, "label", "birds", str(model))
    assert call(finished, "label", "bird", "--remove").stderr.startswith(
        "error: there is no label 'bird'; did you mean"
    )
    done = call(finished, "label", "birds", "--remove")
    assert f"removed the label birds, which was {model.short}" in done.stdout
    assert finished.labels() == {}
    assert model in finished
    assert "name what 'birds' is to mean" in call(finished, "label", "birds").stderr
