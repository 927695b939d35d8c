"""The preset `camvid` on the real frames, as far as `plan` goes: which sequence is learnt from and which is not."""

from pathlib import Path

import pytest

from taskdistill.configs.loading import load_experiment
from taskdistill.flows.pipeline.planning import make_plan
from taskdistill.storage.store import ArtifactStore

FRAMES = {"0001TP": (8, 54), "0006R0": (13, 88), "0016E5": (24, 180)}
"""Of each sequence, by the README of the data: with masks in train, and without."""


def splits(store: ArtifactStore, *overrides: str) -> dict[str, int]:
    plan = make_plan(load_experiment("camvid", overrides), store)
    assert {step.action for step in plan.steps} == {"build"}
    return dict(plan.datasets[0].splits)


def test_the_18_pairs_of_val_are_the_test_split_and_all_of_train_is_shared(
    store: ArtifactStore, real_data: Path
) -> None:
    found = splits(store)
    assert (found["test"], found["train"] + found["val"], found["unlabelled"]) == (18, 45, 322)
    assert 6 <= found["val"] <= 10


@pytest.mark.parametrize("sequence", FRAMES)
def test_a_sequence_that_is_left_out_is_neither_learnt_from_nor_shown_to_the_teacher(
    store: ArtifactStore, real_data: Path, sequence: str
) -> None:
    left_out = f"data.left_out_images=[val/*,unlabelled/{sequence}_*]"
    found = splits(store, f"data.test_images=[train/{sequence}_*]", left_out)
    with_masks, without = FRAMES[sequence]
    assert found["test"] == with_masks
    assert found["train"] + found["val"] == 45 - with_masks
    assert found["unlabelled"] == 322 - without
