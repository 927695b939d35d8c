"""How much more memory ten times as many images take.

    python -m tests.benchmarks.memory_growth [--quick]

`ingest` and `extract` stream: images go from disk through the network to disk, and what is held at once follows from
the settings, not from the data set. So the peak resident memory at n and at 10n images is compared, each in a
process of its own: it may grow by at most 10 %, which leaves room for what must grow (ids, labels, digests: some
hundred bytes an image) and for nothing else. The ratio is taken because the peak itself is mostly torch.

Distilling from cached maps is measured with 200 and 2,000 images (150 classes on 37 x 37 cells: a view of 2,000 is
0.8 GB): an epoch, without the cache of decoded images, may take at most 10 % more memory. The student is small and sees
128 px, so that little hides what grows.

A probe of 100,000 images, 1,280 numbers each (a view is 0.24 GiB), may take 1.5 GB; the views it has room for besides
the one in use (runtime.logits_cache_mb) come on top and are not measured.

`extract` is measured without its cache of decoded images (runtime.image_cache_mb = 0). With the default of 1 GiB it
grows until the cache is full, as it should; that number is told, and has no budget.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from taskdistill.configs.base import StageConfig
from taskdistill.configs.data import IngestConfig, ViewSettings
from taskdistill.configs.models import Backbone
from taskdistill.configs.runtime import RuntimeConfig
from taskdistill.configs.stages import ExtractConfig
from taskdistill.configs.training import TrainingSettings
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.catalog import EXTRACT, INGEST
from taskdistill.tasks.stage import Stage, content_digests_of, execute
from tests.benchmarks.pictures import write_class_folders
from tests.benchmarks.report import Row, finish, parser

BUDGET = 1.1
MAP_IMAGES, MAP_BATCH, MAP_SIDE_PX = 200, 16, 128
MAP_STUDENT = "mobilenetv2_035"
SIDE_PX = 256
ENCODER = Backbone(name="test_vit", weights="random", input_px=224)
PROBE_IMAGES, PROBE_MIB = 100_000, 1.5e9 / 2**20
DEFAULT_CACHE_MB = RuntimeConfig().image_cache_mb


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--images", type=int, default=2000, help="n; the larger set has ten times as many")
    options.add_argument("--child", choices=("ingest", "extract", *CHILDREN), help=argparse.SUPPRESS)
    options.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options.add_argument("--cache-mb", type=int, default=0, help=argparse.SUPPRESS)
    arguments = options.parse_args()
    if arguments.child:
        CHILDREN.get(arguments.child, child)(arguments)
        return
    num_images, repeats = (60, 1) if arguments.quick else (arguments.images, 3)
    caches = {} if arguments.quick else {"extract, default cache": ("extract", DEFAULT_CACHE_MB)}
    with tempfile.TemporaryDirectory() as folder:
        small, large = (peaks(Path(folder) / str(n), n, repeats, caches) for n in (num_images, 10 * num_images))
    rows = []
    for name in small:
        rows += [Row(f"{name}, n = {num_images}", small[name], "MiB"), Row(f"{name}, 10 n", large[name], "MiB")]
        limit = None if name == "extract, default cache" else BUDGET
        rows.append(Row(f"{name}, 10 n to n", large[name] / small[name], at_most=limit))
    rows += map_rows(8, 1) if arguments.quick else map_rows(MAP_IMAGES, 3)
    rows += probe_rows(20_000 if arguments.quick else PROBE_IMAGES, 1 if arguments.quick else 3)
    finish("Peak memory", rows, as_json=arguments.json)


def map_rows(n: int, repeats: int) -> list[Row]:
    """Return the median peaks of distilling from maps of n and of 10 n images."""
    found = []
    for num_images in (n, 10 * n):
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            peak_mib(place, "write-maps", "--images", str(num_images))
            found.append(statistics.median(peak_mib(place, "distill-maps") for _ in range(repeats)))
    return [
        Row(f"distilling from maps, n = {n}", found[0], "MiB"),
        Row("distilling from maps, 10 n", found[1], "MiB"),
        Row("distilling from maps, 10 n to n", found[1] / found[0], at_most=BUDGET),
    ]


def probe_rows(num_images: int, repeats: int) -> list[Row]:
    """Return the median peak of a probe of so many images."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        peak_mib(place, "write-features", "--images", str(num_images))
        peak = statistics.median(peak_mib(place, "probe") for _ in range(repeats))
    return [Row(f"probe, {num_images} images", peak, "MiB", at_most=PROBE_MIB)]


