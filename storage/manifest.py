"""The record in every artifact, written last: an artifact is complete because its manifest is there."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

from pydantic import BaseModel, ConfigDict
from pydantic_core import from_json

from storage.errors import CorruptArtifactError, NotInStoreError
from storage.files import sha256_of, write_json

MANIFEST = "manifest.json"


class ArtifactRef(NamedTuple):
    """The name of an artifact: its kind and its recipe's fingerprint, written `kind@fingerprint`."""

    kind: str
    fingerprint: str

    @classmethod
    def parse(cls, text: str) -> Self:
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

    @classmethod
    def read(cls, folder: Path) -> Self:
        try:
            return cls.model_validate_json((folder / MANIFEST).read_bytes())
        except ValueError as error:
            raise CorruptArtifactError(f"{folder / MANIFEST} cannot be read ({error}): {advice(folder)}") from None

    def write(self, folder: Path) -> None:
        write_json(folder / MANIFEST, self.model_dump(mode="json"))

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
    """Return an artifact's recipe and check nothing else: for looking at thousands of them."""
    try:
        recipe: dict[str, Any] = from_json((folder / MANIFEST).read_bytes())["recipe"]
    except (ValueError, KeyError) as error:
        raise CorruptArtifactError(f"{folder / MANIFEST} cannot be read ({error}): {advice(folder)}") from None
    return recipe


def records_of(folder: Path, paths: list[Path]) -> dict[str, FileRecord]:
    return {
        path.relative_to(folder).as_posix(): FileRecord(sha256=sha256_of(path), num_bytes=path.stat().st_size)
        for path in paths
    }


def check_file(folder: Path, name: str) -> Path:
    """Return the path of an artifact's file after comparing its digest with the manifest; for files read whole."""
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
    rest.
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
