"""Which student one would ship: the best on validation, whatever its seed, with what it then has on test."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from taskdistill.flows.pipeline.chain import START, ModelResult
from taskdistill.flows.pipeline.comparing import score_metric
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.summaries import EvaluationSummary, ModelSummary
from taskdistill.tasks.functional.comparison import EITHER_WAY
from taskdistill.tasks.problems.metrics import PERCENT, Metric

CHOSEN_ON, TOLD_ON = "val", "test"


class Best(NamedTuple):
    """The student that was best on validation."""

    result: ModelResult
    metric: Metric
    val: float
    test: float | None
    """None where it was not scored there."""
    interval: tuple[float, float] | None
    """Two standard errors either way; None where there is no standard error."""
    images: int
    """Of test."""

    @property
    def artifact(self) -> ArtifactRef:
        return self.result.artifact

    def __str__(self) -> str:
        seed = "" if self.result.seed is None else f", seed {self.result.seed}"
        named = (
            f"Best on validation: {self.result.model}{seed} ({self.metric.heading} {self.metric.in_words(self.val)})"
        )
        if self.test is None:
            return f"{named}."
        told = f"on test {self.metric.in_words(self.test)}"
        if self.interval:
            low, high = map(self.metric.number, self.interval)
            told += f", {low} to {high} within two standard errors ({self.images} images)"
        return f"{named}; {told}."

    def row(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "model": self.result.model,
            "seed": self.result.seed,
            "reference": str(self.artifact),
            "metric": self.metric.name,
            "val": self.val,
            "test": self.test,
            "interval": list(self.interval) if self.interval else None,
            "images": self.images,
        }


def best_student(results: Sequence[ModelResult], store: ArtifactStore) -> Best | None:
    """Return the student that was best on validation, of equal ones the first; None where none was scored there."""
    students = [result for result in results if result.seed is not None and result.artifact.kind == "model"]
    scored = [(val, result) for result in students if (val := _score(result, CHOSEN_ON, store)) is not None]
    if not scored:
        return None
    val, result = max(scored, key=lambda one: one[0])
    metric, summary = score_metric(result, store), EvaluationSummary.of(store.manifest(result.evaluation))
    test = _score(result, TOLD_ON, store)
    error = summary.standard_errors.get(TOLD_ON, {}).get(metric.name)
    interval = None if test is None else two_errors_around(metric, test, error)
    return Best(result, metric, val, test, interval, summary.num_images.get(TOLD_ON, 0))


def two_errors_around(metric: Metric, value: float, error: float | None) -> tuple[float, float] | None:
    """Return how far two standard errors reach below and above a value, in the scale of artifacts; a share stays one.
    None where there is no error, or where all images are right, or all wrong: then it is 0 and says nothing.
    """
    if not error:
        return None
    low, high = value - EITHER_WAY * error, value + EITHER_WAY * error
    return (max(low, 0.0), min(high, 1.0)) if metric.unit == PERCENT else (low, high)


def without_use(results: Sequence[ModelResult], store: ArtifactStore) -> str:
    """Return a sentence where no training has helped, so that there is nothing to choose between; else ""."""
    students = [result for result in results if result.seed is not None and result.artifact.kind == "model"]
    if not students or any(ModelSummary.of(store.manifest(one.artifact)).kept_step != 0 for one in students):
        return ""
    return (
        f"No training helped: every student still is {START}, as none of them ever scored higher on validation. Train "
        "for longer (training.epochs, training.min_steps), or on more images."
    )


def best_commands(best: Best, name: str) -> list[str]:
    """Return what one would do with a student next, each line a command with what it does; it is called by `name`."""
    return [
        f"Look at it:  taskdistill show {best.artifact.short}",
        f"Name it:     taskdistill label {name} {best.artifact.short}",
        f"Use it:      taskdistill predict {best.artifact.short} FOLDER_OF_IMAGES",
        f"Take it out: taskdistill export {best.artifact.short} FOLDER --to onnx",
    ]


def _score(result: ModelResult, split: str, store: ArtifactStore) -> float | None:
    summary = EvaluationSummary.of(store.manifest(result.evaluation))
    return summary.scores.get(split, {}).get(summary.score_name)
