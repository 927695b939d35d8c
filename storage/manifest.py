"""The record in every artifact, written last: an artifact is complete because its manifest is there."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

from pydantic import BaseModel, ConfigDict
from pydantic_core import from_json

from storage.errors import CorruptArtifactError, NotInStoreError
from storage.files import atomic, sha256_of

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

    model_config = ConfigDict(frozen=True)
    sha256: str
    num_bytes: int


class Manifest(BaseModel):
    """What an artifact is, what it was made of, what came out, and by whom."""

    model_config = ConfigDict(frozen=True)
    reference: str
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
        """Read the manifest in a folder; CorruptArtifactError where it is torn or was changed after the commit."""
        data = _read(folder)
        try:
            manifest = cls.model_validate_json(data)
        except ValueError:
            raise _unreadable(folder, data) from None
        if manifest.digest and manifest.digest != _digest_of(data):
            raise CorruptArtifactError(
                f"{folder / MANIFEST} was changed after it was committed, so its scores, dates and digests prove "
                f"nothing: {advice(folder)}"
            )
        return manifest

    def write(self, folder: Path) -> None:
        with atomic(folder / MANIFEST) as partial:
            partial.write_bytes(self.as_bytes())

    def as_bytes(self) -> bytes:
        """Return the text of the file, with its digest at the end."""
        fields = self.model_dump(mode="json", exclude={"digest"})
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
    """Return an artifact's recipe and check nothing else: for looking at thousands of them.

    Raises NotInStoreError where there is no manifest, CorruptArtifactError where it has no recipe.
    """
    data = _read(folder)
    try:
        recipe: dict[str, Any] = from_json(data)["recipe"]
    except (ValueError, KeyError, TypeError):
        raise _unreadable(folder, data) from None
    return recipe


def _read(folder: Path) -> bytes:
    try:
        return (folder / MANIFEST).read_bytes()
    except (FileNotFoundError, NotADirectoryError):  # between the look whether it is there and now
        raise NotInStoreError(f"{folder} has just been removed: run the same command again") from None


def _digest_of(data: bytes) -> str:
    return hashlib.sha256(data[: data.rfind(_DIGEST)]).hexdigest()


def _unreadable(folder: Path, data: bytes) -> CorruptArtifactError:
    """Say what is wrong with a manifest's bytes; pydantic's own words are of no use to a user."""
    try:
        whole = isinstance(from_json(data), dict)
    except ValueError:
        whole = False
    found = "it lacks entries of a manifest" if whole else "it is no whole JSON object" if data else "it is empty"
    return CorruptArtifactError(f"{folder / MANIFEST} cannot be read ({found}): {advice(folder)}")


def records_of(folder: Path, paths: list[Path]) -> dict[str, FileRecord]:
    return {
        path.relative_to(folder).as_posix(): FileRecord(sha256=sha256_of(path), num_bytes=path.stat().st_size)
        for path in paths
    }


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


def check_layout(folder: Path, names: Iterable[str]) -> None:
    """Compare the small files that say how to read an artifact with its manifest; a draft, which has none, passes.

    Chunks and pages carry checksums of their own; these files do not, and a flipped bit in them would misread the
    rest. Raises CorruptArtifactError where one is missing or its bytes are others.
    """
    if not (folder / MANIFEST).is_file():
        return
    records = Manifest.read(folder).files
    for name in names:
        path = folder / name
        if name not in records or not path.is_file() or sha256_of(path) != records[name].sha256:
            raise CorruptArtifactError(f"{path} is missing or not as it was committed: {advice(folder)}")


def advice(folder: Path) -> str:
    """What to do about a damaged artifact."""
    return (
        f"run 'taskdistill discard {folder.parent.name}@{folder.name[:12]} --with-dependents', then the same run again"
    )
