"""What is wrong with a machine and its store is said, with the command that mends it."""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from taskdistill.flows.operation.processes import Process, users_listening
from taskdistill.flows.operation.state import Running, StateFolder
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.root import ID_FILE
from taskdistill.storage.store import ArtifactStore
from tests.flows.local_server import QUIET, command, free_port, process, until
from tests.flows.small_client import client_of
from tests.storage.artifacts import commit


def test_versions_within_their_bounds_are_not_mentioned():
    from taskdistill.flows.operation.doctor_packages import package_findings

    version = importlib.metadata.version("typer")
    assert list(package_findings([f"typer=={version}", "typer", "no-such-package>=1; extra == 'dev'"])) == []


@pytest.mark.parametrize(
    ("requirement", "what"),
    [
        ("typer<0.1,>=0.0.1", "and this program works with <0.1,>=0.0.1"),
        ("no-such-package>=2", "no-such-package is not installed"),
        ("typer==0.1", "and this program works with ==0.1"),
        ("typer!=0.1,<0.2", "and this program works with"),
    ],
)
def test_a_package_of_another_version_is_named_with_its_installation(requirement: str, what: str):
    from taskdistill.flows.operation.doctor_packages import package_findings

    (finding,) = package_findings([requirement])
    assert what in finding.what
    assert set(finding.mend.removeprefix("pip install '").removesuffix("'").split(",")) == set(requirement.split(","))


def test_a_package_of_an_extra_counts_where_it_is_installed():
    from taskdistill.flows.operation.doctor_packages import package_findings

    asked = ["typer==0.1; extra == 'segmentation'", "no-such-package==1; extra == 'segmentation'"]
    (finding,) = package_findings(asked)
    assert finding.mend == "pip install 'typer==0.1'"


def test_what_is_installed_in_place_of_a_package_is_held_to_its_versions(monkeypatch: pytest.MonkeyPatch):
    from taskdistill.flows.operation import doctor_packages

    monkeypatch.setitem(doctor_packages._OTHER_NAMES, "no-such-package", "typer")
    (finding,) = doctor_packages.package_findings(["no-such-package==0.1"])
    assert finding.mend == "pip install 'typer==0.1'"


def test_a_store_that_can_be_used_has_nothing_wrong(store: ArtifactStore):
    from taskdistill.flows.operation.doctor import store_findings

    store.check_writable()
    (store.root / ID_FILE).write_text("a" * 32)
    assert list(store_findings(store)) == []


def test_in_a_folder_that_no_up_has_taken_for_a_store_nothing_is_made(tmp_path: Path):
    from taskdistill.flows.operation.doctor import store_findings

    (tmp_path / "not-mounted").mkdir()
    assert list(store_findings(ArtifactStore(tmp_path / "not-mounted"))) == []
    assert list((tmp_path / "not-mounted").rglob("*")) == []


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

    store = ArtifactStore(tmp_path / "store")
    assert len(list(doctor.disk_findings(store, tmp_path))) <= 1
    monkeypatch.setattr(doctor, "FULL_SHARE", 1.0)
    (finding,) = doctor.disk_findings(store, tmp_path / "state")
    assert f"the disk of {tmp_path / 'store'} is nearly full" in finding.what


def test_a_disk_that_is_small_and_not_full_is_said_to_have_little_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from taskdistill.flows.operation import doctor

    monkeypatch.setattr(doctor, "FULL_SHARE", 0.0)
    monkeypatch.setattr(doctor, "FULL_BYTES", shutil.disk_usage(tmp_path).total + 1)
    (finding,) = doctor.disk_findings(ArtifactStore(tmp_path / "store"), tmp_path)
    assert f"the disk of {tmp_path / 'store'} has little room: " in finding.what
    assert ", and a run on small images writes about " in finding.what


def test_to_collect_is_advised_where_the_store_has_something_and_a_larger_disk_where_it_is_empty(
    store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from taskdistill.flows.operation import doctor

    monkeypatch.setattr(doctor, "FULL_SHARE", 1.0)
    (finding,) = doctor.disk_findings(store, tmp_path)
    assert finding.mend == "export TASKDISTILL_STORE=...   (a folder on a larger disk)"
    commit(store, "features")
    (finding,) = doctor.disk_findings(store, tmp_path)
    assert finding.mend == "taskdistill collect   (then with --yes)"


def test_weights_that_a_preset_names_and_this_machine_lacks_are_named(tmp_path: Path):
    from taskdistill.flows.operation.doctor_weights import weights_findings

    settings = "data: {path: /photos}\nstudent: {name: resnet18, weights: file, file: /no/such/file.safetensors}\n"
    settings += "teacher: {name: test_vit, weights: random}\n"
    (tmp_path / "own.yaml").write_text(settings)
    (finding,) = weights_findings(tmp_path)
    assert "the weights of the student resnet18 of own.yaml are not on this machine" in finding.what


def test_a_download_that_nobody_goes_on_with_is_named_with_its_file(tmp_path: Path):
    from taskdistill.flows.operation.doctor_weights import download_findings

    blobs = tmp_path / "models--timm--vit_tiny.augreg" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / "finished").write_bytes(b"all of it")
    (blobs / "at-work.incomplete").write_bytes(b"half")
    (stopped := blobs / "stopped.incomplete").write_bytes(b"half")
    os.utime(stopped, (time.time() - 3600,) * 2)
    (finding,) = download_findings(tmp_path)
    assert "a download of timm/vit_tiny.augreg stopped after 4 B" in finding.what
    assert finding.mend == f"rm {stopped}"


