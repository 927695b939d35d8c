"""Byte-identical images that carry several labels."""

from pathlib import Path

import pytest

from taskdistill.tasks.data.candidates import Candidate
from taskdistill.tasks.data.contradictions import contradictions, counts_of, identical
from tests.storage.artifacts import opened_files

NETPBM = b"P5 1 1 255\n"
"""A picture begins like this, and what follows makes no difference to the header."""


def written(folder: Path, **files: tuple[bytes, str, str]) -> list[Candidate]:
    """Write files of (content, label, split) and return them as candidates."""
    for name, (content, _, _) in files.items():
        (folder / name).write_bytes(content)
    return [Candidate(name, folder, label, split) for name, (_, label, split) in files.items()]


def test_only_identical_files_of_several_classes_contradict_each_other(tmp_path: Path) -> None:
    end = bytes(5000)
    candidates = written(
        tmp_path,
        a=(NETPBM + b"1" + end, "cat", "train"),
        b=(NETPBM + b"1" + end, "dog", "test"),
        same_class=(NETPBM + b"2" + end, "cat", "train"),
        same_class_too=(NETPBM + b"2" + end, "cat", "test"),
        same_end_only=(NETPBM + b"3" + end, "dog", "train"),
        same_size_only=(NETPBM + end + b"1", "cow", "train"),
    )
    assert [[one.id for one in group] for group in contradictions(candidates)] == [["a", "b"]]


@pytest.mark.parametrize("content", [b"", b"<!doctype html><title>403 Forbidden</title>"], ids=["empty", "a web page"])
def test_failed_downloads_are_broken_images_and_no_contradiction(tmp_path: Path, content: bytes) -> None:
    assert contradictions(written(tmp_path, a=(content, "cat", "train"), b=(content, "dog", "train"))) == []


def test_files_whose_sizes_differ_are_not_opened(tmp_path: Path) -> None:
    candidates = written(tmp_path, a=(b"1", "cat", ""), b=(b"22", "dog", ""), c=(b"333", "cow", ""))
    with opened_files() as opened:
        assert contradictions(candidates) == []
    assert not [path for path in opened if path.startswith(str(tmp_path))]


@pytest.mark.parametrize(
    ("others", "counted"),
    [
        ([("cat", "train")], (0, 0, 1)),
        ([("cat", "test")], (1, 0, 0)),
        ([("dog", "train")], (0, 1, 0)),
        ([("dog", "test")], (1, 1, 0)),
        ([("dog", "test"), ("cat", "train")], (1, 1, 0)),
        ([], (0, 0, 0)),
    ],
)
def test_a_group_is_counted_for_each_thing_that_is_wrong_with_it(
    tmp_path: Path, others: list[tuple[str, str]], counted: tuple[int, int, int]
) -> None:
    everyone = [("cat", "train"), *others]
    kept = [Candidate(str(number), tmp_path, *one) for number, one in enumerate(everyone)]
    assert tuple(counts_of(identical(kept, {one.id: "abc" for one in kept})).as_json().values()) == counted
