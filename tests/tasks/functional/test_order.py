import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from taskdistill.tasks.functional.order import visits

sizes = st.integers(1, 40)
seeds = st.integers(0, 5)


@given(sizes, seeds, st.integers(0, 6))
def test_each_epoch_visits_every_item_once(size: int, seed: int, epoch: int) -> None:
    items, epochs = visits(epoch * size, size, size=size, seed=seed)
    assert sorted(items.tolist()) == list(range(size))
    assert set(epochs.tolist()) == {epoch}


@given(sizes, seeds, st.integers(0, 100), st.integers(1, 60), st.integers(0, 60))
def test_the_stream_can_be_taken_up_at_any_position(size: int, seed: int, start: int, count: int, cut: int) -> None:
    cut = min(cut, count)
    whole = visits(start, count, size=size, seed=seed)
    parts = [visits(start, cut, size=size, seed=seed), visits(start + cut, count - cut, size=size, seed=seed)]
    for index in range(2):
        assert whole[index].tolist() == [*parts[0][index].tolist(), *parts[1][index].tolist()]


def test_a_batch_may_end_one_epoch_and_begin_the_next() -> None:
    items, epochs = visits(8, 4, size=10, seed=0)
    first, second = (np.random.default_rng([0, epoch]).permutation(10) for epoch in (0, 1))
    assert epochs.tolist() == [0, 0, 1, 1]
    assert items.tolist() == [*first[8:].tolist(), *second[:2].tolist()]


def test_a_batch_larger_than_the_set_sees_items_again_in_later_epochs() -> None:
    items, epochs = visits(0, 7, size=3, seed=0)
    assert epochs.tolist() == [0, 0, 0, 1, 1, 1, 2]
    assert sorted(items[:3].tolist()) == sorted(items[3:6].tolist()) == [0, 1, 2]


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    orders = {tuple(visits(epoch * 30, 30, size=30, seed=seed)[0].tolist()) for epoch in range(3) for seed in range(3)}
    assert len(orders) == 9
