"""One search for settings, from the candidates to what is written down: settings.json, trials.parquet, and why.

Shape letters: N held-out images.
"""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from taskdistill.configs.training import TrainingSettings
from taskdistill.configs.tuning import TuningSettings
from taskdistill.storage.summaries import SettingsSummary
from taskdistill.storage.tables import TRIALS, write_table
from taskdistill.tasks.data.batches import ViewSource
from taskdistill.tasks.functional import successive_halving as halving
from taskdistill.tasks.functional.comparison import paired_difference, standard_error
from taskdistill.tasks.functional.lengths import num_steps
from taskdistill.tasks.functional.successive_halving import DEFAULT, Choice, Outcome, Rung, Scores, Settings, words_of
from taskdistill.tasks.models.task_model import TaskModel
from taskdistill.tasks.problems.metrics import PERCENT, Metric
from taskdistill.tasks.problems.problem import problem_named
from taskdistill.tasks.stage import StageContext
from taskdistill.tasks.training.chosen_settings import write_settings
from taskdistill.tasks.training.held_out import Fold, HeldOut
from taskdistill.tasks.training.loss_notes import TrainingDivergedError
from taskdistill.tasks.training.student import judge_on
from taskdistill.tasks.training.tuning_trials import Course, Trials

log = logging.getLogger(__name__)


class Search(NamedTuple):
    """What is chosen among, and on what."""

    problem: str
    model: TaskModel
    """What every trial starts from, but for the head of a fold."""
    source: ViewSource
    held: HeldOut
    training: TrainingSettings
    tuning: TuningSettings
    default: Settings
    lists: Mapping[str, Sequence[float]]
    """Name of a setting -> the values to try."""


def choose(search: Search, course: Callable[[Fold, Settings, int], Course], context: StageContext) -> SettingsSummary:
    """Try what the budget allows and write the choice down; `course` says how a candidate trains on a fold, by a seed.

    Raises TrainingDivergedError where training diverges with the default and with what it was compared with at last.
    """
    tried, num_folds = halving.candidates(search.default, search.lists), len(search.held.folds)
    of_training = num_steps(search.training, len(search.source.images.rows_of("train")))
    budget = int(search.tuning.budget * of_training)
    tuning = search.tuning
    plan = halving.rungs(
        len(tried), budget_steps=budget, min_steps=tuning.min_steps, num_folds=num_folds, seed=tuning.seed
    )
    said = [*search.held.said, *_repeated(search.lists)]
    if not plan:
        summary = _kept(search, "the lists hold no other value")
    elif plan[0].steps < tuning.min_steps:
        summary = _kept(search, _too_short(plan, of_training, tuning))
    else:
        said += _left_out(tried[plan[0].size :], tuning.min_steps)
        summary = _searched(search, tried[: plan[0].size], plan, of_training, course, context)
    steps = summary.steps
    facts: dict[str, Any] = {"candidates": len(tried), "said": said, "steps_of_training": of_training}
    if not steps:
        write_table(context.draft / "trials.parquet", TRIALS, [])
    summary = summary.model_copy(update={**facts, "steps": steps, "cost": round(steps / of_training, 3)})
    write_settings(context.draft, summary.chosen)
    for sentence in (summary.because, *said):
        log.info("%s", sentence)
    return summary


def _searched(
    search: Search,
    tried: Sequence[Settings],
    plan: Sequence[Rung],
    of_training: int,
    course: Callable[[Fold, Settings, int], Course],
    context: StageContext,
) -> SettingsSummary:
    problem, precision = problem_named(search.problem), search.training.precision
    judges = {
        fold.number: judge_on(problem, search.source, fold.held_out_N, context, precision) for fold in search.held.folds
    }
    total = halving.num_steps(plan)
    trials = Trials(
        search.model,
        search.held.folds,
        tried,
        course,
        lambda model, fold: judges[fold.number](model),
        num_steps=total,
        of_training=of_training,
        context=context,
    )
    choice = halving.search(plan, trials.tried)
    if choice.chosen == DEFAULT and DEFAULT in choice.diverged:  # nothing else is left: who set it must know
        raise TrainingDivergedError(_why_diverged(trials, plan))
    rows = [_row(outcome, choice, tried, search.held, trials) for outcome in choice.outcomes]
    write_table(context.draft / "trials.parquet", TRIALS, rows)
    metric = problem.metrics[0]
    compared = {"difference": choice.difference.mean, "difference_standard_error": choice.difference.standard_error}
    return SettingsSummary(
        chosen=dict(tried[choice.chosen]),
        default=dict(search.default),
        is_default=choice.chosen == DEFAULT,
        because=_because(choice, tried, _judged_on(search.held, plan[-1:]), metric),
        challenger=dict(tried[choice.challenger]),
        score_name=metric.name,
        **{name: value for name, value in compared.items() if math.isfinite(value)},  # JSON has no other
        held_out=_judged_on(search.held, plan),
        images=_num_images(search.held, plan),
        steps=total,
    )


