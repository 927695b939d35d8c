"""Collecting what nothing needs. Kept is, with all that it was made from:

1. what has a label;
2. what a run that is going on makes or reads (storage.roots);
3. what a draft is made from;
4. what was made since a given time;
5. the evaluations of a labelled model, probe or logits: a labelled model without its scores would be half a result.
   An evaluation is of its model, or of its logits and the probe or model they come from; that it was made with the same
   images or the same teacher as something labelled does not keep it.

Where that cannot be known, because a label, a draft's record or the manifest of something to keep cannot be read,
everything is kept. So it is where a newer version of this program has made something: what that needs is not for this
one to say.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from taskdistill.storage.drafts import UNKNOWN, DraftRecord
from taskdistill.storage.errors import CorruptArtifactError, NewerFormatError, NotInStoreError, StillNeededError
from taskdistill.storage.files import bytes_in
from taskdistill.storage.kept_views import VIEWS, delete_unused_views
from taskdistill.storage.manifest import ArtifactRef, Manifest, advice
from taskdistill.storage.roots import Run
from taskdistill.storage.store import ArtifactStore

log = logging.getLogger(__name__)

SUBJECTS = ("model", "logits", "probe")
"""Roles of the input that an evaluation is of, or that the logits it is of come from."""


class Collection(NamedTuple):
    """What is kept and why, what goes, and what must be known before anything can go."""

    kept: dict[ArtifactRef, str]
    goes: list[ArtifactRef]
    """Dependents before what they were made from."""
    doubts: list[str]
    newer: list[str]
    """What a newer version of this program made, each of which is a doubt too."""
    manifests: "Manifests"
    """Of all that is kept or goes, as they were before anything went."""
    num_bytes: Mapping[ArtifactRef, int]
    """What each takes of the store's disk: of a link to elsewhere nothing."""

    @property
    def freed_bytes(self) -> int:
        return sum(self.num_bytes[ref] for ref in self.goes)


def collectable(store: ArtifactStore, *, newer_than: datetime | None = None) -> Collection:
    """Say what `collect` would do now."""
    with store.roots.removing() as runs:
        return _judge(store, runs, newer_than)


def collect(store: ArtifactStore, *, newer_than: datetime | None = None) -> Collection:
    """Remove what nothing needs, and delete what earlier removals left behind; returns what was done."""
    # From looking to removing under one lock, for which new runs and labels wait: what is judged to be of no use does
    # not come into use meanwhile.
    with store.roots.removing() as runs:
        found = _judge(store, runs, newer_than)
        in_use = {}
        for ref in found.goes:
            try:
                store.remove(ref)
            except StillNeededError as error:  # a process that named no roots, such as a worker, has its lock
                in_use[ref] = str(error)
    # Removing is a rename; deleting the bytes may take minutes, for which nobody need wait.
    store.delete_removed()
    delete_unused_views(store.root / VIEWS, [ref.fingerprint for ref in store.references("image-set")])
    return found._replace(kept=found.kept | in_use, goes=[ref for ref in found.goes if ref not in in_use])


def _judge(store: ArtifactStore, runs: Sequence[Run], newer_than: datetime | None) -> Collection:
    manifests, newer = _read_all(store)
    sources = {ref: inputs_of(manifest) for ref, manifest in manifests.items()}
    kept: dict[ArtifactRef, str] = dict.fromkeys(newer, "a newer version of this program made it")
    for root, because in _roots(store, runs, manifests, newer_than):
        if root in manifests and root not in kept:
            kept[root] = because
    # What a kept artifact was made from stays too, so that it can be verified, explained and made again.
    for root, because in list(kept.items()):
        for ref in leaves_first([root], sources):
            if ref in manifests:
                kept.setdefault(ref, f"{root.short}, which was made from it, is kept: {because}")
    doubts = store.unreadable() + [f"what it was made from is unknown: {error}" for error in newer.values()]
    doubts += [
        f"{ref.short} is to be kept, but its manifest cannot be read and so its sources are unknown: "
        f"{advice(store.path(ref))}"
        for ref in kept if manifests[ref] is None and ref not in newer
    ]  # fmt: skip
    # Dependents first: a death in between leaves no artifact whose inputs are gone.
    goes = [ref for ref in reversed(leaves_first(sources, sources)) if ref in manifests and ref not in kept]
    sizes = {ref: _num_bytes(store, ref, manifest) for ref, manifest in manifests.items()}
    if doubts:
        kept |= dict.fromkeys(goes, "nobody knows whether it is needed")
        return Collection(kept, [], doubts, list(newer.values()), manifests, sizes)
    return Collection(kept, goes, [], [], manifests, sizes)


