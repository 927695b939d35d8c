"""The artifact store: a folder of finished artifacts that never change, and of drafts that become them.

    artifacts/<kind>/<fingerprint>/   finished: the manifest is there, nothing in it ever changes (storage.finished)
    drafts/<fingerprint>/             being made; survives any death and is continued by the next run
    locks/<fingerprint>               flock: freed by the kernel when its holder dies
    labels/<name>                     human names of artifacts (storage.labels)
    roots/                            what running runs need (storage.roots)
    sources/  reports/  calibration/  views/   what can be made again: digests of files, pages, paces, cut views

Whatever else lies there, such as what a desktop program writes, is left alone.

A commit puts every byte and every name of the draft on the disk, then writes the manifest, removes what only served
the making, and renames: each step is on the disk before the next. A draft with a manifest is whole, and a run that
finds one publishes it. There is no index file: a second record of the same fact could disagree with the first, and
listing 10,000 artifacts takes under two seconds without it.
"""

import contextlib
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from taskdistill.storage.contents import ANYTHING, Contents, remove_all_but, remove_damaged
from taskdistill.storage.drafts import DRAFT, UNKNOWN, DraftRecord, check_draft, find_drafts, unreadable_draft
from taskdistill.storage.errors import CorruptArtifactError, DraftError, NotInStoreError, StillNeededError
from taskdistill.storage.files import make_folder, read_json_if_whole, remove_partials, sync_all, sync_tree
from taskdistill.storage.finished import FinishedArtifacts
from taskdistill.storage.folders import delete_hidden, hide, make_way, move
from taskdistill.storage.formats import PROGRAM, format_of
from taskdistill.storage.labels import Labels
from taskdistill.storage.locks import is_any_locked, locked
from taskdistill.storage.manifest import MANIFEST, ArtifactRef, Manifest, records_of
from taskdistill.storage.notes import NOTES, noted
from taskdistill.storage.provenance import code_commit, provenance, version_of
from taskdistill.storage.root import ID_VARIABLE, ROOT_VARIABLE, check_same, check_writable, root_from
from taskdistill.storage.roots import Roots
from taskdistill.storage.sources import SourceDigests

log = logging.getLogger(__name__)

PROGRESS = ".progress.json"


