"""What was measured of how long stages take, beside what the artifacts of a store tell: files in its folder
`calibration`, which may be removed at any time.
"""

import hashlib
import platform
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from taskdistill.configs.runtime import RuntimeConfig
from taskdistill.storage.files import read_json_if_whole, write_json
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.summaries import PaceSummary

FOLDER = "calibration"


class Measured(NamedTuple):
    """An artifact that was made to measure how long it takes, and is there no more."""

    kind: str
    fingerprint: str
    recipe: dict[str, Any]
    pace: PaceSummary
    host: str
    images: str
    """Fingerprint of the image-set of which it is a small part."""


_MEASURED = TypeAdapter(list[Measured])


def keep(aside: ArtifactStore, store: ArtifactStore, images: ArtifactRef, runtime: RuntimeConfig) -> None:
    """Note in `store` what the artifacts of another one tell, in place of what was measured for these images on this
    computer, with this device and these threads.
    """
    manifests = [(ref, aside.manifest(ref)) for ref in aside.references()]
    told = [
        Measured(
            ref.kind, ref.fingerprint, manifest.recipe, PaceSummary.of(manifest), platform.node(), images.fingerprint
        )
        for ref, manifest in manifests
    ]
    by = repr((platform.node(), runtime.device, sorted(runtime.hands.items()), images.fingerprint))
    name = hashlib.blake2b(by.encode(), digest_size=8).hexdigest()
    write_json(_folder(store) / f"{name}.json", _MEASURED.dump_python(told, mode="json"))


def measured_in(store: ArtifactStore, runtime: RuntimeConfig) -> dict[ArtifactRef, Measured]:
    """Return what was measured on this computer with this device, of what was measured several times rather with as
    many threads and workers; a file that cannot be read tells nothing.
    """
    told = [one for path in sorted(_folder(store).glob("*.json")) for one in _read(path)]
    here = [one for one in told if one.host == platform.node() and one.pace.device == runtime.device]
    here.sort(key=lambda one: one.pace.hands == runtime.hands)  # of the same artifact the last is kept
    return {ArtifactRef(one.kind, one.fingerprint): one for one in here}


def _read(path: Path) -> list[Measured]:
    try:
        return _MEASURED.validate_python(read_json_if_whole(path) or [])
    except ValidationError:  # of another version
        return []


def _folder(store: ArtifactStore) -> Path:
    return store.root / FOLDER
