"""What a study says: what each factor is worth, which models no other beats in both size and score, which is best.

What is chosen, is chosen on validation; test only tells what came of it.

Shape letters: P pairs of models, N images.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from taskdistill.flows.reports.study_rows import (
    CHOSEN_ON,
    TOLD_ON,
    Compared,
    StudyRow,
    StudyRows,
    above,
    by_image,
    differences,
)
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.problems.metrics import Metric


class Effect(NamedTuple):
    """What a level of a factor is worth to a model: the mean over all pairs that differ in this factor alone."""

    factor: str
    model: str
    level: str
    metric: Metric
    num_pairs: int
    compared: Compared
    """With the first level, on test, image by image."""

    def as_values(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        error = self.compared.found.standard_error
        return {
            "factor": self.factor,
            "model": self.model,
            "level": self.level,
            "compared_with": self.compared.reference,
            "metric": self.metric.name,
            "pairs": self.num_pairs,
            "difference": self.compared.found.mean,
            "difference_standard_error": None if np.isnan(error) else error,
            "p": None if np.isnan(self.compared.found.p) else self.compared.found.p,
            "is_clear": self.compared.is_clear,
        }


def effects(rows: StudyRows) -> Iterator[Effect]:
    """Yield the main effects of each factor, for each model that depends on it; without those of `left_out`."""
    for one in _levels(rows):
        found_PN = [found for pair in one.pairs if (found := differences(*pair)) is not None]
        if found_PN and not one.is_of_several_data_sets:
            compared = Compared.of(one.instead_of or "as it is", np.mean(found_PN, axis=0))
            metric = one.pairs[0][0].metric
            yield Effect(one.factor, one.model, one.level or "as it is", metric, len(found_PN), compared)


def left_out(rows: StudyRows) -> dict[str, list[str]]:
    """Return the factors that have no effect as data sets differ, each with the models that it would be one on."""
    found: dict[str, list[str]] = {}
    for one in _levels(rows):
        if one.is_of_several_data_sets and one.model not in found.setdefault(one.factor, []):
            found[one.factor].append(one.model)
    return found


class _Level(NamedTuple):
    """A level of a factor, and the pairs of rows of a model that differ in it alone."""

    factor: str
    model: str
    level: str
    instead_of: str
    pairs: list[tuple[StudyRow, StudyRow]]

    @property
    def is_of_several_data_sets(self) -> bool:
        """Whether there is no mean over the pairs, as each data set has images of its own; however many these are."""
        return num_data_sets([row for pair in self.pairs for row in pair], (TOLD_ON,)) > 1


def _levels(rows: StudyRows) -> Iterator[_Level]:
    for factor in rows.factors:
        first, *others = dict.fromkeys(variant.levels[factor] for variant in rows.run.planned.variants)
        for model in dict.fromkeys(row.model for row in rows.all):
            for level in others:
                at_level = [row for row in rows.all if row.model == model and row.levels.get(factor) == level]
                pairs = [(row, partner) for row in at_level if (partner := rows.partner(row, {factor: first}, model))]
                yield _Level(factor, model, level, first, pairs)


def num_data_sets(rows: Sequence[StudyRow], splits: Sequence[str] = (CHOSEN_ON, TOLD_ON)) -> int:
    """Return on how many sets of images rows were scored, each with a metric of its own: the most of any split."""
    return max(len({(row.metric.name, row.images[split]) for row in rows if split in row.images}) for split in splits)


def candidates(rows: Sequence[StudyRow]) -> list[StudyRow]:
    """Return the rows that may be chosen: the students, or where there are none all models; scored on validation.

    None are, where they were scored on different images, as those of several data sets: nothing is the best of them.
    """
    if num_data_sets(rows) > 1:
        return []
    scored = [row for row in rows if CHOSEN_ON in row.spreads]
    return [row for row in scored if row.is_student] or scored


def ranked(rows: Sequence[StudyRow]) -> list[StudyRow]:
    """Return the rows that may be the best, that with the highest mean on validation first.

    Those that were stopped are none of them: the score of one seed is more often high by chance than a mean of several.
    """
    whole = [row for row in candidates(rows) if not row.is_stopped]
    return sorted(whole, key=lambda row: row.spreads[CHOSEN_ON].mean, reverse=True)


def best(rows: Sequence[StudyRow]) -> StudyRow | None:
    """Return the row with the highest mean on validation, of equal ones the first; None where none was scored there."""
    return next(iter(ranked(rows)), None)


def lead(row: StudyRow, other: StudyRow, store: ArtifactStore) -> Compared | None:
    """Compare a row with another on validation, image by image; None where their scores of images are not known."""
    scores = [by_image(one.results, CHOSEN_ON, store) for one in (row, other)]
    differences_N = above(*scores)
    return None if differences_N is None else Compared.of(str(other), differences_N)


def pareto(rows: Sequence[StudyRow]) -> list[StudyRow]:
    """Return the rows, the smallest first, than which no other is both as small and as good on validation, or better
    in one of the two; as for the best, without those that were stopped.
    """
    known = [row for row in ranked(rows) if row.parameters is not None]
    by_size = sorted(known, key=lambda row: (row.parameters or 0, -row.spreads[CHOSEN_ON].mean))
    front: list[StudyRow] = []
    for row in by_size:
        if not front or row.spreads[CHOSEN_ON].mean > front[-1].spreads[CHOSEN_ON].mean:
            front.append(row)
    return front
