"""The pictures the mixer learns from, already encoded: each picture's latents, and embeddings of several crops of it.

Encoding costs more than a step of the U-Net, so each picture is encoded once and used in many steps. The pool is
written in shards, each of which depends on the seed and its number alone; a killed run continues at the first missing
one.

Shape letters: N pictures, V crops, C latent channels, h w latent cells, D embedding width, H W pixels.
"""

import math
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, affine_grid, grid_sample
from transformers import CLIPVisionModelWithProjection

from taskdistill.storage.weights import read_tensors, write_tensors
from taskdistill.tasks.miniature.autoencoder import bird_weights
from taskdistill.tasks.miniature.pretraining import PretrainingError, step_generator
from taskdistill.tasks.miniature.supervised import fresh_birds, normalised
from taskdistill.tasks.models.patch_autoencoder import PatchAutoencoder
from taskdistill.tasks.models.task_model import as_arrays, as_tensors
from taskdistill.tasks.stage import OnProgress

NUM_CROPS = 3
SHARD = 512
SMALLEST_CROP = 0.75
"""Side of a crop, as a share of the picture's."""
MIRRORED = 0.25
"""Share of the crops that are mirrored: some, or two parents that face each other would be new to the mixer; not half,
or a single crop would leave open which way the bird faces."""


class Pool(NamedTuple):
    """Encoded pictures."""

    latents_NChw: Tensor
    """Scaled to about unit variance."""
    embeddings_NVD: Tensor
    weights_Nhw: Tensor
    """How much each cell counts: most where the bird is; 1 in the mean of the pictures drawn together."""


class Eyes(NamedTuple):
    """The frozen networks that encode."""

    image_encoder: CLIPVisionModelWithProjection
    vae: PatchAutoencoder


def build_pool(folder: Path, eyes: Eyes, *, num_images: int, seed: int, on_progress: OnProgress) -> Pool:
    """Encode pictures of random birds, or read those that an earlier run encoded; PretrainingError where these are of
    another version.
    """
    folder.mkdir(parents=True, exist_ok=True)
    num_shards = math.ceil(num_images / SHARD)
    shards = []
    for index in range(num_shards):
        path = folder / f"pool-{index:04}.safetensors"
        if not path.is_file():
            shard = encode(eyes, SHARD, step_generator(seed, index))
            write_tensors(path, as_arrays(shard._asdict()))
        shards.append(as_tensors(read_tensors(path)))
        if shards[-1].keys() != set(Pool._fields):
            raise PretrainingError(f"{path} was written by another version of this program: remove {folder}")
        on_progress("shards of pictures", index + 1, num_shards)
    return Pool(*(torch.cat([shard[field] for shard in shards])[:num_images] for field in Pool._fields))


@torch.inference_mode()
def encode(eyes: Eyes, num: int, generator: torch.Generator) -> Pool:
    """Draw pictures and encode them."""
    chunks = []
    for start in range(0, num, 64):
        pictures = fresh_birds(min(64, num - start), generator)
        images_NCHW = normalised(pictures)
        crops = torch.cat([random_crop(images_NCHW, generator) for _ in range(NUM_CROPS)])
        embeddings_VND = eyes.image_encoder(pixel_values=crops).image_embeds.view(NUM_CROPS, len(images_NCHW), -1)
        latents = eyes.vae.encode(images_NCHW).latents * eyes.vae.config.scaling_factor
        weights_Nhw = adaptive_avg_pool2d(bird_weights(pictures), latents.shape[2:])
        chunks.append(Pool(latents, embeddings_VND.transpose(0, 1), weights_Nhw))
    return Pool(*(torch.cat(field) for field in zip(*chunks, strict=True)))


def random_crop(images_NCHW: Tensor, generator: torch.Generator) -> Tensor:
    """Return a random crop of each picture, mirrored or not, at full size.

    The mixer is to learn what is in the picture from crops that disagree about where it is, since two parents will.
    """
    num = len(images_NCHW)
    scale = torch.rand(num, generator=generator) * (1 - SMALLEST_CROP) + SMALLEST_CROP
    mirror = 1 - 2 * (torch.rand(num, generator=generator) < MIRRORED).float()
    shift = (torch.rand(num, 2, generator=generator) * 2 - 1) * (1 - scale)[:, None]
    theta = torch.zeros(num, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1], theta[:, :, 2] = scale * mirror, scale, shift
    grid = affine_grid(theta, list(images_NCHW.shape), align_corners=False)
    return grid_sample(images_NCHW, grid, padding_mode="reflection", align_corners=False)
