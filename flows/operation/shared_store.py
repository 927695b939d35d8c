"""Whether all workers mean the same store, and whether its locks hold between processes and between hosts.

    <store>/.taskdistill-id            a random name: the same wherever the store is mounted
    <store>/locks/worker-<name>        flock held by each worker as long as it lives

A share that is not mounted leaves an empty folder, which has no name. So only who tells the server of a store for the
first time names it; afterwards a folder without that name is refused, and nothing is made in it.

A share that is mounted without locks (NFS with `nolock` or `local_lock`) gives a lock to each host: two runs would
write the same artifact. A lock that is held on one host and free on another shows it.
"""

import contextlib
import logging
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import VariableCreate, VariableUpdate
from prefect.exceptions import ObjectNotFound

from taskdistill.flows.deployed.server import ServerError, WorkerName, worker_names
from taskdistill.storage.errors import StoreError
from taskdistill.storage.files import atomic
from taskdistill.storage.locks import is_free, locked, take
from taskdistill.storage.root import ID_FILE, ROOT_VARIABLE
from taskdistill.storage.store import ArtifactStore

log = logging.getLogger(__name__)

VARIABLE = "taskdistill_store"
"""On the server: id, place and host of the store that workers are to use."""

DEAD_SECONDS = 150.0
"""For so long at most the server takes a worker that died for online."""
_LOOK_SECONDS = 1.0
_MEANT = "Where another store than before is meant: 'taskdistill up --new-store'"
_ASKS = "import fcntl, sys\nfcntl.flock(open(sys.argv[1]), fcntl.LOCK_EX | fcntl.LOCK_NB)"


def known_id(store: ArtifactStore) -> str:
    """Return the store's random name, "" where it has none yet; StoreError where a power cut has taken it."""
    path = store.root / ID_FILE
    try:
        found = path.read_text(errors="replace").strip()
    except FileNotFoundError:
        return ""
    if not found or not found.isprintable():
        raise StoreError(
            f"{path} should hold the name of the store, and does not, as after a power cut: give the store another "
            f"with 'rm {path}' and 'taskdistill up --new-store'"
        )
    return found


def store_id(store: ArtifactStore) -> str:
    """Return the store's random name; StoreError where it has none: nothing is made here, as it may not be mounted."""
    if not (found := known_id(store)):
        raise StoreError(
            f"the folder {store.root} is none that 'taskdistill up' has taken for its store: see that its share is "
            "mounted there"
        )
    return found


def announced_store(client: SyncPrefectClient) -> dict[str, Any] | None:
    """Return what the server was told of the store of its workers; None where it was told of none."""
    found = client.read_variable_by_name(VARIABLE)
    return found.value if found and isinstance(found.value, dict) and found.value.get("id") else None


def announce_store(client: SyncPrefectClient, store: ArtifactStore, host: str) -> None:
    """Tell the server which store its workers are to use, and give the store its name at first use.

    Raises as `check_store` does: a server that knows of another store is not told of this one.
    """
    check_store(client, store)
    path = store.root / ID_FILE
    with locked(store.root / "locks" / "store-id", "another process names this store"):
        if not known_id(store):
            with atomic(path) as partial:
                partial.write_text(secrets.token_hex(16) + "\n")
    value = {"id": store_id(store), "place": str(store.root), "host": host}
    if client.read_variable_by_name(VARIABLE) is None:
        client.create_variable(VariableCreate(name=VARIABLE, value=value))
    else:
        client.update_variable(VariableUpdate(name=VARIABLE, value=value))


def forget_store(client: SyncPrefectClient) -> None:
    """Let the server be told of another store than before."""
    with contextlib.suppress(ObjectNotFound):
        client.delete_variable_by_name(VARIABLE)


def other_store(client: SyncPrefectClient, store: ArtifactStore) -> str:
    """Say that the server's workers are to use another store than this one; "" where they are not."""
    return difference(announced_store(client), store)


def difference(told: Mapping[str, Any] | None, store: ArtifactStore) -> str:
    """Say how this folder is not the store that a server was told of; "" where it is, or where it was told of none."""
    try:
        found = known_id(store)
    except StoreError as error:
        return str(error)
    if told is None or told["id"] == found:
        return ""
    theirs = f"{told.get('place')} on {told.get('host')}"
    if not found:
        return (
            f"the folder {store.root} is not the store of this server, {theirs}: see that its share is mounted there, "
            f"and that {ROOT_VARIABLE} names it (else it is the folder 'artifacts' of wherever one stands). "
            f"Made here, everything would be made again, and be out of sight when the share is back. {_MEANT}"
        )
    return (
        f"the store here, {store.root}, is another than the one of this server, {theirs}: what one makes, the other "
        f"would not find. Let {ROOT_VARIABLE} name the same folder on a share. {_MEANT}"
    )


def check_store(client: SyncPrefectClient, store: ArtifactStore) -> None:
    """Raise ServerError where this server's workers are to use another store, StoreError where its locks do not hold
    between two processes. Where it is another, nothing is made in it.
    """
    if words := other_store(client, store):
        raise ServerError(words)
    check_locks(store)


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
