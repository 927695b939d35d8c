"""Which files of a draft become the artifact: those its stage declares, and no others.

A draft also holds what lets a killed run continue, such as checkpoints, and what a killed library left, such as
temporary files under names of its own. Neither is committed.
"""

import logging
from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from taskdistill.configs.counting import counted
from taskdistill.storage.errors import DraftError
from taskdistill.storage.files import PARTIAL, all_files, sync_all
from taskdistill.storage.manifest import MANIFEST, ArtifactRef

log = logging.getLogger(__name__)


class Contents(NamedTuple):
    """Patterns of the names of files, relative to the artifact, such as `shards/*.parquet`; `*` also stands for `/`."""

    made: tuple[str, ...]
    """At least one file for each of these is in every artifact."""
    optional: tuple[str, ...] = ()
    """May be in it."""
    working: tuple[str, ...] = ()
    """Lets a killed run continue; removed when the artifact is whole, also where it fits another pattern."""

    def files_of(self, draft: Path) -> list[Path]:
        """Return the files that are the artifact; DraftError where one that it must have is not there.

        Names that begin with a dot are the program's own notes, and the manifest is no part of what it describes.
        """
        names = [name for name in _names(draft) if not name.startswith(".") and name != MANIFEST]
        names = [name for name in names if not _fits(name, self.working)]
        for pattern in self.made:
            if not any(fnmatchcase(name, pattern) for name in names):
                raise DraftError(
                    f"{draft} has no file {pattern!r}, which every artifact of its stage holds: run the same again; if "
                    "that does not help, the stage does not write what it declares (tasks/catalog.py)"
                )
        return [draft / name for name in names if _fits(name, (*self.made, *self.optional))]


ANYTHING = Contents(made=(), optional=("*",))
"""For artifacts that no stage makes."""


def remove_all_but(draft: Path, kept: Collection[str], expected: Collection[str]) -> None:
    """Remove every other file and every empty folder, and say which of them do not fit the patterns `expected`."""
    names = [name for name in _names(draft) if name not in kept]
    if strangers := [name for name in names if not _fits(name, expected)]:
        are = "file in the draft is", "files in the draft are"
        verb = "is" if len(strangers) == 1 else "are"
        told = f"{counted(len(strangers), *are)} none of the artifact's and {verb} removed"
        log.warning("%s: %s", told, ", ".join(strangers[:8]))
    for name in names:
        (draft / name).unlink()
    # From the deepest: a folder is empty when those in it are gone.
    for folder in sorted((path for path in draft.rglob("*") if path.is_dir()), reverse=True):
        if not any(folder.iterdir()):
            folder.rmdir()
    touched = {above for name in names for above in (draft / name).parents if above.is_relative_to(draft)}
    sync_all(folder for folder in touched if folder.is_dir())


def remove_damaged(ref: ArtifactRef, files: Sequence[Path]) -> None:
    """Remove the files that their own formats prove to be damaged; DraftError where there are any."""
    from taskdistill.storage.proof import damage_of  # takes 0.2 s to import, which looking into a store need not

    damaged = {path: damage for path in files if (damage := damage_of(path))}
    for path in damaged:
        path.unlink()
    if damaged:
        path, damage = next(iter(damaged.items()))
        raise DraftError(
            f"{counted(len(damaged), 'file')} of {ref.short} {'was' if len(damaged) == 1 else 'were'} not whole and "
            f"removed, the first is {path}: {damage}. Run the same again: only what is missing is made. If it happens "
            "again, look after the disk"
        )


def _names(draft: Path) -> list[str]:
    names = [path.relative_to(draft).as_posix() for path in all_files(draft)]
    return [name for name in names if PARTIAL not in name]


def _fits(name: str, patterns: Collection[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
