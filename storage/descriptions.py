"""JSON files inside artifacts that say how the rest is read, as typed records whose fields know their format."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from taskdistill.storage.errors import CorruptArtifactError
from taskdistill.storage.files import read_json
from taskdistill.storage.formats import Added, completed, unknown_entries
from taskdistill.storage.manifest import advice, newer_artifact


class Description(BaseModel):
    """Such a record. A field that came with a later format than the first is named in `added`."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    added: ClassVar[Mapping[str, Added]] = MappingProxyType({})

    @classmethod
    def of_format(cls, path: Path, found: int) -> Self:
        """Read a file directly in an artifact of this format, or in a draft.

        Raises NewerFormatError where it has fields that this version does not know, as only a newer version writes
        them, and CorruptArtifactError where it lacks what its format has.
        """
        try:
            return cls.model_validate(completed(read_json(path), cls.added, found))
        except ValidationError as error:
            unknown = [str(one["loc"][0]) for one in error.errors() if one["type"] == "extra_forbidden"]
            wrong = [".".join(map(str, one["loc"])) for one in error.errors()]
        if unknown:
            raise newer_artifact(path.parent, unknown_entries(path.name, unknown))
        raise CorruptArtifactError(
            f"{path} lacks, or has other values than can be meant, for {', '.join(wrong[:4])}: {advice(path.parent)}"
        )
