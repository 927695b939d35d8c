"""The command that hands a model over, up to where the work begins; the work is in tests/tasks/openmmlab."""

import pytest
from typer.testing import CliRunner

from configs.choices import EXPORT_PACKAGES, EXPORT_TARGETS, load
from flows.cli import app
from tasks.openmmlab.packages import PACKAGES


def told(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["export", *arguments])
    assert done.exit_code == 1, done.output
    return done.stderr


def test_a_target_that_is_not_known_is_answered_with_those_that_are() -> None:
    assert "cannot be exported to 'onyx' (known: mmseg)" in told("model@3f9c12ab", "new", "--to", "onyx")


def test_missing_packages_are_named_with_the_command_before_anything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PACKAGES, "no_such_module", "no-such-package")
    said = told("model@3f9c12ab", "new", "--to", "mmseg")
    assert "no-such-package" in said
    assert '-e ".[segmentation]"' in said


def test_every_target_leads_to_code() -> None:
    assert all(callable(load(EXPORT_PACKAGES, name)) for name in EXPORT_PACKAGES)
    assert EXPORT_PACKAGES.keys() <= EXPORT_TARGETS.keys()
