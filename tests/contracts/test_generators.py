"""What every generator must obey: stages embed and generate rely on this and nothing else.

A new generator adds a class with the fixtures `model` and `generator`.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from taskdistill.configs.choices import GENERATORS, load
from taskdistill.configs.generation import BlendSettings, GeneratorModel
from taskdistill.configs.runtime import RuntimeConfig
from taskdistill.tasks.generators.generator import Generator, describe_generator

CPU = torch.device("cpu")
SETTINGS = BlendSettings(side_px=16, num_steps=2)


class GeneratorContract:
    """The rules."""

    @pytest.fixture
    def pairs(self, generator: Generator) -> torch.Tensor:
        return torch.randn(3, 2, generator.width, generator=torch.Generator().manual_seed(0))

    def test_an_image_becomes_one_float_vector_of_its_width(self, generator: Generator) -> None:
        side = generator.preprocessing.side_px
        embedded = generator.ready_to_embed(CPU).embed(torch.zeros(2, 3, side, side))
        assert (tuple(embedded.shape), embedded.dtype) == ((2, generator.width), torch.float32)

    def test_it_tells_its_width_and_what_it_wants_to_see_before_its_weights_are_loaded(
        self, generator: Generator, model: GeneratorModel
    ) -> None:
        described = describe_generator(model, RuntimeConfig(device="cpu"))
        assert described == (generator.width, generator.preprocessing, generator.substitution)

    def test_a_blend_is_pixels_of_the_size_asked_for(self, generator: Generator, pairs: torch.Tensor) -> None:
        blends = generator.ready_to_blend(CPU).blend(pairs, [1, 2, 3], SETTINGS)
        assert (blends.shape, blends.dtype) == ((3, 16, 16, 3), np.uint8)

    def test_a_blend_depends_on_its_own_pair_and_seed_alone(self, generator: Generator, pairs: torch.Tensor) -> None:
        together = generator.blend(pairs, [1, 2, 3], SETTINGS).astype(int)
        alone = generator.blend(pairs[1:2], [2], SETTINGS).astype(int)
        assert abs(together[1] - alone[0]).max() <= 1

    def test_another_seed_and_another_parent_give_other_pictures(
        self, generator: Generator, pairs: torch.Tensor
    ) -> None:
        first, other_seed, other_parent = (
            generator.blend(pair, [seed], SETTINGS).astype(int)
            for pair, seed in ((pairs[:1], 1), (pairs[:1], 2), (pairs[1:2], 1))
        )
        assert abs(first - other_seed).max() > 1
        assert abs(first - other_parent).max() > 1


class TestImageMixer(GeneratorContract):
    @pytest.fixture
    def model(self, mixer_folder: Path) -> GeneratorModel:
        return GeneratorModel(folder=str(mixer_folder))

    @pytest.fixture
    def generator(self, model: GeneratorModel) -> Generator:
        made: Generator = load(GENERATORS, "image-mixer")(model, RuntimeConfig(device="cpu"))
        return made
