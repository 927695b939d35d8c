"""The finished artifacts of a store, `artifacts/<kind>/<fingerprint>/`: which there are, and what their names mean.

What is finished has a manifest. A folder of such a name without one is what an interrupted copy left, or a link to
nothing: commands name it, and nothing else takes it for an artifact.
"""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from taskdistill.storage.errors import CorruptArtifactError, NewerFormatError, NotInStoreError
from taskdistill.storage.manifest import FINGERPRINT, MANIFEST, ArtifactRef, read_recipe


class FinishedArtifacts:
    """The artifacts of one store."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __contains__(self, ref: ArtifactRef) -> bool:
        return (self.place(ref) / MANIFEST).is_file()

    def place(self, ref: ArtifactRef) -> Path:
        """Return the folder of an artifact, whether it is there or not."""
        return self._folder / ref.kind / ref.fingerprint

    def references(self, kind: str = "*", prefix: str = "") -> list[ArtifactRef]:
        """Every finished artifact of one kind or all, whose fingerprint begins so, ordered by name."""
        return [ref for ref in self._named(kind, prefix) if ref in self]

    def broken(self) -> dict[ArtifactRef, str]:
        """Whatever stands in the place of an artifact and is none: what is wrong with it, and what to do."""
        problem = (
            "has no manifest: an interrupted copy, or a link to nothing. Copy it again, or run 'taskdistill discard"
        )
        return {ref: f"{self.place(ref)} {problem} {ref.short}'" for ref in self._named() if ref not in self}

    def recipes(self, kind: str) -> Iterator[tuple[ArtifactRef, dict[str, Any]]]:
        """The recipes of all artifacts of a kind that can be read: to compare with, where damage is of no matter."""
        for ref in self.references(kind):
            with contextlib.suppress(NotInStoreError, CorruptArtifactError, NewerFormatError):
                yield ref, read_recipe(self.place(ref))

    def by_prefix(self, text: str) -> ArtifactRef:
        """Turn `kind@prefix` or `prefix`, the beginning of a fingerprint, into a reference; NotInStoreError where it
        fits none or several.
        """
        kind, _, prefix = text.rpartition("@")
        matches = []
        if re.fullmatch(r"[0-9a-f]{4,64}", prefix) and re.fullmatch(r"[a-z-]*", kind):
            matches = self.references(kind or "*", prefix)
        if len(matches) > 1:
            raise NotInStoreError(
                f"{text!r} fits {len(matches)} artifacts: {', '.join(m.short for m in matches[:5])} ..."
            )
        if not matches:
            raise NotInStoreError(
                f"{text!r} is neither a label nor a reference in the store {self._folder.parent}: 'taskdistill list' "
                "shows both"
            )
        return matches[0]

    def _named(self, kind: str = "*", prefix: str = "") -> list[ArtifactRef]:
        """All there is under the name of an artifact, whatever it is."""
        found = (ArtifactRef(path.parent.name, path.name) for path in self._folder.glob(f"{kind}/{prefix}*"))
        # Desktop programs leave files of their own everywhere, and removed artifacts have hidden names.
        return sorted(
            ref for ref in found if re.fullmatch(FINGERPRINT, ref.fingerprint) and re.fullmatch("[a-z-]+", ref.kind)
        )
