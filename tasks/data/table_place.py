"""Which table of kept views (storage.kept_views) is that of an image-set, cut for one network in one way."""

from pathlib import Path

from taskdistill.configs.base import RuntimeConfig
from taskdistill.configs.data import ViewSettings
from taskdistill.storage.fingerprint import fingerprint
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.kept_views import TablePlace
from taskdistill.storage.provenance import version_of
from taskdistill.tasks.models.preprocessing import Preprocessing

PIXELS = 1
"""The version of stage extract, which is raised where code gives other pixels; a test compares the two."""

_CUT_BY = ("pillow", "simplejpeg", "numpy", "torch")
"""Packages that decode, crop and resize: another version may make other pixels."""


def table_place(
    folder: Path, images: ImageSet, settings: ViewSettings, preprocessing: Preprocessing, runtime: RuntimeConfig
) -> TablePlace | None:
    """Return the place in the folder of all tables; None where none are to be kept.

    Networks that differ in mean and deviation alone share one: views are kept as bytes, before they are normalised.
    """
    if not runtime.kept_views_mb:
        return None
    cut = {
        "size": preprocessing.size,
        "interpolation": preprocessing.interpolation,
        # With torch as the resampler the clean view alone is Pillow's, so that it matters which one that is.
        "clean": [preprocessing.crop_share, preprocessing.crop_mode],
        "resize": settings.resize,
        "pixels": PIXELS,
        "packages": {name: version_of(name) for name in _CUT_BY},
    }
    path = folder / images.fingerprint / f"{fingerprint(cut)}.table"
    return TablePlace(path, len(images) * (settings.num_views + 1), runtime.kept_views_mb)
