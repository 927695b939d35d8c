"""Small real artifacts, and the two ways in which tests look at bytes: flip one, or note which files are opened."""

import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zarr
from zarr.codecs import BytesCodec, Crc32cCodec

from taskdistill.storage.files import read_json, write_json
from taskdistill.storage.fingerprint import fingerprint
from taskdistill.storage.image_set import ImageRow, write_index, write_shard
from taskdistill.storage.manifest import MANIFEST, ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.tables import HISTORY, write_table
from taskdistill.storage.view_outputs import GROUP, Part
from taskdistill.storage.view_writer import Layout, ViewOutputsWriter
from taskdistill.storage.weights import ModelDescription, write_tensors

DESCRIPTION = ModelDescription(
    problem="classification",
    backbone={"source": "timm", "name": "test_vit"},
    preprocessing={"side": 32},
    encoder="e" * 64,
    blocks=["last"],
    classes=["wren", "robin"],
    weights="model.safetensors",
)


def commit(
    store: ArtifactStore,
    kind: str,
    *,
    inputs: Mapping[str, ArtifactRef] | None = None,
    files: Mapping[str, bytes] | None = None,
    seed: int = 0,
) -> ArtifactRef:
    """Commit an artifact of these files; kind, seed and inputs are its recipe."""
    recipe = recipe_of(kind, inputs or {}, seed)
    ref = ArtifactRef(kind, fingerprint(recipe))
    with store.lock(ref):
        draft = store.draft(ref, recipe)
        for name, data in (files or {"data.bin": kind.encode()}).items():
            (draft / name).write_bytes(data)
        store.commit(ref, recipe=recipe, inputs=inputs or {}, summary={"seed": seed})
    return ref


def recipe_of(kind: str, inputs: Mapping[str, ArtifactRef], seed: int = 0) -> dict[str, object]:
    names = {role: source.fingerprint for role, source in inputs.items()}
    return {"stage": f"make-{kind}", "version": 1, "config": {"seed": seed}, "external": {}, "inputs": names}


class Chain(NamedTuple):
    """images -> features -> logits, and a second artifact from the same images."""

    images: ArtifactRef
    features: ArtifactRef
    logits: ArtifactRef
    model: ArtifactRef


def commit_chain(store: ArtifactStore) -> Chain:
    images = commit(store, "image-set")
    features = commit(store, "features", inputs={"images": images})
    logits = commit(store, "logits", inputs={"features": features})
    return Chain(images, features, logits, commit(store, "model", inputs={"images": images}))


def write_every_format(folder: Path) -> None:
    """Fill a folder with each kind of file that artifacts hold: Parquet, Zarr, safetensors and JSON."""
    rows = [ImageRow(f"{number}.png", bytes([number]) * 50, 8, 8, "train", number % 2) for number in range(4)]
    write_shard(folder, 0, rows)
    write_index(folder, classes=["robin", "wren"], num_shards=1)
    writer = writer_of_every_view(folder, ["a", "b"], num_views=1, row_shape=(2,), attributes={"images": "i" * 64})
    chunk = writer.chunks()[0]
    writer.write(chunk, np.ones((2, 2), np.float16), np.zeros((2, 9), np.float32), np.zeros((2, 64), np.uint8))
    write_tensors(folder / "model.safetensors", {"head.weight": np.arange(6, dtype=np.float32).reshape(2, 3)})
    DESCRIPTION.write(folder)
    write_table(folder / "history.parquet", HISTORY, [{"step": 1, "loss": 0.5}])


def writer_of_every_view(
    folder: Path, ids: Sequence[str], *, num_views: int, row_shape: Sequence[int], attributes: Mapping[str, Any]
) -> ViewOutputsWriter:
    """Begin or continue outputs of all views, the clean one first, of all images."""
    part = Part(np.arange(len(ids)), range(num_views))
    return ViewOutputsWriter(folder, ids=ids, parts=[part], layout=lambda: Layout(row_shape, attributes))


