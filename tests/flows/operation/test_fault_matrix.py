"""Every row of the table of faults in OPERATING.md: what is written there is what is observed here.

`python -m tests.fault_matrix` writes the rows anew.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from configs.experiment import Experiment
from tests.conftest import Bench
from tests.fault_matrix.faults import FAULTS, Fault
from tests.fault_matrix.observing import observe
from tests.fault_matrix.page import PAGE, rows_of
from tests.fault_matrix.site import Site
from tests.fault_matrix.works import Work, pipeline, stage

pytestmark = [pytest.mark.prefect, pytest.mark.slow]

Works = dict[str, Work]


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
    blends = with_blends.blends.model_copy(update={"per_image": 30, "num_steps": 4})
    views = experiment.views.model_copy(update={"num_views": 40})
    trained = experiment.model_copy(update={"training": training, "runtime": runtime})
    blended = with_blends.model_copy(update={"blends": blends, "runtime": runtime})
    runtime = runtime.model_copy(update={"fan_out": 2})
    spread = experiment.model_copy(update={"views": views, "runtime": runtime})
    made = [
        pipeline(trained, bench, folder),
        stage("generate", "generate", blended, bench, folder),
        stage("extract", "extract-teacher", spread, bench, folder),
    ]
    return {work.name: work for work in made}


def _named(fault: Fault) -> str:
    return fault.name.replace(" ", "-")


@pytest.mark.parametrize("fault", FAULTS, ids=_named)
def test_what_the_operators_page_says_of_a_fault_is_what_happens(fault: Fault, site: Site, works: Works) -> None:
    if fault.needs_mount and not site.can_mount:
        pytest.skip("mounting a small disk for the store needs root")
    observed = observe(site, fault, works[fault.work])
    if told := os.environ.get("TASKDISTILL_FAULTS"):
        with Path(told).open("a") as file:
            file.write(json.dumps(observed) + "\n")
        return
    assert observed == rows_of(PAGE.read_text())[fault.name]
