"""Turns of a device: who computes keeps others from it, and nobody who is dead does."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

from taskdistill.configs.data import IngestConfig
from taskdistill.storage.errors import StillNeededError
from taskdistill.storage.locks import locked
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.upkeep import discard
from taskdistill.tasks.catalog import EXTRACT, INGEST
from taskdistill.tasks.cores import num_cores
from taskdistill.tasks.stage import execute
from taskdistill.tasks.turns import DEVICES, GPUS, cpu_turns, take_turn, take_turns, taking_turns
from tests.conftest import RUNTIME, Bench
from tests.tasks.test_partitions import CONFIG

TAKES_A_TURN = """
import logging, subprocess, sys
from pathlib import Path
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.cores import num_cores
from taskdistill.tasks.turns import take_turn, taking_turns

logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
with taking_turns(ArtifactStore(Path(sys.argv[1])), ["cuda"]):
    take_turn("cuda", sys.argv[2:], lambda: None)
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"])
    print("has it", child.pid, flush=True)
    sys.stdin.read()
"""


@contextmanager
def another(store: ArtifactStore, *names: str) -> Iterator[subprocess.Popen[str]]:
    """A process that takes its turn, and then waits with a child of its own, as long as the block lasts."""
    command = [sys.executable, "-c", TAKES_A_TURN, str(store.root), *names]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            assert process.stdin
            process.stdin.close()  # at which both end


def says(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def is_free(store: ArtifactStore, name: str) -> bool:
    try:
        with locked(store.root / "locks" / f"turn-{name}", "", wait=False):
            return True
    except StillNeededError:
        return False


def test_a_dead_process_keeps_nobody_from_a_gpu_though_its_child_lives(store: ArtifactStore) -> None:
    with another(store, "gpu-A") as first:
        child = psutil.Process(int(says(first).removeprefix("has it ")))
        with another(store, "gpu-A") as second:
            assert says(second) == "gpu-A is at work for other processes; waiting for it"
            first.kill()
            assert says(second).startswith("has it")
            assert child.is_running()


def test_of_several_turns_the_first_that_is_free_is_taken(store: ArtifactStore) -> None:
    with taking_turns(store, ["cuda"]):
        assert take_turn("cuda", ["one", "other"], lambda: None) == 0
        assert (is_free(store, "one"), is_free(store, "other")) == (False, True)
        with another(store, "one", "other") as second:
            assert says(second).startswith("has it")
            assert not is_free(store, "other")
    assert is_free(store, "one")


def test_two_runs_on_several_gpus_do_not_wait_for_the_first_of_them(store: ArtifactStore) -> None:
    gpus = [f"gpu-{letter}" for letter in "ABCD"]
    with another(store, *gpus) as first:
        assert says(first).startswith("has it")
        with taking_turns(store, GPUS):
            assert take_turn("cuda", gpus, lambda: None) == 1
            assert take_turn("cuda", gpus, lambda: None) == 1  # of one step, and of no other GPU meanwhile
            with another(store, *gpus) as third:
                assert says(third).startswith("has it")
            assert [is_free(store, gpu) for gpu in gpus] == [False, False, True, True]


def test_a_turn_is_taken_once_where_turns_are_taken_and_given_back_with_what_it_used(store: ArtifactStore) -> None:
    given_back: list[bool] = []
    assert take_turn("cuda", ["gpu-A"], lambda: given_back.append(True)) is None  # nobody asked for turns
    with taking_turns(store, GPUS):
        take_turn("cpu", ["cpu-0"], lambda: given_back.append(True))  # has room for many
        take_turn("cuda", ["gpu-A"], lambda: given_back.append(is_free(store, "gpu-A")))
        take_turn("cuda", ["gpu-A"], lambda: given_back.append(True))
        assert given_back == []
    assert given_back == [False]
    assert is_free(store, "gpu-A")


def test_a_cpu_has_a_turn_for_each_so_many_cores_and_one_at_least() -> None:
    assert len(cpu_turns(1)) == num_cores()
    assert len(cpu_turns(2)) == max(1, num_cores() // 2)
    assert len(cpu_turns(10_000)) == 1


def test_a_stage_that_computes_holds_a_turn_meanwhile_and_one_that_does_not_waits_for_none(
    bench: Bench, shapes_folder: Path
) -> None:
    names, seen = cpu_turns(1), list[int]()

    def on_progress(unit: str, done: int, total: int) -> None:
        seen.append(sum(is_free(bench.store, name) for name in names))

    discard(bench.store, bench.student_features, with_dependents=True)
    named = {"store": bench.store, "runtime": RUNTIME}
    with taking_turns(bench.store, DEVICES):
        execute(EXTRACT, CONFIG, {"images": bench.images}, on_progress=on_progress, **named)
    assert set(seen) == {len(names) - 1}

    with ExitStack() as others:
        for name in names:
            others.enter_context(locked(bench.store.root / "locks" / f"turn-{name}", ""))
        with taking_turns(bench.store, DEVICES):
            other = IngestConfig(path=str(shapes_folder), max_megapixels=70)
            assert execute(INGEST, other, {}, **named) in bench.store


def test_who_computes_on_two_gpus_takes_the_first_two_that_are_free_together(store: ArtifactStore) -> None:
    gpus = [f"gpu-{letter}" for letter in "DCBA"]  # numbered as this process sees them
    with another(store, "gpu-A") as other:
        assert says(other).startswith("has it")
        with taking_turns(store, GPUS):
            assert take_turns("cuda", gpus, lambda: None, count=2) == [1, 0]
            assert take_turn("cuda", gpus, lambda: None) == 1  # what it does by one process, it does on the first
            assert [is_free(store, gpu) for gpu in sorted(gpus)] == [False, True, False, False]
    assert is_free(store, "gpu-C")
    assert is_free(store, "gpu-D")


def test_who_has_the_first_of_its_gpus_waits_for_the_other(store: ArtifactStore) -> None:
    with another(store, "gpu-B") as other:
        assert says(other).startswith("has it")
        waiting = threading.Timer(0.5, other.kill)
        waiting.start()
        with taking_turns(store, GPUS):
            assert take_turns("cuda", ["gpu-A", "gpu-B", "gpu-C"], lambda: None, count=2) == [0, 1]
            assert waiting.finished.is_set()
            assert is_free(store, "gpu-C")
