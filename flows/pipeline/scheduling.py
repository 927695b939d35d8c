"""Which step is next: whatever has all it reads from, up to so many at once, and what becomes of the others when one
fails.

How a step is done is not known here. Where only one is done at a time, it is done by the caller's thread; else each by
a thread of its own, which does little but wait for a process (`flows.pipeline.process_pool`) or for workers elsewhere.
"""

import contextvars
import logging
import math
import time
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

from taskdistill.configs.errors import UserError
from taskdistill.configs.runtime import RuntimeConfig
from taskdistill.flows.ending.os_errors import explained
from taskdistill.flows.pipeline.planning import PlannedStep
from taskdistill.storage.manifest import ArtifactRef

log = logging.getLogger(__name__)

DoStep = Callable[[PlannedStep], ArtifactRef]
"""Sees to it that the artifact of a step is in the store, and returns its reference."""


class StepsFailedError(UserError):
    """Several steps failed; the message holds the errors of all of them."""


class Done(NamedTuple):
    """A step that came to its end."""

    step: PlannedStep
    ref: ArtifactRef
    seconds: float


class Awaited(NamedTuple):
    """Artifacts that somebody waits for, to whom each is told when it is there, in the thread of the caller."""

    refs: Collection[ArtifactRef]
    on_done: Callable[[Done], None]


NOTHING_AWAITED = Awaited((), lambda done: None)


class Elsewhere(NamedTuple):
    """How many steps others do at the same time, who take no slot here, and which."""

    number: int
    takes: Callable[[PlannedStep], bool]
    told: Callable[[RuntimeConfig], None] = lambda runtime: None
    """Called before the first step with how the run does its work, which they are to do theirs by."""


NOWHERE = Elsewhere(0, lambda step: False)


def run_ready(
    steps: Sequence[PlannedStep],
    do: DoStep,
    slots: int,
    awaited: Awaited = NOTHING_AWAITED,
    elsewhere: Elsewhere = NOWHERE,
) -> list[Done]:
    """Do all steps, `slots` at a time and as many more as others do elsewhere, each when those it needs are done;
    returns them in the order they were given. What is awaited is begun before whatever else is ready.

    A step that fails keeps those that need it from being begun, and no other. Raises its error in the end, or
    StepsFailedError where several failed. Of what is interrupted nothing is waited for: whoever does the steps ends
    them.
    """
    needs = needs_of(steps)
    # What takes longest must not begin last; where only one runs at a time the order is that of the plan.
    at_once = slots + elsewhere.number
    ways = _ways(steps, needs, awaited.refs) if at_once > 1 else dict.fromkeys(needs, 0)
    waiting = {step.name: step for step in steps}
    done: dict[str, Done] = {}
    failed: dict[str, BaseException] = {}
    running: dict[Future[Done], PlannedStep] = {}
    # Steps that need one that failed are never ready: they stay in `waiting`, and the loop ends as nothing runs.
    with _submitting(do, at_once) as submit:
        while True:
            ready = [step for step in waiting.values() if needs[step.name] <= done.keys()]
            # Of equal ways the first in the plan: `sorted` keeps their order. With one slot the step is over when
            # `submit` returns, and `wait` has nothing to wait for.
            longest_first = sorted(ready, key=lambda step: -ways[step.name])
            for step in _with_room(longest_first, running.values(), slots, elsewhere):
                running[submit(waiting.pop(step.name), done)] = step
            if not running:
                break
            over, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in over:
                name = running.pop(future).name
                if error := future.exception():
                    failed[name] = _is_of_the_step(error)
                    _remark(
                        name, error, others_go_on=bool(running) or any(needs[other] <= done.keys() for other in waiting)
                    )
                else:
                    done[name] = future.result()
                    if done[name].step.ref in awaited.refs:
                        awaited.on_done(done[name])
    if failed:
        raise _error_of(failed, list(waiting))
    return [done[step.name] for step in steps]


def _with_room(
    ready: Iterable[PlannedStep], running: Iterable[PlannedStep], slots: int, elsewhere: Elsewhere
) -> list[PlannedStep]:
    """Return which steps that are ready can begin beside those that are running, the first that are given first."""
    room = {False: slots, True: elsewhere.number}
    for step in running:
        room[elsewhere.takes(step)] -= 1
    begun = []
    for step in ready:
        if room[elsewhere.takes(step)] > 0:
            room[elsewhere.takes(step)] -= 1
            begun.append(step)
    return begun


def _ways(
    steps: Sequence[PlannedStep], needs: Mapping[str, set[str]], awaited: Collection[ArtifactRef]
) -> dict[str, float]:
    """Return by step what decides which is begun first: how long its way is, without end for what is awaited."""
    return {**ways_to_go(steps, needs), **{step.name: math.inf for step in steps if step.ref in awaited}}


