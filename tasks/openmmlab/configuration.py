"""The configuration by which mmsegmentation builds a model that is handed over, as a Python file.

Shape letters: K classes.
"""

import pprint
from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import nn

from taskdistill.tasks.export.bundle import Name
from taskdistill.tasks.models.encoder import blocks_named
from taskdistill.tasks.models.preprocessing import Preprocessing
from taskdistill.tasks.models.task_model import TaskModel
from taskdistill.tasks.models.timm_encoder import TimmEncoder, depth_of
from taskdistill.tasks.openmmlab.heads import MmsegHead
from taskdistill.tasks.problems.palette import Colours

_FILE = '''"""A model made by taskdistill: mmseg.apis.init_model("config.py", "weights.pth", device="cpu")."""

import sys

sys.path.insert(0, r"""{{{{ fileDirname }}}}""")  # {package} lies beside this file

default_scope = "mmseg"
custom_imports = dict(imports=["{package}.in_folder"])
{settings}
'''


class Described(NamedTuple):
    """A finished model, and what its description says beside the tensors."""

    model: TaskModel
    encoder: TimmEncoder
    backbone: str
    """timm's name of it."""
    arguments: Mapping[str, Any]
    """What timm builds it with."""
    blocks: list[str]
    classes: list[str]
    colours_K3: Colours


def configuration(described: Described, package: str) -> str:
    """Return the text of the file; `package` is the name of that with our classes, which lies beside it."""
    settings = {
        "metainfo": metainfo(described),
        "model": model_settings(described, package),
        "test_pipeline": pipeline_settings(described.model.preprocessing, package),
    }
    lines = (f"{name} = {pprint.pformat(value, width=110, sort_dicts=False)}" for name, value in settings.items())
    return _FILE.format(package=package, settings="\n".join(lines))


def metainfo(described: Described) -> dict[str, Any]:
    """Return what a dataset of mmsegmentation for this model is told, and what lies beside its weights."""
    return {"classes": described.classes, "palette": described.colours_K3.tolist()}


def model_settings(described: Described, package: str) -> dict[str, Any]:
    see = described.model.preprocessing
    seen = blocks_named(described.encoder.blocks, described.blocks)
    head = described.model.head
    ours = {
        "type": f"{package}.in_folder.MapHead",
        "head": f"{package}.{name_of(head).place}",
        "blocks": [list(block) for block in seen],
    }
    return {
        "type": f"{package}.in_folder.CleanViewSegmentor",
        "data_preprocessor": {
            "type": "SegDataPreProcessor",
            "mean": [value * 255 for value in see.mean],
            "std": [value * 255 for value in see.std],
            "bgr_to_rgb": True,
            "pad_val": 0,
            "seg_pad_val": 255,
        },
        "backbone": {
            "type": f"{package}.in_folder.TimmMaps",
            "name": described.backbone,
            "arguments": dict(described.arguments),
            "depths": [depth_of(name) for name in described.blocks],
            "options": dict(described.encoder.map_options),
        },
        "decode_head": (
            head.settings if isinstance(head, MmsegHead) else ours | {"num_classes": len(described.classes)}
        ),
        "test_cfg": {"mode": "whole"},
    }


def pipeline_settings(see: Preprocessing, package: str) -> list[dict[str, Any]]:
    shown = {"size": list(see.size), "crop_share": see.crop_share, "crop_mode": see.crop_mode}
    return [
        {"type": "LoadImageFromFile"},
        {"type": f"{package}.in_folder.CleanView", **shown, "interpolation": see.interpolation},
        {"type": "PackSegInputs", "meta_keys": ["img_path", "ori_shape", "img_shape", "pad_shape", "view"]},
    ]


def name_of(head: nn.Module) -> Name:
    return Name(type(head).__module__, type(head).__name__)
