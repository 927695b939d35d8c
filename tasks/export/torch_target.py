"""Target "torch" of `taskdistill export`: a program of torch.export, which torch runs without this program and without
timm.

Shape letters: N images of one size, H W their pixels.
"""

import functools
from pathlib import Path

import torch
from torch.export.passes import move_to_device_pass

from taskdistill.tasks.deploy.deployable import Deployable
from taskdistill.tasks.export.network import ExportedNetwork, traced
from taskdistill.tasks.export.target import ExportError, Given, Written
from taskdistill.tasks.export.tried import Answers, Parity, Run, compared, tried_images
from taskdistill.tasks.functional.views import Pixels

PROGRAM = "model.pt2"
USAGE = """# A model as a program of torch

```python
import json

import numpy as np
import torch
from PIL import Image

program = torch.export.load("model.pt2").module()
names = json.load(open("taskdistill.json", encoding="utf-8"))["classes"]
image = np.asarray(Image.open("photograph.jpg").convert("RGB"))
{answers} = program(torch.tensor(image)[None])
```

It needs torch {torch} or newer, and takes images of any size as they are, uint8 RGB [N, H, W, 3]: resizing and
normalising are part of it. {what}
"""


def write(given: Given, folder: Path) -> Written:
    """Write the program; ExportError where torch cannot trace the model, or the answers differ from ours."""
    deployable = Deployable.load(given.artifact, torch.device("cpu"), given.temperature)
    network = ExportedNetwork(deployable).eval()
    torch.export.save(traced(network), folder / PROGRAM)
    tried = tried_images(given.images)
    parity = compared(deployable, run_of(folder, torch.device("cpu")), tried, given.on_progress)
    check(parity, "torch")
    usage = USAGE.format(torch=torch.__version__.partition("+")[0], **answers_told(network))
    return Written(usage, [parity.sentence("torch", tried)], parity.measured())


def run_of(folder: Path, device: torch.device, threads: int = 0) -> Run:
    """Return the program of an exported folder, on a device, with this many threads (0: as many as torch has now)."""
    if threads:
        torch.set_num_threads(threads)
    program = move_to_device_pass(torch.export.load(folder / PROGRAM), device).module()
    return functools.partial(_run, program, device)


@torch.inference_mode()
def _run(program: torch.nn.Module, device: torch.device, images_NHW3: Pixels) -> Answers:
    answers = program(torch.tensor(images_NHW3).to(device))
    return tuple(answer.cpu().numpy() for answer in answers)


def answers_told(network: ExportedNetwork) -> dict[str, str]:
    """Return what the instructions say of the answers."""
    return {"answers": ", ".join(network.answer.names), "what": network.answer.what}


def check(parity: Parity, by: str) -> None:
    """Raise ExportError where a network of float32 answers otherwise than ours."""
    if not parity.is_the_same:
        raise ExportError(
            f"by {by}, {parity.num_beyond} answers differ from ours and logits by up to {parity.difference:g}, where "
            f"{parity.allowed:g} is allowed: nothing was written. Please report it with the model's settings"
        )
