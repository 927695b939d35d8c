"""Confusion matrices, against scikit-learn, and the order of their classes."""

import warnings

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, precision_score, recall_score

from taskdistill.tasks.functional.confusions import (
    ConfusedPair,
    clustered_order,
    confused_pairs,
    confusion_counts,
    most_confused_block,
    precision,
    recall,
)

GENERATOR = np.random.default_rng(0)
LABELS, PREDICTED = GENERATOR.integers(0, 6, 200), GENERATOR.integers(0, 6, 200)
TWO_GROUPS = np.asarray([[5, 0, 4, 0], [0, 5, 0, 3], [4, 0, 5, 0], [0, 3, 0, 5]])
"""0 is taken for 2, and 1 for 3."""


def test_counts_recall_and_precision_are_those_of_scikit_learn() -> None:
    counts = confusion_counts(LABELS, PREDICTED, 6)
    assert (counts == confusion_matrix(LABELS, PREDICTED)).all()
    assert recall(counts) == pytest.approx(recall_score(LABELS, PREDICTED, average=None))
    assert precision(counts) == pytest.approx(precision_score(LABELS, PREDICTED, average=None))


def test_a_class_without_images_has_no_recall_and_one_never_answered_no_precision() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        counts = confusion_counts(np.asarray([0, 0]), np.asarray([0, 1]), 3)
        assert np.isnan(recall(counts)).tolist() == [False, True, True]
        assert np.isnan(precision(counts)).tolist() == [False, False, True]


def test_classes_that_are_confused_become_neighbours() -> None:
    order = clustered_order(TWO_GROUPS).tolist()
    assert sorted(order) == [0, 1, 2, 3]
    assert {frozenset(order[:2]), frozenset(order[2:])} == {frozenset({0, 2}), frozenset({1, 3})}


@pytest.mark.parametrize("num_classes", [1, 2, 3])
def test_few_classes_have_an_order_too(num_classes: int) -> None:
    assert sorted(clustered_order(np.eye(num_classes, dtype=np.int64)).tolist()) == list(range(num_classes))


def test_pairs_are_counted_both_ways_the_most_confused_first() -> None:
    assert confused_pairs(TWO_GROUPS, 10) == [ConfusedPair(0, 2, 4, 4), ConfusedPair(1, 3, 3, 3)]
    assert confused_pairs(TWO_GROUPS, 1)[0].images == 8


def test_the_block_holds_whole_pairs() -> None:
    assert most_confused_block(TWO_GROUPS, 3).tolist() == [0, 2]
    assert most_confused_block(TWO_GROUPS, 4).tolist() == [0, 1, 2, 3]
