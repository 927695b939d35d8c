"""A look-alike of the original checkpoint at full size: every tensor finds its place, and the U-Net computes the same.

The original layout is written here by inverting the names by hand, not with diffusers' tables, as the converter does.
"""

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor

from taskdistill.tasks.generators.convert_image_mixer import CLIP, SCHEDULER, UNET, VAE
from taskdistill.tasks.generators.image_mixer import ImageMixerPipeline

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
    "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
}  # fmt: skip
UNET_ENDS = {
    "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
}  # fmt: skip
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def original_unet_name(name: str) -> str:
    """The name of a U-Net tensor in the LDM layout: blocks are numbered through, three to a resolution."""
    stem, _, leaf = name.rpartition(".")
    if stem in UNET_ENDS:
        return f"{UNET_ENDS[stem]}.{leaf}"
    if match := re.fullmatch(r"mid_block\.(resnets|attentions)\.(\d)\.(.*)", name):
        place = {"resnets.0": 0, "attentions.0": 1, "resnets.1": 2}[f"{match[1]}.{match[2]}"]
        return f"middle_block.{place}.{inside(match[1], match[3])}"
    match = re.fullmatch(r"(down|up)_blocks\.(\d)\.(resnets|attentions|downsamplers|upsamplers)\.(\d)\.(.*)", name)
    assert match is not None, name
    side, level, kind, number, rest = match[1], int(match[2]), match[3], int(match[4]), match[5]
    if kind == "downsamplers":
        return f"input_blocks.{3 * level + 3}.0.op.{leaf}"
    if kind == "upsamplers":
        return f"output_blocks.{3 * level + 2}.{1 if level == 0 else 2}.conv.{leaf}"
    block = f"input_blocks.{3 * level + number + 1}" if side == "down" else f"output_blocks.{3 * level + number}"
    return f"{block}.{0 if kind == 'resnets' else 1}.{inside(kind, rest)}"


def inside(kind: str, rest: str) -> str:
    stem, _, leaf = rest.rpartition(".")
    return f"{RESNET[stem]}.{leaf}" if kind == "resnets" else rest


def original_vae_name(name: str) -> str:
    name = name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
    name = re.sub(r"encoder\.down_blocks\.(\d)\.resnets\.(\d)", r"encoder.down.\1.block.\2", name)
    name = re.sub(r"encoder\.down_blocks\.(\d)\.downsamplers\.0", r"encoder.down.\1.downsample", name)
    name = re.sub(
        r"decoder\.up_blocks\.(\d)\.resnets\.(\d)", lambda m: f"decoder.up.{3 - int(m[1])}.block.{m[2]}", name
    )
    name = re.sub(r"decoder\.up_blocks\.(\d)\.upsamplers\.0", lambda m: f"decoder.up.{3 - int(m[1])}.upsample", name)
    for new, old in VAE_ATTENTION.items():
        name = name.replace(f"mid_block.attentions.0.{new}", f"mid.attn_1.{old}")
    return name


def clip_shapes() -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of OpenAI's ViT-L/14 image tower."""
    width = CLIP["hidden_size"]
    yield from (("class_embedding", (width,)), ("positional_embedding", (257, width)), ("proj", (width, 768)))
    yield "conv1.weight", (width, 3, 14, 14)
    norms = ["ln_pre", "ln_post", *(f"transformer.resblocks.{i}.ln_{n}" for i in range(24) for n in (1, 2))]
    for norm in norms:
        yield from ((f"{norm}.weight", (width,)), (f"{norm}.bias", (width,)))
    for layer in range(24):
        block = f"transformer.resblocks.{layer}"
        yield from ((f"{block}.attn.in_proj_weight", (3 * width, width)), (f"{block}.attn.in_proj_bias", (3 * width,)))
        for linear, out, into in (
            ("attn.out_proj", width, width),
            ("mlp.c_fc", 4096, width),
            ("mlp.c_proj", width, 4096),
        ):
            yield from ((f"{block}.{linear}.weight", (out, into)), (f"{block}.{linear}.bias", (out,)))


def random_like(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {name: (torch.randn(shape, generator=generator) * 0.02).half() for name, shape in shapes.items()}


def meta_shapes(network: type, config: dict[str, object]) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return {name: tuple(tensor.shape) for name, tensor in network(**config).state_dict().items()}


def in_original_layout(unet: dict[str, Tensor], vae: dict[str, Tensor]) -> dict[str, Tensor]:
    clip = random_like(dict(clip_shapes()))
    attention = re.compile(r"mid\.attn_1\.(q|k|v|proj_out)\.weight")
    renamed = {f"first_stage_model.{original_vae_name(name)}": tensor for name, tensor in vae.items()}
    # The original's attention in the autoencoder is made of 1x1 convolutions.
    renamed = {name: t[:, :, None, None] if attention.search(name) else t for name, t in renamed.items()}
    renamed |= {f"model.diffusion_model.{original_unet_name(name)}": tensor for name, tensor in unet.items()}
    renamed |= {f"cond_stage_model.model.visual.{name}": tensor for name, tensor in clip.items()}
    return renamed | {"betas": torch.zeros(1000), "scale_factor": torch.tensor(SCHEDULER["beta_end"])}


@torch.inference_mode()
def answer(unet: UNet2DConditionModel) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    x, context = torch.randn(1, 4, 8, 8, generator=generator), torch.randn(1, 5, 768, generator=generator)
    return unet.float().eval()(x, 500, encoder_hidden_states=context).sample


def peak_bytes_of_converting(checkpoint: Path, folder: Path) -> int:
    """Convert in a process of its own; returns the most memory it held, the mapped file included."""
    code = (
        "import re, sys; from pathlib import Path; "
        "from taskdistill.tasks.generators.convert_image_mixer import convert; "
        "convert(Path(sys.argv[1]), Path(sys.argv[2])); "
        "print(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(checkpoint), str(folder)], cwd=Path(__file__).parents[3],
        stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    return 1024 * int(done.stdout.split()[-1])


@pytest.mark.nightly
def test_a_full_size_checkpoint_is_converted_tensor_by_tensor(tmp_path: Path) -> None:
    unet = random_like(meta_shapes(UNet2DConditionModel, UNET))
    vae = random_like(meta_shapes(AutoencoderKL, VAE))
    assert (len(unet), len(vae)) == (686, 248)
    checkpoint = tmp_path / "image-mixer-pruned.ckpt"
    original = in_original_layout(unet, vae)
    torch.save({"state_dict": original, "global_step": np.int64(3)}, checkpoint)

    assert peak_bytes_of_converting(checkpoint, tmp_path / "mixer") < 2 * checkpoint.stat().st_size
    pipeline = ImageMixerPipeline.from_pretrained(tmp_path / "mixer", dtype=torch.float16)
    assert all(torch.equal(tensor, unet[name]) for name, tensor in pipeline.unet.state_dict().items())
    assert all(torch.equal(tensor, vae[name]) for name, tensor in pipeline.vae.state_dict().items())

    # diffusers' own loader of single files, which refuses the numpy number in the pickle, on the same tensors.
    checkpoint.unlink()
    save_file(original, tmp_path / "same.safetensors")
    loaded = UNet2DConditionModel.from_single_file(
        str(tmp_path / "same.safetensors"), config=str(tmp_path / "mixer"), subfolder="unet", dtype=torch.float16
    )
    assert torch.equal(answer(loaded), answer(pipeline.unet))
