"""Stages as data, and the one function that runs them.

A stage is declared once (`tasks.catalog`) and run by flows, command line and tests through `execute`. It knows nothing
of Prefect, of where artifacts lie, or of whether there is anything to do: the store knows that.
"""

import importlib
import logging
import multiprocessing
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from taskdistill.configs.base import StageConfig
from taskdistill.configs.errors import UserError
from taskdistill.configs.runtime import RuntimeConfig
from taskdistill.storage.contents import Contents
from taskdistill.storage.errors import NotInStoreError, SourceChangedError
from taskdistill.storage.files import write_passing_json
from taskdistill.storage.fingerprint import fingerprint
from taskdistill.storage.kept_views import VIEWS
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import PROGRESS, ArtifactStore
from taskdistill.storage.summaries import Summary
from taskdistill.tasks.pace import PaceNotes
from taskdistill.tasks.prechecks.model_files import check_places

if TYPE_CHECKING:
    from taskdistill.tasks.sizes import Estimate, Known  # reads datasets, which a stage that is run need not

log = logging.getLogger(__name__)

C = TypeVar("C", bound=StageConfig)

Inputs = Mapping[str, ArtifactRef]
OnProgress = Callable[[str, int, int], None]
"""Called with a unit such as "images", how many are done, and how many there are."""
Dispatch = Callable[[Sequence[int], Callable[[], list[int]]], None]
"""Has partitions (shards, chunks) of a draft made elsewhere: called with their numbers, and a function that returns
which of them are still missing.
"""


class UnguardedScriptError(UserError, RuntimeError):
    """A script that works as soon as it is read, of which the worker processes that it starts read it too."""


def no_progress(unit: str, done: int, total: int) -> None:
    """Report to nobody."""


@dataclass(frozen=True)
class StageContext:
    """What a stage is given besides its settings."""

    inputs: Mapping[str, Path]
    """Role -> folder of the finished artifact."""
    draft: Path
    """Folder to write to; holds what an earlier attempt left."""
    runtime: RuntimeConfig
    content_digests: Mapping[str, str] = field(default_factory=dict)
    """Dotted name of each location in the config -> digest of the content it had when the recipe was written."""
    on_progress: OnProgress = no_progress
    dispatch: Dispatch | None = None
    """How partitions are handed to other workers, where there are any; stages without partitions ignore it."""
    views: Path | None = None
    """Folder of views that steps share once they are cut (storage.kept_views); None: each cuts its own."""


class Pictures(NamedTuple):
    """Pictures that a stage draws into its artifact for people to look at: reports show them (flows.reports)."""

    pattern: str
    """Of their file names, such as test-*.png; an artifact need not have any."""
    heading: str
    words: str = ""
    legend: str = ""
    """Pattern of text files that explain the pictures."""
    is_wide: bool = False
    """Whether each takes the width of a page."""


@dataclass(frozen=True)
class Stage(Generic[C]):
    """One kind of work, of which the pipeline has one step or several."""

    name: str
    version: int
    """Raise by one when the same config and inputs would now give other pixels, weights or numbers. Rounding, and how a
    table lies in its file, change with the versions of torch and pyarrow too, and do not count.
    """
    config_type: type[C]
    inputs: Mapping[str, str]
    """Role of each input -> the kind of artifact it must be."""
    output: str
    """Kind of artifact it makes."""
    run: str
    """`package.module:function`, called with (config, context), returning the summary; imported only when there is
    work.
    """
    contents: Contents
    """The files it writes: what else lies in a draft is not committed."""
    optional_inputs: Mapping[str, str] = field(default_factory=dict)
    pictures: tuple[Pictures, ...] = ()
    size: str = ""
    """`package.module:function`, called with (config, known) before anything is made, returning an Estimate
    (tasks.sizes); imports no torch.
    """

    def recipe(self, config: C, inputs: Inputs, content_digests: Mapping[str, str]) -> dict[str, Any]:
        """Return all that decides the bytes of the artifact, as plain JSON values.

        Raises NotInStoreError where an input is missing, or of another kind than the stage takes.
        """
        self._check_inputs(inputs)
        return {
            "stage": self.name,
            "version": self.version,
            "config": config.identity(),
            "external": dict(content_digests),
            "inputs": {role: ref.fingerprint for role, ref in inputs.items()},
        }

    def reference(self, config: C, inputs: Inputs, content_digests: Mapping[str, str]) -> ArtifactRef:
        return ArtifactRef(self.output, fingerprint(self.recipe(config, inputs, content_digests)))

    def load(self) -> Callable[[C, StageContext], Summary]:
        """Import the stage's function."""
        function: Callable[[C, StageContext], Summary] = _imported(self.run)
        return function

    def load_size(self) -> "Callable[[C, Known], Estimate]":
        """Import the function that estimates the size of its artifact."""
        function: Callable[[C, Known], Estimate] = _imported(self.size)
        return function

    def _check_inputs(self, inputs: Inputs) -> None:
        allowed = {**self.inputs, **self.optional_inputs}
        given = {role: ref.kind for role, ref in inputs.items()}
        if not self.inputs.keys() <= given.keys() or any(allowed.get(role) != kind for role, kind in given.items()):
            needed = ", ".join(f"{role} ({kind})" for role, kind in self.inputs.items())
            extra = ", ".join(f"{role} ({kind})" for role, kind in self.optional_inputs.items())
            found = ", ".join(f"{role} ({kind})" for role, kind in given.items())
            raise NotInStoreError(
                f"stage {self.name!r} needs the inputs {needed or 'none'}{f' and may have {extra}' if extra else ''}; "
                f"given: {found or 'none'}"
            )


