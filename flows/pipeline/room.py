"""Whether the disk of the store has room for what a run is to make, asked before anything expensive.

Sizes are estimates, and of some artifacts nothing is known; so this keeps a run from what cannot end well, and a disk
that is full in spite of it is told where it happens (flows.ending.os_errors).
"""

import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from taskdistill.configs.experiment import Experiment
from taskdistill.configs.runtime import RuntimeConfig
from taskdistill.flows.pipeline.planning import PlannedStep
from taskdistill.storage.errors import NoRoomError
from taskdistill.storage.files import bytes_in, bytes_in_words
from taskdistill.storage.kept_views import VIEWS, bytes_kept
from taskdistill.storage.store import ArtifactStore

log = logging.getLogger(__name__)

_NAMED = 3
"""Steps that the error names, the largest first."""
_WORTH_SAYING = 4
"""A setting is named where at least one in so many bytes goes by it."""


def check_room(steps: Sequence[PlannedStep], experiment: Experiment, store: ArtifactStore) -> None:
    """Raise NoRoomError where what is to be made is larger than what is free on the disk of the store."""
    missing = _missing_bytes(steps, store)
    needed = sum(missing.values())
    if not needed:
        return
    free = shutil.disk_usage(_existing(store.root)).free
    if needed > free:
        views = bytes_kept(store.root / VIEWS)
        cache = f", and the store's folder {VIEWS}, a cache of {bytes_in_words(views)}, may be deleted" if views else ""
        raise NoRoomError(
            f"there is no room for this run: it makes about {bytes_in_words(needed)} more ({_largest(missing)}), and "
            f"the disk of the store {store.root} has {bytes_in_words(free)} free. Free at least "
            f"{bytes_in_words(needed - free)} ('taskdistill collect' shows what nothing needs{cache}), or let "
            f"TASKDISTILL_STORE name a folder on a larger disk{_smaller(steps, missing, experiment)}"
        )


def leaving_room(runtime: RuntimeConfig, steps: Sequence[PlannedStep], store: ArtifactStore) -> RuntimeConfig:
    """Return how the work is done: without keeping views where what is to be made takes more than half of what is free,
    or a cache might be what fills the disk.
    """
    needed = sum(_missing_bytes(steps, store).values())
    if not runtime.kept_views_mb or 2 * needed <= shutil.disk_usage(_existing(store.root)).free:
        return runtime
    log.info("cut views are not kept for later steps: what is to be made takes more than half of what is free")
    return runtime.model_copy(update={"kept_views_mb": 0})


def _missing_bytes(steps: Sequence[PlannedStep], store: ArtifactStore) -> dict[str, int]:
    """Return about how many bytes each step is still to write, by its name."""
    # Two steps may make the same artifact; it is made once.
    by_ref = {step.ref: step for step in steps if step.action != "have" and step.num_bytes}
    drafts = {step.name: (step, store.draft_path(ref)) for ref, step in by_ref.items()}
    found = {name: (step.num_bytes or 0) - bytes_in(draft) for name, (step, draft) in drafts.items()}
    return {name: num_bytes for name, num_bytes in found.items() if num_bytes > 0}


def _existing(folder: Path) -> Path:
    """Return the folder, or the one above it that is there: a store is made when something is written to it."""
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())


def _largest(missing: Mapping[str, int]) -> str:
    largest = sorted(missing.items(), key=lambda item: item[1], reverse=True)[:_NAMED]
    return ", ".join(f"{name} {bytes_in_words(num_bytes)}" for name, num_bytes in largest)


def _smaller(steps: Sequence[PlannedStep], missing: Mapping[str, int], experiment: Experiment) -> str:
    """Say which settings make less of it."""
    kinds = {step.name: step.ref.kind for step in steps}
    logits = sum(num_bytes for name, num_bytes in missing.items() if kinds[name] == "logits")
    of_views = logits + sum(num_bytes for name, num_bytes in missing.items() if kinds[name] == "features")
    ways = []
    if experiment.logits == "fp16" and logits > sum(missing.values()) / _WORTH_SAYING:
        ways.append(f"logits=int8, which spares about {bytes_in_words(logits / 2)}")
    if experiment.views.num_views > 1 and of_views > sum(missing.values()) / _WORTH_SAYING:
        ways.append(f"fewer augmented views than views.num_views={experiment.views.num_views}")
    return f"; or make less: {', or '.join(ways)}" if ways else ""
