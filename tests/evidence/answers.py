"""What the studies answer: how far one model lies above another, and whether that may be chance.

Shape letters: P places, N images of a place.
"""

import math
import statistics
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from taskdistill.flows.reports.study_rows import StudyRow, StudyRows
from taskdistill.tasks.functional.comparison import Difference, paired_difference
from taskdistill.tasks.problems.metrics import Metric
from tests.evidence.claims import Question, Side
from tests.evidence.trials import Trial

Said = Literal["yes", "no, the reverse", "cannot be told"]
Scores = npt.NDArray[np.float64]


class Answer(NamedTuple):
    """How far `first` of a question lies above `second`."""

    question: Question
    metric: Metric
    first: float
    second: float
    """Means over places and seeds, in the scale of artifacts."""
    difference: Difference
    counted: str
    """What the error is over, in words."""

    @property
    def said(self) -> Said:
        if not self.difference.is_clear:
            return "cannot be told"
        return "yes" if self.difference.mean > 0 else "no, the reverse"


def answer(question: Question, trial: Trial, rows: StudyRows) -> Answer:
    """Compare two models of a finished study. ValueError where one of them is not in it, or left no scores."""
    firsts, seconds = (
        [_by_image(_row(side, place, trial, rows)) for place in trial.places]
        for side in (question.first, question.second)
    )
    seeds = len(_row(question.first, next(iter(trial.places)), trial, rows).results)
    metric = _row(question.first, next(iter(trial.places)), trial, rows).metric
    means = [statistics.mean(float(scores_N.mean()) for scores_N in scores_PN) for scores_PN in (firsts, seconds)]
    compare = over_places if trial.sample == "places" else over_images
    difference, counted = compare(firsts, seconds)
    told = f"{counted}, {seeds} seed{'s' if seeds > 1 else ''}"
    return Answer(question, metric, means[0], means[1], difference, told)


def _row(side: Side, place: str, trial: Trial, rows: StudyRows) -> StudyRow:
    point = trial.point(place, side.arm)
    for row in rows.all:
        if row.model == side.model and point in row.points:
            return row
    raise ValueError(f"{trial.told}: there is no {side.model} in {place} {side.arm}")


def _by_image(row: StudyRow) -> Scores:
    if row.on_test is None:
        raise ValueError(f"{row} has no score of each image of test")
    return row.on_test.mean_of(list(row.on_test.by_seed))


def over_places(firsts_PN: list[Scores], seconds_PN: list[Scores]) -> tuple[Difference, str]:
    """Return the mean over places, its error by the spread between them, and the p of the paired t-test."""
    first_P, second_P = ([float(scores_N.mean()) for scores_N in scores_PN] for scores_PN in (firsts_PN, seconds_PN))
    better = sum(one > other for one, other in zip(first_P, second_P, strict=True))
    found = paired_difference([first_P], second_P)
    # Of a world there is a mean over many images: the t-test holds for few of them, where a test of signs sees nothing.
    found = found._replace(p=float(stats.ttest_rel(first_P, second_P).pvalue))
    return found, f"{len(first_P)} worlds (above in {better})"


def over_images(firsts_PN: list[Scores], seconds_PN: list[Scores]) -> tuple[Difference, str]:
    """Return the mean over places, its error by the images of all, and p by as many degrees of freedom."""
    found = [paired_difference([one], other) for one, other in zip(firsts_PN, seconds_PN, strict=True)]
    number, places = sum(map(len, firsts_PN)), len(found)
    error = math.sqrt(sum(one.standard_error**2 for one in found)) / places
    mean = statistics.mean(one.mean for one in found)
    if places == 1:
        return found[0], f"{number} images"
    p = 2 * float(stats.t.sf(abs(mean) / error, number - places)) if error else float(mean == 0)
    return Difference(mean, error, p), f"{number} images of {places} sequences"
