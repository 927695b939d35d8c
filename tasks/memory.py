"""Running out of memory, told from other errors and told to the user.

torch has a type for a device's allocator, another for what the driver says, and plain RuntimeErrors for cuDNN, cuBLAS
and the CPU: their texts are what they have in common.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from taskdistill.configs.errors import UserError

_SIGNS = (
    "out of memory",
    "ALLOC_FAILED",
    "DefaultCPUAllocator",
    "not enough memory",
    "could not create a primitive",  # all that oneDNN says where an allocation was refused
)


class OutOfMemoryError(UserError, MemoryError):
    """The device cannot hold what was asked of it; the message names the settings."""


def is_out_of_memory(error: RuntimeError) -> bool:
    return any(sign in str(error) for sign in _SIGNS)


@contextmanager
def memory_advice() -> Iterator[None]:
    """Inside, a RuntimeError for want of memory is an OutOfMemoryError that names the settings to lower."""
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        reason = str(error).splitlines()[0]
        raise OutOfMemoryError(
            f"there is not enough memory ({reason}): set a smaller runtime.inference_batch_size, or a lower precision,"
            " and run the same again; what is finished is kept"
        ) from error
