"""A table of predictions holds whatever classes and files are called, is one process's at a time, and is continued."""

import csv
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from taskdistill.configs.errors import SettingsError, UserError
from taskdistill.storage.errors import StillNeededError
from taskdistill.tasks.deploy.answer_table import AnswerTable
from taskdistill.tasks.deploy.answering import Answered, Unusable
from taskdistill.tasks.problems.answers import Answer, AnswerForm

FORM = AnswerForm({"prediction": str, "probability": float})
HOSTILE = ['a "quoted", name', "line\nbreak", "carriage\rreturn", "猫 🐈", "שלום", "<b>=1+1</b>", "tab\there"]
MADE_BY = {"model": "model@1", "threshold": 0.0}


def answered(name: str, prediction: str | None = "wren") -> Answered:
    return Answered(name, Answer({"prediction": prediction, "probability": 0.5}))


def read(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        return list(pq.read_table(path).to_pylist())
    with path.open(encoding="utf-8", newline="") as file:
        return [{**row, "probability": float(row["probability"])} for row in csv.DictReader(file)]


@pytest.fixture(params=[".csv", ".parquet"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / f"said{request.param}"


def test_classes_and_files_may_be_called_anything(path: Path) -> None:
    with AnswerTable(path, FORM, MADE_BY).open() as table:
        table.add([answered(f"{name}.jpg", name) for name in HOSTILE])
    assert [(row["path"], row["prediction"]) for row in read(path)] == [(f"{name}.jpg", name) for name in HOSTILE]
    with AnswerTable(path, FORM, MADE_BY).open() as table:
        assert table.done() == {f"{name}.jpg" for name in HOSTILE}


def test_a_file_name_that_is_no_text_is_written_as_one_and_found_again(path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.jpg")
    with AnswerTable(path, FORM, MADE_BY).open() as table:
        table.add([answered(name)])
    with AnswerTable(path, FORM, MADE_BY).open() as table:
        assert table.done() == {"caf\\xe9.jpg"}


def test_rows_that_were_there_stay_as_they_were(path: Path) -> None:
    for name in ("a", "b", "c"):
        with AnswerTable(path, FORM, MADE_BY).open() as table:
            table.add([answered(name, None if name == "b" else "wren")])
    rows = read(path)
    assert [row["path"] for row in rows] == ["a", "b", "c"]
    assert rows[1]["prediction"] in (None, "")
    assert {row["probability"] for row in rows} == {0.5}


def test_what_was_done_is_in_the_table_whatever_ends_the_work(path: Path) -> None:
    def stopped_after(name: str) -> None:
        with AnswerTable(path, FORM, MADE_BY).open() as table:
            table.add([answered(name)])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped_after("a")
    assert [row["path"] for row in read(path)] == ["a"]


def test_a_disk_that_fills_in_the_middle_of_a_row_is_what_is_told_and_whole_rows_are_kept(path: Path) -> None:
    def filled_after(name: str) -> None:
        with AnswerTable(path, FORM, MADE_BY).open() as table:
            table.add([answered(name)])
            with path.with_name(f"{path.name}.unfinished").open("a") as journal:
                journal.write('{"path": "b", "predi')
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        filled_after("a")
    assert [row["path"] for row in read(path)] == ["a"]


def test_a_table_is_written_by_one_process_at_a_time(path: Path) -> None:
    with (
        AnswerTable(path, FORM, MADE_BY).open(),
        pytest.raises(StillNeededError, match="another process writes"),
        AnswerTable(path, FORM, MADE_BY).open(),
    ):
        pass


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: path.with_name(f"{path.name}.settings.json").unlink(), "nothing says which model made it"),
        (lambda path: None, "was made with model 'model@1', and now it would be 'model@2'"),
    ],
    ids=["settings lost", "another model"],
)
def test_another_models_table_is_not_gone_on_with(path: Path, spoil: Callable[[Path], None], said: str) -> None:
    with AnswerTable(path, FORM, MADE_BY).open() as table:
        table.add([answered("a")])
    spoil(path)
    before = path.read_bytes()
    with pytest.raises(SettingsError, match=said), AnswerTable(path, FORM, MADE_BY | {"model": "model@2"}).open():
        pass
    assert path.read_bytes() == before


def test_a_table_that_was_damaged_is_told(tmp_path: Path) -> None:
    path = tmp_path / "said.parquet"
    with AnswerTable(path, FORM, MADE_BY).open() as table:
        table.add([answered("a")])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match="cannot be read"), AnswerTable(path, FORM, MADE_BY).open() as table:
        table.done()


def test_the_list_of_what_was_left_out_is_of_the_last_time(path: Path) -> None:
    for unusable in ([Unusable("a.jpg", "it is empty"), Unusable("b.jpg", 'no, "image"')], []):
        with AnswerTable(path, FORM, MADE_BY).open() as table:
            table.leave_out(unusable)
            if unusable:
                assert table.left_out.read_text().splitlines()[1:] == ["a.jpg,it is empty", 'b.jpg,"no, ""image"""']
            else:
                assert not table.left_out.exists()
