"""The artifact store: a folder of finished artifacts that never change, and of drafts that become them.

    artifacts/<kind>/<fingerprint>/   finished: the manifest is there, nothing in it ever changes
    drafts/<fingerprint>/             being made; survives any death and is continued by the next run
    locks/<fingerprint>               flock: freed by the kernel when its holder dies
    labels/<name>                     human names of artifacts
    sources/                          digests of external files (storage.sources)

A commit puts every byte and every name of the draft on the disk, then writes the manifest, removes what only served
the making, and renames: each step is on the disk before the next. A draft with a manifest is whole, and a run that
finds one (the last was killed before the rename) publishes it. There is no index file: a second record of the same
fact could disagree with the first, and listing 10,000 artifacts takes under two seconds without it.
"""

import logging
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from storage.contents import ANYTHING, Contents, remove_all_but
from storage.errors import CorruptArtifactError, DraftError, NotInStoreError, StillNeededError, StoreError
from storage.files import (
    PARTIAL,
    make_folder,
    read_json,
    read_json_if_whole,
    remove_partials,
    sync_all,
    sync_tree,
    write_json,
)
from storage.manifest import MANIFEST, ArtifactRef, Manifest, records_of
from storage.provenance import code_commit, provenance
from storage.root import ROOT_VARIABLE, check_writable, lock_file, root_from
from storage.sources import SourceDigests

log = logging.getLogger(__name__)

