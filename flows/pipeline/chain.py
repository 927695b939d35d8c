"""The pipeline, written once, as data: steps, each of which reads artifacts of the store or what other steps make.

No import of Prefect or torch, and nothing is run here: `flows.pipeline.planning` names the artifacts,
`flows.pipeline.scheduling` does whatever is ready.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from taskdistill.configs.choices import nearest
from taskdistill.configs.errors import SettingsError
from taskdistill.configs.experiment import Experiment
from taskdistill.flows.pipeline.evaluations import (
    evaluated_logits,
    evaluated_model,
    evaluated_probe,
    evaluated_teacher,
    shows_windows,
)
from taskdistill.flows.pipeline.graph import ShownSet, Source, Step, Steps
from taskdistill.flows.pipeline.teachers import (
    REAL,
    SYNTHETIC,
    UNLABELLED,
    Teacher,
    finetuned_teacher,
    foreign_teacher,
    probed,
    probed_logits,
    probed_teacher,
    student_network,
)
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.tasks.catalog import (
    DISTILL,
    EMBED,
    FINETUNE,
    GENERATE,
    INGEST,
    INGEST_UNLABELLED,
    SELECT,
    TUNE_DISTILL,
    TUNE_FINETUNE,
)

START = "student probed"
"""What every student starts from, in the final table: its pretrained backbone with a probe."""

CONTROL = "student finetuned"
"""What every claim of distillation is measured against: the same student, trained on the labels alone."""

STUDENT = "student distilled"
"""The one that learns from the teacher on labelled images alone."""
_MORE = {"none": "given images", "blends": "blends", "unlabelled": "unlabelled"}
"""Value of synthetic_images -> what one more student is distilled with; with none of them an image-set was given."""


def student_with(synthetic_images: str) -> str:
    """Return the name of the student that is distilled with images without labels, by the setting for them."""
    return f"{STUDENT} +{_MORE[synthetic_images]}"


_TEACHERS = {"probed": probed_teacher, "finetuned": finetuned_teacher, "foreign": foreign_teacher}


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

    The student's own probe is one of them: what training adds is the difference to it. Where there are images without
    labels, synthetic or not, one more student is distilled, with them; the student without them is its control.
    `synthetic` is an image-set without labels that takes the place of generated ones.
    """
    steps = Steps(experiment)
    images = steps.add("ingest", INGEST, experiment.data, {})
    sets = {REAL: ShownSet(images, "augmented")}
    more = _without_labels(steps, images, synthetic)
    if more:
        sets[more.end] = more.shown
    teacher = _TEACHERS[experiment.teacher_training](steps, sets)
    logits = teacher.logits
    models = _evaluated_teachers(steps, images, teacher)

    extra = _extra_images(steps, more, logits) if more else None
    student_probe, evaluated = _probed_student(steps, images, logits[REAL])
    models.append(ModelSteps(START, None, evaluated, student_probe))
    start = {"images": images, "probe": student_probe}
    chosen = _chosen_settings(steps, start, logits[REAL])
    for seed in experiment.seeds:
        for name, (model, end) in _students(steps, seed, start, logits[REAL], extra, chosen).items():
            inputs = {"images": images, "model": model, "teacher": logits[REAL]}
            evaluated = evaluated_model(steps, f"evaluate-{end}-seed{seed}", inputs)
            models.append(ModelSteps(name, seed, evaluated, model))
    return Chain(steps.all, models)


def ended(graph: Chain, name: str) -> Chain:
    """Return the part of a chain that ends with the step of this name; SettingsError where there is no such step."""
    steps = {step.name: step for step in graph.steps}
    if name not in steps:
        raise SettingsError(f"until: there is no step {name!r}{nearest(name, steps)}")
    needed = {name}
    for step in reversed(graph.steps):  # those that read come after those that are read
        if step.name in needed:
            needed |= {source for source in step.inputs.values() if isinstance(source, str)}
    models = [model for model in graph.models if {model.evaluation, model.artifact} <= needed]
    return Chain([step for step in graph.steps if step.name in needed], models)


def _evaluated_teachers(steps: Steps, images: str, teacher: Teacher) -> list[ModelSteps]:
    """Score what teaches, and where it is the mean of several teachers, each of them too."""
    models = []
    for number, one in enumerate((teacher, *teacher.members)):
        evaluated = evaluated_teacher(steps, f"evaluate-teacher{number or ''}", images, one, one.logits[REAL])
        models.append(ModelSteps(one.model, None, evaluated, one.artifact))
    return models


class LabelFree(NamedTuple):
    """Images without labels that one more student is shown."""

    end: str
    """Of the names of their steps (`flows.pipeline.teachers`)."""
    shown: ShownSet


def _without_labels(steps: Steps, images: str, given: ArtifactRef | None) -> LabelFree | None:
    """Return the images without labels that the settings ask for, or those that were given in their place."""
    # Select wants the clean view too. A set of training images alone, as blends and unlabelled images are, is shown it
    # anyway; nothing says that of images that were given.
    if given:
        return LabelFree(SYNTHETIC, ShownSet(given, "both"))
    match steps.experiment.synthetic_images:
        case "blends":
            return LabelFree(SYNTHETIC, ShownSet(_blends(steps, images), "augmented"))
        case "unlabelled":
            made = steps.add("ingest-unlabelled", INGEST_UNLABELLED, steps.experiment.unlabelled, {"images": images})
            return LabelFree(UNLABELLED, ShownSet(made, "augmented"))
    return None


class Extra(NamedTuple):
    """What one more student is given."""

    end: str
    inputs: Mapping[str, Source]


def _extra_images(steps: Steps, more: LabelFree, logits: Mapping[str, str]) -> Extra:
    scored: dict[str, Source] = {"synthetic": more.shown.images, "logits": logits[more.end]}
    selection = steps.add("select", SELECT, steps.experiment.select_config(), scored)
    inputs = {"synthetic": more.shown.images, "synthetic_logits": logits[more.end], "selection": selection}
    return Extra(more.end, inputs)


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
    extra: Extra | None,
    chosen: ChosenSettings,
) -> dict[str, tuple[str, str]]:
    """Train the students of one seed: without a teacher, with one, and with more images where there are any.

    Returns of each, by its name in tables, its step, and what names of steps call it.
    """
    experiment = steps.experiment
    config, taught = experiment.distill_config(seed), {**start, "logits": logits, **chosen.distill}
    control = {**start, **chosen.finetune}
    students = {
        CONTROL: (steps.add(f"finetune-seed{seed}", FINETUNE, experiment.finetune_config(seed), control), "finetuned"),
        STUDENT: (steps.add(f"distill-seed{seed}", DISTILL, config, taught), "distilled"),
    }
    if extra:
        name, inputs = f"distill{extra.end}-seed{seed}", {**taught, **extra.inputs}
        made = steps.add(name, DISTILL, config, inputs)
        students[student_with(experiment.synthetic_images)] = made, extra.end.removeprefix("-")
    return students


def _probed_student(steps: Steps, images: str, teacher: str) -> tuple[str, str]:
    """Make the probe that students start from, and score it as they are scored; returns probe and evaluation."""
    network = student_network(steps.experiment)
    made, name = probed(steps, network, images), "evaluate-student-probed"
    inputs = {"images": images, "teacher": teacher}
    if shows_windows(steps):
        return made.probe, evaluated_probe(steps, name, network.backbone, {**inputs, "probe": made.probe})
    logits = probed_logits(steps, "precompute-student", network, made, ShownSet(images, "clean"))
    return made.probe, evaluated_logits(steps, name, {**inputs, "logits": logits})
