"""Makes a fault happen to a run, and tells what became of it; what may never be is an AssertionError."""

import time
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.upkeep import verify
from tests.fault_matrix.faults import Fault
from tests.fault_matrix.page import Row
from tests.fault_matrix.site import Site
from tests.fault_matrix.works import Work
from tests.flows.conftest import as_overrides, when_made
from tests.flows.local_server import START_SECONDS, Served, until

MOST_SECONDS = 120.0
"""Until a run is over, and the queue goes on."""
LONG_SECONDS = 60.0
"""For processes to end: they have 6 s before they are killed, on an idle machine."""


def observe(site: Site, fault: Fault, work: Work) -> Row:
    """Do it all; nothing finished may be redone, nothing half-done taken for done, nothing go on for ever."""
    site.refill(work.before)
    with fault.prepare(site, work):
        served, store = site.served, site.store
        run_id = served.start(work.deployment, work.parameters)
        if not fault.hits_at_once:
            until(
                lambda: work.is_in_the_middle(store) or _is_over(served, run_id),
                seconds=START_SECONDS, log=served.log,
            )  # fmt: skip
        finished, units = when_made(store), work.units(store)
        with fault.strike(site, work, run_id) as given_up:
            served = site.served  # another, where the machine was started again
            struck = time.monotonic()
            run = served.finish(run_id)
            over = time.monotonic()
            until(lambda: not site.left_over([run_id]), seconds=LONG_SECONDS, log=served.log)
    assert fault.says in run.state.message
    finished = {ref: made for ref, made in finished.items() if ref not in given_up}
    _check_whole(store, finished, units, work)
    held = _held(work, set(store.references()) | set(given_up), store)
    next_id = served.start("ingest/stage-ingest", {"overrides": as_overrides(work.experiment)})
    assert served.finish(next_id).state.is_completed()
    moved_on = time.monotonic()
    print(f"\n{fault.name}: {run.state.name}: {run.state.message}")
    print(f"\n{fault.name}: over after {over - struck:.0f} s, the next run done {moved_on - over:.0f} s later")
    assert moved_on - struck < MOST_SECONDS
    retry = fresh = "not needed"
    if not run.state.is_completed():
        other = site.copied(f"{run_id}")
        served.retry_without_waiting(run_id)
        fresh = _said(work.here(other))
        _check_done(other, finished, units, work)
        retry = _said(served.finish(run_id).state)
    _check_done(store, finished, units, work)
    assert _said(work.here(store)) == "Completed: all reused"
    return Row(fault.name, _state(fault, run), held, "none", retry, fresh)


def _is_over(served: Served, run_id: UUID) -> bool:
    """Raise AssertionError where a run is over before anything has happened to it."""
    state = served.client.read_flow_run(run_id).state
    assert not state.is_final(), state
    return False


def _state(fault: Fault, run: Any) -> str:
    said = f": *{fault.says}*" if fault.says else ""
    again = f", in its attempt {run.run_count}" if run.run_count > 1 else ""
    return f"{run.state.name}{said}{again}"


def _held(work: Work, finished: set[ArtifactRef], store: ArtifactStore) -> str:
    missing = [step.ref for step in work.steps.values() if step.ref not in finished]
    if not missing:
        return "all of it"
    draft = f", and a part of `{work.missing[0]}`" if missing[0] in store.drafts() else ""
    return f"{len(work.steps) - len(missing)} of {len(work.steps)} artifacts{draft}"


def _said(state: Any) -> str:
    """Return what a run says of its steps, without how long they took."""
    assert state.is_completed(), state.message
    words = str(state.message).partition(";")[0]
    return f"Completed: {'all reused' if words.startswith('All') else words.partition(': ')[2]}"


def _check_whole(
    store: ArtifactStore, finished: Mapping[ArtifactRef, Any], units: Mapping[str, int], work: Work
) -> None:
    """Whatever counts as done is whole and as it would be undisturbed, and is as old as it was."""
    now = when_made(store)
    assert {ref: now.get(ref) for ref in finished} == finished
    assert [damage for ref in store.references() for damage in verify(store, ref)] == []
    later = work.units(store)
    assert {unit: later.get(unit) for unit in units} == units
    for name, files in work.files.items():
        ref = work.steps[name].ref
        assert ref not in store or store.manifest(ref).files == files


def _check_done(
    store: ArtifactStore, finished: Mapping[ArtifactRef, Any], units: Mapping[str, int], work: Work
) -> None:
    _check_whole(store, finished, units, work)
    assert all(work.steps[name].ref in store for name in work.missing)
    assert store.drafts() == {}
