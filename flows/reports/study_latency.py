"""How long the students of a study take for one image, measured at its end, when nothing else of it is at work.

Weights make no difference, so each network is measured once on each computer, whichever models and studies have it.
What was measured is remembered in the store, in a folder for each computer: a finished study measures nothing.
"""

import logging
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from taskdistill.configs.errors import UserError
from taskdistill.flows.pipeline.study import StudyRun
from taskdistill.flows.reports.page.subject import FOLDER
from taskdistill.storage.files import make_folder, read_json_if_whole, write_passing_json
from taskdistill.storage.fingerprint import fingerprint
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.weights import ModelDescription

log = logging.getLogger(__name__)

_MILLISECONDS = "latency_ms"
_ONLY_WEIGHTS = ("weights", "file", "seed")
"""Settings of a backbone that decide its weights alone."""


def latencies_of(run: StudyRun, store: ArtifactStore) -> dict[ArtifactRef, float]:
    """Return ms for one image by model, of each first seed; those that cannot be measured are left out, and said."""
    students = list(dict.fromkeys(_first_seeds(run)))
    found: dict[ArtifactRef, float] = {}
    failed: dict[ArtifactRef, str] = {}
    for ref in students:
        try:
            found[ref] = _latency(ref, store)
        except (UserError, OSError) as error:  # a damaged model; its scores are right, and the study is done
            failed[ref] = str(error)
    if failed:
        ref, why = next(iter(failed.items()))
        log.warning("how long %d of %d models take is not known: %s: %s", len(failed), len(students), ref.short, why)
    return found


def _first_seeds(run: StudyRun) -> Iterator[ArtifactRef]:
    for results in run.results:
        firsts = {result.model: result for result in reversed(results) if result.seed is not None}
        yield from (result.artifact for result in firsts.values())


def architecture_of(description: ModelDescription) -> dict[str, Any]:
    """Return all that decides how long a network takes, and nothing of its weights."""
    backbone = {name: value for name, value in description.backbone.items() if name not in _ONLY_WEIGHTS}
    return {
        "problem": description.problem,
        "backbone": backbone,
        "preprocessing": description.preprocessing,
        "blocks": description.blocks,
        "head": description.head,
        "classes": len(description.classes),
    }


def _latency(ref: ArtifactRef, store: ArtifactStore) -> float:
    folder = store.path(ref)
    description = ModelDescription.read(folder)
    remembered = _place(description, store)
    match read_json_if_whole(remembered):
        case {"latency_ms": float(known)}:
            return known
    found = _measured(folder)
    try:
        make_folder(remembered.parent)
        write_passing_json(remembered, {_MILLISECONDS: found, "architecture": architecture_of(description)})
    except OSError as error:  # a store that can only be read
        log.info("%s is not remembered: %s", remembered, error)
    return found


def _place(description: ModelDescription, store: ArtifactStore) -> Path:
    name = f"{fingerprint(architecture_of(description))[:16]}.json"
    return store.root / FOLDER / "latencies" / platform.node() / name


def _measured(folder: Path) -> float:
    import torch  # and all of it takes seconds to import, where there is one to measure

    from taskdistill.tasks.deploy.deployable import Deployable
    from taskdistill.tasks.export.latency import measured_alone

    return measured_alone(Deployable.load(folder, torch.device("cpu")), threads=1).p50_ms
