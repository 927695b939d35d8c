"""What is told of images that nobody has labelled: a row of a table for each, and pictures where an answer is one.

Shape letters: K classes.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from taskdistill.tasks.problems.palette import Colours


class Asked(NamedTuple):
    """How a model is to answer."""

    classes: Sequence[str]
    colours_K3: Colours
    temperature: float = 1.0
    """What outputs are divided by before they are taken for probabilities."""
    top: int = 3
    """How many classes are named, the most likely first."""
    threshold: float = 0.0
    """Probability below which the answer is that it does not know."""

    @property
    def num_named(self) -> int:
        return min(self.top, len(self.classes))


class AnswerForm(NamedTuple):
    """What there is in every answer."""

    columns: Mapping[str, type]
    """Name of each column, in order -> str or float."""
    pictures: tuple[str, ...] = ()
    """Name of each picture."""


class Answer(NamedTuple):
    """What is told of one image."""

    columns: Mapping[str, str | float | None]
    """None: it does not know."""
    pictures: Mapping[str, Image.Image] = {}


def ranked_columns(asked: Asked, number: str) -> dict[str, type]:
    """Return the columns of the classes that are named, each with a number: top1, probability1, top2 ..."""
    columns: dict[str, type] = {}
    for place in range(1, asked.num_named + 1):
        columns |= {f"top{place}": str, f"{number}{place}": float}
    return columns


def ranked(asked: Asked, number: str, values_K: npt.ArrayLike) -> dict[str, str | float | None]:
    """Return the cells of those columns, of the classes with the highest values."""
    values = np.asarray(values_K)
    # Stable: of equal values the class that comes first.
    order = np.argsort(-values, kind="stable")[: asked.num_named]
    cells: dict[str, str | float | None] = {}
    for place, (best, value) in enumerate(zip(order.tolist(), values[order].tolist(), strict=True), start=1):
        cells[f"top{place}"] = asked.classes[best]
        cells[f"{number}{place}"] = rounded(value)
    return cells


def rounded(value: float) -> float:
    return round(float(value), 6)
