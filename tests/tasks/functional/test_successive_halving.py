"""The plan of trials by hand: which settings are tried, how long, which go on, and when the default is left."""

import itertools
from collections.abc import Mapping

import numpy as np
import pytest

from taskdistill.tasks.functional.successive_halving import (
    Rung,
    best_of,
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


def plan_of(count: int, budget: int, min_steps: int = 1, folds: int = 1, seed: int = 0) -> list[Rung]:
    return rungs(count, budget_steps=budget, min_steps=min_steps, num_folds=folds, seed=seed)


def test_eight_candidates_climb_three_rungs_each_twice_as_long_on_another_fold_the_last_with_another_seed() -> None:
    # 8 s + 4 * 2 s + 2 * 4 s = 24 s steps of 1000.
    assert plan_of(8, 1000, folds=2, seed=7) == [Rung(0, 8, 7, 41, 0), Rung(1, 4, 7, 82, 1), Rung(2, 2, 8, 164, 0)]


@pytest.mark.parametrize(
    ("count", "sizes"), [(1, []), (2, [2, 2]), (3, [3, 2]), (4, [4, 2]), (5, [5, 3, 2]), (9, [9, 5, 3, 2])]
)
def test_half_goes_on_rounded_up_until_two_are_left(count: int, sizes: list[int]) -> None:
    assert [rung.size for rung in plan_of(count, 1000)] == sizes


def test_rungs_and_then_candidates_are_left_out_until_the_first_trials_are_long_enough() -> None:
    # Seven candidates: 7 s + 4 * 2 s + 2 * 4 s = 23 s; without the rung between 7 s + 2 * 2 s = 11 s; five: 9 s.
    assert [(rung.size, rung.steps) for rung in plan_of(7, 900, min_steps=39)] == [(7, 39), (4, 78), (2, 156)]
    assert [(rung.size, rung.steps) for rung in plan_of(7, 900, min_steps=80)] == [(7, 81), (2, 162)]
    assert [(rung.size, rung.steps) for rung in plan_of(7, 900, min_steps=100)] == [(5, 100), (2, 200)]


def test_two_candidates_for_too_few_steps_are_left_for_the_caller_to_refuse() -> None:
    assert [(rung.size, rung.steps) for rung in plan_of(7, 60, min_steps=80)] == [(2, 10), (2, 20)]


def test_all_trials_together_never_take_more_steps_than_the_budget_and_leave_few_of_it() -> None:
    for count, budget in itertools.product(range(2, 20), range(1, 3000, 37)):
        plan = plan_of(count, budget)
        steps_if_one_longer = sum(rung.size * 2**rung.number for rung in plan)
        assert budget - steps_if_one_longer < num_steps(plan) <= budget


def test_the_seed_after_the_largest_is_the_first() -> None:
    assert plan_of(2, 100, seed=2**63 - 1)[-1].seed == 0


def test_the_default_goes_on_though_it_is_the_worst_and_of_equals_the_earlier() -> None:
    scores = {0: np.array([0.0, 0.0]), 1: np.array([0.5, 0.5]), 2: np.array([1.0, 0.0]), 3: np.array([1.0, 1.0])}
    assert going_on(scores, 2) == [0, 3]
    assert going_on(scores, 3) == [0, 1, 3]


def test_what_diverged_comes_last() -> None:
    scores = {0: np.array([0.0]), 1: np.array([np.nan]), 2: np.array([-5.0])}
    assert going_on(scores, 2) == [0, 2]


def choice_of(*tables: Mapping[int, list[float]], folds: int = 1) -> int:
    """Go through rungs whose scores are given, and return what is chosen."""
    plan = plan_of(len(tables[0]), 1000, folds=folds)
    return search(plan, lambda rung, candidate: np.asarray(tables[rung.number][candidate], np.float64)).chosen


def test_a_challenger_that_is_better_by_more_than_one_standard_error_with_the_other_seed_is_chosen() -> None:
    # Differences image by image: 1, 0, 1, 0: mean .5, variance 1 / 3, standard error .289.
    first = {0: [0, 0, 0, 1], 1: [1, 0, 0, 1]}
    second = {0: [0, 0, 0, 1], 1: [1, 0, 1, 1]}
    assert choice_of(first, second) == 1


def test_a_challenger_within_one_standard_error_is_left_however_good_it_was_before() -> None:
    # Differences 1, 0, 0, -1 in the last rung: mean 0; 1, 0, 0, 0: mean .25, standard error .25, no more.
    first = {0: [0, 0, 0, 0], 1: [1, 1, 1, 1]}
    assert choice_of(first, {0: [0, 0, 0, 1], 1: [1, 0, 0, 0]}) == 0
    assert choice_of(first, {0: [0, 0, 0, 1], 1: [1, 0, 0, 1]}) == 0


def test_of_equal_candidates_one_in_six_replaces_the_default() -> None:
    """A normal variable is above one standard error in 15.9 % of cases, however many candidates there are."""
    draw = np.random.default_rng(0)
    plan = plan_of(9, 10_000)
    chosen = [search(plan, lambda *_: draw.normal(size=200)).chosen for _ in range(1500)]
    assert np.mean(np.asarray(chosen) != 0) == pytest.approx(0.159, abs=0.03)


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
    plan = plan_of(3, 100)
    tables = [{0: [0.0, 0.0], 1: [0.5, 0.5], 2: [1.0, 1.0]}, {0: [0.0, 0.0], 2: [1.0, 1.0]}]
    found = search(plan, lambda rung, candidate: np.asarray(tables[rung.number][candidate]))
    assert [(one.rung.number, one.candidate, one.went_on) for one in found.outcomes] == [
        (0, 0, True), (0, 1, False), (0, 2, True), (1, 0, False), (1, 2, True),
    ]  # fmt: skip


def test_the_best_go_on_as_they_stood_of_equals_the_earlier_and_what_is_no_number_last() -> None:
    means = {0: 0.5, 1: float("nan"), 2: 0.7, 3: 0.5, 4: -float("inf"), 5: 0.9}
    assert best_of(means, 3) == [0, 2, 5]
    assert best_of(means, 5) == [0, 1, 2, 3, 5]
