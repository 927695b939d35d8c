"""How long the command line takes in a store of 10,000 artifacts.

    python -m tests.benchmarks.store_scale [--quick]

The store has no index file (storage.store says why), so listing reads 10,000 manifests and finding one reads names of
folders. That stays right only while it is fast: each command, started as a person starts it and with Python's own
start-up inside, answers in under 2 seconds. This is the one benchmark with an absolute budget, because a person waits
for it; `taskdistill --help` in the same interpreter is told beside it, to see how much is start-up, and the ratio of
10,000 artifacts to 100.

The artifacts are those of a sweep: real recipes and fingerprints, manifests of the size runs write (5-7 kB, and 26
kB for features and logits with their 170 chunk files). `plan` is asked for an experiment on the same images
that differs from all of them in a setting, so that it has to compare every recipe of every kind: its slowest case.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from taskdistill.configs.data import IngestConfig
from taskdistill.configs.experiment import Experiment
from taskdistill.storage.fingerprint import fingerprint
from taskdistill.storage.manifest import MANIFEST, ArtifactRef, FileRecord, Manifest
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.catalog import DISTILL, EVALUATE, EXTRACT, FINETUNE, INGEST, PRECOMPUTE, PROBE
from taskdistill.tasks.stage import content_digests_of
from tests.benchmarks.pictures import write_class_folders
from tests.benchmarks.report import Row, finish, parser

BUDGET_SECONDS = 2.0
LABEL = "sweep-best"
CHUNK_FILES = 170


def main() -> None:
    arguments = parser(__doc__).parse_args()
    count, repeats = (2_000, 3) if arguments.quick else (10_000, 5)
    with tempfile.TemporaryDirectory() as folder:
        small, large = (timings(Path(folder) / str(size), size, repeats) for size in (100, count))
    rows = [
        Row(f"{name}, {count} artifacts", seconds, "s", at_most=BUDGET_SECONDS if name != "--help" else None)
        for name, seconds in large.items()
    ]
    rows += [Row(f"{name}, {count} to 100 artifacts", large[name] / small[name]) for name in large]
    finish("Command line in a large store", rows, as_json=arguments.json)


def timings(folder: Path, count: int, repeats: int) -> dict[str, float]:
    """Fill a store and return the median wall seconds of each command."""
    store = folder / "store"
    pictures = write_class_folders(folder / "pictures", count=24, side_px=32)
    preset = write_preset(folder, pictures)
    refs = fill(store, count, images_of(pictures, store))
    commands = {
        "--help": ["--help"],
        "plan": ["plan", str(preset)],
        "list --json": ["list", "--json"],
        "show PREFIX": ["show", refs[count // 2].fingerprint[:12], "--json"],
        "show LABEL": ["show", LABEL, "--json"],
    }
    found: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(repeats + 1):
        for name, command in commands.items():
            found[name].append(seconds_of(command, store))
    # The first round warms the disk's cache, as the command a person ran before did.
    return {name: statistics.median(seconds[1:]) for name, seconds in found.items()}


def seconds_of(command: Sequence[str], store: Path) -> float:
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "taskdistill.flows.cli", *command],
        env=os.environ | {"TASKDISTILL_STORE": str(store)},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return time.perf_counter() - began


def write_preset(folder: Path, pictures: Path) -> Path:
    """Write an experiment on the images of the sweep, with settings that no artifact of the sweep has."""
    preset = folder / "preset.yaml"
    new = {"views": {"num_views": 3}, "training": {"epochs": 7}, "seeds": [0, 1, 2]}
    preset.write_text(json.dumps({"schema": 1, "name": "scale", "data": {"path": str(pictures)}} | new))
    return preset


def images_of(pictures: Path, store: Path) -> ArtifactRef:
    config = IngestConfig(path=str(pictures))
    return INGEST.reference(config, {}, content_digests_of(config, ArtifactStore(store)))


def fill(root: Path, count: int, images: ArtifactRef) -> list[ArtifactRef]:
    """Write `count` finished artifacts and one label straight in the store's format; returns their references."""
    refs = []
    provenance = a_provenance()
    for recipe, kind, num_files in recipes(count, images):
        ref = ArtifactRef(kind, fingerprint(recipe))
        folder = root / "artifacts" / kind / ref.fingerprint
        folder.mkdir(parents=True)
        (folder / MANIFEST).write_bytes(a_manifest(ref, recipe, num_files, provenance).as_bytes())
        refs.append(ref)
    (root / "labels").mkdir()
    (root / "labels" / LABEL).write_text(json.dumps(str(refs[-1])))
    return refs


def recipes(count: int, images: ArtifactRef) -> Iterator[tuple[dict[str, Any], str, int]]:
    """Recipes of a sweep, with the kind of what they make and its number of files: mostly models and their scores."""
    experiment = Experiment()
    features, probe = ArtifactRef("features", "2" * 64), ArtifactRef("probe", "3" * 64)
    model, logits = ArtifactRef("model", "4" * 64), ArtifactRef("logits", "5" * 64)
    start = {"images": images, "probe": probe}
    made = [
        (DISTILL.recipe(experiment.distill_config(0), start | {"logits": logits}, {}), "model", 5),
        (FINETUNE.recipe(experiment.finetune_config(0), start, {}), "model", 5),
        (EVALUATE.recipe(experiment.evaluate_config(), {"images": images, "model": model}, {}), "evaluation", 6),
        (
            PROBE.recipe(experiment.probe_config(experiment.probe), {"images": images, "features": features}, {}),
            "probe",
            3,
        ),
    ]
    extract = experiment.extract_config(experiment.teacher, experiment.probe, "augmented")
    large = [
        (
            EXTRACT.recipe(extract, {"images": images}, {}),
            "features",
            CHUNK_FILES,
        ),
        (
            PRECOMPUTE.recipe(experiment.precompute_config(), {"features": features, "probe": probe}, {}),
            "logits",
            CHUNK_FILES,
        ),
    ]
    for number in range(count):
        # One set of features or logits for every nine small artifacts.
        recipe, kind, num_files = large[number // 10 % 2] if number % 10 == 0 else made[number % 4]
        yield recipe | {"version": 1000 + number}, kind, num_files


def a_manifest(ref: ArtifactRef, recipe: dict[str, Any], num_files: int, provenance: dict[str, Any]) -> Manifest:
    files = [
        f"outputs.zarr/outputs/c/{number}/0/0" if num_files > 6 else f"file-{number}" for number in range(num_files)
    ]
    return Manifest(
        reference=str(ref),
        recipe=recipe,
        inputs={},
        summary={"steps": 225, "best_val_score": 0.82, "parameters": 408938, "images": 360, "seconds": 36.9},
        files={name: FileRecord(sha256="6" * 64, num_bytes=1724264) for name in files},
        provenance=provenance,
    )


def a_provenance() -> dict[str, Any]:
    return {
        "commit": "7" * 40,
        "packages": {name: "1.2.3" for name in ("torch", "timm", "zarr", "pyarrow", "numpy", "pillow", "prefect")},
        "host": "benchmark",
        "made": "2026-01-01T00:00:00+00:00",
        "settings": Experiment().model_dump(mode="json", by_alias=True),
    }


if __name__ == "__main__":
    main()
