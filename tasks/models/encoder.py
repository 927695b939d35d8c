"""What an encoder is: images in, named blocks out. A new source of models implements this and nothing else.

Shape letters: N images, C channels, H W pixels, D width of a block, h w cells of a map, R blocks.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from taskdistill.configs.choices import MODEL_SOURCES, load
from taskdistill.configs.errors import UserError
from taskdistill.configs.models import MIN_INPUT_PX, Backbone
from taskdistill.configs.problem_options import ALL_VECTORS
from taskdistill.storage.errors import SourceChangedError
from taskdistill.storage.files import sha256_of
from taskdistill.storage.fingerprint import fingerprint
from taskdistill.tasks.models.preprocessing import Preprocessing

LAST, MEAN, MAP = "last", "mean", "map"


class Block(NamedTuple):
    """One thing an encoder can give: a vector [N, D] for an image, or a map [N, D, h, w] over it."""

    name: str
    width: int
    """D."""
    stride: int | None = None
    """Pixels from one cell of a map to the next, so that h = H / stride where that divides; None: a vector."""


class ModelError(UserError, ValueError):
    """A backbone that cannot be built as asked; the message names what would be right."""


class Encoder(nn.Module):
    """A network that gives an image's blocks, those it is asked for by name.

    Every encoder has the vector "last" (final CLS token, or pooled map). Where its source can, there is also the map of
    its last layer, "map", and of the layers before it, "map-2" and on, counted from the end. Transformers with a CLS
    token have it of those layers too, "layer-2" and on (final norm applied), and "mean", the mean of the last patch
    tokens.
    """

    blocks: tuple[Block, ...]
    preprocessing: Preprocessing

    @abstractmethod
    def forward(self, images_NCHW: Tensor, names: Sequence[str]) -> tuple[Tensor, ...]:
        """Return these blocks of normalised images, in the order of `names`; only layers that are asked for cost."""

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
        # Read again after the network was built from it: what changed between the recipe and now would lie in a cache
        # under the old name for ever.
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


def blocks_named(blocks: Sequence[Block], names: Sequence[str]) -> list[Block]:
    """Return the blocks of these names in their order; ModelError where one is missing."""
    known = {block.name: block for block in blocks}
    if missing := [name for name in names if name not in known]:
        if MAP in missing:
            how = (
                "the problem needs maps, which are not among them. Cached features are vectors: where these are, set "
                "teacher_cache=logits (stage probe-images); a network that gives no map cannot be used"
            )
        else:
            how = "set the probe's inputs to ['last'], which every encoder has"
        raise ModelError(f"there are the blocks {list(known)}, not {missing}: {how}")
    return [known[name] for name in names]


def pixels_text(backbone: Backbone) -> str:
    """Return the size of what a network sees, for messages."""
    height, width = backbone.input_size
    return f"{height} px" if height == width else f"{height} x {width} px (height x width)"


def multiples_near(pixels: int, step: int) -> str:
    """Return the sides next to this many pixels that cells of `step` pixels fill, for messages."""
    below, above = pixels // step * step, -(-pixels // step) * step
    return f"{below} or {above}" if below >= MIN_INPUT_PX else f"{above}"


def summary_blocks(encoder: Encoder, names: Sequence[str] = ()) -> list[Block]:
    """Return the blocks that features are made of, those of these names or all vectors that there are; ModelError where
    one is missing, or where their widths differ, as they share one array.
    """
    known = {block.name for block in encoder.blocks}
    blocks = blocks_named(encoder.blocks, names or [name for name in ALL_VECTORS if name in known])
    if len({block.width for block in blocks}) > 1:
        raise ModelError(f"the vectors of this encoder have different widths and cannot be cached together: {blocks}")
    return blocks


def summarise(encoder: Encoder, images_NCHW: Tensor, names: Sequence[str] = ()) -> Tensor:
    """Return the vectors that features are made of, [N, R, D]; raises what `summary_blocks` raises."""
    return torch.stack(encoder(images_NCHW, [block.name for block in summary_blocks(encoder, names)]), dim=1)
