"""The models of a study, each once however many points share it, with their scores, and what is compared with what.

Shape letters: N images.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from taskdistill.configs.study import MODEL, level_of
from taskdistill.flows.pipeline.chain import CONTROL, ModelResult
from taskdistill.flows.pipeline.comparing import is_clear, score_metric, scores_by_image
from taskdistill.flows.pipeline.scored_images import ScoredImages
from taskdistill.flows.pipeline.study import StudyRun, common_levels, in_words
from taskdistill.flows.reports.results import parameters_of
from taskdistill.storage.fingerprint import canonical_json
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.summaries import EvaluationSummary, PaceSummary
from taskdistill.tasks.cores import are_shared
from taskdistill.tasks.functional.comparison import Difference, paired_difference
from taskdistill.tasks.problems.metrics import Metric

CHOSEN_ON, TOLD_ON = "val", "test"
_TEACHER = "teacher"
"""Role of the logits that an evaluation compares a model's answers with."""


class StudyLatency(NamedTuple):
    """How long one image takes on one thread of the CPU."""

    ms: float
    beside: float
    """How many threads of other programs wanted a processor meanwhile."""

    @property
    def is_alone(self) -> bool:
        """Whether it had a processor to itself."""
        return not are_shared(1, self.beside)


class Spread(NamedTuple):
    """The score of a model on a split, over its seeds."""

    values: list[float]
    standard_error: float | None
    """Of one value, on so many images."""

    @property
    def mean(self) -> float:
        return statistics.mean(self.values)

    @property
    def deviation(self) -> float | None:
        """Standard deviation over the seeds; None of one seed."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None


class ByImage(NamedTuple):
    """The score of each image of a split."""

    by_seed: Mapping[int | None, npt.NDArray[np.float64]]
    """[N] for each seed."""

    def mean_of(self, seeds: Sequence[int | None]) -> npt.NDArray[np.float64]:
        """Return the mean over seeds for each image, [N]."""
        return np.asarray(np.mean([self.by_seed[seed] for seed in seeds], axis=0))


class Compared(NamedTuple):
    """How far a model lies above another on the same images."""

    reference: str
    found: Difference
    num_images: int

    @classmethod
    def of(cls, reference: str, differences_N: npt.NDArray[np.float64]) -> Self:
        """Make it from the difference on each image, [N]."""
        return cls(reference, paired_difference([differences_N], np.zeros(len(differences_N))), len(differences_N))

    @property
    def is_clear(self) -> bool:
        return is_clear(self.found, self.num_images)


@dataclass(frozen=True)
class StudyRow:
    """One model, its seeds together."""

    model: str
    levels: Mapping[str, str]
    """Those that all points have which share it: what it depends on, at most."""
    points: Sequence[int]
    results: Sequence[ModelResult]
    """One for each seed."""
    metric: Metric
    spreads: Mapping[str, Spread]
    """By split."""
    parameters: int | None
    seconds: float
    """What it took to make it, from the images on: all it is made from, which other models may share. Mean of seeds."""
    images: Mapping[str, int]
    """Split -> on which images of it it was scored, by a number: those of another data set have another."""
    on_test: ByImage | None = None
    """None where they are not known."""
    latency: StudyLatency | None = None
    """None where it was not measured."""
    is_stopped: bool = False
    """Whether it has its first seed alone, as others were better by it (`halving`)."""

    @property
    def is_student(self) -> bool:
        """Whether it was trained once for each seed."""
        return self.results[0].seed is not None

    @property
    def latency_ms(self) -> float | None:
        return self.latency.ms if self.latency else None

    def __str__(self) -> str:
        words = in_words(self.levels)
        return f"{self.model} ({words})" if words else self.model


class StudyRows:
    """All models of a study, and which of them differ in one thing."""

    def __init__(
        self, run: StudyRun, store: ArtifactStore, latencies: Mapping[ArtifactRef, StudyLatency] = MappingProxyType({})
    ) -> None:
        """`latencies` are those of models."""
        self.run = run
        self._store, self._seconds, self._latencies = store, _Seconds(store), latencies
        self._images = ScoredImages(store)
        self._asked: dict[ArtifactRef, str] = {}
        self._at: dict[tuple[frozenset[tuple[str, str]], str], StudyRow] = {}
        self.all = list(self._rows())

    @property
    def factors(self) -> list[str]:
        return list(self.run.planned.variants[0].levels)

    def partner(self, row: StudyRow, levels: Mapping[str, str], model: str) -> StudyRow | None:
        """Return the row that is this one with other levels, or another model; None where there is none."""
        variant = self.run.planned.variants[row.points[0]]
        found = self._at.get((frozenset({**variant.levels, **levels}.items()), model))
        return None if found is row else found

    def whole_point(self, row: StudyRow) -> int:
        """Return the place of the first point that a row was made for with all its seeds; the row was not stopped."""
        return next(point for point in row.points if point not in self.run.planned.stopped)

    def baseline(self, row: StudyRow) -> Compared | None:
        """Compare a row with what the study names, or with the student that is trained on the labels alone."""
        study = self.run.planned.study
        factors = study.factors()
        levels = {name: level_of(value, factors[name], name) for name, value in study.baseline.items() if name != MODEL}
        model = study.baseline.get(MODEL, row.model) if study.baseline else CONTROL
        other = self.partner(row, levels, model)
        if other is None or (differences_N := differences(row, other)) is None:
            return None
        return Compared.of(str(other), differences_N)

    def _rows(self) -> list[StudyRow]:
        variants = self.run.planned.variants
        groups: dict[tuple[str, str], tuple[list[ModelResult], list[int]]] = {}
        for point, results in enumerate(self.run.results):
            for model in dict.fromkeys(result.model for result in results):
                seeds = [result for result in results if result.model == model]
                # The first seed tells models apart, and of a point that was stopped there is no other.
                known, points = groups.get((model, self._scored(seeds[0])), ([], []))
                groups[model, self._scored(seeds[0])] = max(known, seeds, key=len), [*points, point]
        rows = []
        for (model, _), (seeds, points) in groups.items():
            row = self._row(model, seeds, points)
            rows.append(row)
            self._at |= {(frozenset(variants[point].levels.items()), model): row for point in points}
        return rows

    def _scored(self, result: ModelResult) -> str:
        """Return what was scored on what, and how: models that differ in the teacher they are compared with are one."""
        if result.evaluation not in self._asked:
            recipe = self._store.manifest(result.evaluation).recipe
            inputs = {role: source for role, source in recipe["inputs"].items() if role != _TEACHER}
            self._asked[result.evaluation] = canonical_json([recipe["config"], inputs, result.artifact.fingerprint])
        return self._asked[result.evaluation]

    def _row(self, model: str, seeds: Sequence[ModelResult], points: Sequence[int]) -> StudyRow:
        levels = common_levels([self.run.planned.variants[point] for point in points])
        seconds = statistics.mean(self._seconds.of(result.artifact) for result in seeds)
        summaries = [EvaluationSummary.of(self._store.manifest(result.evaluation)) for result in seeds]
        spreads = {split: found for split in (CHOSEN_ON, TOLD_ON) if (found := _spread(summaries, split))}
        parameters = parameters_of(seeds[0], self._store)
        metric = score_metric(seeds[0], self._store)
        return StudyRow(
            model, levels, points, seeds, metric, spreads, parameters, seconds,
            images=self._images_of(seeds[0]),
            on_test=by_image(seeds, TOLD_ON, self._store),
            latency=self._latencies.get(seeds[0].artifact),
            is_stopped=seeds[0].seed is not None and self.run.planned.stopped.issuperset(points),
        )  # fmt: skip

    def _images_of(self, result: ModelResult) -> dict[str, int]:
        numbers = {split: self._images.number(result, split) for split in (CHOSEN_ON, TOLD_ON)}
        return {split: number for split, number in numbers.items() if number is not None}


def by_image(seeds: Sequence[ModelResult], split: str, store: ArtifactStore) -> ByImage | None:
    """Return the score of each image of a split for each seed of a model; None where they are not known."""
    scores = {result.seed: scores_by_image(result, split, store) for result in seeds}
    return ByImage(scores) if all(map(len, scores.values())) else None


def differences(row: StudyRow, other: StudyRow) -> npt.NDArray[np.float64] | None:
    """Return how far one row lies above another on each image of test, [N]; None where they were scored on others.

    Of two that were trained with several seeds those count that both have: one that was stopped has fewer.
    """
    if row.images.get(TOLD_ON) != other.images.get(TOLD_ON):
        return None
    return above(row.on_test, other.on_test)


def above(mine: ByImage | None, theirs: ByImage | None) -> npt.NDArray[np.float64] | None:
    """Return how far one model lies above another on each of the same images, [N]; None where it is not known."""
    if mine is None or theirs is None:
        return None
    shared = [seed for seed in mine.by_seed if seed in theirs.by_seed]
    return mine.mean_of(shared or list(mine.by_seed)) - theirs.mean_of(shared or list(theirs.by_seed))


def _spread(summaries: Sequence[EvaluationSummary], split: str) -> Spread | None:
    name = summaries[0].score_name
    values = [summary.scores[split][name] for summary in summaries if name in summary.scores.get(split, {})]
    errors = [error for one in summaries if (error := one.standard_errors.get(split, {}).get(name)) is not None]
    return Spread(values, statistics.mean(errors) if errors else None) if values else None


class _Seconds:
    """What artifacts took, with all they are made from; each looked up once."""

    def __init__(self, store: ArtifactStore) -> None:
        self._store = store
        self._of_its_own: dict[ArtifactRef, float] = {}
        self._made_from: dict[ArtifactRef, frozenset[ArtifactRef]] = {}

    def of(self, ref: ArtifactRef) -> float:
        # Exact, so that it does not hang on the order of a set, and a finished study says the same each time.
        return math.fsum(self._of_its_own[one] for one in self._lineage(ref))

    def _lineage(self, ref: ArtifactRef) -> frozenset[ArtifactRef]:
        if ref not in self._made_from:
            inputs: list[ArtifactRef] = []
            self._of_its_own[ref] = 0.0
            if ref in self._store:
                manifest = self._store.manifest(ref)
                self._of_its_own[ref] = PaceSummary.of(manifest).seconds
                inputs = list(manifest.input_refs.values())
            self._made_from[ref] = frozenset({ref}).union(*(self._lineage(one) for one in inputs))
        return self._made_from[ref]


def as_values(row: StudyRow, compared: Compared | None, factors: Sequence[str]) -> dict[str, Any]:
    """Return a row as plain JSON values, scores in the scale of artifacts; a level is None where it does not matter."""
    values: dict[str, Any] = {factor: row.levels.get(factor) for factor in factors}
    values |= {"model": row.model, "points": len(row.points), "seeds": len(row.results), "metric": row.metric.name}
    for split in (CHOSEN_ON, TOLD_ON):
        spread = row.spreads.get(split)
        values |= {
            split: spread.mean if spread else None,
            f"{split}_deviation": spread.deviation if spread else None,
            f"{split}_standard_error": spread.standard_error if spread else None,
        }
    error = compared.found.standard_error if compared else None
    return values | {
        "compared_with": compared.reference if compared else None,
        "difference": compared.found.mean if compared else None,
        "difference_standard_error": None if error is None or np.isnan(error) else error,
        "p": None if compared is None or np.isnan(compared.found.p) else compared.found.p,
        "is_clear": compared.is_clear if compared else None,
        "parameters": row.parameters,
        "latency_ms": row.latency_ms,
        "seconds": round(row.seconds, 1),
        "is_stopped": row.is_stopped,
        "artifacts": " ".join(str(result.artifact) for result in row.results),
    }
