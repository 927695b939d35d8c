"""What came out of a study, for people: one table of all models, what each factor is worth, and which model to take."""

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from taskdistill.configs.study import MODEL, short_name
from taskdistill.flows.pipeline.chain import CONTROL
from taskdistill.flows.pipeline.comparing import CHOSEN_BY_CHANCE
from taskdistill.flows.pipeline.study import StudyPlan, in_words
from taskdistill.flows.reports.remarks import print_whole, unchanged
from taskdistill.flows.reports.shipping import without_use
from taskdistill.flows.reports.study_choice import Effect, effects, lead, left_out, num_data_sets, pareto, ranked
from taskdistill.flows.reports.study_rows import CHOSEN_ON, TOLD_ON, Compared, Spread, StudyRow, StudyRows
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.functional.comparison import CHANCE
from taskdistill.tasks.pace import taken
from taskdistill.tasks.problems.metrics import PERCENT, Metric

STOPPED = "(stopped after rung 1)"
LATENCY = "latency"
STAR = f"*: more than chance (p < {CHANCE:g}), and of twenty differences between equals one has a star all the same."


def print_study(console: Console, rows: StudyRows, store: ArtifactStore) -> None:
    """Print the tables and the sentences under them."""
    for table, notes in study_tables(rows):
        print_whole(console, table, notes)
    for line in sentences(rows, store):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def study_tables(rows: StudyRows) -> list[tuple[Table, str]]:
    """Return the table of models, and where there are any that of the effects, each with what its numbers mean."""
    tables = [(study_table(rows), " ".join(_notes(rows)))]
    if found := list(effects(rows)):
        tables.append((effects_table(found), _note_of_effects(found[0])))
    return tables


def sentences(rows: StudyRows, store: ArtifactStore) -> list[str]:
    """Return what there is to say of the models, which to take last."""
    if useless := without_use([result for row in rows.all for result in row.results], store):
        return [*_left_out(rows), f"{useless} There is nothing to choose between."]
    kept = (sentence for row in rows.all for sentence in unchanged(row.results, store, in_words(row.levels)))
    return [*dict.fromkeys(kept), *_left_out(rows), *_front(rows), *_best(rows, store)]


