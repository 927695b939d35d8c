"""From the original Image Mixer checkpoint (LDM layout, pickled) to a folder diffusers loads, once.

Nothing in the pickle may run: it is read with `weights_only=True`, and beside tensors only the few names of ALLOWED
pass, the pytorch_lightning one as an empty stand-in. Every tensor must find its place: a checkpoint of anything else
is refused with the list of what does not fit.

The file is mapped, not read: tensors are views of it until they are written, one component after the other, so the
peak is the file once (as page cache) and the largest component once more.
"""

import codecs
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, TypeVar

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint
from numpy._core.multiarray import scalar
from torch import Tensor, nn
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

from taskdistill.configs.counting import counted
from taskdistill.storage.files import open_as_others_are, sync, sync_tree
from taskdistill.storage.weight_formats import check_regular
from taskdistill.tasks.generators.image_mixer import ImageMixerPipeline
from taskdistill.tasks.models.encoder import ModelError

Tensors = Mapping[str, Tensor]
M = TypeVar("M", bound=nn.Module)

UNET = {
    "sample_size": 80, "in_channels": 4, "out_channels": 4, "layers_per_block": 2,
    "block_out_channels": (320, 640, 1280, 1280), "cross_attention_dim": 768, "attention_head_dim": 8,
    "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
    "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
}  # fmt: skip
VAE = {
    "in_channels": 3, "out_channels": 3, "latent_channels": 4, "layers_per_block": 2, "sample_size": 640,
    "block_out_channels": (128, 256, 512, 512), "scaling_factor": 0.18215,
    "down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4,
}  # fmt: skip
CLIP = {
    "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16,
    "image_size": 224, "patch_size": 14, "projection_dim": 768, "hidden_act": "quick_gelu",
}  # fmt: skip
SCHEDULER = {
    "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "clip_sample": False,
    "set_alpha_to_one": False, "steps_offset": 1, "prediction_type": "epsilon", "timestep_spacing": "leading",
}  # fmt: skip

UNET_PREFIX, VAE_PREFIX, CLIP_PREFIX = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.model.visual."
UNUSED = re.compile(
    r"model_ema\.|(sqrt_|log_)?(one_minus_|recip(m1)?_)?alphas_cumprod(_prev)?$|betas$|posterior_|logvar$|scale_factor$|lvlb_weights$"
    r"|cond_stage_model\.(mean|std)$"
    r"|cond_stage_model\.model\.(transformer\.|token_embedding\.|positional_embedding|ln_final\.|text_projection|logit_scale)"
)
"""Tensors of training and of CLIP's text half, which sampling does not need."""


class _ModelCheckpoint:
    """Stands in for pytorch_lightning's, whose settings lie in the checkpoint and are not used."""


_ALLOWED: list[Any] = [
    (_ModelCheckpoint, "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint"),
    (scalar, "numpy.core.multiarray.scalar"),
    (scalar, "numpy._core.multiarray.scalar"),
    (codecs.encode, "_codecs.encode"),
    np.dtype,
    *(type(np.dtype(name)) for name in ("float32", "float64", "int64")),
]
"""What the original's pickle holds beside tensors: counters and best scores as numpy scalars."""


