"""Something that is wrong, and what mends it."""

from typing import NamedTuple


class Finding(NamedTuple):
    """A sentence about what is wrong, and a command that mends it or shows more."""

    what: str
    mend: str
    is_fault: bool = True
    """Whether it is wrong, or only worth knowing."""
