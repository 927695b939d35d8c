"""Painting in batches that fit: memory truly runs out here, in a process that may not have more of it."""

import subprocess
import sys
from pathlib import Path

import pytest

PAINT = """
import logging, resource, sys
import torch
from taskdistill.configs.runtime import RuntimeConfig
from taskdistill.configs.generation import BlendSettings, GeneratorModel
from taskdistill.tasks.generators.mixer_generator import build_generator
from taskdistill.tasks.blends.batched_sampler import BatchedSampler

logging.basicConfig(format="%(message)s")
torch.set_num_threads(1)
folder, (spare_mib, batch_size, side_px) = sys.argv[1], map(int, sys.argv[2:])
generator = build_generator(GeneratorModel(folder=folder), RuntimeConfig(device="cpu"))
settings = BlendSettings(side_px=side_px, num_steps=1)
pairs, seeds = torch.ones(16, 2, generator.width), list(range(16))
BatchedSampler(generator, settings.model_copy(update={"side_px": 16}), 1).paint(pairs[:1], [0]).__next__()
taken = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + spare_mib * 2**20, resource.RLIM_INFINITY))
painter = BatchedSampler(generator, settings, batch_size)
parts = [(part.start, part.stop) for part, _ in painter.paint(pairs, seeds)]
print(painter.batch_size, parts[0][0], parts[-1][1], all(a[1] == b[0] for a, b in zip(parts, parts[1:])))
"""


def paint(mixer_folder: Path, *limits: int) -> subprocess.CompletedProcess[str]:
    """Limits: memory to spare in MiB, images at a time, side in pixels."""
    command = [sys.executable, "-c", PAINT, str(mixer_folder), *map(str, limits)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[3])


@pytest.mark.nightly
@pytest.mark.slow
def test_a_batch_that_does_not_fit_is_halved_until_it_does_and_no_image_is_left_out(mixer_folder: Path) -> None:
    # How much one image takes differs between processors and builds of oneDNN: the first limit at which one fits.
    attempts = (paint(mixer_folder, spare_mib, 16, 96) for spare_mib in range(100, 500, 40))
    done = next((attempt for attempt in attempts if attempt.returncode == 0), None)
    assert done is not None, "not even one image of 96 px fits into 460 MiB"
    batch_size, first, last, is_seamless = done.stdout.split()
    assert (first, last, is_seamless) == ("0", "16", "True")
    assert int(batch_size) in (1, 2, 4, 8)
    assert "out of memory painting 16 images at a time: going on with 8" in done.stderr


@pytest.mark.slow
def test_when_not_even_one_image_fits_it_says_what_to_set(mixer_folder: Path) -> None:
    done = paint(mixer_folder, 20, 2, 256)
    assert done.returncode != 0
    assert "OutOfMemoryError: there is not enough memory to paint one image of 256 px" in done.stderr
    assert "set generator.precision=fp16 or a smaller blends.side_px" in done.stderr
