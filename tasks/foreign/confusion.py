"""Whether a foreign teacher means what its label map says: what it answers on labelled images, against their labels.

Classes in another order, an image of another range or order of channels make no error: only the answers show it.

Shape letters: N samples, K classes; further axes, such as those of a map, come after.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from taskdistill.tasks.functional.grids import on_grid
from taskdistill.tasks.functional.losses import IGNORED

Counts = npt.NDArray[np.int64]

ABOVE_CHANCE = 0.15
"""How far, as a share of what is left to one, the mean recall must lie above that of guessing."""
MOSTLY = 0.5
MAX_CLASSES = 24
"""Classes that a table for people shows, those with the most labels."""
_MAX_NAME = 14


def counted(outputs_NK: Tensor, targets_N: Tensor, num_classes: int) -> Counts:
    """Return [K, K] how often samples, or places, of a label (rows) were called a class (columns); those without a
    label are left out. A map of outputs is brought to the size of its targets.
    """
    if outputs_NK.ndim == 4:
        outputs_NK = on_grid(outputs_NK, targets_N.shape[1:])
    called_N, is_known_N = outputs_NK.argmax(1), targets_N != IGNORED
    pairs = targets_N[is_known_N] * num_classes + called_N[is_known_N]
    counts: Counts = torch.bincount(pairs.flatten(), minlength=num_classes**2).numpy()
    return counts.reshape(num_classes, num_classes)


def doubts(counts_KK: Counts, classes: Sequence[str]) -> list[str]:
    """Return in a sentence why classes or images seem not to be what the network takes them for; none where it answers
    as its label map says.
    """
    num_labels_K = counts_KK.sum(axis=1)
    present = np.flatnonzero(num_labels_K)
    if len(present) < 2:
        return []
    shares_KK = counts_KK / np.maximum(num_labels_K, 1)[:, None]
    recall, chance = float(shares_KK.diagonal()[present].mean()), 1 / len(classes)
    called_K = shares_KK.argmax(axis=1)
    # That two classes are mistaken for one another is common; that each is mostly called by the other's name is not.
    swapped = [
        (label, called)
        for label, called in enumerate(called_K.tolist())
        if called != label and shares_KK[label, called] > MOSTLY and counts_KK[:, called].argmax() == label
    ]
    if len(swapped) > 1:
        pairs = ", ".join(
            f"{classes[label]!r} is called {classes[called]!r} ({shares_KK[label, called]:.0%})"
            for label, called in swapped[:6]
        )
        return [
            f"classes of the foreign teacher look permuted: {pairs}; correct foreign_teacher.label_map or "
            "foreign_teacher.classes"
        ]
    if recall >= chance + ABOVE_CHANCE * (1 - chance):
        return []
    return [
        f"the foreign teacher recognises {recall:.1%} of a class on average, where guessing has {chance:.1%}: look at "
        "its input (foreign_teacher.pixels, channels, mean, std, input_px) and at the order of its classes"
    ]


def table(counts_KK: Counts, classes: Sequence[str]) -> str:
    """Return the counts as a table for people, in percent of each label; of many classes the most frequent."""
    num_labels_K = counts_KK.sum(axis=1)
    shown = np.sort(np.argsort(-num_labels_K, kind="stable")[:MAX_CLASSES])
    names = [f"{number} {classes[number]}"[:_MAX_NAME] for number in shown.tolist()]
    lines = ["rows: labels; columns: what the foreign teacher answers, in % of the row"]
    lines.append(" " * (_MAX_NAME + 9) + "".join(f"{number:>5d}" for number in shown.tolist()))
    for name, label in zip(names, shown.tolist(), strict=True):
        percents = 100 * counts_KK[label, shown] / max(int(num_labels_K[label]), 1)
        cells = "".join(f"{percent:5.0f}" if percent >= 0.5 else "    ." for percent in percents)
        lines.append(f"{name:{_MAX_NAME}s} {_brief(int(num_labels_K[label])):>7s} {cells}")
    if len(shown) < len(classes):
        lines.append(f"and {len(classes) - len(shown)} classes with fewer labels")
    return "\n".join(lines) + "\n"


def _brief(count: int) -> str:
    return f"{count / 1e6:.1f} M" if count >= 1e6 else str(count)
