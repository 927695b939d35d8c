"""Heads of mmsegmentation by name, behind the interface of all heads: the encoder's maps in, logits out.

Shape letters: N images, K classes, D width, h w cells of a map.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from taskdistill.tasks.models.encoder import Block, ModelError
from taskdistill.tasks.openmmlab.head_names import WIDTH, head_form
from taskdistill.tasks.openmmlab.packages import mmseg_ready


class MmsegHead(nn.Module):
    """A decode head called with maps [N, D, h, w], giving logits [N, K, h, w] on the grid of the first or finer."""

    def __init__(self, head: nn.Module, settings: dict[str, Any]) -> None:
        super().__init__()
        self.head = head
        self.settings = settings
        """Its entry in a configuration of mmsegmentation."""

    def forward(self, *maps_NDhw: Tensor) -> Tensor:
        logits_NKhw: Tensor = self.head(maps_NDhw)
        return logits_NKhw


def build_head(name: str, blocks: Sequence[Block], num_classes: int) -> MmsegHead:
    """Return an untrained head of mmsegmentation, to be called with these blocks in their order.

    Raises SettingsError where it is not one of `head_names.HEADS`, ModelError where it cannot see such blocks, and
    MissingPackageError where mmsegmentation is not installed.
    """
    settings = head_settings(name, blocks, num_classes)
    with mmseg_ready(f"the head mmseg:{name}"):
        import mmseg.models  # noqa: F401  # its heads register themselves
        from mmseg.registry import MODELS

        # Two classes get two outputs, as everywhere here; theirs would rather have one and a threshold, and warns.
        head = MODELS.build(dict(settings))
        head.init_weights()
    return MmsegHead(head, settings)


def head_settings(name: str, blocks: Sequence[Block], num_classes: int) -> dict[str, Any]:
    """Return a head's entry in a configuration of mmsegmentation; raises SettingsError and ModelError as build_head."""
    form = head_form(name)
    strides = [block.stride for block in blocks if block.stride is not None]
    if len(strides) < len(blocks) or len(blocks) < form.min_maps:
        raise ModelError(
            f"mmseg:{name} sees maps, at least {form.min_maps}, and was given the blocks "
            f"{[block.name for block in blocks]}: set the probe's inputs to 'last4', and take an encoder with maps"
        )
    if strides != sorted(strides):
        raise ModelError(f"mmseg:{name} sees maps from the finest to the coarsest, and was given the strides {strides}")
    common = {
        "type": name, "channels": WIDTH, "num_classes": num_classes, "norm_cfg": {"type": "BN"}, "align_corners": False
    }  # fmt: skip
    return (
        common
        | _inputs(form.takes, blocks)
        | ({"feature_strides": strides} if name == "FPNHead" else {})
        | dict(form.options)
    )


def _inputs(takes: str, blocks: Sequence[Block]) -> dict[str, Any]:
    if takes == "concatenated" and len(blocks) == 1:
        return {"in_channels": blocks[0].width, "in_index": 0}
    several = {"in_channels": [block.width for block in blocks], "in_index": list(range(len(blocks)))}
    # Heads that take a pyramid say so themselves, and refuse to be told.
    return several | ({"input_transform": "resize_concat"} if takes == "concatenated" else {})
