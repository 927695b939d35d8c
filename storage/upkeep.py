"""Looking after a store: verify every byte, discard what is broken. storage.collecting removes what nothing needs."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from taskdistill.configs.counting import counted
from taskdistill.storage.collecting import inputs_of, leaves_first, read_manifests
from taskdistill.storage.completeness import gaps
from taskdistill.storage.errors import CorruptArtifactError, NewerFormatError, NotInStoreError, StillNeededError
from taskdistill.storage.files import all_files, sha256_of
from taskdistill.storage.fingerprint import fingerprint
from taskdistill.storage.manifest import MANIFEST, ArtifactRef, Manifest, named_inputs
from taskdistill.storage.proof import damage_of
from taskdistill.storage.roots import Run
from taskdistill.storage.store import ArtifactStore

MIN_PREFIX = 4


class Damage(NamedTuple):
    """One thing wrong with an artifact."""

    ref: ArtifactRef
    file: str
    problem: str


class Verified(NamedTuple):
    """What `verify` looked at and found."""

    num_verified: int
    num_without_digest: int
    """Artifacts made before manifests had a digest of themselves: a changed score or date is not found there."""
    damages: list[Damage]
    unreadable: list[str]
    """What is wrong with labels and records of drafts, and what to do."""
    newer: list[str]
    """What a newer version made, which this one can neither verify nor call damaged."""


def verify_all(store: ArtifactStore) -> Verified:
    """Verify all there is in a store."""
    damages = [Damage(ref, "", problem) for ref, problem in store.broken().items()]
    newer: list[str] = []
    num_verified = num_without_digest = 0
    for ref in store.references():
        try:
            damages += verify(store, ref)
            num_without_digest += not has_digest(store, ref)
        except NotInStoreError:  # removed since it was listed
            continue
        except NewerFormatError as error:
            newer.append(str(error))
            continue
        num_verified += 1
    return Verified(num_verified, num_without_digest, damages, store.unreadable(), newer)


def verify_one(store: ArtifactStore, ref: ArtifactRef) -> Verified:
    """Verify one artifact; NewerFormatError where a newer version made it."""
    return Verified(1, int(not has_digest(store, ref)), list(verify(store, ref)), [], [])


def has_digest(store: ArtifactStore, ref: ArtifactRef) -> bool:
    """Whether a manifest carries a digest of itself, or is damaged anyway."""
    return all(manifest is None or bool(manifest.digest) for manifest in read_manifests(store, ref))


def verify(store: ArtifactStore, ref: ArtifactRef) -> Iterator[Damage]:
    """Recompute all that can be proven of an artifact and yield whatever differs: the digest of its manifest, its
    fingerprint, the digest of each file, and what the formats of the files prove by themselves.

    Raises NotInStoreError where it is not there, or is removed meanwhile, and NewerFormatError where a newer version
    made it.
    """
    folder = store.path(ref)
    try:
        manifest = Manifest.read(folder)
    except CorruptArtifactError as error:
        yield Damage(ref, MANIFEST, str(error))
        return
    if fingerprint(manifest.recipe) != ref.fingerprint or manifest.reference != str(ref):
        yield Damage(ref, MANIFEST, "the recipe does not have the fingerprint the artifact is named by")
    if {role: text.partition("@")[2] for role, text in manifest.inputs.items()} != manifest.recipe.get("inputs", {}):
        yield Damage(ref, MANIFEST, "the inputs it names are not those of the recipe")
    try:
        found = list(_damaged_files(ref, folder, manifest))
    except FileNotFoundError:
        store.path(ref)  # says so where the artifact has been removed meanwhile
        raise
    if found:
        store.path(ref)  # files that are missing because somebody removed the artifact are no damage
    yield from found


def _damaged_files(ref: ArtifactRef, folder: Path, manifest: Manifest) -> Iterator[Damage]:
    present = {path.relative_to(folder).as_posix() for path in all_files(folder)}
    for name in sorted(present - manifest.files.keys() - {MANIFEST}):
        yield Damage(ref, name, "not in the manifest")
    whole = []
    for name, record in manifest.files.items():
        if not (folder / name).is_file():
            yield Damage(ref, name, "missing")
        elif sha256_of(folder / name) != record.sha256:
            yield Damage(ref, name, "its bytes are not the ones that were committed")
        elif problem := damage_of(folder / name):
            yield Damage(ref, name, f"it was not whole when it was committed: {problem}")
        else:
            whole.append(name)
    yield from (Damage(ref, *gap) for gap in gaps(folder, whole) if gap.name in whole or gap.name not in manifest.files)


def dependents(store: ArtifactStore, roots: Collection[ArtifactRef]) -> list[ArtifactRef]:
    """Every artifact made, directly or not, from one of `roots`; the last made first."""
    users: dict[ArtifactRef, list[ArtifactRef]] = {}
    for ref in store.references():
        # Manifests say what an artifact was made from; who uses it is known by reading all of them.
        for source in _sources(store, ref):
            users.setdefault(source, []).append(ref)
    return [ref for ref in leaves_first(roots, users) if ref not in roots]


def _sources(store: ArtifactStore, ref: ArtifactRef) -> set[ArtifactRef]:
    try:
        return {source for manifest in read_manifests(store, ref) for source in inputs_of(manifest)}
    except NewerFormatError:
        return set(named_inputs(store.path(ref)))


def _is_newer(store: ArtifactStore, ref: ArtifactRef) -> bool:
    try:
        list(read_manifests(store, ref))
    except NewerFormatError:
        return True
    return False


def to_discard(store: ArtifactStore, text: str) -> ArtifactRef:
    """Turn what a person typed into a draft, an artifact, or what an interrupted copy left of one. A label is the
    artifact that it names, whatever else begins like it. NotInStoreError where it fits nothing, or several.
    """
    kind, _, prefix = text.rpartition("@")
    if text in store.labels() or len(prefix) < MIN_PREFIX:
        return store.resolve(text)
    fitting = [
        ref
        for ref in [*store.drafts(), *store.broken(), *store.references()]
        if ref.fingerprint.startswith(prefix) and kind in ("", ref.kind)
    ]
    if len(fitting) > 1:
        raise NotInStoreError(f"{text!r} fits {', '.join(ref.short for ref in fitting)}: say which")
    return fitting[0] if fitting else store.resolve(text)


def discard(
    store: ArtifactStore, ref: ArtifactRef, *, with_dependents: bool = False, with_labels: bool = False
) -> list[ArtifactRef]:
    """Remove an artifact, its draft, or what an interrupted copy left of it; returns what was removed.

    Refuses while a run needs it; while other artifacts were made from it, unless told to take them along; and where one
    of those has a label, unless told to take that along too, or was made by a newer version: such go by their own names
    alone. Labels of what is removed go with it.
    """
    if ref in store.drafts() and ref not in store:
        store.remove_draft(ref)
        removed = [ref]
    else:
        with store.roots.removing() as runs:
            removed = [ref] if ref in store.broken() else [*_others(store, ref, with_dependents, with_labels), ref]
            _check_not_in_use(removed, runs)
            for each in removed:  # dependents first: a death in between leaves none whose inputs are gone
                store.remove(each)
            for name in [name for name, target in store.labels().items() if target in removed]:
                store.remove_label(name)
    store.delete_removed()
    return removed


def _others(store: ArtifactStore, ref: ArtifactRef, with_dependents: bool, with_labels: bool) -> list[ArtifactRef]:
    """Return what must go before an artifact; StillNeededError where that is more than was asked for."""
    store.path(ref)
    others = dependents(store, [ref])
    labels = [f"{name} ({target.short})" for name, target in store.labels().items() if target in others]
    if newer := [other.short for other in others if _is_newer(store, other)]:
        raise StillNeededError(
            f"{', '.join(newer[:4])} was made from {ref.short} by a newer version of this program: with that version, "
            f"which can read what hangs on what, {ref.short} can be removed"
        )
    if others and not with_dependents:
        labelled = f", and these have labels: {', '.join(labels)}" if labels else ""
        raise StillNeededError(
            f"{counted(len(others), 'artifact was', 'artifacts were')} made from {ref.short}: "
            f"{', '.join(other.short for other in others[:4])}"
            f"{labelled}. Discard those first, or pass --with-dependents{' --with-labels' if labels else ''} to remove "
            "all of them"
        )
    if labels and not with_labels:
        raise StillNeededError(
            f"of what was made from {ref.short} ({counted(len(others), 'artifact')}) some has labels: "
            f"{', '.join(labels)}. To remove that too, run the same command with --with-labels"
        )
    return others


def _check_not_in_use(refs: Collection[ArtifactRef], runs: Collection[Run]) -> None:
    for run in runs:
        if needed := [ref for ref in refs if ref in run.refs]:
            raise StillNeededError(f"a run needs {needed[0].short} ({run.who}): wait for it, or stop it")
