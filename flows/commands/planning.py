"""What `plan` prints, and what it measures first where that is asked for."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from taskdistill.configs.errors import SettingsError
from taskdistill.flows.ending.interruption import say_when_stopped
from taskdistill.flows.pipeline.dataset_words import dataset_words
from taskdistill.flows.pipeline.forecast import (
    by_other_images,
    other_images_in_words,
    seconds_in_all,
    time_in_all,
    unknown_of,
)
from taskdistill.flows.pipeline.planning import Plan
from taskdistill.flows.pipeline.room import check_room
from taskdistill.flows.pipeline.slots import probable_slots
from taskdistill.flows.pipeline.work import works
from taskdistill.flows.printing import errors, output, print_json, print_table
from taskdistill.flows.reports.plans import plan_rows, plan_table
from taskdistill.storage.store import ArtifactStore

_ON_IMAGES = (
    "taskdistill.tasks.stages.ingest", "taskdistill.tasks.data.mask", "taskdistill.flows.pipeline.teacher_gap",
    "taskdistill.flows.pipeline.model_trials",
)  # fmt: skip
"""Loggers that speak of the images, or what they tell of a teacher: of few images it says nothing of all of them."""


def tell(planned: Plan, store: ArtifactStore, *, as_json: bool, hint: str = "") -> None:
    """Print what there is to do, how large it will be and about how long it takes; where that is not known of all
    steps, or by other images, the hint.
    """
    steps, experiment = planned.steps, planned.experiment
    work, slots = works(steps, store, experiment.runtime), probable_slots(experiment.runtime, steps)
    missing, unknown = [step for step in steps if step.action != "have"], unknown_of(steps, work)
    if as_json:
        datasets = [dataset.as_json() for dataset in planned.datasets]
        told = {"store": str(store.root), "datasets": datasets, "stages": plan_rows(planned, work)}
        time = {"slots": slots, "seconds_in_all": None if unknown else seconds_in_all(missing, work, slots)}
        print_json(told | time)
        return
    for line in (line for dataset in planned.datasets for line in dataset_words(dataset)):
        output.print(line)
    print_table(f"{experiment.name} in {store.root}", plan_table(planned, work))
    if not planned.is_complete:
        output.print(time_in_all(steps, work, slots))
        if others := by_other_images(steps, work):
            output.print(other_images_in_words(others))
        if hint and (unknown or others):
            output.print(hint)
    if planned.has_untried_teacher:
        output.print(
            "The foreign teacher is not built by 'plan': 'run' shows it one image, and compares its classes with"
        )
        output.print("those of the dataset, before anything else.")


def measure(planned: Plan, store: ArtifactStore, synthetic: str) -> None:
    """Run a small part of the plan.

    Raises SettingsError where images are given with --synthetic, and what `flows.pipeline.calibration.calibrate`
    raises.
    """
    from taskdistill.flows.pipeline.calibration import calibrate
    from taskdistill.flows.pipeline.console import on_console

    if synthetic:
        raise SettingsError("--calibrate measures what the settings ask for, and not --synthetic: leave one out")
    if planned.is_complete:
        errors.print("All steps are there: nothing is to be measured")
        return
    check_room(planned.steps, planned.experiment, store)
    errors.print("A small part is run first, for some minutes, to measure how long all takes; nothing of it stays:")
    say_when_stopped("stopped; nothing was measured, and the same command begins anew")
    with _no_word_of(_ON_IMAGES), on_console(planned.experiment, errors) as show:
        calibrate(planned, store, show)
    say_when_stopped()


@contextmanager
def _no_word_of(names: tuple[str, ...]) -> Iterator[None]:
    """Print nothing of what loggers of these names say."""

    def is_printed(record: logging.LogRecord) -> bool:
        return not record.name.startswith(names)

    handlers = logging.getLogger().handlers
    for handler in handlers:
        handler.addFilter(is_printed)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(is_printed)
