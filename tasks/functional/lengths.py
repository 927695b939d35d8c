"""How long a training is in optimiser steps. Imports no torch: plan asks too."""

import math

from configs.stages import TrainingSettings


def num_steps(training: TrainingSettings, num_images: int) -> int:
    """Return the optimiser steps of a training: those of its epochs."""
    return math.ceil(training.epochs * num_images / training.batch_size)
