"""A process that waits for a run becomes it: found by the run's id, in its folder, with its variables, and with the
program as it is on the disk.
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from taskdistill.flows.operation.spare import NO_RUN, RUN_ID

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="the variables of a process are seen under /proc"),
]

ID = "0f0f0f0f-1111-2222-3333-444444444444"
SECONDS = 240.0
"""For importing Prefect and our flows on a busy machine."""


@pytest.fixture
def variables(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a worker, whose server takes calls and answers none: so a run stays at its beginning."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        own = {
            "PREFECT_API_URL": f"http://127.0.0.1:{server.getsockname()[1]}/api",
            "PREFECT_HOME": str(tmp_path / "home"),
            "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
        }
        yield {name: text for name, text in os.environ.items() if not name.startswith("PREFECT_")} | own


@pytest.fixture
def spare(variables: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    name, _, value = NO_RUN.partition("=")
    command = [sys.executable, "-P", "-m", "taskdistill.flows.operation.child", "taskdistill.flows.operation.spare"]
    with subprocess.Popen(command, env={**variables, name: value}, stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def hand_over(process: subprocess.Popen[bytes], variables: Mapping[str, str], folder: Path) -> None:
    assert process.stdin
    process.stdin.write(json.dumps({"environment": {**variables, RUN_ID: ID}, "folder": str(folder)}).encode() + b"\n")
    process.stdin.close()


def seen(process: subprocess.Popen[bytes], what: str) -> list[str]:
    """What the kernel shows of a process: its variables, or its command."""
    return Path(f"/proc/{process.pid}/{what}").read_text().split("\0")


def until(happened: Callable[[], Any]) -> None:
    deadline = time.monotonic() + SECONDS
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_it_becomes_the_process_of_its_run(
    spare: subprocess.Popen[bytes], variables: dict[str, str], tmp_path: Path
) -> None:
    assert not any(variable.startswith(RUN_ID) for variable in seen(spare, "environ"))
    hand_over(spare, variables | {"PREFECT__CONTROL_TOKEN": "of this run"}, tmp_path)
    until(lambda: f"{RUN_ID}={ID}" in seen(spare, "environ"))
    assert Path(f"/proc/{spare.pid}/cwd").resolve() == tmp_path
    assert "taskdistill.flows.operation.spare" in seen(spare, "cmdline")
    assert spare.poll() is None


def test_it_starts_itself_afresh_for_a_run_with_other_variables(
    spare: subprocess.Popen[bytes], variables: dict[str, str], tmp_path: Path
) -> None:
    hand_over(spare, variables | {"OMP_NUM_THREADS": "7"}, tmp_path)
    until(lambda: "prefect.engine" in seen(spare, "cmdline"))
    assert {f"{RUN_ID}={ID}", "OMP_NUM_THREADS=7"} <= set(seen(spare, "environ"))
    assert Path(f"/proc/{spare.pid}/cwd").resolve() == tmp_path


def test_it_starts_itself_afresh_where_the_program_has_changed(variables: dict[str, str], tmp_path: Path) -> None:
    module = tmp_path / "imported_by_the_spare.py"
    module.write_text("from pathlib import Path\nPath(__file__).with_suffix('.imported').touch()\n")
    start = (
        "import sys; sys.path.insert(0, sys.argv[1]); from taskdistill.flows.operation import spare; "
        "spare.IMPORTED = ('imported_by_the_spare',); spare.main()"
    )
    command = [sys.executable, "-P", "-c", start, str(tmp_path)]
    with subprocess.Popen(command, env=variables, stdin=subprocess.PIPE) as process:
        until(module.with_suffix(".imported").exists)
        time.sleep(1)  # until it has looked at the files, which it does at once
        module.write_text("# another")
        hand_over(process, variables, tmp_path)
        until(lambda: "prefect.engine" in seen(process, "cmdline"))
        process.kill()


def test_it_ends_with_its_worker(spare: subprocess.Popen[bytes]) -> None:
    assert spare.stdin
    spare.stdin.close()
    assert spare.wait(timeout=SECONDS) == 0
