"""Model source "timm": any backbone timm knows, from the hub, from a safetensors file, or untrained."""

import functools
import inspect
from collections.abc import Collection
from pathlib import Path
from typing import Any

import timm
import torch
from timm.optim import param_groups_layer_decay, param_groups_weight_decay
from torch import Tensor, nn

from configs.choices import nearest
from configs.models import Backbone
from storage.weights import read_tensors
from tasks.models.encoder import LAST, PROBE_INPUTS, Encoder, ModelError
from tasks.models.preprocessing import Preprocessing


class TimmEncoder(Encoder):
    """A timm model without its classifier."""

    def __init__(self, model: Any, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.model = model
        self.preprocessing = preprocessing
        has_tokens = getattr(model, "cls_token", None) is not None and _gives_prefix_tokens(model)
        # EVA-02 and BEiT pool the patches and normalise after: their CLS token was never read, and has no final norm.
        has_tokens = has_tokens and not isinstance(getattr(model, "norm", None), nn.Identity)
        self.blocks = PROBE_INPUTS["last4+mean"] if has_tokens else (LAST,)
        self.width = int(model.num_features if has_tokens else model.head_hidden_size)

    def summarise(self, images_NCHW: Tensor) -> Tensor:
        if self.blocks == (LAST,):
            pooled_ND: Tensor = self.model.forward_head(self.model.forward_features(images_NCHW), pre_logits=True)
            return pooled_ND.unsqueeze(1)
        layers = self.model.forward_intermediates(
            images_NCHW, indices=4, norm=True, return_prefix_tokens=True, output_fmt="NLC", intermediates_only=True
        )
        cls_tokens = [prefix_NLD[:, 0] for _, prefix_NLD in layers]
        patches_NLD, _ = layers[-1]
        return torch.stack([*cls_tokens, patches_NLD.mean(dim=1)], dim=1)

    def parameter_groups(self, learning_rate: float, weight_decay: float, layer_decay: float) -> list[dict[str, Any]]:
        undecayed = self.model.no_weight_decay() if hasattr(self.model, "no_weight_decay") else ()
        if layer_decay == 1:
            groups: list[dict[str, Any]] = param_groups_weight_decay(
                self.model, weight_decay, no_weight_decay_list=undecayed
            )
            return [group | {"lr": learning_rate} for group in groups]
        groups = param_groups_layer_decay(
            self.model, weight_decay, no_weight_decay_list=undecayed, layer_decay=layer_decay
        )
        return [
            {"params": group["params"], "weight_decay": group["weight_decay"], "lr": learning_rate * group["lr_scale"]}
            for group in groups
        ]


def _gives_prefix_tokens(model: nn.Module) -> bool:
    """Whether the model can return the CLS token of each layer; XCiT and CaiT have one but only at the end."""
    forward = getattr(model, "forward_intermediates", None)
    return forward is not None and "return_prefix_tokens" in inspect.signature(forward).parameters


def build_encoder(backbone: Backbone, *, drop_path: float = 0.0) -> TimmEncoder:
    """Build the timm model that a backbone's settings describe; ModelError where name, arguments or weights do not
    fit.
    """
    _check_name(backbone)
    arguments = dict(backbone.arguments) | ({"drop_path_rate": drop_path} if drop_path else {})
    pretrained_cfg = timm.get_pretrained_cfg(backbone.name)
    if pretrained_cfg is not None and pretrained_cfg.fixed_input_size:
        arguments["img_size"] = backbone.input_px
    create = functools.partial(timm.create_model, backbone.name, num_classes=0, **arguments)
    model = _with_weights(create, backbone)
    return TimmEncoder(model, _preprocessing(model, backbone))


def _check_name(backbone: Backbone) -> None:
    architecture, _, tag = backbone.name.partition(".")
    if not timm.is_model(architecture):
        raise ModelError(f"timm has no model {backbone.name!r}{nearest(architecture, timm.list_models())}")
    tags = [full.partition(".")[2] for full in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        raise ModelError(f"timm's {architecture} has no weights {tag!r}{nearest(tag, tags)}")
    if not tag and backbone.weights == "hub":
        # Which weights a bare name means changes from one timm to the next, and cached features would not know.
        raise ModelError(f"{backbone.name!r} does not say which weights: write {architecture}.TAG{nearest('', tags)}")


def _with_weights(create: Any, backbone: Backbone) -> nn.Module:
    try:
        match backbone.weights:
            case "hub":
                model: nn.Module = create(pretrained=True)
            case "file":
                path = Path(backbone.file).expanduser()
                in_file = read_tensors(path)  # timm would read a pickle; this refuses one, and says so
                model = _seeded(create, 0, pretrained=True, pretrained_cfg_overlay={"file": str(path)})
                _check_loaded(model, _seeded(create, 0, pretrained=False), backbone, in_file.keys())
            case "random":
                model = _seeded(create, backbone.seed, pretrained=False)
    except RuntimeError as error:
        raise ModelError(
            f"the weights {backbone.file or backbone.weights} do not fit {backbone.name}: {error}"
        ) from error
    except OSError as error:
        raise ModelError(
            f"the weights of {backbone.name} could not be downloaded ({error}). Try again with a connection, or set "
            "weights=file and file=... to a safetensors file you have"
        ) from error
    except TypeError as error:
        raise ModelError(f"{backbone.name} does not take the arguments {backbone.arguments}: {error}") from error
    return model


def _seeded(create: Any, seed: int, **arguments: Any) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: nn.Module = create(**arguments)
        return model


def _check_loaded(model: nn.Module, untrained: nn.Module, backbone: Backbone, in_file: Collection[str]) -> None:
    """Raise ModelError where a parameter still has the random values it began with.

    A model without its classifier is loaded leniently by timm, so weights of quite another model would pass in
    silence. Names cannot be compared instead, as timm renames, fuses and resamples on loading.
    """
    initial = dict(untrained.named_parameters())
    unloaded = [
        name
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and parameter.std(correction=0) > 0 and torch.equal(parameter, initial[name])
    ]
    if unloaded:
        unknown = sorted(set(in_file) - model.state_dict().keys())
        raise ModelError(
            f"the weights {backbone.file} do not fit {backbone.name}: {len(unloaded)} of its parameters are not in "
            f"the file, such as {unloaded[:5]}; the file has {len(in_file)} tensors, of which the model does not "
            f"know {unknown[:5]}"
        )


def _preprocessing(model: nn.Module, backbone: Backbone) -> Preprocessing:
    own = timm.data.resolve_model_data_config(model)
    return Preprocessing(
        side_px=backbone.input_px,
        mean=tuple(backbone.mean or own["mean"]),
        std=tuple(backbone.std or own["std"]),
        interpolation=own["interpolation"] if backbone.interpolation == "model" else backbone.interpolation,
        crop_share=float(own["crop_pct"]),
        crop_mode="squash" if own["crop_mode"] == "squash" else "center",
    )
