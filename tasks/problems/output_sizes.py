"""How many numbers a problem's outputs for one view are, before any network is built: what `plan` knows of their size.

Imports no torch. A problem whose outputs are maps names a function of this module in `configs.choices.OUTPUT_SIZES`.

Shape letters: H W pixels, K classes, h w cells of a map.
"""

import math
import re

from taskdistill.configs.choices import OUTPUT_SIZES, load
from taskdistill.configs.foreign import ForeignTeacher
from taskdistill.configs.models import Backbone
from taskdistill.configs.stages import ProbeSettings

_PATCH = re.compile(r"patch(\d+)")
_WITH_PATCHES = re.compile(r"vit|eva|deit|beit")
_LAST_STRIDE, _FIRST_STRIDE = 32, 4
"""Of the last map of most convolutional networks, and of the first of its last four."""


def num_outputs(name: str, backbone: Backbone, probe: ProbeSettings, num_classes: int) -> int:
    """Return about how many numbers a head of the problem of this name, on this backbone, gives for a view: one a
    class, where nothing else is said.
    """
    found: int = load(OUTPUT_SIZES, name)(backbone, probe, num_classes) if name in OUTPUT_SIZES else num_classes
    return found


def num_foreign_outputs(name: str, teacher: ForeignTeacher, num_classes: int) -> int | None:
    """Return the same of a network that was trained elsewhere, at most; None where nothing but the network knows on
    which grid it answers.
    """
    if name not in OUTPUT_SIZES:
        return num_classes
    if not (stride := teacher.output_stride):
        return None
    height_px, width_px = teacher.input_size
    return num_classes * math.ceil(height_px / stride) * math.ceil(width_px / stride)


def of_maps(backbone: Backbone, probe: ProbeSettings, num_classes: int) -> int:
    """Return K h w, on the finest grid among the maps that the head may see."""
    height_px, width_px = backbone.input_size
    stride = min(_stride(backbone, name) for name in probe.inputs)
    return num_classes * math.ceil(height_px / stride) * math.ceil(width_px / stride)


def _stride(backbone: Backbone, head_input: str) -> int:
    """Return the pixels from cell to cell of what a head sees under this name, by the backbone's name and arguments."""
    named = _PATCH.search(backbone.name)
    if patch := backbone.arguments.get("patch_size") or (named and int(named[1])):
        return int(str(patch))
    if _WITH_PATCHES.search(backbone.name):
        return 16
    last = int(str(backbone.arguments.get("output_stride", _LAST_STRIDE)))
    return min(last, _FIRST_STRIDE) if head_input.startswith("last4") else last
