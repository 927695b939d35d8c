"""Whether a store's locks hold: between two processes, and between two hosts that mount it."""

import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from taskdistill.flows.deployed.server import POOL, ServerError, WorkerName
from taskdistill.flows.operation.processes import this_host
from taskdistill.flows.operation.shared_store import (
    announce_store,
    check_locks,
    check_other_hosts,
    difference,
    forget_store,
    held_by_worker,
    known_id,
    store_id,
)
from taskdistill.storage.errors import StoreError
from taskdistill.storage.root import ID_FILE
from taskdistill.storage.store import ArtifactStore
from tests.failing_calls import failing
from tests.flows.local_server import QUIET, free_port


def test_a_store_whose_locks_hold_is_taken_and_nothing_is_left_in_it(store: ArtifactStore):
    check_locks(store)
    assert list((store.root / "locks").iterdir()) == []


def test_a_share_that_gives_the_same_lock_to_two_processes_is_refused_by_up_before_it_starts_anything(tmp_path: Path):
    """The kernel is told to answer that a lock is taken, and to take none: so does a share without locks."""
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / ID_FILE).write_text("its-name\n")
    done = subprocess.run(
        failing("flock", 0, "up", "--port", free_port()), capture_output=True, text=True, timeout=300, check=False,
        env=os.environ | QUIET | {"TASKDISTILL_HOME": f"{tmp_path}/state", "TASKDISTILL_STORE": f"{tmp_path}/store"},
    )  # fmt: skip
    assert done.returncode == 1
    assert f"the file system of the store {tmp_path}/store gives the same lock to two processes" in done.stderr
    assert "NFS 4, without 'nolock'" in done.stderr
    assert not (tmp_path / "state" / "server.log").exists()


@pytest.mark.parametrize(
    ("told", "here", "says"),
    [
        (None, "", ""),
        (None, "one", ""),
        ({"id": "one", "place": "/elsewhere", "host": "a"}, "one", ""),
        ({"id": "one", "place": "/share", "host": "a"}, "", "see that its share is mounted there"),
        ({"id": "one", "place": "/share", "host": "a"}, "two", "is another than the one of this server, /share on a"),
        ({"id": "one", "place": "/share", "host": "a"}, "\n", "rm "),
        (None, "\0\0\0", "rm "),
    ],
    ids=["both new", "new server", "moved", "not mounted", "another", "emptied", "torn"],
)
def test_a_folder_that_is_not_the_store_of_its_server_is_told_from_it(
    store: ArtifactStore, told: dict[str, str] | None, here: str, says: str
) -> None:
    if here:
        store.root.mkdir(exist_ok=True)
        (store.root / ID_FILE).write_text(here)
    found = difference(told, store)
    assert (says in found) if says else not found
    assert not says or "'taskdistill up --new-store'" in found


@pytest.mark.parametrize("content", [None, "", "\n", "\0\0\0\0"], ids=["none", "empty", "a line", "torn"])
def test_a_worker_makes_no_name_and_takes_none_that_is_torn(store: ArtifactStore, content: str | None) -> None:
    store.root.mkdir(exist_ok=True)
    if content is not None:
        (store.root / ID_FILE).write_text(content)
    before = [(path.name, path.read_text()) for path in store.root.iterdir()]
    with pytest.raises(StoreError):
        store_id(store)
    assert [(path.name, path.read_text()) for path in store.root.iterdir()] == before


@pytest.mark.prefect
@pytest.mark.slow
def test_a_server_is_told_of_another_store_only_where_that_is_meant_and_the_folder_stays_empty_until_then(
    server: dict[str, str], client: Any, tmp_path: Path
) -> None:
    right, empty = ArtifactStore(Path(server["TASKDISTILL_STORE"])), ArtifactStore(tmp_path)
    announce_store(client, right, this_host())  # as the next `up` does
    with pytest.raises(ServerError, match="see that its share is mounted there"):
        announce_store(client, empty, this_host())
    assert list(tmp_path.iterdir()) == []
    try:
        forget_store(client)
        announce_store(client, empty, this_host())
        assert known_id(empty) == (tmp_path / ID_FILE).read_text().strip() != known_id(right)
        with pytest.raises(ServerError, match="is another than the one of this server"):
            announce_store(client, right, this_host())
    finally:
        forget_store(client)
        announce_store(client, right, this_host())


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
