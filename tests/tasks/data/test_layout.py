"""How a folder is read: the rules that are written at the top of tasks/data/layout.py, and what they refuse."""

from pathlib import Path

import pytest

from taskdistill.tasks.data.candidates import DatasetError
from taskdistill.tasks.data.layout import Layout, decide

HERE = Path("/photos")


def read(*paths: str, stated: str = "by-names") -> Layout:
    return decide(HERE, [tuple(path.split("/")) for path in paths], stated)


def all_of(tops: str, inner: str, files: int = 2) -> list[str]:
    """Return top/inner/0.jpg ... for each pair of names."""
    return [f"{top}/{name}/{number}.jpg" for top in tops.split() for name in inner.split() for number in range(files)]


# --- what is read --------------------------------------------------------------------------------------------------


def test_splits_may_stand_above_the_classes() -> None:
    assert read(*all_of("train test", "ash birch")) == Layout(1, 0, {"train": "train", "test": "test"})


def test_splits_may_stand_below_the_classes() -> None:
    assert read(*all_of("ash birch", "train val")) == Layout(0, 1, {"train": "train", "val": "val"})


def test_classes_may_stand_alone() -> None:
    assert read("ash/1.jpg", "birch/2.jpg") == Layout(0)


def test_a_split_with_an_uncommon_name_is_no_class() -> None:
    assert read(*all_of("train eval", "ash birch")) == Layout(1, 0, {"train": "train", "eval": "test"})


def test_trains_are_a_class_where_their_pictures_lie_beside_other_classes() -> None:
    assert read("bus/1.jpg", "train/2.jpg", "car/3.jpg") == Layout(0)


def test_one_class_may_have_a_folder_called_train() -> None:
    assert read("toys/train/1.jpg", "toys/2.jpg", "cars/3.jpg") == Layout(0)


def test_files_may_lie_deeper_than_their_class() -> None:
    assert read("ash/2021/may/1.jpg", "birch/2022/june/2.jpg") == Layout(0)
    assert read(*all_of("ash birch", "images")) == Layout(0)
    assert read(*all_of("tumor healthy", "images"), *all_of("tumor", "p1 p2"), *all_of("healthy", "p3 p4")) == Layout(0)


# --- what is refused, and what the message advises ------------------------------------------------------------------


def refused(*paths: str, stated: str = "by-names") -> str:
    with pytest.raises(DatasetError) as caught:
        read(*paths, stated=stated)
    return str(caught.value)


def test_pictures_directly_in_a_split_are_refused_with_three_ways_out() -> None:
    said = refused(*all_of("train", "ash birch"), "val/1.jpg", "val/2.jpg")
    assert said.startswith("/photos/val holds 2 pictures but no class folders")
    for way in ("as in /photos/train", "--set data.form=table", "move 'val' elsewhere"):
        assert way in said


def test_a_flat_test_folder_beside_class_folders_is_no_class() -> None:
    assert "split folders (test) beside others ('ash', 'birch')" in refused("ash/1.jpg", "birch/2.jpg", "test/3.jpg")


def test_a_dataset_in_a_folder_of_its_own_is_named() -> None:
    for inner in (all_of("train test", "ash birch"), ["ash/1.jpg", "birch/1.jpg"], all_of("ash birch", "train test")):
        assert refused(*(f"set/{path}" for path in inner)).endswith("did you mean /photos/set?")


def test_a_dataset_two_folders_down_is_named() -> None:
    assert "/photos/a/b" in refused(*(f"a/b/{path}" for path in all_of("train test", "ash birch")))


def test_a_dataset_in_a_folder_beside_another_folder_is_named() -> None:
    said = refused(*(f"set/{path}" for path in all_of("train test", "ash birch")), "samples/1.jpg")
    assert "did you mean /photos/set?" in said


def test_an_unknown_folder_beside_a_split_is_named() -> None:
    said = refused(*all_of("train fold", "ash birch"))
    assert "split folders (train) beside others ('fold')" in said
    assert "--set data.layout=class" in said


def test_two_folders_of_one_split_are_named() -> None:
    assert "the folders 'val', 'validation' all mean the val split" in refused(
        *all_of("train val validation", "ash birch")
    )


def test_splits_in_some_classes_only_are_refused() -> None:
    assert "hold split folders (test, train), but 'birch'" in refused(
        *all_of("ash", "train test"), "birch/1.jpg", "birch/2.jpg"
    )


@pytest.mark.parametrize("tops", ["part1 part2", "fold1 fold2 fold3", "Trainingsbilder Testbilder"])
def test_folders_in_which_the_same_folders_repeat_are_no_classes(tops: str) -> None:
    assert "looks more like classes" in refused(*all_of(tops, "ash birch cedar"))


def test_the_same_folders_may_repeat_one_level_further_down() -> None:
    paths = [f"seg_{split}/seg_{split}/{path}" for split in ("one", "two") for path in all_of("ash birch", "x")]
    assert "looks more like classes" in refused(*paths)


def test_a_wrapper_in_each_split_is_no_class() -> None:
    paths = [f"{split}/images/{name}/1.jpg" for split in ("train", "test") for name in ("ash", "birch")]
    assert "the folders 'images' would be the classes, but what they hold ('ash', 'birch')" in refused(*paths)


def test_folders_that_speak_of_splits_are_no_classes_even_when_they_hold_pictures() -> None:
    assert "the folders 'testA', 'testB', 'trainA' and 1 more look like splits" in refused(
        "trainA/1.jpg", "trainB/2.jpg", "testA/3.jpg", "testB/4.jpg"
    )


def test_many_pictures_in_no_class_folder_are_refused() -> None:
    assert "3 of 5 pictures in /photos lie in no class folder, such as '1.jpg', '2.jpg', '3.jpg'" in refused(
        "1.jpg", "2.jpg", "3.jpg", "ash/4.jpg", "birch/5.jpg"
    )


# --- what the user states --------------------------------------------------------------------------------------------


def test_what_is_stated_settles_every_doubt() -> None:
    assert read(*all_of("train fold", "ash birch"), stated="class") == Layout(0)
    assert read("ash/1.jpg", "test/1.jpg", stated="class") == Layout(0)
    assert read(*all_of("train test", "one two"), stated="split/class").splits == {"train": "train", "test": "test"}
    assert read(*all_of("train test", "train test"), stated="class/split") == Layout(
        0, 1, {"train": "train", "test": "test"}
    )


@pytest.mark.parametrize("stated", ["split/class", "class/split"])
def test_a_statement_that_cannot_be_true_is_refused(stated: str) -> None:
    assert f"data.layout is {stated}, but the folders 'a', 'b' of /photos are named like no split" in refused(
        "a/a/1.jpg", "b/b/1.jpg", stated=stated
    )
