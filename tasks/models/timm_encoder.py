"""Model source "timm": any backbone timm knows, from the hub, from a safetensors file, or untrained.

Shape letters: N images, C channels, H W pixels, L patch tokens, P prefix tokens (the CLS token first), D width, h w map
cells.
"""

import functools
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from timm.layers import PatchEmbed
from timm.optim import param_groups_layer_decay, param_groups_weight_decay
from torch import Tensor, nn

from taskdistill.configs.choices import nearest
from taskdistill.configs.models import Backbone
from taskdistill.tasks.memory import is_out_of_memory
from taskdistill.tasks.models.encoder import LAST, MAP, MEAN, Block, Encoder, ModelError, multiples_near, pixels_text
from taskdistill.tasks.models.fitting import CONSTRUCTOR_ERRORS, MisfitError, filled
from taskdistill.tasks.models.fitting_names import fitting_name
from taskdistill.tasks.models.hub import hub_weights
from taskdistill.tasks.models.preprocessing import Preprocessing
from taskdistill.tasks.models.weight_files import read_weights


class TimmEncoder(Encoder):
    """A timm model without its classifier; ModelError where it has no width that is known."""

    def __init__(self, model: Any, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.model = model
        self.preprocessing = preprocessing
        has_tokens = getattr(model, "cls_token", None) is not None and _gives_prefix_tokens(model)
        # EVA-02 and BEiT pool the patches and normalise after: their CLS token was never read, and has no final norm.
        self._has_tokens = has_tokens and not isinstance(getattr(model, "norm", None), nn.Identity)
        width = getattr(model, "num_features" if self._has_tokens else "head_hidden_size", None)
        if not isinstance(width, int):
            raise ModelError(f"timm's {type(model).__name__} does not say how wide its summary is: choose another name")
        # The last layer's CLS token is LAST itself, so "layer-N" ends at 2.
        maps = _map_blocks(model)
        tokens = [Block(f"layer-{depth}", width) for depth in range(len(maps), 1, -1)] if self._has_tokens else []
        mean = [Block(MEAN, width)] if self._has_tokens else []
        self.blocks = (*tokens, Block(LAST, width), *mean, *maps)

    @property
    def map_options(self) -> dict[str, bool]:
        """What timm's `forward_intermediates` is told of the maps, beside which."""
        return {"norm": True} if self._has_tokens else {}

    @property
    def classifier_arguments(self) -> dict[str, str]:
        """What timm is told besides where it builds the network with a classifier that sees the vector "last"."""
        return {"global_pool": "token"} if self._has_tokens else {}

    def forward(self, images_NCHW: Tensor, names: Sequence[str]) -> tuple[Tensor, ...]:
        found = self._tokens(images_NCHW, names) if self._has_tokens else self._maps(images_NCHW, names)
        return tuple(found[name] for name in names)

    def _tokens(self, images_NCHW: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
        """Return the blocks of the layers that are asked for, and of those after them, from one pass."""
        layers = self.model.forward_intermediates(
            images_NCHW,
            indices=max(map(depth_of, names)),
            return_prefix_tokens=True,
            output_fmt="NLC",
            intermediates_only=True,
            **self.map_options,
        )
        found: dict[str, Tensor] = {}
        # timm counts layers from the start, and how many there are differs; counted from the end, "layer-2" is the last
        # but one of every network.
        for depth, (patches_NLD, prefix_NPD) in enumerate(reversed(layers), start=1):
            found[LAST if depth == 1 else f"layer-{depth}"] = prefix_NPD[:, 0]
            if (name := _map_name(depth)) in names:
                # Tokens are a row of cells: how many are side by side follows from the image, which need not have
                # the side that the network was trained at.
                stride = next(block.stride for block in self.blocks if block.name == name) or 1
                cells = (images_NCHW.shape[2] // stride, images_NCHW.shape[3] // stride)
                found[name] = patches_NLD.transpose(1, 2).unflatten(2, cells)
            if depth == 1 and MEAN in names:
                found[MEAN] = patches_NLD.mean(dim=1)
        return found

    def _maps(self, images_NCHW: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
        """Return the pooled vector and maps; where both are asked for, the network runs twice, since timm gives maps
        before what some models do after their last stage.
        """
        found: dict[str, Tensor] = {}
        if LAST in names:
            found[LAST] = self.model.forward_head(self.model.forward_features(images_NCHW), pre_logits=True)
        if depths := [depth_of(name) for name in names if name != LAST]:
            maps = self.model.forward_intermediates(
                images_NCHW, indices=max(depths), output_fmt="NCHW", intermediates_only=True
            )
            found |= {_map_name(depth): map_NDhw for depth, map_NDhw in enumerate(reversed(maps), start=1)}
        return found

    def parameter_groups(self, learning_rate: float, weight_decay: float, layer_decay: float) -> list[dict[str, Any]]:
        # Position embeddings and tokens: timm's own list, as their names differ from one family to the next.
        undecayed = self.model.no_weight_decay() if hasattr(self.model, "no_weight_decay") else ()
        if layer_decay == 1:
            groups: list[dict[str, Any]] = param_groups_weight_decay(
                self.model, weight_decay, no_weight_decay_list=undecayed
            )
            # Stated in each group although the same: the schedule scales every group's own peak.
            return [group | {"lr": learning_rate} for group in groups]
        groups = param_groups_layer_decay(
            self.model, weight_decay, no_weight_decay_list=undecayed, layer_decay=layer_decay
        )
        return [
            {"params": group["params"], "weight_decay": group["weight_decay"], "lr": learning_rate * group["lr_scale"]}
            for group in groups
        ]


def _map_blocks(model: Any) -> list[Block]:
    """Return the maps a model can give, the deepest last; none where timm does not describe them."""
    if not hasattr(model, "forward_intermediates") or not hasattr(model, "feature_info"):
        return []
    stages = list(getattr(model.feature_info, "info", model.feature_info))
    depths = range(len(stages), 0, -1)
    return [
        Block(_map_name(depth), stage["num_chs"], int(stage["reduction"]))
        for depth, stage in zip(depths, stages, strict=True)
    ]


def _map_name(depth: int) -> str:
    """Return the name of a map by the place of its layer, counted from the end; 1 is the last."""
    return MAP if depth == 1 else f"{MAP}-{depth}"


def depth_of(name: str) -> int:
    """Return the place of a block's layer, counted from the end."""
    return int(name.rpartition("-")[2]) if "-" in name else 1


def _gives_prefix_tokens(model: nn.Module) -> bool:
    """Whether the model can return the CLS token of each layer; XCiT and CaiT have one but only at the end."""
    forward = getattr(model, "forward_intermediates", None)
    return forward is not None and "return_prefix_tokens" in inspect.signature(forward).parameters


def build_encoder(backbone: Backbone, *, drop_path: float = 0.0) -> TimmEncoder:
    """Build the timm model that a backbone's settings describe; ModelError where name, arguments or weights do not
    fit.
    """
    _check_name(backbone)
    arguments = model_arguments(backbone) | ({"drop_path_rate": drop_path} if drop_path else {})
    model = _with_weights(functools.partial(timm.create_model, backbone.name, num_classes=0, **arguments), backbone)
    _check_patches(model, backbone)
    return TimmEncoder(model, _preprocessing(model, backbone))


def model_arguments(backbone: Backbone) -> dict[str, Any]:
    """Return the keyword arguments that timm builds the finished network with."""
    arguments: dict[str, Any] = dict(backbone.arguments)
    pretrained_cfg = timm.get_pretrained_cfg(backbone.name)
    # Others take any size; these build their position embeddings for one, and timm resamples the weights to it.
    if pretrained_cfg is not None and pretrained_cfg.fixed_input_size:
        height, width = backbone.input_size
        arguments["img_size"] = height if height == width else (height, width)
    return arguments


def _check_patches(model: Any, backbone: Backbone) -> None:
    """Raise ModelError where patches do not fill a picture: timm would leave out what is over, at its edge.

    Of squares that is what earlier versions did too, and their models must stay what they are.
    """
    patches = getattr(model, "patch_embed", None)
    # Others overlap their patches, or pad.
    if not backbone.input_width_px or not isinstance(patches, PatchEmbed):
        return
    sides = zip(("input_px", "input_width_px"), backbone.input_size, patches.patch_size, strict=True)
    for setting, pixels, patch in sides:
        if pixels % patch:
            raise ModelError(
                f"{setting} of {backbone.name} is {pixels}, which its patches of {patch} px do not fill: set it to "
                f"{multiples_near(pixels, patch)}"
            )


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


def _with_weights(create: functools.partial[nn.Module], backbone: Backbone) -> nn.Module:
    match backbone.weights:
        case "hub":
            tensors, place = hub_weights(backbone.name), "of the hub"
        case "file":
            tensors, place = read_weights(Path(backbone.file).expanduser()), backbone.file
        case "random":
            return _untrained(create, backbone, backbone.seed)
    # Built from the same seed as the network to be filled: a tensor that is equal in both was not loaded.
    untrained = _untrained(create, backbone, 0)
    try:
        return filled(
            functools.partial(_seeded, create, 0), untrained, tensors, f"the weights {place} for {backbone.name}"
        )
    except MisfitError as error:
        architecture = backbone.name.partition(".")[0]
        name = fitting_name(tensors, Path(backbone.file), architecture) if backbone.file else ""
        remedy = (
            "without these arguments" if name == architecture else "set name to it, if that is the network you mean"
        )
        raise ModelError(f"{error}\n  they fit timm's {name!r}: {remedy}" if name else str(error)) from error


def _untrained(create: functools.partial[nn.Module], backbone: Backbone, seed: int) -> nn.Module:
    """Build the network with random weights; ModelError where timm cannot, naming the argument that is to blame."""
    try:
        return _seeded(create, seed, pretrained=False)
    except CONSTRUCTOR_ERRORS as error:
        if isinstance(error, RuntimeError) and is_out_of_memory(error):
            raise
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        # timm's errors seldom name an argument: the one without which the model can be built is to blame. On the meta
        # device trying them costs little.
        blamed = [name for name in create.keywords if name != "num_classes" and _can_be_built(create, without=name)]
        what = ", ".join(f"{_SETTINGS.get(name, f'arguments.{name}')} ({create.keywords[name]!r})" for name in blamed)
        with_what = what or f"the arguments {backbone.arguments} at {pixels_text(backbone)}"
        raise ModelError(
            f"timm cannot build {backbone.name} with {with_what}: {reason}. Change or remove it"
        ) from error


_SETTINGS = {"drop_path_rate": "drop_path of its training", "img_size": "input_px"}
"""Arguments that are set by other settings than arguments."""


def _can_be_built(create: functools.partial[nn.Module], without: str) -> bool:
    others = {name: value for name, value in create.keywords.items() if name != without}
    try:
        with torch.device("meta"):
            create.func(*create.args, **others)
    except CONSTRUCTOR_ERRORS:
        return False
    return True


def _seeded(create: Callable[..., nn.Module], seed: int, **arguments: Any) -> nn.Module:
    # timm draws initial weights from the global generator, which is given back as it was: building a network must not
    # change what anything else draws.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return create(**arguments)


def _preprocessing(model: nn.Module, backbone: Backbone) -> Preprocessing:
    own = timm.data.resolve_model_data_config(model)
    return Preprocessing(
        side_px=backbone.input_px,
        mean=tuple(backbone.mean or own["mean"]),
        std=tuple(backbone.std or own["std"]),
        interpolation=own["interpolation"] if backbone.interpolation == "model" else backbone.interpolation,
        crop_share=float(own["crop_pct"]),
        crop_mode=_crop_mode(own["crop_mode"], backbone),
        width_px=backbone.input_width_px,
    )


def _crop_mode(own: str, backbone: Backbone) -> str:
    if backbone.clean_view != "model":
        return backbone.clean_view
    return "squash" if own == "squash" else "center"
