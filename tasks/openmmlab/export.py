"""Target "mmseg" of `taskdistill export`: a finished model as a folder that mmsegmentation runs without this program.

The folder holds a configuration, plain weights, and the code of ours that they are run with. Before it gets its name,
mmsegmentation has built the model from it and answered as the model does.

Shape letters: K classes, C channels, H W pixels, h w cells of a map.
"""

import contextlib
import hashlib
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from torch import Tensor, nn

from taskdistill.tasks.export.bundle import Name, bundled
from taskdistill.tasks.export.target import ExportError, Given, Written
from taskdistill.tasks.functional.joining import JoinedMap
from taskdistill.tasks.models.encoder import blocks_named
from taskdistill.tasks.models.preprocessing import normalise
from taskdistill.tasks.models.task_model import TaskModel, as_built, load_model
from taskdistill.tasks.models.timm_encoder import TimmEncoder, model_arguments
from taskdistill.tasks.openmmlab.configuration import Described, configuration, metainfo, name_of
from taskdistill.tasks.openmmlab.heads import MmsegHead
from taskdistill.tasks.openmmlab.packages import mmseg_ready
from taskdistill.tasks.problems.palette import colours_of

CONFIGURATION, WEIGHTS = "config.py", "weights.pth"
TOLERANCE = 1e-4
"""How far a logit may be from ours."""
_TRIED_HEIGHT, _TRIED_WIDTH = 97, 131
_IN_FOLDER = "taskdistill.tasks.openmmlab.in_folder"
_CLASSES = ("CleanView", "TimmMaps", "MapHead", "CleanViewSegmentor")
_ABOUT = "What mmsegmentation runs of models made by taskdistill. Written by 'taskdistill export'; Apache-2.0."
_HOW_TO_USE = """# A model for mmsegmentation 1.2

In this folder:

```python
# Only beside mmcv-lite, which has no mmcv.ops, and before anything of mmseg is imported.
from {package}.mmcv_ops import prepare

prepare()

from mmseg.apis import inference_model, init_model

model = init_model("config.py", "weights.pth", device="cpu")
result = inference_model(model, "photograph.jpg")
result.pred_sem_seg.data  # [1, H, W], class of each pixel
result.seg_logits.data    # [K, H, W]
```

It needs torch, timm {timm}, mmsegmentation 1.2, mmengine 0.10 and mmcv or mmcv-lite 2.1. The classes are in `metainfo`
of `config.py`. `weights.pth` holds tensors, names and numbers alone: torch.load reads it with weights_only=True.
"""


def write(given: Given, folder: Path) -> Written:
    """Write the finished model into a folder for mmsegmentation.

    Raises ExportError where the model does not tell classes of pixels apart, or is made of what cannot be handed over;
    MissingPackageError where mmsegmentation is not installed.
    """
    with mmseg_ready("the export to mmseg"):
        described = _described(given)
        package = _write(described, folder)
        difference = _check(described.model, folder)
    said = f"What it answers there differs from what the model answers here by {difference:.1e} at most"
    usage = _HOW_TO_USE.format(package=package, timm=timm.__version__)
    return Written(usage, [said], {"difference": difference})


def _described(given: Given) -> Described:
    source = given.artifact
    model, description = load_model(source)
    if not isinstance(model.encoder, TimmEncoder):
        kind = description.backbone["source"]
        raise ExportError(f"the backbone is one of {kind!r}, and mmsegmentation is given backbones of timm alone")
    blocks = blocks_named(model.encoder.blocks, description.blocks)
    if any(block.stride is None for block in blocks):
        raise ExportError(
            "a model for mmsegmentation says which class each pixel is, and this one (problem "
            f"{description.problem!r}) sees vectors of whole images ({', '.join(description.blocks)}): export a model "
            "of a problem with masks"
        )
    backbone = as_built(description, source)
    return Described(
        model, model.encoder, backbone.name, model_arguments(backbone), description.blocks, description.classes,
        colours_of(given.images.folder if given.images else None, description.classes),
    )  # fmt: skip


