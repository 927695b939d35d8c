"""Whether all workers mean the same store, and whether its locks hold between processes and between hosts.

    <store>/.taskdistill-id            a random name: the same wherever the store is mounted
    <store>/locks/worker-<name>        flock held by each worker as long as it lives

A share that is mounted without locks (NFS with `nolock` or `local_lock`) gives a lock to each host: two runs would
write the same artifact. A lock that is held on one host and free on another shows it.
"""

import logging
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import VariableCreate, VariableUpdate

from taskdistill.flows.deployed.server import ServerError, WorkerName, worker_names
from taskdistill.storage.errors import StoreError
from taskdistill.storage.locks import is_free, locked, take
from taskdistill.storage.root import ID_FILE, ROOT_VARIABLE
from taskdistill.storage.store import ArtifactStore

log = logging.getLogger(__name__)

VARIABLE = "taskdistill_store"
"""On the server: id, place and host of the store that workers are to use."""

DEAD_SECONDS = 150.0
"""For so long at most the server takes a worker that died for online."""
_LOOK_SECONDS = 1.0
_ASKS = "import fcntl, sys\nfcntl.flock(open(sys.argv[1]), fcntl.LOCK_EX | fcntl.LOCK_NB)"


def store_id(store: ArtifactStore) -> str:
    """Return the store's random name, making it at first use."""
    path = store.root / ID_FILE
    if not path.exists():
        with locked(store.root / "locks" / "store-id", "another process names this store"):
            if not path.exists():
                path.write_text(secrets.token_hex(16) + "\n")
    return path.read_text().strip()


def announce_store(client: SyncPrefectClient, store: ArtifactStore, host: str) -> None:
    """Tell the server which store its workers are to use."""
    value = {"id": store_id(store), "place": str(store.root), "host": host}
    if client.read_variable_by_name(VARIABLE) is None:
        client.create_variable(VariableCreate(name=VARIABLE, value=value))
    else:
        client.update_variable(VariableUpdate(name=VARIABLE, value=value))


def other_store(client: SyncPrefectClient, store: ArtifactStore) -> str:
    """Say that the server's workers are to use another store than this one; "" where they are not."""
    announced = client.read_variable_by_name(VARIABLE)
    told = announced.value if announced else None
    if not isinstance(told, dict) or told.get("id") == store_id(store):
        return ""
    return (
        f"the store here, {store.root}, is another than the one of this server, {told.get('place')} on "
        f"{told.get('host')}: what one makes, the other would not find. Let {ROOT_VARIABLE} name the same folder on a "
        "share, or start 'taskdistill up' again with the store that is meant"
    )


def check_store(client: SyncPrefectClient, store: ArtifactStore) -> None:
    """Raise ServerError where this server's workers are to use another store, StoreError where its locks do not hold
    between two processes.
    """
    check_locks(store)
    if words := other_store(client, store):
        raise ServerError(words)


def check_locks(store: ArtifactStore) -> None:
    """Raise StoreError where a second process is given a lock that this one holds."""
    store.check_writable()
    path = store.root / "locks" / f"probe-{secrets.token_hex(8)}"
    try:
        with path.open("a") as file:
            take(file)
            asked = subprocess.run([sys.executable, "-I", "-c", _ASKS, str(path)], capture_output=True, check=False)
    finally:
        path.unlink(missing_ok=True)
    if asked.returncode == 0:
        raise StoreError(
            f"the file system of the store {store.root} gives the same lock to two processes, so two runs would write "
            f"the same artifact: mount it with locks (NFS 4, without 'nolock'), or let {ROOT_VARIABLE} name another "
            "folder"
        )


def check_other_hosts(client: SyncPrefectClient, store: ArtifactStore, host: str, wait: float = DEAD_SECONDS) -> None:
    """Raise StoreError where the lock of a worker of another host, which is online, stays free here so long."""
    deadline, is_told = time.monotonic() + wait, False
    while free := [name for name in unheld_locks(client, store) if name.host != host]:
        if time.monotonic() > deadline:
            raise StoreError(
                f"the worker {free[0]} of {free[0].host} is online and holds a lock in the store {store.root}, which "
                "is free on this machine: locks do not hold between the two, and two runs would write the same "
                "artifact. Mount the store on both with locks between hosts (NFS 4, without 'nolock' or 'local_lock'), "
                f"or let {ROOT_VARIABLE} name another folder"
            )
        if not is_told:
            log.info("waiting to see whether %s has died, or holds its lock in the store in vain", free[0])
            is_told = True
        time.sleep(_LOOK_SECONDS)


@contextmanager
def held_by_worker(store: ArtifactStore, name: str) -> Iterator[None]:
    """Hold the lock by which others see that this worker lives, and that locks hold."""
    path = _lock(store, name)
    with locked(path, f"another process is the worker {name}", wait=False):
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def unheld_locks(client: SyncPrefectClient, store: ArtifactStore) -> list[WorkerName]:
    """Return the workers that are online, and whose lock is free here: they have just died, or hold it in vain."""
    names = [name for name in worker_names(client) if _lock(store, str(name)).exists()]
    return [name for name in names if _is_free(_lock(store, str(name)))]


def _lock(store: ArtifactStore, name: str) -> Path:
    return store.root / "locks" / f"worker-{name}"


def _is_free(path: Path) -> bool:
    with path.open() as file:
        return is_free(file)
