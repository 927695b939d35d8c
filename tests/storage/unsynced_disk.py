"""A disk that loses in a power cut what a disk may lose: whatever was not synced, bytes and names alike.

It needs no rights and runs everywhere. The process that writes is recorded: each time it syncs a file, that file's
bytes are safe, and each time it syncs a folder, the names in it are. After the cut the folder is rebuilt from what is
safe and, as a file system is free to put things on the disk earlier than asked, from some of what is not: a name may
have its new file, its old one or none, and a file's bytes may be there, or not at all, or be zeros, or half there.
"""

import json
import os
import random
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

Names = dict[str, int]
"""What a folder holds: name -> inode."""


class Recorder:
    """In the process that writes: notes what was synced below a folder, in a log that survives a kill.

    A link to every file and a descriptor of every folder keep their inodes from being used again.
    """

    def __init__(self, root: Path, shadow: Path) -> None:
        self._root, self._shadow = root, shadow
        self._kept: list[int] = []
        shutil.rmtree(shadow, ignore_errors=True)
        (shadow / "files").mkdir(parents=True)
        self._log = os.open(shadow / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def start(self, on_sync: Callable[[], None]) -> None:
        """Take all that is there as safe, and note from now on what this process syncs."""
        for path in [self._root.parent, self._root, *self._root.rglob("*")]:
            if path.exists():
                self._note(os.open(path, os.O_RDONLY))

        def fsync(descriptor: int) -> None:
            on_sync()
            self._note(os.dup(descriptor))

        os.fsync = fsync

    def _note(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        self._kept.append(descriptor)
        if stat.S_ISDIR(status.st_mode):
            names = {entry.name: entry.inode() for entry in os.scandir(descriptor)}
            os.write(self._log, json.dumps({"folder": status.st_ino, "names": names}).encode() + b"\n")
            return
        shadow = self._shadow / "files" / str(status.st_ino)
        if not shadow.exists() and status.st_nlink:
            os.link(os.readlink(f"/proc/self/fd/{descriptor}"), shadow)
        os.write(self._log, json.dumps({"file": status.st_ino, "bytes": status.st_size}).encode() + b"\n")


class Fate(NamedTuple):
    """What becomes of that which was not synced."""

    is_name_kept: Callable[[], bool]
    """Whether what happened to a name is on the disk all the same."""
    torn: Callable[[bytes], bytes]
    """What is left of a file."""


LOSES_ALL = Fate(lambda: False, lambda data: b"")
LOSES_BYTES = Fate(lambda: True, lambda data: b"")
"""As ext4 does, which may put names on the disk long before bytes."""


def by_chance(rng: random.Random) -> Fate:
    """Let chance decide for each thing."""
    tears: list[Callable[[bytes], bytes]] = [
        lambda data: b"",
        lambda data: bytes(len(data)),
        lambda data: data[: len(data) // 2],
        lambda data: data[: len(data) // 2] + bytes(len(data) - len(data) // 2),
        lambda data: data,
    ]
    return Fate(lambda: rng.random() < 0.5, lambda data: rng.choice(tears)(data))


def come_back(root: Path, shadow: Path, fate: Fate) -> None:
    """Turn the folder, whose recorded writer is dead, into what a disk may hold if the power was cut at that moment."""
    rebuilt = shadow / "rebuilt"
    _Rebuilding(root, shadow, fate).write(rebuilt)
    shutil.rmtree(root, ignore_errors=True)
    if rebuilt.is_dir():
        rebuilt.rename(root)


class _Rebuilding:
    def __init__(self, root: Path, shadow: Path, fate: Fate) -> None:
        self._root, self._shadow, self._fate = root, shadow, fate
        self._safe_names: dict[int, Names] = {}
        self._safe_files: dict[int, int] = {}
        for line in (shadow / "log").read_text().splitlines():
            found: dict[str, Any] = json.loads(line)
            if "folder" in found:
                self._safe_names[found["folder"]] = found["names"]
            else:
                self._safe_files[found["file"]] = found["bytes"]
        self._paths = {path.stat().st_ino: path for path in [root, *root.rglob("*")] if path.exists()}
        self._moved: dict[int, bool] = {}

    def write(self, target: Path) -> None:
        above = self._root.parent.stat().st_ino
        now = {self._root.name: self._root.stat().st_ino} if self._root.exists() else {}
        before = {name: inode for name, inode in self._safe_names[above].items() if name == self._root.name}
        for inode in self._entries(before, now).values():
            self._write(inode, target)

    def _write(self, inode: int, target: Path) -> None:
        path = self._paths.get(inode, self._shadow / "files" / str(inode))
        if inode in self._safe_names or path.is_dir():
            target.mkdir()
            now = {entry.name: entry.inode() for entry in os.scandir(path)} if path.is_dir() else {}
            for name, child in self._entries(self._safe_names.get(inode, {}), now).items():
                self._write(child, target / name)
            return
        data = path.read_bytes()
        is_safe = self._safe_files.get(inode) == len(data)
        target.write_bytes(data if is_safe else self._fate.torn(data))

    def _entries(self, before: Names, now: Names) -> Names:
        """Choose for each name what it stands for. A rename happened as a whole or not at all, as journals see to."""
        chosen = {}
        for name in sorted(before.keys() | now.keys()):
            old, new = before.get(name), now.get(name)
            if new is not None and (new == old or self._has_moved(new)):
                chosen[name] = new
            elif old is not None and not (new is None and self._has_moved(old)):
                chosen[name] = old
        return chosen

    def _has_moved(self, inode: int) -> bool:
        return self._moved.setdefault(inode, self._fate.is_name_kept())
