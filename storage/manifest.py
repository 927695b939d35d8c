"""The record in every artifact, written last: an artifact is complete because its manifest is there.

In every format a manifest is a JSON object whose last field is the digest of all text before it, and which has
`reference`, `format` and `provenance`: by these an earlier version tells a newer manifest from a damaged one.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import from_json

from taskdistill.storage.errors import CorruptArtifactError, NewerFormatError, NotInStoreError, StoreError
from taskdistill.storage.files import atomic, sha256_of
from taskdistill.storage.formats import FIRST, UNFINISHED, check_number, newer, unknown_entries

MANIFEST = "manifest.json"
FINGERPRINT = r"[0-9a-f]{64}"
_DIGEST = b',\n  "digest": '
"""Where the text ends that a manifest's digest is of: the digest is its last field."""


class ArtifactRef(NamedTuple):
    """The name of an artifact: its kind and its recipe's fingerprint, written `kind@fingerprint`."""

    kind: str
    fingerprint: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `kind@fingerprint`; NotInStoreError where it is not of this form."""
        kind, at, fingerprint = text.partition("@")
        if not at or not kind or not fingerprint:
            raise NotInStoreError(f"{text!r} is not a reference such as logits@3f9c12ab")
        return cls(kind, fingerprint)

    @property
    def short(self) -> str:
        return f"{self.kind}@{self.fingerprint[:12]}"

    def __str__(self) -> str:
        return f"{self.kind}@{self.fingerprint}"


class FileRecord(BaseModel):
    """One file of an artifact."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    sha256: str
    num_bytes: int


class Manifest(BaseModel):
    """What an artifact is, what it was made of, what came out, and by whom."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    reference: str
    format: int = FIRST
    """Of its kind (storage.formats); manifests from before formats had numbers have no such field."""
    recipe: dict[str, Any]
    """All that decides the bytes: stage, version, config, external digests, fingerprints of the inputs."""
    inputs: dict[str, str]
    """Role -> reference of the artifacts it was made from."""
    summary: dict[str, Any]
    """Counts, scores and seconds, for people and tables."""
    files: dict[str, FileRecord]
    """Path inside the artifact -> digest and size."""
    provenance: dict[str, Any]
    """Commit, packages, host, device, time, and the settings of the run; decides nothing."""
    digest: str = ""
    """SHA-256 of the text of all fields above; empty in artifacts made before manifests had one."""

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the manifest in a folder; CorruptArtifactError where it is torn or was changed after the commit,
        NewerFormatError where this version cannot read it, as a newer one wrote it.
        """
        data = _read(folder)
        fields = _fields(folder, data)
        if (digest := fields.get("digest")) and digest != _digest_of(data):
            raise CorruptArtifactError(
                f"{folder / MANIFEST} was changed after it was committed, so its scores, dates and digests prove "
                f"nothing: {advice(folder)}"
            )
        # Before the fields: those of a newer format may look wrong, and such an artifact is not damaged.
        _check_format(folder, fields)
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            raise _misfit(folder, fields, error) from None

    def write(self, folder: Path) -> None:
        with atomic(folder / MANIFEST) as partial:
            partial.write_bytes(self.as_bytes())

    def as_bytes(self) -> bytes:
        """Return the text of the file, with its digest at the end."""
        fields = self.model_dump(mode="json", exclude={"digest"})
        # The digest is of the text itself, not of the values: so a reader need not write numbers as this version does.
        text = json.dumps(fields, indent=2, ensure_ascii=False, allow_nan=False).removesuffix("\n}").encode()
        return text + _DIGEST + f'"{hashlib.sha256(text).hexdigest()}"\n}}\n'.encode()

    @property
    def ref(self) -> ArtifactRef:
        return ArtifactRef.parse(self.reference)

    @property
    def input_refs(self) -> dict[str, ArtifactRef]:
        return {role: ArtifactRef.parse(text) for role, text in self.inputs.items()}

    @property
    def num_bytes(self) -> int:
        return sum(record.num_bytes for record in self.files.values())


def read_recipe(folder: Path) -> dict[str, Any]:
    """Return an artifact's recipe and check its format and nothing else: for looking at thousands of them.

    Raises NotInStoreError where there is no manifest, CorruptArtifactError where it has no recipe, NewerFormatError.
    """
    fields = _fields(folder, _read(folder))
    _check_format(folder, fields)
    if not isinstance(recipe := fields.get("recipe"), dict):
        raise _unreadable(folder, "it lacks entries of a manifest")
    return recipe


def named_inputs(folder: Path) -> list[ArtifactRef]:
    """Return what the manifest of an artifact of any format names as its inputs, where it does so in the way of this
    version: for telling what hangs on what, also where nothing else can be read.
    """
    inputs = _fields(folder, _read(folder)).get("inputs")
    names = list(inputs.values()) if isinstance(inputs, dict) else []
    return [ArtifactRef.parse(name) for name in names if isinstance(name, str) and "@" in name.strip("@")]


