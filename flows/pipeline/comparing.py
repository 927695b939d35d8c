"""Models of the final table, compared on the images of a split, one by one.

Shape letters: N images, M models compared (one for each seed), R models they are compared with.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from taskdistill.flows.pipeline.chain import ModelResult
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.summaries import EvaluationSummary
from taskdistill.storage.tables import has_column, read_matrix
from taskdistill.tasks.functional.comparison import Difference, paired_difference
from taskdistill.tasks.problems.metrics import Metric, metrics_of, undeclared

SCORE = "score"
"""The column of predictions whose mean is the first metric of the problem (`tasks.problems.problem.Meter`)."""

FEWEST_IMAGES = 6
"""Of fewer nothing is clear, whatever their standard error: of two equal models one is ahead on all of 5 images in 1 of
16 cases, by chance; on all of 6 in 1 of 32.
"""

CHOSEN_BY_CHANCE = ", so that chance may have chosen between the two"
"""The end of a sentence on how far the best is above the next, where that is not clear."""


def is_clear(found: Difference, num_images: int) -> bool:
    """Whether a difference on so many images is more than chance."""
    return num_images >= FEWEST_IMAGES and found.is_clear


class Comparison(NamedTuple):
    """How far a model, the mean over its seeds, lies above another on the same images."""

    model: str
    reference: str
    split: str
    metric: Metric
    num_seeds: int
    num_images: int
    found: Difference

    @property
    def can_tell(self) -> bool:
        """Whether there are images enough to tell anything from chance."""
        return self.num_images >= FEWEST_IMAGES

    @property
    def is_clear(self) -> bool:
        """Whether the difference is more than chance."""
        return is_clear(self.found, self.num_images)

    def row(self) -> dict[str, Any]:
        """Return it as plain JSON values, in the scale of the metric as artifacts have it."""
        mean, error, p = self.found
        return {
            "model": self.model,
            "reference": self.reference,
            "split": self.split,
            "metric": self.metric.name,
            "difference": mean,
            "standard_error": None if math.isnan(error) else error,
            "p": None if math.isnan(p) else p,
            "is_clear": self.is_clear,
            "seeds": self.num_seeds,
            "images": self.num_images,
        }

    def __str__(self) -> str:
        mean, error, _ = self.found
        written = "" if math.isnan(error) else f" (SE {self.metric.number(error)})"
        return self.metric.signed(mean) + written


def compared(
    model: Sequence[ModelResult], reference: Sequence[ModelResult], split: str, store: ArtifactStore
) -> Comparison | None:
    """Compare the seeds of one model with those of another, each averaged on every image; both have a result at least.

    None where one of them was not scored on the split, or left no score of each image, as early versions did not.
    """
    scores_MN, reference_RN = ([image_scores(one, split, store) for one in seeds] for seeds in (model, reference))
    if not all([*scores_MN, *reference_RN]):
        return None
    found = paired_difference(scores_MN, np.mean(reference_RN, axis=0))
    metric, num_images = score_metric(model[0], store), len(scores_MN[0])
    return Comparison(model[0].model, reference[0].model, split, metric, len(model), num_images, found)


def image_scores(result: ModelResult, split: str, store: ArtifactStore) -> list[float]:
    """Return the score of each image of a split, in the order of the image-set; none where they are not known."""
    scores: list[float] = scores_by_image(result, split, store).tolist()
    return scores


def scores_by_image(result: ModelResult, split: str, store: ArtifactStore) -> npt.NDArray[np.float64]:
    """Return the same as an array, [N]: of many models with many images each, lists would take seconds."""
    path = store.path(result.evaluation) / f"{split}-predictions.parquet"
    if split not in EvaluationSummary.of(store.manifest(result.evaluation)).scores or not has_column(path, SCORE):
        return np.empty(0)
    return read_matrix(path, SCORE)[:, 0].astype(np.float64)


def score_metric(result: ModelResult, store: ArtifactStore) -> Metric:
    """Return the metric by which the models of an evaluation are chosen and compared."""
    name = EvaluationSummary.of(store.manifest(result.evaluation)).score_name
    return declared_metrics([result], store).get(name, undeclared(name))


def declared_metrics(results: Sequence[ModelResult], store: ArtifactStore) -> dict[str, Metric]:
    """Return the metrics that the problems of these evaluations declare, by name, the most important first."""
    configs = [store.manifest(result.evaluation).recipe["config"] for result in results]
    problems = dict.fromkeys(config.get("problem", "") for config in configs)
    return {metric.name: metric for problem in problems for metric in metrics_of(problem)}
