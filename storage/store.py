"""The artifact store: a folder of finished artifacts that never change, and of drafts that become them.

    artifacts/<kind>/<fingerprint>/   finished: the manifest is there, nothing in it ever changes
    drafts/<fingerprint>/             being made; survives any death and is continued by the next run
    locks/<fingerprint>               flock: freed by the kernel when its holder dies
    labels/<name>                     human names of artifacts
    sources/                          digests of external files (storage.sources)

A commit is one rename. There is no index file: a second record of the same fact could disagree with the first, and
listing 10,000 artifacts takes under two seconds without it.
"""

import logging
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from storage.errors import NotInStoreError, StillNeededError, StoreError
from storage.files import PARTIAL, all_files, read_json, remove_partials, sync, write_json
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
        (self.root / "labels").mkdir(parents=True, exist_ok=True)
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
        if (folder / DRAFT).is_file():
            if not self._is_worked_on(ref):
                remove_partials(folder)
            began = read_json(folder / DRAFT)["commit"]
            if began != code_commit():
                log.warning(
                    "continuing %s begun by commit %s with commit %s: safe as the stage's version is the same; "
                    "'taskdistill discard %s' starts over", ref.short, began[:12], code_commit()[:12], ref.short,
                )  # fmt: skip
            return folder
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / DRAFT, {"reference": str(ref), "recipe": dict(recipe), "commit": code_commit()})
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
        path = self.draft_path(ref) / PROGRESS
        return dict(read_json(path)) if path.is_file() else {}

    def commit(
        self,
        ref: ArtifactRef,
        *,
        recipe: Mapping[str, Any],
        inputs: Mapping[str, ArtifactRef],
        summary: Mapping[str, Any],
        **more_provenance: Any,
    ) -> None:
        """Turn the draft into the finished artifact: digests, manifest, one rename. The caller holds the lock."""
        draft, final = self.draft_path(ref), self._folder(ref)
        began = read_json(draft / DRAFT)["commit"]
        remove_partials(draft)
        files = [path for path in all_files(draft) if path.name not in (DRAFT, PROGRESS, MANIFEST)]
        for path in files:
            sync(path)
        manifest = Manifest(
            reference=str(ref),
            recipe=dict(recipe),
            inputs={role: str(source) for role, source in inputs.items()},
            summary=dict(summary),
            files=records_of(draft, files),
            provenance=provenance(begun_by_commit=began, **more_provenance),
        )
        (draft / PROGRESS).unlink(missing_ok=True)
        manifest.write(draft)
        (draft / DRAFT).unlink()
        final.parent.mkdir(parents=True, exist_ok=True)
        draft.rename(final)
        sync(final.parent)

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