def _num_bytes(store: ArtifactStore, ref: ArtifactRef, manifest: Manifest | None) -> int:
    folder = store.path(ref)
    if folder.is_symlink():
        return 0
    return manifest.num_bytes if manifest else bytes_in(folder)


Manifests = Mapping[ArtifactRef, Manifest | None]


def _read_all(store: ArtifactStore) -> tuple[Manifests, dict[ArtifactRef, str]]:
    """Return the manifests of a store, None for those that cannot be read, and which of these a newer version wrote."""
    manifests: dict[ArtifactRef, Manifest | None] = {}
    newer: dict[ArtifactRef, str] = {}
    for ref in store.references():
        try:
            manifests.update((ref, manifest) for manifest in read_manifests(store, ref))
        except NewerFormatError as error:
            manifests[ref], newer[ref] = None, str(error)
    return manifests, newer


def _roots(
    store: ArtifactStore, runs: Sequence[Run], manifests: Manifests, newer_than: datetime | None
) -> Iterator[tuple[ArtifactRef, str]]:
    labelled = {ref: name for name, ref in store.labels().items()}
    for ref, name in labelled.items():
        yield ref, f"it has the label {name}"
    for ref in manifests:
        if ref.kind == "evaluation" and (subject := _labelled_subject(ref, manifests, labelled)):
            yield ref, f"it holds the scores of {subject.short}, which has the label {labelled[subject]}"
    for run in runs:
        for ref in run.refs:
            yield ref, f"a run needs it ({run.who})"
    # Drafts name their inputs by fingerprint alone: their recipe has no kinds.
    # A draft of a kind unknown here, such as one of a newer version, is a doubt for which everything is kept.
    drafts = {ref: folder for ref, folder in store.drafts().items() if ref.kind != UNKNOWN}
    records = {ref: DraftRecord.read(folder) for ref, folder in drafts.items()}
    wanted = {name: ref for ref, record in records.items() if record for name in record.inputs}
    for ref, manifest in manifests.items():
        if ref.fingerprint in wanted:
            yield ref, f"the unfinished {wanted[ref.fingerprint].short} is made from it"
        elif newer_than and manifest and (made := _made(manifest)) >= newer_than:
            yield ref, f"it was made {_minute(made)}, and what was made since {_minute(newer_than)} is kept"


def _labelled_subject(
    ref: ArtifactRef, manifests: Manifests, labelled: Mapping[ArtifactRef, str]
) -> ArtifactRef | None:
    """Return the labelled artifact that an evaluation is of, or that the logits it is of come from."""
    manifest = manifests.get(ref)
    inputs = manifest.input_refs if manifest else {}
    subject = next((inputs[role] for role in SUBJECTS if role in inputs), None)
    if subject is None or subject in labelled:
        return subject
    return _labelled_subject(subject, manifests, labelled) if subject.kind == "logits" else None


def _minute(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _made(manifest: Manifest) -> datetime:
    """Return when an artifact was made; a date that cannot be read counts as now, so that nothing is lost by it."""
    try:
        made = datetime.fromisoformat(manifest.provenance["made"])
    except (KeyError, TypeError, ValueError):
        return datetime.now(UTC)
    return made if made.tzinfo else made.replace(tzinfo=UTC)


def read_manifests(store: ArtifactStore, ref: ArtifactRef) -> Iterator[Manifest | None]:
    """Yield an artifact's manifest, None where it cannot be read, and nothing where it has just been removed.

    Raises NewerFormatError where a newer version wrote it.
    """
    try:
        yield store.manifest(ref)
    except CorruptArtifactError as error:  # must not keep the very tool from removing it
        log.warning("what %s was made from is unknown: %s", ref.short, error)
        yield None
    except NotInStoreError:
        return


def inputs_of(manifest: Manifest | None) -> list[ArtifactRef]:
    """Return what an artifact was made from; nothing where its manifest cannot be read."""
    return list(manifest.input_refs.values()) if manifest else []


def leaves_first(roots: Iterable[ArtifactRef], edges: Mapping[ArtifactRef, Sequence[ArtifactRef]]) -> list[ArtifactRef]:
    """Everything reachable from the roots, each node after all the nodes it leads to; depth first, as there is no
    circle in what things were made from.
    """
    seen: dict[ArtifactRef, None] = {}

    def visit(ref: ArtifactRef) -> None:
        if ref not in seen:
            for following in edges.get(ref, ()):
                visit(following)
            seen[ref] = None

    for root in roots:
        visit(root)
    return list(seen)
