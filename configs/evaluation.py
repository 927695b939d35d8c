"""How an image is shown to a model that is judged: once, as a whole, in windows that overlap, mirrored, at scales."""

from typing import Annotated, Literal

from pydantic import Field

from configs.base import Settings
from configs.choices import SHOWN, WHOLE_IMAGES


class WindowSettings(Settings):
    """What a model sees of an image; where it is shown several windows, what it says of a place is averaged."""

    show: Literal["clean", "whole", "sliding"] = "clean"
    """clean: its clean view. whole: the whole image, padded to the network's shape, whatever its clean view is.
    sliding: windows of the network's shape that overlap and cover the image.
    """
    window_px: int = Field(default=0, ge=0, le=100_000)
    """sliding: height of a window in pixels of the image, at scale 1; 0: the largest that fits in the image."""
    stride: float = Field(default=2 / 3, gt=0, le=1)
    """sliding: from one window to the next, as a share of a window; mmsegmentation's 341 of 512 is two thirds."""
    scales: tuple[Annotated[float, Field(gt=0, le=100)], ...] = Field(default=(1.0,), min_length=1)
    """The image is shown once at each; at 2 a window is half as high and wide. Without sliding windows, 1 alone."""
    flip: Literal["none", "horizontal"] = "none"
    """horizontal: every window is shown mirrored too."""


def check_shown(problem: str, windows: WindowSettings) -> None:
    """Raise ValueError where a problem cannot be judged so, or the settings contradict each other."""
    if windows.show != "sliding" and (windows.scales != (1.0,) or windows.window_px):
        raise ValueError(
            f"windows.scales and windows.window_px are for sliding windows, and windows.show is {windows.show!r}: set "
            "it to 'sliding', or leave them out"
        )
    if SHOWN.get(problem) != WHOLE_IMAGES and (windows.show != "clean" or windows.flip != "none"):
        raise ValueError(
            f"problem {problem!r} is judged by the clean view of an image: leave windows.show and windows.flip out"
        )
