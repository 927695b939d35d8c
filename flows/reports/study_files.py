"""The files of a study: all scores and the table of models as Parquet and CSV, and the best model's preset."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from taskdistill.configs.counting import counted
from taskdistill.configs.errors import UserError
from taskdistill.configs.loading import dump_preset
from taskdistill.configs.study import Study, Variant
from taskdistill.flows.pipeline.chain import ModelResult
from taskdistill.flows.pipeline.running import experiment_settings_of
from taskdistill.flows.pipeline.study import common_levels
from taskdistill.flows.reports.page.ending import is_page_of
from taskdistill.flows.reports.page.subject import FOLDER
from taskdistill.flows.reports.results import score_rows
from taskdistill.flows.reports.study_choice import best, effects, pareto
from taskdistill.flows.reports.study_rows import CHOSEN_ON, StudyRow, StudyRows, as_values
from taskdistill.storage.files import atomic
from taskdistill.storage.fingerprint import fingerprint
from taskdistill.storage.formats import PROGRAM
from taskdistill.storage.provenance import code_commit, version_of
from taskdistill.storage.store import ArtifactStore

log = logging.getLogger(__name__)

BEST, PAGE = "best.yaml", "study.html"
_TABLES = ("scores", "table", "effects")
FILES = (*(f"{name}.{end}" for name in _TABLES for end in ("parquet", "csv")), BEST, PAGE)


def folder_of(study: Study, store: ArtifactStore) -> Path:
    """Return where the files of a study lie that nobody named a place for: by what it asks, so that another study of
    the same name has another one.
    """
    asked = fingerprint(study.model_dump(mode="json", exclude={"baseline"}))
    return store.root / FOLDER / "studies" / f"{study.name}-{asked[:8]}"


def write_study(folder: Path, rows: StudyRows, store: ArtifactStore, command: str) -> list[Path]:
    """Write scores (a row for each model, seed, split and metric), table, effects, the preset of the best model on
    validation, and the page that shows all of it, with the command that makes it again; returns the files.

    Where all are there already and would be the same, nothing is written. What an earlier study in the folder left and
    this one has not, such as a best model, is removed.
    """
    made_of, expected = _fingerprint(rows, command), _expected(folder, rows)
    if is_page_of(folder / PAGE, made_of) and all(path.is_file() for path in expected):
        written = expected
    else:
        written = _write_all(folder, rows, store, command, made_of)
    for path in {folder / name for name in FILES}.difference(written):
        path.unlink(missing_ok=True)
    return written


def _expected(folder: Path, rows: StudyRows) -> list[Path]:
    """Return the files that a study has: without effects, or without a best model, there are none of it."""
    missing = {"effects": not any(effects(rows)), Path(BEST).stem: best(rows.all) is None}
    return [folder / name for name in FILES if not missing.get(Path(name).stem)]


def _write_all(folder: Path, rows: StudyRows, store: ArtifactStore, command: str, made_of: str) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PAGE).unlink(missing_ok=True)  # it says that all are there: it goes first, and comes last
    written = [
        *_write_rows(folder / "scores", _score_rows(rows, store)),
        *_write_rows(folder / "table", table_rows(rows)),
        *_write_rows(folder / "effects", [one.as_values() for one in effects(rows)]),
    ]
    if chosen := best(rows.all):
        _write_preset(folder / BEST, chosen, rows)
        written.append(folder / BEST)
    if _is_written(folder / PAGE, rows, store, command, made_of):
        written.append(folder / PAGE)
    return written


def _is_written(path: Path, rows: StudyRows, store: ArtifactStore, command: str, made_of: str) -> bool:
    """Write the page, and say so where that is not possible; whether it is there."""
    from taskdistill.flows.reports.page.study import write_study_page  # seconds to import

    try:
        write_study_page(path, rows, store, command, made_of)
    except (OSError, UserError) as error:  # a full disk, a learning curve that is damaged
        log.warning("the page of the study could not be written: %s", error)
        return False
    return True


def _fingerprint(rows: StudyRows, command: str) -> str:
    """Return what the files hang on, this program included."""
    planned = rows.run.planned
    models = [f"{one.model} {one.seed} {one.evaluation} {one.artifact}" for row in rows.all for one in row.results]
    costs = [f"{row} {row.latency} {row.seconds:.1f} {row.is_stopped}" for row in rows.all]
    words = [command, *planned.said, version_of(PROGRAM), code_commit()]
    asked = planned.study.model_dump(mode="json")
    return fingerprint({"words": words, "models": models, "costs": costs, "study": asked})


def table_rows(rows: StudyRows) -> list[dict[str, Any]]:
    """Return a row for each model as plain JSON values."""
    return [as_values(row, rows.baseline(row), rows.factors) for row in rows.all]


def study_for_programs(rows: StudyRows) -> dict[str, Any]:
    """Return what is printed as plain JSON values."""
    chosen = best(rows.all)
    return {
        "study": rows.run.planned.study.name,
        "points": [dict(variant.levels) for variant in rows.run.planned.variants],
        "stopped": sorted(rows.run.planned.stopped),
        "table": table_rows(rows),
        "effects": [one.as_values() for one in effects(rows)],
        "pareto": [str(row) for row in pareto(rows.all)],
        "best": str(chosen) if chosen else None,
    }


def _score_rows(rows: StudyRows, store: ArtifactStore) -> list[dict[str, Any]]:
    """Return all metrics of every evaluation; how far a model agrees with a teacher depends on the teacher too."""
    users: dict[ModelResult, list[Variant]] = {}
    for variant, results in zip(rows.run.planned.variants, rows.run.results, strict=True):
        for result in results:
            users.setdefault(result, []).append(variant)
    levels = {result: common_levels(variants) for result, variants in users.items()}
    return [
        {factor: levels[result].get(factor) for factor in rows.factors} | scored
        for result in users
        for scored in score_rows([result], store)
    ]


def _write_rows(path: Path, values: Sequence[Mapping[str, Any]]) -> list[Path]:
    if not values:
        return []
    table, parquet, csv = pa.Table.from_pylist(list(values)), path.with_suffix(".parquet"), path.with_suffix(".csv")
    with atomic(parquet) as partial:
        pq.write_table(table, partial)
    with atomic(csv) as partial:
        pa_csv.write_csv(table, partial)
    return [parquet, csv]


def _write_preset(path: Path, row: StudyRow, rows: StudyRows) -> None:
    planned = rows.run.planned
    spread = row.spreads[CHOSEN_ON]
    score = (
        f"{row.metric.heading} {row.metric.in_words(spread.mean)} on validation, {counted(len(spread.values), 'seed')}"
    )
    lines = [
        f"# The best model of the study {planned.study.name} on validation: {row} ({score}).",
        f"# taskdistill run {path.name}",
    ]
    settings = experiment_settings_of(planned.plans[rows.whole_point(row)].experiment)
    with atomic(path) as partial:
        partial.write_text("\n".join([*lines, dump_preset(settings)]), encoding="utf-8")
