"""What the preset for a folder of one's own does where there is nothing to learn from the teacher: 600 handwritten
digits, of 8 x 8 px (scikit-learn's), which two networks trained on photographs tell apart about equally well.

    REAL_DATA_DIR=... python -m tests.benchmarks.digits --folder RUNS

Nothing is set but the images, the two networks and two seeds; 61 of the digits are tested. The table is that of
`tests.benchmarks.clothing_protocol`.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from sklearn.datasets import load_digits

from taskdistill.configs.loading import load_experiment
from taskdistill.flows.pipeline.console import on_console
from taskdistill.flows.pipeline.running import run_plan
from taskdistill.storage.store import ArtifactStore
from tests.benchmarks.clothing_protocol import LITE1, PRESET, SMALL, network_settings, scores_in, table

PER_CLASS, SIDE_PX = 60, 96


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--folder", type=Path, required=True)
    folder = options.parse_args().folder.absolute()
    networks = [
        f"{role}.{setting}"
        for role, network in (("teacher", LITE1), ("student", SMALL))
        for setting in network_settings(network)
    ]
    pictures = write_digits(folder / "digits")
    experiment = load_experiment(PRESET, [f"data.path={pictures}", "seeds=[0, 1]", *networks])
    store = ArtifactStore(folder / "store")
    with on_console(experiment, Console(stderr=True)) as show:
        run_plan(experiment, store, show)
    Console(width=160).print(table({"digits": scores_in([experiment], store)}))


def write_digits(folder: Path) -> Path:
    """Write 60 pictures of each digit as digit/row.png; the same ones each time."""
    digits, rng = load_digits(), np.random.default_rng(0)
    for digit in range(10):
        rows = np.flatnonzero(digits.target == digit)
        rng.shuffle(rows)
        (folder / str(digit)).mkdir(parents=True, exist_ok=True)
        for row in rows[:PER_CLASS]:
            picture = Image.fromarray((digits.images[row] * 255 / 16).astype(np.uint8))
            enlarged = picture.resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC).convert("RGB")
            enlarged.save(folder / str(digit) / f"{row}.png")
    return folder


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