class ArtifactStore:
    """One store on one file system. Any number of processes may use it at the same time."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root).absolute()
        self.sources = SourceDigests(self.root / "sources")
        self.roots = Roots(self.root)
        self._labels = Labels(self.root / "labels")
        self._finished = FinishedArtifacts(self.root / "artifacts")

    @classmethod
    def from_env(cls) -> Self:
        """The store at TASKDISTILL_STORE, or ./artifacts; StoreError where none can be, or a worker has another."""
        root = root_from(os.environ.get(ROOT_VARIABLE, "artifacts"))
        check_same(root, os.environ.get(ID_VARIABLE, ""))
        return cls(root)

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
        return ref in self._finished

    def path(self, ref: ArtifactRef) -> Path:
        """Return the folder of a finished artifact; NotInStoreError when there is none."""
        if ref not in self:
            raise NotInStoreError(f"{ref.short} is not in the store {self.root}: run its stage, or check the reference")
        return self._finished.place(ref)

    def manifest(self, ref: ArtifactRef) -> Manifest:
        """Return an artifact's manifest; NotInStoreError where it is not there, CorruptArtifactError where it is
        damaged.
        """
        return Manifest.read(self.path(ref))

    def references(self, kind: str = "*") -> list[ArtifactRef]:
        """Every finished artifact, of one kind or all, ordered by name."""
        return self._finished.references(kind)

    def broken(self) -> dict[ArtifactRef, str]:
        """Whatever stands in the place of an artifact and is none: what is wrong with it, and what to do."""
        return self._finished.broken()

    def recipes(self, kind: str) -> Iterator[tuple[ArtifactRef, dict[str, Any]]]:
        """The recipes of all artifacts of a kind that can be read: to compare with, where damage is of no matter."""
        return self._finished.recipes(kind)

    def resolve(self, text: str, kind: str = "") -> ArtifactRef:
        """Turn a label, a reference or the unique beginning of a fingerprint into the reference of an artifact here.

        Raises NotInStoreError where it names none, several, or one of another kind than the one that is needed.
        """
        if text in (unreadable := self._labels.unreadable()):
            raise NotInStoreError(unreadable[text])
        ref = self.labels().get(text) or self._finished.by_prefix(text)
        if kind and ref.kind != kind:
            raise NotInStoreError(f"{text!r} is a {ref.kind}, but a {kind} is needed here")
        return ref

    # --- labels ----------------------------------------------------------------------------------------------------

    def label(self, name: str, ref: ArtifactRef) -> None:
        """Point `name` at an artifact, away from whatever it pointed at before; on the disk when this returns.

        Raises NotInStoreError where the artifact is not here, StoreError where this cannot be a name.
        """
        # `collect` holds the same lock from when it reads the labels until it has removed what has none: in between, a
        # new label would come too late for its artifact.
        with self.roots.removing():
            self.path(ref)
            self._labels.point(name, ref)

    def remove_label(self, name: str) -> None:
        """Forget a name; what it names stays, until `collect`."""
        self._labels.remove(name)

    def labels(self) -> dict[str, ArtifactRef]:
        """Return what each label names; `unreadable` says which cannot be read."""
        return self._labels.read()

    def unreadable_labels(self) -> dict[str, str]:
        """Return the labels that cannot be read, with what to do."""
        return self._labels.unreadable()

    def unreadable(self) -> list[str]:
        """What is wrong with each label and each record of a draft that cannot be read, and what to do."""
        drafts = [unreadable_draft(ref, folder) for ref, folder in self.drafts().items() if ref.kind == UNKNOWN]
        return [*self._labels.unreadable().values(), *filter(None, drafts)]

    # --- making ----------------------------------------------------------------------------------------------------

    @contextmanager
    def lock(self, ref: ArtifactRef, *, part: str = "", wait: bool = True) -> Iterator[None]:
        """Hold the right to build or remove one artifact, or to make a part of it for whoever builds it; waits for
        another holder, or raises StillNeededError.
        """
        name = f"{ref.fingerprint}.{part}" if part else ref.fingerprint
        with locked(self.root / "locks" / name, f"{ref.short} is being built by another process", wait=wait):
            yield

    def draft_path(self, ref: ArtifactRef) -> Path:
        """Return where an artifact is made, whether anybody has begun it or not."""
        return self.root / "drafts" / ref.fingerprint

    def draft(self, ref: ArtifactRef, recipe: Mapping[str, Any]) -> Path:
        """Return the folder an artifact is made in, as an earlier attempt left it or new. The caller holds the lock.

        Raises NewerFormatError or DraftError where another version began it in another format.
        """
        folder = self.draft_path(ref)
        check_draft(ref, folder)
        # The caller's lock keeps other builders away, not the workers of an earlier run, which hold locks of their
        # parts: what those are writing looks just like what a killed writer left.
        if not self._is_worked_on(ref):
            remove_partials(folder)
        record = DraftRecord.read(folder)
        if record is None:
            if folder.is_dir():
                log.warning("%s: the record of its draft is lost, as in a power cut; continuing", ref.short)
            else:
                make_way(folder)  # a file or a dead link of this name
            make_folder(folder)
            made_by = {"commit": code_commit(), "version": version_of(PROGRAM)}
            DraftRecord(reference=str(ref), recipe=dict(recipe), format=format_of(ref.kind), **made_by).write(folder)
        elif record.commit != code_commit():
            log.warning(
                "continuing %s begun by commit %s with commit %s: safe as the stage's version is the same; "
                "'taskdistill discard %s' starts over",
                ref.short, record.commit[:12], code_commit()[:12], ref.short,
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
        check_draft(ref, folder)
        return folder

    def _is_worked_on(self, ref: ArtifactRef) -> bool:
        """Whether some process makes a part of this artifact: what it has half written is still being written."""
        return is_any_locked((self.root / "locks").glob(f"{ref.fingerprint}.*"))

    def drafts(self) -> dict[ArtifactRef, Path]:
        """Every draft; of the kind storage.drafts.UNKNOWN where its record cannot be read."""
        return find_drafts(self.root / "drafts")

    def progress(self, ref: ArtifactRef) -> dict[str, Any]:
        """What the stage of a draft last reported: unit, done, total, seconds; empty where that is not known."""
        return dict(read_json_if_whole(self.draft_path(ref) / PROGRESS) or {})

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
        record = DraftRecord.read(draft)
        remove_partials(draft)
        files, known = contents.files_of(draft), noted(draft)
        # A power cut during the making may have torn files that were written hours ago. Their digests would prove no
        # more than that, so their formats are asked first; what is known was noted when the bytes were on the disk.
        remove_damaged(ref, [path for path in files if path.relative_to(draft).as_posix() not in known])
        # All bytes before the manifest: it says that they are there, and the disk keeps no order by itself.
        sync_tree(draft)
        manifest = Manifest(
            reference=str(ref),
            format=format_of(ref.kind),
            recipe=dict(recipe),
            inputs={role: str(source) for role, source in inputs.items()},
            summary=dict(summary),
            files=records_of(draft, files, known),
            provenance=provenance(begun_by_commit=record.commit if record else "unknown", **more_provenance),
        )
        manifest.write(draft)  # on the disk when this returns; from here on `finish_commit` can do the rest
        self._publish(ref, manifest, contents)

    def finish_commit(self, ref: ArtifactRef, contents: Contents) -> bool:
        """Bring to its end a commit that was killed between its manifest and its rename; whether there was one.

        A manifest that does not fit the draft is removed: the draft is one like any other. The caller holds the lock.
        """
        draft = self.draft_path(ref)
        if not (draft / MANIFEST).is_file():
            return False
        # The manifest may be torn, or be older than what a later attempt wrote into the draft: it is believed only
        # where the digest of every file is the one it names.
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
        draft, final = self.draft_path(ref), self._finished.place(ref)
        # Before the rename, as nothing in an artifact ever changes; a death in between leaves a draft with a manifest
        # and fewer working files, which `finish_commit` takes as it is.
        remove_all_but(draft, {MANIFEST, *manifest.files}, (DRAFT, PROGRESS, f"{NOTES}/*", *contents.working))
        make_folder(final.parent)
        make_way(final)  # what an interrupted copy left there: a rename onto a folder that is not empty fails
        move(draft, final)
        # Both folders lost or won a name; the ones above may be as new as the store.
        sync_all([final.parent, draft.parent, final.parent.parent, self.root])

    def remove_draft(self, ref: ArtifactRef) -> None:
        """Take a draft out of the store, for `delete_removed` to delete; StillNeededError while it is being made."""
        with self.lock(ref, wait=False), contextlib.suppress(FileNotFoundError):
            if self._is_worked_on(ref):
                raise StillNeededError(f"a worker makes a part of {ref.short}: wait for it, or stop it")
            hide(self.draft_path(ref))

    def remove(self, ref: ArtifactRef) -> None:
        """Take one artifact out of the store; StillNeededError while somebody holds its lock. Whether something else
        needs it is not asked here: storage.upkeep and storage.collecting do.
        """
        with self.lock(ref, wait=False), contextlib.suppress(FileNotFoundError):
            hide(self._finished.place(ref))

    def delete_removed(self) -> None:
        """Delete the bytes of what was removed, also by processes that died over it."""
        with locked(self.root / "locks" / "deletion", "another process deletes what was removed from this store"):
            delete_hidden([self.root / "drafts", *(self.root / "artifacts").glob("*/")])
            shutil.rmtree(self.root / "trash", ignore_errors=True)  # where versions before this one put it
