"""What folders and tables call their splits."""

import pytest

from taskdistill.tasks.data.candidates import DatasetError
from taskdistill.tasks.data.split_names import HELD_OUT, explained, hint, meaning, resolve


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", "train"), ("Training Set", "train"), ("train2017", "train"), ("TRN", "train"), ("trainset", "train"),
        ("train_images", "train"),
        ("val", "val"), ("valid", "val"), ("Validation-Data", "val"), ("dev", "val"),
        ("test", "test"), ("testing", "test"), ("test1", "test"), ("images_test", "test"), ("tst", "test"),
        ("eval", HELD_OUT), ("evaluation", HELD_OUT), ("hold-out", HELD_OUT), ("held_out", HELD_OUT),
    ],
)  # fmt: skip
def test_a_name_says_its_split_in_many_ways(name: str, split: str) -> None:
    assert meaning(name) == split


@pytest.mark.parametrize("name", ["cat", "steam train", "test tube", "contest", "trained", "images", "2017", "猫", ""])
def test_other_names_say_none(name: str) -> None:
    assert meaning(name) == ""


@pytest.mark.parametrize(
    ("name", "split"), [("seg_train", "train"), ("trainA", "train"), ("bounding_box_test", "test"), ("contest", "")]
)
def test_one_word_of_a_name_may_hint_at_a_split(name: str, split: str) -> None:
    assert hint(name) == split


@pytest.mark.parametrize(
    ("names", "split"),
    [
        (["train", "eval"], "test"),
        (["train", "val", "eval"], "test"),
        (["train", "test", "eval"], "val"),
        (["eval"], "test"),
    ],
)
def test_what_is_held_out_is_test_where_nothing_else_is_and_else_val(names: list[str], split: str) -> None:
    splits = resolve([*names, "cat"], "here")
    assert splits["eval"] == split
    assert splits.keys() == set(names)
    assert explained(splits) == [f"'eval' is read as the {split} split"]


def test_what_is_held_out_beside_val_and_test_is_refused() -> None:
    with pytest.raises(DatasetError, match="here has test, val and also 'eval', which could be either: rename it"):
        resolve(["train", "val", "test", "eval"], "here")


def test_common_names_need_no_explanation() -> None:
    assert explained(resolve(["Train", "valid", "TEST"], "here")) == []
