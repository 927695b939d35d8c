"""A program whose system calls fail, for real: the kernel is told to answer one of them with an error (seccomp).

    command = failing("flock", errno.ENOLCK, "list")    # the command line, under a kernel without locks

What a broken disk or a file system without locks answers cannot be had otherwise without one.
"""

import platform
import sys

import pytest

_NUMBERS = {
    "x86_64": {"fsync": 74, "flock": 73, "mkdir": 83, "rename": 82},
    "aarch64": {"fsync": 82, "flock": 32},
}
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

_PROGRAM = """
import ctypes, struct, sys

def fail(number, architecture, error):
    load, equal, answer = 0x20, 0x15, 0x06
    allow, refuse = 0x7FFF0000, 0x00050000 | error
    lines = [
        (load, 0, 0, 4), (equal, 0, 2, architecture),  # offsets in struct seccomp_data
        (load, 0, 0, 0), (equal, 1, 0, number),
        (answer, 0, 0, allow), (answer, 0, 0, refuse),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in lines))
    class Filter(ctypes.Structure):
        _fields_ = [("count", ctypes.c_ushort), ("code", ctypes.c_void_p)]
    filter_ = Filter(len(lines), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(38, 1, 0, 0, 0) == 0  # no new privileges
    assert libc.prctl(22, 2, ctypes.byref(filter_), 0, 0) == 0  # seccomp, by a filter

from taskdistill.flows.cli import main
fail({number}, {architecture}, {error})
sys.argv = ["taskdistill", *{arguments!r}]
main()
"""


def failing(call: str, error: int, *arguments: str) -> list[str]:
    """Return a command that runs the command line while every `call` to the kernel fails with `error`."""
    machine = platform.machine()
    if sys.platform != "linux" or call not in _NUMBERS.get(machine, {}):
        pytest.skip(f"the number of {call} is not known for {sys.platform} on {machine}")
    program = _PROGRAM.replace("{number}", str(_NUMBERS[machine][call]))
    program = program.replace("{architecture}", str(_ARCHITECTURES[machine])).replace("{error}", str(error))
    return [sys.executable, "-c", program.replace("{arguments!r}", repr(list(arguments)))]
