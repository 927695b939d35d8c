"""Target "timm" of `taskdistill export`: config.json and weights that timm loads by itself, as it loads those of a hub.

timm's own transform resizes the whole image and cuts the middle out afterwards, where this program cuts first; so they
give other bytes unless images are squashed. How many answers that changes is counted and said, and what cuts our bytes
lies in the folder.

Shape letters: N images of one size, H W their pixels, S T height and width of a view.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import timm
import torch
from PIL import Image
from timm.models._hub import save_config_for_hf
from torch import Tensor, nn

from taskdistill.configs.evaluation import WindowSettings
from taskdistill.configs.runtime import RuntimeConfig
from taskdistill.storage.files import read_json, write_json
from taskdistill.storage.weights import ModelDescription, write_tensors
from taskdistill.tasks.deploy.deployable import Deployable
from taskdistill.tasks.deploy.networks import InWindows
from taskdistill.tasks.export.bundle import Name, bundled
from taskdistill.tasks.export.record import FolderRecord
from taskdistill.tasks.export.target import ExportError, Given, Written
from taskdistill.tasks.export.torch_target import check
from taskdistill.tasks.export.tried import Answers, Tried, compared, tried_images
from taskdistill.tasks.functional.views import Pixels
from taskdistill.tasks.models.device import device_of, on_device
from taskdistill.tasks.models.encoder import LAST
from taskdistill.tasks.models.fitting import CONSTRUCTOR_ERRORS
from taskdistill.tasks.models.linear_head import LinearHead
from taskdistill.tasks.models.preprocessing import Preprocessing, normalise
from taskdistill.tasks.models.task_model import TaskModel, as_arrays, as_built, load_model
from taskdistill.tasks.models.timm_encoder import TimmEncoder, model_arguments
from taskdistill.tasks.problems.problem import problem_named

CONFIG, WEIGHTS, VIEW = "config.json", "model.safetensors", "taskdistill_view"
CHECK_IMAGE, CHECK = "check.png", "check.json"
CROP_MODES = {"center": "center", "squash": "squash", "whole": "border"}
"""What comes nearest to our clean view among timm's."""
_ANOTHER = "--to onnx and --to torch take any head"
_ABOUT = "What a network made by taskdistill is shown of a picture. Written by 'taskdistill export'; Apache-2.0."
USAGE = """# A model for timm

In this folder:

```python
import json
from pathlib import Path

import timm
import torch
from PIL import Image
from taskdistill_view.in_timm_folder import shown

network = timm.create_model("local-dir:.", pretrained=True).eval()
names = json.load(open("config.json", encoding="utf-8"))["label_names"]
with torch.inference_mode():
    logits = network(shown(Image.open("check.png"), Path("config.json")))
```

It needs timm {timm} or newer, and what timm needs. `check.json` holds the logits that this gives for `check.png`.
{transform}
"""


class Checked(NamedTuple):
    """A network that timm loaded from a folder."""

    network: nn.Module
    deployable: Deployable
    tried: Tried


def write(given: Given, folder: Path) -> Written:
    """Write config, weights, a check image and what cuts the view.

    Raises ExportError where timm has no place for the head, or answers otherwise than ours.
    """
    model, description = load_model(given.artifact)
    deployable = Deployable.of(model, description, torch.device("cpu"), given.temperature)
    network = _network(model, description, given.artifact)
    data = _data(deployable.preprocessing)
    more = {"label_names": deployable.classes, "taskdistill": deployable.preprocessing.as_json()}
    save_config_for_hf(network, str(folder / CONFIG), model_config=more, data_config=data)
    _leave_out_twice(folder / CONFIG)
    write_tensors(folder / WEIGHTS, as_arrays(network.state_dict()), note="pt")
    _write_view(folder / VIEW)
    loaded = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    tried = tried_images(given.images)
    parity = compared(deployable, functools.partial(_run, deployable, loaded), tried, given.on_progress)
    check(parity, "timm")
    _write_check(folder, deployable, tried)
    of_transform = _of_transform(Checked(loaded, deployable, tried))
    usage = USAGE.format(timm=timm.__version__, transform=of_transform)
    return Written(usage, [parity.sentence("timm", tried), of_transform], parity.measured())


def network_of(folder: Path, record: FolderRecord, runtime: RuntimeConfig) -> InWindows:
    """Return the network of an exported folder as it predicts here, shown what it was trained on; ModelError where
    there is no such device.
    """
    see, device = Preprocessing(**read_json(folder / CONFIG)["taskdistill"]), device_of(runtime)
    loaded = on_device(timm.create_model(f"local-dir:{folder}", pretrained=True).eval(), device)
    deployable = Deployable(loaded, problem_named(record.problem), record.classes, see, device)
    return InWindows(deployable, WindowSettings(), runtime.inference_batch_size)


