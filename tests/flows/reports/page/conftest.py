"""A small run with blends, to look at and to change."""

import shutil
from pathlib import Path

import pytest

from taskdistill.configs.loading import load_experiment
from taskdistill.flows.reports.page.subject import Subject
from taskdistill.flows.reports.page.subjects import of_preset
from taskdistill.storage.store import ArtifactStore
from tests.flows.conftest import Done


@pytest.fixture
def subject(run_with_blends: tuple[Path, Done], preset_with_blends: str, tmp_path: Path) -> Subject:
    shutil.copytree(run_with_blends[0], tmp_path / "run")
    return of_preset(load_experiment(preset_with_blends), ArtifactStore(tmp_path / "run"), "")