def needs_of(steps: Sequence[PlannedStep]) -> dict[str, set[str]]:
    """Return the names of the steps that must be done before each: those it reads from, and one that makes the same
    artifact, as it would only wait for its lock.
    """
    needs: dict[str, set[str]] = {}
    for number, step in enumerate(steps):
        # A plan has the makers before the users, so those before are enough, and a circle cannot come about.
        read = {*step.inputs.values(), step.ref}
        needs[step.name] = {other.name for other in steps[:number] if other.ref in read}
    return needs


def widest(steps: Sequence[PlannedStep], elsewhere: Elsewhere = NOWHERE) -> int:
    """Return how many steps would be at work here side by side if all took equally long; 1 where they form a line."""
    depth: dict[str, int] = {}
    for name, needed in needs_of(steps).items():
        depth[name] = 1 + max((depth[other] for other in needed), default=0)
    levels = [depth[step.name] for step in steps if not elsewhere.takes(step)]
    return max((levels.count(level) for level in set(levels)), default=0)


def ways_to_go(steps: Sequence[PlannedStep], needs: Mapping[str, set[str]]) -> dict[str, int]:
    """Return how long the longest way is from the beginning of each step to the end of the run.

    How long steps take is not known. Each counts as the inputs it reads: a student that learns from more sources takes
    longer than one that learns from fewer, and preparing takes less than training.
    """
    ways = {step.name: len(step.inputs) for step in steps}
    # From the end: those that need a step come after it, so that their own ways are known by then.
    for step in reversed(steps):
        after = (ways[other] for other, needed in needs.items() if step.name in needed)
        ways[step.name] += max(after, default=0)
    return ways


@contextmanager
def _submitting(do: DoStep, at_once: int) -> Iterator[Callable[[PlannedStep, Mapping[str, Done]], Future[Done]]]:
    """Yield what begins a step: in this thread, where it is over when this returns, or in one of so many threads."""

    def timed(step: PlannedStep) -> Done:
        began = time.monotonic()
        ref = do(step)
        return Done(step, ref, round(time.monotonic() - began, 2))

    if at_once == 1:
        yield lambda step, done: _at_once(timed, _as_made(step, done))
        return
    threads = ThreadPoolExecutor(at_once, thread_name_prefix="slot")
    try:
        # Each thread is given the context of this one, by which Prefect knows the flow run a task run belongs to.
        yield lambda step, done: threads.submit(contextvars.copy_context().run, timed, _as_made(step, done))
    finally:
        # Waiting here would keep Ctrl-C from ending the run: each thread ends with what it waits for.
        threads.shutdown(wait=False, cancel_futures=True)


def _at_once(timed: Callable[[PlannedStep], Done], step: PlannedStep) -> Future[Done]:
    future: Future[Done] = Future()
    try:
        future.set_result(timed(step))
    except BaseException as error:  # raised again, at once or when the other steps are done
        future.set_exception(_is_of_the_step(error))
    return future


def _as_made(step: PlannedStep, done: Mapping[str, Done]) -> PlannedStep:
    """Let a step read what was really made: files may have changed since the plan named it."""
    made = {before.step.ref: before.ref for before in done.values()}
    return replace(step, inputs={role: made.get(ref, ref) for role, ref in step.inputs.items()})


def _is_of_the_step(error: BaseException) -> BaseException:
    """Return an error that is no matter of the other steps; raise any other, such as an interruption."""
    if not isinstance(error, Exception) or isinstance(error, BrokenPipeError):  # nobody reads what we say
        raise error
    return error


def _remark(name: str, error: BaseException, *, others_go_on: bool) -> None:
    """Say at once what else would be heard of only in the end: the first line for people, the last of a traceback."""
    if others_go_on:
        lines = _words(error).splitlines()
        line = lines[0] if isinstance(error, UserError | OSError) else lines[-1]
        log.error("%s failed; steps that do not need it go on. %s", name, line)


def _error_of(failed: Mapping[str, BaseException], not_begun: Sequence[str]) -> BaseException:
    if len(failed) == 1:
        return next(iter(failed.values()))
    errors = "\n".join(f"{name}: {_words(error)}" for name, error in failed.items())
    left_out = f"\nnot begun, as they need one of these: {', '.join(not_begun)}" if not_begun else ""
    return StepsFailedError(f"{len(failed)} steps failed\n{errors}{left_out}")


def _words(error: BaseException) -> str:
    """What a person is told of an error; of a fault of the program, where it is."""
    if isinstance(error, UserError):
        return str(error)
    words = explained(error) if isinstance(error, OSError) else ""
    return words or "".join(traceback.format_exception(error)).strip()
