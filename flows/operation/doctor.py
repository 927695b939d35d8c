"""What is wrong, and the command that mends it: this machine and its store, then the server and who works for it."""

import importlib.metadata
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from huggingface_hub.constants import HF_HUB_CACHE

from taskdistill.configs.errors import UserError
from taskdistill.configs.loading import load_experiment
from taskdistill.configs.models import Backbone
from taskdistill.flows.operation.doctor_server import server_findings
from taskdistill.flows.operation.finding import Finding
from taskdistill.flows.operation.server_access import PORT, answers, check_password, log_in
from taskdistill.flows.operation.shared_store import check_locks
from taskdistill.flows.operation.state import Running, StateFolder
from taskdistill.storage.files import all_files, bytes_in_words
from taskdistill.storage.locks import is_any_locked
from taskdistill.storage.store import ArtifactStore

PACKAGE = "taskdistill"
FULL_BYTES, FULL_SHARE = 5 * 2**30, 0.05
"""A disk is nearly full where less than either is free: a run on small images writes about as much."""
STALE_DAYS = 7


def findings(folder: StateFolder) -> Iterator[Finding]:
    """Yield what is wrong."""
    running = folder.running()
    yield from version_findings(importlib.metadata.requires(PACKAGE) or [])
    store = ArtifactStore.from_env()
    yield from store_findings(store)
    yield from disk_findings([store.root, folder.path])
    if running and running.presets:
        yield from weights_findings(Path(running.presets))
    yield from _server(folder, running, store)


def version_findings(requirements: list[str]) -> Iterator[Finding]:
    """Yield packages that are missing, or not of a version that this program works with."""
    for requirement in requirements:
        if "extra ==" in requirement or not (found := re.match(r"([\w.-]+)\s*(.*)", requirement)):
            continue
        name, wanted = found[1], found[2].partition(";")[0].strip()
        mend = f"pip install '{name}{wanted}'"
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            yield Finding(f"{name} is not installed", mend)
            continue
        if not _is_within(version, wanted):
            yield Finding(f"{name} is of version {version}, and this program works with {wanted}", mend)


def _is_within(version: str, wanted: str) -> bool:
    """Whether a version keeps to bounds such as >=2.0,<3."""
    here = _numbers(version)
    bounds = re.findall(r"(>=|<)\s*([\d.]+)", wanted)
    return all(here >= _numbers(bound) if sign == ">=" else here < _numbers(bound) for sign, bound in bounds)


def _numbers(version: str) -> list[int]:
    numbers = [int(number) for number in re.findall(r"\d+", version.partition("+")[0])[:3]]
    return numbers + [0] * (3 - len(numbers))


def store_findings(store: ArtifactStore) -> Iterator[Finding]:
    """Yield why nothing can be made in the store, and drafts that nobody continues."""
    try:
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


def disk_findings(folders: list[Path]) -> Iterator[Finding]:
    """Yield disks that are nearly full."""
    seen = set()
    for folder in folders:
        place = next(path for path in (folder, *folder.parents) if path.exists())
        usage, device = shutil.disk_usage(place), place.stat().st_dev
        if device not in seen and (usage.free < FULL_BYTES or usage.free < FULL_SHARE * usage.total):
            of = f"{bytes_in_words(usage.free)} of {bytes_in_words(usage.total)} are free"
            yield Finding(f"the disk of {folder} is nearly full: {of}", "taskdistill collect   (then with --yes)")
        seen.add(device)


def weights_findings(presets: Path) -> Iterator[Finding]:
    """Yield presets of one's own that cannot be read, and weights they name that are not on this machine."""
    for path in sorted(presets.glob("*.yaml")):
        try:
            experiment = load_experiment(str(path))
        except UserError as error:
            yield Finding(str(error), f"taskdistill plan {path}")
            continue
        for name, backbone in (("teacher", experiment.teacher), ("student", experiment.student)):
            if missing := _missing_weights(backbone):
                what = f"the weights of the {name} {backbone.name} of {path.name} are not on this machine ({missing})"
                yield Finding(what, f"taskdistill run {path}   (where the hub can be reached, it downloads them)")


def _missing_weights(backbone: Backbone) -> str:
    if backbone.weights == "file":
        return "" if Path(backbone.file).expanduser().exists() else f"no file {backbone.file}"
    if backbone.weights == "random" or backbone.source != "timm":
        return ""
    cached = Path(HF_HUB_CACHE) / f"models--timm--{backbone.name}"
    return "" if cached.exists() else f"not in {HF_HUB_CACHE}"


def _server(folder: StateFolder, running: Running | None, store: ArtifactStore) -> Iterator[Finding]:
    url = log_in(running.port if running else PORT)
    if not answers(url):
        is_up = running is not None and folder.is_held()
        mend = f"tail {folder.log('server')}" if is_up else "taskdistill up"
        yield Finding(f"no Prefect server answers at {url}", mend)
        return
    try:
        check_password(url)
    except UserError as error:
        yield Finding(str(error), "taskdistill down; taskdistill up")
        return
    yield from server_findings(store)
