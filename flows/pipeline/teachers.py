"""The steps of frozen encoders with a probe, and of teachers: one, probed or finetuned, or several as one."""

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from taskdistill.configs.data import TrainViews
from taskdistill.configs.experiment import Experiment
from taskdistill.configs.models import Backbone
from taskdistill.configs.stages import PrecomputeConfig, ProbeSettings
from taskdistill.flows.pipeline.graph import ShownSet, Source, Steps
from taskdistill.tasks.catalog import (
    COMBINE,
    EXTRACT,
    FINETUNE,
    PRECOMPUTE,
    PRECOMPUTE_FOREIGN,
    PRECOMPUTE_IMAGES,
    PRECOMPUTE_PROBED,
    PROBE,
    PROBE_IMAGES,
)

REAL, SYNTHETIC, UNLABELLED = "", "-synthetic", "-unlabelled"
"""Image-sets, by what the names of their steps end in; of the last two, which have no labels, a run has one at most."""


class Network(NamedTuple):
    """A frozen encoder and its head, as the settings want them."""

    name: str
    """Of its steps: teacher, teacher2, student."""
    backbone: Backbone
    probe: ProbeSettings
    train_views: TrainViews


class Probed(NamedTuple):
    """The steps that make an encoder's head, and what it was trained on."""

    probe: str
    features: str
    """Empty where they are not cached (`Experiment.teacher_cache`)."""


class Asked(NamedTuple):
    """What is asked of a probed encoder beyond the outputs of its head; where its features are not cached, only how
    these are kept.
    """

    config: PrecomputeConfig = PrecomputeConfig()
    inputs: Mapping[str, Source] = MappingProxyType({})
    """What that needs besides features and probe."""


PLAIN = Asked()


class Teacher(NamedTuple):
    """What teaches: the steps that make it, and what it says of each image-set."""

    model: str
    """What the final table calls it."""
    artifact: str
    logits: Mapping[str, str]
    members: tuple["Teacher", ...] = ()
    """Those it is the mean of, where there are several."""
    backbone: Backbone | None = None
    """What its artifact is a probe of, where it is one."""
    is_model: bool = False
    """Whether its artifact is a whole network."""


def student_network(experiment: Experiment) -> Network:
    return Network("student", experiment.student, experiment.starting_probe(), experiment.train_views("student"))


def probed(steps: Steps, network: Network, images: Source) -> Probed:
    """Train the head of a network, on cached features or on the images themselves."""
    experiment = steps.experiment
    name = f"probe-{network.name}"
    if experiment.teacher_cache == "logits":
        config = experiment.probe_images_config(network.backbone, network.probe)
        return Probed(steps.add(name, PROBE_IMAGES, config, {"images": images}), "")
    features = _features(steps, network, REAL, ShownSet(images, network.train_views))
    inputs = {"images": images, "features": features}
    return Probed(steps.add(name, PROBE, experiment.probe_config(network.probe), inputs), features)


def probed_logits(
    steps: Steps, name: str, network: Network, made: Probed, shown: ShownSet, asked: Asked = PLAIN
) -> str:
    """Make the logits of a probed encoder: from its cached features, or by showing it the images once more."""
    experiment = steps.experiment
    if experiment.teacher_cache == "logits":
        config = experiment.precompute_probed_config(network.backbone, shown.train_views, asked.config.logits)
        return steps.add(name, PRECOMPUTE_PROBED, config, {"images": shown.images, "probe": made.probe})
    inputs = {"features": made.features, "probe": made.probe, **asked.inputs}
    return steps.add(name, PRECOMPUTE, asked.config, inputs)


def _features(steps: Steps, network: Network, end: str, shown: ShownSet) -> str:
    config = steps.experiment.extract_config(network.backbone, network.probe, shown.train_views)
    return steps.add(f"extract-{network.name}{end}", EXTRACT, config, {"images": shown.images})


