"""Cut the power while each stage, commit and label is made; the same command must continue, to the same bytes.

    python -m tests.power_cut --cuts 20
    python -m tests.power_cut --cuts 20 --disk ext4

Each cut begins with a store in which everything before one step of a small pipeline is done. A child process does the
step and dies at one of its operations (a file opened for writing, a rename, a removal, a sync); what was not synced is
lost, by tests.storage.unsynced_disk or by a real ext4 that is shut down without its journal being flushed. No artifact
that is there may be damaged, no label that was said to be set may be gone, the same step must succeed at once, and
every file of every artifact must have the bytes it has in a store that nobody disturbed. Prints JSON.
"""

import argparse
import fcntl
import hashlib
import itertools
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch

import taskdistill.storage.notes
import taskdistill.tasks.stages.ingest
from taskdistill.configs.base import StageConfig
from taskdistill.configs.data import IngestConfig
from taskdistill.configs.generation import BlendSettings, EmbedConfig, GenerateConfig, GeneratorModel
from taskdistill.configs.stages import DistillConfig, EvaluateConfig, ExtractConfig, PrecomputeConfig, ProbeConfig
from taskdistill.configs.training import TrainingSettings
from taskdistill.storage.files import all_files
from taskdistill.storage.manifest import MANIFEST, ArtifactRef
from taskdistill.storage.provenance import code_commit
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.upkeep import verify
from taskdistill.tasks.catalog import DISTILL, EMBED, EVALUATE, EXTRACT, GENERATE, INGEST, PRECOMPUTE, PROBE
from taskdistill.tasks.stage import Stage, execute
from tests.conftest import PROBE_SETTINGS, RUNTIME, STUDENT, VIEWS
from tests.fakes import write_shapes
from tests.storage.unsynced_disk import LOSES_ALL, LOSES_BYTES, Fate, Recorder, by_chance, come_back
from tests.tiny_mixer import write_tiny_mixer

WRITES = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir")
EXT4_SHUTDOWN, WITHOUT_JOURNAL = 0x8004587D, 2
RUN = RUNTIME.model_copy(update={"checkpoint_seconds": 0.02, "workers": 1})


class Disk(Protocol):
    """Holds the store, and can lose its power."""

    root: Path

    def power_on(self, on_sync: Callable[[], None]) -> None:
        """In the process that writes: take all that is there as safe."""

    def cut(self) -> None:
        """In the process that writes: lose the power, and die."""

    def come_back(self, fate: Fate) -> None:
        """Make the store what the disk holds."""


