"""The format of each kind of artifact: a number that its manifest carries, and what a reader does with other numbers.

An older format is read: what it lacks has a neutral value (`Added`). A newer one is an error of its own that says which
version of the program made it; it is no damage, and nothing is to be removed because of it.

A number is raised by whoever changes what lies in the artifacts of a kind in a way that earlier versions would misread
or miss: a column, a field of a description, an attribute, a file. It enters no fingerprint, as the recipe does not
change with it, and an artifact of an older format stays what its recipe names. tests/formats keeps some of each.
"""

import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

from taskdistill.storage.errors import NewerFormatError
from taskdistill.storage.provenance import version_of

FIRST = 1
"""The format of everything that says nothing of its format."""
FORMATS: dict[str, int] = {
    "image-set": 2,
    "features": 3,
    "embeddings": 3,
    "probe": 1,
    "logits": 4,
    "selection": 1,
    "settings": 1,
    "model": 1,
    "evaluation": 1,
}
"""Kind -> the format in which this version writes it, and the newest that it reads."""
CONTINUES: dict[str, int] = {"image-set": 1, "features": 1, "embeddings": 1, "logits": 1}
"""Kind -> the oldest format in which this version goes on with a draft; of the others, the present one alone."""
UNFINISHED = sys.maxsize
"""In place of a number, for a folder without a manifest: what is being made has all that this version writes."""
PROGRAM = "taskdistill"


class Added(NamedTuple):
    """Something that artifacts of a kind have since a format. In older ones it is missing, and means `neutral`."""

    format: int
    neutral: Any


def format_of(kind: str) -> int:
    """Return the format in which this version writes a kind."""
    return FORMATS.get(kind, FIRST)


def continues(kind: str) -> int:
    """Return the oldest format in which this version goes on with a draft."""
    return CONTINUES.get(kind, format_of(kind))


def completed(fields: Mapping[str, Any], added: Mapping[str, Added], found: int) -> dict[str, Any]:
    """Return the fields of an artifact of format `found`, with the neutral value of each that came later."""
    return {name: one.neutral for name, one in added.items() if one.format > found} | dict(fields)


def check_number(kind: str, found: object, what: str, made_by: Mapping[str, Any]) -> None:
    """Raise NewerFormatError where the format that a record names is newer than this version knows."""
    if isinstance(found, int) and found > format_of(kind):
        raise newer(
            what,
            f"it has format {found} of the kind {kind}, and this version knows none above {format_of(kind)}",
            made_by,
        )


def unknown_entries(where: str, names: list[str]) -> str:
    """Say that a record holds what this version does not know."""
    return f"{where} has the entries {', '.join(map(repr, names[:4]))}, which this version does not know"


def newer(what: str, finding: str, made_by: Mapping[str, Any]) -> NewerFormatError:
    """Return the error for something that a newer version made; `made_by` is its provenance, as far as it is known."""
    packages, commit = made_by.get("packages"), made_by.get("commit")
    version = packages.get(PROGRAM, "") if isinstance(packages, Mapping) else ""
    at_commit = f"commit {commit[:12]}" if isinstance(commit, str) and commit not in ("", "unknown") else ""
    named = ", ".join(part for part in (f"{PROGRAM} {version}" if version else "", at_commit) if part)
    this = f"{PROGRAM} {version_of(PROGRAM) or 'of no version'}"
    return NewerFormatError(
        f"{what} was made by a newer version of this program ({named or 'it does not say which'}): {finding}. Nothing "
        f"is wrong with it. Install {'that version' if named else 'the newest version'} or a newer one (this is "
        f"{this}), or let TASKDISTILL_STORE name another store"
    )
