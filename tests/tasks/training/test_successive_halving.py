"""The plan of trials by hand: which settings are tried, how long, which go on, and when the default is left."""

import itertools
from collections.abc import Mapping

import numpy as np
import pytest

from tasks.training.successive_halving import (
    Rung,
    candidates,
    going_on,
    num_steps,
    rungs,
    search,
)

DISTILL = {"learning_rate": 1e-3, "alpha": 0.75, "temperature": 2.0}
LISTS = {"learning_rate": (1e-4, 3e-4, 1e-3), "alpha": (0.5, 0.8, 1.0), "temperature": (1.0, 2.0, 4.0)}


def test_candidates_are_the_default_and_what_differs_from_it_in_one_setting() -> None:
    found = candidates(DISTILL, LISTS)
    assert found[0] == DISTILL
    assert found[1:] == [
        DISTILL | {"learning_rate": 1e-4}, DISTILL | {"learning_rate": 3e-4},
        DISTILL | {"alpha": 0.5}, DISTILL | {"alpha": 0.8}, DISTILL | {"alpha": 1.0},
        DISTILL | {"temperature": 1.0}, DISTILL | {"temperature": 4.0},
    ]  # fmt: skip


def test_a_default_that_is_in_no_list_is_a_candidate_too() -> None:
    assert candidates({"learning_rate": 0.5}, {"learning_rate": (0.1,)}) == [
        {"learning_rate": 0.5},
        {"learning_rate": 0.1},
    ]


def test_a_value_that_stands_twice_is_tried_once() -> None:
    assert len(candidates({"learning_rate": 1.0}, {"learning_rate": (0.1, 0.1, 1.0)})) == 2


def test_eight_candidates_climb_three_rungs_of_equal_shares_the_last_with_another_seed() -> None:
    # 1000 steps in three shares of 333, of which a trial on each of 3 folds gets 333 / 24, 333 / 12 and 333 / 6.
    assert rungs(8, budget_steps=1000, num_folds=3, seed=7) == [
        Rung(0, 8, 7, 13),
        Rung(1, 4, 7, 27),
        Rung(2, 2, 8, 55),
    ]


@pytest.mark.parametrize(
    ("count", "sizes"), [(1, []), (2, [2, 2]), (3, [3, 2]), (4, [4, 2]), (5, [5, 3, 2]), (9, [9, 5, 3, 2])]
)
def test_half_goes_on_rounded_up_until_two_are_left(count: int, sizes: list[int]) -> None:
    assert [rung.size for rung in rungs(count, budget_steps=1000, num_folds=1, seed=0)] == sizes


def test_all_trials_together_never_take_more_steps_than_the_budget() -> None:
    for count, budget, folds in itertools.product(range(2, 20), range(1, 3000, 37), range(1, 6)):
        plan = rungs(count, budget_steps=budget, num_folds=folds, seed=0)
        assert num_steps(plan, folds) <= budget
        assert num_steps(plan, folds) > budget - len(plan) * (1 + count * folds)


def test_trials_of_a_candidate_are_longer_from_rung_to_rung() -> None:
    lengths = [rung.steps for rung in rungs(9, budget_steps=900, num_folds=1, seed=0)]
    assert lengths == sorted(set(lengths))


def test_the_seed_after_the_largest_is_the_first() -> None:
    assert rungs(2, budget_steps=100, num_folds=1, seed=2**63 - 1)[-1].seed == 0


def test_the_default_goes_on_though_it_is_the_worst_and_of_equals_the_earlier() -> None:
    scores = {0: np.array([0.0, 0.0]), 1: np.array([0.5, 0.5]), 2: np.array([1.0, 0.0]), 3: np.array([1.0, 1.0])}
    assert going_on(scores, 2) == [0, 3]
    assert going_on(scores, 3) == [0, 1, 3]


def test_what_diverged_comes_last() -> None:
    scores = {0: np.array([0.0]), 1: np.array([np.nan]), 2: np.array([-5.0])}
    assert going_on(scores, 2) == [0, 2]


def choice_of(*tables: Mapping[int, list[float]]) -> int:
    """Go through rungs whose scores are given, and return what is chosen."""
    plan = rungs(len(tables[0]), budget_steps=1000, num_folds=1, seed=0)
    return search(plan, lambda rung, candidate: np.asarray(tables[rung.number][candidate], np.float64)).chosen


def test_a_challenger_that_is_better_by_more_than_one_standard_error_with_both_seeds_is_chosen() -> None:
    # Differences image by image over both seeds: 1, .5, .5, 0: mean .5, spread .354, standard error .177.
    first = {0: [0, 0, 0, 1], 1: [1, 1, 0, 1]}
    second = {0: [0, 0, 0, 1], 1: [1, 0, 1, 1]}
    assert choice_of(first, second) == 1


def test_a_challenger_within_one_standard_error_is_left() -> None:
    # Differences 1, -.5, 0, 0: mean .125, spread .545, standard error .272.
    first = {0: [0, 1, 0, 1], 1: [1, 0, 0, 1]}
    second = {0: [0, 0, 0, 1], 1: [1, 0, 0, 1]}
    assert choice_of(first, second) == 0


def test_a_challenger_that_is_no_better_with_the_other_seed_is_left() -> None:
    first = {0: [0, 0, 0, 0], 1: [1, 1, 1, 0]}
    second = {0: [0, 0, 0, 1], 1: [0, 0, 0, 1]}
    assert choice_of(first, second) == 0


def test_equal_scores_leave_the_default() -> None:
    same = {0: [1.0, 0.0], 1: [1.0, 0.0]}
    assert choice_of(same, same) == 0


def test_a_challenger_that_diverges_at_last_is_left() -> None:
    assert choice_of({0: [0.0, 0.0], 1: [1.0, 1.0]}, {0: [0.0, 0.0], 1: [float("nan")] * 2}) == 0


def test_every_trial_is_told_with_whether_it_went_on() -> None:
    plan = rungs(3, budget_steps=100, num_folds=1, seed=0)
    tables = [{0: [0.0, 0.0], 1: [0.5, 0.5], 2: [1.0, 1.0]}, {0: [0.0, 0.0], 2: [1.0, 1.0]}]
    found = search(plan, lambda rung, candidate: np.asarray(tables[rung.number][candidate]))
    assert [(one.rung.number, one.candidate, one.went_on) for one in found.outcomes] == [
        (0, 0, True), (0, 1, False), (0, 2, True), (1, 0, False), (1, 2, True),
    ]  # fmt: skip
