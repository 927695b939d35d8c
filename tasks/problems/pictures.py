"""Pictures for people, as PNG."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from storage.files import atomic

MAX_NAMED_CLASSES = 40


def draw_confusion(path: Path, counts_KK: npt.NDArray[Any], classes: Sequence[str]) -> None:
    """Draw a confusion matrix: a row for each true class, shaded by shares of the row, with counts while they fit."""
    shares_KK = counts_KK / np.maximum(counts_KK.sum(axis=1, keepdims=True), 1)
    side = min(4 + 0.35 * len(classes), 16)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(shares_KK, cmap="Blues", vmin=0, vmax=1)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    if len(classes) <= MAX_NAMED_CLASSES:
        axes.set_xticks(range(len(classes)), classes, rotation=90)
        axes.set_yticks(range(len(classes)), classes)
        for (row, column), count in np.ndenumerate(counts_KK):
            colour = "white" if shares_KK[row, column] > 0.5 else "black"
            axes.text(column, row, str(count) if count else "", ha="center", va="center", color=colour, fontsize=8)
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
    losses.legend()
    scores.plot([row["step"] for row in history], [row["val_score"] for row in history], color="black")
    scores.set_xlabel("step")
    scores.set_ylabel(f"{score_name}, validation")
    save(figure, path)


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, the same bytes for the same picture."""
    with atomic(path) as partial:
        FigureCanvasAgg(figure).print_png(str(partial), metadata={"Software": None})
