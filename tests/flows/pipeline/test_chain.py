"""The chain names every step once, in an order in which each finds its inputs; nothing is run here."""

from typing import Any

import pytest

from taskdistill.configs.experiment import Experiment
from taskdistill.configs.generation import GeneratorModel
from taskdistill.configs.stages import ProbeSettings
from taskdistill.configs.tuning import TuningSettings
from taskdistill.flows.pipeline.chain import Chain, ModelSteps, chain
from taskdistill.flows.pipeline.graph import Source
from taskdistill.storage.manifest import ArtifactRef

SYNTHETIC = ArtifactRef("image-set", "blends")

PROBED = [
    "ingest", "extract-teacher", "probe-teacher", "precompute", "evaluate-teacher", "extract-student", "probe-student",
    "precompute-student", "evaluate-student-probed", "finetune-seed0", "distill-seed0", "evaluate-finetuned-seed0",
    "evaluate-distilled-seed0",
]  # fmt: skip
FINETUNED = [
    "ingest", "extract-teacher", "probe-teacher", "finetune-teacher", "precompute", "evaluate-teacher",
    "extract-student", "probe-student", "precompute-student", "evaluate-student-probed", "finetune-seed0",
    "distill-seed0", "evaluate-finetuned-seed0", "evaluate-distilled-seed0",
]  # fmt: skip


def names(graph: Chain) -> list[str]:
    return [step.name for step in graph.steps]


def inputs(graph: Chain) -> dict[str, dict[str, Source]]:
    """What each step reads, by role."""
    return {step.name: dict(step.inputs) for step in graph.steps}


def test_a_probed_teacher_needs_these_steps_in_this_order() -> None:
    graph = chain(Experiment())
    assert names(graph) == PROBED


def test_a_finetuned_teacher_is_trained_before_it_is_asked() -> None:
    graph = chain(Experiment(teacher_training="finetuned"))
    assert names(graph) == FINETUNED
    assert inputs(graph)["precompute"] == {"images": "ingest", "model": "finetune-teacher"}


@pytest.mark.parametrize("teacher_training", ["probed", "finetuned"])
@pytest.mark.parametrize("synthetic", [None, SYNTHETIC])
def test_every_step_comes_once_and_after_its_inputs(teacher_training: Any, synthetic: ArtifactRef | None) -> None:
    graph = chain(Experiment(teacher_training=teacher_training, seeds=(0, 1, 7)), synthetic=synthetic)
    known: set[Source] = {SYNTHETIC} if synthetic else set()
    for step in graph.steps:
        assert known >= set(step.inputs.values()), step.name
        assert step.name not in known
        known.add(step.name)


@pytest.mark.parametrize("teacher_training", ["probed", "finetuned"])
def test_every_step_reads_the_kinds_that_its_stage_takes(teacher_training: Any) -> None:
    graph = chain(Experiment(teacher_training=teacher_training), synthetic=SYNTHETIC)
    made: dict[Source, ArtifactRef] = {SYNTHETIC: SYNTHETIC}
    made |= {step.name: ArtifactRef(step.stage.output, step.name) for step in graph.steps}
    for step in graph.steps:  # a recipe refuses inputs of other roles or kinds
        step.stage.recipe(step.config, {role: made[source] for role, source in step.inputs.items()}, {})


def test_each_seed_trains_and_evaluates_a_finetuned_and_a_distilled_student() -> None:
    graph = chain(Experiment(seeds=(3, 5)))
    assert [(model.model, model.seed, model.evaluation) for model in graph.models] == [
        ("teacher probed", None, "evaluate-teacher"),
        ("student probed", None, "evaluate-student-probed"),
        ("student finetuned", 3, "evaluate-finetuned-seed3"),
        ("student distilled", 3, "evaluate-distilled-seed3"),
        ("student finetuned", 5, "evaluate-finetuned-seed5"),
        ("student distilled", 5, "evaluate-distilled-seed5"),
    ]


def test_finetuned_and_distilled_student_start_from_the_same_probe() -> None:
    graph = chain(Experiment())
    assert inputs(graph)["finetune-seed0"] == {"images": "ingest", "probe": "probe-student"}
    assert inputs(graph)["distill-seed0"] == {"images": "ingest", "probe": "probe-student", "logits": "precompute"}