def _write(described: Described, folder: Path) -> str:
    """Write all files; returns the name of the package with our code."""
    files = _code(described.model.head)
    # By its content: two models, also of different versions of this program, may be run side by side.
    content = hashlib.sha256("".join(files.values()).encode()).hexdigest()
    package = f"taskdistill_{content[:8]}"
    (folder / package).mkdir()
    for name, text in files.items():
        (folder / package / name).write_text(text, encoding="utf-8")
    (folder / CONFIGURATION).write_text(configuration(described, package), encoding="utf-8")
    # A pickle, as init_model reads nothing else; it looks up the classes' names beside the tensors.
    weights = {"meta": {"dataset_meta": metainfo(described)}, "state_dict": _renamed(described.model)}
    torch.save(weights, folder / WEIGHTS)
    return package


def _code(head: nn.Module) -> dict[str, str]:
    """Return the files of the package that a model with this head is run with."""
    wanted = [Name(_IN_FOLDER, name) for name in _CLASSES] + [Name("taskdistill.tasks.openmmlab.mmcv_ops", "prepare")]
    if not isinstance(head, MmsegHead):
        wanted.append(name_of(head))
    try:
        return {"__init__.py": f'"""{_ABOUT}"""\n', **bundled(wanted)}
    except OSError as error:
        raise ExportError(
            f"the head {type(head).__name__} is no code of this program, and cannot be handed over"
        ) from error


def _renamed(model: TaskModel) -> dict[str, Tensor]:
    """Return a model's tensors by the names that they have in mmsegmentation."""
    head = "head.head." if isinstance(model.head, MmsegHead) else "head."
    ours = {"encoder.": "backbone.", head: "decode_head." if isinstance(model.head, MmsegHead) else "decode_head.head."}
    found = {}
    for name, tensor in model.state_dict().items():
        prefix = next(prefix for prefix in ours if name.startswith(prefix))
        found[ours[prefix] + name.removeprefix(prefix)] = tensor.detach().cpu().clone()
    return found


def _check(model: TaskModel, folder: Path) -> float:
    """Return how far mmsegmentation's answer is from ours, the largest difference of a logit; ExportError where that is
    too far.
    """
    image_HW3 = np.random.default_rng(0).integers(0, 256, (_TRIED_HEIGHT, _TRIED_WIDTH, 3), np.uint8)
    theirs = answer_of(folder, image_HW3)
    ours = _own_answer(model, image_HW3)
    difference = float((theirs - ours).abs().max()) if theirs.shape == ours.shape else float("inf")
    if not difference <= TOLERANCE:
        raise ExportError(
            f"mmsegmentation's answer for the model in {folder} differs from ours by {difference:g} in a logit, and "
            f"{TOLERANCE:g} is allowed: nothing was written. Please report it with the model's settings"
        )
    return difference


def _own_answer(model: TaskModel, image_HW3: Any) -> Tensor:
    """Return our logits [K, H, W] for an image of its own size."""
    see, (height, width) = model.preprocessing, image_HW3.shape[:2]
    view = see.clean(height, width)
    seen = np.array(see.cut(image_HW3, view))
    with torch.no_grad():
        map_1Khw = model(normalise(seen[None], see, torch.device("cpu")))
    return JoinedMap(map_1Khw, view[None], height, width).rows(range(height))


def answer_of(folder: Path, image_HW3: Any) -> Tensor:
    """Return mmsegmentation's logits [K, H, W] for an image, the model built from what was written."""
    # It prints where the weights came from, to where results are printed.
    with mmseg_ready("the export to mmseg"), _as_before(), contextlib.redirect_stdout(io.StringIO()):
        from mmseg.apis import inference_model, init_model

        network = init_model(str(folder / CONFIGURATION), str(folder / WEIGHTS), device="cpu")
        answer = inference_model(network, image_HW3[..., ::-1].copy())
    logits: Tensor = answer.seg_logits.data
    return logits


@contextlib.contextmanager
def _as_before() -> Iterator[None]:
    """Forget afterwards where the block imported from: the folder has another name then."""
    path, modules = list(sys.path), set(sys.modules)
    try:
        yield
    finally:
        sys.path[:] = path
        for name in [name for name in sys.modules if name not in modules and name.startswith("taskdistill_")]:
            del sys.modules[name]
