"""The demonstration with one slot and with two: wall time and CPU time.

    python -m tests.benchmarks.two_slots
    python -m tests.benchmarks.two_slots --set training.epochs=20 --busy 1

Each run is the real command line on an empty store. `--busy` keeps so many other processes computing beside it.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.kill_anything import digests


class Seconds(NamedTuple):
    """What a run took."""

    wall: float
    cpu: float


def main() -> int:
    """Run with either number of slots, print both and their ratio; exit code 1 when a file differs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--busy", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, busy(arguments.busy):
        one, two = (
            demonstrated(Path(folder) / f"slots{slots}", [*arguments.overrides, f"runtime.slots={slots}"])
            for slots in (1, arguments.slots)
        )
        differs = digests(Path(folder) / "slots1") != digests(Path(folder) / f"slots{arguments.slots}")
    for slots, seconds in ((1, one), (arguments.slots, two)):
        print(f"{slots} slots: {seconds.wall:6.1f} s, {seconds.cpu:6.1f} CPU-seconds")
    print(f"ratio of the wall times: {two.wall / one.wall:.2f}; files {'differ' if differs else 'are the same'}")
    return int(differs)


def demonstrated(store: Path, overrides: list[str]) -> Seconds:
    settings = [text for override in overrides for text in ("--set", override)]
    command = [
        sys.executable,
        "-m",
        "taskdistill.flows.cli",
        "demo",
        "--folder",
        str(store.with_name("birds")),
        *settings,
    ]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, env=os.environ | {"TASKDISTILL_STORE": str(store)}, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Seconds(time.monotonic() - began, cpu)


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Keep cores busy."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


if __name__ == "__main__":
    sys.exit(main())
