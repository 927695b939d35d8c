"""What `plan` prints, and what it measures first where that is asked for."""

import logging

from taskdistill.flows.pipeline.dataset_words import dataset_words
from taskdistill.flows.pipeline.forecast import time_in_all
from taskdistill.flows.pipeline.planning import Plan
from taskdistill.flows.pipeline.slots import probable_slots
from taskdistill.flows.pipeline.work import works
from taskdistill.flows.printing import errors, output, print_json, print_table
from taskdistill.flows.reports.plans import plan_rows, plan_table
from taskdistill.storage.store import ArtifactStore


def tell(planned: Plan, store: ArtifactStore, *, as_json: bool) -> None:
    """Print what there is to do, how large it will be and about how long it takes."""
    steps, experiment = planned.steps, planned.experiment
    work = works(steps, store, experiment.runtime)
    if as_json:
        datasets = [dataset.as_json() for dataset in planned.datasets]
        print_json({"store": str(store.root), "datasets": datasets, "stages": plan_rows(planned, work)})
        return
    for line in (line for dataset in planned.datasets for line in dataset_words(dataset)):
        output.print(line)
    print_table(f"{experiment.name} in {store.root}", plan_table(planned, work))
    if not planned.is_complete:
        output.print(time_in_all(steps, work, probable_slots(experiment.runtime, steps)))
    if planned.has_untried_teacher:
        output.print(
            "The foreign teacher is not built by 'plan': 'run' shows it one image, and compares its classes with"
        )
        output.print("those of the dataset, before anything else.")


def measure(planned: Plan, store: ArtifactStore) -> None:
    """Run a small part of the plan; raises what `flows.pipeline.running.run_plan` raises."""
    from taskdistill.flows.pipeline.calibration import calibrate
    from taskdistill.flows.pipeline.console import on_console

    errors.print("A small part is run first, to measure how long all of it takes:")
    # What few images give reason to warn of says nothing of all of them.
    logging.disable(logging.WARNING)
    try:
        with on_console(planned.experiment, errors) as show:
            calibrate(planned, store, show)
    finally:
        logging.disable(logging.NOTSET)
