"""The record in every draft: what it is to become. One that cannot be read stops nothing but is named.

A draft's folder is named by the fingerprint alone, so that the run that wants the artifact finds it without a record.
The record tells everybody else: `list` what it will be, `collect` what it is made from.
"""

import re
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from taskdistill.storage.errors import CorruptArtifactError, DraftError, NewerFormatError, NotInStoreError
from taskdistill.storage.files import read_json_if_whole, write_json
from taskdistill.storage.formats import FIRST, PROGRAM, check_number, continues, format_of, newer, unknown_entries
from taskdistill.storage.manifest import FINGERPRINT, ArtifactRef, Manifest

DRAFT = ".draft.json"
UNKNOWN = "draft"
"""The kind of a draft whose record cannot be read, in references that people pass to `discard`."""


class DraftRecord(BaseModel):
    """What a draft is to become, of what, and by which commit it was begun."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    reference: str
    recipe: dict[str, Any]
    commit: str
    format: int = FIRST
    """In which its parts are written."""
    version: str = ""
    """Of the program that began it; drafts from before formats had numbers do not say."""

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Return the record of a draft; None where there is none, or only what a power cut left of it.

        Raises NewerFormatError where a newer version began it.
        """
        fields = read_json_if_whole(folder / DRAFT)
        if not isinstance(fields, dict):
            return None
        kind, _, fingerprint = str(fields.get("reference")).partition("@")
        what = f"the draft {kind}@{fingerprint[:12]}"
        made_by = {"packages": {PROGRAM: fields.get("version", "")}, "commit": fields.get("commit")}
        # Before the fields: in a later format they may be others, of which validation would say that they are wrong.
        check_number(kind, fields.get("format"), what, made_by)
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            wrong = error.errors()
        # A field more is what a newer version writes. Anything else is damage, and the next run writes the record anew.
        if all(one["type"] == "extra_forbidden" for one in wrong):
            raise newer(what, unknown_entries("its record", [str(one["loc"][0]) for one in wrong]), made_by)
        return None

    def write(self, folder: Path) -> None:
        write_json(folder / DRAFT, self.model_dump(mode="json"))

    @property
    def inputs(self) -> set[str]:
        """Fingerprints of what it is made from."""
        return set(self.recipe.get("inputs", {}).values())


def check_draft(ref: ArtifactRef, folder: Path) -> None:
    """Raise NewerFormatError or DraftError where this version cannot go on with a draft, as another began it.

    Parts of two formats in one artifact would be neither. What was written is not thrown away unasked.
    """
    record = DraftRecord.read(folder)
    # Some kinds can be gone on with in the format they were begun in; `continues` is the first of these formats.
    if record and record.format < continues(ref.kind):
        begun = f"{PROGRAM} {record.version or 'of an earlier version'} (commit {record.commit[:12]})"
        raise DraftError(
            f"the draft of {ref.short} was begun in format {record.format} by {begun}, and this version writes format "
            f"{format_of(ref.kind)}: finish it with that version, after which this one reads it, or begin anew with "
            f"'taskdistill discard {ref.short}' and the same run"
        )


def find_drafts(folder: Path) -> dict[ArtifactRef, Path]:
    """Return the draft folders in a folder, by what they are to become; of kind UNKNOWN where that cannot be read."""
    # Whatever else lies there, such as what is being deleted, has no fingerprint for a name.
    found = sorted(path for path in folder.glob("*") if re.fullmatch(FINGERPRINT, path.name) and path.is_dir())
    return {_reference(path): path for path in found}


def _reference(folder: Path) -> ArtifactRef:
    try:
        if record := DraftRecord.read(folder):
            return ArtifactRef.parse(record.reference)
        return Manifest.read(folder).ref  # of a commit that was killed before its last step
    except (CorruptArtifactError, NewerFormatError, NotInStoreError):
        return ArtifactRef(UNKNOWN, folder.name)


def unreadable_draft(ref: ArtifactRef, folder: Path) -> str:
    """What is wrong with a draft of kind UNKNOWN, and what to do; "" where it has no record, which is written anew."""
    try:
        DraftRecord.read(folder)
    except NewerFormatError as error:
        return f"what this draft is made from is unknown: {error}"
    if not (folder / DRAFT).exists():
        return ""
    return (
        f"the record of the draft {ref.short} cannot be read, so what it is made from is unknown: the run that makes "
        f"it writes it again, 'taskdistill discard {ref.short}' removes it"
    )
