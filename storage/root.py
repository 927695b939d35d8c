"""Where the store lies, and whether it can be read, written and locked there: asked before there is work to lose."""

import errno
import fcntl
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from taskdistill.storage.errors import StoreError

ROOT_VARIABLE = "TASKDISTILL_STORE"
ID_VARIABLE = "TASKDISTILL_STORE_ID"
"""What a worker tells its runs: which store it was started with, wherever that is mounted."""
ID_FILE = ".taskdistill-id"
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}
"""What file systems answer that know no locks, or whose server gives none."""
_CLOSED = {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST}
"""What they answer where nothing can be written, by this user or at all."""


def root_from(text: str) -> Path:
    """Return the folder that the environment names; StoreError where that cannot be a store."""
    right = f"{ROOT_VARIABLE} names the folder of the store, such as ~/artifacts; unset, it is ./artifacts"
    if not text.strip():
        raise StoreError(f"{ROOT_VARIABLE} is set to an empty text: {right}")
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text):
        raise StoreError(f"{ROOT_VARIABLE} is {text!r}, but a store is a folder of a mounted file system: {right}")
    try:
        root = Path(text).expanduser().absolute()
    except RuntimeError as error:  # ~name of nobody
        raise StoreError(f"{ROOT_VARIABLE} is {text!r}: {error}: {right}") from None
    check_root(root)
    return root


def check_root(root: Path) -> None:
    """Raise StoreError where there is something else than a folder, or the way to it is closed."""
    right = f"let {ROOT_VARIABLE} name a folder"
    try:
        there = next(path for path in (root, *root.parents) if path.exists() or path.is_symlink())
        if not there.exists():
            raise StoreError(f"the store {root} cannot be there, as {there} is a link to nothing: mend it, or {right}")
        if not there.is_dir():
            what = "is a file" if there == root else f"cannot be there, as {there} is a file"
            raise StoreError(f"the store {root} {what}: {right}")
        if there == root:
            next(root.iterdir(), None)
    except OSError as error:
        raise StoreError(f"the store {root} cannot be read ({error.strerror}): mend that, or {right}") from None


def check_same(root: Path, wanted: str) -> None:
    """Raise StoreError where the folder is another store than the one of this id, or none; "" stands for any."""
    if not wanted:
        return
    try:
        found = (root / ID_FILE).read_text().strip()
    except FileNotFoundError:
        found = ""
    if found != wanted:
        # Made there, everything would be made again, and be out of sight when the share is back.
        raise StoreError(
            f"the folder {root} is {'another store than' if found else 'not the store that'} this worker was started "
            "with: see that its share is mounted there, then run this again; after a move that was meant, start the "
            "worker again"
        )


def check_writable(root: Path) -> None:
    """Raise StoreError where nothing could be made and locked in the store; it leaves empty folders at most."""
    locks = root / "locks"
    try:
        for folder in (root / "drafts", root / "artifacts", locks):
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(b"is there room?")
                file.flush()
    except OSError as error:
        if error.errno not in _CLOSED:
            raise
        raise StoreError(
            f"nothing can be made in the store {root} ({error.strerror}: {error.filename or root}): what is in it can "
            f"be used as it is; to make more, mend that, or let {ROOT_VARIABLE} name another folder"
        ) from None
    with tempfile.TemporaryFile(dir=locks) as file, explained_locks(root):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def explained_locks(root: Path) -> Iterator[None]:
    """Turn a refusal of locks as such into a StoreError; that another process holds one is not meant."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        raise StoreError(
            f"the file system of the store {root} gives no locks ({error.strerror}), and without them two runs would "
            f"write the same artifact: put the store on a local disk or on NFS 4, and let {ROOT_VARIABLE} name it"
        ) from None