@pytest.mark.parametrize("teacher_training", ["probed", "finetuned"])
def test_the_probe_that_students_start_from_is_scored_beside_them_on_the_same_images(teacher_training: Any) -> None:
    graph = chain(Experiment(teacher_training=teacher_training, seeds=(1, 2)), synthetic=SYNTHETIC)
    assert [model.model for model in graph.models][:5] == [
        f"teacher {teacher_training}", "student probed", "student finetuned", "student distilled",
        "student distilled +given images",
    ]  # fmt: skip
    assert graph.models[1] == ModelSteps("student probed", None, "evaluate-student-probed", "probe-student")
    assert inputs(graph)["precompute-student"] == {"features": "extract-student", "probe": "probe-student"}
    asked = {"images": "ingest", "logits": "precompute-student", "teacher": "precompute"}
    assert inputs(graph)["evaluate-student-probed"] == asked


def test_synthetic_images_reach_one_more_student_with_their_logits_and_nobody_else() -> None:
    graph = chain(Experiment(), synthetic=SYNTHETIC)
    users = [step.name for step in graph.steps if SYNTHETIC in step.inputs.values()]
    assert users == ["extract-teacher-synthetic", "select", "distill-synthetic-seed0"]
    asked = inputs(graph)["precompute-synthetic"]
    assert asked == {"features": "extract-teacher-synthetic", "probe": "probe-teacher"}
    control, shown = inputs(graph)["distill-seed0"], inputs(graph)["distill-synthetic-seed0"]
    assert shown.items() - control.items() == {
        ("synthetic", SYNTHETIC), ("synthetic_logits", "precompute-synthetic"), ("selection", "select"),
    }  # fmt: skip
    assert [model.model for model in graph.models][-2:] == ["student distilled", "student distilled +given images"]


def test_logits_that_ask_for_more_read_the_images_too_and_the_student_and_its_probe_are_left_as_they_are() -> None:
    experiment = Experiment.model_validate(
        {"teacher_logits": "out-of-fold", "teacher_calibration": "temperature", "probe": {"folds": 5}}
    )
    graph, plain = chain(experiment, synthetic=SYNTHETIC), chain(Experiment(), synthetic=SYNTHETIC)
    changed = {
        name: given.items() - inputs(plain)[name].items()
        for name, given in inputs(graph).items()
        if given != inputs(plain)[name]
    }
    # A synthetic image is in no fold, and no label is known of it: its logits are divided as the real ones were.
    assert changed == {"precompute": {("images", "ingest")}, "precompute-synthetic": {("calibrated", "precompute")}}
    before = {step.name: step.config for step in plain.steps}
    others = {step.name for step in graph.steps if step.config != before[step.name]}
    assert others == {"probe-teacher", "precompute", "precompute-synthetic"}


def test_blends_are_painted_from_the_real_images_before_the_teacher_is_asked() -> None:
    graph = chain(Experiment(synthetic_images="blends", generator=GeneratorModel(folder="mixer")))
    assert names(graph)[:3] == ["ingest", "embed", "generate"]
    assert inputs(graph)["generate"] == {"images": "ingest", "embeddings": "embed"}
    assert inputs(graph)["distill-synthetic-seed0"]["synthetic"] == "generate"


def test_a_given_set_takes_the_place_of_blends() -> None:
    experiment = Experiment(synthetic_images="blends", generator=GeneratorModel(folder="mixer"))
    graph = chain(experiment, synthetic=SYNTHETIC)
    assert "generate" not in names(graph)


def configs_of(graph: Chain) -> dict[str, Any]:
    return {step.name: step.config for step in graph.steps}


TUNED = Experiment(tuning=TuningSettings(search="halving"))


def test_settings_are_chosen_once_for_all_seeds_and_arms() -> None:
    graph = chain(TUNED.model_copy(update={"seeds": (3, 5)}), synthetic=SYNTHETIC)
    read = {name: given["settings"] for name, given in inputs(graph).items() if "settings" in given}
    assert read == {
        "finetune-seed3": "tune-finetune", "distill-seed3": "tune-distill", "distill-synthetic-seed3": "tune-distill",
        "finetune-seed5": "tune-finetune", "distill-seed5": "tune-distill", "distill-synthetic-seed5": "tune-distill",
    }  # fmt: skip


def test_settings_are_chosen_on_real_images_from_where_the_students_start() -> None:
    found = inputs(chain(TUNED, synthetic=SYNTHETIC))
    assert found["tune-finetune"] == {"images": "ingest", "probe": "probe-student"}
    assert found["tune-distill"] == {"images": "ingest", "probe": "probe-student", "logits": "precompute"}


