"""Whether the embedded mixer's blends take after both parents, as its own image encoder sees it.

    python -m tests.benchmarks.blend_likeness [--quick] [--worlds 0,1,2,3,4] [--set blends.guidance=3 ...]

Blends of pairs of training pictures, painted as the preset `miniature` has it. A blend does when its embedding is
nearer (cosine) to both parents than to a random other picture of the same world; a fifth of those have a parent's own
genus, and with it most of its attributes. The mean over several random pictures is told.

Shape letters: N blends, M pictures, D embedding width.
"""

import numpy as np
import numpy.typing as npt
import torch

from configs.experiment import Experiment
from configs.loading import load_experiment
from flows.demo import PER_CLASS, PRESET
from tasks.functional.pairs import normalised
from tasks.functional.views import Pixels
from tasks.miniature.attributes import draw_species
from tasks.miniature.dataset import draw_pairs, draw_split
from tasks.models.mixer_generator import MixerGenerator, build_generator
from tasks.models.preprocessing import normalise
from tests.benchmarks.report import Row, finish, parser

NUM_BLENDS = 128
NUM_RANDOM = 64
AT_LEAST = 90.0
BATCH = 32


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--worlds", default="0,1,2,3,4")
    options.add_argument("--set", action="append", default=[], dest="overrides")
    arguments = options.parse_args()
    torch.set_num_threads(1)
    experiment = load_experiment(PRESET, arguments.overrides)
    generator = build_generator(experiment.generator, experiment.runtime)
    worlds = [int(text) for text in arguments.worlds.split(",")][: 1 if arguments.quick else None]
    shares = {world: 100 * likeness(generator, experiment, world) for world in worlds}
    rows = [Row(f"world {world}", share, "% of blends") for world, share in shares.items()]
    mean = Row("nearer to both parents", float(np.mean(list(shares.values()))), "% of blends", at_least=AT_LEAST)
    finish("Blends and their parents", [*rows, mean], as_json=arguments.json)


def likeness(generator: MixerGenerator, experiment: Experiment, world: int, num_blends: int = NUM_BLENDS) -> float:
    """Return the share of blends nearer to both parents than to a random picture that is no parent."""
    train = draw_split(draw_species(world), seed=world, split="train", per_class=PER_CLASS["train_per_class"])
    pictures_MD = embed(generator, train.pictures.images_NHWC.numpy())
    pairs_N2 = draw_pairs(len(pictures_MD), num_blends, seed=world).numpy()
    blends = [
        generator.blend(
            torch.from_numpy(pictures_MD[pairs_N2[start : start + BATCH]]),
            range(start, min(start + BATCH, num_blends)),
            experiment.blends,
        )
        for start in range(0, num_blends, BATCH)
    ]
    likeness_NM = normalised(embed(generator, np.concatenate(blends))) @ normalised(pictures_MD).T
    rows_N1 = np.arange(num_blends)[:, None]
    lesser_N1 = likeness_NM[rows_N1, pairs_N2].min(axis=1, keepdims=True)
    rng = np.random.default_rng(world)
    random_NR = np.stack([rng.choice(np.setdiff1d(np.arange(len(pictures_MD)), pair), NUM_RANDOM) for pair in pairs_N2])
    return float((lesser_N1 > likeness_NM[rows_N1, random_NR]).mean())


@torch.inference_mode()
def embed(generator: MixerGenerator, images_NSS3: Pixels) -> npt.NDArray[np.float32]:
    seen = normalise(images_NSS3, generator.preprocessing, torch.device("cpu"))
    return generator.embed(seen).numpy()


if __name__ == "__main__":
    main()
