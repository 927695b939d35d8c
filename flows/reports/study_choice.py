"""What a study says: what each factor is worth, which models no other beats in both size and score, which is best.

What is chosen, is chosen on validation; test only tells what came of it.

Shape letters: P pairs of models, N images.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from taskdistill.flows.reports.study_rows import CHOSEN_ON, Compared, StudyRow, StudyRows, differences
from taskdistill.tasks.functional.comparison import paired_difference
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
            "is_clear": self.compared.is_clear,
        }


def effects(rows: StudyRows) -> Iterator[Effect]:
    """Yield the main effects of each factor, for each model that depends on it; those that were not scored on the same
    images as their partners are left out.
    """
    for factor in rows.factors:
        first, *others = dict.fromkeys(variant.levels[factor] for variant in rows.run.planned.variants)
        for model in dict.fromkeys(row.model for row in rows.all):
            for level in others:
                at_level = [row for row in rows.all if row.model == model and row.levels.get(factor) == level]
                pairs = [(row, partner) for row in at_level if (partner := rows.partner(row, {factor: first}, model))]
                found_PN = [found for pair in pairs if (found := differences(*pair)) is not None]
                # Of several data sets each has images of its own, and there is no mean over them.
                if found_PN and len({len(found) for found in found_PN}) == 1:
                    num_images = len(found_PN[0])
                    difference = paired_difference(found_PN, np.zeros(num_images))
                    compared = Compared(first or "as it is", difference, num_images)
                    yield Effect(factor, model, level or "as it is", pairs[0][0].metric, len(found_PN), compared)


def num_data_sets(rows: Sequence[StudyRow]) -> int:
    """Return on how many sets of images rows were scored, as far as these are known, each with a metric of its own."""
    return len({(row.metric.name, row.on_test.images) for row in rows if row.on_test})


def candidates(rows: Sequence[StudyRow]) -> list[StudyRow]:
    """Return the rows that may be chosen: the students, or where there are none all models; scored on validation.

    None are, where they were scored on different images, as those of several data sets: nothing is the best of them.
    """
    if num_data_sets(rows) > 1:
        return []
    scored = [row for row in rows if CHOSEN_ON in row.spreads]
    return [row for row in scored if row.is_student] or scored


def best(rows: Sequence[StudyRow]) -> StudyRow | None:
    """Return the row with the highest mean on validation, of equal ones the first; None where none was scored there.

    Those that were stopped are none of them: the score of one seed is more often high by chance than a mean of several.
    """
    whole = [row for row in candidates(rows) if not row.is_stopped]
    return max(whole, key=lambda row: row.spreads[CHOSEN_ON].mean, default=None)


def pareto(rows: Sequence[StudyRow]) -> list[StudyRow]:
    """Return the rows, the smallest first, than which no other is both as small and as good on validation, or better
    in one of the two.
    """
    known = [row for row in candidates(rows) if row.parameters is not None]
    by_size = sorted(known, key=lambda row: (row.parameters or 0, -row.spreads[CHOSEN_ON].mean))
    front: list[StudyRow] = []
    for row in by_size:
        if not front or row.spreads[CHOSEN_ON].mean > front[-1].spreads[CHOSEN_ON].mean:
            front.append(row)
    return front
