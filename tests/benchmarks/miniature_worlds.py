"""What the method is worth in the embedded world of birds: every student on several worlds, with spread.

    python -m tests.benchmarks.miniature_worlds --folder RUNS [--problem classification|segmentation]
        [--worlds 0,1,2,3,4] [--blends mixer|oracle|none] [--set training.epochs=50 ...]

A world is a seed: it draws its own species, pictures, views, blends and order of training. The settings are those of
the preset that `taskdistill demo` runs, `miniature` or `miniature-segmentation`, which were chosen on worlds from 100
on; worlds 0 to 4 are for reporting alone. Behind a mean stand the standard deviation over worlds and the mean's
standard error.

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
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table

from taskdistill.configs.experiment import Experiment
from taskdistill.flows.birds import TASKS, Task, draw_world
from taskdistill.flows.commands.demo import world_experiment
from taskdistill.flows.pipeline.console import on_console
from taskdistill.flows.pipeline.running import run_plan
from taskdistill.flows.reports.results import score_rows
from taskdistill.storage.fingerprint import fingerprint
from taskdistill.storage.image_set import ImageRow, write_index, write_shard
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.miniature.attributes import draw_species
from taskdistill.tasks.miniature.dataset import are_labelled, draw_split
from taskdistill.tasks.problems.metrics import Metric, metrics_of
from tests.oracle_blends import draw_pairs, oracle_blends

CALIBRATION = "ece"
CONTROLS = {"to finetuned": "student finetuned", "to distilled": "student distilled"}
"""Column -> the model that others are compared with."""
Scores = dict[tuple[str, str, str], float]
"""(model, split, metric) -> value, of one world."""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--folder", type=Path, required=True)
    options.add_argument("--problem", choices=tuple(TASKS), default="classification")
    options.add_argument("--worlds", default="0,1,2,3,4")
    options.add_argument("--blends", choices=("mixer", "oracle", "none"), default="mixer")
    options.add_argument("--set", action="append", default=[], dest="overrides")
    options.add_argument("--json", action="store_true")
    arguments = options.parse_args()
    worlds = [int(text) for text in arguments.worlds.split(",")]
    task, score = TASKS[arguments.problem], metrics_of(arguments.problem)[0]
    scores = {
        world: scores_of(arguments.folder, world, arguments.blends, arguments.overrides, task) for world in worlds
    }
    if arguments.json:
        flat = {str(world): {"/".join(key): value for key, value in found.items()} for world, found in scores.items()}
        sys.stdout.write(json.dumps(flat) + "\n")
    else:
        Console(width=160).print(table(scores, "val", score), table(scores, "test", score))


def scores_of(folder: Path, world: int, blends: str, overrides: list[str], task: Task) -> Scores:
    """Run one world, or look up what is there."""
    if blends != "mixer":
        overrides = [*overrides, "synthetic_images=none"]
    experiment = world_experiment(folder, world, overrides, task)
    draw_world(experiment, world, task)
    store = ArtifactStore(folder / "store")
    synthetic = oracle_set(store, experiment, world, task) if blends == "oracle" else None
    with on_console(experiment, Console(stderr=True)) as show:
        results, _ = run_plan(experiment, store, show, synthetic=synthetic)
    return {(row["model"], row["split"], row["metric"]): row["value"] for row in score_rows(results, store)}


def oracle_set(store: ArtifactStore, experiment: Experiment, world: int, task: Task) -> ArtifactRef:
    """Commit perfect blends of the training images of a world as a synthetic image-set."""
    species = draw_species(world)
    train = draw_split(species, seed=world, split="train", per_class=task.per_class["train_per_class"])
    attributes_NA = train.pictures.attributes_NA
    if task.num_labelled:
        attributes_NA = attributes_NA[are_labelled(len(attributes_NA), task.num_labelled)]
    num_pairs = round(experiment.blends.per_image * len(attributes_NA))
    config = {"world": world, "pairs": num_pairs, **task.per_class}
    recipe = {"stage": "oracle", "version": 1, "config": config, "inputs": {}}
    ref = ArtifactRef("image-set", fingerprint(recipe))
    if ref in store:
        return ref
    pairs_N2 = draw_pairs(len(attributes_NA), num_pairs, seed=world)
    blends = oracle_blends(attributes_NA[pairs_N2[:, 0]], attributes_NA[pairs_N2[:, 1]], seed=world)
    rows = [
        ImageRow(f"oracle-{number:05d}", png(image.numpy()), image.shape[0], image.shape[1], "train")
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


def table(scores: dict[int, Scores], split: str, score: Metric) -> Table:
    """A row for each model: every world's score, their mean, and the differences to the finetuned student and to the
    one that was distilled without blends.
    """
    values, errors = dict[str, list[float]](), dict[str, list[float]]()
    for found in scores.values():
        for (model, of, metric), value in found.items():
            if of == split:
                by_model = {score.name: values, CALIBRATION: errors}.get(metric, {})
                by_model.setdefault(model, []).append(100 * value)
    compared = [(column, values[control]) for column, control in CONTROLS.items()]
    heads = [head for column, _ in compared for head in (column, "better in")]
    shown = Table("model", *map(str, scores), "mean", *heads, "ECE", title=f"{score.heading}, {split}")
    for model, own in values.items():
        cells = [cell for _, control in compared for cell in difference(own, control)]
        shown.add_row(model, *(f"{value:.1f}" for value in own), spread(own), *cells, spread(errors[model]))
    return shown


def difference(own: list[float], control: list[float]) -> tuple[str, str]:
    """Return how much better a model is than another in the same worlds, and in how many of them."""
    if own == control:
        return "", ""
    gains = [value - other for value, other in zip(own, control, strict=True)]
    return spread(gains, "+"), f"{sum(gain > 0 for gain in gains)} of {len(gains)}"


def spread(values: list[float], sign: str = "") -> str:
    mean = f"{statistics.mean(values):{sign}.1f}"
    if len(values) == 1:
        return mean
    deviation = statistics.stdev(values)
    return f"{mean} ±{deviation:.1f} (SE {deviation / len(values) ** 0.5:.1f})"


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