def _imported(place: str) -> Any:
    """Return what `package.module:name` names."""
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


def content_digests_of(config: StageConfig, store: ArtifactStore) -> dict[str, str]:
    """Return the content digest of every place on disk a config points at."""
    check_places(config)
    return {name: store.sources.digest(path) for name, path in config.locations().items()}


def digests_of_wanted(
    wanted: ArtifactRef, stage: Stage[C], config: C, inputs: Inputs, store: ArtifactStore
) -> dict[str, str]:
    """Return the content digests of a config that another machine sent; NotInStoreError where its artifact would be
    another one here than the one that machine wants.
    """
    # The recipe is made anew from this machine's files: weights that differ here would go into an artifact named by
    # those of the machine that asks.
    content_digests = content_digests_of(config, store)
    found = stage.reference(config, inputs, content_digests)
    if found != wanted:
        raise NotInStoreError(
            f"asked for {wanted.short}, but with the files of this machine it would be {found.short}: give the worker "
            "the same weights and folders, and the same version of this program, as the run that asks"
        )
    return content_digests


@contextmanager
def forgetting_changed(config: StageConfig, store: ArtifactStore) -> Iterator[None]:
    """Where the block finds that files changed unseen, have them all read anew next time: "run again" must help."""
    try:
        yield
    except SourceChangedError:
        for path in config.locations().values():
            store.sources.forget(path)
        raise


def _check_script_is_guarded() -> None:
    # What multiprocessing itself looks at, but only where a process is started: here the script would first wait for
    # the lock of the process that waits for this one, for ever.
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise UnguardedScriptError(
            "a worker process reads the script that started it, and the script begins its work anew there: put what "
            'it does under `if __name__ == "__main__":`'
        )


def execute(
    stage: Stage[C],
    config: C,
    inputs: Inputs,
    *,
    store: ArtifactStore,
    runtime: RuntimeConfig,
    on_progress: OnProgress = no_progress,
    dispatch: Callable[[ArtifactRef], Dispatch] | None = None,
    noted: Mapping[str, Any] | None = None,
) -> ArtifactRef:
    """Return the artifact this recipe names, building it only if the store does not have it yet.

    Safe to call again after any death, and from several processes at once: they build it together, which is to say
    once. `dispatch` returns, for an artifact, how its partitions are handed to other workers; without it this process
    makes them. `noted` goes into the manifest beside what the store knows of who made it, such as the settings of the
    whole run, and decides nothing.

    Raises NotInStoreError where an input is missing or of another kind, SourceChangedError where files changed while
    they were read, and whatever the stage's own function raises; what it made so far stays in the draft. Raises
    UnguardedScriptError in a worker process that reads anew the script which asked for it.
    """
    _check_script_is_guarded()
    content_digests = content_digests_of(config, store)
    recipe = stage.recipe(config, inputs, content_digests)
    ref = ArtifactRef(stage.output, fingerprint(recipe))
    if ref in store:  # asked before the lock, so that a finished artifact never waits for anybody
        return ref
    for source in inputs.values():
        store.manifest(source)  # one of a newer version is refused before anything is made
    folders = {role: store.path(source) for role, source in inputs.items()}
    with store.lock(ref), forgetting_changed(config, store):
        if ref in store or store.finish_commit(ref, stage.contents):  # while we waited, or by an earlier attempt
            return ref
        # As if it had begun when the first attempt did, and nothing had come between the attempts.
        began, is_first = time.monotonic() - _spent(store, ref), not store.draft_path(ref).is_dir()
        draft = store.draft(ref, recipe)
        log.info("%s: building %s", stage.name, ref.short)
        pace, dispatched = PaceNotes(), dispatch(ref) if dispatch else None
        note = _noting(draft, pace, on_progress, began)
        context = StageContext(folders, draft, runtime, content_digests, note, dispatched, store.root / VIEWS)
        summary = stage.load()(config, context).as_json()
        # How fast it was and by what, for `plan` to say how long another one takes. What an earlier attempt has made
        # goes by faster than it was made.
        summary |= {"seconds": round(time.monotonic() - began, 1), "device": runtime.device, "hands": runtime.hands}
        summary |= {"pace": pace.as_json()} if is_first else {}
        made: dict[str, Any] = {"recipe": recipe, "inputs": inputs, "summary": summary, "contents": stage.contents}
        store.commit(ref, **made, **{"settings": {}, **(noted or {})})
    log.info("%s: made %s in %.0f s", stage.name, ref.short, summary["seconds"])
    return ref


def _spent(store: ArtifactStore, ref: ArtifactRef) -> float:
    """Return the seconds that earlier attempts took, as far as they said so."""
    return float(store.progress(ref).get("seconds", 0.0))


def _noting(draft: Path, pace: PaceNotes, on_progress: OnProgress, began: float) -> OnProgress:
    """Also note the pace, and write progress into the draft, at most once a second, for `plan` to show and for the next
    attempt to go on counting.
    """
    # A write at each step would be slower than the step; `plan` is read by people, for whom a second is soon enough.
    last = 0.0

    def note(unit: str, done: int, total: int) -> None:
        nonlocal last
        on_progress(unit, done, total)
        pace.add(unit, done)
        if time.monotonic() - last >= 1:
            last = time.monotonic()
            told = {"unit": unit, "done": done, "total": total, "seconds": round(last - began, 1)}
            write_passing_json(draft / PROGRESS, told)

    return note
