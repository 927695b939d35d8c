"""The miniature's networks: what they are built of, and where their shipped weights lie.

A large and a small vision transformer (teacher and student), and the four parts of an ImageMixer. The mixer's image
encoder is a network of its own, trained apart: a mixer that saw through the teacher's eyes would hand the student the
teacher's features by another door.
"""

from pathlib import Path

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

from taskdistill.configs.models import Backbone
from taskdistill.tasks.miniature.world import SIDE_PX
from taskdistill.tasks.models.patch_autoencoder import PatchAutoencoder

PATCH_PX = 8

TEACHER = Backbone(
    name="vit_tiny_patch16_224",
    weights="random",
    arguments={"patch_size": PATCH_PX, "embed_dim": 96, "depth": 6, "num_heads": 4},
    input_px=SIDE_PX,
)
STUDENT = TEACHER.model_copy(
    update={"arguments": {"patch_size": PATCH_PX, "embed_dim": 48, "depth": 4, "num_heads": 3}}
)
BACKBONES = {"teacher": TEACHER, "student": STUDENT}

EMBEDDING_WIDTH = 96
LATENT_CHANNELS = 24

WEIGHTS = Path(__file__).with_name("weights")
MIXER = WEIGHTS / "mixer"
"""A folder that tasks.generators.image_mixer.ImageMixerPipeline.from_pretrained loads."""


def shipped(name: str) -> Backbone:
    """Return the settings of the pretrained teacher or student."""
    return BACKBONES[name].model_copy(update={"weights": "file", "file": str(WEIGHTS / f"{name}.safetensors")})


def new_image_encoder(seed: int) -> CLIPVisionModelWithProjection:
    config = CLIPVisionConfig(
        hidden_size=96,
        intermediate_size=288,
        num_hidden_layers=6,
        num_attention_heads=4,
        image_size=SIDE_PX,
        patch_size=PATCH_PX,
        projection_dim=EMBEDDING_WIDTH,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return CLIPVisionModelWithProjection(config)


def new_image_processor() -> CLIPImageProcessor:
    """CLIP's own preparation at the miniature's size."""
    return CLIPImageProcessor(
        size={"shortest_edge": SIDE_PX}, crop_size={"height": SIDE_PX, "width": SIDE_PX}, image_mean=(0.5,) * 3,
        image_std=(0.5,) * 3,
    )  # fmt: skip


def new_autoencoder(seed: int) -> PatchAutoencoder:
    """64 x 64 pixels to 8 x 8 cells of 24 numbers: few cells, so that the U-Net sees many pictures in little time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        autoencoder: PatchAutoencoder = PatchAutoencoder(latent_channels=LATENT_CHANNELS)
        return autoencoder


def new_unet(seed: int) -> UNet2DConditionModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return UNet2DConditionModel(
            sample_size=SIDE_PX // 8,
            in_channels=LATENT_CHANNELS,
            out_channels=LATENT_CHANNELS,
            layers_per_block=1,
            block_out_channels=(64,),
            down_block_types=("CrossAttnDownBlock2D",),
            up_block_types=("CrossAttnUpBlock2D",),
            cross_attention_dim=EMBEDDING_WIDTH,
            attention_head_dim=4,
            norm_num_groups=16,
        )


def new_scheduler() -> DDIMScheduler:
    """The noise levels of training and sampling; at its last level next to nothing of the picture is left."""
    return DDIMScheduler(
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )
