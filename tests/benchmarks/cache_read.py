"""How long a batch of cached teacher logits takes to come out of the cache.

    python -m tests.benchmarks.cache_read [--quick] [--student resnet18] [--device cpu]

Training may not wait for the cache. `ViewCache.take` (256 of 20,000 images, 1000 classes in float16) is timed against
`np.take` on the same array in memory, which is the least it could cost; it also returns how each view was cut and its
thumbnail. Loading a view from disk, checksums and all, happens once an epoch at most; it is told by itself and shared
out over the epoch's batches.

Maps (150 classes on 37 x 37 cells, which is 411 kB a view, 16 of the images a batch) are read from the disk batch by
batch, kept as fp16 and as int8. How long that takes is measured over two epochs, the comparison of every chunk's
checksum included, which comes with the first; the step is that of a student at 518 px that is distilled from such maps.
The files were just written, so that what is measured is reading from the memory of the system. At a disk's speed it
is 13 MB a batch in the first epoch of a view and 7 MB in later ones.

Budgets, as ratios since milliseconds say more about the machine: taking costs at most 5 times np.take (a call of zarr
for each batch costs hundreds), and together with its part of the loading under 1 % of the training step of a small
student with the same batch at 224 px; reading maps is at most 2 % of theirs. On a CPU the step at 224 px is measured
with 16 images and scaled to 256, as its time is proportional; on a GPU the whole batch is used.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

import numpy as np

from taskdistill.configs.runtime import RuntimeConfig
from taskdistill.configs.stages import StoredLogits
from taskdistill.configs.training import TrainingSettings
from taskdistill.storage.shown_views import NUM_VIEW_FIELDS, THUMBNAIL_PIXELS
from taskdistill.storage.view_outputs import Part, ViewOutputs
from taskdistill.storage.view_writer import Layout, ViewOutputsWriter
from taskdistill.tasks.data.view_cache import ViewCache
from taskdistill.tasks.functional.order import visits
from taskdistill.tasks.models.device import device_of, on_device
from tests.benchmarks import taught_images
from tests.benchmarks.report import Row, finish, parser
from tests.benchmarks.timing import clock_seconds_of
from tests.storage.artifacts import writer_of_every_view

AT_MOST_SHARE, AT_MOST_TAKE, AT_MOST_MAPS = 0.01, 5.0, 0.02
BATCH, NUM_CLASSES = 256, 1000
MAP_BATCH, MAP_SIDE_PX = 16, 518


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--rows", type=int, default=20_000)
    options.add_argument("--views", type=int, default=3)
    options.add_argument("--student", default="resnet18", help="timm name of the network whose step is the measure")
    options.add_argument("--map-student", default="mobilenetv2_035", help="the same for maps")
    options.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    arguments = options.parse_args()
    num_rows, num_views = (4_000, 2) if arguments.quick else (arguments.rows, arguments.views)
    with tempfile.TemporaryDirectory() as folder:
        write_logits(Path(folder), num_rows, num_views)
        take, np_take, load = reading(Path(folder), num_rows, num_views)
    step = step_seconds(arguments)
    loading = load / (num_rows / BATCH)
    rows = [
        Row("ViewCache.take", 1000 * take, "ms a batch"),
        Row("np.take in memory", 1000 * np_take, "ms a batch"),
        Row("ViewCache.take / np.take", take / np_take, at_most=AT_MOST_TAKE),
        Row("loading a view", 1000 * load, "ms an epoch"),
        Row("its part", 1000 * loading, "ms a batch"),
        Row(f"step of {arguments.student}", 1000 * step, "ms a batch"),
        Row("take / step", take / step),
        Row("take and loading / step", (take + loading) / step, at_most=AT_MOST_SHARE),
    ]
    rows += map_rows(160 if arguments.quick else 640, arguments)
    finish(f"Reading cached logits, {num_rows} rows", rows, as_json=arguments.json)


def map_rows(num_rows: int, arguments: argparse.Namespace) -> list[Row]:
    """Return what reading maps costs, and its share of a step."""
    step = map_step_seconds(arguments)
    rows = [Row(f"step of {arguments.map_student} with maps", 1000 * step, "ms a batch")]
    for stored in ("fp16", "int8"):
        with tempfile.TemporaryDirectory() as folder:
            write_maps(Path(folder), num_rows, stored)
            seconds = map_seconds(Path(folder), num_rows)
        rows += [
            Row(f"reading maps, {stored}", 1000 * seconds, "ms a batch"),
            Row(f"reading maps, {stored} / step", seconds / step, at_most=AT_MOST_MAPS),
        ]
    return rows


def write_maps(folder: Path, num_rows: int, stored: StoredLogits) -> None:
    ids, layout = [f"{row:06d}" for row in range(num_rows)], Layout(taught_images.MAPS, {}, stored)
    part = Part(np.arange(num_rows), range(2))
    writer = ViewOutputsWriter(folder, ids=ids, parts=[part], layout=lambda: layout)
    rng = np.random.default_rng(0)
    for chunk in writer.missing():
        size = chunk.stop - chunk.start
        maps = rng.standard_normal((size, *taught_images.MAPS), np.float32).astype(np.float16)
        fields, thumbnails = np.ones((size, NUM_VIEW_FIELDS), np.float32), np.ones((size, THUMBNAIL_PIXELS), np.uint8)
        writer.write(chunk, maps, fields, thumbnails)


def map_seconds(folder: Path, num_rows: int) -> float:
    """Return the mean seconds of ViewCache.take over two epochs, the first of each of two views, by a new reader."""
    outputs = ViewOutputs(folder)
    cache, num_batches = ViewCache(outputs, outputs.ids, budget_mb=2048), 2 * num_rows // MAP_BATCH
    drawn = [visits(batch * MAP_BATCH, MAP_BATCH, size=num_rows, seed=0) for batch in range(num_batches)]
    return clock_seconds_of(lambda: [cache.take(items, epochs) for items, epochs in drawn]) / num_batches


def map_step_seconds(arguments: argparse.Namespace) -> float:
    """Return the seconds of one training step on MAP_BATCH images with cached maps, through the Trainer."""
    problem, runtime = taught_images.Maps(), RuntimeConfig(device=arguments.device)
    num_steps = 1 if arguments.quick else 2
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        model = on_device(taught_images.network(arguments.map_student, problem, MAP_SIDE_PX), device_of(runtime))
        made = {"num_images": MAP_BATCH * num_steps, "preprocessing": model.preprocessing, "runtime": runtime}
        taught = taught_images.write(folder, output_shape=taught_images.MAPS, **made)
        training = TrainingSettings(epochs=1, batch_size=MAP_BATCH)
        lesson = taught_images.cached(taught, model, training, problem)
        epochs = [
            clock_seconds_of(lambda: taught_images.train(model, lesson, training, folder, runtime)) for _ in range(3)
        ]
    return statistics.median(epochs[1:]) / num_steps


def write_logits(folder: Path, num_rows: int, num_views: int) -> None:
    ids = [f"{row:06d}" for row in range(num_rows)]
    writer = writer_of_every_view(folder, ids, num_views=num_views, row_shape=(NUM_CLASSES,), attributes={})
    rng = np.random.default_rng(0)
    for chunk in writer.missing():
        size = chunk.stop - chunk.start
        logits_NK = rng.standard_normal((size, NUM_CLASSES), np.float32).astype(np.float16)
        writer.write(
            chunk, logits_NK, np.ones((size, NUM_VIEW_FIELDS), np.float32), np.ones((size, THUMBNAIL_PIXELS), np.uint8)
        )


def reading(folder: Path, num_rows: int, num_views: int) -> tuple[float, float, float]:
    """Return the median seconds of ViewCache.take, of np.take, and of loading a view."""
    outputs = ViewOutputs(folder)
    cache = ViewCache(outputs, outputs.ids, budget_mb=2048)
    takes, np_takes, loads = [], [], []
    for view in range(num_views):
        loads.append(clock_seconds_of(lambda view=view: cache.take(np.zeros(1, np.int64), np.full(1, view))))
        in_memory_NK = outputs.view(view)
        for batch in range(num_rows // BATCH):
            items, epochs = visits(view * num_rows + batch * BATCH, BATCH, size=num_rows, seed=0)
            views = np.full_like(epochs, view)
            takes.append(clock_seconds_of(lambda items=items, views=views: cache.take(items, views)))
            np_takes.append(clock_seconds_of(lambda items=items, rows=in_memory_NK: np.take(rows, items, axis=0)))
    return statistics.median(takes), statistics.median(np_takes), statistics.median(loads)


def step_seconds(arguments: argparse.Namespace) -> float:
    """Return the seconds of one training step on BATCH images, through the Trainer, from cached logits."""
    runtime = RuntimeConfig(device=arguments.device)
    device = device_of(runtime)
    batch = 16 if device.type == "cpu" else BATCH
    num_steps = 2 if arguments.quick else 4
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        model = on_device(taught_images.network(arguments.student), device)
        made = {"num_images": batch * num_steps, "preprocessing": model.preprocessing, "runtime": runtime}
        taught = taught_images.write(folder, **made)
        training = TrainingSettings(epochs=1, batch_size=batch)
        lesson = taught_images.cached(taught, model, training)
        epochs = [
            clock_seconds_of(lambda: taught_images.train(model, lesson, training, folder, runtime)) for _ in range(4)
        ]
    # The first epoch decodes the pictures and warms the device.
    return statistics.median(epochs[1:]) / num_steps * BATCH / batch


if __name__ == "__main__":
    main()