def probed_teacher(steps: Steps, sets: Mapping[str, ShownSet]) -> Teacher:
    """Make the teacher and its logits for each image-set, with labels and without; of several teachers, their mean."""
    experiment = steps.experiment
    if not experiment.more_teachers:
        return _member(steps, sets, 1, "teacher probed")
    backbones = list(experiment.teachers.values())
    count = Counter(backbone.name for backbone in backbones)
    names = [
        backbone.name if count[backbone.name] == 1 else f"{backbone.name} ({number})"
        for number, backbone in enumerate(backbones, start=1)
    ]
    members = tuple(_member(steps, sets, number, f"teacher probed: {name}") for number, name in enumerate(names, 1))
    logits = {}
    for end in sets:
        inputs = {_numbered("logits", number): member.logits[end] for number, member in enumerate(members, 1)}
        logits[end] = steps.add(f"combine{end}", COMBINE, experiment.combine_config(), inputs)
    return Teacher("teacher probed", logits[REAL], logits, members)


def _member(steps: Steps, sets: Mapping[str, ShownSet], number: int, model: str) -> Teacher:
    """Make one probed teacher, the first or a further one."""
    experiment = steps.experiment
    backbone = list(experiment.teachers.values())[number - 1]
    name, train_views = _numbered("teacher", number), experiment.train_views("teacher")
    network = Network(name, backbone, experiment.probe, train_views)
    made, precompute = probed(steps, network, sets[REAL].images), _numbered("precompute", number)
    config = experiment.precompute_config()
    # Their splits and labels; left out where nobody asks for them, so that the logits stay those of earlier versions.
    asked = Asked(config, {"images": sets[REAL].images} if config.reads_images else {})
    logits = {REAL: probed_logits(steps, precompute, network, made, sets[REAL], asked)}
    for end in sets.keys() - {REAL}:
        if made.features:
            made = made._replace(features=_features(steps, network, end, sets[end]))
        config = experiment.precompute_synthetic_config()
        asked = Asked(config, {"calibrated": logits[REAL]} if config.calibration != "none" else {})
        logits[end] = probed_logits(steps, f"{precompute}{end}", network, made, sets[end], asked)
    return Teacher(model, made.probe, logits, backbone=backbone)


def _numbered(name: str, number: int) -> str:
    """Return what belongs to a teacher: to the first without a number, as where it is the only one."""
    return name if number == 1 else f"{name}{number}"


def finetuned_teacher(steps: Steps, sets: Mapping[str, ShownSet]) -> Teacher:
    """The same with the whole teacher trained on the labels, so that it must look at the images again."""
    experiment = steps.experiment
    images = sets[REAL].images
    network = Network("teacher", experiment.teacher, experiment.probe, experiment.train_views("teacher"))
    inputs = {"images": images, "probe": probed(steps, network, images).probe}
    model = steps.add("finetune-teacher", FINETUNE, experiment.finetune_teacher_config(), inputs)
    logits = {
        end: steps.add(
            f"precompute{end}",
            PRECOMPUTE_IMAGES,
            experiment.precompute_images_config(shown.train_views),
            {"images": shown.images, "model": model},
        )
        for end, shown in sets.items()
    }
    return Teacher("teacher finetuned", model, logits, is_model=True)


def foreign_teacher(steps: Steps, sets: Mapping[str, ShownSet]) -> Teacher:
    """A network that was trained elsewhere: it has no probe, and is shown the images once."""
    experiment, real = steps.experiment, sets[REAL].images
    logits = {}
    for end, shown in sets.items():
        # Which classes there are, and in which order, only labelled images say.
        inputs = {"images": shown.images} | ({"labelled": real} if end != REAL else {})
        config = experiment.precompute_foreign_config(shown.train_views)
        logits[end] = steps.add(f"precompute{end}", PRECOMPUTE_FOREIGN, config, inputs)
    return Teacher("teacher foreign", logits[REAL], logits)
