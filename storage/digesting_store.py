"""The files of Zarr, with the SHA-256 of each taken of the bytes on their way to it (storage.notes says what for)."""

import asyncio
import hashlib
from pathlib import Path

from zarr.core.buffer import Buffer
from zarr.storage import LocalStore

from taskdistill.storage.notes import Written, written


class DigestingStore(LocalStore):
    """Files of Zarr, with the digest of each that is written here until somebody takes it."""

    def __init__(self, root: Path, *, read_only: bool = False) -> None:
        super().__init__(root, read_only=read_only)
        self._written: dict[Path, Written] = {}

    async def set(self, key: str, value: Buffer) -> None:
        await super().set(key, value)
        await asyncio.to_thread(self._keep, self.root / key, value)

    def take(self, path: Path) -> Written:
        """Return what was written into a file last, for once; without a digest where it was not written here."""
        return self._written.pop(path, None) or Written(path, "", "")

    def _keep(self, path: Path, value: Buffer) -> None:
        self._written[path] = written(path, hashlib.sha256(value.as_buffer_like()).hexdigest())
