"""What a problem's metrics are where each image counts so many times, by the predictions of an evaluation: what
resampling asks. Without torch, as two models are compared by their tables alone.

Shape letters: N images.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from taskdistill.configs.choices import WEIGHED, load
from taskdistill.storage.tables import read_column
from taskdistill.tasks.functional.resampling import Weighted


def weighed(name: str, evaluation: Path, split: str, score_name: str) -> Mapping[str, Weighted]:
    """Return the metrics of one split, by name, the one that models are chosen by first; where the problem of this name
    has no more, that one alone.
    """
    table = evaluation / f"{split}-predictions.parquet"
    chosen_by = mean_of(np.asarray(read_column(table, "score"), np.float64))
    return {score_name: chosen_by, **(load(WEIGHED, name)(table) if name in WEIGHED else {})}


def mean_of(values_N: npt.NDArray[np.float64]) -> Weighted:
    """Return the metric that is the mean of these values."""
    return lambda weights_N: float(weights_N @ values_N / weights_N.sum())
