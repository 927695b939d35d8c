"""Every row of the table of faults in OPERATING.md: what is written there is what is observed here.

`python -m tests.fault_matrix --write` writes the rows anew, `--check` compares them all; without it those rows are left
out that take long.
"""

import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from taskdistill.configs.experiment import Experiment
from taskdistill.flows.pipeline.running import experiment_settings_of
from tests.conftest import Bench
from tests.fault_matrix.faults import FAULTS, Fault
from tests.fault_matrix.observing import LONG_SECONDS, observe
from tests.fault_matrix.page import PAGE, note, rows_of
from tests.fault_matrix.site import Site
from tests.fault_matrix.works import Work, pipeline, stage
from tests.flows.local_server import START_SECONDS, command, until

pytestmark = [pytest.mark.prefect, pytest.mark.slow]

LONG_EPOCHS = 240
"""So that a twentieth of three minutes is not enough for them."""

Works = Callable[[str], Work]
NOTED = os.environ.get("TASKDISTILL_FAULTS", "")
"""A file that takes the rows, or "all": to compare each with the page, also those that take long."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("site"))
    site.mount()
    try:
        site.start()
        yield site
    finally:
        site.close()


@pytest.fixture(scope="module")
def works(
    experiment: Experiment, with_blends: Experiment, finished_bench: Bench, tmp_path_factory: pytest.TempPathFactory
) -> Works:
    """Each is long enough to have a middle."""
    folder, bench = tmp_path_factory.mktemp("works"), finished_bench.store
    runtime = experiment.runtime.model_copy(update={"checkpoint_seconds": 0.2, "inference_batch_size": 1, "workers": 1})
    training = experiment.training.model_copy(update={"epochs": 60})
    blends = with_blends.blends.model_copy(update={"per_image": 12.0, "num_steps": 4})
    views = experiment.views.model_copy(update={"num_views": 40})
    trained = experiment.model_copy(update={"training": training, "runtime": runtime})
    long = training.model_copy(update={"epochs": LONG_EPOCHS})
    trained_for_long = trained.model_copy(update={"training": long})
    blended = with_blends.model_copy(update={"blends": blends, "runtime": runtime})
    runtime = runtime.model_copy(update={"fan_out": 2})
    spread = experiment.model_copy(update={"views": views, "runtime": runtime})
    in_two_slots = trained.model_copy(update={"runtime": trained.runtime.model_copy(update={"slots": 2})})

    @cache
    def work(name: str) -> Work:
        if name == "generate":
            return stage(name, "generate", blended, bench, folder)
        if name == "extract":
            return stage(name, "extract-teacher", spread, bench, folder)
        if name == "pipeline":
            return pipeline(trained, bench, folder)
        if name == "long pipeline":
            return pipeline(trained_for_long, bench, folder / "long")
        settings = {"experiment": experiment_settings_of(in_two_slots)}
        return work("pipeline")._replace(name=name, parameters=settings, alone=work("pipeline").parameters)

    return work


def _named(fault: Fault) -> str:
    return fault.name.replace(" ", "-")


@pytest.mark.parametrize("fault", FAULTS, ids=_named)
def test_what_the_operators_page_says_of_a_fault_is_what_happens(fault: Fault, site: Site, works: Works) -> None:
    if fault.needs_mount and not site.can_mount:
        pytest.skip("mounting a small disk for the store needs root")
    if fault.is_only_in_full and not NOTED:
        pytest.skip("'python -m tests.fault_matrix --check' makes it happen too")
    observed = observe(site, fault, works(fault.work))
    if NOTED not in ("", "all"):
        note(observed, Path(NOTED))
        return
    assert observed == rows_of(PAGE.read_text())[fault.name]


def test_after_all_that_no_run_and_no_step_shows_running_for_ever(site: Site) -> None:
    until(lambda: not site.going_on(), seconds=300, log=site.served.log)


def test_a_machine_that_is_to_finish_first_does(site: Site, works: Works) -> None:
    """Last: it is down after it."""
    work = works("pipeline")
    site.stop()
    site.start("--on-stop", "finish")
    site.refill(work.before)
    run_id = site.served.start(work.deployment, work.parameters)
    until(lambda: work.is_in_the_middle(site.store), seconds=START_SECONDS, log=site.served.log)
    running = site.processes_of(run_id)
    assert command(["down"], site.environment).stdout == "stopped\n"
    assert [process for process in running if process.is_running()] == []
    until(lambda: not site.processes(), seconds=LONG_SECONDS, log=site.served.log)
    assert {name: site.store.manifest(work.steps[name].ref).files for name in work.missing} == work.files
    assert command(["down"], site.environment).stdout == "nothing is up\n"


def test_the_page_says_what_to_do_for_each_fault_and_has_no_row_that_nothing_observes() -> None:
    page = PAGE.read_text()
    assert list(rows_of(page)) == [fault.name for fault in FAULTS]
    assert [fault.name for fault in FAULTS if f"- **{fault.name}**" not in page] == []
