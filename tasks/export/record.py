"""The record in an exported folder: what was exported, and the digest of each file and of the record itself, so that
whoever loads the folder with this program notices what is missing or altered: classes in another order, say, too.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from taskdistill.storage.files import all_files, sha256_of, write_json

RECORD = "taskdistill.json"


class FolderRecord(BaseModel):
    """What lies in taskdistill.json."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    schema_version: Literal[1] = Field(default=1, alias="schema")
    target: str
    precision: str
    problem: str
    classes: list[str]
    """In the order of the logits."""
    temperature: float
    """What logits are divided by before they are probabilities."""
    model: str = ""
    """Its reference in the store that it was exported from; older folders do not tell."""
    colours: list[tuple[int, int, int]] = []
    """RGB of each class, where the data set has colours."""
    levels: tuple[float, float, float] | None = None
    """How images of more than 8 bits are scaled (`storage.image_set.Levels`); None: the model was trained on none."""
    files: dict[str, str] = {}
    """Path inside the folder -> SHA-256."""
    digest: str = ""
    """SHA-256 of all other fields; older folders have none."""

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the record of a folder; OSError or ValueError where there is none, or it is damaged or altered."""
        fields = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        record = cls.model_validate(fields)
        if record.digest and record.digest != _digest_of(fields):
            raise ValueError(f"{RECORD} is not what was written")
        return record

    def altered(self, folder: Path) -> list[str]:
        """Return the files whose digest is another one than when they were written."""
        return [name for name, digest in self.files.items() if sha256_of(folder / name) != digest]


def recorded(folder: Path, record: FolderRecord) -> None:
    """Write the record of all files that lie in a folder now."""
    files = {path.relative_to(folder).as_posix(): sha256_of(path) for path in all_files(folder)}
    fields: dict[str, Any] = record.model_copy(update={"files": files}).model_dump(mode="json", by_alias=True)
    write_json(folder / RECORD, fields | {"digest": _digest_of(fields)})


def _digest_of(fields: Mapping[str, Any]) -> str:
    told = {name: value for name, value in fields.items() if name != "digest"}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
