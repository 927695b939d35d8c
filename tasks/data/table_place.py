"""Which table of kept views (storage.kept_views) is that of an image-set, cut for one network in one way."""

from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch

from taskdistill.configs.data import ViewSettings
from taskdistill.configs.runtime import RuntimeConfig
from taskdistill.storage.fingerprint import fingerprint
from taskdistill.storage.formats import PROGRAM
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.kept_views import TablePlace
from taskdistill.storage.manifest import Manifest
from taskdistill.storage.provenance import version_of
from taskdistill.tasks.models.preprocessing import Preprocessing

PIXELS = 1
"""The version of stage extract, which is raised where code gives other pixels; a test compares the two."""


def table_place(
    folder: Path, images: ImageSet, settings: ViewSettings, preprocessing: Preprocessing, runtime: RuntimeConfig
) -> TablePlace | None:
    """Return the place in the folder of all tables; None where none are to be kept.

    Networks that differ in mean and deviation alone share one: views are kept as bytes, before they are normalised.
    Raises CorruptArtifactError where the manifest of the images is damaged.
    """
    if not runtime.kept_views_mb:
        return None
    cut = {
        # A set that is made again has the name it had, and blends of another GPU are other pictures.
        "images": {name: record.sha256 for name, record in Manifest.read(images.folder).files.items()},
        "size": preprocessing.size,
        "interpolation": preprocessing.interpolation,
        # With torch as the resampler the clean view alone is Pillow's, so that it matters which one that is.
        "clean": [preprocessing.crop_share, preprocessing.crop_mode],
        "resize": settings.resize,
        "by": _made_by(settings),
    }
    path = folder / images.fingerprint / f"{fingerprint(cut)}.table"
    return TablePlace(path, len(images) * (settings.num_views + 1), runtime.kept_views_mb)


def _made_by(settings: ViewSettings) -> dict[str, Any]:
    """Return the code that decodes, crops and resizes, as it runs here: another may make other pixels."""
    code = {
        "pixels": PIXELS,
        PROGRAM: version_of(PROGRAM),
        "pillow": PIL.__version__,
        "numpy": np.__version__,
    }
    if settings.resize == "torch":
        code |= {"torch": torch.__version__, "cpu": torch.backends.cpu.get_cpu_capability()}
    return code
