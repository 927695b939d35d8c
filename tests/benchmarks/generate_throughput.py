"""How fast stage "generate" paints, beside what the networks alone take.

    python -m tests.benchmarks.generate_throughput [--quick] [--size tiny|sd] [--device cpu|cuda] [--precision fp16]

Three ways of making the same images, at batch 1, 4 and 16, alternating in one run, medians:

    floor    the U-Net passes and the decoding that the images need, and nothing else
    loop     the bare pipeline, called batch by batch in a loop over ready embeddings
    stage    the stage, from the table of pairs to the last file: embeddings looked up, blends embedded and compared,
             encoded to JPEG and written

The budget: at batch 16 the stage reaches 0.9 of the floor's images a second. What is not the networks' is done by
threads meanwhile, or costs little beside them. On a CPU a mixer of the real classes with small random weights stands
in (--size tiny); --size sd takes Stable Diffusion's sizes with random weights, for a GPU.

A second part compares the stage's peak memory at n and at 8 n blends, each in a process of its own.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

from taskdistill.configs.data import IngestConfig
from taskdistill.configs.generation import BlendSettings, EmbedConfig, GenerateConfig, GeneratorModel
from taskdistill.configs.runtime import RuntimeConfig
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.catalog import EMBED, GENERATE, INGEST
from taskdistill.tasks.generators.mixer_generator import MixerGenerator, build_generator
from taskdistill.tasks.stage import execute
from tests.benchmarks.pictures import write_class_folders
from tests.benchmarks.report import Row, finish, parser
from tests.tiny_mixer import write_sd_size_mixer, write_tiny_mixer

BATCHES = (1, 4, 16)
STAGE_TO_FLOOR, MEMORY_GROWTH = 0.9, 1.1
NUM_PICTURES = 40


class Bench(NamedTuple):
    """A store with pictures, and how blends are made of them."""

    store: ArtifactStore
    images: ArtifactRef
    model: GeneratorModel
    blends: BlendSettings
    device: str


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--size", choices=("tiny", "sd"), default="tiny")
    options.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    options.add_argument("--precision", choices=("fp32", "fp16", "bf16"), default="fp32")
    for hidden in ("--child", "--images", "--mixer"):
        options.add_argument(hidden, help=argparse.SUPPRESS)
    options.add_argument("--blends", type=int, help=argparse.SUPPRESS)
    arguments = options.parse_args()
    torch.set_num_threads(1)
    if arguments.child:
        child(arguments)
        return
    with tempfile.TemporaryDirectory() as folder:
        bench = prepared(Path(folder), arguments.size, arguments.device, arguments.precision, quick=arguments.quick)
        rows = throughput(bench, repeats=2 if arguments.quick else 3, quick=arguments.quick)
        if arguments.size == "tiny":
            rows += memory(bench, num_blends=32 if arguments.quick else 256)
    finish("Blends", rows, as_json=arguments.json)


def prepared(folder: Path, size: str, device: str, precision: str, *, quick: bool) -> Bench:
    if size == "sd":
        mixer, side_px, num_steps = write_sd_size_mixer(folder / "mixer"), 512, 30
    else:
        mixer, side_px, num_steps = write_tiny_mixer(folder / "mixer", (64, 128)), 32, 3 if quick else 10
    store = ArtifactStore(folder / "store")
    write_class_folders(folder / "pictures", count=NUM_PICTURES, side_px=128)
    images = execute(
        INGEST, IngestConfig(path=str(folder / "pictures")), {}, store=store, runtime=RuntimeConfig(device="cpu")
    )
    model = GeneratorModel.model_validate({"folder": str(mixer), "precision": precision})
    return Bench(store, images, model, BlendSettings(side_px=side_px, num_steps=num_steps), device)


def throughput(bench: Bench, *, repeats: int, quick: bool) -> list[Row]:
    """Measure floor, loop and stage at each batch size, one after the other in each round."""
    rows: list[Row] = []
    for batch in (16,) if quick else BATCHES:
        count = 32 if batch == 16 else 2 * batch
        ways = {"floor": floor(bench, count, batch), "loop": loop(bench, count, batch)}
        seconds: dict[str, list[float]] = {"floor": [], "loop": [], "stage": []}
        for number in range(repeats):
            for name, way in ways.items():
                began = time.perf_counter()
                way()
                seconds[name].append(time.perf_counter() - began)
            seconds["stage"].append(stage(bench, count, batch, seed=number))
        speed = {name: count / statistics.median(values) for name, values in seconds.items()}
        rows += [Row(f"{name}, batch {batch}", speed[name], "images/s") for name in speed]
        limit = STAGE_TO_FLOOR if batch == 16 else None
        rows.append(Row(f"stage / floor, batch {batch}", speed["stage"] / speed["floor"], at_least=limit))
        rows.append(Row(f"stage / loop, batch {batch}", speed["stage"] / speed["loop"]))
    return rows


def floor(bench: Bench, count: int, batch: int) -> Callable[[], None]:
    """Return what runs the U-Net and the decoder as often as `count` images need, on ready inputs."""
    generator = loaded(bench)
    pipeline, blends = generator.pipeline, bench.blends
    scale = 2 ** (len(pipeline.vae.config.block_out_channels) - 1)
    side, unet = blends.side_px // scale, pipeline.unet
    latents = torch.randn(batch, 4, side, side, device=unet.device, dtype=unet.dtype)
    both, context = torch.cat([latents, latents]), torch.randn(2 * batch, 5, generator.width)
    context = context.to(unet.device, unet.dtype)
    pipeline.set_timesteps(blends.num_steps, blends.timesteps)
    timesteps = pipeline.scheduler.timesteps

    @torch.inference_mode()
    def run() -> None:
        for _ in range(count // batch):
            for timestep in timesteps:
                unet(both, timestep, encoder_hidden_states=context)
            pipeline.vae.decode(latents).sample.float().cpu()

    return run


def loop(bench: Bench, count: int, batch: int) -> Callable[[], None]:
    generator = loaded(bench)

    def run() -> None:
        for start in range(0, count, batch):
            pairs = torch.randn(batch, 2, generator.width)
            generator.blend(pairs.to(generator.pipeline.unet.device), range(start, start + batch), bench.blends)

    return run


def stage(bench: Bench, count: int, batch: int, *, seed: int) -> float:
    """Return the seconds `count` blends take: those of three times as many less those of as many, halved, so that
    loading the networks cancels.
    """
    return (
        whole_stage(bench, 3 * count, batch, seed=2 * seed) - whole_stage(bench, count, batch, seed=2 * seed + 1)
    ) / 2


def whole_stage(bench: Bench, count: int, batch: int, *, seed: int) -> float:
    """Run the stage for `count` new blends; returns its seconds."""
    num_train = bench.store.manifest(bench.images).summary["splits"]["train"]
    blends = bench.blends.model_copy(update={"per_image": count / num_train, "seed": seed})
    runtime = RuntimeConfig.model_validate({"device": bench.device, "generation_batch_size": batch})
    embeddings = execute(
        EMBED, EmbedConfig(model=bench.model), {"images": bench.images}, store=bench.store, runtime=runtime
    )
    inputs = {"images": bench.images, "embeddings": embeddings}
    began = time.perf_counter()
    ref = execute(
        GENERATE, GenerateConfig(model=bench.model, blends=blends), inputs, store=bench.store, runtime=runtime
    )
    seconds = time.perf_counter() - began
    bench.store.remove(ref)
    return seconds


def loaded(bench: Bench) -> MixerGenerator:
    return build_generator(bench.model, RuntimeConfig()).ready_to_blend(torch.device(bench.device))


def memory(bench: Bench, *, num_blends: int) -> list[Row]:
    """Measure the stage's peak memory at n and at 8 n blends."""
    peaks = [peak_mib(bench, count) for count in (num_blends, 8 * num_blends)]
    return [
        Row(f"peak memory, n = {num_blends}", peaks[0], "MiB"),
        Row("peak memory, 8 n", peaks[1], "MiB"),
        Row("peak memory, 8 n to n", peaks[1] / peaks[0], at_most=MEMORY_GROWTH),
    ]


def peak_mib(bench: Bench, num_blends: int) -> float:
    """Return the peak of a process that runs the stage; started anew, as a fork begins at its parent's size."""
    command = [sys.executable, "-m", "tests.benchmarks.generate_throughput", "--child", str(bench.store.root)]
    command += ["--images", str(bench.images), "--mixer", bench.model.folder, "--blends", str(num_blends)]
    wrapper = ["/bin/sh", "-c", 'exec "$@"', "sh", *command]
    done = subprocess.run(wrapper, check=True, stdout=subprocess.PIPE, text=True)
    return float(json.loads(done.stdout)["peak_mib"])


def child(arguments: argparse.Namespace) -> None:
    bench = Bench(
        ArtifactStore(arguments.child), ArtifactRef.parse(arguments.images), GeneratorModel(folder=arguments.mixer),
        BlendSettings(side_px=32, num_steps=1), "cpu",
    )  # fmt: skip
    whole_stage(bench, arguments.blends, 16, seed=0)
    peak_kib = int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])  # type: ignore[index]
    sys.stdout.write(json.dumps({"peak_mib": peak_kib / 1024}) + "\n")


if __name__ == "__main__":
    main()