DRAFT = ".draft.json"
PROGRESS = ".progress.json"
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class ArtifactStore:
    """One store on one file system. Any number of processes may use it at the same time."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root).absolute()
        self.sources = SourceDigests(self.root / "sources")

    @classmethod
    def from_env(cls) -> Self:
        """The store at TASKDISTILL_STORE, or ./artifacts; StoreError where none can be there."""
        return cls(root_from(os.environ.get(ROOT_VARIABLE, "artifacts")))

    @classmethod
    def from_env_for_children(cls) -> Self:
        """The same, which processes started from here then find too, whatever folder they run in."""
        store = cls.from_env()
        os.environ[ROOT_VARIABLE] = str(store.root)
        return store

    def check_writable(self) -> None:
        """Raise StoreError where nothing can be made here: asked before the work, not after it."""
        check_writable(self.root)

    # --- finding ---------------------------------------------------------------------------------------------------

    def __contains__(self, ref: ArtifactRef) -> bool:
        return (self._folder(ref) / MANIFEST).is_file()

    def path(self, ref: ArtifactRef) -> Path:
        """Return the folder of a finished artifact; NotInStoreError when there is none."""
        if ref not in self:
            raise NotInStoreError(f"{ref.short} is not in the store {self.root}: run its stage, or check the reference")
        return self._folder(ref)

    def manifest(self, ref: ArtifactRef) -> Manifest:
        return Manifest.read(self.path(ref))

    def references(self, kind: str = "*") -> list[ArtifactRef]:
        """Every finished artifact, of one kind or all, ordered by name."""
        found = (self.root / "artifacts").glob(f"{kind}/*/{MANIFEST}")
        return sorted(ArtifactRef(path.parent.parent.name, path.parent.name) for path in found)

    def resolve(self, text: str, kind: str = "") -> ArtifactRef:
        """Turn a label, a reference or the unique beginning of a fingerprint into the reference of an artifact here."""
        ref = self.labels().get(text) or self._by_prefix(text)
        if kind and ref.kind != kind:
            raise NotInStoreError(f"{text!r} is a {ref.kind}, but a {kind} is needed here")
        return ref

    def _by_prefix(self, text: str) -> ArtifactRef:
        kind, _, prefix = text.rpartition("@")
        matches = []
        if re.fullmatch(r"[0-9a-f]{4,64}", prefix) and re.fullmatch(r"[a-z-]*", kind):
            found = (self.root / "artifacts").glob(f"{kind or '*'}/{prefix}*/{MANIFEST}")
            matches = sorted(ArtifactRef(path.parent.parent.name, path.parent.name) for path in found)
        if len(matches) > 1:
            raise NotInStoreError(
                f"{text!r} fits {len(matches)} artifacts: {', '.join(m.short for m in matches[:5])} ..."
            )
        if not matches:
            raise NotInStoreError(
                f"{text!r} is neither a label nor a reference in the store {self.root}: 'taskdistill list' shows both"
            )
        return matches[0]

    # --- labels ----------------------------------------------------------------------------------------------------

    def label(self, name: str, ref: ArtifactRef) -> None:
        """Point `name` at an artifact, away from whatever it pointed at before."""
        if not _LABEL.fullmatch(name) or name.endswith(PARTIAL):
            raise StoreError(f"{name!r} cannot be a label: use letters, digits, '.', '_' and '-', such as birds-v1")
        self.path(ref)
        make_folder(self.root / "labels")
        write_json(self.root / "labels" / name, str(ref))

    def remove_label(self, name: str) -> None:
        (self.root / "labels" / name).unlink(missing_ok=True)

    def labels(self) -> dict[str, ArtifactRef]:
        folder = self.root / "labels"
        names = sorted(path for path in folder.iterdir() if _LABEL.fullmatch(path.name)) if folder.is_dir() else []
        return {path.name: ArtifactRef.parse(read_json(path)) for path in names if not path.name.endswith(PARTIAL)}

    # --- making ----------------------------------------------------------------------------------------------------

    @contextmanager
    def lock(self, ref: ArtifactRef, *, part: str = "", wait: bool = True) -> Iterator[None]:
        """Hold the right to build or remove one artifact, or to make a part of it for whoever builds it; waits for
        another holder, or raises StillNeededError.
        """
        (self.root / "locks").mkdir(parents=True, exist_ok=True)
        with (self.root / "locks" / (f"{ref.fingerprint}.{part}" if part else ref.fingerprint)).open("w") as file:
            if not lock_file(file, self.root, wait=False):
                if not wait:
                    raise StillNeededError(f"{ref.short} is being built by another process: wait for it")
                log.info("%s is being built by another process; waiting for it", ref.short)
                lock_file(file, self.root, wait=True)
            yield

    def draft_path(self, ref: ArtifactRef) -> Path:
        return self.root / "drafts" / ref.fingerprint

    def draft(self, ref: ArtifactRef, recipe: Mapping[str, Any]) -> Path:
        """Return the folder an artifact is made in, as an earlier attempt left it or new. The caller holds the lock."""
        folder = self.draft_path(ref)
        if not self._is_worked_on(ref):
            remove_partials(folder)
        began = _begun_by(folder)
        if not began:
            if folder.is_dir():
                log.warning("%s: the record of its draft is lost, as in a power cut; continuing", ref.short)
            make_folder(folder)
            write_json(folder / DRAFT, {"reference": str(ref), "recipe": dict(recipe), "commit": code_commit()})
        elif began != code_commit():
            log.warning(
                "continuing %s begun by commit %s with commit %s: safe as the stage's version is the same; "
                "'taskdistill discard %s' starts over", ref.short, began[:12], code_commit()[:12], ref.short,
            )  # fmt: skip
        return folder

    def draft_of(self, ref: ArtifactRef) -> Path:
        """Return the folder another process makes this artifact in; NotInStoreError when there is none here."""
        folder = self.draft_path(ref)
        if not (folder / DRAFT).is_file():
            raise NotInStoreError(
                f"{ref.short} is not being made in the store {self.root}: set {ROOT_VARIABLE} to the store of the run "
                "that asks for it"
            )
        return folder

    def _is_worked_on(self, ref: ArtifactRef) -> bool:
        """Whether some process makes a part of this artifact: what it has half written is its own."""
        for path in (self.root / "locks").glob(f"{ref.fingerprint}.*"):
            with path.open("w") as file:
                if not lock_file(file, self.root, wait=False):
                    return True
        return False

    def drafts(self) -> dict[ArtifactRef, Path]:
        found = (self.root / "drafts").glob(f"*/{DRAFT}")
        return {ArtifactRef.parse(read_json(path)["reference"]): path.parent for path in sorted(found)}

    def progress(self, ref: ArtifactRef) -> dict[str, Any]:
        """How far a draft has come, as its stage last said: unit, done, total; empty when there is no draft."""
        said: dict[str, Any] = read_json_if_whole(self.draft_path(ref) / PROGRESS) or {}
        return said

    def commit(
        self,
        ref: ArtifactRef,
        *,
        recipe: Mapping[str, Any],
        inputs: Mapping[str, ArtifactRef],
        summary: Mapping[str, Any],
        contents: Contents = ANYTHING,
        **more_provenance: Any,
    ) -> None:
        """Turn the draft into the finished artifact: digests, manifest, one rename. The caller holds the lock.

        Raises DraftError where a file is missing, or is not whole; what is not whole is removed, to be made again.
        """
        draft = self.draft_path(ref)
        began = _begun_by(draft)
        remove_partials(draft)
        files = contents.files_of(draft)
        _remove_damaged(ref, files)
        sync_tree(draft)
        manifest = Manifest(
            reference=str(ref),
            recipe=dict(recipe),
            inputs={role: str(source) for role, source in inputs.items()},
            summary=dict(summary),
            files=records_of(draft, files),
            provenance=provenance(begun_by_commit=began, **more_provenance),
        )
        manifest.write(draft)
        self._publish(ref, manifest, contents)

    def finish_commit(self, ref: ArtifactRef, contents: Contents) -> bool:
        """Bring to its end a commit that was killed between its manifest and its rename; whether there was one.

        A manifest that does not fit the draft is removed: the draft is one like any other. The caller holds the lock.
        """
        draft = self.draft_path(ref)
        if not (draft / MANIFEST).is_file():
            return False
        try:
            manifest = Manifest.read(draft)
            files = contents.files_of(draft)
        except (CorruptArtifactError, DraftError):
            files = []
        if not files or manifest.reference != str(ref) or manifest.files != records_of(draft, files):
            (draft / MANIFEST).unlink()
            return False
        sync_tree(draft)
        self._publish(ref, manifest, contents)
        return True

    def _publish(self, ref: ArtifactRef, manifest: Manifest, contents: Contents) -> None:
        """Give a draft that is whole and on the disk its place among the artifacts."""
        draft, final = self.draft_path(ref), self._folder(ref)
        remove_all_but(draft, {MANIFEST, *manifest.files}, (DRAFT, PROGRESS, *contents.working))
        make_folder(final.parent)
        draft.rename(final)
        sync_all([final.parent, draft.parent, final.parent.parent, self.root])

    def remove_draft(self, ref: ArtifactRef) -> None:
        with self.lock(ref, wait=False):
            shutil.rmtree(self.draft_path(ref), ignore_errors=False)

    def remove(self, ref: ArtifactRef) -> None:
        """Delete one artifact: gone under its name at once, its bytes after. See storage.upkeep for the safe ways."""
        grave = self.root / "trash" / f"{ref.fingerprint}.{os.getpid()}"
        grave.parent.mkdir(parents=True, exist_ok=True)
        with self.lock(ref, wait=False):
            self._folder(ref).rename(grave)
        shutil.rmtree(grave)

    def _folder(self, ref: ArtifactRef) -> Path:
        return self.root / "artifacts" / ref.kind / ref.fingerprint


def _begun_by(draft: Path) -> str:
    """Return the commit of the code that began a draft; "" where there is none, or a power cut took its record."""
    record: dict[str, str] = read_json_if_whole(draft / DRAFT) or {}
    return record.get("commit", "")


def _remove_damaged(ref: ArtifactRef, files: Sequence[Path]) -> None:
    """Remove the files that their own formats prove to be damaged; DraftError where there are any."""
    from storage.proof import damage_of  # takes 0.2 s to import, which looking into a store need not

    damaged = {path: damage for path in files if (damage := damage_of(path))}
    for path in damaged:
        path.unlink()
    if damaged:
        path, damage = next(iter(damaged.items()))
        raise DraftError(
            f"{len(damaged)} files of {ref.short} were not whole and are removed, the first is {path}: {damage}. Run "
            "the same again: only what is missing is made. If it happens again, look after the disk"
        )
