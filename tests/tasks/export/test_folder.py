"""The frame of all targets: a new folder, whole or not there, and whoever loads it notices what is not as it was."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from taskdistill.tasks.export.target import ExportError, Given, Written, export, opened
from tests.conftest import Bench
from tests.tasks.export.networks import classifier


def target(given: Given, folder: Path) -> Written:
    (folder / "deep").mkdir()
    (folder / "weights.bin").write_bytes(b"1234")
    (folder / "deep/code.py").write_text("pass\n")
    return Written("# A model\n", ["It is near."], {"difference": 0.0}, {"library_name": "none"})


@pytest.fixture
def folder(workshop: Bench, tmp_path: Path) -> Path:
    given = Given(workshop.path(classifier(workshop)), temperature=1.25, card_head={"license": "mit"}, card="## Data")
    said = export(target, "some", given, tmp_path / "new")
    assert said.files == ["README.md", "deep", "taskdistill.json", "weights.bin"]
    return tmp_path / "new"


def test_the_record_says_what_the_folder_holds(folder: Path) -> None:
    record = opened(folder)
    assert (record.target, record.precision, record.problem) == ("some", "fp32", "classification")
    assert (record.classes, record.temperature) == (["disc", "frame", "wedge"], 1.25)
    assert set(record.files) == {"deep/code.py", "weights.bin"}


def test_the_card_begins_with_what_hubs_read(folder: Path) -> None:
    text = "---\nlicense: mit\nlibrary_name: none\n---\n\n# A model\n\n## Data\n"
    assert (folder / "README.md").read_text() == text


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "deep/code.py").unlink()
    with pytest.raises(ExportError, match=r"lacks deep/code\.py: export the model again"):
        opened(folder)


def test_an_altered_file_is_named(folder: Path) -> None:
    (folder / "weights.bin").write_bytes(b"1235")
    with pytest.raises(ExportError, match=r"weights\.bin is not what was exported"):
        opened(folder)


KILLED = """
import os, signal, sys
from pathlib import Path
from taskdistill.tasks.export.target import Given, export

def target(given, folder):
    os.kill(os.getpid(), signal.SIGKILL)

export(target, "some", Given(Path(sys.argv[1])), Path(sys.argv[2]))
"""


def test_what_a_killed_export_leaves_is_named_by_the_next(workshop: Bench, tmp_path: Path) -> None:
    artifact = workshop.path(classifier(workshop))
    killed = subprocess.run([sys.executable, "-c", KILLED, str(artifact), str(tmp_path / "new")], check=False)
    assert killed.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    said = export(target, "some", Given(artifact), tmp_path / "new").said
    assert said == ["It is near.", f"{left} is left from an export that was killed: remove it, unless one is running"]
    assert left.is_dir()


def test_a_card_may_be_written_in(folder: Path) -> None:
    (folder / "README.md").write_text("# Our model\n\nAsk us before you use it.\n")
    assert opened(folder).target


@pytest.mark.parametrize("changes", [{"classes": ["wedge", "disc", "frame"]}, {"temperature": 1.0}])
def test_a_record_in_which_anything_else_is_said_is_refused(folder: Path, changes: dict[str, Any]) -> None:
    record = folder / "taskdistill.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | changes))
    with pytest.raises(ExportError, match=r"its taskdistill\.json is damaged or altered: export the model again"):
        opened(folder)


def test_a_folder_of_before_the_record_had_a_digest_of_itself_is_still_opened(folder: Path) -> None:
    record = folder / "taskdistill.json"
    fields = json.loads(record.read_text())
    del fields["digest"]
    record.write_text(json.dumps(fields))
    assert opened(folder).classes == ["disc", "frame", "wedge"]


@pytest.mark.parametrize("damage", ["", "{", '{"schema": 2}', '{"schema": 1}'])
def test_a_folder_without_a_record_that_can_be_read_is_refused(folder: Path, damage: str) -> None:
    (folder / "taskdistill.json").write_text(damage)
    with pytest.raises(ExportError, match="is no folder that 'taskdistill export' wrote"):
        opened(folder)


def test_a_folder_that_is_there_is_left_alone(workshop: Bench, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(ExportError, match="is there already"):
        export(target, "some", Given(tmp_path), tmp_path / "mine")
    assert list((tmp_path / "mine").iterdir()) == []


def test_a_target_that_fails_leaves_nothing(workshop: Bench, tmp_path: Path) -> None:
    def fails(given: Given, folder: Path) -> Written:
        target(given, folder)
        raise ExportError("no")

    with pytest.raises(ExportError, match="no"):
        export(fails, "some", Given(workshop.path(classifier(workshop))), tmp_path / "new")
    assert list(tmp_path.iterdir()) == []
