"""Kill -9 the pipeline at random moments, run the same command again, and compare with a run nobody disturbed.

    python -m tests.kill_anything --kills 25
    python -m tests.kill_anything --kills 8 --demo
    python -m tests.kill_anything --kills 25 --slots 2
    python -m tests.kill_anything --kills 20 --segmentation

The first runs a small experiment of its own, the second the demonstration, which takes some minutes each time, the last
one that learns masks: of a finetuned teacher, with images that have none, its maps kept in one byte a number. Every run
is the real command line in a process of its own. A kill comes at a random moment after a stage has begun, so that
stages and not imports are hit. When a run comes to its end, every file of every artifact (features, logits, weights,
predictions, pictures) must have the digest it has in the undisturbed store; then the next round starts with an empty
store, until all kills are spent.

With more than one slot a kill hits all processes of the run, or the one that hands out steps, whose children must end
by themselves, or one of these children, whom the others survive. The undisturbed run has one slot.
"""

import argparse
import collections
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
from PIL import Image

from taskdistill.storage.drafts import DRAFT
from taskdistill.storage.files import all_files, read_json, sha256_of
from taskdistill.storage.manifest import MANIFEST, ArtifactRef
from taskdistill.storage.store import ArtifactStore

ALWAYS = ("image-set", "features", "probe", "logits", "model", "model", "evaluation")
KINDS = (*ALWAYS, "settings", "settings")
OF_MASKS = (*ALWAYS, "image-set", "logits", "logits", "model", "selection")
DEMO_KINDS = (*ALWAYS, "embeddings", "image-set", "selection")

Command = Callable[[Path], list[str]]
"""The arguments of the command line for a run on a store."""

SETTINGS = """
schema: 1
name: killed
data: {{path: {data}}}
teacher: {{name: test_resnet, weights: random, input_px: 64}}
student: {{name: test_vit, weights: random, input_px: 32, arguments: {{img_size: 32}}}}
views: {{num_views: 4}}
probe: {{steps: 150, batch_size: 64}}
student_probe: {{steps: 150, batch_size: 64, inputs: [last, last4]}}
training: {{epochs: 6, batch_size: 16, drop_path: 0.1, ema: 0.9, accumulate: 2}}
tuning: {{search: halving, min_steps: 6, folds: 2}}
runtime: {{device: cpu, workers: 1, inference_batch_size: 16, checkpoint_seconds: 0.2}}
"""

OF_SEGMENTATION = """
schema: 1
name: killed
problem: segmentation
data: {{path: {data}, form: masks}}
unlabelled: {{path: {unlabelled}}}
synthetic_images: unlabelled
teacher: {{name: test_vit, weights: random, input_px: 64, clean_view: whole, arguments: {{img_size: 64}}}}
teacher_training: finetuned
teacher_cache: logits
logits: int8
student: {{name: test_resnet, weights: random, input_px: 64, clean_view: whole}}
views: {{num_views: 3, crop: scaled}}
probe: {{optimizer: adamw, learning_rates: [0.01], steps: 40, batch_size: 16, inputs: [last4]}}
student_probe: {{optimizer: adamw, learning_rates: [0.01], steps: 40, batch_size: 16, inputs: [last4], head: fcn}}
training: {{epochs: 6, batch_size: 16, drop_path: 0.1, ema: 0.9, accumulate: 2, loss: cross-entropy+dice}}
teacher_finetuning: {{epochs: 6, batch_size: 16, class_weights: inverse-frequency}}
windows: {{show: sliding, flip: horizontal}}
runtime: {{device: cpu, workers: 1, inference_batch_size: 8, checkpoint_seconds: 0.2}}
"""


