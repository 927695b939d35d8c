"""A file has all of its bytes or does not exist: after an error, on a full disk, at any moment of death."""

import errno
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from taskdistill.storage.files import (
    all_files,
    atomic,
    make_folder,
    read_json,
    read_json_if_whole,
    remove_partials,
    write_json,
    write_passing_json,
)
from taskdistill.storage.image_set import ImageRow, write_shard
from taskdistill.storage.tables import PAIRS, write_columns, write_table
from taskdistill.storage.weights import write_tensors

MORE_THAN_FITS = 200_000


def test_what_is_written_appears_under_its_name_only_at_the_end(tmp_path: Path):
    with atomic(tmp_path / "scores.json") as partial:
        partial.write_text("half")
        assert not (tmp_path / "scores.json").exists()
    assert [path.name for path in all_files(tmp_path)] == ["scores.json"]


def test_after_an_error_the_old_content_is_there_and_nothing_else(tmp_path: Path):
    def fail_half_way() -> None:
        with atomic(tmp_path / "scores.json") as partial:
            partial.write_text("half")
            raise KeyError("half way")

    (tmp_path / "scores.json").write_text("old")
    with pytest.raises(KeyError):
        fail_half_way()
    assert [(path.name, path.read_text()) for path in all_files(tmp_path)] == [("scores.json", "old")]


def test_json_comes_back_as_it_was_given(tmp_path: Path):
    value = {"name": "Zaunkönig", "scores": [0.1, 1e-300, None], "ok": True}
    write_json(tmp_path / "value.json", value)
    assert read_json(tmp_path / "value.json") == value


def test_json_refuses_numbers_that_other_programs_could_not_read(tmp_path: Path):
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "value.json", {"loss": float("nan")})
    assert all_files(tmp_path) == []


WRITERS = {
    "json": lambda path: write_json(path, "x" * MORE_THAN_FITS),
    "tensors": lambda path: write_tensors(path, {"w": np.zeros(MORE_THAN_FITS, np.uint8)}),
    "table": lambda path: write_columns(path, {"noise": np.random.default_rng(0).bytes(MORE_THAN_FITS).split(b"\0")}),
    "rows": lambda path: write_table(
        path, PAIRS, ({"id": np.random.default_rng(n).bytes(500).hex()} for n in range(MORE_THAN_FITS // 500))
    ),
    "image shard": lambda path: write_shard(
        path.parent, 0, [ImageRow("a", np.random.default_rng(0).bytes(MORE_THAN_FITS), 1, 1, "train")]
    ),
}


@pytest.mark.parametrize("format_name", WRITERS)
def test_a_full_disk_is_an_error_of_the_system_and_leaves_nothing_half_written(tiny_disk: Path, format_name: str):
    with pytest.raises(OSError, match=r"[Nn]o space left on device") as caught:
        WRITERS[format_name](tiny_disk / "file")
    assert caught.value.errno == errno.ENOSPC
    assert all_files(tiny_disk) == []


def test_what_a_killed_writer_left_half_written_can_be_removed(tmp_path: Path):
    (tmp_path / "c" / "0").mkdir(parents=True)
    (tmp_path / "c" / "0" / "1.5f3a.partial").touch()
    (tmp_path / "manifest.json.123.partial").touch()
    (tmp_path / "c" / "0" / "0").touch()
    remove_partials(tmp_path)
    assert all_files(tmp_path) == [tmp_path / "c" / "0" / "0"]


def test_what_a_library_leaves_beside_its_file_goes_with_a_killed_write(tmp_path: Path):
    """safetensors writes to a temporary file of its own name, which nobody else would recognise."""
    (tmp_path / "draft").mkdir()
    with atomic(tmp_path / "draft" / "model.safetensors") as partial:
        (partial.parent / ".tmpQ7fzW2").write_text("half")
        shutil.copytree(tmp_path / "draft", tmp_path / "killed")
        partial.write_text("whole")
    assert [path.name for path in all_files(tmp_path / "killed")] == [".tmpQ7fzW2"]
    remove_partials(tmp_path / "killed")
    assert list((tmp_path / "killed").iterdir()) == []
    assert [path.name for path in (tmp_path / "draft").iterdir()] == ["model.safetensors"]


def test_two_writers_of_one_name_in_one_process_do_not_touch_each_other(tmp_path: Path):
    """Containers that share a store have the same process ids."""
    with atomic(tmp_path / "label") as first:
        first.write_text("first")
        with atomic(tmp_path / "label") as second:
            second.write_text("second")
    assert (tmp_path / "label").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["label"]


def test_a_file_and_its_name_are_on_the_disk_before_and_after_the_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    assert _synced(monkeypatch, lambda: write_json(tmp_path / "label", "x")) == ["file", "rename", "folder"]


def test_what_is_written_every_second_does_not_wait_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert _synced(monkeypatch, lambda: write_passing_json(tmp_path / "progress", "x")) == ["rename"]
    assert read_json(tmp_path / "progress") == "x"


def test_a_new_folder_and_those_above_it_are_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert _synced(monkeypatch, lambda: make_folder(tmp_path / "artifacts" / "model")) == ["folder", "folder"]
    assert _synced(monkeypatch, lambda: make_folder(tmp_path / "artifacts" / "model")) == []


@pytest.mark.parametrize("data", [None, b"", b"{", b"\0" * 20, b"\xff\xfe"])
def test_json_that_is_missing_or_torn_reads_as_nothing(tmp_path: Path, data: bytes | None):
    if data is not None:
        (tmp_path / "note.json").write_bytes(data)
    assert read_json_if_whole(tmp_path / "note.json") is None


def _synced(monkeypatch: pytest.MonkeyPatch, action: Callable[[], None]) -> list[str]:
    """Return what the action renamed and synced, in order; it does both."""
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def noting_fsync(descriptor: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def noting_replace(source: str, target: str) -> None:
        done.append("rename")
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", noting_fsync)
        patch.setattr(os, "replace", noting_replace)
        action()
    return done