def _why_diverged(trials: Trials, plan: Sequence[Rung]) -> str:
    noted = (trials.noted[rung.number, DEFAULT].diverged for rung in plan)
    return next(reason for reason in noted if reason)


def _kept(search: Search, because: str) -> SettingsSummary:
    """Nothing is tried."""
    default = dict(search.default)
    return SettingsSummary(
        chosen=default, default=default, is_default=True, because=f"{_stays(default)}: {because}", steps=0
    )


def _row(outcome: Outcome, choice: Choice, tried: Sequence[Settings], held: HeldOut, trials: Trials) -> dict[str, Any]:
    """Return the line of one trial."""
    rung, candidate = outcome.rung, outcome.candidate
    default_N = next(one.scores_N for one in choice.outcomes if (one.rung, one.candidate) == (rung, DEFAULT))
    return {
        "rung": rung.number,
        "seed": rung.seed,
        "fold": held.folds[rung.fold].number,
        "steps": rung.steps,
        "went_on": outcome.went_on,
        "diverged": trials.noted[rung.number, candidate].diverged or None,
        **tried[candidate],
        **_compared(outcome.scores_N, default_N),
    }


def _compared(scores_N: Scores, default_N: Scores) -> dict[str, Any]:
    if not np.isfinite(scores_N).all():
        return {"images": len(scores_N)}
    difference = paired_difference([scores_N], default_N)
    return {
        "images": len(scores_N),
        "score": float(scores_N.mean()),
        "standard_error": standard_error(scores_N),
        "difference": difference.mean,
        "difference_standard_error": difference.standard_error,
    }


# --- in words ------------------------------------------------------------------------------------------------------


def _because(choice: Choice, tried: Sequence[Settings], judged_on: str, metric: Metric) -> str:
    default, challenger = tried[DEFAULT], tried[choice.challenger]
    [name] = [name for name in default if default[name] != challenger[name]]
    other, own = f"{name} {challenger[name]:g}", f"{name} {default[name]:g}"
    if choice.diverged == {DEFAULT}:
        return f"{other} in place of {own}: training with {own} diverged"
    if choice.diverged:
        return f"{_stays(default)}: training with {other} diverged"
    error = choice.difference.standard_error
    written = f" (SE {metric.number(error)})" if math.isfinite(error) else ""  # one image has none
    figures = f"{_difference(choice.difference.mean, metric)}{written} on {judged_on}, by another seed"
    if choice.chosen != DEFAULT:
        return f"{other} in place of {own}: {figures}"
    return f"{_stays(default)}: {other} is {figures}, not better by more than one standard error"


def _judged_on(held: HeldOut, plan: Sequence[Rung]) -> str:
    """Say on which images the candidates of some rungs were compared: each rung is judged on one fold."""
    num_images, num_folds = _num_images(held, plan), len({rung.fold for rung in plan})
    images = f"{num_images} {held.of} image{'' if num_images == 1 else 's'}"
    return f"{images} in {num_folds} of {len(held.folds)} folds" if len(held.folds) > 1 else images


def _num_images(held: HeldOut, plan: Sequence[Rung]) -> int:
    return sum(len(held.folds[place].held_out_N) for place in {rung.fold for rung in plan})


def _stays(default: Settings) -> str:
    return f"{words_of(default)} {'stay' if len(default) > 1 else 'stays'}"


def _difference(value: float, metric: Metric) -> str:
    return f"{metric.signed(value)} {'points' if metric.unit == PERCENT else f'in {metric.name}'}"


def _too_short(plan: Sequence[Rung], of_training: int, tuning: TuningSettings) -> str:
    enough = math.ceil(sum(rung.size << rung.number for rung in plan) * tuning.min_steps / tuning.budget)
    return (
        f"a training takes {of_training} optimiser steps, so that trials would get {plan[0].steps}, and fewer than "
        f"{tuning.min_steps} tell nothing; set training.min_steps to {enough} or more, or raise tuning.budget"
    )


def _left_out(tried: Sequence[Settings], min_steps: int) -> list[str]:
    if not tried:
        return []
    return [f"not tried, as trials would have fewer than {min_steps} steps: {'; '.join(map(words_of, tried))}"]


def _repeated(lists: Mapping[str, Sequence[float]]) -> list[str]:
    return [
        f"tuning has {value:g} more than once among the values of {name}: it is tried once"
        for name, values in lists.items()
        for value in dict.fromkeys(values)
        if list(values).count(value) > 1
    ]
