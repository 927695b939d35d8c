"""What a thousand finished steps cost a run before its first step: CPU time, which other programs do not change."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from taskdistill.configs.data import IngestConfig
from taskdistill.configs.experiment import Experiment
from taskdistill.flows.pipeline.planning import Plan, make_plan
from taskdistill.storage.manifest import MANIFEST
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.catalog import INGEST
from taskdistill.tasks.stage import execute
from tests.benchmarks.pictures import write_class_folders
from tests.benchmarks.store_scale import a_manifest, a_provenance, fill, images_of
from tests.conftest import RUNTIME

BUDGET_SECONDS = 2.0
FINISHED = 1_000
Answer = TypeVar("Answer")


def timed(work: Callable[[], Answer]) -> tuple[Answer, float]:
    began = time.process_time()
    return work(), time.process_time() - began


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return write_class_folders(tmp_path / "pictures", count=24, side_px=32)


def test_a_fresh_run_is_planned_in_under_two_seconds_beside_a_thousand_finished_steps_of_others(
    pictures: Path, tmp_path: Path
):
    store = ArtifactStore(tmp_path / "store")
    fill(store.root, FINISHED, images_of(pictures, store.root))
    plan, seconds = timed(lambda: make_plan(Experiment(data=IngestConfig(path=str(pictures))), store))
    assert {step.action for step in plan.steps} <= {"build", "stale"}
    assert seconds < BUDGET_SECONDS


def test_a_run_is_planned_in_under_two_seconds_of_which_a_thousand_steps_are_finished_and_some_are_not(
    pictures: Path, tmp_path: Path
):
    store = ArtifactStore(tmp_path / "store")
    experiment = Experiment(data=IngestConfig(path=str(pictures)), seeds=tuple(range(FINISHED // 4 + 1)))
    steps = make_plan(experiment, store).steps
    execute(INGEST, steps[0].config, {}, store=store, runtime=RUNTIME)
    provenance = a_provenance()
    for step in steps[1:FINISHED]:
        folder = store.root / "artifacts" / step.ref.kind / step.ref.fingerprint
        folder.mkdir(parents=True)
        (folder / MANIFEST).write_bytes(a_manifest(step.ref, {}, 5, provenance).as_bytes())
    plan, seconds = timed(lambda: make_plan(experiment, store))
    assert _have(plan) == [True] * FINISHED + [False] * (len(steps) - FINISHED)
    assert seconds < BUDGET_SECONDS


def _have(plan: Plan) -> list[bool]:
    return [step.action == "have" for step in plan.steps]
