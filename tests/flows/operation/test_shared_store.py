"""Whether a store's locks hold: between two processes, and between two hosts that mount it."""

import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from taskdistill.flows.deployed.server import POOL, WorkerName
from taskdistill.flows.operation.processes import this_host
from taskdistill.flows.operation.shared_store import check_locks, check_other_hosts, held_by_worker
from taskdistill.storage.errors import StoreError
from taskdistill.storage.store import ArtifactStore
from tests.failing_calls import failing
from tests.flows.local_server import QUIET, free_port


def test_a_store_whose_locks_hold_is_taken_and_nothing_is_left_in_it(store: ArtifactStore):
    check_locks(store)
    assert list((store.root / "locks").iterdir()) == []


def test_a_share_that_gives_the_same_lock_to_two_processes_is_refused_by_up_before_it_starts_anything(tmp_path: Path):
    """The kernel is told to answer that a lock is taken, and to take none: so does a share without locks."""
    done = subprocess.run(
        failing("flock", 0, "up", "--port", free_port()), capture_output=True, text=True, timeout=300, check=False,
        env=os.environ | QUIET | {"TASKDISTILL_HOME": f"{tmp_path}/state", "TASKDISTILL_STORE": f"{tmp_path}/store"},
    )  # fmt: skip
    assert done.returncode == 1
    assert f"the file system of the store {tmp_path}/store gives the same lock to two processes" in done.stderr
    assert "NFS 4, without 'nolock'" in done.stderr
    assert not (tmp_path / "state" / "server.log").exists()


@pytest.mark.prefect
@pytest.mark.slow
def test_a_worker_of_another_host_whose_lock_is_free_here_is_waited_for_and_then_refused(
    client: Any, store: ArtifactStore
) -> None:
    other = WorkerName("another-host", 1234, 5678, {"gpu": 1})
    client.send_worker_heartbeat(POOL, str(other), heartbeat_interval_seconds=30)
    try:
        check_other_hosts(client, store, "this-host", wait=0)  # it works on a store that is not this one
        with held_by_worker(store, str(other)):
            check_other_hosts(client, store, "this-host", wait=0)
        (store.root / "locks" / f"worker-{other}").touch()
        check_other_hosts(client, store, other.host, wait=0)  # its own host has just lost it
        began = time.monotonic()
        with pytest.raises(StoreError, match="locks do not hold between the two"):
            check_other_hosts(client, store, "this-host", wait=2)
        assert time.monotonic() - began >= 2
    finally:
        client.request("DELETE", f"/work_pools/{POOL}/workers/{other}")
    check_other_hosts(client, store, "this-host", wait=0)


def test_a_container_is_a_host_of_its_own_as_it_numbers_its_processes_by_itself():
    ask = [sys.executable, "-c", "from taskdistill.flows.operation.processes import this_host; print(this_host())"]
    apart = ["unshare", "--pid", "--fork", "--mount-proc"]
    if subprocess.run([*apart, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this user may make no namespace of processes")
    inside = subprocess.run([*apart, *ask], capture_output=True, text=True, check=True).stdout.strip()
    assert inside != this_host()
    assert inside.startswith(f"{platform.node()}.")
    assert WorkerName.parse(str(WorkerName(inside, 1, 2, {"cpu": 2}))) == WorkerName(inside, 1, 2, {"cpu": 2})
