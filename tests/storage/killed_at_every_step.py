"""A program that does one thing in many child processes, each killed (-9) at its next operation; run by tests.

    python -m tests.storage.killed_at_every_step ACTION strace|audit FOLDER

Prints, as JSON, what each child left behind and what the same action made of it afterwards; the last child was not
killed. With `strace` a child dies as it enters a system call that writes, renames, removes or makes a folder, in
whatever library; strace counts them for each call and each thread. That meets every state of the disk: a file made by
an open is there, empty, at the next of these calls. With `audit`, for machines that have no strace, it dies at what
Python itself is about to do.
"""

import hashlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import taskdistill.storage.proof  # noqa: F401  # or each child imports it
from taskdistill.storage.contents import Contents
from taskdistill.storage.files import all_files, read_json, write_json
from taskdistill.storage.fingerprint import fingerprint
from taskdistill.storage.image_set import ImageRow, is_shard_whole, write_index, write_shard
from taskdistill.storage.kept_views import KEY_BYTES, Bytes, KeptViews, TablePlace
from taskdistill.storage.manifest import MANIFEST, ArtifactRef
from taskdistill.storage.provenance import code_commit
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.upkeep import verify
from taskdistill.storage.view_outputs import Part
from taskdistill.storage.view_writer import Layout, ViewOutputsWriter
from taskdistill.storage.weights import write_tensors
from taskdistill.tasks.artifact_files import OUTPUTS

OPERATIONS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir")
SYSTEM_CALLS = (
    "write", "pwrite64", "writev", "pwritev", "pwritev2", "ftruncate", "rename", "renameat", "renameat2", "link",
    "linkat", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir",
)  # fmt: skip
RECIPE = {"stage": "killed", "version": 1, "config": {}, "external": {}, "inputs": {}}
REF = ArtifactRef("features", fingerprint(RECIPE))

Action = Callable[[], None]


class Way(NamedTuple):
    """How children are killed."""

    calls: tuple[str, ...]
    """What is counted, each for itself."""
    killed_at: Callable[[str, int, Action], bool]
    """Do an action in a child that dies before this call of this number, from 0; return whether it died."""


def killed_by_audit(call: str, step: int, action: Action) -> bool:
    child = os.fork()
    if child == 0:
        seen = 0

        def count(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal seen
            is_reading = event == "open" and arguments[2] & os.O_ACCMODE == os.O_RDONLY
            if event in OPERATIONS and not is_reading:
                if seen == step:
                    os.kill(os.getpid(), signal.SIGKILL)
                seen += 1

        sys.addaudithook(count)
        action()
        os._exit(0)
    return _has_died(child, step)


def killed_by_strace(call: str, step: int, action: Action) -> bool:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(reading, 1)  # until strace looks on
        action()
        os._exit(0)
    if not shutil.which("strace"):
        os.kill(child, signal.SIGKILL)
        raise SystemExit("strace cannot look on: it is not installed")
    inject = f"inject={call}:signal=SIGKILL:when={step + 1}"
    command = ["strace", "-f", "-p", str(child), "-o", "/dev/null", "-e", inject]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as strace:
        assert strace.stderr
        said = strace.stderr.readline() if select.select([strace.stderr], [], [], 30)[0] else "no answer"
        if "attached" not in said:
            os.kill(child, signal.SIGKILL)
            raise SystemExit(f"strace cannot look on: {said}")
        os.write(writing, b".")
        os.close(reading), os.close(writing)
        has_died = _has_died(child, step)
        strace.communicate()
    return has_died


def _has_died(child: int, step: int) -> bool:
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status) and os.WEXITSTATUS(status) != 0:
        raise SystemExit(f"the action failed at step {step}")
    return os.WIFSIGNALED(status)


# --- what is done ------------------------------------------------------------------------------------------------


def at_every_step(way: Way, one_round: Callable[[int, Callable[[Action], None]], str]) -> list[str]:
    """Do rounds, each given its number and how to kill what it does, until every step was killed once."""
    found: list[str] = []
    for call in way.calls:
        has_died, step = True, 0
        while has_died:

            def kill(action: Action, call: str = call, step: int = step) -> None:
                nonlocal has_died
                has_died = way.killed_at(call, step, action)

            found.append(one_round(len(found), kill))
            step += 1
    return found


def write_json_at_every_step(folder: Path, way: Way) -> list[str]:
    def one_round(number: int, kill: Callable[[Action], None]) -> str:
        write_json(folder / "value.json", "old")
        kill(lambda: write_json(folder / "value.json", "new"))
        return str(read_json(folder / "value.json"))

    return at_every_step(way, one_round)


def label_at_every_step(folder: Path, way: Way) -> list[str]:
    store = ArtifactStore(folder)
    other = ArtifactRef("features", "e" * 64)
    for ref in (REF, other):
        files(store.draft(ref, RECIPE))
        store.commit(ref, recipe=RECIPE, inputs={}, summary={})

    def one_round(number: int, kill: Callable[[Action], None]) -> str:
        store.label("best", other)
        kill(lambda: store.label("best", REF))
        return {other: "old", REF: "new"}[store.labels()["best"]]

    return at_every_step(way, one_round)


