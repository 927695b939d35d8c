"""A network tried out before anything expensive: built as it will be trained, and shown one grey picture.

Whatever would stop a later stage for the network's sake is found here, in seconds: a name, arguments or weights that do
not go together, an input side it cannot take, a block that a probe wants and the network has not, stochastic depth,
layer-wise learning rates or a precision it does not know.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from taskdistill.configs.choices import GENERATOR_TRIALS, load
from taskdistill.configs.counting import counted
from taskdistill.configs.experiment import Experiment
from taskdistill.configs.generation import GeneratorModel
from taskdistill.configs.models import Backbone
from taskdistill.configs.stages import ProbeSettings
from taskdistill.configs.training import TrainingSettings
from taskdistill.tasks.memory import is_out_of_memory, memory_advice
from taskdistill.tasks.models.device import autocast, on_device
from taskdistill.tasks.models.encoder import (
    Encoder,
    ModelError,
    blocks_named,
    build_encoder,
    multiples_near,
    pixels_text,
)
from taskdistill.tasks.models.preprocessing import normalise
from taskdistill.tasks.problems.problem import problem_named

_FORWARD_ERRORS = (RuntimeError, AssertionError, ValueError, TypeError, AttributeError, IndexError, NotImplementedError)


class Wanted(NamedTuple):
    """What an experiment will ask of one of its networks; the texts are the settings' names, for messages."""

    role: str
    """teacher, more_teachers[0] or student: the section of the backbone."""
    problem: str
    backbone: Backbone
    precisions: Sequence[str]
    probe_section: str
    probe: ProbeSettings
    training_section: str = ""
    training: TrainingSettings | None = None
    """None where the network is only ever frozen."""

    @property
    def asked(self) -> tuple[Any, ...]:
        """All that `try_encoder` looks at: what is alike in it need not be tried again."""
        training = (self.training.drop_path, self.training.layer_decay) if self.training else None
        probe = self.probe.inputs, self.probe.head
        return self.role, self.problem, self.backbone, tuple(self.precisions), probe, training


def wanted_of(experiment: Experiment) -> list[Wanted]:
    """Return what an experiment will ask of its teacher, or of each of several, and of its student; a teacher that was
    trained elsewhere is tried by `tasks.foreign.network`.
    """
    teacher, *more = [
        Wanted(setting, experiment.problem, backbone, [experiment.precision], "probe", experiment.probe)
        for setting, backbone in experiment.teachers.items()
    ]
    if experiment.teacher_training == "finetuned":
        training = experiment.teacher_finetuning
        precisions = [experiment.precision, training.precision]
        teacher = teacher._replace(training_section="teacher_finetuning", training=training, precisions=precisions)
    precisions = [experiment.precision, experiment.training.precision]
    student = Wanted(
        "student", experiment.problem, experiment.student, precisions, "student_probe", experiment.student_probe,
        training_section="training", training=experiment.training,
    )  # fmt: skip
    return [student] if experiment.teacher_training == "foreign" else [teacher, *more, student]


def try_generator(model: GeneratorModel) -> None:
    """Compare a generator's parts with each other, where its kind can do so without loading it; or raise ModelError."""
    if model.kind in GENERATOR_TRIALS:
        load(GENERATOR_TRIALS, model.kind)(model)


def try_encoder(wanted: Wanted, device: torch.device) -> int:
    """Build a network and try all that will be asked of it; returns its number of parameters.

    Raises ModelError where it cannot be built or used as asked, and OutOfMemoryError where the device cannot hold it.
    """
    _check_side(wanted)
    with memory_advice():
        encoder = build_encoder(wanted.backbone, drop_path=wanted.training.drop_path if wanted.training else 0.0)
        _check_probe(encoder, wanted)
        _check_cells(encoder, wanted)
        if wanted.training:
            _check_groups(encoder, wanted.training, f"{wanted.training_section}.layer_decay", wanted.backbone.name)
        encoder = on_device(encoder.eval(), device)
        for precision in dict.fromkeys(wanted.precisions):
            _check_blocks(encoder, wanted, precision, device)
    return sum(parameter.numel() for parameter in encoder.parameters())


def _check_side(wanted: Wanted) -> None:
    backbone = wanted.backbone
    height, width = backbone.input_size
    given = backbone.arguments.get("img_size", [height, width])
    if given != [height, width] and (given != height or height != width):
        raise ModelError(
            f"{wanted.role}.arguments has img_size {given}, but {wanted.role}.input_px is {backbone.input_px}"
            f"{_width(wanted)}: the network is shown pictures of input_px, so make both the same, or leave img_size out"
        )


