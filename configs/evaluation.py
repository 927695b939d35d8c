"""How an image is shown to a model that is judged: once, as a whole, in windows that overlap, mirrored, at scales."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from taskdistill.configs.base import Settings

STRIDE = 2 / 3


class WindowSettings(Settings):
    """What a model sees of an image; where it is shown several windows, what it says of a place is averaged."""

    show: Literal["clean", "whole", "sliding"] = "clean"
    """clean: its clean view. whole: the whole image, padded to the network's shape, whatever its clean view is.
    sliding: windows of the network's shape that overlap and cover the image.
    """
    window_px: int = Field(default=0, ge=0, le=100_000)
    """sliding: height of a window in pixels of the image, at scale 1; 0: the largest that fits in the image."""
    stride: float = Field(default=STRIDE, gt=0, le=1)
    """sliding: from one window to the next, as a share of a window; mmsegmentation's 341 of 512 is two thirds."""
    scales: tuple[Annotated[float, Field(gt=0, le=100)], ...] = Field(default=(1.0,), min_length=1)
    """The image is shown once at each; at 2 a window is half as high and wide. Without sliding windows, 1 alone."""
    flip: Literal["none", "horizontal"] = "none"
    """horizontal: every window is shown mirrored too."""

    @model_validator(mode="after")
    def _there_are_windows(self) -> Self:
        if self.show != "sliding" and (self.scales != (1.0,) or self.window_px or self.stride != STRIDE):
            raise ValueError(
                f"scales, window_px and stride are for sliding windows, and show is {self.show!r}: set it to "
                "'sliding', or leave them out"
            )
        return self
