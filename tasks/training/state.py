"""What changes during a training apart from the tensors, and which of its weights it leaves us to keep."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from taskdistill.configs.training import Keep


@dataclass
class State:
    """How far a training is, and its scores on validation so far."""

    step: int = 0
    best_score: float = -math.inf
    best_error: float = 0.0
    """The standard error of the best score."""
    best_step: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    sums: dict[str, float] = field(default_factory=dict)
    """Sums of the losses since the last row of history, and their number."""

    def kept(self, keep: Keep) -> Literal["best", "last"]:
        """Return which weights a finished training keeps."""
        if keep != "last-unless-worse":
            return keep
        # The highest of many scores on few images is high by chance too: only a gap beyond the error counts. The error
        # of one score, not of the difference, which is smaller: in doubt the longer training stands.
        last_score = self.history[-1]["val_score"]
        return "best" if self.best_score - last_score > self.best_error else "last"