def peaks(folder: Path, num_images: int, repeats: int, more: Mapping[str, tuple[str, int]]) -> dict[str, float]:
    """Return the median peak in MiB of each stage on a new set of images; `more` are those with caches."""
    write_class_folders(folder / "pictures", count=num_images, side_px=SIDE_PX)
    caches = {"ingest": ("ingest", 0), "extract": ("extract", 0), **more}
    runs = {name: (stage, "--cache-mb", str(cache_mb)) for name, (stage, cache_mb) in caches.items()}
    return {name: statistics.median(peak_mib(folder, *run) for _ in range(repeats)) for name, run in runs.items()}


def peak_mib(folder: Path, run: str, *options: str) -> float:
    # A child's ru_maxrss begins at the size of the process that started it, so this one must stay small: no torch here.
    command = [sys.executable, "-m", "tests.benchmarks.memory_growth", "--child", run, "--folder", str(folder)]
    done = subprocess.run([*command, *options], check=True, stdout=subprocess.PIPE, text=True)
    return float(json.loads(done.stdout)["peak_mib"])


def print_peak() -> None:
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sys.stdout.write(json.dumps({"peak_mib": peak_kib / 1024}) + "\n")


def write_maps(arguments: argparse.Namespace) -> None:
    """Write pictures, and maps of every view of them."""
    from tests.benchmarks import taught_images

    model = taught_images.network(MAP_STUDENT, taught_images.Maps(), MAP_SIDE_PX)
    made = {"preprocessing": model.preprocessing, "runtime": RuntimeConfig(device="cpu", inference_batch_size=16)}
    taught_images.write(arguments.folder, num_images=arguments.images, output_shape=taught_images.MAPS, **made)
    print_peak()


def distill_maps(arguments: argparse.Namespace) -> None:
    """Distil for an epoch from what `write_maps` left, and print the peak of this process."""
    from tests.benchmarks import taught_images

    problem, training = taught_images.Maps(), TrainingSettings(epochs=1, batch_size=MAP_BATCH)
    runtime = RuntimeConfig(device="cpu", image_cache_mb=0)
    taught = taught_images.TaughtImages(arguments.folder / "images", arguments.folder / "logits", runtime)
    model = taught_images.network(MAP_STUDENT, problem, MAP_SIDE_PX)
    lesson = taught_images.cached(taught, model, training, problem)
    taught_images.train(model, lesson, training, arguments.folder, runtime)
    print_peak()


def write_features(arguments: argparse.Namespace) -> None:
    from tests.benchmarks import cached_features

    cached_features.write(arguments.folder, arguments.images)
    print_peak()


def probe(arguments: argparse.Namespace) -> None:
    """Probe what `write_features` left, an epoch on each of two views, of which one is held at a time."""
    from tests.benchmarks import cached_features

    cached_features.train(arguments.folder, epochs=2, cache_mb=0)
    print_peak()


def child(arguments: argparse.Namespace) -> None:
    """Run one stage anew and print the peak of this process; extract finds the images that ingest left in the store."""
    name, folder, cache_mb = arguments.child, arguments.folder, arguments.cache_mb
    store = ArtifactStore(folder / "store")
    ingest = IngestConfig(path=str(folder / "pictures"))
    images = INGEST.reference(ingest, {}, content_digests_of(ingest, store))
    stages: dict[str, tuple[Stage[Any], StageConfig, dict[str, ArtifactRef]]] = {
        "ingest": (INGEST, ingest, {}),
        "extract": (EXTRACT, ExtractConfig(backbone=ENCODER, views=ViewSettings(num_views=0)), {"images": images}),
    }
    stage, config, inputs = stages[name]
    earlier = stage.reference(config, inputs, content_digests_of(config, store))
    if earlier in store:
        store.remove(earlier)
    runtime = RuntimeConfig(device="cpu", image_cache_mb=cache_mb, inference_batch_size=32)
    execute(stage, config, inputs, store=store, runtime=runtime)
    print_peak()


CHILDREN = {
    "write-maps": write_maps, "distill-maps": distill_maps, "write-features": write_features, "probe": probe,
}  # fmt: skip


if __name__ == "__main__":
    main()