def _width(wanted: Wanted) -> str:
    width_px = wanted.backbone.input_width_px
    return f" and {wanted.role}.input_width_px {width_px}" if width_px else ""


def _check_probe(encoder: Encoder, wanted: Wanted) -> None:
    given = {block.name for block in encoder.blocks}
    known = [name for name, blocks in problem_named(wanted.problem).inputs().items() if given.issuperset(blocks)]
    if missing := [name for name in wanted.probe.inputs if name not in known]:
        raise ModelError(
            f"{wanted.probe_section}.inputs asks for {missing}, but {wanted.backbone.name} ({wanted.role}) gives only "
            f"{known}: set {wanted.probe_section}.inputs to some of these"
        )
    problem = problem_named(wanted.problem)
    for name in wanted.probe.inputs:  # a kind of head may need more of them than one input has
        problem.head(blocks_named(encoder.blocks, problem.inputs()[name]), 2, wanted.probe.head)


def _check_cells(encoder: Encoder, wanted: Wanted) -> None:
    """Raise ModelError where the cells of a map that heads see do not fill the picture, so that they would lie beside
    the pixels they are about.
    """
    strides = [block.stride for block in blocks_named(encoder.blocks, _asked(wanted)) if block.stride]
    step, backbone = math.lcm(*strides), wanted.backbone
    sides = {"input_px": backbone.input_px, "input_width_px": backbone.input_width_px}
    for setting, pixels in sides.items():
        if pixels % step:
            raise ModelError(
                f"{wanted.role}.{setting} is {pixels}, which the cells of {backbone.name}'s map, {step} px each, do "
                f"not fill: set it to {multiples_near(pixels, step)}"
            )


def _asked(wanted: Wanted) -> list[str]:
    """Return the names of the blocks that the heads of the probe may see."""
    inputs = problem_named(wanted.problem).inputs()
    return sorted({name for choice in wanted.probe.inputs for name in inputs[choice]})


def _check_groups(encoder: Encoder, training: TrainingSettings, setting: str, name: str) -> None:
    """Raise ModelError where the network cannot tell which layer its parameters belong to."""
    try:
        groups = encoder.parameter_groups(training.learning_rate, training.weight_decay, training.layer_decay)
    except (*_FORWARD_ERRORS, KeyError) as error:
        raise ModelError(
            f"{setting} is {training.layer_decay}, but timm cannot tell the layers of {name} ({type(error).__name__}: "
            f"{error}): set it to 1"
        ) from error
    grouped = {id(parameter) for group in groups for parameter in group["params"]}
    if left := [name for name, parameter in encoder.named_parameters() if id(parameter) not in grouped]:
        raise ModelError(
            f"{setting}: {counted(len(left), 'parameter')}, such as {left[0]}, would not be trained: set it to 1"
        )


@torch.inference_mode()
def _check_blocks(encoder: Encoder, wanted: Wanted, precision: str, device: torch.device) -> None:
    """Raise ModelError where a grey picture does not become finite blocks of the promised shapes."""
    backbone, names = wanted.backbone, _asked(wanted)
    blocks = blocks_named(encoder.blocks, names)
    pixels_1HW3 = np.full((1, *backbone.input_size, 3), 128, np.uint8)
    images_1CHW = normalise(pixels_1HW3, encoder.preprocessing, device)
    try:
        with autocast(device, precision):
            found = encoder(images_1CHW, names)
    except _FORWARD_ERRORS as error:
        if isinstance(error, RuntimeError) and is_out_of_memory(error):
            raise
        raise ModelError(
            f"{backbone.name} cannot see an image of {pixels_text(backbone)} in {precision} on {device.type} "
            f"({type(error).__name__}: {error}): set its input_px and arguments to what it was made for, or pass "
            "img_size in its arguments where the model takes it"
        ) from error
    for block, tensor in zip(blocks, found, strict=True):
        if tensor.ndim != (2 if block.stride is None else 4) or tensor.shape[:2] != (1, block.width):
            shape = f"(1, {block.width})" if block.stride is None else f"(1, {block.width}, h, w)"
            raise ModelError(
                f"{backbone.name} gives {block.name!r} of an image as {tuple(tensor.shape)} numbers, where {shape} are "
                f"needed. Leave out the arguments that change its pooling or its head ({backbone.arguments})"
            )
    if not all(tensor.isfinite().all() for tensor in found):
        raise ModelError(
            f"what {backbone.name} says of a grey image is not finite in {precision}: its weights are broken, or set "
            "precision to fp32"
        )
