"""The answers of a trial as a file, so that a page can be made of trials that ran on different machines."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from taskdistill.configs.choices import METRICS
from taskdistill.storage.files import make_folder, read_json, write_json
from taskdistill.tasks.functional.comparison import Difference
from taskdistill.tasks.problems.metrics import metrics_of
from tests.evidence.answers import Answer
from tests.evidence.claims import CLAIMS, Question


class Told(NamedTuple):
    """What a trial answered, what it took, and what is to be known of its models."""

    answers: list[Answer]
    took: str
    said: list[str]
    by: str
    """Version of the program, and the machine."""


def keep(told: Told, folder: Path, trial: str) -> None:
    """Write what a trial told into `folder`, instead of what it told before."""
    make_folder(folder)
    answers = [_as_json(one) for one in told.answers]
    write_json(_path(folder, trial), {"by": told.by, "took": told.took, "said": told.said, "answers": answers})


def all_kept(folder: Path, trials: Iterable[str]) -> dict[str, Told]:
    """Return what the trials told that have run, by their names, in the order of `trials`; answers to questions that
    are not asked any more are left out.
    """
    return {name: _read(_path(folder, name)) for name in trials if _path(folder, name).is_file()}


def _read(path: Path) -> Told:
    kept = read_json(path)
    asked = {_key(question): question for claim in CLAIMS for question in claim.questions}
    found = [(asked.get(_key_of(one)), one) for one in kept["answers"]]
    return Told([_answer(question, one) for question, one in found if question], kept["took"], kept["said"], kept["by"])


def _as_json(one: Answer) -> dict[str, Any]:
    (mean, error, p), question = one.difference, one.question
    return {
        "trial": question.trial,
        "first": {"model": question.first.model, "arm": question.first.arm, "mean": one.first},
        "second": {"model": question.second.model, "arm": question.second.arm, "mean": one.second},
        "metric": one.metric.name,
        # Of one world there is no error, and JSON has no number for it.
        "difference": {"mean": mean, "standard_error": None if math.isnan(error) else error, "p": p},
        "counted": one.counted,
    }


def _answer(question: Question, kept: Mapping[str, Any]) -> Answer:
    mean, error, p = (kept["difference"][name] for name in ("mean", "standard_error", "p"))
    difference = Difference(mean, math.nan if error is None else error, p)
    first, second = kept["first"]["mean"], kept["second"]["mean"]
    chooses = {metrics_of(problem)[0].name: metrics_of(problem)[0] for problem in METRICS}
    return Answer(question, chooses[kept["metric"]], first, second, difference, kept["counted"])


def _key(question: Question) -> tuple[str, ...]:
    """Return what is asked, whatever it is called."""
    return (question.trial, *(text for side in question[1:] for text in (side.model, side.arm)))


def _key_of(kept: Mapping[str, Any]) -> tuple[str, ...]:
    return (kept["trial"], *(kept[side][name] for side in ("first", "second") for name in ("model", "arm")))


def _path(folder: Path, trial: str) -> Path:
    return folder / f"{trial}.json"
