"""What a page tells of: the models of a run, its steps, and what they left in the store."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from taskdistill.flows.pipeline.chain import CONTROL, START, STUDENT, ModelResult
from taskdistill.flows.reports.page.blocks import distinct, plain, short
from taskdistill.flows.reports.shipping import Best, best_student
from taskdistill.storage.fingerprint import fingerprint
from taskdistill.storage.formats import PROGRAM
from taskdistill.storage.image_set import class_names_of
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.provenance import code_commit, version_of
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.tables import has_column, read_column, read_matrix

FOLDER = "reports"
"""In the store: where pages are written that nobody named a place for."""
SPLIT = "test"
"""Whose images are shown: students were chosen on validation."""
TRUE, SAID, TEACHER_SAID = "label", "predicted", "teacher_predicted"
"""Columns of predictions where an image has one answer, of those problems that give one."""

Numbers = npt.NDArray[np.int64]


class Answers(NamedTuple):
    """What a model says of the images of a split whose class is known: classes by number, an entry for each image."""

    ids: Sequence[str]
    true: Numbers
    said: Numbers
    confidence: npt.NDArray[np.float64]
    """Of the answer, 0..1."""
    teacher: Numbers | None
    """What the teacher says."""

    @property
    def is_right(self) -> npt.NDArray[np.bool_]:
        return np.asarray(self.said == self.true)


@dataclass(frozen=True)
class Subject:
    """A run, or models that are looked at together."""

    title: str
    results: Sequence[ModelResult]
    steps: Mapping[str, ArtifactRef]
    """By name, in the order of the work."""
    store: ArtifactStore
    command: str
    """What makes it again."""
    next_commands: Sequence[str]

    @cached_property
    def fingerprint(self) -> str:
        """What a page about it hangs on, this program included."""
        models = [f"{one.model} {one.seed} {one.evaluation} {one.artifact}" for one in self.results]
        steps = [f"{name} {ref}" for name, ref in self.steps.items()]
        words = [self.title, self.command, *self.next_commands, version_of(PROGRAM), code_commit()]
        return fingerprint({"words": words, "made": [*models, *steps]})

    @cached_property
    def by_model(self) -> dict[str, list[ModelResult]]:
        """The results of each model, one for each seed, in the order of the table."""
        found: dict[str, list[ModelResult]] = {}
        for result in self.results:
            found.setdefault(result.model, []).append(result)
        return found

    @cached_property
    def students(self) -> list[str]:
        return [model for model, seeds in self.by_model.items() if seeds[0].seed is not None]

    @cached_property
    def teacher(self) -> str | None:
        """The model that taught the chosen student; where nothing tells which that is, the first that is no student."""
        others = [model for model in self.by_model if model not in (*self.students, START)]
        answers = self.chosen and self.store.manifest(self.chosen.evaluation).input_refs.get("teacher")
        for model in others:
            judged = [self.store.manifest(one.evaluation).input_refs.get("logits") for one in self.by_model[model]]
            if answers and answers in judged:
                return model
        return next(iter(others), None)

    @cached_property
    def best(self) -> Best | None:
        return best_student(self.results, self.store)

    @cached_property
    def chosen(self) -> ModelResult | None:
        """The student one would ship; of models that were never scored on validation the last."""
        return self.best.result if self.best else next(iter(self.results[-1:]), None)

    @cached_property
    def control(self) -> str | None:
        """What the chosen student is compared with: the one without a teacher, or where that is chosen the distilled
        one; where there is neither, the probe both start from.
        """
        others = [model for model in (CONTROL, STUDENT, START) if not self.chosen or model != self.chosen.model]
        return next((model for model in others if model in self.by_model), None)

    @cached_property
    def images(self) -> ArtifactRef | None:
        """The image-set that the models were scored on."""
        found = (self.store.manifest(result.evaluation).input_refs.get("images") for result in self.results)
        return next((ref for ref in found if ref and ref in self.store), None)

    @cached_property
    def classes(self) -> list[str]:
        """Their names, in the order of their numbers."""
        return [plain(name) for name in class_names_of(self.store.path(self.images))] if self.images else []

    @cached_property
    def labels(self) -> list[str]:
        """What classes are called on the page, in the order of their numbers: short, and each otherwise."""
        return distinct([short(name) for name in self.classes])

    def seed_in_words(self, result: ModelResult) -> str:
        """Return ", seed 1" where a model has several, of which one is spoken of; else ""."""
        return f", seed {result.seed}" if len(self.by_model[result.model]) > 1 else ""

    def answers(self, result: ModelResult, split: str = SPLIT) -> Answers | None:
        """Return what a model says of a split; None where it was not scored there, or does not give one answer an
        image.
        """
        return _answers(self.store.path(result.evaluation), split)

    def answers_of(self, model: str | None) -> list[Answers]:
        """Return the answers of each seed of a model."""
        return [found for result in self.by_model.get(model or "", []) if (found := self.answers(result))]

    def made(self, stage: str) -> Iterator[ArtifactRef]:
        """Yield the artifacts of the run that a stage made and that are here."""
        for ref in dict.fromkeys(self.steps.values()):
            if ref in self.store and self.store.manifest(ref).recipe.get("stage") == stage:
                yield ref


@lru_cache(maxsize=64)
def _answers(evaluation: Path, split: str) -> Answers | None:
    table = evaluation / f"{split}-predictions.parquet"
    if not table.is_file() or not all(has_column(table, column) for column in (TRUE, SAID, "confidence")):
        return None
    true, said, confidence = (read_matrix(table, column)[:, 0] for column in (TRUE, SAID, "confidence"))
    is_known = true >= 0
    teacher = read_matrix(table, TEACHER_SAID)[:, 0][is_known] if has_column(table, TEACHER_SAID) else None
    ids = [one for one, known in zip(read_column(table, "id"), is_known, strict=True) if known]
    return Answers(ids, true[is_known], said[is_known], confidence[is_known], teacher) if ids else None
