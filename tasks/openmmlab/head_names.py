"""Which of mmsegmentation's heads can be had by name, such as "mmseg:FCNHead", and what each is made with; no torch.

Left out are those that need compiled operators (CCHead, PSAHead, PointHead), that work only behind another head
(OCRHead) or one backbone (DDRHead, PIDHead, STDCHead, SETR heads), that answer with masks and queries, not logits of
pixels (MaskFormerHead, Mask2FormerHead, KernelUpdateHead), and LightHamHead, which draws random bases at each call, so
that two looks at one image differ.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from taskdistill.configs.choices import nearest
from taskdistill.configs.errors import SettingsError

WIDTH = 128
"""Channels inside a head (theirs: 512 behind a ResNet-50); students are light."""


class HeadForm(NamedTuple):
    """How a head takes the encoder's maps, and what its constructor must be told."""

    takes: str
    """concatenated: all maps on the grid of the first, as one. pyramid: each at its own grid, the finest first."""
    options: Mapping[str, Any] = {}
    min_maps: int = 1


HEADS: Mapping[str, HeadForm] = {
    "APCHead": HeadForm("concatenated"),
    "ASPPHead": HeadForm("concatenated"),
    "DMHead": HeadForm("concatenated"),
    "DNLHead": HeadForm("concatenated"),
    "DepthwiseSeparableFCNHead": HeadForm("concatenated"),
    "FCNHead": HeadForm("concatenated"),
    "FPNHead": HeadForm("pyramid"),
    "GCHead": HeadForm("concatenated"),
    "ISAHead": HeadForm("concatenated", {"isa_channels": WIDTH // 2, "down_factor": (8, 8)}),
    "NLHead": HeadForm("concatenated"),
    "PSPHead": HeadForm("concatenated"),
    "SegformerHead": HeadForm("pyramid"),
    "UPerHead": HeadForm("pyramid", min_maps=2),
}


def head_form(name: str) -> HeadForm:
    """Return how a head is built; SettingsError where it is not one of HEADS."""
    if name not in HEADS:
        raise SettingsError(
            f"mmsegmentation's head {name!r} cannot be used here: it does not exist, needs compiled operators, or does "
            f"not give one map of logits{nearest(name, HEADS)}"
        )
    return HEADS[name]