def views_at_every_step(folder: Path, way: Way, there: int = 0) -> list[str]:
    """Each round: a table, made in the place of one for so many views, that is killed and then given two views."""
    pixels = {bytes([number]) * KEY_BYTES: np.full(5000, number, np.uint8) for number in (1, 2)}

    def keep(place: TablePlace) -> None:
        table = KeptViews.open(place, 5000)
        for key, view in pixels.items():
            if table:
                table.write(key, view)

    def one_round(number: int, kill: Callable[[Action], None]) -> str:
        place = TablePlace(folder / "views" / str(number) / "small.table", 10, 64)
        if there:
            KeptViews.open(place._replace(wanted_views=there), 5000)
        kill(lambda: keep(place))
        found = _kept(place, pixels)
        keep(place)
        return f"{found}; after another try {_kept(place, pixels)}"

    return at_every_step(way, one_round)


def _kept(place: TablePlace, pixels: dict[bytes, Bytes]) -> str:
    table = KeptViews.open(place, 5000)
    if table is None:
        return "no table"
    found = {key: table.read(key) for key in pixels}
    wrong = [key for key, view in found.items() if view is not None and not np.array_equal(view, pixels[key])]
    return "other pixels" if wrong else f"{sum(view is not None for view in found.values())} views"


def make_at_every_step(folder: Path, way: Way, fill: Callable[[Path], None]) -> list[str]:
    """Each round: an artifact whose making is killed at one more step, a look, and the same done again to its end."""
    code_commit()  # remembered, so that children do not run git
    undisturbed = ArtifactStore(folder / "undisturbed")
    in_a_child(lambda: make(undisturbed, fill))
    expected = digests(undisturbed)

    def one_round(number: int, kill: Callable[[Action], None]) -> str:
        store = ArtifactStore(folder / str(number))
        kill(lambda: make(store, fill))
        found = state(store)
        if REF not in store:
            in_a_child(lambda: make(store, fill))
        found += "; after another try " + state(store)
        return found if digests(store) == expected else found + " with other bytes"

    return at_every_step(way, one_round)


def in_a_child(action: Action) -> None:
    """This process stays without threads, which children would not have."""
    child = os.fork()
    if child == 0:
        action()
        os._exit(0)
    _has_died(child, -1)


def make(store: ArtifactStore, fill: Callable[[Path], None]) -> None:
    """What a run does (tasks.stage.execute), for a stage that is only a function which fills a draft."""
    contents = CONTENTS[fill]
    with store.lock(REF):
        if REF in store or store.finish_commit(REF, contents):
            return
        fill(store.draft(REF, RECIPE))
        store.commit(REF, recipe=RECIPE, inputs={}, summary={}, contents=contents)


def files(draft: Path) -> None:
    (draft / "chunks").mkdir(exist_ok=True)
    for number in range(3):
        (draft / "chunks" / str(number)).write_text(f"chunk {number}")


def outputs(draft: Path) -> None:
    parts = [Part(np.arange(1, 2), range(1)), Part(np.arange(1), range(1, 3))]
    writer = ViewOutputsWriter(draft, ids=["a", "b"], parts=parts, layout=lambda: Layout((2,), {"images": "i" * 64}))
    writer.remove_damaged()
    for chunk in writer.missing():
        writer.write(chunk, np.ones((1, 2), np.float16), np.ones((1, 9), np.float32), np.ones((1, 64), np.uint8))
    writer.gather()


def shard(draft: Path) -> None:
    rows = [ImageRow(f"{number}.png", bytes([number]) * 50, 8, 8, "train", number % 2) for number in range(4)]
    if not is_shard_whole(draft, 0, [row.id for row in rows]):
        write_shard(draft, 0, rows)
    write_index(draft, classes=["robin", "wren"], num_shards=1)


def weights(draft: Path) -> None:
    """Trains, as long as there is no checkpoint; a second training would give other weights."""
    trained = draft / "checkpoint.safetensors"
    if not trained.is_file():
        write_tensors(trained, {"w": np.ones(3, np.float32)})
        if (draft / "model.safetensors").is_file():
            raise SystemExit("the training that was over is lost")
    write_tensors(draft / "model.safetensors", {"w": np.ones(3, np.float32)})


CONTENTS = {
    files: Contents(made=("chunks/*",)),
    outputs: OUTPUTS,
    shard: Contents(made=("shards/*.parquet", "cells.parquet", "image-set.json")),
    weights: Contents(made=("model.safetensors",), working=("checkpoint.safetensors",)),
}


# --- what is found -----------------------------------------------------------------------------------------------


def state(store: ArtifactStore) -> str:
    """What a reader of the store finds."""
    folder = store.root / "artifacts" / REF.kind / REF.fingerprint
    if REF not in store:
        return "absent" if not folder.exists() else f"half there: {all_files(folder)}"
    if store.references() != [REF] or store.drafts():
        return "listed wrongly"
    damage = list(verify(store, REF))
    return f"damaged: {damage}" if damage else "whole"


def digests(store: ArtifactStore) -> dict[str, str]:
    """Return the SHA-256 of every file of the artifact, from its bytes; the manifest holds times and is left out."""
    folder = store.path(REF)
    paths = [path for path in all_files(folder) if path.name != MANIFEST]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


if __name__ == "__main__":
    name, how, place = sys.argv[1:]
    way = {"strace": Way(SYSTEM_CALLS, killed_by_strace), "audit": Way(("any",), killed_by_audit)}[how]
    fills = {"commit": files, "outputs": outputs, "shard": shard, "weights": weights}
    if name in fills:
        print(json.dumps(make_at_every_step(Path(place), way, fills[name])))
    else:
        actions = {
            "write_json": write_json_at_every_step,
            "label": label_at_every_step,
            "views": views_at_every_step,
            "larger_views": partial(views_at_every_step, there=1),
        }
        print(json.dumps(actions[name](Path(place), way)))