def _network(model: TaskModel, description: ModelDescription, artifact: Path) -> nn.Module:
    """Return timm's network with its own classifier and our weights; ExportError where it has no place for our head."""
    encoder, head = model.encoder, model.head
    if not isinstance(encoder, TimmEncoder):
        raise ExportError(f"the backbone is one of {description.backbone['source']!r}, not one of timm: {_ANOTHER}")
    if not isinstance(head, LinearHead) or description.blocks != [LAST]:
        raise ExportError(
            "timm's networks end in one linear layer on the last pooled vector, and this model's head "
            f"({description.head!r} of the problem {description.problem!r}) sees {', '.join(description.blocks)}: "
            f"{_ANOTHER}; trained with student_probe.inputs=last, a model has one that timm can have"
        )
    backbone = as_built(description, artifact)
    arguments = model_arguments(backbone) | encoder.classifier_arguments
    try:
        network: nn.Module = timm.create_model(backbone.name, num_classes=len(description.classes), **arguments)
        classifier = network.get_classifier()  # type: ignore[operator]
    except CONSTRUCTOR_ERRORS as error:
        raise ExportError(
            f"timm cannot build {backbone.name} with {len(description.classes)} classes ({error}): {_ANOTHER}"
        ) from error
    name = next((name for name, module in network.named_modules() if module is classifier), "")
    if not isinstance(classifier, nn.Linear) or not name:
        raise ExportError(
            f"timm's {backbone.name} does not end in one linear layer but in a {type(classifier).__name__}: {_ANOTHER}"
        )
    _fill(network, encoder.model.state_dict(), {f"{name}.weight": head.weight, f"{name}.bias": head.bias})
    return network.eval()


def _fill(network: nn.Module, ours: dict[str, Tensor], head: dict[str, Tensor]) -> None:
    """Load our tensors; ExportError where the network has others with a classifier than without."""
    tensors = ours | head
    wanted = network.state_dict()
    others = sorted(
        name for name in wanted.keys() | tensors.keys()
        if name not in wanted or name not in tensors or wanted[name].shape != tensors[name].shape
    )  # fmt: skip
    if others:
        raise ExportError(
            f"timm builds this network with other tensors where it has a classifier ({', '.join(others[:4])}): "
            f"{_ANOTHER}"
        )
    network.load_state_dict(tensors)


def _leave_out_twice(path: Path) -> None:
    """Leave out of the network's arguments what stands elsewhere in the config too: transformers then gives it twice,
    which Python refuses.
    """
    config = read_json(path)
    arguments = config.get("model_args", {})
    config["model_args"] = {name: arguments[name] for name in arguments if name not in ("num_classes", "in_chans")}
    write_json(path, config)


def _data(see: Preprocessing) -> dict[str, Any]:
    """Return what timm's transform is made of: what comes nearest to our clean view."""
    return {
        "input_size": (3, *see.size),
        "interpolation": see.interpolation,
        "mean": tuple(see.mean),
        "std": tuple(see.std),
        "crop_pct": see.crop_share if see.crop_mode == "center" else 1.0,
        "crop_mode": CROP_MODES[see.crop_mode],
    }


def _write_view(folder: Path) -> None:
    folder.mkdir()
    files = bundled([Name("taskdistill.tasks.export.in_timm_folder", "shown")])
    for name, text in {"__init__.py": f'"""{_ABOUT}"""\n', **files}.items():
        (folder / name).write_text(text, encoding="utf-8")


def _write_check(folder: Path, deployable: Deployable, tried: Tried) -> None:
    pixels_HW3, _ = next(tried.pixels())
    Image.fromarray(pixels_HW3).save(folder / CHECK_IMAGE)
    logits = deployable.outputs(deployable.shown(pixels_HW3)[None])[0].tolist()
    write_json(folder / CHECK, {"image": CHECK_IMAGE, "logits": logits, "tolerance": 1e-4})


@torch.inference_mode()
def _run(deployable: Deployable, network: Callable[[Tensor], Tensor], images_NHW3: Pixels) -> Answers:
    seen_NST3 = np.stack([deployable.shown(pixels_HW3) for pixels_HW3 in images_NHW3])
    return (network(normalise(seen_NST3, deployable.preprocessing, torch.device("cpu"))).numpy(),)


@torch.inference_mode()
def _of_transform(checked: Checked) -> str:
    """Say whether timm's own transform gives our pixels, and how many answers change where it does not."""
    network, deployable, tried = checked
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(network), is_training=False)
    num_other = num_changed = 0
    for pixels_HW3, _ in tried.pixels():
        seen_1ST3 = np.array(deployable.shown(pixels_HW3))[None]
        ours, theirs = (
            normalise(seen_1ST3, deployable.preprocessing, deployable.device),
            transform(Image.fromarray(pixels_HW3))[None],
        )
        # Of the same bytes they differ by roundings, of another byte by 1 / 255 of a deviation at least.
        num_other += ours.shape != theirs.shape or float((ours - theirs).abs().max()) > 1e-4
        num_changed += int(network(ours).argmax()) != int(network(theirs).argmax())
    if not num_other:
        return f"timm's own transform (timm.data.create_transform) cuts the same pixels of {tried.what}."
    return (
        f"timm's own transform (timm.data.create_transform) cuts other pixels than the model was trained on, of "
        f"{num_other} of {tried.what}, and changes {num_changed} answers; {VIEW} in the folder cuts the right ones."
    )
