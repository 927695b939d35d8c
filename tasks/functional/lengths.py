"""How long a training is in optimiser steps, and after which of them it is validated. Imports no torch: plan asks too.

Shape letters, in formulas: N training images, B labelled images of a batch, E epochs, V epochs between validations.
"""

import math

from taskdistill.configs.training import TrainingSettings


def num_steps(training: TrainingSettings, num_images: int) -> int:
    """Return the optimiser steps of a training: those of its epochs, ceil(E N / B), or `min_steps` where that is more.

    The order of images is a stream without end (`tasks.functional.order`), so that more steps are more passes.
    """
    return max(_steps_of_epochs(training, num_images), training.min_steps)


def is_validated(step: int, training: TrainingSettings, num_images: int) -> bool:
    """Whether a validation follows `step`, counted from 1: one ends each stretch of V epochs. Where `min_steps` makes
    the training longer, the stretches grow with it, so that there are as many of them.

    It does not depend on where a training ends; the last step is validated whatever this says.
    """
    return _stretches(step, training, num_images) > _stretches(step - 1, training, num_images)


def _steps_of_epochs(training: TrainingSettings, num_images: int) -> int:
    return math.ceil(training.epochs * num_images / training.batch_size)


def _stretches(step: int, training: TrainingSettings, num_images: int) -> int:
    """Return how many stretches are over after a step."""
    # In whole numbers: a rounded quotient would put a validation at another step.
    if training.min_steps <= _steps_of_epochs(training, num_images):
        return step * training.batch_size // (num_images * training.validate_every)
    return step * training.epochs // (training.min_steps * training.validate_every)
