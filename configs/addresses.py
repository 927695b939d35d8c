"""Addresses of servers in settings: what one looks like, and how it is shown without name and password."""

import re


def check_address(text: str) -> None:
    """Raise ValueError where a text, which may be empty, is no address of a server. It is not shown: it may hold a
    password.
    """
    if text and not re.match(r"https?://[^/\s]", text):
        raise ValueError("expected the address of a server, such as http://127.0.0.1:5000; found something else")


def without_credentials(text: str) -> str:
    """Return a text in which no address has a name or password."""
    return re.sub(r"(?<=://)[^/\s]*@", "", text)
