"""Which settings chose themselves, in words under the table of scores, and all that was tried as a table."""

from collections.abc import Sequence

from rich import box
from rich.table import Table

from taskdistill.flows.pipeline.chain import ModelResult
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.summaries import SettingsSummary
from taskdistill.storage.tables import read_table

ROLE = "settings"
"""Of the input by which a model's training was told what was chosen."""
TRIALS = "trials.parquet"


def chosen_settings(results: Sequence[ModelResult], store: ArtifactStore) -> list[str]:
    """Return a line that says what was chosen for which models and why; none where nothing was to be chosen."""
    choices = choices_of(results, store)
    found = [f"{models}: {SettingsSummary.of(store.manifest(ref)).because}" for ref, models in choices.items()]
    return [f"Settings chosen on held-out images. {'. '.join(found)}."] if found else []


def choices_of(results: Sequence[ModelResult], store: ArtifactStore) -> dict[ArtifactRef, str]:
    """Return the settings that were chosen, as far as they are in the store, with the models that were trained so."""
    models: dict[ArtifactRef, list[str]] = {}
    for result in results:
        if (ref := store.manifest(result.artifact).input_refs.get(ROLE)) and ref in store:
            models.setdefault(ref, []).append(result.model)
    return {ref: ", ".join(dict.fromkeys(names)) for ref, names in models.items()}


def trials_table(store: ArtifactStore, ref: ArtifactRef) -> Table:
    """Return a line for each candidate of each rung, and for each fold that it was tried on."""
    rows = read_table(store.path(ref) / TRIALS)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    columns = [name for name in (rows[0] if rows else {}) if any(row[name] is not None for row in rows)]
    for name in columns:
        table.add_column(name.replace("_", " "), justify="right")
    for row in rows:
        table.add_row(*(_cell(row[name]) for name in columns))
    return table


def _cell(value: float | bool | str | None) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.4g}"
        case _:
            return str(value)
