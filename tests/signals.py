"""Signals as a process gets them that nobody has told to ignore some: tests may be run in the background."""

import signal


def heed_signals() -> None:
    """In the child: whoever runs the tests may have told them to ignore some, as nohup does."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
