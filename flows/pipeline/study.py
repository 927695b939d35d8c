"""The points of a study as one graph: steps with the same fingerprint are one step, whichever points have it."""

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from taskdistill.configs.choices import nearest
from taskdistill.configs.counting import counted
from taskdistill.configs.errors import SettingsError
from taskdistill.configs.experiment import Experiment
from taskdistill.configs.overrides import kind_of
from taskdistill.configs.study import MODEL, Study, Variant, short_name
from taskdistill.configs.study_loading import Point
from taskdistill.flows.pipeline.chain import ModelResult
from taskdistill.flows.pipeline.planning import Plan, PlannedStep, make_plans
from taskdistill.flows.pipeline.running import NOBODY, AskedBy, ShowStep, run_plans
from taskdistill.flows.pipeline.scheduling import NOWHERE, Elsewhere
from taskdistill.flows.pipeline.study_rungs import (
    check_comparable,
    compared_students,
    going_on,
    num_going_on,
    with_first_seed,
)
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore

log = logging.getLogger(__name__)


class StudyPlan(NamedTuple):
    """What a study would do."""

    study: Study
    points: Sequence[Point]
    plans: list[Plan]
    """Of each point, in the same order."""
    steps: list[PlannedStep]
    """Of all points, each artifact once, makers before users."""
    said: list[str]
    """A sentence for what a person should know of the points."""
    stopped: frozenset[int] = frozenset()
    """The places of the points that have their first seed alone, as others were better by it."""
    every_seed: Sequence[PlannedStep] = ()
    """Of a first rung, whose scores decide which points go on: the steps of all points with all their seeds."""

    @property
    def is_first_rung(self) -> bool:
        return bool(self.every_seed)

    @property
    def variants(self) -> list[Variant]:
        return [point.variant for point in self.points]

    @property
    def num_unshared(self) -> int:
        """How many steps the points would be, run each on its own in a store of its own."""
        return sum(len({step.ref for step in plan.steps}) for plan in self.plans)

    @property
    def is_complete(self) -> bool:
        return all(step.action == "have" for step in self.steps)


class StudyRun(NamedTuple):
    """What a study made."""

    planned: StudyPlan
    results: list[list[ModelResult]]
    """Of each point."""
    stages: list[dict[str, Any]]
    """What was done for each step."""


def plan_study(study: Study, points: Sequence[Point], store: ArtifactStore) -> StudyPlan:
    """Name every artifact of all points and say what there is to do. Of a study with `halving` that is the first rung,
    until all of it is in the store: then it is known which points go on.

    Raises SettingsError where no model is scored, a factor changes nothing, the baseline names no model or `halving`
    has nothing to compare by, and what `make_plan` raises.
    """
    if not study.halving:
        return _planned(study, points, store)
    check_comparable(points)
    first = _planned(study, [with_first_seed(point) for point in points], store)
    if not any(map(compared_students, first.plans)):
        raise SettingsError("halving: this study trains no student, and nothing else has seeds: leave halving out")
    if not first.is_complete:
        said = [*first.said, _rungs_in_words(first, points)]
        return first._replace(points=points, said=said, every_seed=_merged_plan(study, points, store).steps)
    kept = set(going_on(study, first.plans, store))
    whole = [point if number in kept else with_first_seed(point) for number, point in enumerate(points)]
    second = _merged_plan(study, whole, store)
    said = [*first.said, _rungs_in_words(first, points)]
    return second._replace(points=points, said=said, stopped=frozenset(range(len(points))) - kept)


def run_study(
    planned: StudyPlan,
    store: ArtifactStore,
    show: ShowStep,
    *,
    asked_by: AskedBy = NOBODY,
    elsewhere: Elsewhere = NOWHERE,
) -> StudyRun:
    """Make whatever is missing, on as many slots as `runtime` of the study says; raises what `run_plan` raises."""
    how: dict[str, Any] = {"asked_by": asked_by, "elsewhere": elsewhere}
    results, stages = run_plans(planned.plans, planned.steps, store, show, **how)
    if not planned.is_first_rung:
        return StudyRun(planned, results, stages)
    to_come = plan_study(planned.study, planned.points, store)
    log.info("%s", to_come.said[-1])
    second = run_study(to_come, store, show, **how)
    made = {stage["reference"] for stage in stages}
    return second._replace(stages=[*stages, *(stage for stage in second.stages if stage["reference"] not in made)])


def _planned(study: Study, points: Sequence[Point], store: ArtifactStore) -> StudyPlan:
    planned = _merged_plan(study, points, store)
    _check_something_is_scored(study, planned.plans)
    _check_baseline(study, planned.plans)
    _check_factors_change_something(planned.variants, planned.plans)
    return planned._replace(said=list(_alike(planned.variants, planned.plans)))


def _merged_plan(study: Study, points: Sequence[Point], store: ArtifactStore) -> StudyPlan:
    variants = [point.variant for point in points]
    titles = [f"point {number} ({variant})" for number, variant in enumerate(variants, 1)]
    plans = make_plans([point.experiment for point in points], store, until=study.until, titles=titles)
    return StudyPlan(study, points, plans, _merged(variants, plans), [])


def _rungs_in_words(first: StudyPlan, points: Sequence[Point]) -> str:
    seed, *others = points[0].experiment.seeds
    number = num_going_on(first.study, len(points))
    went, when = ("have gone", "") if first.is_complete else ("go", ", which is planned when the first is made")
    return (
        f"halving: all {len(points)} points are made with seed {seed}; the best {number} of them on validation {went} "
        f"on with seed{'s' if len(others) > 1 else ''} {', '.join(map(str, others))}{when}"
    )


