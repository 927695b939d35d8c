"""Pictures for people, as PNG. They are drawn last and are worth no run: one that cannot be drawn is left out.

Shape letters: K classes.
"""

import io
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from taskdistill.storage.files import atomic
from taskdistill.tasks.problems.names import FONT, drawable
from taskdistill.tasks.problems.palette import NamedColours

log = logging.getLogger(__name__)

MAX_NAMED_CLASSES = 40
AS_IT_IS: dict[str, Any] = {"font": FONT, "parse_math": False, "usetex": False}
"""How names of users are drawn: no sign in them means anything."""
EDGE: dict[str, Any] = {"edgecolor": "0.4", "linewidth": 0.5}
"""Around what is filled with the colour of a class, which may be white."""
INCHES_PER_CHARACTER = 0.09
_IN_CELL: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 8}


def draw_confusion(path: Path, counts_KK: npt.NDArray[Any], classes: Sequence[str]) -> None:
    """Draw a confusion matrix: a row for each true class, shaded by shares of the row, with counts while they fit.

    Where a name cannot be drawn its number is, and a text file beside the picture says which class it is.
    """
    shares_KK = counts_KK / np.maximum(counts_KK.sum(axis=1, keepdims=True), 1)
    are_named = len(classes) <= MAX_NAMED_CLASSES
    names = drawable(classes if are_named else [])
    side = min(4 + 0.35 * len(classes), 16) + INCHES_PER_CHARACTER * max(map(len, names.shown), default=0)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(shares_KK, cmap="Blues", vmin=0, vmax=1)
    legend = path.with_name(f"{path.stem}-classes.txt")
    hint = f" (numbers: see {legend.name})" if names.legend else ""
    axes.set_xlabel(f"predicted{hint}")
    axes.set_ylabel(f"true{hint}")
    if are_named:
        axes.set_xticks(range(len(classes)), names.shown, rotation=90, **AS_IT_IS)
        axes.set_yticks(range(len(classes)), names.shown, **AS_IT_IS)
        for row, column in np.argwhere(counts_KK):
            colour = "white" if shares_KK[row, column] > 0.5 else "black"
            count = axes.text(column, row, str(counts_KK[row, column]), color=colour, **_IN_CELL)
            count.set_in_layout(False)  # each lies within the matrix, and measuring them takes longer than drawing
    save(figure, path)
    if names.legend:
        lines = (f"{number} = {' '.join(name.split())}\n" for number, name in names.legend.items())
        with atomic(legend) as partial:
            partial.write_text("".join(lines), encoding="utf-8", errors="backslashreplace")


def draw_bars(path: Path, iou_K: npt.NDArray[Any], classes: NamedColours) -> None:
    """Draw a bar for each class whose IoU is not NaN, in per cent."""
    shown_K, colours_K3 = drawable(classes.names).shown, classes.colours_K3 / 255
    known = np.flatnonzero(~np.isnan(iou_K))
    figure = Figure(figsize=(7, 1 + 0.24 * max(len(known), 1)), layout="constrained")
    axes = figure.add_subplot()
    axes.barh(range(len(known)), 100 * iou_K[known], color=colours_K3[known], **EDGE)
    axes.set_yticks(range(len(known)), [shown_K[number] for number in known], **AS_IT_IS)
    for place, number in enumerate(known):
        axes.text(100 * iou_K[number] + 1, place, f"{100 * iou_K[number]:.1f}", va="center", fontsize=8)
    axes.set_xlim(0, 108)
    axes.set_xlabel("IoU in %")
    axes.invert_yaxis()
    save(figure, path)


def draw_history(path: Path, history: Sequence[dict[str, Any]], score_name: str) -> None:
    """Draw losses and validation score over the steps of one training."""
    figure = Figure(figsize=(8, 3.5), layout="constrained")
    losses, scores = figure.subplots(1, 2)
    for name in ("loss", "task_loss", "distill_loss"):
        points = [(row["step"], row[name]) for row in history if row.get(name) is not None]
        if points:
            losses.plot(*zip(*points, strict=True), label=name.replace("_", " "))
    losses.set_xlabel("step")
    if losses.lines:
        losses.legend()
    scores.plot([row["step"] for row in history], [row["val_score"] for row in history], color="black")
    scores.set_xlabel("step")
    scores.set_ylabel(f"{score_name}, validation")
    save(figure, path)


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, the same bytes for the same picture; say so where matplotlib cannot draw it."""
    drawn = io.BytesIO()
    try:
        FigureCanvasAgg(figure).print_png(drawn, metadata={"Software": None})
    except (ValueError, RuntimeError, OSError, MemoryError) as error:  # a sign, a font file, a size
        log.warning("%s could not be drawn (%s): the scores do not need it", path.name, error)
        return
    with atomic(path) as partial:
        partial.write_bytes(drawn.getvalue())
