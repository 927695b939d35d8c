"""The mixer's autoencoder: pictures to small maps of numbers and back.

A variational autoencoder whose posterior has one fixed spread: noise is added to the latents and their square is kept
small, so that the decoder does not mind the small errors of a diffusion model. The bird counts more than what is
around it, where most pixels are.

Shape letters: N pictures, C H W pixels or latent channels and cells.
"""

from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import l1_loss

from taskdistill.tasks.miniature.networks import new_autoencoder
from taskdistill.tasks.miniature.pretraining import Losses
from taskdistill.tasks.miniature.supervised import fresh_birds, normalised
from taskdistill.tasks.miniature.world import PARTS, Pictures

LATENT_NOISE = 0.1
LATENT_WEIGHT = 2e-3
BIRD_WEIGHT = 6.0
EDGE_WEIGHT = 0.5

NUM_FIRST = 2000
"""Pictures whose patches the linear code is taken from."""
_FIRST_SEED, _SCORED_SEED = 10_000_103, 10_000_079
NUM_SCORED = 512


class AutoencoderPart:
    """`encode(x).latents` and `decode(z).sample` in -1..1, without any scaling; the scale is measured when saving."""

    def __init__(self, seed: int) -> None:
        self.trained = new_autoencoder(seed)
        pictures = fresh_birds(NUM_FIRST, torch.Generator().manual_seed(_FIRST_SEED + seed))
        self.trained.start_as_linear_code(normalised(pictures), bird_weights(pictures))

    def losses(self, batch_size: int, generator: torch.Generator) -> Losses:
        pictures = fresh_birds(batch_size, generator)
        images_NCHW = normalised(pictures)
        latents = self.trained.encode(images_NCHW).latents
        noise = torch.randn(latents.shape, generator=generator) * LATENT_NOISE
        decoded_NCHW = self.trained.decode(latents + noise).sample
        weight_NCHW = bird_weights(pictures).unsqueeze(1)
        return {
            "pixels": ((decoded_NCHW - images_NCHW).abs() * weight_NCHW).mean(),
            "edges": EDGE_WEIGHT * _edge_loss(decoded_NCHW * weight_NCHW, images_NCHW * weight_NCHW),
            "latents": LATENT_WEIGHT * latents.square().mean(),
        }

    @torch.inference_mode()
    def score(self) -> dict[str, float]:
        """Return the peak signal-to-noise ratio over all pixels and over those of the bird, in decibels."""
        pictures = fresh_birds(NUM_SCORED, torch.Generator().manual_seed(_SCORED_SEED))
        images_NCHW = normalised(pictures)
        latents = self.trained.encode(images_NCHW).latents
        errors_NHW = (self.trained.decode(latents).sample - images_NCHW).square().mean(dim=1)
        is_bird_NHW = pictures.masks_NHW >= PARTS.index("body")
        return {
            "psnr": round(_decibels(errors_NHW.mean()), 2),
            "psnr of the bird": round(_decibels(errors_NHW[is_bird_NHW].mean()), 2),
            "latent spread": round(float(latents.std()), 4),
        }

    def save(self, folder: Path) -> None:
        spread = self.score()["latent spread"]
        self.trained.register_to_config(scaling_factor=round(1 / spread, 4))
        self.trained.save_pretrained(folder / "vae")


def bird_weights(pictures: Pictures) -> Tensor:
    """Return how much each pixel counts, with a mean of 1, [N, H, W]."""
    weights_NHW = 1 + (BIRD_WEIGHT - 1) * (pictures.masks_NHW >= PARTS.index("body")).float()
    return weights_NHW / weights_NHW.mean()


def _edge_loss(decoded_NCHW: Tensor, images_NCHW: Tensor) -> Tensor:
    """The same differences between neighbours, or the decoder would settle for a blur."""
    across = l1_loss(decoded_NCHW.diff(dim=3), images_NCHW.diff(dim=3))
    down = l1_loss(decoded_NCHW.diff(dim=2), images_NCHW.diff(dim=2))
    return across + down


def _decibels(squared_error: Tensor) -> float:
    return float(-10 * torch.log10(squared_error / 4))
