"""What a run says it did with each step: reused, resumed or built, by whom, and at what cost."""

from dataclasses import replace
from typing import Any

import pytest

from taskdistill.configs.experiment import Experiment
from taskdistill.flows.pipeline.planning import PlannedStep, make_plan
from taskdistill.flows.reports.steps import (
    ShownStep,
    are_all_reused,
    duration,
    in_words,
    run_name,
    step_rows,
    what_was_done,
)
from taskdistill.storage.fingerprint import fingerprint
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore

RUN = {"name": "birds seed 0", "flow": "distillation", "id": "one", "page": "http://127.0.0.1:4200/runs/flow-run/one"}


def committed(store: ArtifactStore, **provenance: Any) -> ArtifactRef:
    """Commit an artifact that took 12 s."""
    ref = ArtifactRef("model", fingerprint({}))
    with store.lock(ref):
        (store.draft(ref, {}) / "weights").write_bytes(b"12345")
        store.commit(ref, recipe={}, inputs={}, summary={"seconds": 12.0}, **provenance)
    return ref


@pytest.fixture
def step(experiment: Experiment, store: ArtifactStore) -> PlannedStep:
    """A step that is still to be done."""
    return make_plan(experiment, store).steps[0]


def shown(*words: str, seconds: float = 0.0) -> list[ShownStep]:
    return [
        ShownStep(f"step {number}", what, seconds, ArtifactRef("model", "0" * 64)) for number, what in enumerate(words)
    ]


def test_a_run_is_named_by_preset_data_and_seeds(experiment: Experiment) -> None:
    data = experiment.data.model_copy(update={"path": "/some/where/birds-0"})
    assert run_name(experiment.model_copy(update={"data": data, "seeds": (0, 1, 2)})) == "shapes birds-0 seed 0,1,2"


@pytest.mark.parametrize(
    ("action", "because", "run", "said"),
    [
        ("have", "", "another", "reused"),
        ("build", "", "one", "built"),
        ("stale", "seed changed from 0 to 1", "one", "built"),
        ("resume", "at 40 of 120 epochs", "one", "resumed at 40 of 120 epochs"),
        ("build", "", "another", "reused, made meanwhile"),
    ],
)
def test_what_became_of_a_step_follows_from_the_plan_and_from_who_made_it(
    store: ArtifactStore, step: PlannedStep, action: Any, because: str, run: str, said: str
) -> None:
    made = store.manifest(committed(store, run=RUN))
    assert what_was_done(replace(step, action=action, because=because), made, run) == said


def test_outside_of_prefect_what_has_no_run_was_made_here(store: ArtifactStore, step: PlannedStep) -> None:
    assert what_was_done(step, store.manifest(committed(store)), "") == "built"


def test_the_table_names_cost_maker_and_reference_of_what_is_there_and_not_of_what_failed(store: ArtifactStore) -> None:
    ref = committed(store, run=RUN)
    missing = ArtifactRef("model", "0" * 64)
    rows = step_rows(
        [ShownStep("distill", "reused", 0.04, ref), ShownStep("evaluate", "not finished", 3.26, missing)], store
    )
    made = store.manifest(ref).provenance["made"].replace("T", " ")[:16]
    assert rows == [
        {
            "step": "distill",
            "what": "reused",
            "seconds": 0.0,
            "cost": "12 s, 5 B",
            "made by": f"birds seed 0 (distillation), {made}",
            "reference": str(ref),
        },
        {
            "step": "evaluate",
            "what": "not finished",
            "seconds": 3.3,
            "cost": "",
            "made by": "",
            "reference": str(missing),
        },
    ]


def test_what_the_command_line_made_says_so(store: ArtifactStore) -> None:
    (row,) = step_rows([ShownStep("distill", "reused", 0.0, committed(store))], store)
    assert row["made by"].startswith("the command line on ")


def test_a_run_in_which_all_was_there_says_that_nothing_was_made() -> None:
    steps = shown("reused", "reused, made meanwhile")
    assert are_all_reused(steps)
    assert in_words(steps) == "All 2 steps reused: nothing had to be made"


def test_a_run_counts_what_it_did_and_the_work_it_was() -> None:
    steps = shown("reused", "resumed at 3 of 9 chunks", "built", "built", "not finished", seconds=30)
    assert in_words(steps) == "5 steps: 1 reused, 1 resumed, 2 built, 1 not finished; 2 min of work"


def test_a_run_that_came_to_no_step_has_reused_nothing() -> None:
    assert not are_all_reused([])


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.04, "0.0 s"), (9.94, "9.9 s"), (89, "89 s"), (90, "2 min"), (7200, "2.0 h")]
)
def test_durations_are_said_in_the_unit_people_would_use(seconds: float, said: str) -> None:
    assert duration(seconds) == said
