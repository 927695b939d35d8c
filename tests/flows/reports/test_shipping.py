"""Which student to ship: the best on validation, not the last one."""

import pytest

from taskdistill.flows.pipeline.chain import ModelResult
from taskdistill.flows.reports.remarks import scores_for_programs
from taskdistill.flows.reports.shipping import best_commands, best_student
from taskdistill.storage.store import ArtifactStore
from tests.flows.scored import evaluated


def scored(store: ArtifactStore, model: str, seed: int | None, val: int, test: int) -> ModelResult:
    """A model that has so many of ten images right on each split."""
    right = {count: [1.0] * count + [0.0] * (10 - count) for count in (val, test)}
    return evaluated(store, model, seed, right[test], val=right[val])


@pytest.fixture
def results(store: ArtifactStore) -> list[ModelResult]:
    return [
        scored(store, "teacher probed", None, 10, 10),
        scored(store, "student finetuned", 0, 7, 9),
        scored(store, "student distilled", 0, 9, 8),
        scored(store, "student distilled", 1, 8, 9),
    ]


def test_it_is_the_best_on_validation_and_its_test_score_is_told_with_its_interval(
    results: list[ModelResult], store: ArtifactStore
) -> None:
    best = best_student(results, store)
    assert best is not None
    assert best.artifact == results[2].artifact
    # On test 8 of 10: a standard error of sqrt(0.8 * 0.2 / 10) = 0.1265, and 0.8 + 2 * 0.1265 is more than all.
    assert str(best) == (
        "Best on validation: student distilled, seed 0 (top-1 90.0 %); on test 80.0 %, 54.7 to 100.0 within two "
        "standard errors (10 images)."
    )
    assert f"taskdistill label shapes {best.artifact.short}" in best_commands(best, "shapes")[1]


def test_of_equal_ones_it_is_the_first(store: ArtifactStore) -> None:
    results = [scored(store, "student distilled", seed, 8, 8) for seed in (3, 1)]
    best = best_student(results, store)
    assert best is not None
    assert best.result.seed == 3


def test_programs_are_told_too(results: list[ModelResult], store: ArtifactStore) -> None:
    told = scores_for_programs(results, store)["best"]
    assert (told["reference"], told["val"], told["test"]) == (str(results[2].artifact), 0.9, 0.8)


def test_where_nothing_was_scored_on_validation_there_is_none(store: ArtifactStore) -> None:
    assert best_student([evaluated(store, "student distilled", 0, [1.0, 0.0])], store) is None