def write_format_1(
    folder: Path, ids: Sequence[str], outputs: np.ndarray, views: np.ndarray, thumbnails: np.ndarray, chunk_rows: int
) -> None:
    """Write outputs [N, V, ...] of every view of every image as versions before parts did: arrays in no part."""
    pq.write_table(pa.table({"id": pa.array(ids, pa.string())}), folder / "rows.parquet", write_page_checksum=True)
    group = zarr.open_group(folder / GROUP, mode="a", attributes={"images": "i" * 64})
    for name, values in (("outputs", outputs), ("views", views), ("thumbnails", thumbnails)):
        array = group.create_array(
            name, shape=values.shape, chunks=(chunk_rows, 1, *values.shape[2:]), dtype=values.dtype,
            serializer=BytesCodec(endian="little"), compressors=[Crc32cCodec()],
            fill_value=0 if name == "thumbnails" else np.nan, config={"write_empty_chunks": True},
        )  # fmt: skip
        array[:] = values


def commit_every_format(store: ArtifactStore, kind: str = "model") -> ArtifactRef:
    """Commit one artifact with every kind of file that artifacts hold; its kind decides how they are read."""
    recipe = recipe_of(kind, {})
    ref = ArtifactRef(kind, fingerprint(recipe))
    write_every_format(store.draft(ref, recipe))
    store.commit(ref, recipe=recipe, inputs={}, summary={})
    return ref


def edit_manifest(store: ArtifactStore, ref: ArtifactRef, edit: Callable[[dict[str, Any]], object]) -> None:
    """Change fields of a manifest as somebody with an editor does; its digest of itself stays."""
    path = store.path(ref) / MANIFEST
    manifest = read_json(path)
    edit(manifest)
    write_json(path, manifest)


def write_as_newer(folder: Path, **changes: Any) -> None:
    """Change or add fields of a manifest as a newer version of the program writes them: its digest fits."""
    fields = {**read_json(folder / MANIFEST), **changes}
    fields.pop("digest", None)
    fields["provenance"] |= {"packages": {"taskdistill": "7.0.0"}, "commit": "abcdef0123456789"}
    text = json.dumps(fields, indent=2, ensure_ascii=False).removesuffix("\n}")
    digest = hashlib.sha256(text.encode()).hexdigest()
    (folder / MANIFEST).write_text(f'{text},\n  "digest": "{digest}"\n}}\n')


def make_older(store: ArtifactStore, ref: ArtifactRef) -> None:
    """Take the digest of itself out of a manifest, as they were before they had one."""
    edit_manifest(store, ref, lambda manifest: manifest.pop("digest", None))


def flip_a_bit(path: Path, position: int | None = None) -> None:
    """Flip one bit of a file, in its middle unless told where; size and name stay."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2 if position is None else position] ^= 0b100
    path.write_bytes(bytes(data))


TEARS: Mapping[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "zeros": lambda data: bytes(len(data)),
    "half": lambda data: data[: len(data) // 2],
    "half, then zeros": lambda data: data[: len(data) // 2] + bytes(len(data) - len(data) // 2),
}
"""What a power cut leaves of a file whose bytes were not on the disk."""


def tear(path: Path, how: str) -> None:
    path.write_bytes(TEARS[how](path.read_bytes()))


_opened: list[tuple[str, list[str]]] = []


def _note_open(event: str, arguments: tuple[object, ...]) -> None:
    for wanted, listener in _opened:
        if event == wanted:
            listener.append(str(arguments[0]))


@contextmanager
def opened_files(event: str = "open") -> Iterator[list[str]]:
    """Collect the path of every file that Python opens, in any thread, while the block runs; of every folder that it
    looks into, where the event is "os.scandir".
    """
    if not getattr(sys, "_opened_files_noted", False):
        sys.addaudithook(_note_open)  # hooks stay for the life of the process: one is enough
        sys._opened_files_noted = True  # type: ignore[attr-defined]
    _opened.append((event, []))
    try:
        yield _opened[-1][1]
    finally:
        _opened.pop()
