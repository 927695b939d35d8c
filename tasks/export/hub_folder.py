"""Target "hub-folder" of `taskdistill export`: what timm and transformers load from a hub, as a folder with its card.

The files are those of the target "timm"; beside them transformers, by which hubs try models in a browser, must give the
same logits.

Shape letters: S T height and width of a view, 3 its colours.
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import AutoModelForImageClassification
from transformers.utils import logging as transformers_logging

from taskdistill.tasks.deploy.deployable import Deployable
from taskdistill.tasks.export import timm_target
from taskdistill.tasks.export.target import ExportError, Given, Written
from taskdistill.tasks.export.tried import TOLERANCE
from taskdistill.tasks.models.preprocessing import normalise

HEAD = {
    "library_name": "timm",
    "pipeline_tag": "image-classification",
    "tags": ["taskdistill", "image-classification", "timm"],
}


def write(given: Given, folder: Path) -> Written:
    """Write the folder; raises as the target "timm" does, and ExportError where transformers answers otherwise."""
    written = timm_target.write(given, folder)
    difference = _difference(given, folder)
    said = f"transformers (AutoModelForImageClassification): logits differ by {difference:.1e} at most"
    return written._replace(said=[*written.said, said], head=HEAD)


@torch.inference_mode()
def _difference(given: Given, folder: Path) -> float:
    """Return the largest difference of a logit for the check image; ExportError where it is too large."""
    deployable = Deployable.load(given.artifact, torch.device("cpu"))
    with Image.open(folder / timm_target.CHECK_IMAGE) as picture:
        seen_1ST3 = np.array(deployable.shown(np.asarray(picture)))[None]
    images = normalise(seen_1ST3, deployable.preprocessing, torch.device("cpu"))
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    network = AutoModelForImageClassification.from_pretrained(folder).eval()
    difference = float((network(images).logits - deployable.model(images)).abs().max())
    if not difference <= TOLERANCE or list(network.config.id2label.values()) != deployable.classes:
        raise ExportError(
            f"transformers' logits for the folder differ from ours by {difference:g}, or its names of the classes do: "
            "nothing was written. Please report it with the model's settings; --to timm does without transformers"
        )
    return difference