def test_the_teachers_finetuning_is_not_tuned() -> None:
    found = inputs(chain(TUNED.model_copy(update={"teacher_training": "finetuned"})))
    assert "settings" not in found["finetune-teacher"]


def test_both_arms_are_tuned_with_the_same_budget_and_learning_rates() -> None:
    configs = configs_of(chain(TUNED))
    assert configs["tune-finetune"].tuning == configs["tune-distill"].tuning == TUNED.tuning
    assert configs["tune-finetune"].training == configs["tune-distill"].training == TUNED.training


def test_the_students_probe_has_the_folds_that_settings_are_chosen_on_and_the_teachers_has_not() -> None:
    configs = configs_of(chain(TUNED))
    assert (configs["probe-student"].probe.folds, configs["probe-teacher"].probe.folds) == (3, 0)


def test_a_probe_without_cached_features_has_no_folds() -> None:
    configs = configs_of(chain(TUNED.model_copy(update={"teacher_cache": "logits"})))
    assert configs["probe-student"].probe.folds == 0


def test_folds_that_the_user_asked_the_students_probe_for_stay() -> None:
    asked = TUNED.model_copy(update={"student_probe": ProbeSettings(folds=5)})
    configs = configs_of(chain(asked))
    assert configs["probe-student"].probe.folds == 5


def test_without_tuning_no_recipe_changes() -> None:
    off = Experiment(tuning=TuningSettings(budget=0.1, folds=9, seed=4))
    assert [step.config.identity() for step in chain(off).steps] == [
        step.config.identity() for step in chain(Experiment()).steps
    ]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"teacher_cache": "logits"},
        {"teacher_training": "finetuned"},
        {"more_teachers": [{"name": "vit_base_patch14_dinov2.lvd142m"}]},
    ],
    ids=["probed", "probed from images", "finetuned", "several"],
)
def test_logits_in_one_byte_are_the_teachers_alone_and_ask_for_no_other_input(settings: dict[str, Any]) -> None:
    plain = chain(Experiment.model_validate(settings), synthetic=SYNTHETIC)
    graph = chain(Experiment.model_validate(settings | {"logits": "int8"}), synthetic=SYNTHETIC)
    assert inputs(graph) == inputs(plain)
    kept = {
        step.name: step.config.identity().get("logits", "fp16") for step in graph.steps if step.stage.output == "logits"
    }
    assert kept == {name: "fp16" if name == "precompute-student" else "int8" for name in kept}
    assert {"precompute", "precompute-synthetic", "precompute-student"} <= kept.keys()
    assert all("logits" not in step.config.identity() for step in plain.steps)


def in_windows(**settings: Any) -> Chain:
    found = {
        "problem": "segmentation", "data": {"form": "masks"}, "teacher_cache": "logits",
        "teacher": {"clean_view": "whole"}, "student": {"clean_view": "whole"}, "probe": {"optimizer": "adamw"},
        "student_probe": {"optimizer": "adamw"}, "windows": {"show": "sliding"},
    }  # fmt: skip
    return chain(Experiment.model_validate(found | settings))


@pytest.mark.parametrize(
    ("training", "stage", "inputs"),
    [
        ("probed", "evaluate-probed", {"images": "ingest", "probe": "probe-teacher"}),
        ("finetuned", "evaluate", {"images": "ingest", "model": "finetune-teacher"}),
        ("foreign", "evaluate-teacher", {"images": "ingest", "logits": "precompute"}),
    ],
)
def test_models_are_shown_the_windows_that_are_asked_for_and_what_is_only_cached_is_not(
    training: str, stage: str, inputs: dict[str, str]
) -> None:
    foreign = {"function": "nets:build", "pixels": "uint8", "clean_view": "whole"}
    steps = {step.name: step for step in in_windows(teacher_training=training, foreign_teacher=foreign).steps}
    teacher, student = steps["evaluate-teacher"], steps["evaluate-student-probed"]
    assert (teacher.stage.name, teacher.inputs) == (stage, inputs)
    assert student.stage.name == "evaluate-probed"
    assert student.inputs == {"images": "ingest", "probe": "probe-student", "teacher": "precompute"}
    assert "precompute-student" not in steps
    show = {name: step.config.windows.show for name, step in steps.items() if name.startswith("evaluate")}
    by_view = {"evaluate-teacher"} if training == "foreign" else set()
    assert show == {name: "clean" if name in by_view else "sliding" for name in show}
