"""Label-free images and foreign teachers in a pipeline: steps, what is refused before any work, and whole runs."""

from pathlib import Path
from typing import Any

import pytest

from taskdistill.configs.data import UnlabelledConfig
from taskdistill.configs.errors import SettingsError
from taskdistill.configs.experiment import Experiment
from taskdistill.configs.foreign import ForeignTeacher
from taskdistill.configs.loading import validated
from taskdistill.flows.pipeline.chain import Chain, chain
from taskdistill.flows.pipeline.dataset_words import dataset_words
from taskdistill.flows.pipeline.graph import Source
from taskdistill.flows.pipeline.model_trials import ModelTrials
from taskdistill.flows.pipeline.planning import make_plan
from taskdistill.flows.pipeline.running import run_plan
from taskdistill.flows.reports.results import score_rows
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.summaries import ModelSummary
from taskdistill.tasks.data.candidates import DatasetError
from taskdistill.tasks.models.encoder import ModelError
from tests.conftest import Bench
from tests.fakes import draw_shape
from tests.flows.conftest import quietly
from tests.flows.pipeline.test_chain import PROBED

FOREIGN = ForeignTeacher(function="tests.foreign_nets:build", mean=(0.0,) * 3, std=(1.0,) * 3, input_px=32)
UNLABELLED = Experiment(synthetic_images="unlabelled", unlabelled=UnlabelledConfig(path="photographs"))
BY_FOREIGN = Experiment(teacher_training="foreign", foreign_teacher=FOREIGN)


def inputs(graph: Chain) -> dict[str, dict[str, Source]]:
    return {step.name: dict(step.inputs) for step in graph.steps}


def names(graph: Chain) -> list[str]:
    return [step.name for step in graph.steps]


# --- steps ---------------------------------------------------------------------------------------------------------


def test_unlabelled_images_play_the_part_of_blends_in_steps_named_after_them() -> None:
    graph = chain(UNLABELLED)
    more = {name for name in names(graph) if name not in PROBED}
    assert more == {
        "ingest-unlabelled", "extract-teacher-unlabelled", "precompute-unlabelled", "select",
        "distill-unlabelled-seed0", "evaluate-unlabelled-seed0",
    }  # fmt: skip
    asked = inputs(graph)
    assert asked["ingest-unlabelled"] == {"images": "ingest"}
    assert asked["distill-unlabelled-seed0"].items() - asked["distill-seed0"].items() == {
        ("synthetic", "ingest-unlabelled"), ("synthetic_logits", "precompute-unlabelled"), ("selection", "select"),
    }  # fmt: skip
    assert graph.models[-1].model == "student distilled +unlabelled"


@pytest.mark.parametrize("settings", [{}, {"teacher_cache": "logits"}, {"teacher_training": "finetuned"},
                                      {"more_teachers": [{"name": "resnet50"}]},
                                      {"teacher_training": "foreign", "foreign_teacher": FOREIGN}])  # fmt: skip
def test_every_step_reads_the_kinds_that_its_stage_takes(settings: dict[str, Any]) -> None:
    experiment = Experiment.model_validate({"synthetic_images": "unlabelled", **settings})
    made: dict[Source, ArtifactRef] = {}
    for step in chain(experiment).steps:
        step.stage.recipe(step.config, {role: made[source] for role, source in step.inputs.items()}, {})
        made[step.name] = ArtifactRef(step.stage.output, step.name)


def test_a_foreign_teacher_has_no_probe_and_is_shown_the_images_once() -> None:
    graph = chain(BY_FOREIGN.model_copy(update={"synthetic_images": "unlabelled"}))
    assert names(graph)[:5] == [
        "ingest", "ingest-unlabelled", "precompute", "precompute-unlabelled", "evaluate-teacher",
    ]  # fmt: skip
    assert inputs(graph)["precompute"] == {"images": "ingest"}
    assert inputs(graph)["precompute-unlabelled"] == {"images": "ingest-unlabelled", "labelled": "ingest"}
    assert graph.models[0].model == "teacher foreign"


# --- what is refused before any work -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"teacher_training": "foreign"}, "needs foreign_teacher.function, which says where the network is"),
        ({"teacher_training": "foreign", "foreign_teacher": {"source": "mmseg"}},
         "needs foreign_teacher.config_file and foreign_teacher.weights"),
        ({"teacher_training": "foreign", "foreign_teacher": {"function": "nothing"}}, "expected module:function"),
        ({"teacher_training": "foreign", "foreign_teacher": {"function": "a:b"}}, "does not say how it wants"),
        ({"teacher_training": "foreign", "foreign_teacher": FOREIGN, "more_teachers": [{"name": "resnet50"}]},
         "more_teachers is for probed teachers, and teacher_training is 'foreign'"),
        ({"teacher_training": "foreign", "foreign_teacher": FOREIGN, "teacher_calibration": "temperature"},
         "teacher_calibration 'temperature' is for a probed teacher"),
        ({"synthetic_images": "unlabelled", "select": {"drop": ["parent-copy"]}},
         "names parent-copy, but the set of unlabelled images was not made by 'generate'"),
        ({"synthetic_images": "unlabelled", "distill": {"alpha": 0}}, r"distill\.alpha is 0"),
    ],
)  # fmt: skip
def test_settings_that_do_not_go_together_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        validated(settings, "the settings")


