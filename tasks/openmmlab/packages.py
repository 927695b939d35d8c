"""Whether mmsegmentation can be used here, and using it: its packages, the stand-in for mmcv.ops, its warnings.

Torch is imported only when it can: which packages are missing is told at once.
"""

import importlib.util
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from taskdistill.configs.errors import MissingPackageError

PACKAGES = {
    "mmseg": "mmsegmentation",
    "mmengine": "mmengine",
    "mmcv": "mmcv-lite",
    "ftfy": "ftfy",
    "regex": "regex",
    "cv2": "opencv-python-headless",
}
"""What is imported -> the package that has it."""


def missing_packages() -> list[str]:
    """Return the names of the packages that are not installed, those of PACKAGES; imports none of them."""
    return [package for module, package in PACKAGES.items() if importlib.util.find_spec(module) is None]


def check_installed(what: str) -> None:
    """Raise MissingPackageError where mmsegmentation is not installed; `what` needs it, the subject of the sentence."""
    if missing := missing_packages():
        raise MissingPackageError(
            f"{what} needs mmsegmentation, and these packages are not installed: {', '.join(missing)}. In the folder "
            'of this program: pip install -c constraints.txt -e ".[segmentation]"'
        )


@contextmanager
def mmseg_ready(what: str) -> Iterator[None]:
    """Make mmseg importable for the block, in which its warnings are silent; raises as `check_installed` does."""
    check_installed(what)
    from taskdistill.tasks.openmmlab.mmcv_ops import prepare

    prepare()
    with warnings.catch_warnings():
        # It was written for older versions of everything, and warns of each at import and at each network it builds.
        warnings.simplefilter("ignore")
        from mmengine.logging import MMLogger

        # It prints a line for each tensor that it initialises, to where results are printed.
        MMLogger.get_current_instance().setLevel("WARNING")
        yield
