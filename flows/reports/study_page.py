"""The page of a study, written where there is none yet that would be the same: a study that is there takes no time."""

import logging
from pathlib import Path

from taskdistill.configs.errors import UserError
from taskdistill.flows.reports.page.ending import is_page_of
from taskdistill.flows.reports.study_rows import StudyRows
from taskdistill.storage.fingerprint import fingerprint
from taskdistill.storage.formats import PROGRAM
from taskdistill.storage.provenance import code_commit, version_of
from taskdistill.storage.store import ArtifactStore

log = logging.getLogger(__name__)

PAGE = "study.html"


def is_page_there(path: Path, rows: StudyRows, store: ArtifactStore, command: str) -> bool:
    """See to it that the page is there; whether it is: where it cannot be written, that is said."""
    made_of = _fingerprint(rows, command)
    if is_page_of(path, made_of):
        return True
    from taskdistill.flows.reports.page.study import write_study_page  # seconds to import

    try:
        write_study_page(path, rows, store, command, made_of)
    except (OSError, UserError) as error:  # a full disk, a learning curve that is damaged
        log.warning("the page of the study could not be written: %s", error)
        return False
    return True


def _fingerprint(rows: StudyRows, command: str) -> str:
    """Return what the page hangs on, this program included."""
    planned = rows.run.planned
    models = [f"{one.model} {one.seed} {one.evaluation} {one.artifact}" for row in rows.all for one in row.results]
    costs = [f"{row} {row.latency_ms} {row.seconds:.1f} {row.is_stopped}" for row in rows.all]
    baseline = [f"{name} {value}" for name, value in planned.study.baseline.items()]
    words = [planned.study.name, command, *planned.said, version_of(PROGRAM), code_commit()]
    return fingerprint({"words": words, "models": models, "costs": costs, "baseline": baseline})
