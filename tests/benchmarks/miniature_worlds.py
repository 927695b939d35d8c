"""What the method is worth in the embedded world of birds: every student on several worlds, with spread.

    python -m tests.benchmarks.miniature_worlds --folder RUNS [--worlds 0,1,2,3,4] [--blends mixer|oracle|none]
        [--set training.epochs=50 ...]

A world is a seed: it draws its own species, pictures, views, blends and order of training. The settings are those of
the preset `miniature`, which were chosen on worlds from 100 on; worlds 0 to 4 are for reporting alone.

With `--blends oracle` a perfect semantic mixer takes the place of the trained one: a new bird for each pair, each
attribute from either parent. It bounds what mixing could bring.

One world after the other; run two of these with other `--worlds` on the same folder to use two cores. What is there is
not computed again.
"""

import argparse
import io
import json
import statistics
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table

from configs.experiment import Experiment
from flows.birds import PER_CLASS, draw_world
from flows.commands.demo import world_experiment
from flows.pipeline.console import on_console
from flows.pipeline.running import run_plan
from flows.reports.results import score_rows
from storage.fingerprint import fingerprint
from storage.image_set import ImageRow, write_index, write_shard
from storage.manifest import ArtifactRef
from storage.store import ArtifactStore
from tasks.miniature.attributes import draw_species
from tasks.miniature.dataset import draw_split
from tests.oracle_blends import draw_pairs, oracle_blends

METRICS = ("top1", "ece")
Scores = dict[tuple[str, str, str], float]
"""(model, split, metric) -> value, of one world."""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--folder", type=Path, required=True)
    options.add_argument("--worlds", default="0,1,2,3,4")
    options.add_argument("--blends", choices=("mixer", "oracle", "none"), default="mixer")
    options.add_argument("--set", action="append", default=[], dest="overrides")
    options.add_argument("--json", action="store_true")
    arguments = options.parse_args()
    worlds = [int(text) for text in arguments.worlds.split(",")]
    scores = {world: scores_of(arguments.folder, world, arguments.blends, arguments.overrides) for world in worlds}
    if arguments.json:
        flat = {str(world): {"/".join(key): value for key, value in found.items()} for world, found in scores.items()}
        sys.stdout.write(json.dumps(flat) + "\n")
    else:
        Console().print(table(scores, "val"), table(scores, "test"))


def scores_of(folder: Path, world: int, blends: str, overrides: list[str]) -> Scores:
    """Run one world, or look up what is there."""
    if blends != "mixer":
        overrides = [*overrides, "synthetic_images=none"]
    experiment = world_experiment(folder, world, overrides)
    draw_world(experiment, world)
    store = ArtifactStore(folder / "store")
    synthetic = oracle_set(store, experiment, world) if blends == "oracle" else None
    with on_console(experiment, Console(stderr=True)) as show:
        results, _ = run_plan(experiment, store, show, synthetic=synthetic)
    return {
        (row["model"], row["split"], row["metric"]): row["value"]
        for row in score_rows(results, store)
        if row["metric"] in METRICS
    }


def oracle_set(store: ArtifactStore, experiment: Experiment, world: int) -> ArtifactRef:
    """Commit perfect blends of the training images of a world as a synthetic image-set."""
    species = draw_species(world)
    train = draw_split(species, seed=world, split="train", per_class=PER_CLASS["train_per_class"])
    attributes_NA = train.pictures.attributes_NA
    num_pairs = round(experiment.blends.per_image * len(attributes_NA))
    recipe = {"stage": "oracle", "version": 1, "config": {"world": world, "pairs": num_pairs} | PER_CLASS, "inputs": {}}
    ref = ArtifactRef("image-set", fingerprint(recipe))
    if ref in store:
        return ref
    pairs_N2 = draw_pairs(len(attributes_NA), num_pairs, seed=world)
    blends = oracle_blends(attributes_NA[pairs_N2[:, 0]], attributes_NA[pairs_N2[:, 1]], seed=world)
    rows = [
        ImageRow(f"oracle-{number:05d}", png(image.numpy()), *image.shape[:2], "train")
        for number, image in enumerate(blends.images_NHWC)
    ]
    with store.lock(ref):
        draft = store.draft(ref, recipe)
        write_shard(draft, 0, rows)
        counts = write_index(draft, classes=sorted(species.names), num_shards=1)
        store.commit(ref, recipe=recipe, inputs={}, summary=counts)
    return ref


def png(pixels_HW3: np.ndarray) -> bytes:
    encoded = io.BytesIO()
    Image.fromarray(pixels_HW3).save(encoded, "PNG")
    return encoded.getvalue()


def table(scores: dict[int, Scores], split: str) -> Table:
    """A row for each model: every world's top-1, their mean and deviation, the difference to the finetuned student."""
    by_model: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for found in scores.values():
        for (model, of, metric), value in found.items():
            if of == split:
                by_model[model][metric].append(100 * value)
    control = by_model["student finetuned"]["top1"]
    shown = Table(*("model", *map(str, scores), "mean", "to finetuned", "better in", "ECE"), title=f"top-1, {split}")
    for model, metrics in by_model.items():
        top1 = metrics["top1"]
        gains = [own - other for own, other in zip(top1, control, strict=True)]
        shown.add_row(
            model, *(f"{value:.1f}" for value in top1), spread(top1), "" if top1 == control else spread(gains, "+"),
            "" if top1 == control else f"{sum(gain > 0 for gain in gains)} of {len(gains)}", spread(metrics["ece"]),
        )  # fmt: skip
    return shown


def spread(values: list[float], sign: str = "") -> str:
    mean = f"{statistics.mean(values):{sign}.1f}"
    return f"{mean} ±{statistics.stdev(values):.1f}" if len(values) > 1 else mean


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
