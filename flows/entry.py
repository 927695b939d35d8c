"""Where `taskdistill` begins: before the commands are imported, so that it can be stopped in words from the start."""

import os
import sys

from taskdistill.flows.ending.interruption import SENTENCE, arrived, exit_code, stopped_by_signals


def main() -> None:
    """Run the command line."""
    with stopped_by_signals():
        try:
            from taskdistill.flows.cli import main as command_line

            command_line()
        except KeyboardInterrupt:  # while the commands were put together, before flows.ending.ending could answer
            if not exit_code():
                raise
            arrived()
            os.write(2, f"{SENTENCE}\n".encode())
            sys.exit(exit_code())
