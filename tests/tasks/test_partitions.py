"""Stages made of units: made in parts by several processes, they give the same files, and nothing is believed."""

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from taskdistill.configs import choices
from taskdistill.configs.stages import ExtractConfig
from taskdistill.storage.errors import NotInStoreError
from taskdistill.storage.files import read_json
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.upkeep import discard
from taskdistill.tasks.catalog import EXTRACT
from taskdistill.tasks.partitions import THROUGHPUTS, UnfinishedError, cut, make_partitions
from taskdistill.tasks.stage import Dispatch, execute
from tests import fakes
from tests.conftest import RUNTIME, STUDENT, TEACHER, VIEWS, Bench

CONFIG = ExtractConfig(backbone=STUDENT, views=VIEWS)
CHUNKS = [0, 1, 2]
"""One for the clean view of 24 images to judge by, and one for each of two views of 24 training images."""


def make_part(root: Path, images: ArtifactRef, wanted: ArtifactRef, numbers: Sequence[int]) -> int:
    """What a worker does, here or in a process of its own."""
    store = ArtifactStore(root)
    return make_partitions(EXTRACT, CONFIG, {"images": images}, numbers, wanted=wanted, store=store, runtime=RUNTIME)


@pytest.fixture
def without(bench: Bench) -> Bench:
    """The bench without the features that CONFIG makes."""
    discard(bench.store, bench.student_features, with_dependents=True)
    return bench


def extract(bench: Bench, dispatch: Dispatch) -> ArtifactRef:
    return execute(
        EXTRACT, CONFIG, {"images": bench.images}, store=bench.store, runtime=RUNTIME, dispatch=lambda ref: dispatch
    )


@dataclass
class Workers:
    """A spread that does only some of what it is asked, and remembers what that was."""

    bench: Bench
    done: Sequence[int]
    asked: list[list[int]] = field(default_factory=list)

    def __call__(self, missing: Sequence[int], still_missing: Callable[[], list[int]]) -> None:
        self.asked.append(list(missing))
        numbers = [number for number in missing if number in self.done]
        make_part(self.bench.store.root, self.bench.images, self.bench.student_features, numbers)


# --- cutting -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("numbers", "count", "spans"),
    [
        ([0, 1, 2, 3, 4, 5], 2, [[0, 1, 2], [3, 4, 5]]),
        ([0, 1, 2, 3, 4, 5, 6], 3, [[0, 1], [2, 3], [4, 5, 6]]),
        ([1, 4, 5, 9], 2, [[1, 4], [5, 9]]),
        ([3, 8], 5, [[3], [8]]),
        ([7], 1, [[7]]),
        ([], 4, []),
    ],
)
def test_numbers_are_cut_into_spans_of_nearly_equal_length(
    numbers: list[int], count: int, spans: list[list[int]]
) -> None:
    assert cut(numbers, count) == spans


# --- spread ------------------------------------------------------------------------------------------------------


def test_two_parts_make_the_very_files_that_one_makes(finished_bench: Bench, without: Bench) -> None:
    fixed = (without.store.root, without.images, without.student_features)

    def in_two_parts(missing: Sequence[int], still_missing: Callable[[], list[int]]) -> None:
        assert [make_part(*fixed, numbers) for numbers in (missing[2:], missing[:2])] == [1, 2]

    assert_made_like_the_bench(finished_bench, without, extract(without, in_two_parts))


@pytest.mark.slow
def test_two_processes_make_the_very_files_that_one_makes(finished_bench: Bench, without: Bench) -> None:
    fixed = (without.store.root, without.images, without.student_features)

    def in_two_processes(missing: Sequence[int], still_missing: Callable[[], list[int]]) -> None:
        with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
            parts = [pool.submit(make_part, *fixed, numbers) for numbers in (missing[:2], missing[2:])]
            assert [part.result() for part in parts] == [2, 1]

    assert_made_like_the_bench(finished_bench, without, extract(without, in_two_processes))


def assert_made_like_the_bench(bench: Bench, other: Bench, ref: ArtifactRef) -> None:
    assert ref == bench.student_features
    made, alone = other.store.manifest(ref), bench.store.manifest(ref)
    assert made.files == alone.files
    assert made.summary["encoder_forwards"] == alone.summary["encoder_forwards"] == 3 * 24


