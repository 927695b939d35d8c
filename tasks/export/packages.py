"""Whether the packages that exports need are installed. Torch is not imported: which are missing is told at once."""

import importlib.util

from taskdistill.configs.errors import MissingPackageError

PACKAGES = {"onnx": "onnx", "onnxscript": "onnxscript", "onnxruntime": "onnxruntime"}
"""What is imported -> the package that has it."""


def check_installed(what: str) -> None:
    """Raise MissingPackageError where one is not installed; `what` needs it, the subject of the sentence."""
    if missing := [package for module, package in PACKAGES.items() if importlib.util.find_spec(module) is None]:
        raise MissingPackageError(
            f"{what} needs packages that are not installed: {', '.join(missing)}. Do: pip install {' '.join(missing)}  "
            '(or, in a checkout of this program: pip install -c constraints.txt -e ".[export]")'
        )
