"""Learning-rate schedules as functions of the step, so that a resumed run needs to remember nothing."""

import math


def warmup_cosine(step: int, *, num_steps: int, num_warmup: int) -> float:
    """Return the factor in 0..1 on the peak learning rate at `step` of `num_steps`, counted from 0.

    Rises linearly over `num_warmup` steps, reaching 1 at its last, then falls as half a cosine towards 0 at
    `num_steps`.
    """
    if step < num_warmup:
        return (step + 1) / num_warmup
    progress = (step - num_warmup) / max(1, num_steps - num_warmup)
    return 0.5 * (1 + math.cos(math.pi * progress))


def warmup_linear(step: int, *, num_steps: int, num_warmup: int) -> float:
    """Return the same with a straight line towards 0 in place of the cosine (poly with power 1)."""
    if step < num_warmup:
        return (step + 1) / num_warmup
    return 1 - (step - num_warmup) / max(1, num_steps - num_warmup)
