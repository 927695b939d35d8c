"""Each row of a batch is taken by one rank, together with the row that it is mixed with."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from taskdistill.tasks.functional.mixup import mixed_images, mixup
from taskdistill.tasks.functional.shares import WHOLE, Share


def test_a_rank_takes_rows_from_the_front_and_those_opposite() -> None:
    assert [Share(rank, 2).of(8).tolist() for rank in range(2)] == [[0, 1, 6, 7], [2, 3, 4, 5]]  # type: ignore[union-attr]


def test_of_an_odd_number_the_row_in_the_middle_is_alone() -> None:
    assert [Share(rank, 2).of(5).tolist() for rank in range(2)] == [[0, 4], [1, 2, 3]]  # type: ignore[union-attr]


def test_one_row_leaves_a_rank_without_any() -> None:
    assert [Share(rank, 2).of(1).tolist() for rank in range(2)] == [[], [0]]  # type: ignore[union-attr]


def test_who_trains_alone_takes_the_rows_themselves_and_no_copy() -> None:
    rows_N = np.arange(5)
    assert np.shares_memory(rows_N[WHOLE.of(5)], rows_N)


@given(st.integers(1, 40), st.integers(1, 5))
def test_every_row_is_taken_once_and_no_rank_has_three_more_than_another(num_rows: int, num_ranks: int) -> None:
    taken = [np.arange(num_rows)[Share(rank, num_ranks).of(num_rows)] for rank in range(num_ranks)]
    assert sorted(np.concatenate(taken).tolist()) == list(range(num_rows))
    assert max(map(len, taken)) - min(map(len, taken)) <= 3


@pytest.mark.parametrize("num_rows", [8, 9])
def test_a_share_is_mixed_as_it_is_in_the_whole_batch(num_rows: int) -> None:
    images_NCHW, mixing = torch.arange(float(num_rows)).view(-1, 1, 1, 1) ** 2, mixup(0.75, (1, 1))
    whole = mixed_images(images_NCHW, mixing)
    for rank in range(3):
        taken = Share(rank, 3).of(num_rows)
        assert torch.equal(mixed_images(images_NCHW[taken], mixing), whole[taken])
