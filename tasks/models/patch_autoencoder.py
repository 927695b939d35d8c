"""An autoencoder for a CPU: each patch of pixels is one cell of the latent map, and nothing is computed at full size.

The usual convolutional autoencoder spends its time at full resolution; with the few channels that a CPU can afford
there it stayed below a linear code of patches (18.5 against 19.1 dB on the bird, 16 numbers a cell). This one starts
as that linear code, the principal components of patches, and learns what to add to it: convolutions over the cells, in
which a patch sees its neighbours.

Shape letters: N pictures, C H W pixels, P = 3 * patch^2 numbers of a patch, Z numbers of a cell, h w cells, R
patches that the code is fitted to.
"""

from typing import NamedTuple

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle, silu


class Encoded(NamedTuple):
    """What `encode` returns, named as diffusers names it."""

    latents: Tensor


class Decoded(NamedTuple):
    """What `decode` returns."""

    sample: Tensor


class PatchAutoencoder(ModelMixin, ConfigMixin):  # type: ignore[misc]  # diffusers is untyped
    """Pixels in -1..1 [N, 3, H, W] to latents [N, Z, h, w] and back, with the methods of diffusers' AutoencoderTiny."""

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        latent_channels: int = 24,
        width: int = 96,
        num_blocks: int = 2,
        block_out_channels: tuple[int, ...] = (96, 96, 96, 96),
        scaling_factor: float = 1.0,
    ) -> None:
        """`block_out_channels` has one entry more than the patch side has halvings, as pipelines read it."""
        super().__init__()
        self.patch_px = 2 ** (len(block_out_channels) - 1)
        in_patch = 3 * self.patch_px**2
        self.to_code = nn.Conv2d(in_patch, latent_channels, 1)
        self.to_patch = nn.Conv2d(latent_channels, in_patch, 1)
        self.encoder = _convolutions(in_patch, width, latent_channels, num_blocks)
        self.decoder = _convolutions(latent_channels, width, in_patch, num_blocks + 1)

    def encode(self, images_NCHW: Tensor) -> Encoded:
        patches_NPhw = pixel_unshuffle(images_NCHW, self.patch_px)
        return Encoded(self.to_code(patches_NPhw) + self.encoder(patches_NPhw))

    def decode(self, latents_NZhw: Tensor) -> Decoded:
        return Decoded(pixel_shuffle(self.to_patch(latents_NZhw) + self.decoder(latents_NZhw), self.patch_px))

    @torch.no_grad()
    def start_as_linear_code(self, images_NCHW: Tensor, weights_NHW: Tensor) -> None:
        """Set both 1 x 1 convolutions to the principal components of patches, weighted by what is in them.

        Components are scaled by the fourth root of their variance: between a map in which the first few are all, as
        in pixels, and one in which the last count as much as the first.
        """
        patches_NPhw = pixel_unshuffle(images_NCHW, self.patch_px)
        patches_RP = patches_NPhw.permute(0, 2, 3, 1).flatten(0, 2)
        weights_R = pixel_unshuffle(weights_NHW.unsqueeze(1), self.patch_px).mean(dim=1).flatten()
        mean_P = (patches_RP * weights_R[:, None]).sum(dim=0) / weights_R.sum()
        centred_RP = patches_RP - mean_P
        covariance_PP = (centred_RP * weights_R[:, None]).T @ centred_RP / weights_R.sum()
        # In float32 eigh was seen to return NaN for a covariance of low rank.
        variances, components_PP = (result.float() for result in torch.linalg.eigh(covariance_PP.double()))
        kept_PZ = components_PP.flip(1)[:, : self.to_code.out_channels]
        scales_Z = variances.flip(0)[: self.to_code.out_channels] ** 0.25
        scales_Z = scales_Z / scales_Z.square().mean().sqrt()
        code_ZP, patch_PZ = kept_PZ.T / scales_Z[:, None], kept_PZ * scales_Z
        self.to_code.load_state_dict({"weight": code_ZP[:, :, None, None], "bias": -code_ZP @ mean_P})
        self.to_patch.load_state_dict({"weight": patch_PZ[:, :, None, None], "bias": mean_P})


class _Block(nn.Module):
    """A residual pair of 3 x 3 convolutions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, width)
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        _silence(self.second)

    def forward(self, maps: Tensor) -> Tensor:
        changed: Tensor = self.second(silu(self.first(silu(self.norm(maps)))))
        return maps + changed


def _convolutions(in_channels: int, width: int, out_channels: int, num_blocks: int) -> nn.Sequential:
    """Return a network whose output is 0 before it is trained."""
    last = nn.Conv2d(width, out_channels, 1)
    _silence(last)
    blocks = [_Block(width) for _ in range(num_blocks)]
    return nn.Sequential(nn.Conv2d(in_channels, width, 3, padding=1), *blocks, nn.GroupNorm(8, width), nn.SiLU(), last)


def _silence(layer: nn.Conv2d) -> None:
    """Let a layer begin with nothing to say."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
