"""What a study would do, before it does it: its points, and for each stage how much there is and what it costs."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table

from taskdistill.configs.counting import counted
from taskdistill.flows.pipeline.planning import PlannedStep
from taskdistill.flows.pipeline.study import StudyPlan
from taskdistill.flows.pipeline.work import Work
from taskdistill.flows.reports.plans import plan_row
from taskdistill.storage.files import bytes_in_words
from taskdistill.tasks.pace import taken


def study_words(planned: StudyPlan) -> list[str]:
    """Return the lines that say what a study is."""
    study, num_points = planned.study, len(planned.variants)
    factors = [
        f"  {name}: {', '.join(level or 'as it is' for level in levels)}" for name, levels in study.factors().items()
    ]
    steps = f"{counted(planned.num_unshared, 'step')} one by one, {len(planned.steps)} as the points share them"
    return [f"{study.name}: {num_points} points of {study.preset}, {steps}", *factors, *planned.said]


def stage_table(planned: StudyPlan, work: Mapping[str, Work]) -> Table:
    """Return a line for each stage: its steps, how many are there, and what the others take."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for column in ("stage", "steps", "have", "resume", "build", "time", "size"):
        table.add_column(column, justify="left" if column == "stage" else "right", no_wrap=True)
    by_stage = defaultdict[str, list[PlannedStep]](list)
    for step in planned.steps:
        by_stage[step.stage.name].append(step)
    for stage, steps in by_stage.items():
        actions = [step.action for step in steps]
        built = len(steps) - actions.count("have") - actions.count("resume")
        counts = (len(steps), actions.count("have"), actions.count("resume"), built)
        table.add_row(stage, *map(str, counts), _time([work[step.name] for step in steps]), _size(steps))
    return table


def study_plan_json(planned: StudyPlan, work: Mapping[str, Work]) -> dict[str, Any]:
    """Return the plan as plain JSON values: points with their levels, and every step."""
    return {
        "study": planned.study.name,
        "points": [dict(variant.levels) for variant in planned.variants],
        "said": planned.said,
        "steps_unshared": planned.num_unshared,
        "stages": [plan_row(step, work[step.name]) for step in planned.steps],
    }


def _time(works: list[Work]) -> str:
    known = [one.seconds for one in works if one.seconds is not None]
    if len(known) < len(works):
        return "?"
    return f"~{taken(sum(known))}" if sum(known) else ""


def _size(steps: list[PlannedStep]) -> str:
    missing = [step.num_bytes for step in steps if step.action != "have"]
    if None in missing:
        return "?"
    return f"~{bytes_in_words(sum(filter(None, missing)))}" if missing else ""
