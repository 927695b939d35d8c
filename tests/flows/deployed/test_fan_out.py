"""Stages spread over workers on a real Prefect server: the same files, and every death is seen and made good.

The worker of `taskdistill up` runs the parent, and its children one at a time.
"""

import contextlib
import threading
import time
from typing import Any

import psutil
import pytest

from taskdistill.configs.experiment import Experiment
from taskdistill.configs.models import Backbone
from taskdistill.configs.stages import ExtractConfig
from taskdistill.flows.pipeline.planning import PlannedStep, make_plan
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.upkeep import discard
from taskdistill.tasks.partitions import cut
from tests.conftest import Bench
from tests.flows.conftest import as_overrides, quietly
from tests.flows.local_server import Served, until

ALL_SETTINGS = "distillation-all-settings/distillation-all-settings"

pytestmark = [pytest.mark.prefect, pytest.mark.slow]


@pytest.fixture(scope="module")
def spread(experiment: Experiment) -> Experiment:
    return experiment.model_copy(update={"runtime": experiment.runtime.model_copy(update={"fan_out": 2})})


def step_of(experiment: Experiment, store: ArtifactStore, name: str) -> PlannedStep:
    return next(step for step in make_plan(experiment, store).steps if step.name == name)


def children(client: Any, ref: ArtifactRef) -> list[Any]:
    """Runs that were asked for spans of an artifact, the oldest first."""
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags

    runs = client.read_flow_runs(flow_run_filter=FlowRunFilter(tags=FlowRunFilterTags(all_=[str(ref)])))
    return sorted(runs, key=lambda run: run.created)


# --- all is well -------------------------------------------------------------------------------------------------


@pytest.mark.nightly
def test_two_spans_and_one_worker_give_the_files_of_one_process(
    served: Served, spread: Experiment, finished_bench: Bench
) -> None:
    ref = finished_bench.student_features
    discard(served.store, ref, with_dependents=True)
    run = served.finish(served.start("extract/stage-extract", {"overrides": as_overrides(spread)}))
    assert run.state.name == "Completed", run.state.message
    assert served.store.manifest(ref).files == finished_bench.store.manifest(ref).files
    asked = children(served.client, ref)
    assert [(child.parameters["numbers"], child.state.name) for child in asked] == [
        ([0], "Completed"), ([1, 2], "Completed"),
    ]  # fmt: skip
    assert {child.parent_task_run_id is not None for child in asked} == {True}


# --- deaths ------------------------------------------------------------------------------------------------------


@pytest.fixture
def lengthy(spread: Experiment, served: Served) -> Experiment:
    """41 chunks for the teacher, image by image, so that there is a middle to die in; the student is done."""
    update = {"views": spread.views.model_copy(update={"num_views": 40})}
    experiment = spread.model_copy(update=update)
    quietly(experiment, served.store)(step_of(experiment, served.store, "extract-student"))
    slow = spread.runtime.model_copy(update={"inference_batch_size": 1, "workers": 1})
    return experiment.model_copy(update={"runtime": slow})


def views_in(store: ArtifactStore, ref: ArtifactRef) -> set[int]:
    """Views that are there: the 24 training images make one chunk of each, the others one of the clean view, 0."""
    found = (store.draft_path(ref) / "outputs.zarr").glob("*/outputs/c/0/*/0/0")
    return {int(path.parts[-3]) + (path.parts[-7] == "augmented") for path in found}


@pytest.mark.nightly
def test_what_a_killed_child_left_is_asked_for_again_and_nothing_else(served: Served, lengthy: Experiment) -> None:
    ref = step_of(lengthy, served.store, "extract-teacher").ref
    run_id = served.start("extract/stage-extract", {"overrides": as_overrides(lengthy)})

    def at_work() -> list[Any]:
        """The children that have made a part of theirs; two, where the server still counts the place of a worker that
        died lately.
        """
        made = views_in(served.store, ref)
        running = [child for child in children(served.client, ref) if child.state.name == "Running"]
        return [child for child in running if made & set(child.parameters["numbers"])]

    until(at_work, seconds=300, log=served.log)
    killed = at_work()[0]
    psutil.Process(int(killed.infrastructure_pid)).kill()

    done = served.finish(run_id)
    assert done.state.name == "Completed", done.state.message
    first, again = children(served.client, ref)[:2], children(served.client, ref)[2:]
    assert {child.id: child.state.name for child in first} == {
        child.id: "Crashed" if child.id == killed.id else "Completed" for child in first
    }
    left = sorted(number for child in again for number in child.parameters["numbers"])
    assert left
    assert set(left) < set(killed.parameters["numbers"])
    assert [child.parameters["numbers"] for child in again] == cut(left, 2)
    assert ref in served.store


def test_a_run_left_running_by_a_dead_worker_is_given_up_but_not_while_somebody_holds_its_lock(
    served: Served, spread: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.states import Running

    from taskdistill.flows.deployed import children as waited_for
    from taskdistill.flows.deployed.fan_out import over_workers

    monkeypatch.setattr(waited_for, "LAST_WORD_SECONDS", 1.0)
    monkeypatch.setattr(waited_for, "POLL_SECONDS", 0.2)
    ref = ArtifactRef("features", "0" * 64)
    deployment = served.client.read_deployment_by_name("span/span")
    asked = {"stage": "extract", "config": {}, "inputs": {}, "wanted": str(ref), "numbers": [3, 4], "runtime": {}}
    served.client.create_flow_run_from_deployment(deployment.id, parameters=asked, state=Running(), tags=[str(ref)])
    step = step_of(spread, served.store, "extract-teacher")
    began, released = time.monotonic(), False
    with contextlib.ExitStack() as working:
        working.enter_context(served.store.lock(ref, part="3-4"))

        def still_missing() -> list[int]:
            nonlocal released
            if time.monotonic() - began > 3:
                working.close()
                released = True
            return [] if released else [3, 4]  # others made them meanwhile

        over_workers(step, served.store, spread.runtime, threading.Event())(ref)([3, 4], still_missing)
    assert released
    (only,) = children(served.client, ref)  # it was waited for, not doubled
    assert only.state.name == "Crashed"


# --- who is asked ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("deployment", "the server has no deployment 'no/where'"),
        ("pool", "none of the work pool 'no/where' is online"),
    ],
)
def test_without_a_worker_the_message_says_how_to_start_one(
    served: Served, missing: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from taskdistill.flows.deployed import server

    if missing == "pool":
        monkeypatch.setattr(server, "POOL", "no/where")
    with pytest.raises(server.ServerError, match=message) as error:
        server.check_workers(served.client, "no/where" if missing == "deployment" else server.SPAN_DEPLOYMENT)
    assert "'taskdistill up' starts one" in str(error.value)


def test_paths_are_sent_whole_because_workers_run_elsewhere(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from taskdistill.configs.places import portable

    monkeypatch.chdir(tmp_path)
    config = ExtractConfig(backbone=Backbone(name="test_vit", weights="file", file="weights.safetensors"))
    sent = portable(config)
    assert sent["backbone"]["file"] == str(tmp_path / "weights.safetensors")
    assert ExtractConfig.model_validate(sent).identity() == config.identity()
