"""What is wrong with a machine and its store is said, with the command that mends it."""

import importlib.metadata
import os
import shutil
import time
from pathlib import Path

import pytest

from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from tests.flows.local_server import command


def test_versions_within_their_bounds_are_not_mentioned():
    from taskdistill.flows.operation.doctor import version_findings

    version = importlib.metadata.version("typer")
    assert list(version_findings([f"typer>={version}", "typer", "no-such-package>=1; extra == 'dev'"])) == []


@pytest.mark.parametrize(
    ("requirement", "what"),
    [
        ("typer<0.1,>=0.0.1", "and this program works with <0.1,>=0.0.1"),
        ("no-such-package>=2", "no-such-package is not installed"),
    ],
)
def test_a_package_of_another_version_is_named_with_its_installation(requirement: str, what: str):
    from taskdistill.flows.operation.doctor import version_findings

    (finding,) = version_findings([requirement])
    assert what in finding.what
    assert finding.mend == f"pip install '{requirement}'"


def test_a_store_that_can_be_used_has_nothing_wrong(store: ArtifactStore):
    from taskdistill.flows.operation.doctor import store_findings

    assert list(store_findings(store)) == []


def test_a_draft_that_nobody_went_on_with_for_a_week_is_named_unless_somebody_has_its_lock(store: ArtifactStore):
    from taskdistill.flows.operation.doctor import store_findings

    ref = ArtifactRef("features", "a" * 64)
    with store.lock(ref):
        draft = store.draft(ref, {"inputs": {}})
        for path in (*draft.iterdir(), draft):
            os.utime(path, (time.time() - 8 * 86_400,) * 2)
        assert list(store_findings(store)) == []
    (finding,) = store_findings(store)
    assert f"nobody has gone on with the draft {ref.short} for 8 days" in finding.what
    assert finding.mend == f"taskdistill discard {ref.short}"


def test_a_disk_that_is_nearly_full_is_named_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from taskdistill.flows.operation import doctor

    assert len(list(doctor.disk_findings([tmp_path]))) <= 1
    monkeypatch.setattr(doctor, "FULL_BYTES", shutil.disk_usage(tmp_path).total + 1)
    (finding,) = doctor.disk_findings([tmp_path / "store", tmp_path / "state"])
    assert f"the disk of {tmp_path / 'store'} is nearly full" in finding.what


def test_weights_that_a_preset_names_and_this_machine_lacks_are_named(tmp_path: Path):
    from taskdistill.flows.operation.doctor import weights_findings

    settings = "data: {path: /photos}\nstudent: {name: resnet18, weights: file, file: /no/such/file.safetensors}\n"
    settings += "teacher: {name: test_vit, weights: random}\n"
    (tmp_path / "own.yaml").write_text(settings)
    (finding,) = weights_findings(tmp_path)
    assert "the weights of the student resnet18 of own.yaml are not on this machine" in finding.what


def test_without_a_server_the_command_that_starts_one_is_named(tmp_path: Path):
    done = command(["doctor"], {"PREFECT_HOME": str(tmp_path), "PREFECT_API_URL": "http://127.0.0.1:9/api"})
    assert done.code == 1
    assert "no Prefect server answers at http://127.0.0.1:9/api\n  taskdistill up\n" in done.stdout
