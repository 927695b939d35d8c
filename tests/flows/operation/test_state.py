"""The state folder is for its owner alone."""

import stat
from pathlib import Path

import pytest

from taskdistill.configs.errors import SettingsError
from taskdistill.flows.operation.state import StateFolder


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("mode", [None, 0o755, 0o770, 0o701, 0o700])
def test_nobody_else_can_look_into_the_folder_also_where_it_was_there_before(tmp_path: Path, mode: int | None) -> None:
    path = tmp_path / "above" / "state"
    if mode is not None:
        path.mkdir(parents=True)
        path.chmod(mode)
        (path / "prefect.db").touch()
    StateFolder(path).make()
    assert mode_of(path) == 0o700
    (tmp_path / "as-others-are").mkdir()
    assert mode_of(path.parent) == mode_of(tmp_path / "as-others-are")  # what is above it is not ours to close


def test_a_folder_for_everybody_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    with pytest.raises(SettingsError, match="let TASKDISTILL_HOME name a folder for you alone"):
        StateFolder(tmp_path).make()
    assert mode_of(tmp_path) == 0o1777
    StateFolder(tmp_path / "taskdistill").make()
