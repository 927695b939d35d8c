"""The pipeline, written once, as data: steps, each of which reads artifacts of the store or what other steps make.

No import of Prefect or torch, and nothing is run here: `flows.pipeline.planning` names the artifacts,
`flows.pipeline.scheduling` does whatever is ready.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from configs.base import StageConfig
from configs.data import TrainViews
from configs.experiment import Experiment
from configs.models import Backbone
from configs.stages import PrecomputeConfig, ProbeSettings
from storage.manifest import ArtifactRef
from tasks.catalog import (
    DISTILL,
    EMBED,
    EVALUATE,
    EVALUATE_TEACHER,
    EXTRACT,
    FINETUNE,
    GENERATE,
    INGEST,
    PRECOMPUTE,
    PRECOMPUTE_IMAGES,
    PRECOMPUTE_PROBED,
    PROBE,
    PROBE_IMAGES,
    SELECT,
    TUNE_DISTILL,
    TUNE_FINETUNE,
)
from tasks.stage import Stage

START = "student probed"
"""What every student starts from, in the final table: its pretrained backbone with a probe."""

Role = Literal["teacher", "student"]

Source = ArtifactRef | str
"""What a step reads: an artifact in the store, or what the step of this name makes."""


class Step(NamedTuple):
    """One node of the graph."""

    name: str
    stage: Stage[Any]
    config: StageConfig
    inputs: Mapping[str, Source]
    """Role -> where it comes from; the steps named here stand before this one."""


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


class ShownSet(NamedTuple):
    """An image-set that a teacher is shown, and which views of its training images."""

    images: Source
    train_views: TrainViews


def chain(experiment: Experiment, *, synthetic: ArtifactRef | None = None) -> Chain:
    """Return every step of an experiment and the models it evaluates.

    The student's own probe is one of them: what training adds is the difference to it. Where there are synthetic
    images, one more student is distilled, on real and synthetic ones; the student without them is its control.
    `synthetic` is an image-set without labels that takes the place of generated ones.
    """
    steps = _Steps(experiment)
    images = steps.add("ingest", INGEST, experiment.data, {})
    blends = synthetic or (_blends(steps, images) if experiment.synthetic_images == "blends" else None)
    sets = {"": ShownSet(images, "augmented")}
    if blends:
        # Select wants the clean view too. A set of training images alone, as blends are, is shown it anyway; nothing
        # says that of images that were given.
        sets["-synthetic"] = ShownSet(blends, "both" if synthetic else "augmented")
    teach = {"probed": _probed_teacher, "finetuned": _finetuned_teacher}[experiment.teacher_training]
    teacher, logits = teach(steps, sets)
    on_logits = {"images": images, "logits": logits[""]}
    evaluated = steps.add("evaluate-teacher", EVALUATE_TEACHER, experiment.evaluate_config(), on_logits)
    models = [ModelSteps(f"teacher {experiment.teacher_training}", None, evaluated, teacher)]

    extra: dict[str, Source] = {}
    if blends:
        extra = {"synthetic": blends, "synthetic_logits": logits["-synthetic"]}
        scored: dict[str, Source] = {"synthetic": blends, "logits": logits["-synthetic"]}
        extra["selection"] = steps.add("select", SELECT, experiment.select_config(), scored)
    student_probe, evaluated = _probed_student(steps, images, logits[""])
    models.append(ModelSteps(START, None, evaluated, student_probe))
    start = {"images": images, "probe": student_probe}
    chosen = _chosen_settings(steps, start, logits[""])
    for seed in experiment.seeds:
        for name, model in _students(steps, seed, start, logits[""], extra, chosen).items():
            inputs = {"images": images, "model": model, "teacher": logits[""]}
            step = f"evaluate-{name.removeprefix('+')}-seed{seed}"
            evaluated = steps.add(step, EVALUATE, experiment.evaluate_config(), inputs)
            models.append(ModelSteps(f"student {name}", seed, evaluated, model))
    return Chain(steps.all, models)


class _Steps:
    """The steps so far of one experiment."""

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self.all: list[Step] = []

    def add(self, name: str, stage: Stage[Any], config: StageConfig, inputs: Mapping[str, Source]) -> str:
        """Note a step; returns its name, for others to read what it makes."""
        self.all.append(Step(name, stage, config, inputs))
        return name


def _blends(steps: _Steps, images: str) -> str:
    """Paint synthetic images from pairs of training images."""
    embeddings = steps.add("embed", EMBED, steps.experiment.embed_config(), {"images": images})
    inputs = {"images": images, "embeddings": embeddings}
    return steps.add("generate", GENERATE, steps.experiment.generate_config(), inputs)


class ChosenSettings(NamedTuple):
    """The input of each arm that names the settings chosen for it; none where they are not chosen."""

    finetune: Mapping[str, Source] = {}
    distill: Mapping[str, Source] = {}


def _chosen_settings(steps: _Steps, start: Mapping[str, Source], logits: str) -> ChosenSettings:
    """Choose the settings of both arms, once for all seeds, on real images alone."""
    experiment = steps.experiment
    if experiment.tuning.search == "none":
        return ChosenSettings()
    finetune = steps.add("tune-finetune", TUNE_FINETUNE, experiment.tune_finetune_config(), start)
    taught = {**start, "logits": logits}
    distill = steps.add("tune-distill", TUNE_DISTILL, experiment.tune_distill_config(), taught)
    return ChosenSettings({"settings": finetune}, {"settings": distill})


def _students(
    steps: _Steps,
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


class Probed(NamedTuple):
    """The steps that make an encoder's head, and what it was trained on."""

    probe: str
    features: str
    """Empty where they are not cached (`Experiment.teacher_cache`)."""


