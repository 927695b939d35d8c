"""How long the students of a study take for one image, measured at its end, when nothing else of it is at work.

Weights make no difference, so each network is measured once on each computer with each version of torch, whichever
models and studies have it. What was measured is remembered in the store, in a folder for each computer: a finished
study measures nothing, unless other programs had the processors too. Then it is measured again the next time that fewer
have, and what was least disturbed is kept.
"""

import logging
import platform
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from taskdistill.configs.errors import UserError
from taskdistill.flows.pipeline.study import StudyRun
from taskdistill.flows.reports.page.subject import FOLDER
from taskdistill.flows.reports.study_rows import StudyLatency
from taskdistill.storage.files import make_folder, read_json_if_whole, write_passing_json
from taskdistill.storage.fingerprint import fingerprint
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.provenance import version_of
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.weights import ModelDescription
from taskdistill.tasks.cores import beside_this

log = logging.getLogger(__name__)

_MILLISECONDS, _BESIDE = "latency_ms", "beside"
_ONLY_WEIGHTS = ("weights", "file", "seed")
"""Settings of a backbone that decide its weights alone."""


def latencies_of(run: StudyRun, store: ArtifactStore) -> dict[ArtifactRef, StudyLatency]:
    """Return the latencies by model, of each first seed; those that cannot be measured are left out, and said."""
    students = list(dict.fromkeys(_first_seeds(run)))
    found: dict[ArtifactRef, StudyLatency] = {}
    failed: dict[ArtifactRef, str] = {}
    of_networks: dict[str, StudyLatency] = {}
    for ref in students:
        try:
            network = _network(ref, store)
            name = fingerprint(network)[:16]
            if name not in of_networks:
                of_networks[name] = _latency(ref, network, store)
            found[ref] = of_networks[name]
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


def _network(ref: ArtifactRef, store: ArtifactStore) -> dict[str, Any]:
    """Return what a latency is of."""
    return {"architecture": architecture_of(ModelDescription.read(store.path(ref))), "torch": version_of("torch")}


def _latency(ref: ArtifactRef, network: Mapping[str, Any], store: ArtifactStore) -> StudyLatency:
    place = store.root / FOLDER / "latencies" / platform.node() / f"{fingerprint(network)[:16]}.json"
    known = _remembered(place, network)
    # On a machine that is no less busy now nothing better would come out, for seconds of importing torch.
    if known and (known.is_alone or known.beside <= beside_this()):
        return known
    found = _measured(store.path(ref))
    if known and known.beside < found.beside:
        return known
    try:
        make_folder(place.parent)
        write_passing_json(place, {**network, _MILLISECONDS: found.ms, _BESIDE: found.beside})
    except OSError as error:  # a store that can only be read
        log.info("%s is not remembered: %s", place, error)
    return found


def _remembered(place: Path, of_network: Mapping[str, Any]) -> StudyLatency | None:
    """Return what was measured of a network; None where that is not known."""
    match read_json_if_whole(place):
        case {"latency_ms": float(ms), "beside": float(beside), **others} if others == of_network:
            return StudyLatency(ms, beside)
        case _:
            return None


def _measured(folder: Path) -> StudyLatency:
    import torch  # and all of it takes seconds to import, where there is one to measure

    from taskdistill.tasks.deploy.deployable import Deployable
    from taskdistill.tasks.export.latency import measured_alone

    network, before = Deployable.load(folder, torch.device("cpu")), beside_this()
    return StudyLatency(measured_alone(network, threads=1).p50_ms, max(before, beside_this()))
