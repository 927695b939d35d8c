"""Reports of a run, as the UI shows them: the scores, and pictures of what was made."""

import re
from collections.abc import Sequence

from prefect.artifacts import create_markdown_artifact

from flows.pipeline.chain import ModelResult
from flows.pipeline.dataset_words import words_of_results
from flows.pipeline.planning import PlannedStep
from flows.reports.pictures import picture_markdown, pictures_of
from flows.reports.remarks import remarks
from flows.reports.results import score_markdown
from storage.manifest import ArtifactRef
from storage.store import ArtifactStore


def report_scores(results: Sequence[ModelResult], store: ArtifactStore, name: str) -> None:
    dataset = [f"    {line}" for line in words_of_results(results, store)]  # as code: names of users mean nothing
    text = "\n\n".join([score_markdown(results, store, name), *remarks(results, store), "\n".join(dataset)])
    create_markdown_artifact(text, key=_key(f"scores-{name}"), description=f"Scores of {name}")


def report_pictures(step: PlannedStep, ref: ArtifactRef, store: ArtifactStore) -> None:
    """Show the pictures that the step's stage drew, each under a key of its own."""
    for path in (path for _, paths in pictures_of(ref, store) for path in paths):
        text = picture_markdown(path, f"{step.name}: {ref}")
        key = _key(f"pictures-{step.name}-{path.stem}")
        create_markdown_artifact(text, key=key, description=f"Pictures of {ref.short}")


def _key(text: str) -> str:
    return re.sub("[^a-z0-9]+", "-", text).strip("-")
