"""Make every fault happen, and write what was observed into the table of OPERATING.md.

    python -m tests.fault_matrix

It takes some ten minutes, and needs root for the rows in which the store's disk is full or away; what was not observed
keeps its row. Exit code 1 where something happened that may never be.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fault_matrix.faults import FAULTS
from tests.fault_matrix.page import PAGE, observed_in, rows_of, with_rows

TEST = "tests/flows/operation/test_fault_matrix.py"


def main() -> int:
    """Run the test, which notes its rows, and write the page."""
    with tempfile.TemporaryDirectory() as folder:
        noted = Path(folder) / "rows"
        command = [sys.executable, "-m", "pytest", TEST, "-n", "0", *sys.argv[1:]]
        code = subprocess.run(command, env=os.environ | {"TASKDISTILL_FAULTS": str(noted)}, check=False).returncode
        page = PAGE.read_text()
        rows = rows_of(page) | observed_in(noted)
    PAGE.write_text(with_rows(page, [rows[fault.name] for fault in FAULTS if fault.name in rows]))
    return code


if __name__ == "__main__":
    sys.exit(main())