def convert(checkpoint: Path, folder: Path) -> None:
    """Write the pipeline of an original checkpoint as a new diffusers folder of safetensors.

    Raises ModelError where the file is no such checkpoint, naming what does not fit, or where the folder is there
    already.
    """
    if folder.exists():
        raise ModelError(f"{folder} is there already: name a new folder, or remove it")
    tensors = read_checkpoint(checkpoint)
    parts = {prefix: _with_prefix(tensors, prefix) for prefix in (UNET_PREFIX, VAE_PREFIX, CLIP_PREFIX)}
    # Names that nobody expects are as wrong as missing ones: a newer variant would be converted without its own layers.
    unknown = [name for name in tensors if not name.startswith(tuple(parts)) and not UNUSED.match(name)]
    if unknown or not all(parts.values()):
        empty = [prefix for prefix, part in parts.items() if not part]
        raise ModelError(
            f"{checkpoint} is not an Image Mixer checkpoint: it has no tensors under {empty}, and {len(unknown)} "
            f"with names that are not known, such as {unknown[:5]}"
        )
    pipeline = ImageMixerPipeline(
        unet=_filled(UNet2DConditionModel, UNET, convert_ldm_unet_checkpoint(parts[UNET_PREFIX], UNET), "U-Net"),
        vae=_filled(AutoencoderKL, VAE, convert_ldm_vae_checkpoint(parts[VAE_PREFIX], VAE), "autoencoder"),
        image_encoder=_filled(_clip, CLIP, clip_tensors(parts[CLIP_PREFIX]), "CLIP image encoder"),
        feature_extractor=CLIPImageProcessor(),
        scheduler=DDIMScheduler(**SCHEDULER),
    )
    # Written beside it and renamed: a folder of this name is whole, whenever the conversion was killed.
    partial = folder.with_name(f"{folder.name}.partial")
    pipeline.save_pretrained(partial, safe_serialization=True)
    open_as_others_are(partial)
    sync_tree(partial)
    partial.rename(folder)
    sync(folder.parent)


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a pickled checkpoint, mapped from the file, running nothing that is in it.

    Raises ModelError where it is not there, holds anything else than tensors and settings, or holds no state_dict.
    """
    if not path.exists():
        raise ModelError(f"{path} does not exist: name the original image-mixer-pruned.ckpt")
    check_regular(path)
    try:
        with torch.serialization.safe_globals(_ALLOWED):
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (UnpicklingError, RuntimeError, OSError, EOFError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"{path} was refused, and nothing in it was run: {reason}") from error
    tensors = content.get("state_dict", content) if isinstance(content, dict) else {}
    if not tensors or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise ModelError(f"{path} holds no state_dict of tensors: expected the original image-mixer-pruned.ckpt")
    return tensors


def clip_tensors(original: Tensors) -> dict[str, Tensor]:
    """Rename CLIP's image tower from OpenAI's layout to that of transformers; the joint q, k, v projection is cut in
    three.
    """
    renamed: dict[str, Tensor] = {}
    for full_name, tensor in original.items():
        name = full_name.removeprefix(CLIP_PREFIX)
        if name == "proj":
            renamed["visual_projection.weight"] = tensor.T.contiguous()
        elif match := re.fullmatch(r"transformer\.resblocks\.(\d+)\.attn\.in_proj_(weight|bias)", name):
            layer = f"vision_model.encoder.layers.{match[1]}.self_attn"
            for projection, piece in zip("qkv", tensor.chunk(3), strict=True):
                renamed[f"{layer}.{projection}_proj.{match[2]}"] = piece.clone()  # safetensors refuses shared memory
        else:
            for pattern, replacement in _CLIP_NAMES:
                name = re.sub(pattern, replacement, name)
            renamed[f"vision_model.{name}"] = tensor
    return renamed


_CLIP_NAMES = (
    (r"^class_embedding$", "embeddings.class_embedding"),
    (r"^positional_embedding$", "embeddings.position_embedding.weight"),
    (r"^conv1\.", "embeddings.patch_embedding."),
    (r"^ln_pre\.", "pre_layrnorm."),  # so spelled in transformers
    (r"^ln_post\.", "post_layernorm."),
    (r"^transformer\.resblocks\.", "encoder.layers."),
    (r"\.attn\.out_proj\.", ".self_attn.out_proj."),
    (r"\.ln_([12])\.", r".layer_norm\1."),
    (r"\.mlp\.c_fc\.", ".mlp.fc1."),
    (r"\.mlp\.c_proj\.", ".mlp.fc2."),
)


def _clip(**config: Any) -> CLIPVisionModelWithProjection:
    return CLIPVisionModelWithProjection(CLIPVisionConfig(**config))


def _with_prefix(tensors: Tensors, prefix: str) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _filled(build: Callable[..., M], config: dict[str, Any], tensors: Tensors, what: str) -> M:
    """Build a network without memory of its own and give it the mapped tensors; ModelError where one has no place."""
    # On the meta device, and filled with `assign`: the mapped tensors become its parameters, and nothing is copied.
    with torch.device("meta"):
        network = build(**config)
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if wrong := sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)):
        first = "; ".join(f"{name}: wanted {wanted.get(name)}, found {found.get(name)}" for name in wrong[:5])
        raise ModelError(
            f"{counted(len(wrong), 'tensor')} of the {what} {'does' if len(wrong) == 1 else 'do'} not fit. {first}"
        )
    network.load_state_dict(tensors, strict=True, assign=True)
    return network
