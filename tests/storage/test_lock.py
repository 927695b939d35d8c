"""Two processes that want the same artifact: one makes it, and a dead one holds nobody up."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import IO

import pytest

from taskdistill.storage.errors import StillNeededError
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore

WANTED, OTHER = ArtifactRef("features", "a" * 64), ArtifactRef("features", "b" * 64)
HOLDER = """
import sys
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from pathlib import Path
with ArtifactStore(Path(sys.argv[1])).lock(ArtifactRef("features", "a" * 64)):
    print("has the lock", flush=True)
    sys.stdin.readline()
"""

Start = Callable[[], subprocess.Popen[str]]


@pytest.fixture
def start_holder(store: ArtifactStore) -> Iterator[Start]:
    """Starts processes that take the lock, say so, and keep it until told to let go."""
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        command = [sys.executable, "-c", HOLDER, str(store.root)]
        started.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def says_something_within(seconds: float, stream: IO[str] | None) -> bool:
    return bool(select.select([stream], [], [], seconds)[0])


def test_a_second_process_is_kept_out_while_the_first_holds_the_lock(store: ArtifactStore, start_holder: Start):
    holder = start_holder()
    assert says_something_within(30, holder.stdout)
    refused = pytest.raises(StillNeededError, match=r"features@aaaaaaaaaaaa is being built by another process")
    with refused, store.lock(WANTED, wait=False):
        pass


def test_a_lock_is_for_one_artifact(store: ArtifactStore, start_holder: Start):
    assert says_something_within(30, start_holder().stdout)
    with store.lock(OTHER, wait=False):
        pass


def test_a_lock_is_freed_when_its_holder_is_killed(store: ArtifactStore, start_holder: Start):
    holder = start_holder()
    assert says_something_within(30, holder.stdout)
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with store.lock(WANTED, wait=False):
        pass


def test_a_waiting_process_goes_on_when_the_first_lets_go(store: ArtifactStore, start_holder: Start):
    with store.lock(WANTED):
        waiting = start_holder()
        assert not says_something_within(1, waiting.stdout)
    assert says_something_within(30, waiting.stdout)


def test_an_artifact_is_not_removed_while_another_process_builds_it(store: ArtifactStore, start_holder: Start):
    store.draft(WANTED, {"stage": "extract", "inputs": {}})
    assert says_something_within(30, start_holder().stdout)
    with pytest.raises(StillNeededError):
        store.remove_draft(WANTED)
    assert WANTED in store.drafts()
