"""The mixer: a U-Net that learns to paint a picture from embeddings of one to three crops of it.

Crops of one picture fill some of the five slots and zeros the rest; when blends are made two slots hold two pictures.
One example in ten has no crop at all, which is what guidance is measured from. It predicts v (arXiv 2202.00512).

Shape letters: N pictures, V crops, P slots, C latent channels, h w latent cells, D embedding width.
"""

from pathlib import Path

import torch
from torch import Tensor
from transformers import CLIPVisionModelWithProjection

from taskdistill.tasks.generators.image_mixer import NUM_SLOTS, ImageMixerPipeline
from taskdistill.tasks.miniature.mixer_pool import NUM_CROPS, Eyes, Pool, build_pool
from taskdistill.tasks.miniature.networks import new_image_processor, new_scheduler, new_unet
from taskdistill.tasks.miniature.pretraining import Losses, PretrainingError
from taskdistill.tasks.models.patch_autoencoder import PatchAutoencoder
from taskdistill.tasks.stage import OnProgress

POOL_IMAGES = 20_480
NUM_SCORED = 1024
"""Pictures of the pool that are kept for the score."""
UNCONDITIONED = 0.1


class MixerPart:
    """Learns from what the finished image encoder and autoencoder of the same folder make of pictures."""

    def __init__(self, seed: int, eyes: Eyes, pool: Pool) -> None:
        self.eyes = eyes
        self.trained = new_unet(seed)
        self.scheduler = new_scheduler()
        self._train = Pool(*(field[NUM_SCORED:] for field in pool))
        self._held_out = Pool(*(field[:NUM_SCORED] for field in pool))

    def losses(self, batch_size: int, generator: torch.Generator) -> Losses:
        rows = torch.randint(len(self._train.latents_NChw), (batch_size,), generator=generator)
        drawn = Pool(*(field[rows] for field in self._train))
        return {"noise": self._loss(drawn, slots_of(drawn.embeddings_NVD, generator), generator)}

    def _loss(self, drawn: Pool, context_NPD: Tensor, generator: torch.Generator) -> Tensor:
        latents_NChw = drawn.latents_NChw
        noise_NChw = torch.randn(latents_NChw.shape, generator=generator)
        timesteps_N = draw_timesteps(len(latents_NChw), self.scheduler.config.num_train_timesteps, generator)
        noisy_NChw = self.scheduler.add_noise(latents_NChw, noise_NChw, timesteps_N)
        wanted_NChw = self.scheduler.get_velocity(latents_NChw, noise_NChw, timesteps_N)
        found_NChw = self.trained(noisy_NChw, timesteps_N, encoder_hidden_states=context_NPD).sample
        errors_Nhw: Tensor = (found_NChw - wanted_NChw).square().mean(dim=1)
        return (errors_Nhw * drawn.weights_Nhw).mean()

    @torch.inference_mode()
    def score(self) -> dict[str, float]:
        """Return the loss on pictures held out, told everything about them and nothing."""
        embeddings_NVD = self._held_out.embeddings_NVD
        told = embeddings_NVD.new_zeros(len(embeddings_NVD), NUM_SLOTS, embeddings_NVD.shape[2])
        told[:, :NUM_CROPS] = embeddings_NVD
        scores = {}
        for name, context_NPD in (("loss with every look", told), ("loss with none", torch.zeros_like(told))):
            generator = torch.Generator().manual_seed(0)
            parts = [Pool(*part) for part in zip(*(torch.split(field, 128) for field in self._held_out), strict=True)]
            contexts = torch.split(context_NPD, 128)
            losses = [float(self._loss(*part, generator)) for part in zip(parts, contexts, strict=True)]
            scores[name] = round(sum(losses) / len(losses), 4)
        return scores

    def save(self, folder: Path) -> None:
        pipeline = ImageMixerPipeline(
            unet=self.trained,
            vae=self.eyes.vae,
            image_encoder=self.eyes.image_encoder,
            feature_extractor=new_image_processor(),
            scheduler=self.scheduler,
        )
        pipeline.save_pretrained(folder / "mixer")


def draw_timesteps(num: int, num_steps: int, generator: torch.Generator) -> Tensor:
    """Draw noise levels with a density that grows linearly to the highest, int64 [N].

    What the bird is and where it stands is decided at the high levels; at the low ones a small network learns only to
    tell grain from grain.
    """
    return (torch.rand(num, generator=generator).sqrt() * num_steps).long().clamp_max(num_steps - 1)


def slots_of(embeddings_NVD: Tensor, generator: torch.Generator) -> Tensor:
    """Fill one to three slots of each picture with crops of it, or none; zeros elsewhere, [N, P, D]."""
    num, num_crops, width = embeddings_NVD.shape
    filled_N = torch.randint(1, num_crops + 1, (num,), generator=generator)
    filled_N[torch.rand(num, generator=generator) < UNCONDITIONED] = 0
    is_filled_NV = torch.arange(num_crops)[None] < filled_N[:, None]
    context_NPD = embeddings_NVD.new_zeros(num, NUM_SLOTS, width)
    context_NPD[:, :num_crops] = embeddings_NVD * is_filled_NV[:, :, None]
    return context_NPD


def load_eyes(folder: Path) -> Eyes:
    """Load the pretrained image encoder and autoencoder of a folder; PretrainingError where one is missing."""
    places = {"encoder": folder / "encoder" / "image_encoder", "autoencoder": folder / "autoencoder" / "vae"}
    for name, place in places.items():
        if not (place / "config.json").is_file():
            raise PretrainingError(
                f"the mixer is trained on what the image encoder and the autoencoder see, and {place} is not there: "
                f"run 'taskdistill miniature pretrain {name} {folder}' first"
            )
    encoder = CLIPVisionModelWithProjection.from_pretrained(places["encoder"]).requires_grad_(False).train(False)
    vae = PatchAutoencoder.from_pretrained(places["autoencoder"], low_cpu_mem_usage=False).eval().requires_grad_(False)
    vae.register_to_config(_name_or_path="")  # or the folder it came from would be written into the pipeline
    return Eyes(encoder, vae)


def mixer_part(seed: int, folder: Path, on_progress: OnProgress) -> MixerPart:
    """Prepare the mixer's pretraining in the folder that holds its image encoder and autoencoder; PretrainingError
    where one is missing.
    """
    eyes = load_eyes(folder)
    pool = build_pool(folder / "mixer-pool", eyes, num_images=POOL_IMAGES, seed=seed, on_progress=on_progress)
    return MixerPart(seed, eyes, pool)