def main() -> int:
    """Parse the arguments, do all rounds, say what was hit; exit code 1 when anything differs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--demo", dest="made", action="store_const", const=demonstration, default=small_experiment)
    which.add_argument("--segmentation", dest="made", action="store_const", const=segmentation)
    parser.add_argument("--slots", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tried = arguments.made(Path(folder))
        hit, different = rounds(Path(folder), tried, kills=arguments.kills, seed=arguments.seed, slots=arguments.slots)
    for stage, count in hit.most_common():
        print(f"  killed {count:2d} times in {stage}")
    print(f"{sum(hit.values())} kills, {len(different)} files differ from the undisturbed run")
    for name in different[:20]:
        print(f"  {name}")
    return 1 if different else 0


class Tried(NamedTuple):
    """What is run and killed."""

    command: Command
    kinds: tuple[str, ...]
    """Kinds of artifacts in whose making it is killed, as often as they stand here."""
    longest_seconds: float
    """How long after their making was noticed a kill may come."""


def small_experiment(folder: Path) -> Tried:
    settings = folder / "settings.yaml"
    settings.write_text(SETTINGS.format(data=write_images(folder / "images")))
    return Tried(lambda store: ["run", str(settings)], KINDS, 0.6)


def segmentation(folder: Path) -> Tried:
    settings, data, unlabelled = folder / "settings.yaml", folder / "masks", folder / "unlabelled"
    write_masked_images(data)
    write_images(unlabelled)
    settings.write_text(OF_SEGMENTATION.format(data=data, unlabelled=unlabelled))
    return Tried(lambda store: ["run", str(settings)], OF_MASKS, 0.6)


def demonstration(folder: Path) -> Tried:
    return Tried(lambda store: ["demo", "--folder", str(store.with_name(f"{store.name}-birds"))], DEMO_KINDS, 45.0)


def rounds(
    folder: Path, tried: Tried, *, kills: int, seed: int, slots: int = 1
) -> tuple[collections.Counter[str], list[str]]:
    """Return how often each stage was hit, and the files that came out otherwise than undisturbed."""
    rng = random.Random(seed)
    start(tried.command, folder / "undisturbed", slots=1).wait()
    expected = digests(folder / "undisturbed")
    hit: collections.Counter[str] = collections.Counter()
    different: list[str] = []
    number = 0
    while sum(hit.values()) < kills:
        number += 1
        store = folder / f"round{number}"
        while sum(hit.values()) < kills:
            run, kind, later = start(tried.command, store, slots), rng.choice(tried.kinds), tried.longest_seconds
            stage = kill_in_a_stage(run, store, kind, rng.uniform(0, later), rng)
            if not stage:
                break
            hit[stage] += 1
            print(f"kill {sum(hit.values())}: {stage}", flush=True)
        if start(tried.command, store, slots).wait() != 0:
            different.append(f"{store.name}: the last run failed")
        found = digests(store)
        different += sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    return hit, different


def start(command: Command, store: Path, slots: int) -> subprocess.Popen[bytes]:
    """Start the command line in a process group of its own; its output is kept beside the store for a look."""
    with (store.parent / f"{store.name}.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "taskdistill.flows.cli", *command(store), "--set", f"runtime.slots={slots}"],
            env=os.environ | {"TASKDISTILL_STORE": str(store)}, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip


def kill_in_a_stage(run: subprocess.Popen[bytes], store: Path, kind: str, later: float, rng: random.Random) -> str:
    """Wait until this run makes an artifact of a kind, then so many seconds, then kill -9.

    Returns what was being made, or "" when the run ended before.
    """
    drafts = ArtifactStore(store).draft_path(ArtifactRef(kind, "any")).parent
    while run.poll() is None and not being_made(drafts, kind):
        time.sleep(0.005)
    deadline = time.monotonic() + later
    while run.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    if run.poll() is not None:
        return ""
    kill_some(run.pid, rng)
    run.wait()
    return ", ".join(sorted(ref.kind for ref in ArtifactStore(store).drafts())) or "between stages"


def kill_some(pid: int, rng: random.Random) -> None:
    """Kill a run that has no other process; of one that has, all of them, or only itself, or one of the others."""
    children = [child.pid for child in psutil.Process(pid).children()]
    whom = rng.choice(["all", "itself", "a child"]) if children else "all"
    with contextlib.suppress(ProcessLookupError):  # a child may be over by itself
        if whom == "all":
            os.killpg(pid, signal.SIGKILL)
        else:
            os.kill(pid if whom == "itself" else rng.choice(children), signal.SIGKILL)


def being_made(drafts: Path, kind: str) -> bool:
    """Whether a draft of this kind had a file written in the last quarter of a second."""
    newest = 0.0
    for record in drafts.glob(f"*/{DRAFT}"):
        with contextlib.suppress(FileNotFoundError):  # drafts and their temporaries come and go
            if read_json(record)["reference"].startswith(f"{kind}@"):
                newest = max([newest, *(path.stat().st_mtime for path in record.parent.rglob("*"))])
    return time.time() - newest < 0.25


def digests(root: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of every artifact, from its bytes; manifests hold times and are left out."""
    paths = [path for path in all_files(root / "artifacts") if path.name != MANIFEST]
    return {path.relative_to(root).as_posix(): sha256_of(path) for path in paths}


def write_images(folder: Path) -> Path:
    """Write 120 small pictures of three classes: a bright patch in one of three places, on noise."""
    rng = np.random.default_rng(0)
    for label in range(3):
        (folder / f"class{label}").mkdir(parents=True)
        for number in range(40):
            picture = rng.integers(0, 120, (72, 80, 3), dtype=np.uint8)
            picture[20 * label : 20 * label + 24, 10:70] += 100
            Image.fromarray(picture).save(folder / f"class{label}" / f"{number:02d}.png")
    return folder


def write_masked_images(folder: Path) -> Path:
    """Write 60 small pictures with masks, a bright patch on noise, and of train 12 more without."""
    rng = np.random.default_rng(1)
    for number in range(72):
        split = ("train", "train", "val", "test")[number % 4] if number < 60 else "train"
        picture, mask = rng.integers(0, 120, (72, 80, 3), dtype=np.uint8), np.zeros((72, 80), np.uint8)
        top, left = rng.integers(0, 40, 2)
        which = number // 4 % 2
        picture[top : top + 30, left : left + 36, which] += 130
        mask[top : top + 30, left : left + 36] = 1 + which
        mask[:2] = 255
        for kind, pixels in {"images": picture, "masks": mask}.items() if number < 60 else {"images": picture}.items():
            (folder / kind / split).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / kind / split / f"{number:02d}.png")
    return folder


if __name__ == "__main__":
    sys.exit(main())