def study_table(rows: StudyRows) -> Table:
    """Return a line for each model; of a factor that makes no difference to it there is no level."""
    table = _table(rows.run.planned.study.name)
    for factor in rows.factors:
        table.add_column(short_name(factor, rows.factors), no_wrap=True)
    table.add_column("model", no_wrap=True)
    headings = list(dict.fromkeys(row.metric.heading for row in rows.all))
    heading = headings[0] if len(headings) == 1 else "score"  # of several problems
    latency = [LATENCY] if _has_latencies(rows) else []
    scored = (f"val {heading}", f"test {heading}", f"to {baseline_in_words(rows.run.planned)}")
    for column in (*scored, "size", *latency, "time"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows.all:
        scores = (_score(row.metric, row.spreads.get(split)) for split in (CHOSEN_ON, TOLD_ON))
        levels = (row.levels.get(factor, "") for factor in rows.factors)
        model = f"{row.model} {STOPPED}" if row.is_stopped else row.model
        costs = (_size(row), *([_latency(row)] if latency else []), taken(row.seconds))
        table.add_row(*levels, model, *scores, _difference(row.metric, rows.baseline(row)), *costs)
    return table


def effects_table(found: Sequence[Effect]) -> Table:
    """Return a line for each level of a factor and each model that it makes a difference to."""
    table = _table("")
    for column in ("factor", "level", "instead of", "model"):
        table.add_column(column, no_wrap=True)
    table.add_column("effect", justify="right", no_wrap=True)
    table.add_column("pairs", justify="right", no_wrap=True)
    for one in found:
        effect = _difference(one.metric, one.compared)
        table.add_row(one.factor, one.level, one.compared.reference, one.model, effect, str(one.num_pairs))
    return table


def baseline_in_words(planned: StudyPlan) -> str:
    """Return what models are compared with."""
    study = planned.study
    levels = {name: str(value) for name, value in study.baseline.items() if name != MODEL}
    model = str(study.baseline.get(MODEL, "") if study.baseline else CONTROL)
    return ", ".join(part for part in (model, in_words(levels)) if part)


def _table(title: str) -> Table:
    return Table(title=title or None, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)


def _score(metric: Metric, spread: Spread | None) -> str:
    if spread is None:
        return ""
    parts = [metric.number(spread.mean)]
    if spread.deviation is not None:
        parts.append(f"±{metric.number(spread.deviation)}")
    if spread.standard_error is not None and metric.shows_error:
        parts.append(f"(SE {metric.number(spread.standard_error)})")
    return " ".join(parts)


def _difference(metric: Metric, compared: Compared | None) -> str:
    if compared is None:
        return ""
    written = _with_error(metric, compared)
    return f"* {written}" if compared.is_clear else written


def _with_error(metric: Metric, compared: Compared) -> str:
    mean, error, _ = compared.found
    return f"{metric.signed(mean)} (SE {metric.number(error)})" if error == error else metric.signed(mean)


def _size(row: StudyRow) -> str:
    return "" if row.parameters is None else f"{row.parameters / 1e6:.2f} M"


def _latency(row: StudyRow) -> str:
    return "" if row.latency_ms is None else f"{row.latency_ms:.3g} ms"


def _has_latencies(rows: StudyRows) -> bool:
    return any(row.latency_ms is not None for row in rows.all)


def _notes(rows: StudyRows) -> Iterator[str]:
    first = rows.all[0]
    unit = "points" if first.metric.unit == PERCENT else "differences"
    yield f"SE: standard error of one {first.metric.noun} on so many images."
    if (num_seeds := max(len(row.results) for row in rows.all)) > 1:
        yield f"±: standard deviation over {num_seeds} seeds."
    yield f"Differences are {unit} on test, image by image, between models that differ in this alone."
    yield STAR
    if stopped := [row for row in rows.all if row.is_stopped]:
        seed = stopped[0].results[0].seed
        yield (
            f"{STOPPED}: has seed {seed} alone, as others were better by it on validation; compared by that seed, and "
            "neither the best nor among those that no smaller model is as good as."
        )
    if _has_latencies(rows):
        yield f"{LATENCY}: median for one image on one CPU thread of this computer, measured at the end of the study."
    if slowed := [row.latency.beside for row in rows.all if row.latency and not row.latency.is_alone]:
        yield (
            f"Other programs had the processors too (up to {max(slowed):.1f} threads), so not all of them are the "
            "figures of an idle machine: on one the same command measures those again."
        )
    yield "time: what a model takes from the images on, with all that it shares with others."


def _note_of_effects(one: Effect) -> str:
    return (
        f"What a level is worth, the mean over all pairs of models that differ in this factor alone: on test, image by "
        f"image ({one.compared.num_images} images). {STAR}"
    )


def _left_out(rows: StudyRows) -> Iterator[str]:
    for factor, models in left_out(rows).items():
        yield (
            f"What {short_name(factor, rows.factors)} is worth to {', '.join(models)} is left out: not all were scored "
            "on the same images, and there is no mean over different ones."
        )


def _front(rows: StudyRows) -> Iterator[str]:
    front = pareto(rows.all)
    if len(front) > 1:
        yield "No smaller model is as good on validation as these:"
    for row in front if len(front) > 1 else ():
        val, test = (_score(row.metric, row.spreads.get(split)) for split in (CHOSEN_ON, TOLD_ON))
        yield f"  {_size(row)}  {row}: val {val}, test {test}"


def _best(rows: StudyRows, store: ArtifactStore) -> Iterator[str]:
    in_order = ranked(rows.all)
    if (number := num_data_sets(rows.all)) > 1:
        yield f"None is the best: the models were scored on {number} sets of images, each of which is another matter."
        return
    if not in_order:
        yield "None of the models was scored on validation, so that none can be chosen."
        return
    row = in_order[0]
    val, test = (_score(row.metric, row.spreads.get(split)) for split in (CHOSEN_ON, TOLD_ON))
    ahead = [_ahead(row, other, store) for other in in_order[1:2]]
    yield " ".join([f"Best on validation: {row} (val {val}; test {test}).", *ahead])


def _ahead(row: StudyRow, other: StudyRow, store: ArtifactStore) -> str:
    """Say how far the best is above the next on validation, which it was chosen by, and whether that may be chance."""
    found = lead(row, other, store)
    if found is None:
        difference = row.spreads[CHOSEN_ON].mean - other.spreads[CHOSEN_ON].mean
        return (
            f"The next best is {other}: the difference is {row.metric.signed(difference)}, and without a score of each "
            "image it is not known whether that is chance."
        )
    by_chance = "" if found.is_clear else CHOSEN_BY_CHANCE
    written = f"{_with_error(row.metric, found)} on {found.num_images} images of validation"
    return f"The next best is {other}: the difference is {written}{by_chance}."
