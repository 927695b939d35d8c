"""What a table of scores shows and a reader may overlook, in words: a teacher that is no better than its student's
probe, students that training did not help. And the tables on the screen, with these words under them.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from taskdistill.flows.pipeline.chain import CONTROL, START, STUDENT, ModelResult
from taskdistill.flows.pipeline.teacher_gap import teacher_gap
from taskdistill.flows.reports.calibrated import calibrated_rows
from taskdistill.flows.reports.chosen import chosen_settings
from taskdistill.flows.reports.classes import class_rows
from taskdistill.flows.reports.differences import difference_rows, difference_tables, differences
from taskdistill.flows.reports.results import score_notes, score_rows, score_table
from taskdistill.flows.reports.shipping import best_student, without_use
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.summaries import ModelSummary

WIDE = 1000
"""Columns of a screen on which every table fits."""

BELOW = {
    START: "training made it worse. Lower training.learning_rate or training.epochs, or use the probe as it is",
    CONTROL: "this teacher made it worse. Lower distill.alpha, or take another teacher",
    STUDENT: "images without labels made it worse. Leave them out (synthetic_images=none)",
}
"""What a student is compared with -> what is said of one that is clearly below it."""


def print_scores(console: Console, results: Sequence[ModelResult], store: ArtifactStore, title: str) -> None:
    """Print the tables, their notes and the remarks; a table as wide as its numbers need, in a pipe too."""
    print_whole(console, score_table(results, store, title), " ".join(score_notes(results, store)))
    for table, notes in difference_tables(results, store):
        print_whole(console, table, notes)
    for line in remarks(results, store):
        _print_line(console, line)


def print_whole(console: Console, table: Table, notes: str) -> None:
    """Print a table as wide as its numbers need, and a line under it."""
    table.width = Measurement.get(console, console.options.update(width=WIDE), table).maximum
    console.print(table, soft_wrap=True)
    _print_line(console, notes)


def _print_line(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def scores_for_programs(results: Sequence[ModelResult], store: ArtifactStore) -> dict[str, Any]:
    """Return what is printed as plain JSON values, and of problems that are scored class by class the classes too."""
    classes, best = class_rows(results, store), best_student(results, store)
    return {
        "scores": score_rows(results, store),
        "differences": difference_rows(results, store),
        **({"calibration": calibration} if (calibration := calibrated_rows(results, store)) else {}),
        **({"classes": classes} if classes else {}),
        "remarks": remarks(results, store),
        **({"best": best.row()} if best else {}),
    }


def remarks(results: Sequence[ModelResult], store: ArtifactStore) -> list[str]:
    """Return a sentence on the teacher and the student's probe, one for each model that still is the probe it started
    from, or one for all where every student is, one for each that is clearly below what it is compared with, one where
    models were shown the images in different ways, one on the settings that students were trained with, and a line for
    those that were chosen.
    """
    gap = teacher_gap(results, store)
    useless = without_use(results, store)
    said = [
        *([useless] if useless else unchanged(results, store)),
        *_clearly_below(results, store),
        *_shown_otherwise(results, store),
        *_trained_with(results, store),
    ]
    return [*([str(gap)] if gap else []), *said, *chosen_settings(results, store)]


def unchanged(results: Sequence[ModelResult], store: ArtifactStore, of_point: str = "") -> Iterator[str]:
    """Yield a sentence for each model that still is the probe it started from; `of_point` tells which of a study's
    models these are.
    """
    for result in results:
        model = ModelSummary.of(store.manifest(result.artifact))
        if model.kept_step == 0:
            seed = "" if result.seed is None else f" of seed {result.seed}"
            point = f" ({of_point})" if of_point else ""
            yield (
                f"{result.model}{seed}{point} is the probe it started from: in {model.steps} steps of training it "
                "never scored higher on validation."
            )


def _clearly_below(results: Sequence[ModelResult], store: ArtifactStore) -> Iterator[str]:
    for one in differences(results, store):
        if one.is_clear and one.found.mean < 0:
            yield f"{one.model} is clearly below {one.reference}: {BELOW[one.reference]}."


def _shown_otherwise(results: Sequence[ModelResult], store: ArtifactStore) -> Iterator[str]:
    """Say which models were scored in windows where others, of which the clean view is cached, were not."""
    found = defaultdict[bool, list[str]](list)
    for result in results:
        found["windows" in store.manifest(result.evaluation).recipe["config"]].append(result.model)
    if len(found) > 1:
        in_windows, by_view = (", ".join(dict.fromkeys(found[is_shown])) for is_shown in (True, False))
        yield (
            f"Not shown alike: {in_windows} in the windows that were asked for; {by_view} in the clean view, which is "
            "what is cached. What lies between them is not training alone."
        )


def _trained_with(results: Sequence[ModelResult], store: ArtifactStore) -> Iterator[str]:
    """Name the settings of each student, its seeds together; of those of before they were noted there is no word."""
    found = defaultdict[str, list[str]](list)
    for result in results:
        if result.seed is not None and (words := _settings(ModelSummary.of(store.manifest(result.artifact)))):
            found[result.model].append(words)
    if found:
        models = (f"{model} {' or '.join(dict.fromkeys(words))}" for model, words in found.items())
        yield f"Trained with: {'; '.join(models)}."


def _settings(model: ModelSummary) -> str:
    known = {"learning rate": model.learning_rate, "alpha": model.alpha, "temperature": model.temperature}
    return ", ".join(f"{name} {value:g}" for name, value in known.items() if value is not None)
