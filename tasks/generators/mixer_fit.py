"""ImageMixer's parts compared with their weights and with each other, without loading any: 5 GB in full size.

diffusers fills what a file lacks with random numbers and a line in the log; here it is an error, in seconds.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from taskdistill.configs.generation import GeneratorModel
from taskdistill.storage.weight_formats import tensor_forms
from taskdistill.tasks.models.encoder import ModelError
from taskdistill.tasks.models.fitting import CONSTRUCTOR_ERRORS
from taskdistill.tasks.models.patch_autoencoder import PatchAutoencoder
from taskdistill.tasks.prechecks.mixer_folder import CONFIGS, check_folder, read_settings, weight_files

AUTOENCODERS = {
    "AutoencoderKL": AutoencoderKL,
    "AutoencoderTiny": AutoencoderTiny,
    "PatchAutoencoder": PatchAutoencoder,
}
_OLD_ATTENTION = ((".query.", ".to_q."), (".key.", ".to_k."), (".value.", ".to_v."), (".proj_attn.", ".to_out.0."))
"""How files of old name the autoencoder's attention; diffusers renames it on loading."""


def check_fit(model: GeneratorModel) -> None:
    """Raise ModelError where a folder's parts do not fit their weights or each other, GeneratorFolderError where it is
    no ImageMixer's or not whole.
    """
    check_folder(model)
    folder = Path(model.folder).expanduser()
    settings = {part: read_settings(folder / part / name) for part, name in CONFIGS.items()}
    parts: dict[str, Any] = {part: _outline(folder / part, build, settings[part]) for part, build in _BUILDERS.items()}
    for part, network in parts.items():
        _check_tensors(folder, part, network)
    _check_extractor(folder, settings["feature_extractor"])
    given, taken = parts["image_encoder"].config.projection_dim, parts["unet"].config.cross_attention_dim
    if given != taken:
        raise ModelError(
            f"{folder}: the image encoder gives embeddings of {given} numbers, the U-Net takes {taken}: these parts "
            "are of two models; take both from the same one"
        )


def _clip(settings: dict[str, Any]) -> nn.Module:
    return CLIPVisionModelWithProjection(CLIPVisionConfig(**settings.get("vision_config", settings)))


def _unet(settings: dict[str, Any]) -> nn.Module:
    network: nn.Module = UNet2DConditionModel.from_config(settings)
    return network


def _autoencoder(settings: dict[str, Any]) -> nn.Module:
    network: nn.Module = AUTOENCODERS[settings["_class_name"]].from_config(settings)
    return network


_BUILDERS: dict[str, Callable[[dict[str, Any]], nn.Module]] = {
    "image_encoder": _clip,
    "unet": _unet,
    "vae": _autoencoder,
}


def _outline(part: Path, build: Callable[[dict[str, Any]], nn.Module], settings: dict[str, Any]) -> nn.Module:
    """Build a part without memory of its own; ModelError where its settings describe none."""
    try:
        with torch.device("meta"):
            return build(settings)
    except CONSTRUCTOR_ERRORS as error:
        raise ModelError(
            f"{part / 'config.json'} describes no network that can be built ({type(error).__name__}: {error}): "
            "download it again"
        ) from error


def _check_tensors(folder: Path, part: str, network: nn.Module) -> None:
    found: dict[str, tuple[int, ...]] = {}
    for path in weight_files(folder, part):
        found |= {_renamed(name): form.shape for name, form in tensor_forms(path).items()}
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    # Only what the network wants: files may hold more, such as position numbers that older versions stored.
    wrong = [name for name, shape in wanted.items() if found.get(name) != shape]
    if wrong:
        first = "; ".join(f"{name}: wanted {wanted[name]}, found {found.get(name)}" for name in wrong[:3])
        raise ModelError(
            f"the weights in {folder / part} do not fit its config.json: {len(wrong)} of {len(wanted)} tensors are "
            f"missing or have another shape ({first}): take both from the same model"
        )


def _renamed(name: str) -> str:
    for old, new in _OLD_ATTENTION:
        name = name.replace(old, new)
    return name


def _check_extractor(folder: Path, settings: dict[str, Any]) -> None:
    size, crop = settings.get("size"), settings.get("crop_size")
    for name, value, key in (("size", size, "shortest_edge"), ("crop_size", crop, "height")):
        if not isinstance(value, int) and not (isinstance(value, dict) and isinstance(value.get(key), int)):
            raise ModelError(
                f"{folder / 'feature_extractor' / CONFIGS['feature_extractor']} has {name} {value}: it must say {key} "
                "in pixels, as CLIP's does"
            )
