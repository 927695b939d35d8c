"""A segmentor of mmsegmentation as a teacher: its configuration and plain weights in, logits of an image's cells out.

A configuration in Python is a program, which is run when it is read, as mmsegmentation does; weights are not.

Shape letters: N images, C channels, H W pixels, F its classes, h w cells of a map.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from taskdistill.storage.weight_formats import check_regular
from taskdistill.tasks.models.encoder import ModelError
from taskdistill.tasks.models.weight_files import read_weights
from taskdistill.tasks.openmmlab.labels import LabelTableError, label_table
from taskdistill.tasks.openmmlab.packages import mmseg_ready

_ERRORS = (
    RuntimeError, ValueError, TypeError, KeyError, AttributeError, AssertionError, IndexError, ImportError, OSError,
    SyntaxError, NameError,
)  # fmt: skip
"""What reading a configuration and building a model from it raise, where they are not as they should be."""


class MmsegTeacher(nn.Module):
    """A segmentor on normalised images [N, 3, H, W], R, G and B; returns logits [N, F, h, w] on its head's own grid.

    It is in evaluation mode and has no gradients.
    """

    def __init__(self, segmentor: Any, classes: tuple[str, ...]) -> None:
        super().__init__()
        self.segmentor = segmentor.eval().requires_grad_(False)
        self.classes = classes
        """In the order of its outputs; empty where neither weights nor configuration name them."""
        see = segmentor.data_preprocessor
        self.is_rgb = bool(getattr(see, "channel_conversion", True))
        """Whether it was trained on R, G, B: what mmsegmentation loads is B, G, R."""
        means, stds = _mean_and_std(see)
        self.mean: tuple[float, ...] = means if self.is_rgb else means[::-1]
        """Of R, G, B in 0..1; empty where its configuration is older than 1.0, and has them in its pipelines."""
        self.std: tuple[float, ...] = stds if self.is_rgb else stds[::-1]

    def forward(self, images_NCHW: Tensor) -> Tensor:
        """Return the logits of its classes; ModelError where its head answers with something else."""
        head = self.segmentor.decode_head
        logits_NFhw = self.segmentor(images_NCHW if self.is_rgb else images_NCHW.flip(1))
        if isinstance(logits_NFhw, tuple | list):  # heads with an auxiliary answer give the main one first
            logits_NFhw = logits_NFhw[0]
        if not isinstance(logits_NFhw, Tensor):
            raise ModelError(f"mmsegmentation's {type(head).__name__} gives no map of logits, and cannot teach")
        if head.out_channels == 1:
            # One output for two classes, the second where its probability is above the threshold: two logits with the
            # same answers.
            border = math.log(head.threshold / (1 - head.threshold))
            logits_NFhw = torch.cat([torch.zeros_like(logits_NFhw), logits_NFhw - border], dim=1)
        found: Tensor = logits_NFhw
        return found


class Weights(NamedTuple):
    """What a file of weights holds."""

    tensors: dict[str, Tensor]
    classes: tuple[str, ...]


def load_teacher(config: Path, weights: Path) -> MmsegTeacher:
    """Build the segmentor of a configuration and fill it with a plain state dict (.pth with weights_only, or
    safetensors). Nothing is downloaded.

    Raises ModelError where the configuration cannot be built, or is of no EncoderDecoder whose head gives a map of
    logits; where the weights are not plain, or do not fit it; MissingPackageError where mmsegmentation is missing.
    """
    with mmseg_ready("a teacher of mmsegmentation"):
        settings = _settings(config)
        found = _read(weights)
        segmentor = _built(config, settings)
        _fill(segmentor, found.tensors, config, weights)
        classes = found.classes or _classes(settings)
        num_outputs = 2 if segmentor.decode_head.out_channels == 1 else segmentor.decode_head.out_channels
        return MmsegTeacher(segmentor, classes if len(classes) == num_outputs else ())


def _settings(config: Path) -> Any:
    from mmengine.config import Config

    if not config.is_file():
        raise ModelError(f"{config} does not exist: name the configuration of the model, a .py file of mmsegmentation")
    try:
        settings = Config.fromfile(str(config))
    except _ERRORS as error:
        raise ModelError(f"the configuration {config} cannot be read ({_reason(error)})") from error
    if "model" not in settings:
        raise ModelError(f"{config} describes no model: name the whole configuration, not one it is based on")
    # Heads that only training has, and weights that the whole model's replace: some would be downloaded.
    for unused in ("auxiliary_head", "pretrained", "init_cfg", "train_cfg"):
        settings.model.pop(unused, None)
    for part in ("backbone", "neck", "decode_head"):
        if isinstance(settings.model.get(part), dict):
            settings.model[part].pop("init_cfg", None)
    if settings.model.get("backbone", {}).get("type") in ("TIMMBackbone", "mmseg.TIMMBackbone"):
        settings.model.backbone.update(pretrained=False, checkpoint_path="")
    return settings


def _built(config: Path, settings: Any) -> Any:
    import mmseg.models  # noqa: F401  # registers what configurations name
    from mmengine.model import revert_sync_batchnorm
    from mmengine.registry import DefaultScope
    from mmseg.models.segmentors import EncoderDecoder
    from mmseg.registry import MODELS

    try:
        with DefaultScope.overwrite_default_scope(settings.get("default_scope", "mmseg")):
            segmentor = MODELS.build(settings.model)
    except _ERRORS as error:
        raise ModelError(
            f"the model of {config} cannot be built ({_reason(error)}): compiled operators, mmpretrain and mmdet are "
            "not installed here, and models that need them cannot teach"
        ) from error
    # A cascade has a row of heads, and models of two encoders no decode head.
    if not isinstance(segmentor, EncoderDecoder) or not hasattr(segmentor.decode_head, "out_channels"):
        raise ModelError(
            f"{config} describes a {type(segmentor).__name__}: a teacher is an EncoderDecoder whose head gives a map "
            "of logits"
        )
    return revert_sync_batchnorm(segmentor)


def _read(path: Path) -> Weights:
    if path.suffix == ".safetensors":
        return Weights(read_weights(path), ())
    if not path.exists():
        raise ModelError(f"{path} does not exist: name the model's weights")
    check_regular(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, OSError, EOFError) as error:
        raise ModelError(
            f"{path} was refused, and nothing in it was run ({_reason(error)}): weights must be plain. Where you trust "
            "the file, write them anew in its own environment: checkpoint = torch.load(PATH, weights_only=False); "
            'torch.save(checkpoint["state_dict"], NEW_PATH)'
        ) from error
    tensors = content.get("state_dict", content) if isinstance(content, dict) else {}
    if not tensors or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise ModelError(f"{path} holds no state dict of tensors: name the weights of a whole model")
    return Weights(dict(tensors), _named(content.get("meta", {})))


def _named(described: Any) -> tuple[str, ...]:
    """Return the classes that lie beside weights: dataset_meta, or in older ones CLASSES."""
    meta = described if isinstance(described, Mapping) else {}
    return tuple(map(str, (meta.get("dataset_meta") or {}).get("classes") or meta.get("CLASSES") or ()))


def _classes(settings: Any) -> tuple[str, ...]:
    """Return the classes that a configuration names, itself or by the dataset it is tested on."""
    dataset = settings.get("test_dataloader", {}).get("dataset", {})
    for described in (settings.get("metainfo"), dataset.get("metainfo")):
        if described and described.get("classes"):
            return tuple(map(str, described["classes"]))
    try:
        return label_table(str(dataset.get("type", "")).rpartition(".")[2]).names
    except LabelTableError:
        return ()


def _fill(segmentor: nn.Module, tensors: dict[str, Tensor], config: Path, weights: Path) -> None:
    """Give every tensor of the model its value; ModelError where one is missing or of another shape."""
    given = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    wanted = segmentor.state_dict()
    missing = [name for name in wanted if name not in given and not name.endswith("num_batches_tracked")]
    other = [name for name in wanted.keys() & given.keys() if wanted[name].shape != given[name].shape]
    unused = [name for name in given if name not in wanted and not name.startswith("auxiliary_head.")]
    if missing or other or unused:
        raise ModelError(
            f"the weights {weights} are not those of the model in {config}: {len(missing)} of its tensors are missing "
            f"{missing[:3]}, {len(other)} have another shape {other[:3]}, {len(unused)} have no place {unused[:3]}"
        )
    segmentor.load_state_dict({name: given[name] for name in wanted if name in given}, strict=False)


def _mean_and_std(see: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return both in 0..1, in the order in which the network sees its channels."""
    if not hasattr(see, "channel_conversion"):
        return (), ()
    if not hasattr(see, "mean"):  # it takes pixels as they are, 0 to 255
        return (0.0,) * 3, (1 / 255,) * 3
    means, stds = (tuple(float(value) / 255 for value in values.flatten()) for values in (see.mean, see.std))
    return means, stds


def _reason(error: BaseException) -> str:
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1].strip() if lines else ''}"