def test_what_workers_did_not_make_is_named_and_is_all_that_is_asked_next(without: Bench) -> None:
    with pytest.raises(UnfinishedError, match=r"2 of 3 chunks are not there, the first are \[0, 2\]"):
        extract(without, first := Workers(without, done=[1]))
    assert first.asked == [CHUNKS]
    assert without.student_features not in without.store

    ref = extract(without, second := Workers(without, done=CHUNKS))
    assert second.asked == [[0, 2]]
    assert without.summary(ref)["encoder_forwards"] == 3 * 24


def test_progress_is_what_is_there(without: Bench) -> None:
    said: list[tuple[str, int, int]] = []

    def dispatch(missing: Sequence[int], still_missing: Callable[[], list[int]]) -> None:
        for number in missing:
            make_part(without.store.root, without.images, without.student_features, [number])
            assert number not in still_missing()

    stage: Any = {"store": without.store, "runtime": RUNTIME, "dispatch": lambda ref: dispatch}
    execute(EXTRACT, CONFIG, {"images": without.images}, on_progress=lambda *done: said.append(done), **stage)
    assert said == [("chunks", 1, 3), ("chunks", 2, 3), ("chunks", 3, 3), ("chunks", 3, 3)]


def test_who_hands_everything_out_builds_no_network_with_weights(
    without: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither for shapes nor for the summary, nor to look into a draft; workers elsewhere build theirs."""
    monkeypatch.setitem(choices.MODEL_SOURCES, "timm", "tests.fakes:build_pooling_encoder")
    built: list[str] = []
    monkeypatch.setattr(fakes, "pooling_encoders_built", built)
    assert execute(EXTRACT, CONFIG, {"images": without.images}, store=without.store, runtime=RUNTIME)
    assert "cpu" in built  # so it would be seen
    discard(without.store, without.student_features, with_dependents=True)
    built.clear()

    def elsewhere(missing: Sequence[int], still_missing: Callable[[], list[int]]) -> None:
        assert set(built) <= {"meta"}
        make_part(without.store.root, without.images, without.student_features, missing[:1])
        assert built.count("cpu") == 1
        assert still_missing() == list(missing[1:])
        make_part(without.store.root, without.images, without.student_features, missing[1:])
        built.clear()

    extract(without, elsewhere)
    assert set(built) <= {"meta"}


# --- one span ----------------------------------------------------------------------------------------------------


@pytest.fixture
def begun(without: Bench) -> Bench:
    """The bench with a draft in which another process has begun what CONFIG makes."""
    recipe = EXTRACT.recipe(CONFIG, {"images": without.images}, {})
    without.store.draft(without.student_features, recipe)
    return without


def chunks_in(draft: Path) -> set[str]:
    """Return the part and the view, from 0, of each chunk."""
    found = (draft / "outputs.zarr").glob("*/outputs/c/*/*/0/0")
    return {f"{path.parts[-7]} {path.parts[-3]}" for path in found}


def test_a_span_makes_its_units_once_and_no_others(begun: Bench) -> None:
    fixed = (begun.store.root, begun.images, begun.student_features)
    assert make_part(*fixed, [1, 2]) == 2
    draft = begun.store.draft_of(begun.student_features)
    assert chunks_in(draft) == {"augmented 0", "augmented 1"}
    assert read_json(draft / THROUGHPUTS / "1-2.json")["images"] == 2 * 24
    assert make_part(*fixed, [1, 2]) == 0
    assert read_json(draft / THROUGHPUTS / "1-2.json")["images"] == 2 * 24


def test_a_part_of_what_other_files_or_settings_make_is_refused(begun: Bench) -> None:
    wanted = begun.student_features
    other = CONFIG.model_copy(update={"backbone": TEACHER})
    with pytest.raises(NotInStoreError, match=f"asked for {wanted.short}, but with the files of this machine"):
        make_partitions(
            EXTRACT, other, {"images": begun.images}, [0], wanted=wanted, store=begun.store, runtime=RUNTIME
        )
    assert chunks_in(begun.store.draft_of(wanted)) == set()


def test_a_worker_on_another_store_is_told_which_store_it_looked_into(bench: Bench) -> None:
    with pytest.raises(NotInStoreError, match=r"is not being made in the store .*: set TASKDISTILL_STORE"):
        make_part(bench.store.root, bench.images, bench.student_features, [0])
