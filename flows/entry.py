"""Where `taskdistill` begins: before the commands are imported, so that it can be stopped in words from the start."""

import sys

from flows.interruption import SENTENCE, exit_code, stopped_by_signals


def main() -> None:
    """Run the command line."""
    with stopped_by_signals():
        try:
            from flows.cli import main as command_line
        except BaseException:  # an interrupted import may end in any error
            if not (code := exit_code()):
                raise
            sys.stderr.write(f"{SENTENCE}\n")
            sys.exit(code)
        command_line()
