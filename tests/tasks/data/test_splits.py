"""Classes and splits: what is checked before any image is opened, and what is made where the dataset says nothing."""

from collections import Counter
from pathlib import Path

import pytest

from taskdistill.configs.data import IngestConfig
from taskdistill.tasks.data.candidates import Candidate, DatasetError
from taskdistill.tasks.data.splits import check_splits, class_names, with_splits

CONFIG = IngestConfig()


def images(label: str, count: int, split: str = "", first: int = 0) -> list[Candidate]:
    ids = [f"{split}{label}/{number:05d}.jpg" for number in range(first, first + count)]
    return [Candidate(image_id, Path("data"), label, split) for image_id in ids]


def split_of(candidates: list[Candidate], config: IngestConfig = CONFIG) -> dict[str, str]:
    return {candidate.id: candidate.split for candidate in with_splits(candidates, config)[0]}


# --- classes -------------------------------------------------------------------------------------------------------


def test_classes_are_in_the_order_of_their_names() -> None:
    assert class_names(images("dog", 1) + images("cat", 1) + images("Ape", 1)) == ["Ape", "cat", "dog"]


def test_classes_that_are_all_numbers_are_in_the_order_of_the_numbers() -> None:
    assert class_names(images("10", 1) + images("9", 1) + images("100", 1)) == ["9", "10", "100"]


def test_one_name_among_numbers_makes_all_of_them_names() -> None:
    assert class_names(images("10", 1) + images("9", 1) + images("other", 1)) == ["10", "9", "other"]


def test_classes_that_differ_only_in_case_are_refused() -> None:
    with pytest.raises(DatasetError, match=r"\['Cat', 'cat'\] differ only in case"):
        class_names(images("cat", 2) + images("Cat", 2) + images("dog", 2))


@pytest.mark.parametrize(("one", "other"), [("1", "01"), ("elk", "e\u200blk"), ("red fox", "red  fox")])
def test_classes_that_are_too_alike_are_refused_with_what_to_do(one: str, other: str) -> None:
    with pytest.raises(DatasetError, match=r"the classes \[.*\] .*: rename or merge them, in the folders or"):
        class_names(images(one, 2) + images(other, 2) + images("dog", 2))


def test_a_single_class_is_refused() -> None:
    with pytest.raises(DatasetError, match=r"only one class, \['cat'\]: a task needs at least two"):
        class_names(images("cat", 5))


def without_labels(count: int) -> list[Candidate]:
    return [candidate._replace(label=None) for candidate in images("street", count)]


def test_the_classes_that_a_dataset_names_are_taken_in_its_order() -> None:
    assert class_names(without_labels(3), ["sky", "road"]) == ["sky", "road"]
    assert class_names(images("dog", 1) + images("cat", 1), ["dog", "eel", "cat"]) == ["dog", "eel", "cat"]


def test_labels_that_are_none_of_the_classes_a_dataset_names_are_refused() -> None:
    with pytest.raises(DatasetError, match=r"the labels \['cat'\] are none of the classes .* 'dog', 'eel'"):
        class_names(images("dog", 1) + images("cat", 1), ["dog", "eel"])


def test_labels_for_some_of_the_images_are_refused() -> None:
    with pytest.raises(
        DatasetError, match=r"1 of 3 images have no label while others do, such as .*: give all of them"
    ):
        class_names(images("cat", 2) + without_labels(1), ["cat", "dog"])


def test_without_labels_and_without_classes_there_is_nothing_to_learn() -> None:
    with pytest.raises(DatasetError, match=r"none of the 3 images has a label or a mask: give them one"):
        class_names(without_labels(3))


def test_images_without_labels_are_split_together() -> None:
    found, made = with_splits(without_labels(200), CONFIG)
    assert {candidate.label for candidate in found} == {None}
    assert len(made) == 2
    count = Counter(candidate.split for candidate in found)
    assert count.total() == 200
    assert all(10 <= count[split] <= 30 for split in ("val", "test"))  # a tenth, give or take half of it
    check_splits(found, ["sky", "road"])


def test_too_few_images_without_labels_to_share_are_refused() -> None:
    with pytest.raises(DatasetError, match=r"'no label' has 3"):
        with_splits(without_labels(3), CONFIG)


# --- splits that are made ------------------------------------------------------------------------------------------


