"""Runs a module as a program that ends with the process that started it.

    python -m taskdistill.flows.operation.child MODULE ...

A server without its `up`, a worker without it, or a run without its worker would go on unseen, and hold what the next
one needs. Where the kernel knows no such thing (it is Linux's), they are found by the next `up`.
"""

import ctypes
import os
import runpy
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Have the kernel send SIGTERM at the parent's death, and become the module."""
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died in between
            sys.exit(128 + signal.SIGTERM)
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
