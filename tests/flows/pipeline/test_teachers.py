"""Several teachers as one: their steps, what is refused before any work, and a run with two of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from taskdistill.configs.errors import SettingsError
from taskdistill.configs.experiment import Experiment
from taskdistill.configs.models import Backbone, Teacher
from taskdistill.flows.pipeline.chain import Chain, chain
from taskdistill.flows.pipeline.graph import Source
from taskdistill.flows.pipeline.model_trials import ModelTrials
from taskdistill.flows.pipeline.planning import make_plan
from taskdistill.flows.pipeline.running import run_plan
from taskdistill.flows.reports.remarks import remarks
from taskdistill.flows.reports.results import score_markdown, score_rows
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.view_outputs import ViewOutputs
from taskdistill.storage.weights import write_tensors
from taskdistill.tasks.models.encoder import ModelError
from taskdistill.tasks.prechecks.timm_names import UnknownModelError
from tests.conftest import Bench
from tests.flows.conftest import quietly, when_made
from tests.flows.pipeline.test_chain import PROBED, SYNTHETIC

RESNET = Teacher(name="test_resnet", weights="random", input_px=32, seed=3)
RESEEDED = Teacher(name="test_resnet", weights="random", input_px=32, seed=4)


def inputs(graph: Chain) -> dict[str, dict[str, Source]]:
    return {step.name: dict(step.inputs) for step in graph.steps}


def with_teachers(experiment: Experiment, *more: Backbone, **update: Any) -> Experiment:
    return experiment.model_copy(update={"more_teachers": more, **update})


def test_further_teachers_have_numbered_steps_and_one_that_joins_them_all() -> None:
    graph = chain(Experiment(more_teachers=(RESNET, RESEEDED)))
    more = ["extract-teacher2", "probe-teacher2", "precompute2", "extract-teacher3", "probe-teacher3", "precompute3"]
    evaluations = ["evaluate-teacher", "evaluate-teacher1", "evaluate-teacher2", "evaluate-teacher3"]
    expected = [*PROBED[:4], *more, "combine", *evaluations, *PROBED[5:]]
    assert [step.name for step in graph.steps] == expected
    asked = inputs(graph)
    assert asked["precompute2"] == {"features": "extract-teacher2", "probe": "probe-teacher2"}
    assert asked["combine"] == {"logits": "precompute", "logits2": "precompute2", "logits3": "precompute3"}


def test_students_learn_from_the_joined_teacher_and_are_compared_with_it() -> None:
    asked = inputs(chain(Experiment(more_teachers=(RESNET,)), synthetic=SYNTHETIC))
    assert asked["combine-synthetic"] == {"logits": "precompute-synthetic", "logits2": "precompute2-synthetic"}
    assert asked["precompute2-synthetic"] == {"features": "extract-teacher2-synthetic", "probe": "probe-teacher2"}
    assert asked["select"]["logits"] == asked["distill-synthetic-seed0"]["synthetic_logits"] == "combine-synthetic"
    assert asked["distill-seed0"]["logits"] == "combine"
    assert asked["evaluate-distilled-seed0"]["teacher"] == asked["evaluate-student-probed"]["teacher"] == "combine"
    assert asked["evaluate-teacher"] == {"images": "ingest", "logits": "combine"}
    assert asked["evaluate-teacher2"] == {"images": "ingest", "logits": "precompute2"}


def test_the_table_shows_the_joined_teacher_and_each_single_one_by_name() -> None:
    teacher = Teacher(name="test_vit")
    models = [model.model for model in chain(Experiment(teacher=teacher, more_teachers=(RESNET, RESEEDED))).models]
    assert models[:5] == [
        "teacher probed", "teacher probed: test_vit", "teacher probed: test_resnet (2)",
        "teacher probed: test_resnet (3)", "student probed",
    ]  # fmt: skip


@pytest.mark.parametrize("cache", ["features", "logits"])
def test_every_step_of_several_teachers_reads_the_kinds_that_its_stage_takes(cache: str) -> None:
    experiment = Experiment.model_validate({"more_teachers": [RESNET, RESEEDED], "teacher_cache": cache})
    made: dict[Source, ArtifactRef] = {SYNTHETIC: SYNTHETIC}
    for step in chain(experiment, synthetic=SYNTHETIC).steps:
        step.stage.recipe(step.config, {role: made[source] for role, source in step.inputs.items()}, {})
        made[step.name] = ArtifactRef(step.stage.output, step.name)


def test_what_is_averaged_is_a_setting_that_reaches_the_step() -> None:
    graph = chain(Experiment(more_teachers=(RESNET,), teachers_mean="probabilities"))
    (config,) = [step.config for step in graph.steps if step.name == "combine"]
    assert config.identity() == {"mean_of": "probabilities"}


# --- what is refused before any work -------------------------------------------------------------------------------


def test_of_three_teachers_the_one_that_timm_has_not_is_named_by_its_setting(
    experiment: Experiment, store: ArtifactStore
) -> None:
    unknown = Teacher(name="test_vot", weights="random", input_px=48)
    with pytest.raises(UnknownModelError, match=r"^more_teachers\[1\]: timm has no model 'test_vot'; did you mean"):
        make_plan(with_teachers(experiment, RESNET, unknown), store)


def test_of_three_teachers_the_one_whose_file_is_missing_is_named_by_its_setting(
    experiment: Experiment, store: ArtifactStore
) -> None:
    absent = Teacher(name="test_vit", weights="file", file="/nowhere/vit.safetensors", input_px=48)
    with pytest.raises(SettingsError, match=r"more_teachers\[1\]\.file is '/nowhere/vit.safetensors', which does not"):
        make_plan(with_teachers(experiment, RESNET, absent), store)


def test_of_three_teachers_the_one_whose_weights_do_not_fit_is_named_before_any_image_is_read(
    experiment: Experiment, store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskdistill.tasks.models.fitting_names.SEARCH_SECONDS", 0.1)
    write_tensors(tmp_path / "w.safetensors", {"a": np.zeros(3, np.float32)})
    broken = Teacher(name="test_vit", weights="file", file=str(tmp_path / "w.safetensors"), input_px=48)
    asked = with_teachers(experiment, RESNET, broken)
    with pytest.raises(ModelError, match=r"^more_teachers\[1\]: .*do not fit"):
        run_plan(asked, store, quietly(asked, store))
    assert not store.drafts()


def test_a_further_teacher_that_lacks_what_the_probe_wants_is_named(
    experiment: Experiment, store: ArtifactStore
) -> None:
    asked = with_teachers(experiment, RESNET, probe=experiment.probe.model_copy(update={"inputs": ("last4",)}))
    with pytest.raises(ModelError, match=r"^more_teachers\[0\]: probe.inputs asks for \['last4'\], but test_resnet"):
        ModelTrials().check(make_plan(asked, store))


def test_the_same_weights_in_two_files_are_the_same_teacher_twice(
    experiment: Experiment, store: ArtifactStore, tmp_path: Path
) -> None:
    teachers = []
    for name in ("a", "b"):
        write_tensors(tmp_path / f"{name}.safetensors", {"a": np.zeros(3, np.float32)})
        file = str(tmp_path / f"{name}.safetensors")
        teachers.append(Teacher(name="test_vit", weights="file", file=file, input_px=48))
    with pytest.raises(SettingsError, match="names the same network twice, from files with the same weights"):
        make_plan(with_teachers(experiment, *teachers), store)


# --- a whole run ---------------------------------------------------------------------------------------------------


def test_a_run_with_two_teachers_distils_from_their_mean_and_keeps_what_one_alone_has_made(
    experiment: Experiment, bench: Bench
) -> None:
    store, asked = bench.store, with_teachers(experiment, RESNET)
    before = when_made(store)
    planned = {step.name: step for step in make_plan(asked, store).steps}
    todo = [planned[name].action for name in ("precompute", "extract-teacher2", "combine")]
    assert todo == ["have", "build", "build"]
    results, stages = run_plan(asked, store, quietly(asked, store))
    made = {stage["name"]: ArtifactRef.parse(stage["reference"]) for stage in stages}
    assert made["precompute"] == bench.logits
    assert when_made(store).items() >= before.items()
    assert store.manifest(made["distill-seed0"]).input_refs["logits"] == made["combine"]
    test = [row["model"] for row in score_rows(results, store) if row["split"] == "test" and row["metric"] == "top1"]
    assert test == [
        "teacher probed", "teacher probed: test_vit", "teacher probed: test_resnet", "student probed",
        "student finetuned", "student distilled",
    ]  # fmt: skip
    assert "| teacher probed: test_resnet | test |" in score_markdown(results, store, "shapes")
    assert all(isinstance(remark, str) for remark in remarks(results, store))
    said_NK = ViewOutputs(store.path(made["combine"])).view(1).astype(np.float64)
    np.testing.assert_allclose(np.exp(said_NK).sum(1), 1, atol=2e-3)
    assert make_plan(asked, store).is_complete
    # 24 training images in 2 views and 24 others in one: 3 classes of 2 bytes, and 100 for how each view was cut.
    assert planned["combine"].num_bytes == (24 * 2 + 24) * (2 * 3 + 100)


@pytest.mark.slow
def test_a_run_with_two_teachers_and_blends_chooses_and_learns_by_their_mean(
    with_blends: Experiment, bench: Bench
) -> None:
    asked = with_teachers(with_blends, RESNET, teachers_mean="probabilities")
    _, stages = run_plan(asked, bench.store, quietly(asked, bench.store))
    made = {stage["name"]: ArtifactRef.parse(stage["reference"]) for stage in stages}
    for step, role in (("select", "logits"), ("distill-synthetic-seed0", "synthetic_logits")):
        assert bench.store.manifest(made[step]).input_refs[role] == made["combine-synthetic"]


@pytest.mark.slow
def test_two_teachers_whose_features_are_not_cached_are_joined_too(experiment: Experiment, bench: Bench) -> None:
    asked = with_teachers(experiment, RESNET, teacher_cache="logits")
    _, stages = run_plan(asked, bench.store, quietly(asked, bench.store))
    made = {stage["name"]: ArtifactRef.parse(stage["reference"]) for stage in stages}
    assert not {"extract-teacher", "extract-teacher2"} & made.keys()
    joined = {"logits": made["precompute"], "logits2": made["precompute2"]}
    assert bench.store.manifest(made["combine"]).input_refs == joined
