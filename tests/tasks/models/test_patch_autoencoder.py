"""The patch autoencoder: it begins as a linear code, and loads like any part of a pipeline."""

from pathlib import Path

import torch

from taskdistill.tasks.models.patch_autoencoder import PatchAutoencoder


def striped(num: int) -> torch.Tensor:
    """Pictures whose every 8 x 8 patch is a mixture of two fixed patterns and a constant: three numbers a patch."""
    generator = torch.Generator().manual_seed(1)
    patterns = torch.zeros(2, 3, 8, 8)
    patterns[0, 0, ::2], patterns[1, 2, :, 1::2] = 1.0, -1.0
    amounts = torch.randn(num, 2, 4, 4, generator=generator)
    pictures = torch.einsum("nkij,kcpq->ncipjq", amounts, patterns).reshape(num, 3, 32, 32)
    return pictures + 0.25


def test_pictures_of_few_components_are_coded_exactly_before_any_training():
    pictures = striped(64)
    autoencoder = PatchAutoencoder(latent_channels=2, width=8, num_blocks=1)
    autoencoder.start_as_linear_code(pictures, torch.ones(64, 32, 32))
    latents = autoencoder.encode(pictures).latents
    assert latents.shape == (64, 2, 4, 4)
    assert torch.allclose(autoencoder.decode(latents).sample, pictures, atol=1e-4)


def test_a_part_of_the_picture_without_weight_is_not_coded():
    pictures = striped(64)
    weights = torch.zeros(64, 32, 32)
    weights[:, :16] = 1.0
    pictures[:, 1, 16:] = torch.randn(64, 16, 32, generator=torch.Generator().manual_seed(2))
    autoencoder = PatchAutoencoder(latent_channels=2, width=8, num_blocks=1)
    autoencoder.start_as_linear_code(pictures, weights)
    decoded = autoencoder.decode(autoencoder.encode(pictures).latents).sample
    assert torch.allclose(decoded[:, :, :16], pictures[:, :, :16], atol=1e-4)


def test_saved_and_loaded_it_is_the_same_and_keeps_its_scale(tmp_path: Path):
    autoencoder = PatchAutoencoder(latent_channels=4, width=8, num_blocks=1)
    autoencoder.register_to_config(scaling_factor=0.7)
    autoencoder.save_pretrained(tmp_path)
    loaded = PatchAutoencoder.from_pretrained(tmp_path, low_cpu_mem_usage=False)
    pictures = striped(2)
    assert torch.equal(loaded.encode(pictures).latents, autoencoder.encode(pictures).latents)
    assert loaded.config.scaling_factor == 0.7
    assert 2 ** (len(loaded.config.block_out_channels) - 1) == loaded.patch_px == 8
