"""How the command line ends when it is stopped, when nobody reads it, and when the system fails it."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from taskdistill.configs.experiment import Experiment
from taskdistill.flows.ending.os_errors import explained
from taskdistill.flows.pipeline.planning import make_plan
from taskdistill.storage.locks import locked
from taskdistill.storage.store import ArtifactStore
from tests.failing_calls import failing
from tests.flows.conftest import Done, call
from tests.signals import heed_signals

AGAIN = "stopped; the same command continues where it was\n"


def child(command: list[str], **named: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=heed_signals, **named)


@contextmanager
def started(store: Path, *arguments: str, before: str = "") -> Iterator[subprocess.Popen[str]]:
    """The command line in a process of its own; `before` is what a shell does first."""
    command = ["sh", "-c", f'{before} exec "$@"', "sh", sys.executable, "-m", "taskdistill.flows.cli", *arguments]
    environment = os.environ | {"TASKDISTILL_STORE": str(store)}
    process = child(command, env=environment, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def waiting_for(experiment: Experiment, store: ArtifactStore) -> Iterator[Path]:
    """A store in which the image-set is being made by somebody else, so that a run waits for it."""
    with store.lock(make_plan(experiment, store).steps[0].ref):
        yield store.root


def test_who_is_stopped_while_it_measures_is_told_that_nothing_of_it_stays(store: ArtifactStore, preset: str) -> None:
    with (
        locked(store.root / "locks" / "calibration", "busy"),
        started(store.root, "plan", preset, "--calibrate") as process,
    ):
        when_it_reads(process, store.root / "locks" / "calibration")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.endswith("stopped; nothing was measured, and the same command begins anew\n")


def when_it_reads(process: subprocess.Popen[str], file: Path) -> None:
    deadline, seen = time.monotonic() + 60, psutil.Process(process.pid)
    while str(file) not in [opened.path for opened in seen.open_files()]:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def when_it_waits(process: subprocess.Popen[str]) -> None:
    assert process.stderr
    line = ""
    while "waiting for it" not in line:
        line = process.stderr.readline()
        assert line, "it ended before it waited"


# --- stopped -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "before"),
    [
        (signal.SIGINT, ""),
        (signal.SIGTERM, ""),
        (signal.SIGHUP, ""),
        (signal.SIGTERM, "trap '' INT HUP;"),
    ],
    ids=["Ctrl-C", "SIGTERM", "terminal closed", "SIGTERM in the background"],
)
def test_a_stopped_run_says_that_the_same_command_continues(
    waiting_for: Path, preset: str, number: signal.Signals, before: str
) -> None:
    with started(waiting_for, "stage", "ingest", preset, before=before) as process:
        when_it_waits(process)
        process.send_signal(number)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 128 + number
    assert said.endswith(AGAIN)
    assert "Traceback" not in said


def test_a_run_in_the_background_ignores_a_ctrl_c_that_is_meant_for_others(waiting_for: Path, preset: str) -> None:
    with started(waiting_for, "stage", "ingest", preset, before="trap '' INT;") as process:
        when_it_waits(process)
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=1)


def test_planning_is_stopped_in_words_too(experiment: Experiment, store: ArtifactStore, tmp_path: Path) -> None:
    """In the midst of reading a large file for its digest."""
    (tmp_path / "images").mkdir()
    large = tmp_path / "images" / "large.png"
    with large.open("wb") as file:
        file.truncate(2**36)
    settings = ["--set", f"data.path={tmp_path / 'images'}"]
    store.root.mkdir()
    with started(store.root, "plan", "small-cpu", *settings) as process:
        when_it_reads(process, large)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    assert (process.returncode, said) == (130, AGAIN)


@pytest.mark.parametrize("seconds", [0.2, 0.4, 0.6, 0.8])
def test_it_is_stopped_in_words_while_it_is_still_starting(store: ArtifactStore, seconds: float) -> None:
    store.root.mkdir()
    code = "from taskdistill.flows.entry import main\nprint('ready', flush=True)\nmain()"
    command = [sys.executable, "-c", code, "plan", "small-cpu", "--set", "data.path=/dev/null/nothing"]
    process = child(command, stderr=subprocess.PIPE)
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    time.sleep(seconds)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=20)
    assert "Traceback" not in said
    assert (process.returncode, said) == (143, AGAIN) or "/dev/null/nothing" in said  # it was faster


def test_it_is_stopped_in_words_while_the_commands_are_put_together() -> None:
    code = (
        "import os, signal\nimport taskdistill.flows.cli\nfrom taskdistill.flows.entry import main\n"
        "taskdistill.flows.cli.main = lambda: os.kill(os.getpid(), signal.SIGTERM)\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (143, AGAIN)


SWALLOWS = """
import time
from taskdistill.flows.ending.interruption import arrived, stopped_by_signals
with stopped_by_signals():
    try:
        print("ready", flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        pass
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        arrived()
        time.sleep(2.5)
        print("in the end", flush=True)
"""


def test_an_interruption_that_a_library_swallows_comes_again() -> None:
    process = child([sys.executable, "-c", SWALLOWS])
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=20)[0] == "in the end\n"
    assert process.returncode == 0


SLOW_TO_END = """
import sys, time
from taskdistill.flows.ending.interruption import stopped_by_signals
with stopped_by_signals():
    try:
        print("ready", flush=True)
        time.sleep(60)
    finally:
        print("ending", flush=True)
        time.sleep(60)
"""


def test_a_second_signal_ends_at_once() -> None:
    process = child([sys.executable, "-c", SLOW_TO_END])
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "ending\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == -signal.SIGINT
    process.stdout.close()


# --- nobody reads it ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["list"], ["list", "--json"], ["show", "REFERENCE"]], ids=" ".join)
def test_a_reader_that_has_enough_is_no_error(first_run: tuple[Path, Done], arguments: list[str]) -> None:
    root, _ = first_run
    reference = str(ArtifactStore(root).references()[0])
    with started(root, *(reference if text == "REFERENCE" else text for text in arguments)) as process:
        assert process.stdout
        process.stdout.close()
        assert process.wait(timeout=30) == 128 + signal.SIGPIPE
        assert process.stderr
        assert process.stderr.read() == ""


# --- the system fails it -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_store_without_locks_is_refused_before_the_work(store: ArtifactStore, preset: str, number: int) -> None:
    done = run(failing("flock", number, "run", preset), store)
    assert done.code == 1
    assert f"error: the file system of the store {store.root} gives no locks ({os.strerror(number)})" in done.stderr
    assert "put the store on a local disk or on NFS 4" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_disk_that_fails_is_told_from_one_that_is_full(store: ArtifactStore, preset: str) -> None:
    store.root.mkdir()
    done = run(failing("fsync", errno.EIO, "plan", preset), store)
    assert done.code == 1
    assert "error: the disk, or the file system, failed ([Errno 5] Input/output error)" in done.stderr
    assert "taskdistill verify" in done.stderr
    assert done.stderr.count("\n") == 1


def test_in_a_store_that_can_only_be_read_what_is_there_is_used_and_nothing_more_is_promised(
    first_run: tuple[Path, Done], preset: str, tiny_disk: Path
) -> None:
    subprocess.run(["mount", "-o", "remount,size=64m", str(tiny_disk)], check=True)
    shutil.copytree(first_run[0], tiny_disk / "store")
    shutil.rmtree(tiny_disk / "store" / "sources")  # so that there is something it would like to write
    subprocess.run(["mount", "-o", "remount,ro", str(tiny_disk)], check=True)
    store = ArtifactStore(tiny_disk / "store")

    student = next(ref for ref in store.references("model"))
    for arguments in (["list"], ["show", student.short], ["plan", preset], ["run", preset], ["verify"]):
        done = call(store, *arguments)
        assert (done.code, "Traceback" in done.stderr) == (0, False), arguments
    planned = run([sys.executable, "-m", "taskdistill.flows.cli", "plan", preset], store)
    assert "warning: digests cannot be remembered in the store" in planned.stderr

    more = call(store, "run", preset, "--set", "seeds=[5]")
    assert more.code == 1
    assert f"error: nothing can be made in the store {store.root} (Read-only file system" in more.stderr
    assert "have" not in more.stderr
    for refused in (["label", "best", student.short], ["discard", student.short, "--with-dependents"]):
        done = call(store, *refused)
        assert done.code == 1
        assert "error: the file system can only be read" in done.stderr


def test_a_file_in_place_of_the_store_is_one_sentence(preset: str, tmp_path: Path) -> None:
    (tmp_path / "[red]store").write_text("")
    for arguments in (["list"], ["plan", preset], ["run", preset], ["verify"], ["collect"]):
        done = call(ArtifactStore(tmp_path / "[red]store"), *arguments)
        assert done.code == 1
        assert done.stderr == (
            f"error: the store {tmp_path}/[red]store is a file: let TASKDISTILL_STORE name a folder\n"
        )


def run(command: list[str], store: ArtifactStore) -> Done:
    environment = os.environ | {"TASKDISTILL_STORE": str(store.root)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left", "/a"), "the disk is full (No space left: /a)."),
        (OSError(errno.EDQUOT, "Quota", "/a"), "the disk is full, or your share of it (quota) (Quota: /a)."),
        (PermissionError(errno.EACCES, "Denied", "/a [b]"), "this user may not do that (Denied: /a [b])."),
        (OSError(errno.EROFS, "Read-only", "/a", None, "/b"), "can only be read (Read-only: /a to /b)."),
        (OSError(errno.EMFILE, "Too many"), "too many files are open ([Errno 24] Too many)."),
        (
            OSError(errno.ESTALE, "Stale", b"/\xff"),
            "a file on another machine is no longer what it was (Stale: /\udcff)",
        ),
    ],
)
def test_an_error_of_the_system_names_the_path_and_what_to_do(error: OSError, words: str) -> None:
    assert words in explained(error)
    assert "run the same command again" in explained(error)


@pytest.mark.parametrize(
    "error",
    [
        OSError("no number"),
        OSError(errno.EEXIST, "File exists", "/a"),
        ConnectionRefusedError(errno.ECONNREFUSED, "no"),
    ],
)
def test_any_other_error_is_a_fault_of_the_program_and_keeps_its_traceback(error: OSError) -> None:
    assert explained(error) == ""
