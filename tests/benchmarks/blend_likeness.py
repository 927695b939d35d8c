"""Whether the embedded mixer's blends take after both parents, as its own image encoder sees it.

    python -m tests.benchmarks.blend_likeness [--quick] [--worlds 0,1,2,3,4] [--set blends.guidance=3 ...]

Blends of pairs of training pictures, painted as the preset `miniature` has it. Each is compared with 64 random
pictures: in what share of the comparisons is its embedding nearer (cosine) to both parents than to the random picture?
Random pictures are birds drawn at random, the same for all blends of a world, or, harder, other training pictures of
that world: one in three of those is of a parent's own genus, and shares most of its attributes. How hard either is, a
perfect mixer tells: a new bird with each attribute from either parent, in a pose and a scene of its own.

Shape letters: N blends, M training pictures, R random pictures, D embedding width.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from taskdistill.configs.experiment import Experiment
from taskdistill.configs.loading import load_experiment
from taskdistill.flows.birds import SPECIES
from taskdistill.tasks.functional.pairs import normalised
from taskdistill.tasks.functional.views import Pixels
from taskdistill.tasks.generators.mixer_generator import MixerGenerator, build_generator
from taskdistill.tasks.miniature.attributes import draw_species, random_attributes
from taskdistill.tasks.miniature.dataset import draw_split
from taskdistill.tasks.miniature.world import draw
from taskdistill.tasks.models.preprocessing import normalise
from tests.benchmarks.report import Row, finish, parser
from tests.oracle_blends import draw_pairs, oracle_blends

NUM_BLENDS = 128
NUM_RANDOM = 64
AT_LEAST = 90.0
BATCH = 32

Embeddings = npt.NDArray[np.float32]


class Likeness(NamedTuple):
    """Percent of comparisons in which a blend is nearer to both parents than to a random picture."""

    than_random_birds: float
    than_other_pictures: float


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--worlds", default="0,1,2,3,4")
    options.add_argument("--set", action="append", default=[], dest="overrides")
    arguments = options.parse_args()
    torch.set_num_threads(1)
    experiment = load_experiment(SPECIES.preset, arguments.overrides)
    generator = build_generator(experiment.generator, experiment.runtime)
    worlds = [int(text) for text in arguments.worlds.split(",")][: 1 if arguments.quick else None]
    found = np.asarray([measure(generator, experiment, world) for world in worlds])  # [worlds, mixer or perfect, 2]
    (than_birds, than_others), (perfect_birds, perfect_others) = found.mean(axis=0)
    rows = [
        Row("mixer, than to random birds", than_birds, "% of comparisons", at_least=AT_LEAST),
        Row("mixer, worst world", found[:, 0, 0].min(), "% of comparisons"),
        Row("mixer, than to other training pictures", than_others, "% of comparisons"),
        Row("perfect mixer, than to random birds", perfect_birds, "% of comparisons"),
        Row("perfect mixer, than to other training pictures", perfect_others, "% of comparisons"),
    ]
    finish("Blends nearer to both parents", rows, as_json=arguments.json)


def measure(
    generator: MixerGenerator, experiment: Experiment, world: int, num_blends: int = NUM_BLENDS
) -> tuple[Likeness, Likeness]:
    """Return how the mixer's blends of one world do, and a perfect mixer's of the same parents."""
    train = draw_split(
        draw_species(world), seed=world, split="train", per_class=SPECIES.per_class["train_per_class"]
    ).pictures
    pictures_MD = embed(generator, train.images_NHWC.numpy())
    pairs_N2 = draw_pairs(len(pictures_MD), num_blends, seed=world).numpy()
    parts = np.array_split(np.arange(num_blends), max(num_blends // BATCH, 1))
    blends = [
        generator.blend(torch.from_numpy(pictures_MD[pairs_N2[part]]), part.tolist(), experiment.blends)
        for part in parts
    ]
    parents_a_NA, parents_b_NA = train.attributes_NA[pairs_N2[:, 0]], train.attributes_NA[pairs_N2[:, 1]]
    perfect_NSS3 = oracle_blends(parents_a_NA, parents_b_NA, seed=world).images_NHWC.numpy()
    birds_RD = embed(generator, random_birds(world))
    painted, perfect = (
        likeness(embed(generator, images), pictures_MD, pairs_N2, birds_RD)
        for images in (np.concatenate(blends), perfect_NSS3)
    )
    return painted, perfect


def likeness(
    blends_ND: Embeddings, pictures_MD: Embeddings, pairs_N2: npt.NDArray[np.int64], birds_RD: Embeddings
) -> Likeness:
    to_pictures_NM = normalised(blends_ND) @ normalised(pictures_MD).T
    rows_N1 = np.arange(len(blends_ND))[:, None]
    lesser_N1 = to_pictures_NM[rows_N1, pairs_N2].min(axis=1, keepdims=True)
    rng = np.random.default_rng(0)
    everyone = np.arange(len(pictures_MD))
    others_NR = np.stack([rng.choice(np.setdiff1d(everyone, pair), NUM_RANDOM) for pair in pairs_N2])
    than_birds = lesser_N1 > normalised(blends_ND) @ normalised(birds_RD).T
    than_others = lesser_N1 > to_pictures_NM[rows_N1, others_NR]
    return Likeness(100 * float(than_birds.mean()), 100 * float(than_others.mean()))


def random_birds(seed: int) -> Pixels:
    generator = torch.Generator().manual_seed(seed)
    return draw(random_attributes(NUM_RANDOM, generator), generator).images_NHWC.numpy()


@torch.inference_mode()
def embed(generator: MixerGenerator, images_NSS3: Pixels) -> Embeddings:
    return generator.embed(normalise(images_NSS3, generator.preprocessing, torch.device("cpu"))).numpy()


if __name__ == "__main__":
    main()