def test_a_share_of_each_class_is_held_out() -> None:
    config = IngestConfig(test_share=0.2, val_share=0.25)
    splits = split_of(images("cat", 2000) + images("dog", 500), config)
    for label, count in (("cat", 2000), ("dog", 500)):
        found = Counter(split for image_id, split in splits.items() if image_id.startswith(label))
        assert found["test"] == pytest.approx(0.2 * count, rel=0.15)
        assert found["val"] == pytest.approx(0.25 * 0.8 * count, rel=0.15)  # of what test has left
        assert sum(found.values()) == count


def test_small_classes_give_at_least_one_image_and_never_much_more_than_their_share() -> None:
    for count in range(4, 40):
        for label in ("cat", "dog", "cow", "ant", "bee", "owl"):
            found = Counter(split_of(images(label, count)).values())
            assert 1 <= found["test"] <= max(1, 0.15 * count + 0.5)
            assert 1 <= found["val"] <= max(1, 0.15 * count + 0.5)
            assert found["train"] >= 2


def test_adding_images_later_moves_none_of_the_others() -> None:
    before = split_of(images("cat", 300) + images("dog", 300))
    after = split_of(images("cat", 300) + images("dog", 450) + images("cow", 300))
    assert {image_id: after[image_id] for image_id in before} == before
    assert Counter(after[f"dog/{number:05d}.jpg"] for number in range(300, 450))["test"] > 5


def test_the_order_of_the_files_does_not_matter() -> None:
    candidates = images("cat", 40) + images("dog", 40)
    assert split_of(candidates[::-1]) == split_of(candidates)


def test_only_the_split_that_is_missing_is_made_and_it_is_said() -> None:
    named = (
        images("cat", 30, "train") + images("dog", 30, "train") + images("cat", 5, "test") + images("dog", 5, "test")
    )
    result, made = with_splits(named, CONFIG)
    assert {candidate.id for candidate in result if candidate.split == "test"} == {
        candidate.id for candidate in named if candidate.split == "test"
    }
    count = sum(candidate.split == "val" for candidate in result)
    share = f"{100 * count / 60:.0f}% of them"
    assert made == [f"the dataset names no val split: {count} training images were held out for it ({share})"]
    assert count >= 2


def test_a_dataset_with_all_splits_is_left_as_it_is() -> None:
    named = [image for split in ("train", "val", "test") for image in images("cat", 3, split)]
    assert with_splits(named, CONFIG) == (named, [])


def test_images_without_a_split_among_others_with_one_are_refused() -> None:
    with pytest.raises(DatasetError, match="3 of 5 images have no split while others do: name all or none"):
        with_splits(images("cat", 2, "train") + images("dog", 3), CONFIG)


# --- what could not be learnt --------------------------------------------------------------------------------------


def test_a_class_of_one_image_is_refused_with_its_count() -> None:
    with pytest.raises(DatasetError, match=r"at least 2 training images .*: 'dog' has 1\. Add images"):
        check_splits(images("cat", 2, "train") + images("dog", 1, "train"), ["cat", "dog"])


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_class_too_small_for_the_splits_that_are_made_is_no_fault_of_its_names(count: int) -> None:
    with pytest.raises(
        DatasetError, match=rf"names no test and no val split, so .* class needs 4: .*; 'dog' has {count}\. Add images"
    ):
        with_splits(images("cat", 20) + images("dog", count), CONFIG)


def test_a_small_class_is_enough_for_the_only_split_that_is_made() -> None:
    named = images("cat", 3, "train") + images("dog", 3, "train") + images("cat", 1, "val")
    candidates, made = with_splits(named, CONFIG)
    check_splits(candidates, ["cat", "dog"])
    assert len(made) == 1


def test_a_label_of_test_that_train_lacks_is_refused_by_name() -> None:
    named = images("cat", 3, "train") + images("dog", 3, "train") + images("cow", 1, "test")
    with pytest.raises(
        DatasetError, match=r"\['cow'\] appear in val or test but in no training image.*\['cat', 'dog'\]"
    ):
        check_splits(named, ["cat", "cow", "dog"])


def test_a_dataset_without_images_to_learn_from_is_refused() -> None:
    with pytest.raises(DatasetError, match="no image is in a train split, all are in test, val: name the one to learn"):
        check_splits(images("cat", 3, "test") + images("cat", 3, "val"), ["cat", "dog"])


def test_two_training_images_a_class_are_enough() -> None:
    check_splits(images("cat", 2, "train") + images("dog", 2, "train") + images("dog", 1, "val"), ["cat", "dog"])
