"""Losses are read for several steps together, and are what they would have been read one by one."""

import pytest
import torch

from taskdistill.tasks.training.loss_notes import READ_TOGETHER, LossNotes, TrainingDivergedError


def scalars(**values: float) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(value) for name, value in values.items()}


def test_losses_of_a_step_add_up_over_the_parts_of_its_batch() -> None:
    notes = LossNotes()
    notes.add(["a"], [scalars(loss=0.5, task_loss=0.25), scalars(loss=1.5, task_loss=0.75)])
    notes.add(["b"], [scalars(loss=4.0, task_loss=3.0)])
    assert notes.read(2, 9) == [{"loss": 2.0, "task_loss": 1.0}, {"loss": 4.0, "task_loss": 3.0}]


def test_what_was_read_is_not_read_again() -> None:
    notes = LossNotes()
    notes.add(["a"], [scalars(loss=0.5)])
    assert (len(notes.read(1, 9)), notes.read(1, 9)) == (1, [])


def test_numbers_are_those_that_each_scalar_says_by_itself() -> None:
    losses = torch.rand(5, generator=torch.Generator().manual_seed(0))
    notes = LossNotes()
    for loss in losses:
        notes.add(["a"], [{"loss": loss}])
    assert [found["loss"] for found in notes.read(5, 9)] == [loss.item() for loss in losses]


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), float("-inf")])
def test_the_first_loss_that_is_no_number_is_named_with_its_step_and_images(wrong: float) -> None:
    notes = LossNotes()
    for ids, loss in (("a", 1.0), ("b", wrong), ("c", float("nan"))):
        notes.add([ids, ids * 2], [scalars(loss=loss)])
    with pytest.raises(TrainingDivergedError, match=rf"the loss is {wrong} at step 7 of 20\. .*: b, bb$"):
        notes.read(9, 20)  # the three are steps 6, 7 and 8, counted from 0


def test_it_is_full_after_so_many_steps() -> None:
    notes = LossNotes()
    for _ in range(READ_TOGETHER):
        assert not notes.is_full
        notes.add(["a"], [scalars(loss=1.0)])
    assert notes.is_full
