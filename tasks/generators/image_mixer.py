"""ImageMixer: a Stable Diffusion v1 U-Net told what to paint by image embeddings instead of words.

Its cross-attention sees five slots of CLIP image embeddings (projected, 768 wide, not normalised); two training
images fill two of them, zeros the rest, and what comes out blends the two (lambdalabs/image-mixer; as augmentation:
arXiv 2402.11305). Sampling is DDIM with eta 0 (arXiv 2010.02502, equation 12) and classifier-free guidance (arXiv
2207.12598): eps = eps_u + g * (eps_c - eps_u), the unconditional context being five slots of zeros.

Five slots always: with two tokens alone the attention's softmax runs over other entries, and the picture is clearly
another one. (A model trained with other contexts has another `num_slots` in its configuration.)

Shape letters: B images, P slots, D embedding width, C latent channels, h w latent cells, H W pixels.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from diffusers import AutoencoderKL, DDIMScheduler, DiffusionPipeline, UNet2DConditionModel
from diffusers.utils.torch_utils import randn_tensor
from PIL import Image
from torch import Tensor
from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

from taskdistill.storage.errors import NotFiniteError
from taskdistill.tasks.models.patch_autoencoder import PatchAutoencoder

NUM_SLOTS = 5

Timesteps = Literal["original", "scheduler"]


class ImageMixerPipeline(DiffusionPipeline):  # type: ignore[misc]  # diffusers is untyped
    """Blends images; `save_pretrained`, `from_pretrained`, precision and offloading are diffusers' own."""

    model_cpu_offload_seq = "image_encoder->unet->vae"
    unet: UNet2DConditionModel
    vae: AutoencoderKL | PatchAutoencoder
    image_encoder: CLIPVisionModelWithProjection
    feature_extractor: CLIPImageProcessor
    scheduler: DDIMScheduler

    def __init__(
        self,
        unet: UNet2DConditionModel,
        vae: AutoencoderKL | PatchAutoencoder,
        image_encoder: CLIPVisionModelWithProjection,
        feature_extractor: CLIPImageProcessor,
        scheduler: DDIMScheduler,
        num_slots: int = NUM_SLOTS,
    ) -> None:
        super().__init__()
        self.register_modules(
            unet=unet, vae=vae, image_encoder=image_encoder, feature_extractor=feature_extractor, scheduler=scheduler
        )
        self.register_to_config(num_slots=num_slots)

    @torch.inference_mode()
    def embed(self, images: Sequence[Image.Image]) -> Tensor:
        """Return the CLIP embedding of each RGB image, [B, D]: once for each training image, not once for each pair."""
        return self.encode(self.feature_extractor(images=list(images), return_tensors="pt").pixel_values)

    @torch.inference_mode()
    def encode(self, images_BCHW: Tensor) -> Tensor:
        """Return the CLIP embedding [B, D] of images already cut and normalised."""
        encoder = self.image_encoder
        embeddings_BD: Tensor = encoder(images_BCHW.to(device=encoder.device, dtype=encoder.dtype)).image_embeds
        return embeddings_BD

    @torch.inference_mode()
    def __call__(
        self,
        embeddings_BPD: Tensor,
        *,
        generators: Sequence[torch.Generator],
        strengths: Sequence[float] = (1.0, 1.0),
        height: int = 640,
        width: int = 640,
        guidance: float = 3.0,
        num_steps: int = 30,
        timesteps: Timesteps = "original",
    ) -> Tensor:
        """Return one blend for each row of embeddings, uint8 [B, H, W, 3].

        `generators` holds one for each image, on the CPU, so that an image depends on its own seed and not on its
        batch or device. Raises ValueError for more slots than the model has, or sides that are no multiple of the
        autoencoder's scale.
        """
        context_BPD = pad_slots(embeddings_BPD, strengths, self.config.num_slots)
        latents_BChw = self.sample(context_BPD, generators, height, width, guidance, num_steps, timesteps)
        return self._decode(latents_BChw)

    @torch.inference_mode()
    def sample(
        self,
        context_BPD: Tensor,
        generators: Sequence[torch.Generator],
        height: int,
        width: int,
        guidance: float,
        num_steps: int,
        timesteps: Timesteps,
    ) -> Tensor:
        """Return the latents [B, C, h, w] that a context [B, 5, D] leads to; both halves of guidance are one pass.

        Raises ValueError as `__call__` does.
        """
        context_BPD = context_BPD.to(device=self.unet.device, dtype=self.unet.dtype)
        latents_BChw = self._noise(len(context_BPD), height, width, generators)
        # Unconditional first: `chunk` below takes them apart in this order.
        both_contexts = torch.cat([torch.zeros_like(context_BPD), context_BPD])
        self.set_timesteps(num_steps, timesteps)
        for timestep in self.progress_bar(self.scheduler.timesteps):
            both = self.scheduler.scale_model_input(torch.cat([latents_BChw, latents_BChw]), timestep)
            eps_u, eps_c = self.unet(both, timestep, encoder_hidden_states=both_contexts).sample.chunk(2)
            eps = eps_u + guidance * (eps_c - eps_u)
            latents_BChw = self.scheduler.step(eps, timestep, latents_BChw, eta=0.0).prev_sample
        return latents_BChw

    def set_timesteps(self, num_steps: int, timesteps: Timesteps) -> None:
        """Choose the noise levels visited: the original program's, or those of diffusers' scheduler.

        The original walks 1, 1 + s, 1 + 2s ... below 1000 with s = 1000 // num_steps, backwards, which for 30 steps
        are 31 evaluations from 991; the scheduler's 30 begin at 958. At 20, 50 and 100 steps the two agree.
        """
        self.scheduler.set_timesteps(num_steps, device=self.unet.device)
        if timesteps == "original":
            total = self.scheduler.config.num_train_timesteps
            # For 3, 9, 27, 37, 111, 333 and 1000 steps the first would be 1000, where the original program fails.
            visited = [min(step + 1, total - 1) for step in range(0, total, total // num_steps)]
            self.scheduler.timesteps = torch.tensor(visited[::-1], device=self.unet.device)

    def _noise(self, batch: int, height: int, width: int, generators: Sequence[torch.Generator]) -> Tensor:
        scale = 2 ** (len(self.vae.config.block_out_channels) - 1)
        if height % scale or width % scale:
            raise ValueError(f"height and width must be multiples of {scale}, got {height} x {width}")
        if len(generators) != batch:
            raise ValueError(f"{batch} images need one generator each, got {len(generators)}")
        shape = (batch, self.unet.config.in_channels, height // scale, width // scale)
        # Drawn on the generators' device, the CPU, and then moved: another device would draw other numbers.
        noise_BChw: Tensor = randn_tensor(
            shape, generator=list(generators), device=self.unet.device, dtype=self.unet.dtype
        )
        return noise_BChw * float(self.scheduler.init_noise_sigma)

    def _decode(self, latents_BChw: Tensor) -> Tensor:
        latents_BChw = (latents_BChw / self.vae.config.scaling_factor).to(self.vae.dtype)
        images_BCHW: Tensor = self.vae.decode(latents_BChw).sample
        # Asked before rounding to bytes, which would turn NaN into colours like any other.
        if not torch.isfinite(images_BCHW).all():
            raise NotFiniteError(
                f"what the networks painted is not finite in {self.vae.dtype}: set generator.precision to bf16 or fp32"
            )
        levels = ((images_BCHW.float() / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
        return levels.permute(0, 2, 3, 1).cpu()


def pad_slots(embeddings_BPD: Tensor, strengths: Sequence[float], num_slots: int = NUM_SLOTS) -> Tensor:
    """Scale each embedding by its strength and fill up with zeros to all slots, [B, num_slots, D].

    Raises ValueError for more embeddings than slots, or not one strength for each.
    """
    batch, num_given, width = embeddings_BPD.shape
    if not 1 <= num_given <= num_slots or len(strengths) != num_given:
        raise ValueError(
            f"between 1 and {num_slots} embeddings with a strength each, got {num_given} embeddings and "
            f"{len(strengths)} strengths"
        )
    scale = torch.tensor(strengths, dtype=embeddings_BPD.dtype, device=embeddings_BPD.device)
    padded = embeddings_BPD.new_zeros(batch, num_slots, width)
    padded[:, :num_given] = embeddings_BPD * scale[None, :, None]
    return padded