def _probed(steps: _Steps, role: Role, images: Source) -> Probed:
    """Train the head of teacher or student, on cached features or on the images themselves."""
    experiment = steps.experiment
    backbone, settings = _network(experiment, role)
    if experiment.teacher_cache == "logits":
        config = experiment.probe_images_config(backbone, settings)
        return Probed(steps.add(f"probe-{role}", PROBE_IMAGES, config, {"images": images}), "")
    extract = experiment.extract_config(backbone, experiment.train_views(role))
    features = steps.add(f"extract-{role}", EXTRACT, extract, {"images": images})
    inputs = {"images": images, "features": features}
    return Probed(steps.add(f"probe-{role}", PROBE, experiment.probe_config(settings), inputs), features)


def _network(experiment: Experiment, role: Role) -> tuple[Backbone, ProbeSettings]:
    return {
        "teacher": (experiment.teacher, experiment.probe),
        "student": (experiment.student, experiment.starting_probe()),
    }[role]


class Asked(NamedTuple):
    """What is asked of a probed encoder whose features are cached, beyond the outputs of its head."""

    config: PrecomputeConfig = PrecomputeConfig()
    inputs: Mapping[str, Source] = MappingProxyType({})
    """What that needs besides features and probe."""


PLAIN = Asked()


def _probed_logits(steps: _Steps, name: str, role: Role, probed: Probed, shown: ShownSet, asked: Asked = PLAIN) -> str:
    """Make the logits of a probed encoder: from its cached features, or by showing it the images once more."""
    experiment = steps.experiment
    if experiment.teacher_cache == "logits":
        config = experiment.precompute_probed_config(_network(experiment, role)[0], shown.train_views)
        return steps.add(name, PRECOMPUTE_PROBED, config, {"images": shown.images, "probe": probed.probe})
    inputs = {"features": probed.features, "probe": probed.probe, **asked.inputs}
    return steps.add(name, PRECOMPUTE, asked.config, inputs)


def _probed_student(steps: _Steps, images: str, teacher: str) -> tuple[str, str]:
    """Make the probe that students start from, and score it as they are scored; returns probe and evaluation."""
    probed = _probed(steps, "student", images)
    logits = _probed_logits(steps, "precompute-student", "student", probed, ShownSet(images, "clean"))
    inputs = {"images": images, "logits": logits, "teacher": teacher}
    config = steps.experiment.evaluate_config()
    return probed.probe, steps.add("evaluate-student-probed", EVALUATE_TEACHER, config, inputs)


def _probed_teacher(steps: _Steps, sets: Mapping[str, ShownSet]) -> tuple[str, dict[str, str]]:
    """Make the teacher and its logits for each image-set, real ("") and synthetic."""
    experiment = steps.experiment
    probed = _probed(steps, "teacher", sets[""].images)
    config = experiment.precompute_config()
    # Their splits and labels; left out where nobody asks for them, so that the logits stay those of earlier versions.
    asked = Asked(config, {"images": sets[""].images} if config != PrecomputeConfig() else {})
    logits = {"": _probed_logits(steps, "precompute", "teacher", probed, sets[""], asked)}
    if synthetic := sets.get("-synthetic"):
        if probed.features:
            extract, inputs = experiment.extract_config(experiment.teacher, synthetic.train_views), synthetic.images
            features = steps.add("extract-teacher-synthetic", EXTRACT, extract, {"images": inputs})
            probed = probed._replace(features=features)
        config = experiment.precompute_synthetic_config()
        asked = Asked(config, {"calibrated": logits[""]} if config.calibration != "none" else {})
        logits["-synthetic"] = _probed_logits(steps, "precompute-synthetic", "teacher", probed, synthetic, asked)
    return probed.probe, logits


def _finetuned_teacher(steps: _Steps, sets: Mapping[str, ShownSet]) -> tuple[str, dict[str, str]]:
    """The same with the whole teacher trained on the labels, so that it must look at the images again."""
    experiment = steps.experiment
    images = sets[""].images
    probe = _probed(steps, "teacher", images).probe
    inputs = {"images": images, "probe": probe}
    model = steps.add("finetune-teacher", FINETUNE, experiment.finetune_teacher_config(), inputs)
    logits = {
        name: steps.add(
            f"precompute{name}",
            PRECOMPUTE_IMAGES,
            experiment.precompute_images_config(shown.train_views),
            {"images": shown.images, "model": model},
        )
        for name, shown in sets.items()
    }
    return model, logits
