"""Reports of a run, as the UI shows them: the scores, and pictures of what was made."""

import contextlib
import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from taskdistill.flows.pipeline.chain import ModelResult
from taskdistill.flows.pipeline.dataset_words import words_of_results
from taskdistill.flows.pipeline.planning import PlannedStep
from taskdistill.flows.reports.classes import class_tables
from taskdistill.flows.reports.differences import difference_tables
from taskdistill.flows.reports.pictures import picture_markdown, pictures_of
from taskdistill.flows.reports.remarks import remarks
from taskdistill.flows.reports.results import score_markdown
from taskdistill.flows.reports.steps import ShownStep, in_words, step_rows
from taskdistill.flows.reports.tables import as_markdown
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore

log = logging.getLogger(__name__)


def report_scores(results: Sequence[ModelResult], store: ArtifactStore, name: str, page: Path | None = None) -> None:
    """Show the tables; of the page, which is larger than what Prefect's own shows, they say where it lies."""
    text = scores_in_markdown(results, store, name)
    if page:
        text += f"\n\nCharts, mistakes and all else: `{page}`, one file for the browser."
    with sent_or_said("the scores"):
        create_markdown_artifact(text, key=key_of(f"scores-{name}"), description=f"Scores of {name}")


def scores_in_markdown(results: Sequence[ModelResult], store: ArtifactStore, name: str) -> str:
    """Return the tables, what there is to say of them, and what the dataset holds."""
    tables = [*difference_tables(results, store), *class_tables(results, store)]
    compared = [text for table, notes in tables for text in (as_markdown(table), notes)]
    dataset = [f"    {line}" for line in words_of_results(results, store)]  # as code: names of users mean nothing
    parts = [score_markdown(results, store, name), *compared, *remarks(results, store), "\n".join(dataset)]
    return "\n\n".join(parts)


def report_steps(steps: Sequence[ShownStep], store: ArtifactStore, name: str) -> None:
    """Show a table of what was done with each step; its words say where the artifacts are."""
    words = (
        f"{in_words(steps)}. The artifacts lie in `{store.root}/artifacts`, a folder for each kind and fingerprint; "
        "`taskdistill show REFERENCE` tells what one is, and which run made it."
    )
    with sent_or_said("the table of steps"):
        create_table_artifact(step_rows(steps, store), key=key_of(f"steps-{name}"), description=words)


def report_pictures(step: PlannedStep, ref: ArtifactRef, store: ArtifactStore) -> None:
    """Show the pictures that the step's stage drew, each under a key of its own."""
    with sent_or_said(f"pictures of {ref.short}"):
        for path in (path for _, paths in pictures_of(ref, store) for path in paths):
            text = picture_markdown(path, f"{step.name}: {ref}")
            key = key_of(f"pictures-{step.name}-{path.stem}")
            create_markdown_artifact(text, key=key, description=f"Pictures of {ref.short}")


@contextlib.contextmanager
def sent_or_said(what: str) -> Iterator[None]:
    """Send a report; where the server is away, that is said, and no run fails of it."""
    try:
        yield
    except httpx.HTTPError as error:
        log.warning("%s could not be sent to the server (%s)", what, error)


def key_of(text: str) -> str:
    """Return the key of a report by which later ones of the same thing are found."""
    return re.sub("[^a-z0-9]+", "-", text).strip("-")
