"""The root of every error that is meant for a person: its message says what to do, and needs no traceback; the
error of settings, and that of packages.
"""

from collections.abc import Iterator
from contextlib import contextmanager


class UserError(Exception):
    """What was asked, what was found, what would be right, what to do next."""


class SettingsError(UserError, ValueError):
    """A preset, file or override that cannot be used; the message says what would be right."""


class MissingPackageError(UserError, ImportError):
    """Packages that something needs and that are not installed; the message names them and the command."""


@contextmanager
def naming(setting: str) -> Iterator[None]:
    """Put the name of a setting, where there is one, before what a UserError of the block says."""
    try:
        yield
    except UserError as error:
        if setting:
            error.args = (f"{setting}: {error}",)
        raise
