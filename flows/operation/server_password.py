"""The password of the Prefect server that `taskdistill up` starts: made at first use, read by `worker`.

It lies beside the server's database, in Prefect's home folder, and not in the store: a store may be shared with people
who are not to run code here. Only its owner may read it. Prefect calls it an auth string, and wants `user:password`.
"""

import contextlib
import os
import re
import secrets
import stat
from pathlib import Path

from prefect.settings import PREFECT_HOME

from taskdistill.flows.deployed.server import ServerError

FILE = "taskdistill-password"
USER = "taskdistill"


def password_file() -> Path:
    return Path(PREFECT_HOME.value()) / FILE


def made_password() -> str:
    """Return the password of this user's server, making it at first use; two servers that start at once agree on
    it. ServerError where the file is not to be trusted, or is a link to nothing.
    """
    path = password_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{secrets.token_hex(8)}.partial")
    if not path.exists():
        try:
            with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(f"{USER}:{secrets.token_urlsafe(32)}\n")
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):  # another server was faster: its password is the one
                os.link(partial, path)
        finally:
            partial.unlink(missing_ok=True)
    if not (password := known_password()):
        raise ServerError(f"{path}, where the server's password should be, is a link to nothing: remove it")
    return password


def known_password() -> str:
    """Return the password that was made here before, "" where none was; ServerError where it is not to be trusted."""
    path = password_file()
    if not path.exists():
        return ""
    again = f"remove it and start the server again with 'taskdistill up', which makes another: rm {path}"
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise ServerError(f"{path}, the server's password, may be read or written by others of this machine: {again}")
    text = path.read_text(errors="replace").strip()
    if not re.fullmatch(r"[!-~]+:[!-~]{20,}", text):
        raise ServerError(f"{path} should hold the server's password as user:password, and does not: {again}")
    return text
