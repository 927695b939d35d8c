"""A tiny ImageMixer with random weights, of the very classes the real one is made of."""

from pathlib import Path

import taskdistill.tasks.models  # noqa: F401  # makes torchvision importable beside a CPU torch, which what follows needs

# isort: split
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

from taskdistill.tasks.generators.convert_image_mixer import CLIP, SCHEDULER, UNET, VAE
from taskdistill.tasks.generators.image_mixer import ImageMixerPipeline

WIDTH = 32
"""Of an embedding."""


def build_tiny_mixer(channels: tuple[int, int] = (32, 64), *, seed: int = 0) -> ImageMixerPipeline:
    """A pipeline whose latents are half the side of its images; the same weights for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet = UNet2DConditionModel(
            sample_size=8, in_channels=4, out_channels=4, layers_per_block=1, block_out_channels=channels,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), cross_attention_dim=WIDTH, attention_head_dim=8,
        )  # fmt: skip
        vae = AutoencoderKL(
            block_out_channels=(32, 64), latent_channels=4, scaling_factor=0.18215,
            down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        )  # fmt: skip
        clip = CLIPVisionConfig(
            hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, image_size=32,
            patch_size=8, projection_dim=WIDTH,
        )  # fmt: skip
        encoder = CLIPVisionModelWithProjection(clip)
    pipeline = ImageMixerPipeline(
        unet=unet.eval(),
        vae=vae.eval(),
        image_encoder=encoder.eval(),
        feature_extractor=CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}),
        scheduler=DDIMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False,
            set_alpha_to_one=False, steps_offset=1, prediction_type="epsilon",
        ),
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def write_tiny_mixer(folder: Path, channels: tuple[int, int] = (32, 64)) -> Path:
    """Write the pipeline as the folder of safetensors that settings name; returns the folder."""
    build_tiny_mixer(channels).save_pretrained(folder, safe_serialization=True)
    return folder


def write_sd_size_mixer(folder: Path) -> Path:
    """Write a mixer of Stable Diffusion's sizes with random weights, 5 GB in fp32; returns the folder."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        pipeline = ImageMixerPipeline(
            unet=UNet2DConditionModel(**UNET),
            vae=AutoencoderKL(**VAE),
            image_encoder=CLIPVisionModelWithProjection(CLIPVisionConfig(**CLIP)),
            feature_extractor=CLIPImageProcessor(),
            scheduler=DDIMScheduler(**SCHEDULER),
        )
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder
