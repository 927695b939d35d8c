"""Settings of the networks: which backbone, whose weights, and how it wants to see an image."""

from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, model_validator

from taskdistill.configs.base import AddedLater, Path_, Seed, Settings
from taskdistill.configs.choices import SourceName
from taskdistill.configs.model_arguments import check_arguments

MIN_INPUT_PX = 16
"""The least a network may be shown, in height and in width."""


class Backbone(Settings):
    """A pretrained encoder."""

    source: SourceName = "timm"
    """The library that builds it."""
    name: str = "vit_small_patch14_dinov2.lvd142m"
    """The library's name of it; for timm see timm.list_models()."""
    weights: Literal["hub", "file", "random"] = "hub"
    """hub: downloaded by the library. file: the safetensors file below. random: untrained, for tests."""
    file: Path_ = ""
    """A safetensors file with the backbone's weights; its content is identity, its place is not."""
    seed: Seed = 0
    """Seed of random weights."""
    arguments: dict[str, JsonValue] = {}
    """Keyword arguments of the model itself, such as pad_type; part of what the weights mean."""
    input_px: int = Field(default=224, ge=MIN_INPUT_PX, le=4096)
    """Side of the square image the network sees, in pixels; its height where input_width_px is set."""
    input_width_px: Annotated[int, AddedLater] = Field(default=0, ge=0, le=4096)
    """Width of the image the network sees where it is no square (see views.width_to_height); 0: as wide as high."""
    mean: tuple[Annotated[float, Field(ge=0, le=1)], ...] = ()
    """Mean of each RGB channel in 0..1; empty: the model's own."""
    std: tuple[Annotated[float, Field(gt=0, le=1)], ...] = ()
    """Standard deviation of each RGB channel in 0..1; empty: the model's own."""
    interpolation: Literal["model", "bilinear", "bicubic", "lanczos"] = "model"
    """How images are resized; model: as the weights were trained."""
    clean_view: Annotated[Literal["model", "center", "squash", "whole"], AddedLater] = "model"
    """What the network sees of an image when nothing is augmented. model: as the weights were trained; center: the
    middle of it; squash: all of it, its own aspect ratio given up; whole: all of it, padded to the network's shape.
    """

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width of what the network sees."""
        return self.input_px, self.input_width_px or self.input_px

    @model_validator(mode="after")
    def _width_differs_from_height(self) -> Self:
        if 0 < self.input_width_px < MIN_INPUT_PX:
            raise ValueError(
                f"input_width_px is {self.input_width_px}: it must be 0 (a square) or {MIN_INPUT_PX} to 4096"
            )
        # One way to say a square, or the same network would have two fingerprints.
        if self.input_width_px == self.input_px:
            raise ValueError(f"input_width_px is {self.input_px} as input_px is, which is a square: set it to 0")
        return self

    @model_validator(mode="after")
    def _file_is_named(self) -> Self:
        if (self.weights == "file") != bool(self.file):
            raise ValueError(
                f"weights 'file' needs the path in 'file', and other weights must not have it; found weights "
                f"{self.weights!r} and file {self.file!r}"
            )
        if len(self.mean) not in (0, 3) or len(self.std) not in (0, 3):
            raise ValueError(
                "mean and std have one value for each of R, G, B, or none for the model's own; found "
                f"{len(self.mean)} of mean and {len(self.std)} of std"
            )
        return self

    @model_validator(mode="after")
    def _name_and_arguments_are_the_models(self) -> Self:
        if any(sign in self.name for sign in "/\\:"):
            raise ValueError(
                f"name {self.name!r} is a place, not a name that {self.source} knows: for weights of your own set name "
                "to the architecture, such as resnet50, weights=file and file=... (a safetensors file)"
            )
        check_arguments(self.source, self.arguments)
        return self


class Teacher(Backbone):
    """The large pretrained encoder that teaches."""

    name: str = "vit_large_patch14_dinov2.lvd142m"
    """The library's name of it; for timm see timm.list_models()."""


class Student(Backbone):
    """The small pretrained encoder that learns, and is deployed."""

    name: str = "vit_small_patch14_dinov2.lvd142m"
    """The library's name of it; for timm see timm.list_models()."""
