"""What takes room in a store beside its artifacts: kept views, unfinished drafts, and what is no whole artifact."""

import shlex
from typing import NamedTuple

from taskdistill.flows.pipeline.kept_work import kept_work
from taskdistill.storage.files import bytes_in
from taskdistill.storage.kept_views import VIEWS, bytes_kept
from taskdistill.storage.locks import is_any_locked
from taskdistill.storage.store import ArtifactStore


class OnDisk(NamedTuple):
    """Something that takes room."""

    what: str
    num_bytes: int
    command: str
    """That removes it, or why none does now."""


def others_on_disk(store: ArtifactStore) -> list[OnDisk]:
    """Return what takes room and is no artifact: `collect` removes none of it but views that nobody used for a day."""
    found = []
    if views := bytes_kept(store.root / VIEWS):
        what = "kept views, a cache that is cut again where it is missing"
        found.append(OnDisk(what, views, f"rm -r {shlex.quote(str(store.root / VIEWS))}"))
    for ref, draft in store.drafts().items():
        is_made_now = is_any_locked((store.root / "locks").glob(f"{ref.fingerprint}*"))
        command = "it is being made" if is_made_now else f"taskdistill discard {ref.short}"
        found.append(OnDisk(f"unfinished {ref.short}, {kept_work(store, ref)}", bytes_in(draft), command))
    for ref in store.broken():
        folder = store.root / "artifacts" / ref.kind / ref.fingerprint
        what = f"{ref.short}, which is no whole artifact"
        found.append(OnDisk(what, bytes_in(folder), f"taskdistill discard {ref.short}"))
    return found
