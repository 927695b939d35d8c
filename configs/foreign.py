"""Settings of a foreign teacher: a network that was trained elsewhere and answers the task, or something near it, as it
is. It needs no probe; a label map brings its classes to those of the task.
"""

import sys
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from taskdistill.configs.base import Path_, Settings
from taskdistill.configs.choices import ForeignSourceName, ProblemName
from taskdistill.configs.data import TrainViews, ViewSettings
from taskdistill.configs.errors import SettingsError
from taskdistill.configs.stages import CutsViews, StoredLogits

NEEDED: dict[str, tuple[str, ...]] = {
    "function": ("function",),
    "transformers": ("folder",),
    "mmseg": ("config_file", "weights"),
}
"""Source -> the settings that say where its network is."""


class ForeignTeacher(Settings):
    """A network that was trained elsewhere, how it wants to see an image, and what its classes are called here."""

    source: ForeignSourceName = "function"
    """function: one of your own. transformers: a folder of a model for semantic segmentation or image classification.
    mmseg: a config of mmsegmentation with a plain state dict.
    """
    function: str = ""
    """Source function: module:function, found in the working folder or installed. It returns what is called with images
    [N, 3, H, W] and returns logits, [N, classes] or [N, classes, h, w]. The content of the module's file is identity;
    what it imports besides is not.
    """
    folder: Path_ = ""
    """Source transformers: a local folder with config.json and safetensors."""
    config_file: Path_ = ""
    """Source mmseg: the config that the network is built from."""
    weights: Path_ = ""
    """Source mmseg: a plain state dict. Source function: a file that the function is given as `weights`."""
    classes: tuple[str, ...] = ()
    """Names of its classes in the order of its outputs; empty: its own, where it has any."""
    label_map: dict[str, str] = {}
    """Its class, by name or number from "0", -> the class of the task; several may become one, and those that are left
    out are dropped. Empty: classes of the same name are the same; by order, where it has no names and as many classes.
    """
    input_px: int = Field(default=224, ge=16, le=4096)
    """Height of what the network sees, in pixels."""
    input_width_px: int = Field(default=0, ge=0, le=4096)
    """Width of it; 0: a square."""
    clean_view: Literal["center", "squash", "whole"] = "squash"
    """The view without augmentation. center: the largest box of that shape in the middle. squash: the whole image, its
    aspect ratio given up. whole: the whole image, padded.
    """
    interpolation: Literal["model", "bilinear", "bicubic", "lanczos"] = "model"
    """How images are resized; model: as it says itself, else bilinear."""
    pixels: Literal["normalised", "uint8"] = "normalised"
    """normalised: float32, (value / 255 - mean) / std. uint8: 0 to 255, as they are."""
    channels: Literal["rgb", "bgr"] = "rgb"
    """Order of the channels it is shown; mean and std are in the same order."""
    mean: tuple[Annotated[float, Field(ge=0, le=1)], ...] = ()
    """Mean of each channel in 0..1; empty: the model's own."""
    std: tuple[Annotated[float, Field(gt=0, le=1)], ...] = ()
    """Standard deviation of each channel in 0..1; empty: the model's own. 0 and 1/255 show it values from 0 to 255."""
    output_stride: int = Field(default=0, ge=0, le=64)
    """Pixels from one cell of a map of outputs to the next, the mean of its logits; 0: as they come, which for a
    network that answers for each pixel fills the disk.
    """

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width of what the network sees."""
        return self.input_px, self.input_width_px or self.input_px

    def locations(self, prefix: str = "") -> dict[str, str]:
        """Return the places on disk, of a function the file of its module too."""
        found = super().locations(prefix)
        if self.source == "function" and self.function:
            found[f"{prefix}function"] = str(module_file(self.function))
        return found


class PrecomputeForeignConfig(CutsViews):
    """From a network that was trained elsewhere and images to logits of the task's classes; it has no probe."""

    problem: ProblemName = "classification"
    """What is learnt."""
    model: ForeignTeacher = ForeignTeacher()
    views: ViewSettings = ViewSettings()
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16: autocast."""
    train_views: TrainViews = "augmented"
    """Which views of training images are shown, as in extract."""
    logits: StoredLogits = "fp16"
    """How each number of them is kept."""


def check_foreign(teacher: ForeignTeacher) -> None:
    """Raise ValueError where a foreign teacher is not described whole."""
    if missing := [name for name in NEEDED[teacher.source] if not getattr(teacher, name)]:
        raise ValueError(
            f"teacher_training 'foreign' with foreign_teacher.source {teacher.source!r} needs "
            f"{' and '.join(f'foreign_teacher.{name}' for name in missing)}, which says where the network is"
        )
    if teacher.source == "function" and not all(_parts(teacher.function)):
        raise ValueError(
            f"foreign_teacher.function is {teacher.function!r}: expected module:function, such as mynet:build for the "
            "function 'build' of mynet.py in the working folder"
        )
    if teacher.source == "mmseg" and teacher.channels == "bgr":
        raise ValueError(
            "foreign_teacher.channels is 'bgr', and a model of mmsegmentation turns its channels round itself: leave "
            "it at 'rgb'"
        )
    for name in ("mean", "std"):
        if len(getattr(teacher, name)) not in (0, 3):
            raise ValueError(f"foreign_teacher.{name} has one value for each of three channels, or none")
    if teacher.source == "function" and teacher.pixels == "normalised" and not (teacher.mean and teacher.std):
        raise ValueError(
            "foreign_teacher.function does not say how it wants its images: set foreign_teacher.mean and "
            "foreign_teacher.std (0 and 1 for values from 0 to 1), or foreign_teacher.pixels to 'uint8'"
        )


def module_file(function: str) -> Path:
    """Return the file of the module in `module:function`, without importing it or the packages it lies in; where there
    is none, the file it would be in the working folder.
    """
    module, _ = _parts(function)
    here, names = str(Path.cwd()), module.split(".")
    paths = [here, *sys.path]
    for end in range(1, len(names) + 1):
        spec = PathFinder.find_spec(".".join(names[:end]), paths)
        if spec is None:
            break
        if end == len(names) and spec.origin:
            return Path(spec.origin)
        paths = list(spec.submodule_search_locations or [])
    return Path(here, *names).with_suffix(".py")


def function_of(teacher: ForeignTeacher) -> tuple[str, str]:
    """Return module and function; SettingsError where the setting names none."""
    module, name = _parts(teacher.function)
    if not module or not name:
        raise SettingsError(f"foreign_teacher.function is {teacher.function!r}: expected module:function")
    return module, name


def _parts(function: str) -> tuple[str, str]:
    module, _, name = function.partition(":")
    is_one = all(part.isidentifier() for part in [*module.split("."), name])
    return (module, name) if is_one else ("", "")
