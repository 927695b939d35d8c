"""The weights in the package: they load as users load them, know their world, and stay small."""

import pytest
import torch
from PIL import Image

from taskdistill.configs.generation import GeneratorModel
from taskdistill.configs.loading import load_experiment
from taskdistill.configs.runtime import RuntimeConfig
from taskdistill.tasks.generators.mixer_generator import MixerGenerator, build_generator
from taskdistill.tasks.miniature.attributes import random_attributes
from taskdistill.tasks.miniature.networks import MIXER, WEIGHTS, shipped
from taskdistill.tasks.miniature.world import draw
from taskdistill.tasks.models.encoder import build_encoder, summarise
from tests.benchmarks.blend_likeness import AT_LEAST, measure

LARGEST_BYTES = 15_000_000
MARGIN = 5.0
"""Points below the goal, which holds for the mean of five worlds (see the card), at which one world is no chance."""


@pytest.fixture(scope="module")
def mixer() -> MixerGenerator:
    return build_generator(GeneratorModel(folder=str(MIXER)), RuntimeConfig(device="cpu"))


@pytest.mark.parametrize("name", ["teacher", "student"])
def test_a_shipped_backbone_loads_from_its_file(name: str):
    encoder = build_encoder(shipped(name)).eval()
    assert summarise(encoder, torch.zeros(1, 3, 64, 64)).isfinite().all()


@pytest.mark.parametrize("name", ["teacher", "student", "mixer"])
def test_shipped_weights_have_a_card_and_a_loss_curve(name: str):
    card = (WEIGHTS / f"{name}.md").read_text()
    assert f"taskdistill miniature pretrain {name}" in card
    assert "Apache-2.0" in card
    assert (WEIGHTS / f"{name}.history.json").is_file()


def test_all_shipped_weights_together_are_small():
    assert sum(path.stat().st_size for path in WEIGHTS.rglob("*") if path.is_file()) <= LARGEST_BYTES


def test_a_blend_of_a_picture_with_itself_looks_more_like_it_than_like_another(mixer: MixerGenerator):
    generator = torch.Generator().manual_seed(11)
    pictures = draw(random_attributes(16, generator), generator).images_NHWC.numpy()
    embeddings_ND = mixer.pipeline.embed([Image.fromarray(picture) for picture in pictures])
    generators = [torch.Generator().manual_seed(seed) for seed in range(16)]
    twice_NPD = embeddings_ND[:, None].expand(-1, 2, -1)
    blends = mixer.pipeline(twice_NPD, generators=generators, height=64, width=64, num_steps=10, timesteps="scheduler")
    seen_ND = mixer.pipeline.embed([Image.fromarray(blend.numpy()) for blend in blends])
    likeness_NN = torch.cosine_similarity(seen_ND[:, None], embeddings_ND[None], dim=2)
    assert (likeness_NN.argmax(dim=1) == torch.arange(16)).sum() >= 12


@pytest.mark.slow
def test_blends_are_mostly_nearer_to_both_parents_than_to_random_birds(mixer: MixerGenerator):
    painted, _ = measure(mixer, load_experiment("miniature"), world=100, num_blends=64)
    assert painted.than_random_birds >= AT_LEAST - MARGIN
