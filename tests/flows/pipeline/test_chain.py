"""The chain names every step once, in an order in which each finds its inputs; nothing is run here."""

from collections.abc import Mapping
from typing import Any

import pytest

from configs.base import StageConfig
from configs.experiment import Experiment
from configs.generation import GeneratorModel
from flows.pipeline.chain import chain
from storage.manifest import ArtifactRef
from tasks.stage import Stage

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


class Notebook:
    """A `run` that writes down what it is asked and answers with a reference named after the step."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.inputs: dict[str, dict[str, str]] = {}
        self.unknown: list[str] = []
        self._made = {SYNTHETIC}

    def __call__(
        self, step: str, stage: Stage[Any], config: StageConfig, inputs: Mapping[str, ArtifactRef]
    ) -> ArtifactRef:
        stage.recipe(config, inputs, {})  # refuses inputs of other roles or kinds
        self.unknown += [f"{step}: {role}" for role, ref in inputs.items() if ref not in self._made]
        self.steps.append(step)
        self.inputs[step] = {role: ref.fingerprint for role, ref in inputs.items()}
        self._made.add(ref := ArtifactRef(stage.output, step))
        return ref


@pytest.fixture
def notebook() -> Notebook:
    return Notebook()


def test_a_probed_teacher_needs_these_steps_in_this_order(notebook: Notebook) -> None:
    chain(Experiment(), notebook)
    assert notebook.steps == PROBED


def test_a_finetuned_teacher_is_trained_before_it_is_asked(notebook: Notebook) -> None:
    chain(Experiment(teacher_training="finetuned"), notebook)
    assert notebook.steps == FINETUNED
    assert notebook.inputs["precompute"] == {"images": "ingest", "model": "finetune-teacher"}


@pytest.mark.parametrize("teacher_training", ["probed", "finetuned"])
@pytest.mark.parametrize("synthetic", [None, SYNTHETIC])
def test_every_step_comes_once_and_after_its_inputs(
    notebook: Notebook, teacher_training: Any, synthetic: ArtifactRef | None
) -> None:
    chain(Experiment(teacher_training=teacher_training, seeds=(0, 1, 7)), notebook, synthetic=synthetic)
    assert notebook.unknown == []
    assert len(set(notebook.steps)) == len(notebook.steps)


def test_each_seed_trains_and_evaluates_a_finetuned_and_a_distilled_student(notebook: Notebook) -> None:
    results = chain(Experiment(seeds=(3, 5)), notebook)
    assert [(result.model, result.seed, result.evaluation.fingerprint) for result in results] == [
        ("teacher probed", None, "evaluate-teacher"),
        ("student probed", None, "evaluate-student-probed"),
        ("student finetuned", 3, "evaluate-finetuned-seed3"),
        ("student distilled", 3, "evaluate-distilled-seed3"),
        ("student finetuned", 5, "evaluate-finetuned-seed5"),
        ("student distilled", 5, "evaluate-distilled-seed5"),
    ]


def test_finetuned_and_distilled_student_start_from_the_same_probe(notebook: Notebook) -> None:
    chain(Experiment(), notebook)
    assert notebook.inputs["finetune-seed0"] == {"images": "ingest", "probe": "probe-student"}
    assert notebook.inputs["distill-seed0"] == {"images": "ingest", "probe": "probe-student", "logits": "precompute"}


@pytest.mark.parametrize("teacher_training", ["probed", "finetuned"])
def test_the_probe_that_students_start_from_is_scored_beside_them_on_the_same_images(
    notebook: Notebook, teacher_training: Any
) -> None:
    results = chain(Experiment(teacher_training=teacher_training, seeds=(1, 2)), notebook, synthetic=SYNTHETIC)
    assert [result.model for result in results][:5] == [
        f"teacher {teacher_training}", "student probed", "student finetuned", "student distilled", "student +synthetic",
    ]  # fmt: skip
    assert results[1].artifact.fingerprint == "probe-student"
    assert notebook.inputs["precompute-student"] == {"features": "extract-student", "probe": "probe-student"}
    asked = {"images": "ingest", "logits": "precompute-student", "teacher": "precompute"}
    assert notebook.inputs["evaluate-student-probed"] == asked


def test_synthetic_images_reach_one_more_student_with_their_logits_and_nobody_else(notebook: Notebook) -> None:
    results = chain(Experiment(), notebook, synthetic=SYNTHETIC)
    users = [step for step, inputs in notebook.inputs.items() if "blends" in inputs.values()]
    assert users == ["extract-teacher-synthetic", "select", "distill-synthetic-seed0"]
    asked = notebook.inputs["precompute-synthetic"]
    assert asked == {"features": "extract-teacher-synthetic", "probe": "probe-teacher"}
    control, shown = notebook.inputs["distill-seed0"], notebook.inputs["distill-synthetic-seed0"]
    assert shown.items() - control.items() == {
        ("synthetic", "blends"), ("synthetic_logits", "precompute-synthetic"), ("selection", "select"),
    }  # fmt: skip
    assert [result.model for result in results][-2:] == ["student distilled", "student +synthetic"]


def test_blends_are_painted_from_the_real_images_before_the_teacher_is_asked(notebook: Notebook) -> None:
    chain(Experiment(synthetic_images="blends", generator=GeneratorModel(folder="mixer")), notebook)
    assert notebook.steps[:3] == ["ingest", "embed", "generate"]
    assert notebook.inputs["generate"] == {"images": "ingest", "embeddings": "embed"}
    assert notebook.inputs["distill-synthetic-seed0"]["synthetic"] == "generate"
    assert notebook.unknown == []


def test_a_given_set_takes_the_place_of_blends(notebook: Notebook) -> None:
    experiment = Experiment(synthetic_images="blends", generator=GeneratorModel(folder="mixer"))
    chain(experiment, notebook, synthetic=SYNTHETIC)
    assert "generate" not in notebook.steps
