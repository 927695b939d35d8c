import math

import pytest

from taskdistill.tasks.functional.schedules import warmup_cosine, warmup_linear


def test_it_rises_in_equal_steps_and_reaches_one_at_the_last_of_them() -> None:
    assert [warmup_cosine(step, num_steps=20, num_warmup=4) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]


def test_it_falls_as_half_a_cosine() -> None:
    # 8 steps after 2 of warmup: progress 0, 1/8, ... 7/8.
    found = [warmup_cosine(step, num_steps=10, num_warmup=2) for step in range(2, 10)]
    assert found[0] == 1.0
    assert found[2] == pytest.approx((1 + math.sqrt(0.5)) / 2)
    assert found[4] == pytest.approx(0.5)
    assert found[6] == pytest.approx((1 - math.sqrt(0.5)) / 2)
    assert found == sorted(found, reverse=True)
    assert 0 < found[-1] < 0.05


def test_without_warmup_the_first_step_is_the_largest() -> None:
    assert warmup_cosine(0, num_steps=10, num_warmup=0) == 1.0


def test_a_run_of_one_step_takes_it_in_full() -> None:
    assert warmup_cosine(0, num_steps=1, num_warmup=0) == 1.0
    assert warmup_cosine(0, num_steps=1, num_warmup=1) == 1.0


def test_a_run_that_is_all_warmup_ends_at_the_peak() -> None:
    assert warmup_cosine(4, num_steps=5, num_warmup=5) == 1.0


def test_the_other_rises_alike_and_falls_in_equal_steps() -> None:
    found = [warmup_linear(step, num_steps=7, num_warmup=2) for step in range(7)]
    assert found == pytest.approx([0.5, 1, 1, 0.8, 0.6, 0.4, 0.2])
    assert warmup_linear(0, num_steps=1, num_warmup=0) == 1.0
