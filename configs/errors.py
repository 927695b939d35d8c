"""The root of every error that is meant for a person: its message says what to do, and needs no traceback; and the
error of settings.
"""


class UserError(Exception):
    """What was asked, what was found, what would be right, what to do next."""


class SettingsError(UserError, ValueError):
    """A preset, file or override that cannot be used; the message says what would be right."""
