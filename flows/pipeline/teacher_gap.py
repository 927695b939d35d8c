"""Which student, which teacher: how far the teacher is above the probe that its student starts from, known before any
student is trained, and whether distilling can be expected to help.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from taskdistill.flows.pipeline.chain import START, ModelResult
from taskdistill.flows.pipeline.comparing import FEWEST_IMAGES, Comparison, compared, declared_metrics
from taskdistill.flows.pipeline.scheduling import Awaited, Done
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.summaries import EvaluationSummary

log = logging.getLogger(__name__)

SPLIT = "val"
"""What is decided before training must not come from test."""


class TeacherGap(NamedTuple):
    """Teacher and student's probe on the validation images."""

    comparison: Comparison
    """Of the teacher with the student's probe."""
    teacher: str
    """Its score, written."""
    student: str
    agreement: str
    """How far the two agree, written; empty where the problem does not say."""

    @property
    def may_help(self) -> bool:
        """Whether the teacher is better by more than the standard error; a few images cannot show it."""
        return self.comparison.can_tell and self.comparison.found.is_better

    def __str__(self) -> str:
        one = self.comparison
        images = "1 image" if one.num_images == 1 else f"{one.num_images} images"
        agreement = f", agreement {self.agreement}" if self.agreement else ""
        facts = (
            f"On validation ({images}, {one.metric.heading}) the teacher has {self.teacher}, the student's probe "
            f"{self.student}: difference {one}{agreement}."
        )
        return facts if self.may_help else f"{facts} {self._doubt()}"

    def _doubt(self) -> str:
        if not self.comparison.can_tell:
            number = "One image" if self.comparison.num_images == 1 else f"{self.comparison.num_images} images"
            return (
                f"{number} cannot show whether the teacher is the better one: add labelled images to validation, "
                f"{FEWEST_IMAGES} at least."
            )
        return (
            "The teacher is not better by more than the standard error, so that distilling from it cannot be expected "
            "to help. Try another teacher, a larger input size (teacher.input_px), or more labelled images."
        )


def teacher_gap(results: Sequence[ModelResult], store: ArtifactStore) -> TeacherGap | None:
    """Compare the teacher with the probe its student starts from; None unless both are among the results and were
    scored on validation, image by image.
    """
    start = next((result for result in results if result.model == START), None)
    teacher = start and next((result for result in results if _teaches(result, start, store)), None)
    if not start or not teacher:
        return None
    comparison = compared([teacher], [start], SPLIT, store)
    if not comparison:
        return None
    known = EvaluationSummary.of(store.manifest(start.evaluation)).scores[SPLIT]
    agreement = [
        metric.in_words(known[metric.name])
        for metric in declared_metrics([start], store).values()
        if metric.is_agreement and metric.name in known
    ]
    scores = [_score(result, comparison, store) for result in (teacher, start)]
    return TeacherGap(comparison, scores[0], scores[1], "".join(agreement[:1]))


def _teaches(result: ModelResult, start: ModelResult, store: ArtifactStore) -> bool:
    """Whether a model's logits are those that the student's probe was compared with, and students learn from."""
    taught_by = store.manifest(start.evaluation).input_refs.get("teacher")
    return taught_by is not None and store.manifest(result.evaluation).input_refs.get("logits") == taught_by


def _score(result: ModelResult, comparison: Comparison, store: ArtifactStore) -> str:
    scores = EvaluationSummary.of(store.manifest(result.evaluation)).scores
    return comparison.metric.in_words(scores[SPLIT][comparison.metric.name])


def says_teacher_gap(results: Sequence[ModelResult], store: ArtifactStore) -> Awaited:
    """Return what says, once in a run that will have these results, how teacher and student's probe compare: as soon as
    both are evaluated.
    """
    planned = {result.evaluation: result for result in results if result.seed is None}
    evaluated: list[ModelResult] = []

    def take_note(done: Done) -> None:
        # As it was made: files that change after planning give other artifacts.
        result = replace(planned[done.step.ref], evaluation=done.ref)
        evaluated.append(result)
        gap = teacher_gap(evaluated, store)
        if gap and result.model in (gap.comparison.model, gap.comparison.reference):  # not after a third model again
            log.log(logging.INFO if gap.may_help else logging.WARNING, "%s", gap)

    return Awaited(planned.keys(), take_note)
