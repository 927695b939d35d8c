"""The page of a study: which model to take, all of them, what each level is worth, how they learnt, what they cost."""

from collections.abc import Iterator
from pathlib import Path

from taskdistill.configs.loading import dump_preset
from taskdistill.flows.pipeline.running import experiment_settings_of
from taskdistill.flows.reports.page.blocks import Block, Code, Points, Section, Table, Words, plain
from taskdistill.flows.reports.page.making import plain_lines
from taskdistill.flows.reports.page.study_charts import cost_charts, curve_charts
from taskdistill.flows.reports.page.template import write_sections
from taskdistill.flows.reports.study import sentences, study_tables
from taskdistill.flows.reports.study_choice import best
from taskdistill.flows.reports.study_rows import StudyRows
from taskdistill.flows.reports.tables import rows_of
from taskdistill.storage.store import ArtifactStore

_HEADINGS = ("Models", "What each level is worth")


def write_study_page(path: Path, rows: StudyRows, store: ArtifactStore, command: str, made_of: str) -> None:
    """Write the page of a study. CorruptArtifactError where something it shows is damaged."""
    sections = [_verdict(rows, store), *_tables(rows), *_charts(rows, store), _again(rows, command)]
    write_sections(path, rows.run.planned.study.name, made_of, sections)


def _verdict(rows: StudyRows, store: ArtifactStore) -> Section:
    *others, chosen = sentences(rows, store)
    planned = rows.run.planned
    what = f"{len(planned.points)} points of {planned.study.preset}."
    reasons = [plain(text) for text in (*planned.said, *others)]
    return Section("Verdict", [Words(plain(chosen)), Words(what), *([Points(reasons)] if reasons else [])])


def _tables(rows: StudyRows) -> Iterator[Section]:
    for heading, (table, notes) in zip(_HEADINGS, study_tables(rows), strict=False):  # there may be no effects
        columns, *cells = ([plain(cell) for cell in row] for row in rows_of(table))
        num_names = sum(column.justify == "left" for column in table.columns)
        yield Section(heading, [Table(columns, cells, notes, num_names)])


def _charts(rows: StudyRows, store: ArtifactStore) -> Iterator[Section]:
    if costs := list(cost_charts(rows)):
        yield Section("Score and cost", costs)
    if learning := list(curve_charts(rows, store)):
        yield Section("Learning curves", learning)


def _again(rows: StudyRows, command: str) -> Section:
    """Tell how to make the study again, and its best model alone."""
    blocks: list[Block] = [Words("Made by:"), Code(plain(command))]
    if chosen := best(rows.all):
        experiment = rows.run.planned.plans[rows.whole_point(chosen)].experiment
        blocks += [
            Words(f"The preset of {plain(str(chosen))} (save it as preset.yaml, then: taskdistill run preset.yaml):"),
            Code(plain_lines(dump_preset(experiment_settings_of(experiment)))),
            Words("Use it:"),
            Code(f"taskdistill predict {chosen.results[0].artifact.short} FOLDER_OF_IMAGES"),
        ]
    return Section("How to make it again", blocks, is_open=False)
