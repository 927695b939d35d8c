"""Models beside one of them, on the same images: how far apart, whether by more than chance, and in which classes.
Without torch.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from rich import box
from rich.table import Table

from taskdistill.flows.pipeline.comparable import Judged
from taskdistill.flows.pipeline.comparing import FEWEST_IMAGES, is_clear
from taskdistill.storage.image_set import class_names_of
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.summaries import EvaluationSummary
from taskdistill.storage.tables import has_column, read_column
from taskdistill.tasks.deploy.temperature import problem_of
from taskdistill.tasks.functional.comparison import CHANCE, Difference, paired_difference
from taskdistill.tasks.functional.proportions import Interval
from taskdistill.tasks.functional.resampling import McNemar, Weighted, bootstrap_interval, mcnemar
from taskdistill.tasks.problems.metrics import Metric, metrics_of, undeclared
from taskdistill.tasks.problems.weighing import weighed

DRAWS = 2000
"""Of images and seeds, for an interval; its ends are then off by a twentieth of its width or so."""


class OfMetric(NamedTuple):
    """How far a model lies above the first in one metric."""

    metric: Metric
    first: float
    model: float
    interval: Interval


class Compared(NamedTuple):
    """A model beside the first one."""

    model: Judged
    metrics: list[OfMetric]
    """That by which models are chosen comes first."""
    difference: Difference
    """In that metric, image by image."""
    exact: McNemar | None
    """None where answers are not right or wrong, or there are several seeds."""


def compare(store: ArtifactStore, models: Sequence[Judged], split: str, *, seed: int = 0) -> list[Compared]:
    """Compare each of the models with the first; they are comparable (flows.pipeline.comparable). `seed` draws the
    images of the intervals.
    """
    scores = [scores_of(store, model, split) for model in models]
    weights = [_weighed(store, model, split) for model in models]
    num_images = scores[0].shape[1]
    found = []
    for model, scores_MN, of_model in list(zip(models, scores, weights, strict=True))[1:]:
        generator = np.random.default_rng(seed)
        both = [(metric, of_model[metric], of_first) for metric, of_first in weights[0].items() if metric in of_model]
        metrics = [
            OfMetric(
                metric,
                _mean(first, num_images),
                _mean(second, num_images),
                bootstrap_interval(second, first, num_images, draws=DRAWS, generator=generator),
            )
            for metric, second, first in both
        ]
        difference = paired_difference(scores_MN, scores[0].mean(axis=0))
        found.append(Compared(model, metrics, difference, _exact(scores_MN, scores[0])))
    return found


def _mean(seeds: Sequence[Weighted], num_images: int) -> float:
    return float(np.mean([of_seed(np.ones(num_images)) for of_seed in seeds]))


def scores_of(store: ArtifactStore, model: Judged, split: str) -> npt.NDArray[np.float64]:
    """Return what each seed has on each image, [M, N]."""
    tables = [store.path(ref) / f"{split}-predictions.parquet" for ref in model.evaluations]
    return np.asarray([read_column(table, "score") for table in tables], np.float64)


def _weighed(store: ArtifactStore, model: Judged, split: str) -> dict[Metric, list[Weighted]]:
    """Return the metrics of each seed, those first that are told first."""
    name = EvaluationSummary.of(store.manifest(model.evaluations[0])).score_name
    problem = problem_of(store, model.evaluations[0])
    declared = {metric.name: metric for metric in metrics_of(problem)}
    found: dict[Metric, list[Weighted]] = {}
    for ref in model.evaluations:
        for metric, of_seed in weighed(problem, store.path(ref), split, name).items():
            found.setdefault(declared.get(metric, undeclared(metric)), []).append(of_seed)
    return {metric: seeds for metric, seeds in found.items() if len(seeds) == len(model.evaluations)}


def _exact(model_MN: npt.NDArray[np.float64], first_MN: npt.NDArray[np.float64]) -> McNemar | None:
    both = np.concatenate([model_MN, first_MN])
    if len(both) > 2 or not np.isin(both, (0.0, 1.0)).all():
        return None
    return mcnemar(model_MN[0] > 0.5, first_MN[0] > 0.5)


def compared_table(first: Judged, found: Sequence[Compared], num_images: int) -> Table:
    """Return a line for each model and metric."""
    table = Table(title=f"beside {first.heading}", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in ("model", "metric", "it", "the first", "difference", "95 % interval"):
        table.add_column(heading, justify="left" if heading in ("model", "metric") else "right", no_wrap=True)
    for one in found:
        stars = _clear(one, num_images)
        for number, (metric, of_first, of_model, interval) in enumerate(one.metrics):
            table.add_row(
                "" if number else one.model.heading,
                metric.heading,
                metric.number(of_model),
                metric.number(of_first),
                f"{'* ' if stars[number] else ''}{metric.signed(of_model - of_first)}",
                f"{metric.signed(interval.low)} to {metric.signed(interval.high)}",
            )
    return table


def _clear(one: Compared, num_images: int) -> list[bool]:
    """Return of each metric whether the difference is more than chance: of the first by the same p as everywhere, as an
    interval of draws is too narrow on few images; of the others, for which there is none, by the interval.
    """
    others = [num_images >= FEWEST_IMAGES and not found.interval.has_zero for found in one.metrics[1:]]
    return [is_clear(one.difference, num_images), *others]


def verdicts(first: Judged, found: Sequence[Compared], num_images: int) -> Iterator[str]:
    """Say of each model whether it differs from the first by more than chance."""
    for one in found:
        metric = one.metrics[0].metric
        said = f"{one.model.heading}: {metric.signed(one.difference.mean)} {metric.heading}"
        if num_images > 1:
            said += f" (SE {metric.number(one.difference.standard_error)})"
        if one.exact:
            said += (
                f"; it alone is right on {one.exact.only_first} images, {first.heading} alone on "
                f"{one.exact.only_second}, McNemar's exact p = {one.exact.p_value:.2g}"
            )
        elif not math.isnan(one.difference.p):
            said += f", p = {one.difference.p:.2g}"
        if is_clear(one.difference, num_images) and one.metrics[0].interval.has_zero:
            said += " with these seeds; others may come out otherwise, as the interval, which draws seeds too, has 0"
        yield f"{said}."
    if num_images < FEWEST_IMAGES:
        yield f"Of so few images nothing is told from chance: it takes {FEWEST_IMAGES} at least."
    first_metric = f"{found[0].metrics[0].metric.heading}: p < {CHANCE:g}"
    yield (
        f"* more than chance ({first_metric}; other metrics: the interval leaves out 0). Intervals are of {DRAWS:,} "
        f"draws of the {num_images} images, and of seeds where there are several. Each comparison is judged alone: of "
        "twenty that mean nothing, one looks like more."
    )


def class_table(store: ArtifactStore, models: Sequence[Judged], split: str) -> Table | None:
    """Return the share of each class that each model has right, those first in which the last gains most on the first;
    None where images are not of one class each.
    """
    labels = labels_of(store, models[0], split)
    if labels is None:
        return None
    names = class_names_of(store.path(store.manifest(models[0].evaluations[0]).input_refs["images"]))
    scores = [scores_of(store, model, split).mean(axis=0) for model in models]
    rows = []
    for number, name in enumerate(names):
        if (is_of_class_N := labels == number).any():
            rows.append((name, int(is_of_class_N.sum()), [float(each_N[is_of_class_N].mean()) for each_N in scores]))
    rows.sort(key=lambda row: row[2][0] - row[2][-1])
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("class", no_wrap=True)
    for heading in ("images", *(model.heading for model in models)):
        table.add_column(heading, justify="right")
    for name, num_images, shares in rows:
        table.add_row(name, str(num_images), *(f"{100 * share:.1f}" for share in shares))
    return table


def num_images(store: ArtifactStore, model: Judged, split: str) -> int:
    return EvaluationSummary.of(store.manifest(model.evaluations[0])).num_images[split]


def labels_of(store: ArtifactStore, model: Judged, split: str) -> npt.NDArray[np.int64] | None:
    """Return the class of each image; None where images are not of one class each."""
    table = store.path(model.evaluations[0]) / f"{split}-predictions.parquet"
    if not has_column(table, "predicted"):
        return None
    return np.asarray(read_column(table, "label"), np.int64)


def compared_rows(first: Judged, found: Sequence[Compared], num_images: int) -> list[dict[str, Any]]:
    """Return a row for each model and metric, as plain JSON values in the scale that artifacts have."""
    return [
        {
            "model": one.model.name,
            "reference": first.name,
            "metric": metric.name,
            "value": of_model,
            "reference_value": of_first,
            "difference": of_model - of_first,
            "low": interval.low,
            "high": interval.high,
            "is_clear": _clear(one, num_images)[number],
            **(_tests(one) if number == 0 else {}),
        }
        for one in found
        for number, (metric, of_first, of_model, interval) in enumerate(one.metrics)
    ]


def _tests(one: Compared) -> dict[str, Any]:
    _, error, p = one.difference
    tests = {name: None if math.isnan(value) else value for name, value in (("standard_error", error), ("p", p))}
    return tests | ({f"mcnemar_{name}": value for name, value in one.exact._asdict().items()} if one.exact else {})
