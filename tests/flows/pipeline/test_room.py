"""A run that the disk cannot hold does not begin, and says what would help."""

import shutil
from collections import namedtuple

import pytest

from taskdistill.configs import choices
from taskdistill.configs.experiment import Experiment
from taskdistill.configs.foreign import ForeignTeacher
from taskdistill.configs.runtime import RuntimeConfig
from taskdistill.flows.pipeline import running
from taskdistill.flows.pipeline.planning import make_plan
from taskdistill.flows.pipeline.room import check_room, leaving_room
from taskdistill.flows.pipeline.running import run_plan, run_steps
from taskdistill.flows.pipeline.scheduling import NOWHERE
from taskdistill.storage.errors import NoRoomError
from taskdistill.storage.store import ArtifactStore
from tests.conftest import Bench
from tests.flows.conftest import call, quietly

Usage = namedtuple("Usage", "total used free")
DENSE = {"problem": "parts", "teacher_cache": "logits"}


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What is free on every disk; a test changes it."""
    free = [10**12]
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(2**40, 0, free[0]))
    return free


@pytest.fixture
def maps(monkeypatch: pytest.MonkeyPatch, experiment: Experiment) -> Experiment:
    """3 classes on 37 x 37 cells, of 24 images in 2 views and 24 in one."""
    monkeypatch.setitem(choices.PROBLEMS, "parts", "tests.contracts.dense_toy:Parts")
    monkeypatch.setitem(choices.OUTPUT_SIZES, "parts", "taskdistill.tasks.problems.output_sizes:of_maps")
    teacher = {"name": "vit_small_patch14_dinov2", "input_px": 518, "weights": "random"}
    # Of a network that is built in a way of its own, no weights are counted: the logits are most of what is made.
    student = {"name": "test_vit", "input_px": 160, "weights": "random", "arguments": {"mlp_ratio": 2}}
    settings = experiment.model_dump(by_alias=True) | DENSE | {"teacher": teacher, "student": student}
    return Experiment.model_validate(settings)


def test_the_size_of_maps_is_their_cells_in_two_bytes_or_one(maps: Experiment, store: ArtifactStore) -> None:
    sizes = {step.name: step.num_bytes for step in make_plan(maps, store).steps}
    assert sizes["precompute"] == (24 * 2 + 24) * (3 * 37 * 37 * 2 + 100)
    int8 = maps.model_copy(update={"logits": "int8"})
    sizes = {step.name: step.num_bytes for step in make_plan(int8, store).steps}
    assert sizes["precompute"] == (24 * 2 + 24) * (3 * 37 * 37 + 100)


def test_the_maps_of_a_network_made_elsewhere_are_counted_on_its_own_grid_or_not_at_all(
    maps: Experiment, store: ArtifactStore
) -> None:
    teacher = ForeignTeacher(
        function="tests.foreign_nets:build_parts", pixels="uint8", input_px=64, output_stride=8, label_map={"0": "disc"}
    )
    for stride, num_bytes in {8: (24 * 2 + 24) * (3 * 8 * 8 * 2 + 100), 0: None}.items():
        foreign = {
            "teacher_training": "foreign",
            "foreign_teacher": teacher.model_copy(update={"output_stride": stride}),
        }
        sizes = {step.name: step.num_bytes for step in make_plan(maps.model_copy(update=foreign), store).steps}
        assert sizes["precompute"] == num_bytes


def test_a_run_that_does_not_fit_is_refused_before_a_network_is_built(
    maps: Experiment, store: ArtifactStore, disk: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "ModelTrials", None)  # it would be called
    disk[0] = 500_000
    with pytest.raises(NoRoomError) as caught:
        run_plan(maps, store, quietly(maps, store))
    said = str(caught.value)
    assert "precompute 598.6 kB" in said
    assert f"the disk of the store {store.root} has 500.0 kB free. Free at least" in said
    assert "'taskdistill collect'" in said
    assert "TASKDISTILL_STORE" in said
    assert "logits=int8, which spares about" in said
    assert "fewer augmented views than views.num_views=2" in said
    assert store.references() == []


def test_views_that_are_kept_for_later_steps_are_named_as_what_may_be_deleted(
    maps: Experiment, store: ArtifactStore, disk: list[int]
) -> None:
    (store.root / "views" / "a").mkdir(parents=True)
    (store.root / "views" / "a" / "b.table").write_bytes(bytes(8192))
    disk[0] = 1000
    with pytest.raises(
        NoRoomError, match=r"shows what nothing needs, and the store's folder views, a cache of 8\.2 kB, may"
    ):
        check_room(make_plan(maps, store).steps, maps, store)


def test_a_run_that_takes_more_than_half_of_what_is_free_keeps_no_views_beside_it(
    experiment: Experiment, store: ArtifactStore, disk: list[int]
) -> None:
    steps, runtime = make_plan(experiment, store).steps, RuntimeConfig()
    needed = sum({step.ref: step.num_bytes or 0 for step in steps}.values())
    disk[0] = 2 * needed
    assert leaving_room(runtime, steps, store) == runtime
    disk[0] -= 1
    assert leaving_room(runtime, steps, store) == runtime.model_copy(update={"kept_views_mb": 0})


def test_those_who_do_steps_elsewhere_are_told_that_no_views_are_kept(
    experiment: Experiment, store: ArtifactStore, disk: list[int]
) -> None:
    ingest = make_plan(experiment, store).steps[0]
    disk[0] = 2 * (ingest.num_bytes or 0) - 1
    told: list[RuntimeConfig] = []
    elsewhere = NOWHERE._replace(told=told.append)
    run_steps(experiment, ingest.name, store, quietly(experiment, store), elsewhere=elsewhere)
    assert [runtime.kept_views_mb for runtime in told] == [0]


def test_int8_is_not_advised_to_whoever_has_it_or_to_whom_it_would_spare_nothing(
    maps: Experiment, experiment: Experiment, store: ArtifactStore, disk: list[int]
) -> None:
    disk[0] = 1000
    for asked in (maps.model_copy(update={"logits": "int8"}), experiment):
        with pytest.raises(NoRoomError) as caught:
            check_room(make_plan(asked, store).steps, asked, store)
        assert "logits=int8" not in str(caught.value)


def test_what_fits_is_let_through_to_the_byte(experiment: Experiment, store: ArtifactStore, disk: list[int]) -> None:
    steps = make_plan(experiment, store).steps
    disk[0] = sum({step.ref: step.num_bytes or 0 for step in steps}.values())
    check_room(steps, experiment, store)
    disk[0] -= 1
    with pytest.raises(NoRoomError, match="Free at least 1 B "):
        check_room(steps, experiment, store)


def test_what_is_there_needs_no_room_nor_does_what_a_draft_holds(
    experiment: Experiment, bench: Bench, disk: list[int]
) -> None:
    steps = [step for step in make_plan(experiment, bench.store).steps if step.action != "have"]
    largest = max(steps, key=lambda step: step.num_bytes or 0)
    disk[0] = sum(step.num_bytes or 0 for step in steps) - (largest.num_bytes or 0)
    with pytest.raises(NoRoomError):
        check_room(steps, experiment, bench.store)
    draft = bench.store.draft_path(largest.ref)
    draft.mkdir(parents=True)
    (draft / "begun").write_bytes(bytes(largest.num_bytes or 0))
    check_room(steps, experiment, bench.store)


def test_one_step_alone_is_asked_for_its_own_room(experiment: Experiment, bench: Bench, disk: list[int]) -> None:
    disk[0] = 10
    with pytest.raises(NoRoomError, match="finetune-seed0"):
        run_steps(experiment, "finetune-seed0", bench.store, quietly(experiment, bench.store))


def test_plan_shows_its_table_and_then_fails(store: ArtifactStore, preset: str, disk: list[int]) -> None:
    disk[0] = 1000
    for options in ([], ["--json"]):
        done = call(store, "plan", preset, *options)
        assert done.code == 1
        assert "precompute" in done.stdout
        assert done.stderr.splitlines()[-1].startswith("error: there is no room for this run: it makes about ")
