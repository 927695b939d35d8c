"""What an error of the operating system means for somebody who has images and a store, and what to do about it.

Only errors that come from outside the program are here: disks, permissions, network file systems, limits. Any other is
a fault of the program and keeps its traceback.
"""

import errno
import os

from taskdistill.configs.errors import UserError

_AGAIN = "run the same command again; it continues where it was"
_FULL = f"Finished artifacts are not affected: free some space and {_AGAIN}"
_MOUNT = f"See that the file system is mounted and its server answers, then {_AGAIN}"

_WORDS: dict[int, tuple[str, str]] = {
    errno.ENOSPC: ("the disk is full", _FULL),
    errno.EDQUOT: ("the disk is full, or your share of it (quota)", _FULL),
    errno.EFBIG: ("a file is larger than its file system or a limit (ulimit -f) allows", f"Raise it and {_AGAIN}"),
    errno.EROFS: (
        "the file system can only be read",
        f"Mount it for writing, or let TASKDISTILL_STORE name a folder that can be written to, and {_AGAIN}",
    ),
    errno.EACCES: ("this user may not do that", f"Change the owner or the permissions, and {_AGAIN}"),
    errno.EPERM: ("this user may not do that", f"Change the owner, the permissions or attributes, and {_AGAIN}"),
    errno.EIO: (
        "the disk, or the file system, failed",
        "Look at the system's log (dmesg) before anything else; 'taskdistill verify' says which artifacts are damaged",
    ),
    errno.ESTALE: ("a file on another machine is no longer what it was", f"Mount the folder again and {_AGAIN}"),
    errno.ETIMEDOUT: ("the file system did not answer in time", _MOUNT),
    errno.EHOSTDOWN: ("the machine with the files is down", _MOUNT),
    errno.EHOSTUNREACH: ("the machine with the files is out of reach", _MOUNT),
    errno.ENOTCONN: ("the file system is not connected any more", _MOUNT),
    errno.ENOENT: ("a file or folder is not there", f"If something removed it meanwhile, put it back and {_AGAIN}"),
    errno.ENOTDIR: ("a part of the path is a file, where a folder should be", f"Correct the path, and {_AGAIN}"),
    errno.ELOOP: ("a link leads back to itself", f"Remove the link and {_AGAIN}"),
    errno.ENAMETOOLONG: (
        "a name is longer than the file system takes",
        f"Choose a shorter name, or a folder nearer to the root, and {_AGAIN}",
    ),
    errno.EMFILE: ("too many files are open", f"Raise the limit (ulimit -n 4096) and {_AGAIN}"),
    errno.ENFILE: ("too many files are open on this machine", f"End other programs and {_AGAIN}"),
    errno.ENOMEM: ("the memory does not suffice", f"End other programs and {_AGAIN}"),
    errno.ENOLCK: ("the file system gives no locks", f"Put the store on a local disk or NFS 4, and {_AGAIN}"),
}
"""errno -> what happened, and what to do."""

_WITHOUT_A_FILE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM}
"""Errors that mean a file system or this machine also where they name no file; others then come from a network."""


class SystemFaultError(UserError):
    """An error of the operating system, in words."""


def explained(error: OSError) -> str:
    """Return a sentence or two for people, or "" where the error should keep its traceback."""
    if error.errno not in _WORDS or (error.filename is None and error.errno not in _WITHOUT_A_FILE):
        return ""
    happened, advice = _WORDS[error.errno]
    return f"{happened} ({_what(error)}). {advice}"


def _what(error: OSError) -> str:
    paths = [os.fsdecode(path) for path in (error.filename, error.filename2) if isinstance(path, str | bytes)]
    return ": ".join([error.strerror or str(error), " to ".join(paths)]) if paths else str(error)
