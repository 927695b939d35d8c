"""What a person reads of a dataset."""

from taskdistill.flows.pipeline.dataset_words import dataset_words
from taskdistill.storage.summaries import IngestSummary

COUNTS = {"cat": {"train": 9, "val": 1, "test": 2}, "a dog": {"train": 12, "val": 0, "test": 2}}


def test_classes_with_their_counts_then_what_was_left_out_and_decided() -> None:
    dataset = IngestSummary(
        splits={"train": 21, "val": 1, "test": 4}, classes=2, counts=COUNTS,
        left_out={"not an image": 3}, left_out_first=["a.txt: not an image"],
        made_splits=["a split was made"], said=["'eval' is read as the test split"],
    )  # fmt: skip
    assert dataset_words(dataset) == [
        "26 images of 2 classes: train 21, val 1, test 4",
        "  cat    train 9  val 1  test 2",
        "  a dog  train 12  val 0  test 2",
        "left out: not an image 3 (such as a.txt: not an image)",
        "a split was made",
        "'eval' is read as the test split",
    ]


def test_of_many_classes_the_smallest_are_listed() -> None:
    counts = {f"class {number}": {"train": 100 - number, "val": 1, "test": 1} for number in range(50)}
    lines = dataset_words(IngestSummary(splits={"train": 3775}, classes=50, counts=counts))
    assert len(lines) == 14
    assert lines[1] == "  class 49  train 51  val 1  test 1"
    assert lines[-1] == "  and 38 classes with as many training images or more"


def test_a_name_is_on_one_line_and_gives_the_terminal_no_orders() -> None:
    counts = {"\x1b[31mred\n": {"train": 1}, "x" * 300: {"train": 1}}
    lines = dataset_words(IngestSummary(splits={"train": 2}, classes=2, counts=counts))
    assert lines[1].startswith(r"  \x1b[31mred\n ")
    assert all(len(line) < 80 and line.isprintable() for line in lines)


def test_an_older_image_set_is_told_as_far_as_it_knows() -> None:
    summary = {"images": 3, "splits": {"train": 2, "test": 1}, "classes": 2, "made_splits": [], "quarantined": 1}
    assert dataset_words(IngestSummary(**summary)) == [
        "3 images of 2 classes: train 2, test 1",
        "set aside: 1 image that cannot be used",
    ]
