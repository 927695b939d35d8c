"""The pipeline, written once, as data: steps, each of which reads artifacts of the store or what other steps make.

No import of Prefect or torch, and nothing is run here: `flows.pipeline.planning` names the artifacts,
`flows.pipeline.scheduling` does whatever is ready.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from configs.experiment import Experiment
from flows.pipeline.graph import ShownSet, Source, Step, Steps
from flows.pipeline.teachers import (
    REAL,
    SYNTHETIC,
    Teacher,
    finetuned_teacher,
    probed,
    probed_logits,
    probed_teacher,
    student_network,
)
from storage.manifest import ArtifactRef
from tasks.catalog import (
    DISTILL,
    EMBED,
    EVALUATE,
    EVALUATE_TEACHER,
    FINETUNE,
    GENERATE,
    INGEST,
    SELECT,
    TUNE_DISTILL,
    TUNE_FINETUNE,
)

START = "student probed"
"""What every student starts from, in the final table: its pretrained backbone with a probe."""

CONTROL = "student finetuned"
"""What every claim of distillation is measured against: the same student, trained on the labels alone."""


class ModelSteps(NamedTuple):
    """The steps that make and evaluate one model of the final table."""

    model: str
    seed: int | None
    evaluation: str
    artifact: str


class Chain(NamedTuple):
    """All steps of an experiment, each after those it reads from, and what its final table shows."""

    steps: list[Step]
    models: list[ModelSteps]


@dataclass(frozen=True)
class ModelResult:
    """One model of the final table."""

    model: str
    seed: int | None
    evaluation: ArtifactRef
    artifact: ArtifactRef


def chain(experiment: Experiment, *, synthetic: ArtifactRef | None = None) -> Chain:
    """Return every step of an experiment and the models it evaluates.

    The student's own probe is one of them: what training adds is the difference to it. Where there are synthetic
    images, one more student is distilled, on real and synthetic ones; the student without them is its control.
    `synthetic` is an image-set without labels that takes the place of generated ones.
    """
    steps = Steps(experiment)
    images = steps.add("ingest", INGEST, experiment.data, {})
    blends = synthetic or (_blends(steps, images) if experiment.synthetic_images == "blends" else None)
    sets = {REAL: ShownSet(images, "augmented")}
    if blends:
        # Select wants the clean view too. A set of training images alone, as blends are, is shown it anyway; nothing
        # says that of images that were given.
        sets[SYNTHETIC] = ShownSet(blends, "both" if synthetic else "augmented")
    teach = {"probed": probed_teacher, "finetuned": finetuned_teacher}[experiment.teacher_training]
    teacher = teach(steps, sets)
    logits = teacher.logits
    models = _evaluated_teachers(steps, images, teacher)

    extra: dict[str, Source] = {}
    if blends:
        extra = {"synthetic": blends, "synthetic_logits": logits[SYNTHETIC]}
        scored: dict[str, Source] = {"synthetic": blends, "logits": logits[SYNTHETIC]}
        extra["selection"] = steps.add("select", SELECT, experiment.select_config(), scored)
    student_probe, evaluated = _probed_student(steps, images, logits[REAL])
    models.append(ModelSteps(START, None, evaluated, student_probe))
    start = {"images": images, "probe": student_probe}
    chosen = _chosen_settings(steps, start, logits[REAL])
    for seed in experiment.seeds:
        for name, model in _students(steps, seed, start, logits[REAL], extra, chosen).items():
            inputs = {"images": images, "model": model, "teacher": logits[REAL]}
            step = f"evaluate-{name.removeprefix('+')}-seed{seed}"
            evaluated = steps.add(step, EVALUATE, experiment.evaluate_config(), inputs)
            models.append(ModelSteps(f"student {name}", seed, evaluated, model))
    return Chain(steps.all, models)


def _evaluated_teachers(steps: Steps, images: str, teacher: Teacher) -> list[ModelSteps]:
    """Score what teaches, and where it is the mean of several teachers, each of them too."""
    config, models = steps.experiment.evaluate_cached_config(), []
    for number, one in enumerate((teacher, *teacher.members)):
        inputs = {"images": images, "logits": one.logits[REAL]}
        evaluated = steps.add(f"evaluate-teacher{number or ''}", EVALUATE_TEACHER, config, inputs)
        models.append(ModelSteps(one.model, None, evaluated, one.artifact))
    return models


def _blends(steps: Steps, images: str) -> str:
    """Paint synthetic images from pairs of training images."""
    embeddings = steps.add("embed", EMBED, steps.experiment.embed_config(), {"images": images})
    inputs = {"images": images, "embeddings": embeddings}
    return steps.add("generate", GENERATE, steps.experiment.generate_config(), inputs)


class ChosenSettings(NamedTuple):
    """The input of each arm that names the settings chosen for it; none where they are not chosen."""

    finetune: Mapping[str, Source] = {}
    distill: Mapping[str, Source] = {}


def _chosen_settings(steps: Steps, start: Mapping[str, Source], logits: str) -> ChosenSettings:
    """Choose the settings of both arms, once for all seeds, on real images alone."""
    experiment = steps.experiment
    if experiment.tuning.search == "none":
        return ChosenSettings()
    finetune = steps.add("tune-finetune", TUNE_FINETUNE, experiment.tune_finetune_config(), start)
    taught = {**start, "logits": logits}
    distill = steps.add("tune-distill", TUNE_DISTILL, experiment.tune_distill_config(), taught)
    return ChosenSettings({"settings": finetune}, {"settings": distill})


def _students(
    steps: Steps,
    seed: int,
    start: Mapping[str, Source],
    logits: str,
    extra: Mapping[str, Source],
    chosen: ChosenSettings,
) -> dict[str, str]:
    """Train the students of one seed: without a teacher, with one, and with synthetic images where there are any."""
    experiment = steps.experiment
    config, taught = experiment.distill_config(seed), {**start, "logits": logits, **chosen.distill}
    control = {**start, **chosen.finetune}
    students = {
        "finetuned": steps.add(f"finetune-seed{seed}", FINETUNE, experiment.finetune_config(seed), control),
        "distilled": steps.add(f"distill-seed{seed}", DISTILL, config, taught),
    }
    if extra:
        students["+synthetic"] = steps.add(f"distill-synthetic-seed{seed}", DISTILL, config, {**taught, **extra})
    return students


def _probed_student(steps: Steps, images: str, teacher: str) -> tuple[str, str]:
    """Make the probe that students start from, and score it as they are scored; returns probe and evaluation."""
    network = student_network(steps.experiment)
    made = probed(steps, network, images)
    logits = probed_logits(steps, "precompute-student", network, made, ShownSet(images, "clean"))
    inputs = {"images": images, "logits": logits, "teacher": teacher}
    config = steps.experiment.evaluate_cached_config()
    return made.probe, steps.add("evaluate-student-probed", EVALUATE_TEACHER, config, inputs)