class EmulatedDisk:
    """Runs everywhere."""

    def __init__(self, folder: Path) -> None:
        self.root, self._shadow = folder / "disk" / "store", folder / "shadow"
        self.root.mkdir(parents=True)

    def power_on(self, on_sync: Callable[[], None]) -> None:
        Recorder(self.root, self._shadow).start(on_sync)

    def cut(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def come_back(self, fate: Fate) -> None:
        come_back(self.root, self._shadow, fate)


class Ext4Disk:
    """A file with an ext4 in it, mounted by loop; needs root."""

    def __init__(self, folder: Path) -> None:
        self._image, self._mounted = folder / "ext4.img", folder / "mounted"
        self.root = self._mounted / "store"
        self._mounted.mkdir()
        subprocess.run(["truncate", "-s", "512M", str(self._image)], check=True)
        subprocess.run(["mkfs.ext4", "-q", str(self._image)], check=True)
        self._mount()
        self.root.mkdir()

    def _mount(self) -> None:
        subprocess.run(["mount", "-o", "loop", str(self._image), str(self._mounted)], check=True)

    def power_on(self, on_sync: Callable[[], None]) -> None:
        os.sync()
        fsync = os.fsync

        def noted(descriptor: int) -> None:
            on_sync()
            fsync(descriptor)

        os.fsync = noted

    def cut(self) -> None:
        descriptor = os.open(self._mounted, os.O_RDONLY)
        fcntl.ioctl(descriptor, EXT4_SHUTDOWN, struct.pack("I", WITHOUT_JOURNAL))
        os.kill(os.getpid(), signal.SIGKILL)

    def come_back(self, fate: Fate) -> None:
        self.unmount()
        self._mount()

    def unmount(self) -> None:
        subprocess.run(["umount", str(self._mounted)], check=True)


class Pipeline:
    """The steps of a small run, each a command that can be given again: what is there is not made again."""

    def __init__(self, images: Path, mixer: Path) -> None:
        self._images, self._model = images, GeneratorModel(folder=str(mixer))
        self._made: dict[str, ArtifactRef] = {}

    def steps(self, store: ArtifactStore) -> dict[str, Callable[[], Any]]:
        def make(name: str, stage: Stage[Any], config: StageConfig, *inputs: str) -> Callable[[], None]:
            def step() -> None:
                refs = {role: self._made[role] for role in inputs}
                self._made[name] = execute(stage, config, refs, store=store, runtime=RUN)

            return step

        training = TrainingSettings(epochs=3, batch_size=16)
        distilling = DistillConfig(backbone=STUDENT, views=VIEWS, training=training)
        blends = BlendSettings(per_image=1, side_px=16, num_steps=1, encoding="png")
        blending = GenerateConfig(model=self._model, blends=blends)
        return {
            "ingest": make("images", INGEST, IngestConfig(path=str(self._images))),
            "label images": lambda: store.label("images", self._made["images"]),
            "extract": make("features", EXTRACT, ExtractConfig(backbone=STUDENT, views=VIEWS), "images"),
            "probe": make("probe", PROBE, ProbeConfig(probe=PROBE_SETTINGS), "images", "features"),
            "precompute": make("logits", PRECOMPUTE, PrecomputeConfig(), "features", "probe"),
            "embed": make("embeddings", EMBED, EmbedConfig(model=self._model), "images"),
            "generate": make("blends", GENERATE, blending, "images", "embeddings"),
            "distill": make("model", DISTILL, distilling, "images", "probe", "logits"),
            "evaluate": make("evaluation", EVALUATE, EvaluateConfig(), "images", "model"),
            "label model": lambda: store.label("model", self._made["model"]),
        }  # fmt: skip


class Done(NamedTuple):
    """How a child ended."""

    was_cut: bool
    has_failed: bool
    operations: int
    """Of the step, until the end."""
    has_returned: bool
    """Whether the step was over, and whoever asked for it was told so."""


def do(disk: Disk, pipeline: Pipeline, step: str, *, cut_at: int | None = None, sync_seconds: float = 5.0) -> Done:
    """In a child process do everything up to a step, which is cut at one of its operations."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            taskdistill.storage.notes.SYNC_SECONDS = sync_seconds
            _do_here(disk, pipeline, step, cut_at, writing)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    was_cut = os.WIFSIGNALED(status)
    return Done(was_cut, not was_cut and os.WEXITSTATUS(status) != 0, said.count(b"."), b"!" in said)


def _do_here(disk: Disk, pipeline: Pipeline, step: str, cut_at: int | None, writing: int) -> None:
    seen, is_counting = 0, False

    def operation() -> None:
        nonlocal seen
        if is_counting:
            if seen == cut_at:
                disk.cut()
            seen += 1
            os.write(writing, b".")

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        is_in_store = event in WRITES and str(arguments[0]).startswith(str(disk.root))
        if is_in_store and (event != "open" or arguments[1] != "r"):
            operation()

    disk.power_on(operation)
    sys.addaudithook(audit)
    for name, action in pipeline.steps(ArtifactStore(disk.root)).items():
        is_counting = name == step
        action()
        if is_counting:
            os.write(writing, b"!")
            if cut_at is not None and seen <= cut_at:
                disk.cut()
            return


def contents(root: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of every artifact, computed from its bytes; manifests hold times and are left
    out.
    """
    paths = [path for path in all_files(root / "artifacts") if path.name != MANIFEST]
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


class Promised(NamedTuple):
    """What was said to be done, and so must be there after any cut."""

    artifacts: set[ArtifactRef]
    labels: set[str]


def promises(root: Path) -> Promised:
    store = ArtifactStore(root)
    return Promised(set(store.references()), set(store.labels()))


def faults_after_cut(root: Path, promised: Promised) -> list[str]:
    """Return what may never be found after a cut."""
    store, found = ArtifactStore(root), promises(root)
    damaged = [f"damaged after the cut: {damage}" for ref in store.references() for damage in verify(store, ref)]
    lost = [f"{ref.short} is lost" for ref in promised.artifacts - found.artifacts]
    return damaged + lost + [f"label {name} is lost" for name in promised.labels - found.labels]


def cut_all(disk: Disk, pipeline: Pipeline, before: Path, *, cuts: int, seed: int) -> dict[str, Any]:
    """Do an undisturbed run, then as many cuts as asked; return what was cut and whatever went wrong."""
    rng = random.Random(seed)
    steps = list(pipeline.steps(ArtifactStore(disk.root)))
    undisturbed = {step: _undisturbed(disk, pipeline, step, before) for step in steps}
    faults: list[str] = []
    for number, step in zip(range(cuts), itertools.cycle(steps), strict=False):
        known = undisturbed[step]
        where, sync_seconds = rng.randrange(known.operations), rng.choice([0.0, 5.0])
        fate = by_chance(rng)
        if number // len(steps) % 3 == 0:  # all that the step promises is to be on the disk by now
            where, sync_seconds, fate = known.operations, 5.0, LOSES_ALL
        elif number // len(steps) % 3 == 1:
            sync_seconds, fate = 5.0, LOSES_BYTES
        shutil.rmtree(disk.root)
        shutil.copytree(before / step, disk.root)
        done = do(disk, pipeline, step, cut_at=where, sync_seconds=sync_seconds)
        disk.come_back(fate)
        found = faults_after_cut(disk.root, known.after if done.has_returned else known.before)
        if do(disk, pipeline, step).has_failed:
            found.append("the same command fails")
        made = contents(disk.root)
        found += [f"{name} has other bytes" for name in sorted(made.keys() | known.contents.keys())
                  if made.get(name) != known.contents.get(name)]  # fmt: skip
        faults += [f"{step}, operation {where} of {known.operations}: {fault}" for fault in found]
    operations = {step: known.operations for step, known in undisturbed.items()}
    return {"cuts": cuts, "operations": operations, "faults": faults}


class Undisturbed(NamedTuple):
    """What a step is without any cut."""

    operations: int
    before: Promised
    after: Promised
    contents: dict[str, str]


def _undisturbed(disk: Disk, pipeline: Pipeline, step: str, before: Path) -> Undisturbed:
    """Do a step to its end, keeping a copy of the store as it was before."""
    shutil.copytree(disk.root, before / step)
    done = do(disk, pipeline, step)
    if done.has_failed:
        raise SystemExit(f"{step} fails without any cut")
    return Undisturbed(done.operations, promises(before / step), promises(disk.root), contents(disk.root))


def main() -> int:
    """Parse the arguments, do all cuts, print what was found; exit code 1 where anything went wrong."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cuts", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--disk", choices=["emulated", "ext4"], default="emulated")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    code_commit()  # remembered, so that children do not run git
    taskdistill.tasks.stages.ingest.SHARD_ROWS = 20
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = write_shapes(folder / "images", {"train": 24, "val": 4, "test": 4})
        pipeline = Pipeline(images, write_tiny_mixer(folder / "mixer"))
        disk = EmulatedDisk(folder) if arguments.disk == "emulated" else Ext4Disk(folder)
        try:
            found = cut_all(disk, pipeline, folder / "before", cuts=arguments.cuts, seed=arguments.seed)
        finally:
            if isinstance(disk, Ext4Disk):
                disk.unmount()
    print(json.dumps(found, indent=2))
    return 1 if found["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
