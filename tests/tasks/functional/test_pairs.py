"""Pairs of images: numbered without gaps, drawn without repetition, within a class, or among neighbours."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskdistill.tasks.functional.pairs import nearest_pairs, pair_of, same_class_pairs, uniform_pairs


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_the_first_pairs_are_counted_as_the_docstring_says() -> None:
    assert pair_of(np.arange(6)).tolist() == [[0, 1], [0, 2], [1, 2], [0, 3], [1, 3], [2, 3]]


@given(st.integers(1, 2_000_000_000))
def test_the_number_of_a_pair_leads_back_to_it_however_large(b: int) -> None:
    first, last = b * (b - 1) // 2, b * (b - 1) // 2 + b - 1
    assert pair_of(np.asarray([first, last])).tolist() == [[0, b], [b - 1, b]]


def test_all_pairs_of_five_images_come_before_any_comes_twice() -> None:
    drawn = [tuple(pair) for pair in uniform_pairs(25, 5, rng()).tolist()]
    every = sorted(itertools.combinations(range(5), 2))
    assert sorted(drawn[:10]) == sorted(drawn[10:20]) == every
    assert len(set(drawn[20:])) == 5


def test_every_pair_is_as_likely_as_any_other() -> None:
    counts = np.zeros((4, 4), int)
    for seed in range(3000):
        a, b = uniform_pairs(1, 4, rng(seed))[0]
        counts[a, b] += 1
    drawn = counts[np.triu_indices(4, 1)]
    assert counts.sum() == drawn.sum() == 3000
    assert abs(drawn - 500).max() < 5 * np.sqrt(500 * 5 / 6)  # five standard deviations


def test_a_hundred_thousand_images_need_no_table_of_all_pairs() -> None:
    pairs = uniform_pairs(1000, 100_000, rng())
    assert len({tuple(pair) for pair in pairs.tolist()}) == 1000
    assert (pairs[:, 0] < pairs[:, 1]).all()
    assert pairs.max() > 90_000


def test_pairs_of_one_class_come_from_every_class_that_has_two_images() -> None:
    labels = np.asarray([0, 1, 0, 2, 1, 0])
    drawn = {tuple(pair) for pair in same_class_pairs(4, labels, rng()).tolist()}
    assert drawn == {(0, 2), (0, 5), (2, 5), (1, 4)}


def test_neighbours_are_those_of_the_largest_cosine() -> None:
    angles = np.radians([0, 10, 25, 180, 190])
    lengths = np.asarray([1, 5, 2, 1, 9])[:, None]
    embeddings = (np.stack([np.cos(angles), np.sin(angles)], axis=1) * lengths).astype(np.float16)
    drawn = {tuple(pair) for pair in nearest_pairs(3, embeddings, 1, rng()).tolist()}
    assert drawn == {(0, 1), (1, 2), (3, 4)}


def test_more_neighbours_than_images_means_all_of_them() -> None:
    embeddings = rng().normal(size=(4, 8))
    assert len({tuple(pair) for pair in nearest_pairs(6, embeddings, 50, rng()).tolist()}) == 6


@pytest.mark.parametrize("seed", [0, 1])
def test_the_same_seed_draws_the_same_pairs(seed: int) -> None:
    first, second = (uniform_pairs(20, 50, rng(seed)) for _ in range(2))
    assert first.tolist() == second.tolist()
    assert first.tolist() != uniform_pairs(20, 50, rng(seed + 1)).tolist()
