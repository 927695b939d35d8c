"""How many cores there are for this run: what a container or a scheduler leaves of the machine's."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from taskdistill.tasks.cores import allowed_cores, cores_of_quota, num_cores


@pytest.mark.parametrize(
    ("text", "cores"),
    [
        ("max 100000\n", None),  # docker run
        ("200000 100000\n", 2),  # docker run --cpus 2
        ("150000 100000\n", 2),  # --cpus 1.5
        ("10000 100000\n", 1),  # a tenth of a core
        ("-1\n 100000\n", None),  # the first version without a limit
        ("400000\n 100000\n", 4),
        ("", None),
        (" ", None),
    ],
)
def test_a_quota_is_so_many_cores_rounded_up(text: str, cores: int | None) -> None:
    assert cores_of_quota(text) == cores


def test_both_versions_of_control_groups_are_read(tmp_path: Path) -> None:
    assert allowed_cores(tmp_path) is None
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("300000\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert allowed_cores(tmp_path) == 3
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert allowed_cores(tmp_path) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="binds a process to one core")
def test_a_process_that_is_bound_to_one_core_has_one() -> None:
    program = "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n"
    program += "from taskdistill.tasks.cores import num_cores; print(num_cores())"
    assert subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout == "1\n"
    assert 1 <= num_cores() <= (os.cpu_count() or 1)
