"""How much more memory ten times as many images take.

    python -m tests.benchmarks.memory_growth [--quick]

`ingest` and `extract` stream: images go from disk through the network to disk, and what is held at once follows from
the settings, not from the data set. So the peak resident memory at n and at 10n images is compared, each in a
process of its
own: it may grow by at most 20 %, which leaves room for what must grow (ids, labels, digests: some hundred bytes an
image) and for nothing else. The ratio is taken because the peak itself is mostly torch.

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
from pathlib import Path

from configs.base import RuntimeConfig
from configs.data import IngestConfig, ViewSettings
from configs.models import Backbone
from configs.stages import ExtractConfig
from storage.store import ArtifactStore
from tasks.catalog import EXTRACT, INGEST
from tasks.stage import content_digests_of, execute
from tests.benchmarks.pictures import write_class_folders
from tests.benchmarks.report import Row, finish, parser

BUDGET = 1.2
SIDE_PX = 256
ENCODER = Backbone(name="test_vit", weights="random", input_px=224)
DEFAULT_CACHE_MB = RuntimeConfig().image_cache_mb


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--images", type=int, default=500, help="n; the larger set has ten times as many")
    options.add_argument("--child", choices=("ingest", "extract"), help=argparse.SUPPRESS)
    options.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options.add_argument("--cache-mb", type=int, default=0, help=argparse.SUPPRESS)
    arguments = options.parse_args()
    if arguments.child:
        child(arguments.child, arguments.folder, arguments.cache_mb)
        return
    num_images, repeats = (400, 1) if arguments.quick else (arguments.images, 3)
    with tempfile.TemporaryDirectory() as folder:
        small, large = (peaks(Path(folder) / str(n), n, repeats) for n in (num_images, 10 * num_images))
    rows = []
    for name in small:
        rows += [Row(f"{name}, n = {num_images}", small[name], "MiB"), Row(f"{name}, 10 n", large[name], "MiB")]
        limit = None if name == "extract, default cache" else BUDGET
        rows.append(Row(f"{name}, 10 n to n", large[name] / small[name], at_most=limit))
    finish("Peak memory", rows, as_json=arguments.json)


def peaks(folder: Path, num_images: int, repeats: int) -> dict[str, float]:
    """Return the median peak in MiB of each stage on a new set of images."""
    write_class_folders(folder / "pictures", count=num_images, side_px=SIDE_PX)
    runs = {"ingest": ("ingest", 0), "extract": ("extract", 0), "extract, default cache": ("extract", DEFAULT_CACHE_MB)}
    return {name: statistics.median(peak_mib(folder, *run) for _ in range(repeats)) for name, run in runs.items()}


def peak_mib(folder: Path, stage: str, cache_mb: int) -> float:
    # A child's ru_maxrss begins at the size of the process that started it, so this one must stay small: no torch here.
    command = [sys.executable, "-m", "tests.benchmarks.memory_growth", "--child", stage]
    options = ["--folder", str(folder), "--cache-mb", str(cache_mb)]
    done = subprocess.run(command + options, check=True, stdout=subprocess.PIPE, text=True)
    return float(json.loads(done.stdout)["peak_mib"])


def child(name: str, folder: Path, cache_mb: int) -> None:
    """Run one stage anew and print the peak of this process; extract finds the images that ingest left in the store."""
    store = ArtifactStore(folder / "store")
    ingest = IngestConfig(path=str(folder / "pictures"))
    images = INGEST.reference(ingest, {}, content_digests_of(ingest, store))
    stage, config, inputs = {
        "ingest": (INGEST, ingest, {}),
        "extract": (EXTRACT, ExtractConfig(backbone=ENCODER, views=ViewSettings(num_views=0)), {"images": images}),
    }[name]
    earlier = stage.reference(config, inputs, content_digests_of(config, store))
    if earlier in store:
        store.remove(earlier)
    runtime = RuntimeConfig(device="cpu", image_cache_mb=cache_mb, inference_batch_size=32)
    execute(stage, config, inputs, store=store, runtime=runtime)
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sys.stdout.write(json.dumps({"peak_mib": peak_kib / 1024}) + "\n")


if __name__ == "__main__":
    main()
