"""What an encoder is: images in, a few summary vectors out. A new source of models implements this and nothing else."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from configs.choices import MODEL_SOURCES, load
from configs.errors import UserError
from configs.models import Backbone
from storage.errors import SourceChangedError
from storage.files import sha256_of
from storage.fingerprint import fingerprint
from tasks.models.preprocessing import Preprocessing

LAST, MEAN = "last", "mean"
PROBE_INPUTS: dict[str, tuple[str, ...]] = {
    "last": (LAST,),
    "last4": ("layer-4", "layer-3", "layer-2", LAST),
    "last+mean": (LAST, MEAN),
    "last4+mean": ("layer-4", "layer-3", "layer-2", LAST, MEAN),
}
"""What a head may see -> the blocks it is made of."""


class ModelError(UserError, ValueError):
    """A backbone that cannot be built as asked; the message says what would be right."""


class Encoder(nn.Module):
    """A network that summarises an image as R blocks of D numbers, named by `blocks`.

    Every encoder has the block "last" (final CLS token, or pooled map). Transformers add "layer-2" to "layer-4", the
    CLS tokens of the layers before it (final norm applied), and "mean", the mean of the last patch tokens.
    """

    blocks: tuple[str, ...]
    width: int
    preprocessing: Preprocessing

    @abstractmethod
    def summarise(self, images_NCHW: Tensor) -> Tensor:
        """Return [N, R, D] for normalised images."""

    @abstractmethod
    def parameter_groups(self, learning_rate: float, weight_decay: float, layer_decay: float) -> list[dict[str, Any]]:
        """Return optimiser groups: no decay for biases and norms, and a smaller learning rate further from the head."""


def build_encoder(backbone: Backbone, *, drop_path: float = 0.0) -> Encoder:
    """Build a pretrained encoder through its source's adapter; ModelError where settings or weights do not fit."""
    encoder: Encoder = load(MODEL_SOURCES, backbone.source)(backbone, drop_path=drop_path)
    return encoder


def build_encoder_as_named(
    backbone: Backbone, content_digests: Mapping[str, str], *, drop_path: float = 0.0
) -> Encoder:
    """Build a stage's encoder; SourceChangedError where its files are not those the stage's recipe was written for."""
    encoder = build_encoder(backbone, drop_path=drop_path)
    for name, path in backbone.locations("backbone.").items():
        file = Path(path).expanduser()
        if file.is_file() and sha256_of(file) != content_digests[name]:
            raise SourceChangedError(
                f"{path} is not what it was when its digest was taken: run the same command again, it is read anew"
            )
    return encoder


def encoder_fingerprint(backbone: Backbone, content_digests: Mapping[str, str]) -> str:
    """Return the identity of a stage's encoder: its settings and the content of its files."""
    contents = {name: digest for name, digest in content_digests.items() if name.startswith("backbone.")}
    return fingerprint({"backbone": backbone.identity(), "external": contents})


def block_indices(encoder_blocks: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Return where the wanted blocks stand; ModelError where the encoder has no such block."""
    if missing := [block for block in wanted if block not in encoder_blocks]:
        raise ModelError(
            f"this encoder gives the blocks {list(encoder_blocks)}, not {missing}: set the probe's inputs to "
            "['last'], which every encoder has"
        )
    return [list(encoder_blocks).index(block) for block in wanted]