def test_a_module_that_is_not_there_is_known_to_the_plan(experiment: Experiment, store: ArtifactStore) -> None:
    absent = FOREIGN.model_copy(update={"function": "nowhere:build"})
    with pytest.raises(SettingsError, match=r"foreign_teacher\.function is '.*/nowhere\.py', which does not exist"):
        make_plan(experiment.model_copy(update={"teacher_training": "foreign", "foreign_teacher": absent}), store)


def test_a_folder_without_pictures_is_known_to_the_plan(
    experiment: Experiment, store: ArtifactStore, tmp_path: Path
) -> None:
    empty = {"synthetic_images": "unlabelled", "unlabelled": UnlabelledConfig(path=str(tmp_path))}
    with pytest.raises(DatasetError, match="holds no pictures"):
        make_plan(experiment.model_copy(update=empty), store)


def test_a_foreign_teacher_that_answers_otherwise_is_known_before_any_image_is_read(
    experiment: Experiment, store: ArtifactStore
) -> None:
    wrong = FOREIGN.model_copy(update={"function": "tests.foreign_nets:build_map"})
    asked = experiment.model_copy(update={"teacher_training": "foreign", "foreign_teacher": wrong})
    with pytest.raises(ModelError, match="this problem wants logits"):
        ModelTrials().check(make_plan(asked, store))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"label_map": {"disc": "circle"}}, r"label_map leads to \['circle'\], which are no classes of the task"),
        ({"classes": ("disc", "frame")}, "has 3 outputs and 2 names for them: set foreign_teacher.classes"),
        ({"classes": ("a", "b", "c")}, "no class of the foreign teacher has the name of a class of the task"),
    ],
)
def test_a_foreign_teacher_whose_classes_do_not_fit_is_known_before_any_image_is_read(
    experiment: Experiment, store: ArtifactStore, changed: Any, message: str
) -> None:
    wrong = FOREIGN.model_copy(update=changed)
    asked = experiment.model_copy(update={"teacher_training": "foreign", "foreign_teacher": wrong})
    plan = make_plan(asked, store)
    assert plan.has_untried_teacher
    with pytest.raises(ModelError, match=message):
        ModelTrials().check(plan)


def test_classes_that_a_foreign_teacher_does_not_know_are_said_before_any_image_is_read(
    experiment: Experiment, store: ArtifactStore, caplog: pytest.LogCaptureFixture
) -> None:
    partial = FOREIGN.model_copy(update={"label_map": {"disc": "disc", "frame": "frame"}})
    asked = experiment.model_copy(update={"teacher_training": "foreign", "foreign_teacher": partial})
    ModelTrials().check(make_plan(asked, store))
    assert "no class of the foreign teacher becomes 'wedge'" in caplog.text


# --- runs ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Twelve pictures without labels."""
    (tmp_path / "photographs").mkdir()
    for number in range(12):
        draw_shape(("disc", "frame", "wedge")[number % 3], 9000 + number).save(tmp_path / f"photographs/{number}.png")
    return tmp_path / "photographs"


def test_a_plan_counts_unlabelled_images_beside_the_dataset(
    experiment: Experiment, bench: Bench, photographs: Path
) -> None:
    asked = {"synthetic_images": "unlabelled", "unlabelled": UnlabelledConfig(path=str(photographs))}
    plan = make_plan(experiment.model_copy(update=asked), bench.store)
    assert [dataset_words(dataset)[0] for dataset in plan.datasets] == [
        "48 images of 3 classes: train 24, val 12, test 12", "12 images without labels",
    ]  # fmt: skip
    steps = {step.name: step for step in plan.steps}
    assert [tuple(part) for part in steps["extract-teacher-unlabelled"].shown] == [(12, 3)]
    assert steps["distill-unlabelled-seed0"].num_steps == steps["distill-seed0"].num_steps


@pytest.mark.parametrize("teacher_training", ["probed", "foreign"])
def test_a_run_with_unlabelled_images_shows_one_more_student_beside_its_control(
    experiment: Experiment, bench: Bench, photographs: Path, teacher_training: Any
) -> None:
    asked = {
        "synthetic_images": "unlabelled", "unlabelled": UnlabelledConfig(path=str(photographs)),
        "teacher_training": teacher_training, "foreign_teacher": FOREIGN,
    }  # fmt: skip
    whole = experiment.model_copy(update=asked)
    results, _ = run_plan(whole, bench.store, quietly(whole, bench.store))
    assert list(dict.fromkeys(row["model"] for row in score_rows(results, bench.store))) == [
        f"teacher {teacher_training}", "student probed", "student finetuned", "student distilled",
        "student distilled +unlabelled",
    ]  # fmt: skip
    student = ModelSummary.of(bench.store.manifest(results[-1].artifact))
    assert student.synthetic_images == 12
    again, redone = run_plan(whole, bench.store, quietly(whole, bench.store))
    assert again == results
    assert {stage["action"] for stage in redone} == {"have"}
    assert make_plan(whole, bench.store).datasets[1].splits == {"train": 12}
