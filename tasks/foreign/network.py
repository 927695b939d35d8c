"""A network that was trained elsewhere, as one that answers the task: shown images as it wants them, its classes
brought to those of the task. Its sources stand in a table (`configs.choices.FOREIGN_SOURCES`): functions that return a
`ForeignModel`.

Shape letters: N images, C channels, H W pixels, F its classes, K classes of the task, h w cells of a map.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from taskdistill.configs.choices import FOREIGN_SOURCES, load
from taskdistill.configs.foreign import ForeignTeacher
from taskdistill.storage.errors import SourceChangedError
from taskdistill.storage.fingerprint import fingerprint
from taskdistill.storage.sources import content_digest, tree_digest, visible_files
from taskdistill.tasks.foreign.label_map import LabelMap, label_map
from taskdistill.tasks.memory import is_out_of_memory
from taskdistill.tasks.models.device import on_device
from taskdistill.tasks.models.encoder import ModelError
from taskdistill.tasks.models.preprocessing import Preprocessing

_ERRORS = (
    RuntimeError,
    AssertionError,
    ValueError,
    TypeError,
    AttributeError,
    IndexError,
    KeyError,
    NotImplementedError,
)


class ForeignModel(NamedTuple):
    """What a source gives: the network, and what it says of itself, which settings may replace."""

    network: Callable[[Tensor], Tensor]
    """From images [N, 3, H, W] to logits [N, F] or [N, F, h, w]; moved to the device where it is a module."""
    classes: tuple[str, ...] = ()
    """In the order of its outputs; none where it does not know their names."""
    mean: tuple[float, ...] = ()
    """Of each channel in 0..1, in the order in which it is shown them."""
    std: tuple[float, ...] = ()
    interpolation: str = "bilinear"


class ForeignNetwork(nn.Module):
    """A foreign network on normalised images [N, 3, H, W], R, G and B; returns float32 logits [N, K] or [N, K, h, w].

    Raises ModelError where it says something that is no logits of its classes.
    """

    def __init__(self, teacher: ForeignTeacher, model: ForeignModel, output_axes: int) -> None:
        super().__init__()
        self._network, self._teacher, self._output_axes = model.network, teacher, output_axes
        self.preprocessing = preprocessing_of(teacher, model)
        self._map: LabelMap | None = None

    def num_outputs(self, device: torch.device) -> int:
        """Move it to a device, and count what it says of one grey image: how many classes it has."""
        on_device(self, device)
        height, width = self._teacher.input_size
        return self._said(torch.zeros(1, 3, height, width, device=device)).shape[1]

    def bring_to(self, classes: Sequence[str], names: Sequence[str], device: torch.device) -> LabelMap:
        """Move it to a device, and map its classes, which have these names or none, to those of the task."""
        self._map = label_map(self._teacher.label_map, names, self.num_outputs(device), classes)
        return self._map

    def forward(self, images_NCHW: Tensor) -> Tensor:
        """Return the logits of the task's classes; TypeError before `bring_to` was told these."""
        outputs_NF = self._said(images_NCHW)
        if self._map is None:  # an error of the program: `opened` maps the classes first
            raise TypeError("a foreign network has not been told the classes of the task")
        logits_NK = self._map(outputs_NF)
        size = [-(-side // max(self._teacher.output_stride, 1)) for side in images_NCHW.shape[2:]]
        if self._teacher.output_stride and logits_NK.ndim == 4 and logits_NK.shape[2] > size[0]:
            # The mean of logits, not of answers: students are compared with it in logit space.
            logits_NK = interpolate(logits_NK, size, mode="area")
        return logits_NK

    def _said(self, images_NCHW: Tensor) -> Tensor:
        shown = images_NCHW.round().to(torch.uint8) if self._teacher.pixels == "uint8" else images_NCHW
        shown = shown.flip(1) if self._teacher.channels == "bgr" else shown
        what = f"the foreign teacher ({self._teacher.source})"
        try:
            outputs_NF = self._network(shown)
        except _ERRORS as error:
            if isinstance(error, RuntimeError) and is_out_of_memory(error):
                raise
            raise ModelError(
                f"{what} failed on images of {tuple(shown.shape)}, {str(shown.dtype).removeprefix('torch.')} "
                f"({type(error).__name__}: {error}): set foreign_teacher.input_px, input_width_px and pixels to what "
                "it was made for"
            ) from error
        wanted = f"[{len(shown)}, classes{', h, w' if self._output_axes == 3 else ''}]"
        if not isinstance(outputs_NF, Tensor) or outputs_NF.ndim != 1 + self._output_axes:
            found = tuple(outputs_NF.shape) if isinstance(outputs_NF, Tensor) else type(outputs_NF).__name__
            raise ModelError(f"{what} gives {found} for {len(shown)} images, and this problem wants logits {wanted}")
        if len(outputs_NF) != len(shown) or not outputs_NF.isfinite().all():
            raise ModelError(
                f"{what} gives {tuple(outputs_NF.shape)} for {len(shown)} images, or values that are not finite"
            )
        return outputs_NF


def opened(
    teacher: ForeignTeacher,
    content_digests: Mapping[str, str],
    classes: Sequence[str],
    output_axes: int,
    device: torch.device,
) -> tuple[ForeignNetwork, LabelMap]:
    """Build a foreign network, on the device and ready for inference, and the map from its classes.

    Raises ModelError where it cannot be built or does not fit the task, SourceChangedError where its files are not
    those the recipe was written for.
    """
    model: ForeignModel = load(FOREIGN_SOURCES, teacher.source)(teacher)
    _check_unchanged(teacher, content_digests)
    network = ForeignNetwork(teacher, model, output_axes).eval()
    return network, network.bring_to(classes, teacher.classes or model.classes, device)


class Tried(NamedTuple):
    """What a trial of a foreign network tells."""

    num_parameters: int
    said: tuple[str, ...]
    """A sentence for what a person should know of its classes."""


def tried(teacher: ForeignTeacher, classes: Sequence[str], output_axes: int, device: torch.device) -> Tried:
    """Build a foreign network, show it one grey image, and map its classes to those of the task where these are known.

    Raises ModelError as `opened` does.
    """
    model: ForeignModel = load(FOREIGN_SOURCES, teacher.source)(teacher)
    network = ForeignNetwork(teacher, model, output_axes).eval()
    with torch.inference_mode():
        if classes:
            said = network.bring_to(classes, teacher.classes or model.classes, device).said
        else:
            said = ()
            network.num_outputs(device)
    return Tried(sum(parameter.numel() for parameter in network.parameters()), said)


def preprocessing_of(teacher: ForeignTeacher, model: ForeignModel) -> Preprocessing:
    """Return how a foreign network wants to see an image; ModelError where neither it nor the settings say so."""
    mean, std = teacher.mean or model.mean, teacher.std or model.std
    if teacher.pixels == "uint8":
        mean, std = (0.0,) * 3, (1 / 255,) * 3  # so that normalised values are those of the pixels
    if not mean or not std:
        raise ModelError(
            "the foreign teacher does not say how its images are normalised: set foreign_teacher.mean and "
            "foreign_teacher.std, three values in 0..1 each"
        )
    if teacher.channels == "bgr":
        mean, std = mean[::-1], std[::-1]  # images are normalised as R, G and B, and turned round after it
    height, width = teacher.input_size
    kept = {"width_px": width} if width != height else {}
    interpolation = model.interpolation if teacher.interpolation == "model" else teacher.interpolation
    return Preprocessing(height, tuple(mean), tuple(std), interpolation, 1.0, teacher.clean_view, **kept)


def foreign_fingerprint(teacher: ForeignTeacher, content_digests: Mapping[str, str]) -> str:
    """Return the identity of a foreign network: its settings and the content of its files."""
    contents = {name: digest for name, digest in content_digests.items() if name.startswith("model.")}
    return fingerprint({"foreign": teacher.identity(), "external": contents})


def _check_unchanged(teacher: ForeignTeacher, content_digests: Mapping[str, str]) -> None:
    """Raise SourceChangedError where a file or folder is not what its digest says; asked after it was loaded."""
    for name, place in teacher.locations("model.").items():
        path = Path(place).expanduser()
        if path.is_dir():
            files = visible_files(path)
            found = tree_digest((file.relative_to(path).as_posix(), content_digest(file)) for file in files)
        else:
            found = content_digest(path)
        if found != content_digests[name]:
            raise SourceChangedError(
                f"{path} is not what it was when its digest was taken: run the same command again, it is read anew"
            )