def _check_something_is_scored(study: Study, plans: Sequence[Plan]) -> None:
    if not any(plan.results for plan in plans):
        raise SettingsError(
            f"until: with {study.until!r} as the last step no model is scored, and a study is a table of scores. Name "
            "a step that evaluates, such as evaluate-teacher or evaluate-student-probed, or leave until out"
        )


def _check_baseline(study: Study, plans: Sequence[Plan]) -> None:
    models, named = {result.model for plan in plans for result in plan.results}, study.baseline.get(MODEL)
    if named is not None and named not in models:
        raise SettingsError(f"baseline: there is no model {named!r} in this study{nearest(str(named), models)}")


def _merged(variants: Sequence[Variant], plans: Sequence[Plan]) -> list[PlannedStep]:
    """Return each artifact's step once, under a name of its own."""
    first: dict[ArtifactRef, PlannedStep] = {}
    users = defaultdict[ArtifactRef, list[Variant]](list)
    for variant, plan in zip(variants, plans, strict=True):
        for ref, step in {step.ref: step for step in reversed(plan.steps)}.items():
            users[ref].append(variant)
            first.setdefault(ref, step)
    in_order = dict.fromkeys(step.ref for plan in plans for step in plan.steps)
    names = _names([first[ref] for ref in in_order], users)
    return [
        replace(first[ref], name=names[ref], place=f"{number} of {len(in_order)}")
        for number, ref in enumerate(in_order, 1)
    ]


def _names(steps: Sequence[PlannedStep], users: Mapping[ArtifactRef, Sequence[Variant]]) -> dict[ArtifactRef, str]:
    """Return a name for each artifact: that of its step, and where several have that, the levels that all who use it
    have in common.
    """
    by_name = defaultdict[str, list[ArtifactRef]](list)
    for step in steps:
        by_name[step.name].append(step.ref)
    names: dict[ArtifactRef, str] = {}
    taken: set[str] = set()
    for name, refs in by_name.items():
        for ref in refs:
            levels = in_words(common_levels(users[ref])) if len(refs) > 1 else ""
            wanted = f"{name} [{levels}]" if levels else name
            number = next(count for count in range(1, len(steps) + 2) if _numbered(wanted, count) not in taken)
            names[ref] = _numbered(wanted, number)
            taken.add(names[ref])
    return names


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name} #{number}"


def common_levels(variants: Sequence[Variant]) -> dict[str, str]:
    """Return the levels that all of these have: what a model or a step that they share depends on, at most."""
    first = variants[0].levels
    return {
        factor: level for factor, level in first.items() if all(variant.levels[factor] == level for variant in variants)
    }


def in_words(levels: Mapping[str, str]) -> str:
    """Return levels such as "temperature 2, alpha 0.5"."""
    return ", ".join(f"{short_name(factor, levels)} {level}" for factor, level in levels.items() if level)


def _check_factors_change_something(variants: Sequence[Variant], plans: Sequence[Plan]) -> None:
    """Raise SettingsError for a factor whatever level of which makes the same artifacts."""
    made = [frozenset(step.ref for step in plan.steps) for plan in plans]
    for factor in variants[0].levels:
        groups = defaultdict[tuple[str, ...], list[int]](list)
        for place, variant in enumerate(variants):
            groups[tuple(level for name, level in variant.levels.items() if name != factor)].append(place)
        # Where no two points differ in this factor alone, as in a list of points, nothing can be said of it.
        compared = [
            places for places in groups.values() if len({variants[place].levels[factor] for place in places}) > 1
        ]
        if compared and all(len({made[place] for place in places}) == 1 for places in compared):
            levels = ", ".join(dict.fromkeys(variant.levels[factor] or "as it is" for variant in variants))
            if all(_are_equal([plans[place] for place in places]) for places in compared):
                raise SettingsError(f"{factor} changes nothing: its values ({levels}) are equal. Leave it out")
            kind = kind_of(factor, Experiment, factor)
            same = "the same is in these places, or " if kind and kind.is_location else ""
            raise SettingsError(
                f"{factor} changes nothing: with {levels} the same artifacts are made, as {same}no step of this study "
                "reads it. Leave it out, or change the settings by which it is read"
            )


def _are_equal(plans: Sequence[Plan]) -> bool:
    """Whether the settings of all are the same once they are read, however they were written."""
    return len({plan.experiment.model_dump_json() for plan in plans}) == 1


def _alike(variants: Sequence[Variant], plans: Sequence[Plan]) -> Iterator[str]:
    """Say which points are the same experiment."""
    groups = defaultdict[frozenset[ArtifactRef], list[tuple[Variant, Plan]]](list)
    for variant, plan in zip(variants, plans, strict=True):
        groups[frozenset(step.ref for step in plan.steps)].append((variant, plan))
    if same := [group for group in groups.values() if len(group) > 1]:
        (one, its_plan), (other, other_plan), *_ = same[0]
        equal = _are_equal([its_plan, other_plan])
        why = "all their values are equal" if equal else "they differ in what no step reads"
        yield (
            f"{len(variants)} points are {counted(len(groups), 'experiment')}: ({one}) and ({other}) are the same, as "
            f"{why}. Each is made once"
        )
