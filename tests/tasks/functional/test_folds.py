"""Images are dealt to folds by class, in an order that depends on their ids alone."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from taskdistill.tasks.functional.folds import folds_of


def test_each_class_is_dealt_in_the_order_of_its_hashed_ids_and_the_next_goes_on() -> None:
    # blake2b begins with 33 (a), c0 (b), 43 (c), 0f (d), fa (e), c6 (f), in hexadecimal; so the images come in the
    # order f, which has no label; then a, c of class 0; then d, b, e of class 1.
    fold_N = folds_of(list("abcdef"), np.array([0, 1, 0, 1, 1, -1]), 2)
    assert dict(zip("facdbe", fold_N[[5, 0, 2, 3, 1, 4]].tolist(), strict=True)) == {
        "f": 0, "a": 1, "c": 0, "d": 1, "b": 0, "e": 1,
    }  # fmt: skip


@given(st.lists(st.integers(-1, 3), min_size=2, max_size=60), st.integers(2, 20))
def test_folds_and_the_images_of_each_class_in_them_differ_by_one_at_most(labels: list[int], num_folds: int) -> None:
    labels_N = np.array(labels)
    fold_N = folds_of([f"{row}.png" for row in range(len(labels))], labels_N, num_folds)
    for of_class in (fold_N, *(fold_N[labels_N == label] for label in set(labels))):
        sizes = np.bincount(of_class, minlength=num_folds)
        assert len(sizes) == num_folds
        assert sizes.max() - sizes.min() <= 1


def test_the_order_in_which_images_are_given_changes_nothing() -> None:
    ids, labels_N = [f"{row}.png" for row in range(30)], np.arange(30) % 4
    shuffled = np.random.default_rng(0).permutation(30)
    fold_N = folds_of(ids, labels_N, 5)
    assert folds_of([ids[row] for row in shuffled], labels_N[shuffled], 5).tolist() == fold_N[shuffled].tolist()
