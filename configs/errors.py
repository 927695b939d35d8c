"""The root of every error that is meant for a person: its message says what to do, and needs no traceback."""


class UserError(Exception):
    """What was asked, what was found, what would be right, what to do next."""