def newer_artifact(folder: Path, finding: str) -> NewerFormatError:
    """Return the error for an artifact, or a draft, that holds what only a newer version writes."""
    fields = _fields(folder, _read(folder)) if (folder / MANIFEST).is_file() else {}
    return _newer(folder, fields, finding)


def _read(folder: Path) -> bytes:
    try:
        return (folder / MANIFEST).read_bytes()
    except (FileNotFoundError, NotADirectoryError):  # between the look whether it is there and now
        raise NotInStoreError(f"{folder} has just been removed: run the same command again") from None


def _digest_of(data: bytes) -> str:
    return hashlib.sha256(data[: data.rfind(_DIGEST)]).hexdigest()


def _fields(folder: Path, data: bytes) -> dict[str, Any]:
    try:
        fields = from_json(data)
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        raise _unreadable(folder, "it is no whole JSON object" if data else "it is empty")
    return fields


def _unreadable(folder: Path, found: str) -> CorruptArtifactError:
    """Say what is wrong with a manifest; pydantic's own words are of no use to a user."""
    return CorruptArtifactError(f"{folder / MANIFEST} cannot be read ({found}): {advice(folder)}")


def _check_format(folder: Path, fields: Mapping[str, Any]) -> None:
    kind = str(fields.get("reference")).partition("@")[0]
    check_number(kind, fields.get("format"), _what(folder, fields), _made_by(fields))


def _misfit(folder: Path, fields: Mapping[str, Any], error: ValidationError) -> StoreError:
    """Tell entries that a newer version wrote from a manifest that lacks some.

    Without a digest that vouches for it, a manifest with entries too many and others too few is one with a flipped bit
    in a name.
    """
    wrong = error.errors()
    unknown = [".".join(map(str, one["loc"])) for one in wrong if one["type"] == "extra_forbidden"]
    if unknown and (fields.get("digest") or len(unknown) == len(wrong)):
        return _newer(folder, fields, unknown_entries("its manifest", unknown))
    return _unreadable(folder, "it lacks entries of a manifest")


def _newer(folder: Path, fields: Mapping[str, Any], finding: str) -> NewerFormatError:
    return newer(_what(folder, fields), finding, _made_by(fields))


def _what(folder: Path, fields: Mapping[str, Any]) -> str:
    reference = fields.get("reference")
    return ArtifactRef.parse(reference).short if isinstance(reference, str) and "@" in reference else str(folder)


def _made_by(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    made_by = fields.get("provenance")
    return made_by if isinstance(made_by, dict) else {}


def records_of(
    folder: Path, paths: Iterable[Path], known: Mapping[str, FileRecord] = MappingProxyType({})
) -> dict[str, FileRecord]:
    """Return the record of each file by its path in the folder; those that are not known are read."""
    names = {path.relative_to(folder).as_posix(): path for path in paths}
    return {name: known.get(name) or _record_of(path) for name, path in names.items()}


def _record_of(path: Path) -> FileRecord:
    return FileRecord(sha256=sha256_of(path), num_bytes=path.stat().st_size)


def check_file(folder: Path, name: str) -> Path:
    """Return the path of an artifact's file after comparing its digest with the manifest; for files read whole.

    Raises CorruptArtifactError where it is missing or its bytes are others.
    """
    record: Mapping[str, FileRecord] = Manifest.read(folder).files
    path = folder / name
    if name not in record or not path.is_file():
        raise CorruptArtifactError(f"{path} is missing from its artifact: {advice(folder)}")
    if (found := sha256_of(path)) != record[name].sha256:
        raise CorruptArtifactError(
            f"{path} has SHA-256 {found[:12]}..., its manifest says {record[name].sha256[:12]}...: {advice(folder)}"
        )
    return path


def check_layout(folder: Path, names: Iterable[str]) -> int:
    """Compare the small files that say how to read an artifact with its manifest, and return its format; a draft,
    which has no manifest, passes, and is UNFINISHED.

    Chunks and pages carry checksums of their own; these files do not, and a flipped bit in them would misread the
    rest. Raises CorruptArtifactError where one is missing or its bytes are others.
    """
    if not (folder / MANIFEST).is_file():
        return UNFINISHED  # nothing says what its files should be; whoever continues a draft looks into each
    manifest = Manifest.read(folder)
    records = manifest.files
    for name in names:
        path = folder / name
        if name not in records or not path.is_file() or sha256_of(path) != records[name].sha256:
            raise CorruptArtifactError(f"{path} is missing or not as it was committed: {advice(folder)}")
    return manifest.format


def advice(folder: Path) -> str:
    """What to do about a damaged artifact."""
    return (
        f"run 'taskdistill discard {folder.parent.name}@{folder.name[:12]} --with-dependents', then the same run again"
    )
