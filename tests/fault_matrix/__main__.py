"""Make every fault happen, and write what was observed into the table of OPERATING.md, or compare it.

    python -m tests.fault_matrix --write
    python -m tests.fault_matrix --check

Either takes a quarter of an hour, and needs root for the rows in which the store's disk is full or away. What is not
observed keeps its row. Other arguments are for pytest (-k). Exit code 1 where something happened that may never be.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fault_matrix.faults import FAULTS
from tests.fault_matrix.page import PAGE, observed_in, rows_of, with_rows

TEST = "tests/flows/operation/test_fault_matrix.py"
AWAY = (
    "tests/flows/operation/test_database.py::test_a_run_goes_on_while_the_database_is_away_and_says_so_when_it_is_back"
)
"""No row of the table, whose machine keeps its runs in a file."""


def main() -> int:
    """Run the test, which notes its rows or compares them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--write", action="store_true")
    what.add_argument("--check", action="store_true")
    asked, for_pytest = parser.parse_known_args()
    if asked.check:
        return observed("all", [AWAY, *for_pytest])
    with tempfile.TemporaryDirectory() as folder:
        noted = Path(folder) / "rows"
        code = observed(str(noted), for_pytest)
        page = PAGE.read_text()
        rows = rows_of(page) | observed_in(noted)
    PAGE.write_text(with_rows(page, [rows[fault.name] for fault in FAULTS if fault.name in rows]))
    return code


def observed(noted: str, for_pytest: list[str]) -> int:
    command = [sys.executable, "-m", "pytest", TEST, "-n", "0", *for_pytest]
    return subprocess.run(command, env=os.environ | {"TASKDISTILL_FAULTS": noted}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
