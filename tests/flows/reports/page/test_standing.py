"""How far other images would move a score, as whiskers and in words."""

import re

import pytest

from taskdistill.flows.pipeline.chain import CONTROL, STUDENT, ModelResult
from taskdistill.flows.reports.page.standing import scored_models
from taskdistill.flows.reports.page.subject import Subject
from taskdistill.flows.reports.page.verdict import verdict
from taskdistill.storage.store import ArtifactStore
from tests.flows.scored import evaluated

RIGHT, WRONG = 1.0, 0.0


def subject_of(store: ArtifactStore, *results: ModelResult) -> Subject:
    return Subject("made up", results, {}, store, "taskdistill run made-up", [])


def whiskers(store: ArtifactStore, *results: ModelResult) -> tuple[float, float]:
    [row] = scored_models(subject_of(store, *results))
    return row["low"], row["high"]


def test_a_seed_that_has_all_images_right_leaves_the_model_the_whiskers_of_the_others(store: ArtifactStore) -> None:
    half, all_right = [RIGHT, WRONG] * 8, [RIGHT] * 16
    seeds = [evaluated(store, STUDENT, seed, scores) for seed, scores in enumerate([half, all_right])]
    # Standard errors of sqrt(0.5 * 0.5 / 16) = 12.5 points and of 0: 6.25 in the mean, as the table has it.
    assert whiskers(store, *seeds) == pytest.approx((75 - 12.5, 75 + 12.5))


@pytest.mark.parametrize(("scores", "expected"), [
    ([RIGHT] * 9 + [WRONG], (90 - 18.974, 100)),  # sqrt(0.9 * 0.1 / 10) = 0.09487, twice
    ([WRONG] * 9 + [RIGHT], (0, 10 + 18.974)),
])  # fmt: skip
def test_whiskers_of_a_share_end_where_shares_end(
    store: ArtifactStore, scores: list[float], expected: tuple[float, float]
) -> None:
    assert whiskers(store, evaluated(store, STUDENT, 0, scores)) == pytest.approx(expected, abs=1e-3)


def test_whiskers_of_what_is_no_share_go_as_far_as_two_standard_errors_do(store: ArtifactStore) -> None:
    one = evaluated(store, STUDENT, 0, [0.0, 4.0] * 8, score_name="nll")  # 2, with an error of 2 / sqrt(16)
    assert whiskers(store, one) == pytest.approx((1, 3))


def test_a_model_without_an_error_has_no_whiskers(store: ArtifactStore) -> None:
    one = evaluated(store, STUDENT, 0, [RIGHT, WRONG] * 8, standard_errors={})
    assert whiskers(store, one) == (50, 50)


@pytest.mark.parametrize("number", [1, 12])
def test_an_error_that_says_nothing_is_not_told_in_the_verdict(store: ArtifactStore, number: int) -> None:
    results = [evaluated(store, name, 0, [one] * number) for name, one in ((STUDENT, RIGHT), (CONTROL, WRONG))]
    # Nothing was scored on validation, so that none is to be shipped, and the first sentence compares them.
    sentence, *_ = [block.text for block in verdict(subject_of(store, *results)).blocks if block.kind == "words"]
    assert re.search(rf"{STUDENT} 100\.0 (beats|from) {CONTROL} 0\.0 (on|\()(?!SE)", sentence)
