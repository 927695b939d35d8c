"""Labels: human names of artifacts, one small file each. A name may move from one artifact to another."""

import re
from collections.abc import Iterator
from pathlib import Path

from taskdistill.storage.errors import StoreError
from taskdistill.storage.files import PARTIAL, make_folder, read_json_if_whole, sync, write_json
from taskdistill.storage.manifest import ArtifactRef

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Labels:
    """The labels of one store. A label is on the disk before it is said to be set: `collect` goes by it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def point(self, name: str, ref: ArtifactRef) -> None:
        """Let `name` mean an artifact, whatever it meant before; StoreError where this cannot be a name."""
        if not _NAME.fullmatch(name) or name.endswith(PARTIAL):
            raise StoreError(f"{name!r} cannot be a label: use letters, digits, '.', '_' and '-', such as birds-v1")
        make_folder(self._folder)
        write_json(self._folder / name, str(ref))

    def remove(self, name: str) -> None:
        """Forget a name; nothing happens where it is no label."""
        if (self._folder / name).exists():  # the folder need not exist either, and then cannot be synced
            (self._folder / name).unlink(missing_ok=True)
            sync(self._folder)

    def read(self) -> dict[str, ArtifactRef]:
        """Return the labels that can be read."""
        return {path.name: ref for path in self._files() if (ref := _read(path))}

    def unreadable(self) -> dict[str, str]:
        """Return the labels that cannot be read, as a power cut left them in older versions, and what to do."""
        return {
            path.name: f"the label {path.name!r} cannot be read, so what it names is unknown: give it again with "
            f"'taskdistill label {path.name} REFERENCE', or remove the file {path}"
            for path in self._files()
            if not _read(path)
        }

    def _files(self) -> Iterator[Path]:
        for path in sorted(self._folder.iterdir()) if self._folder.is_dir() else []:
            if _NAME.fullmatch(path.name) and not path.name.endswith(PARTIAL) and path.is_file():
                yield path


def _read(path: Path) -> ArtifactRef | None:
    text = read_json_if_whole(path)
    return ArtifactRef.parse(text) if isinstance(text, str) and "@" in text.strip("@") else None
