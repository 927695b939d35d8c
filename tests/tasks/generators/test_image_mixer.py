"""ImageMixer against the original equations, on tiny random networks of the real classes.

Shape letters: B images, P slots, D embedding width, C latent channels, h w latent cells.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from taskdistill.tasks.generators.image_mixer import ImageMixerPipeline, Timesteps, pad_slots
from tests.tiny_mixer import WIDTH, build_tiny_mixer

SIDE = 16
ORIGINAL_30 = [991 - 33 * step for step in range(31)]
"""991, 958, ..., 34, 1: what the original program visits when asked for 30 steps."""


@pytest.fixture(scope="module")
def mixer() -> ImageMixerPipeline:
    return build_tiny_mixer()


@pytest.fixture(scope="module")
def pairs() -> Tensor:
    """Embeddings of three pairs of images."""
    return torch.randn(3, 2, WIDTH, generator=torch.Generator().manual_seed(1))


def seeded(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def mix(mixer: ImageMixerPipeline, embeddings_BPD: Tensor, *seeds: int, **settings: object) -> np.ndarray:
    arguments = {"height": SIDE, "width": SIDE, "num_steps": 5} | settings
    return mixer(embeddings_BPD, generators=seeded(*seeds), **arguments).numpy().astype(int)


@torch.inference_mode()
def sampled_by_hand(mixer: ImageMixerPipeline, pair_PD: Tensor, seed: int, steps: list[int], guidance: float) -> Tensor:
    """DDIM of arXiv 2010.02502, equation 12 with sigma 0, in float64 but for the network; returns pixels in -1..1."""
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=np.float64) ** 2
    alpha_bar = np.cumprod(1 - betas)
    context = torch.zeros(1, 5, WIDTH)
    context[0, :2] = pair_PD
    x = torch.randn((1, 4, SIDE // 2, SIDE // 2), generator=torch.Generator().manual_seed(seed)).double()
    stride = steps[0] - steps[1]
    for step in steps:
        eps_c = mixer.unet(x.float(), step, encoder_hidden_states=context).sample.double()
        eps_u = mixer.unet(x.float(), step, encoder_hidden_states=torch.zeros_like(context)).sample.double()
        eps = eps_u + guidance * (eps_c - eps_u)
        now, before = alpha_bar[step], alpha_bar[max(step - stride, 0)]
        clean = (x - (1 - now) ** 0.5 * eps) / now**0.5
        x = before**0.5 * clean + (1 - before) ** 0.5 * eps
    return mixer.vae.decode(x.float() / 0.18215).sample


@pytest.mark.parametrize(
    ("timesteps", "steps"), [("original", ORIGINAL_30), ("scheduler", [958 - 33 * step for step in range(30)])]
)
def test_sampling_follows_the_equations(
    mixer: ImageMixerPipeline, pairs: Tensor, timesteps: Timesteps, steps: list[int]
) -> None:
    pixels = sampled_by_hand(mixer, pairs[0], seed=7, steps=steps, guidance=3.0)
    latents = mixer.sample(pad_slots(pairs[:1], (1.0, 1.0)), seeded(7), SIDE, SIDE, 3.0, 30, timesteps)
    with torch.inference_mode():
        found = mixer.vae.decode(latents / 0.18215).sample
    assert float((found - pixels).abs().max()) < 1e-4


def test_thirty_steps_of_the_original_are_31_evaluations(mixer: ImageMixerPipeline) -> None:
    mixer.set_timesteps(30, "original")
    assert mixer.scheduler.timesteps.tolist() == ORIGINAL_30


@pytest.mark.parametrize("num_steps", [20, 50, 100])
def test_the_two_schedules_agree_where_the_steps_divide_a_thousand(mixer: ImageMixerPipeline, num_steps: int) -> None:
    mixer.set_timesteps(num_steps, "original")
    original = mixer.scheduler.timesteps.tolist()
    mixer.set_timesteps(num_steps, "scheduler")
    assert mixer.scheduler.timesteps.tolist() == original


@pytest.mark.parametrize("num_steps", [1, 3, 9, 27, 37, 111, 333, 1000])
def test_no_number_of_steps_asks_for_a_noise_level_the_model_never_saw(
    mixer: ImageMixerPipeline, num_steps: int
) -> None:
    mixer.set_timesteps(num_steps, "original")
    assert 1 <= mixer.scheduler.timesteps.min() <= mixer.scheduler.timesteps.max() <= 999


def test_two_embeddings_fill_two_of_five_slots_and_zeros_the_rest(pairs: Tensor) -> None:
    padded = pad_slots(pairs, (1.0, 0.5))
    assert padded.shape == (3, 5, WIDTH)
    assert torch.equal(padded[:, 0], pairs[:, 0])
    assert torch.equal(padded[:, 1], pairs[:, 1] * 0.5)
    assert not padded[:, 2:].any()


@torch.inference_mode()
def test_two_slots_alone_would_be_another_picture(mixer: ImageMixerPipeline, pairs: Tensor) -> None:
    x = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(0))
    padded = mixer.unet(x, 500, encoder_hidden_states=pad_slots(pairs[:1], (1.0, 1.0))).sample
    alone = mixer.unet(x, 500, encoder_hidden_states=pairs[:1]).sample
    assert float((padded - alone).abs().max()) > 1e-3


def test_the_order_of_the_parents_does_not_matter(mixer: ImageMixerPipeline, pairs: Tensor) -> None:
    assert np.abs(mix(mixer, pairs[:1], 3) - mix(mixer, pairs[:1].flip(1), 3)).max() <= 1


def test_other_parents_and_another_seed_give_other_pictures(mixer: ImageMixerPipeline, pairs: Tensor) -> None:
    picture = mix(mixer, pairs[:1], 3)
    assert np.abs(picture - mix(mixer, pairs[:1], 4)).max() > 1
    assert np.abs(picture - mix(mixer, 20 * pairs[1:2], 3)).max() > 1


def test_a_picture_does_not_depend_on_its_batch(mixer: ImageMixerPipeline, pairs: Tensor) -> None:
    together = mix(mixer, pairs, 3, 4, 5)
    for index, seed in enumerate((3, 4, 5)):
        alone = mix(mixer, pairs[index : index + 1], seed)
        assert np.abs(together[index] - alone[0]).max() <= 1


@pytest.mark.filterwarnings("ignore")  # of transformers and diffusers, about optional packages
def test_a_saved_mixer_paints_the_same(mixer: ImageMixerPipeline, pairs: Tensor, tmp_path: Path) -> None:
    mixer.save_pretrained(tmp_path / "mixer")
    assert not [path for path in (tmp_path / "mixer").rglob("*") if path.suffix in (".bin", ".pt", ".ckpt")]
    again = ImageMixerPipeline.from_pretrained(tmp_path / "mixer")
    again.set_progress_bar_config(disable=True)
    assert np.array_equal(mix(again, pairs, 3, 4, 5), mix(mixer, pairs, 3, 4, 5))


def test_an_embedding_is_that_of_the_clip_tower_on_the_normalised_centre(mixer: ImageMixerPipeline) -> None:
    square = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    mean = np.array([0.48145466, 0.4578275, 0.40821073])
    std = np.array([0.26862954, 0.26130258, 0.27577711])
    pixels = torch.from_numpy(((square / 255 - mean) / std).transpose(2, 0, 1)[None]).float()
    with torch.inference_mode():
        expected = mixer.image_encoder(pixels).image_embeds
    assert torch.allclose(mixer.embed([Image.fromarray(square)]), expected, atol=1e-5)


def test_what_cannot_be_mixed_is_refused(mixer: ImageMixerPipeline, pairs: Tensor) -> None:
    with pytest.raises(ValueError, match="between 1 and 5 embeddings"):
        pad_slots(torch.zeros(1, 6, WIDTH), (1.0,) * 6)
    with pytest.raises(ValueError, match="multiples of 2, got 15 x 16"):
        mix(mixer, pairs[:1], 0, height=15)
    with pytest.raises(ValueError, match="3 images need one generator each, got 1"):
        mix(mixer, pairs, 0)
