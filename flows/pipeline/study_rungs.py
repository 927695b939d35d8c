"""Successive halving of a study: which points stop after the first rung, their first seed alone.

The rule is that of `tasks.functional.successive_halving`, by the score on validation: test is not looked at. There are
two rungs. A rung of fewer epochs would be another training, whose learning rate falls sooner, and nothing of it would
be of use to the second; the first seed of a point that goes on is one of those it needs.
"""

import math
from collections.abc import Sequence
from operator import attrgetter

from taskdistill.configs.data import IngestConfig
from taskdistill.configs.errors import SettingsError
from taskdistill.configs.messages import shown
from taskdistill.configs.study import Study
from taskdistill.configs.study_loading import Point
from taskdistill.flows.pipeline.chain import CONTROL, ModelResult
from taskdistill.flows.pipeline.planning import Plan
from taskdistill.flows.pipeline.scored_images import ScoredImages
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.summaries import EvaluationSummary
from taskdistill.tasks.functional.successive_halving import best_of

_VALIDATION = "val"
_SAME_IMAGES = {
    "labels_per_class", "labels_seed", "max_quarantined_share", "reduce_to_px", "white_level", "black_level",
}  # fmt: skip
"""Settings of data that leave a split the images it has: of training images they change the labels, of others how their
pixels are stored. Any other may move an image to another split, or out of all.
"""
_DECIDE_VALIDATION = (
    "problem",
    *(f"data.{name}" for name in IngestConfig.model_fields if name not in _SAME_IMAGES),
)


def check_comparable(points: Sequence[Point]) -> None:
    """Raise SettingsError where points have no seeds beyond the first, or would not be judged on the same images."""
    seeds, *others = dict.fromkeys(point.experiment.seeds for point in points)
    if others:
        raise SettingsError(
            f"halving: points are compared by their first seed, but have seeds of their own ({list(seeds)}, "
            f"{list(others[0])}): give all the same with set, or leave halving out"
        )
    for name in _DECIDE_VALIDATION:
        values = list(dict.fromkeys(attrgetter(name)(point.experiment) for point in points))
        if len(values) > 1:
            raise SettingsError(
                f"halving: points are compared on validation, but {name} differs ({shown(values[0])}, "
                f"{shown(values[1])}), and with it the images they are scored on: leave one of the two out"
            )
    if len(seeds) < 2:
        raise SettingsError(
            f"halving: the best points go on with their other seeds, and there is one seed alone ({seeds[0]}): give "
            "several, such as seeds: [0, 1, 2] in set, or leave halving out"
        )


def with_first_seed(point: Point) -> Point:
    """Return a point as it is in the first rung."""
    experiment = point.experiment
    return point._replace(experiment=experiment.model_copy(update={"seeds": experiment.seeds[:1]}))


def going_on(study: Study, first_rung: Sequence[Plan], store: ArtifactStore) -> list[int]:
    """Return the places of the points that go on; the first rung is in the store.

    Raises SettingsError where no point was scored on validation, or two were on different images.
    """
    _check_same_images(first_rung, store)
    scores = {number: _score(plan, store) for number, plan in enumerate(first_rung)}
    if not any(map(math.isfinite, scores.values())):
        raise SettingsError("halving: no point has a score on validation to be compared by: leave halving out")
    return best_of(scores, num_going_on(study, len(first_rung)))


def _check_same_images(first_rung: Sequence[Plan], store: ArtifactStore) -> None:
    """Raise SettingsError where points were not scored on the same images of validation, whatever made these others."""
    images, first = ScoredImages(store), dict[int, int]()
    for number, plan in enumerate(first_rung, 1):
        for result in compared_students(plan):
            if (found := images.number(result, _VALIDATION)) is not None:
                first.setdefault(found, number)
    if len(first) > 1:
        one, other, *_ = first.values()
        raise SettingsError(
            f"halving: points are compared on validation, but those of points {one} and {other} are different images: "
            "give all points the same images, or leave halving out"
        )


def num_going_on(study: Study, num_points: int) -> int:
    """Return how many points go on, at least one."""
    return math.ceil(num_points / study.halving)


def compared_students(plan: Plan) -> list[ModelResult]:
    """Return the students by which a point is judged: those that are taught; where there is none, the control, which is
    often the same for all points.
    """
    students = [result for result in plan.results if result.seed is not None]
    return [result for result in students if result.model != CONTROL] or students


def _score(plan: Plan, store: ArtifactStore) -> float:
    """Return the score on validation of the best student of a point; -inf where none has one."""
    summaries = [EvaluationSummary.of(store.manifest(result.evaluation)) for result in compared_students(plan)]
    scores = [one.scores.get(_VALIDATION, {}).get(one.score_name, -math.inf) for one in summaries]
    return max(scores, default=-math.inf)
