"""A file has all of its bytes or does not exist: after an error, on a full disk, at any moment of death."""

import errno
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from storage.files import all_files, atomic, read_json, remove_partials, write_json
from storage.image_set import ImageRow, write_shard
from storage.tables import write_columns
from storage.weights import write_tensors

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


def test_a_write_killed_at_any_moment_leaves_the_old_content_or_the_new(tmp_path: Path):
    found = _killed_at_every_step("write_json", tmp_path)
    assert set(found[:-1]) <= {"old", "new"}
    assert found[0] == "old"
    assert found[-1] == "new"
    assert len(found) >= 3


def test_what_a_killed_writer_left_half_written_can_be_removed(tmp_path: Path):
    (tmp_path / "c" / "0").mkdir(parents=True)
    (tmp_path / "c" / "0" / "1.5f3a.partial").touch()
    (tmp_path / "manifest.json.123.partial").touch()
    (tmp_path / "c" / "0" / "0").touch()
    remove_partials(tmp_path)
    assert all_files(tmp_path) == [tmp_path / "c" / "0" / "0"]


def _killed_at_every_step(action: str, folder: Path) -> list[str]:
    program = Path(__file__).with_name("killed_at_every_step.py")
    done = subprocess.run(
        [sys.executable, str(program), action, str(folder)], check=True, capture_output=True, text=True, timeout=100
    )
    found: list[str] = json.loads(done.stdout)
    return found
