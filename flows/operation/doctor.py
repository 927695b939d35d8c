"""What is wrong, and the command that mends it: this machine and its store, then the server and who works for it."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
from prefect.settings import PREFECT_API_URL

from taskdistill.configs.errors import UserError
from taskdistill.flows.operation.doctor_packages import package_findings
from taskdistill.flows.operation.doctor_server import server_findings
from taskdistill.flows.operation.doctor_weights import download_findings, weights_findings
from taskdistill.flows.operation.finding import Finding
from taskdistill.flows.operation.server_access import PORT, address, answers, check_password, log_in
from taskdistill.flows.operation.server_password import password_file
from taskdistill.flows.operation.shared_store import check_locks, known_id
from taskdistill.flows.operation.state import Running, StateFolder
from taskdistill.flows.operation.whose_server import whose_findings
from taskdistill.storage.files import all_files, bytes_in_words
from taskdistill.storage.locks import is_any_locked
from taskdistill.storage.root import ROOT_VARIABLE
from taskdistill.storage.store import ArtifactStore

FULL_BYTES, FULL_SHARE = 5 * 2**30, 0.05
"""A disk is nearly full where less than either is free: a run on small images writes about as much."""
STALE_DAYS = 7


def findings(folder: StateFolder) -> Iterator[Finding]:
    """Yield what is wrong."""
    running = folder.running()
    yield from package_findings()
    store = ArtifactStore.from_env()
    yield from store_findings(store)
    yield from disk_findings(store, folder.path)
    if running and running.presets:
        yield from weights_findings(Path(running.presets))
    yield from download_findings()
    yield from _server(folder, running, store)


def store_findings(store: ArtifactStore) -> Iterator[Finding]:
    """Yield why nothing can be made in the store, and drafts that nobody continues."""
    try:
        if known_id(store):  # what has no name may be a share that is not mounted: nothing is made in it
            check_locks(store)
    except UserError as error:
        yield Finding(str(error), f"ls -ld {store.root}; df -h {store.root}")
        return
    for ref, draft in store.drafts().items():
        last = max((path.stat().st_mtime for path in all_files(draft)), default=draft.stat().st_mtime)
        days = (time.time() - last) / 86_400
        if days > STALE_DAYS and not is_any_locked((store.root / "locks").glob(f"{ref.fingerprint}*")):
            yield Finding(
                f"nobody has gone on with the draft {ref.short} for {days:.0f} days: a run with the same settings "
                "continues it, and until then it takes room",
                f"taskdistill discard {ref.short}",
            )


def disk_findings(store: ArtifactStore, home: Path) -> Iterator[Finding]:
    """Yield the disks of the store and of the state folder that are nearly full, or small."""
    seen = set()
    for folder in (store.root, home):
        place = next(path for path in (folder, *folder.parents) if path.exists())
        usage, device = shutil.disk_usage(place), place.stat().st_dev
        if device not in seen and (usage.free < FULL_BYTES or usage.free < FULL_SHARE * usage.total):
            is_full = usage.free < FULL_SHARE * usage.total
            of = f"{bytes_in_words(usage.free)} of {bytes_in_words(usage.total)} are free"
            what = f"is nearly full: {of}" if is_full else f"has little room: {of}"
            run = f"a run on small images writes about {bytes_in_words(FULL_BYTES)}"
            yield Finding(f"the disk of {folder} {what}, and {run}", _room_for(store, folder))
        seen.add(device)


def _room_for(store: ArtifactStore, folder: Path) -> str:
    """Return the command that makes room on the disk of a folder, or finds another: an empty store has none to give."""
    if folder != store.root:
        return f"df -h {folder}; du -sh {folder}"
    if store.references():
        return "taskdistill collect   (then with --yes)"
    return f"export {ROOT_VARIABLE}=...   (a folder on a larger disk)"


def _server(folder: StateFolder, running: Running | None, store: ArtifactStore) -> Iterator[Finding]:
    port = running.port if running else PORT
    # Who works on the command line alone needs none: that there is none, or another's, is then no fault.
    is_wanted = running is not None or bool(PREFECT_API_URL.value())
    whose = list(whose_findings(PREFECT_API_URL.value() or address(port), folder))
    yield from (finding._replace(is_fault=is_wanted) for finding in whose)
    try:
        url = log_in(port)
    except UserError as error:
        if not whose:
            yield Finding(str(error), f"rm {password_file()}; taskdistill down; taskdistill up")
        return
    if not answers(url):
        is_up = running is not None and folder.is_held()
        mend = f"tail {folder.log('server')}" if is_up else "taskdistill up"
        needless = ": none is needed on the command line; one brings forms, schedules and pages of runs"
        what = f"no Prefect server answers at {url}{'' if is_wanted else needless}"
        yield Finding(what, mend, is_fault=is_wanted)
        return
    try:
        check_password(url)
        yield from server_findings(store, running if running and running.url == url and folder.is_held() else None)
    except UserError as error:
        yield Finding(str(error), "taskdistill down; taskdistill up")
    except httpx.HTTPError as error:
        told = str(error).partition("\n")[0] or type(error).__name__
        yield Finding(f"the server at {url} does not do what it is asked ({told})", f"tail {folder.log('server')}")
