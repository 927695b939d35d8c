"""The metric of segmentation where each image counts so many times (`tasks.problems.weighing`).

Shape letters: N images, K classes.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from taskdistill.storage.tables import has_column, read_matrix
from taskdistill.tasks.functional.ratios import mean_ratio
from taskdistill.tasks.functional.resampling import Weighted


def of_predictions(table: Path) -> Mapping[str, Weighted]:
    """Return mIoU of any images together, counted from the pixels of each; none where the table has no such counts."""
    if not has_column(table, "pixels_right"):
        return {}
    right_NK, predicted_NK, true_NK = (read_matrix(table, f"pixels_{name}") for name in ("right", "predicted", "true"))
    either_NK = predicted_NK + true_NK - right_NK

    def miou(weights_N: npt.NDArray[np.float64]) -> float:
        return mean_ratio((weights_N @ right_NK)[None], (weights_N @ either_NK)[None])

    return {"miou": miou}
