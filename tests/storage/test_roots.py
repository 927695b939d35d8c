"""Runs that are going on hold what they need; dead ones hold nothing."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.roots import Roots
from taskdistill.storage.store import ArtifactStore
from tests.storage.artifacts import commit

NEEDED = ArtifactRef("features", "a" * 64)
RUN = """
import sys
from pathlib import Path
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
print("ready", flush=True)
with ArtifactStore(Path(sys.argv[1])).roots.held([ArtifactRef("features", "a" * 64)]):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def run(store: ArtifactStore) -> Iterator[subprocess.Popen[str]]:
    """A process that holds an artifact until it is told to end."""
    command = [sys.executable, "-c", RUN, str(store.root)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert [process.stdout.readline() for _ in range(2)] == ["ready\n", "held\n"]
    yield process
    process.kill()
    process.communicate()


def held(roots: Roots) -> list[ArtifactRef]:
    with roots.removing() as runs:
        return [ref for run in runs for ref in run.refs]


def test_a_run_of_another_process_is_known_with_all_it_needs(store: ArtifactStore, run: subprocess.Popen[str]):
    with store.roots.removing() as runs:
        [found] = runs
    assert found.refs == {NEEDED}
    assert f"process {run.pid} on " in found.who


def test_a_run_that_ended_holds_nothing_and_leaves_nothing(store: ArtifactStore, run: subprocess.Popen[str]):
    run.communicate("end\n")
    assert held(store.roots) == []
    assert list((store.root / "roots").iterdir()) == []


def test_a_run_that_was_killed_holds_nothing_and_its_file_is_removed(store: ArtifactStore, run: subprocess.Popen[str]):
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    assert len(list((store.root / "roots").iterdir())) == 1
    assert held(store.roots) == []
    assert list((store.root / "roots").iterdir()) == []


def test_two_runs_of_one_process_hold_each_their_own(tmp_path: Path):
    roots, other = Roots(tmp_path), ArtifactRef("logits", "b" * 64)
    with roots.held([NEEDED]):
        with roots.held([other]):
            assert set(held(roots)) == {NEEDED, other}
        assert held(roots) == [NEEDED]


def test_a_run_that_fails_lets_go(tmp_path: Path):
    roots = Roots(tmp_path)
    with pytest.raises(RuntimeError), roots.held([NEEDED]):
        raise RuntimeError("the run failed")
    assert held(roots) == []


def test_a_new_run_waits_until_others_have_removed_what_they_remove(store: ArtifactStore):
    command = [sys.executable, "-c", RUN, str(store.root)]
    pipe = subprocess.PIPE
    with store.roots.removing(), subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        assert not list((store.root / "roots").glob("*"))
        process.kill()


LABEL = """
import sys
from pathlib import Path
from taskdistill.storage.store import ArtifactStore
store = ArtifactStore(Path(sys.argv[1]))
print("ready", flush=True)
store.label("best", store.references()[0])
print("labelled", flush=True)
"""


def test_a_label_is_not_set_while_others_remove_what_has_none(store: ArtifactStore):
    ref, pipe = commit(store, "model"), subprocess.PIPE
    command = [sys.executable, "-c", LABEL, str(store.root)]
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        with store.roots.removing():
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(1)
            store.remove(ref)
        _, said = process.communicate(timeout=60)
    assert f"{ref.short} is not in the store" in said
    assert store.labels() == {}