# --- the server ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ahead", "said"), [(0.0, []), (-60.0, ["s ahead of"]), (3600.0, ["behind"]), (-3.0, []), (3.0, [])]
)
def test_clocks_that_are_apart_are_said_also_through_a_tunnel(tmp_path: Path, ahead: float, said: list[str]):
    from taskdistill.flows.operation.doctor_server import clock_findings

    with client_of(lambda _: (200, "hello"), tmp_path, ahead=ahead) as client:
        found = list(clock_findings(client))
    assert len(found) == len(said)
    assert all(words in finding.what for words, finding in zip(said, found, strict=True))


def deployed(names: list[str], **fields: Any) -> Any:
    """What a server answers that has these deployments and nothing else."""
    common = {"flow_id": str(UUID(int=1)), "work_pool_name": "taskdistill"}
    every = [{"id": str(UUID(int=2)), "name": name, **common, **fields} for name in names]
    return lambda asked: (200, every if asked.path == "/deployments/filter" and not asked.body["offset"] else [])


def test_deployments_that_are_missing_or_paused_are_named(tmp_path: Path):
    from taskdistill.flows.operation.doctor_server import deployment_findings

    with client_of(deployed(["batch"], paused=True), tmp_path) as client:
        missing, paused = deployment_findings(client, None)
    assert "distillation, " in missing.what
    assert "batch" not in missing.what
    assert "the deployment batch is paused" in paused.what
    assert paused.mend == f"taskdistill prefect api POST /deployments/{UUID(int=2)}/resume_deployment"


def test_deployments_of_another_version_are_named_where_the_machine_knows_its_presets(tmp_path: Path):
    from taskdistill.flows.operation.deploying import wanted_deployments
    from taskdistill.flows.operation.doctor_server import deployment_findings

    running = Running(Process.own(), 4200, "", "finish", "", {}, is_ready=True)
    wanted = wanted_deployments({}, None)["deployments"]
    names = [each["name"] for each in wanted]
    with client_of(deployed(names, version=wanted[0]["version"]), tmp_path) as client:
        assert list(deployment_findings(client, running)) == []
    with client_of(deployed(names, version="of last year"), tmp_path) as client:
        assert list(deployment_findings(client, None)) == []
        (outdated,) = deployment_findings(client, running)
    assert "the server has deployments of another version of this program: distillation, " in outdated.what


@contextmanager
def listening(tmp_path: Path, **variables: str) -> Iterator[str]:
    """A program that listens, started with these variables; yields its address."""
    port = free_port()
    with process([sys.executable, "-m", "http.server", port], variables, tmp_path / "log"):
        until(lambda: users_listening(int(port)), seconds=30, log=tmp_path / "log")
        yield f"http://127.0.0.1:{port}/api"


def test_a_server_of_another_state_folder_is_named_with_that_folder(tmp_path: Path):
    from taskdistill.flows.operation.whose_server import whose_findings

    theirs, ours = tmp_path / "theirs", StateFolder(tmp_path / "ours")
    with listening(tmp_path, TASKDISTILL_HOME=str(theirs)) as url:
        (finding,) = whose_findings(url, ours)
        assert list(whose_findings(url, StateFolder(theirs))) == []
    assert f"is that of the state folder {theirs}, and not of {ours.path}" in finding.what
    assert f"taskdistill doctor --folder {theirs}" in finding.mend


def test_a_tunnel_or_a_server_that_no_up_has_started_is_not_spoken_of(tmp_path: Path):
    from taskdistill.flows.operation.whose_server import whose_findings

    with listening(tmp_path) as url:
        assert list(whose_findings(url, StateFolder(tmp_path))) == []
    assert list(whose_findings("http://a-server.example:4200/api", StateFolder(tmp_path))) == []


def test_a_password_that_is_not_to_be_trusted_is_a_finding_and_not_the_end(tmp_path: Path):
    (tmp_path / "taskdistill-password").write_text("taskdistill:" + "a" * 43)
    (tmp_path / "taskdistill-password").chmod(0o644)
    done = command(["doctor"], {"PREFECT_HOME": str(tmp_path), "PREFECT_API_URL": "http://127.0.0.1:9/api"})
    assert done.code == 1
    assert "may be read or written by others of this machine" in done.stdout
    assert f"\n  rm {tmp_path / 'taskdistill-password'}; taskdistill down; taskdistill up\n" in done.stdout
    assert done.stderr == ""


def test_without_a_server_the_command_that_starts_one_is_named(tmp_path: Path):
    done = command(["doctor"], {"PREFECT_HOME": str(tmp_path), "PREFECT_API_URL": "http://127.0.0.1:9/api"})
    assert done.code == 1
    assert "no Prefect server answers at http://127.0.0.1:9/api\n  taskdistill up\n" in done.stdout


def test_where_nobody_asked_for_a_server_that_there_is_none_is_a_remark_and_no_fault(tmp_path: Path):
    # The usual port may be somebody's on this machine, and its disks may be full.
    script = f"""from taskdistill.flows.operation import doctor
doctor.PORT, doctor.FULL_BYTES, doctor.FULL_SHARE = {free_port()}, 0, 0.0
from taskdistill.flows.cli import main
main()"""
    known = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    own = {"PREFECT_HOME": str(tmp_path), "TASKDISTILL_HOME": f"{tmp_path}/state", "TASKDISTILL_STORE": f"{tmp_path}/x"}
    done = subprocess.run(
        [sys.executable, "-c", script, "doctor"], env=known | QUIET | own, capture_output=True, text=True, timeout=300
    )
    assert (done.returncode, done.stderr) == (0, "")
    first, mend, last = done.stdout.splitlines()
    assert first.startswith("hint: no Prefect server answers at http://127.0.0.1:")
    assert first.endswith(": none is needed on the command line; one brings forms, schedules and pages of runs")
    assert (mend, last) == ("  taskdistill up", "nothing is wrong")
