"""Where `taskdistill` begins: before the commands are imported, so that it can be stopped in words from the start."""

from flows.interruption import stopped_by_signals


def main() -> None:
    """Run the command line."""
    with stopped_by_signals():
        from flows.cli import main as command_line

        command_line()
