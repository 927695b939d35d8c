"""The page at the end of a run, which has done its work whether or not a page can be written."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from taskdistill.configs.errors import UserError
from taskdistill.configs.experiment import Experiment
from taskdistill.flows.pipeline.chain import ModelResult
from taskdistill.flows.reports.page.subjects import of_run, place_of, refs_of
from taskdistill.storage.store import ArtifactStore

log = logging.getLogger(__name__)

_HEAD_BYTES = 1000


def report_of_run(
    experiment: Experiment,
    results: Sequence[ModelResult],
    stages: Sequence[Mapping[str, Any]],
    store: ArtifactStore,
    command: str,
) -> Path | None:
    """Write the page of a run into the store and return where it lies; None, said, where it cannot be written."""
    subject = of_run(experiment, results, refs_of(stages), store, command)
    path = place_of(subject)
    if is_page_of(path, subject.fingerprint):  # a run that found everything takes no time for it
        return path
    log.info("writing the report")
    from taskdistill.flows.reports.page.writing import write_report  # seconds to import

    try:
        write_report(path, subject)
    except (OSError, UserError) as error:  # a store that can only be read, a full disk, an image that is damaged
        log.warning("the report could not be written: %s", error)
        return None
    return path


def is_page_of(path: Path, made_of: str) -> bool:
    """Whether a page is there already and would be the same."""
    if not path.is_file():
        return False
    with path.open("rb") as page:
        return made_of.encode() in page.read(_HEAD_BYTES)
