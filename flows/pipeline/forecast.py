"""How long a whole run takes, by how long its steps take and how many are done at the same time."""

import heapq
from collections.abc import Mapping, Sequence

from taskdistill.configs.counting import counted
from taskdistill.flows.pipeline.planning import PlannedStep
from taskdistill.flows.pipeline.scheduling import needs_of, ways_to_go
from taskdistill.flows.pipeline.work import Work
from taskdistill.tasks.pace import taken

_NAMED = 3
"""Steps that are named; of more, how many there are."""


def unknown_of(steps: Sequence[PlannedStep], work: Mapping[str, Work]) -> list[str]:
    """Return the names of the steps that are missing and of which nobody knows how long they take."""
    return [step.name for step in steps if step.action != "have" and work[step.name].seconds is None]


def by_other_images(steps: Sequence[PlannedStep], work: Mapping[str, Work]) -> list[str]:
    """Return the names of the steps that are missing and of which only other images tell how long they take."""
    return [step.name for step in steps if step.action != "have" and work[step.name].is_by_other_images]


def other_images_in_words(names: Sequence[str]) -> str:
    """Say that the time of these steps goes by other images."""
    return f"For {_listed(names)} it goes by other images: of larger ones it takes longer, of smaller ones less."


def time_in_all(steps: Sequence[PlannedStep], work: Mapping[str, Work], slots: int) -> str:
    """Say how long the steps that are missing take, `slots` at a time, and of which of them nobody knows."""
    missing = [step for step in steps if step.action != "have"]
    unknown = unknown_of(steps, work)
    if len(unknown) == len(missing):
        return "How long it takes will be said here once something like it was made on this computer."
    at_once = f", {slots} steps at a time" if slots > 1 else ""
    time = f"{taken(seconds_in_all(missing, work, slots))} in all{at_once}"
    if not unknown:
        return f"About {time}."
    return (
        f"At least {time}; of {len(unknown)} of the {len(missing)} steps it is not known, as nothing like "
        f"{_listed(unknown)} was made on this computer yet."
    )


def _listed(names: Sequence[str]) -> str:
    others = f" and {counted(len(names) - _NAMED, 'other')}" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{others}"


def seconds_in_all(steps: Sequence[PlannedStep], work: Mapping[str, Work], slots: int) -> float:
    """Return when the last step ends if each begins as `scheduling.run_ready` has it begin; what nobody knows takes no
    time.
    """
    needs = needs_of(steps)
    ways = ways_to_go(steps, needs)
    # In the order of a plan a step comes after those it needs; of those that are ready the longest way goes first.
    waiting = sorted(needs, key=lambda name: -ways[name]) if slots > 1 else list(needs)
    running: list[tuple[float, str]] = []
    done: set[str] = set()
    now = 0.0
    while waiting or running:
        for name in [name for name in waiting if needs[name] <= done][: slots - len(running)]:
            waiting.remove(name)
            heapq.heappush(running, (now + (work[name].seconds or 0.0), name))
        now, name = heapq.heappop(running)
        done.add(name)
    return now
