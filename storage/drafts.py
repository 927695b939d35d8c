"""The record in every draft: what it is to become. One that cannot be read stops nothing but is named.

A draft's folder is named by the fingerprint alone, so that the run that wants the artifact finds it without a record.
The record tells everybody else: `list` what it will be, `collect` what it is made from.
"""

import re
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict

from storage.errors import CorruptArtifactError, NotInStoreError
from storage.files import write_json
from storage.manifest import FINGERPRINT, ArtifactRef, Manifest

DRAFT = ".draft.json"
UNKNOWN = "draft"
"""The kind of a draft whose record cannot be read, in references that people pass to `discard`."""


class DraftRecord(BaseModel):
    """What a draft is to become, of what, and by which commit it was begun."""

    model_config = ConfigDict(frozen=True)
    reference: str
    recipe: dict[str, Any]
    commit: str

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Return the record of a draft; None where there is none, or only what a power cut left of it."""
        try:
            return cls.model_validate_json((folder / DRAFT).read_bytes())
        except (FileNotFoundError, ValueError):  # ValueError: pydantic's own is one, as is text that is no UTF-8
            return None

    def write(self, folder: Path) -> None:
        write_json(folder / DRAFT, self.model_dump(mode="json"))

    @property
    def inputs(self) -> set[str]:
        """Fingerprints of what it is made from."""
        return set(self.recipe.get("inputs", {}).values())


def find_drafts(folder: Path) -> dict[ArtifactRef, Path]:
    """Return the draft folders in a folder, by what they are to become; of kind UNKNOWN where that cannot be read."""
    found = sorted(path for path in folder.glob("*") if re.fullmatch(FINGERPRINT, path.name) and path.is_dir())
    return {_reference(path): path for path in found}


def _reference(folder: Path) -> ArtifactRef:
    if record := DraftRecord.read(folder):
        return ArtifactRef.parse(record.reference)
    try:
        return Manifest.read(folder).ref  # of a commit that was killed before its last step
    except (CorruptArtifactError, NotInStoreError):
        return ArtifactRef(UNKNOWN, folder.name)


def unreadable_draft(ref: ArtifactRef) -> str:
    """What is wrong with a draft of kind UNKNOWN, and what to do."""
    return (
        f"the record of the draft {ref.short} cannot be read, so what it is made from is unknown: the run that makes "
        f"it writes it again, 'taskdistill discard {ref.short}' removes it"
    )
