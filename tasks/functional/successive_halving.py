"""Successive halving without what is trained: which settings are tried, for how long, which go on, and whether the
default is replaced at the end. After Jamieson and Talwalkar, arXiv 1502.07943; but the last rung, of two candidates
and another seed, decides alone: the challenger was the best of several before, and its scores there are too good by
chance.

The candidates are the default, which comes first and always goes on, and those that differ from it in one setting: the
product of all lists would cost more than it tells.

Shape letters: N held-out images.
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from taskdistill.tasks.functional.comparison import Difference, paired_difference

DEFAULT = 0
"""The place of the default among the candidates."""

Settings = Mapping[str, float]
Scores = npt.NDArray[np.float64]
"""Of each held-out image, [N]; not a number where the training diverged."""


class Rung(NamedTuple):
    """Trials of one length."""

    number: int
    size: int
    """Candidates that are tried."""
    seed: int
    steps: int
    """Optimiser steps of a candidate."""
    fold: int
    """The place of the held-out images among the folds: all candidates of a rung are judged on the same ones."""


class Outcome(NamedTuple):
    """What became of one candidate in one rung."""

    rung: Rung
    candidate: int
    scores_N: Scores
    went_on: bool
    """After the last rung: is chosen."""


class Choice(NamedTuple):
    """The end of a search. Without a rung the default stays, and there is no challenger."""

    outcomes: list[Outcome]
    challenger: int
    """The candidate that the default was compared with at last."""
    difference: Difference
    """Of the challenger to the default in the last rung, which had no part in choosing the challenger."""
    diverged: frozenset[int]
    """Which of these two diverged in one of the last two rungs."""

    @property
    def chosen(self) -> int:
        """The challenger where it is better by more than one standard error, or where the default alone diverged."""
        if self.diverged == {DEFAULT}:
            return self.challenger
        return self.challenger if self.difference.is_better else DEFAULT


def words_of(settings: Settings) -> str:
    """Return settings as people read them, such as "learning_rate 0.001, alpha 0.8"."""
    return ", ".join(f"{name} {value:g}" for name, value in settings.items())


def candidates(default: Settings, lists: Mapping[str, Sequence[float]]) -> list[dict[str, float]]:
    """Return the default, and what differs from it in one setting that takes a value of its list."""
    others = [
        {**default, name: value}
        for name, values in lists.items()
        for value in dict.fromkeys(values)
        if value != default[name]
    ]
    return [dict(default), *others]


def rungs(num_candidates: int, *, budget_steps: int, min_steps: int, num_folds: int, seed: int) -> list[Rung]:
    """Return the rungs of a search that takes at most `budget_steps` optimiser steps; none where there is nothing to
    choose among.

    All candidates, the better half of them for twice as long, and so on; when two are left, these two with another
    seed. Rungs in between are left out, and then the last candidates, where the first trials would be shorter than
    `min_steps`; two candidates for fewer steps are what remains at last, for the caller to refuse.
    """
    if num_candidates < 2:
        return []
    sizes = [num_candidates]
    while (half := math.ceil(sizes[-1] / 2)) > 2:
        sizes.append(half)
    sizes.append(2)
    while _first_steps(sizes, budget_steps) < min_steps and sizes != [2, 2]:
        if len(sizes) > 2:
            del sizes[1]
        else:
            sizes[0] -= 1
    seeds = [seed] * (len(sizes) - 1) + [(seed + 1) % 2**63]
    steps = _first_steps(sizes, budget_steps)
    return [
        Rung(number, size, its_seed, steps * 2**number, number % num_folds)
        for number, (size, its_seed) in enumerate(zip(sizes, seeds, strict=True))
    ]


def _first_steps(sizes: Sequence[int], budget_steps: int) -> int:
    for_one_step = sum(size << number for number, size in enumerate(sizes))
    return budget_steps // for_one_step


def num_steps(plan: Sequence[Rung]) -> int:
    """Return the optimiser steps of all trials."""
    return sum(rung.size * rung.steps for rung in plan)


def search(plan: Sequence[Rung], tried: Callable[[Rung, int], Scores]) -> Choice:
    """Go up the rungs; `tried` trains a candidate and returns its scores, for a rung on the same images in the same
    order.
    """
    outcomes: list[Outcome] = []
    before: dict[int, Scores] = {}
    entered = list(range(plan[0].size))
    for rung, above in itertools.pairwise(plan):
        before = {candidate: tried(rung, candidate) for candidate in entered}
        kept = going_on(before, above.size)
        outcomes += [Outcome(rung, candidate, before[candidate], candidate in kept) for candidate in entered]
        entered = kept
    last = {candidate: tried(plan[-1], candidate) for candidate in entered}
    challenger = entered[1]
    difference = paired_difference([last[challenger]], last[DEFAULT])
    diverged = frozenset(one for one in entered if not all(np.isfinite(table[one]).all() for table in (before, last)))
    choice = Choice(outcomes, challenger, difference, diverged)
    ended = [Outcome(plan[-1], candidate, last[candidate], candidate == choice.chosen) for candidate in entered]
    return choice._replace(outcomes=[*outcomes, *ended])


def going_on(scores: Mapping[int, Scores], size: int) -> list[int]:
    """Return the default and the best others, `size` in all, as they stood; of equals the earlier."""
    others = {candidate: _mean(scores_N) for candidate, scores_N in scores.items() if candidate != DEFAULT}
    return [DEFAULT, *best_of(others, size - 1)]


def best_of(means: Mapping[int, float], size: int) -> list[int]:
    """Return the best, `size` in all, as they stood; of equals the earlier, and last what is not a number."""
    by_mean = sorted(means, key=lambda candidate: -means[candidate] if math.isfinite(means[candidate]) else math.inf)
    kept = set(by_mean[:size])
    return [candidate for candidate in means if candidate in kept]


def _mean(scores_N: Scores) -> float:
    return float(scores_N.mean()) if np.isfinite(scores_N).all() else -math.inf
