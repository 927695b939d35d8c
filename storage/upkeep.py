"""Looking after a store: verify every byte, discard what is broken, collect what nothing needs."""

import logging
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from storage.errors import CorruptArtifactError, StillNeededError
from storage.files import all_files, read_json, sha256_of
from storage.fingerprint import fingerprint
from storage.manifest import MANIFEST, ArtifactRef, Manifest, advice
from storage.store import DRAFT, ArtifactStore

log = logging.getLogger(__name__)


class Damage(NamedTuple):
    """One thing wrong with an artifact."""

    ref: ArtifactRef
    file: str
    problem: str


def verify(store: ArtifactStore, ref: ArtifactRef) -> Iterator[Damage]:
    """Recompute the artifact's fingerprint and the digest of each of its files; yield whatever differs."""
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
    present = {path.relative_to(folder).as_posix(): path for path in all_files(folder)}
    for name in sorted(present.keys() - manifest.files.keys() - {MANIFEST}):
        yield Damage(ref, name, "not in the manifest")
    for name, record in manifest.files.items():
        if name not in present:
            yield Damage(ref, name, "missing")
        elif sha256_of(present[name]) != record.sha256:
            yield Damage(ref, name, "its bytes are not the ones that were committed")


def dependents(store: ArtifactStore, roots: Collection[ArtifactRef]) -> list[ArtifactRef]:
    """Every artifact made, directly or not, from one of `roots`; the last made first."""
    users: dict[ArtifactRef, list[ArtifactRef]] = {}
    for ref in store.references():
        for source in set(_inputs(_manifest(store, ref))):
            users.setdefault(source, []).append(ref)
    return [ref for ref in _leaves_first(roots, users) if ref not in roots]


def discard(store: ArtifactStore, ref: ArtifactRef, *, with_dependents: bool = False) -> list[ArtifactRef]:
    """Remove an artifact, or its draft; returns what was removed.

    Refuses while other artifacts were made from it, unless told to take them along. Labels on removed artifacts go
    too.
    """
    if ref not in store and ref in store.drafts():
        store.remove_draft(ref)
        return [ref]
    store.path(ref)
    others = dependents(store, [ref])
    if others and not with_dependents:
        raise StillNeededError(
            f"{len(others)} artifacts were made from {ref.short}: {', '.join(other.short for other in others[:4])}. "
            "Discard those first, or pass --with-dependents to remove all of them"
        )
    collect(store, [*others, ref])
    return [*others, ref]


def collectable(store: ArtifactStore, *, newer_than: datetime | None = None) -> list[ArtifactRef]:
    """Artifacts that no label, no draft and no artifact made since `newer_than` needs; the last made first.

    Evaluations of what is labelled are kept with it.

    Raises CorruptArtifactError where something to keep cannot say what it was made from.
    """
    manifests = {ref: _manifest(store, ref) for ref in store.references()}
    sources = {ref: _inputs(manifest) for ref, manifest in manifests.items()}
    drafts = {ref: read_json(folder / DRAFT)["recipe"]["inputs"].values() for ref, folder in store.drafts().items()}
    wanted = {fingerprint for inputs in drafts.values() for fingerprint in inputs}
    roots = set(store.labels().values()) | {ref for ref in sources if ref.fingerprint in wanted}
    if newer_than is not None:
        roots |= {
            ref
            for ref, manifest in manifests.items()
            if manifest and datetime.fromisoformat(manifest.provenance["made"]) >= newer_than
        }
    # A labelled model without its scores would be half a result.
    roots |= {ref for ref, inputs in sources.items() if ref.kind == "evaluation" and roots.intersection(inputs)}
    kept = set(_leaves_first(roots, sources))
    for ref in kept & manifests.keys():
        if manifests[ref] is None:
            raise CorruptArtifactError(
                f"{ref.short} is to be kept, but its manifest cannot be read and so its sources are unknown: "
                f"{advice(store.path(ref))}"
            )
    return [ref for ref in reversed(_leaves_first(sources, sources)) if ref not in kept]


def collect(store: ArtifactStore, refs: Iterable[ArtifactRef]) -> None:
    """Remove artifacts, dependents before their sources, with the labels that point at them; and what is in the
    trash.
    """
    shutil.rmtree(store.root / "trash", ignore_errors=True)
    labels = store.labels()
    for ref in refs:
        store.remove(ref)
        for name in [name for name, target in labels.items() if target == ref]:
            store.remove_label(name)


def _manifest(store: ArtifactStore, ref: ArtifactRef) -> Manifest | None:
    try:
        return store.manifest(ref)
    except CorruptArtifactError:  # must not keep the very tool from removing it
        log.warning("%s has an unreadable manifest: what it was made from is unknown", ref.short)
        return None


def _inputs(manifest: Manifest | None) -> list[ArtifactRef]:
    return list(manifest.input_refs.values()) if manifest else []


def _leaves_first(
    roots: Iterable[ArtifactRef], edges: Mapping[ArtifactRef, Sequence[ArtifactRef]]
) -> list[ArtifactRef]:
    """Everything reachable from the roots, each node after all the nodes it leads to."""
    seen: dict[ArtifactRef, None] = {}

    def visit(ref: ArtifactRef) -> None:
        if ref not in seen:
            for following in edges.get(ref, ()):
                visit(following)
            seen[ref] = None

    for root in roots:
        visit(root)
    return list(seen)
