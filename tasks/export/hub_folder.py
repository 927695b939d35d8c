"""Target "hub-folder" of `taskdistill export`: what timm and transformers load from a hub, as a folder with its card.

The files are those of the target "timm"; beside them transformers, by which hubs try models in a browser, must give the
same logits.
"""

from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForImageClassification

from tasks.deploy.deployable import Deployable
from tasks.export import timm_target
from tasks.export.target import ExportError, Given, Written
from tasks.models.preprocessing import normalise

HEAD = {"library_name": "timm", "pipeline_tag": "image-classification", "tags": ["image-classification", "timm"]}


def write(given: Given, folder: Path) -> Written:
    """Write the folder; raises as the target "timm" does, and ExportError where transformers answers otherwise."""
    written = timm_target.write(given, folder)
    difference = _difference(given, folder)
    said = f"transformers (AutoModelForImageClassification): logits differ by {difference:.1e} at most"
    return written._replace(said=[*written.said, said], head=HEAD)
