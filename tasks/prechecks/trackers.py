"""Whether the packages of trackers that settings ask for are installed; imports none of them."""

import importlib.util

from taskdistill.configs.errors import MissingPackageError

TENSORBOARD, MLFLOW = "runtime.tensorboard", "runtime.mlflow_uri"
PACKAGES = {TENSORBOARD: ("tensorboard", "tensorboard"), MLFLOW: ("mlflow", "mlflow-skinny")}
"""Setting -> what is imported, and the package that has it."""


def check_installed(setting: str) -> None:
    """Raise MissingPackageError where the package that a setting needs is not installed."""
    module, package = PACKAGES[setting]
    if importlib.util.find_spec(module) is None:
        raise MissingPackageError(
            f"{setting} needs a package that is not installed: {package}. Do: pip install {package}  (or, in a "
            f'checkout of this program: pip install -c constraints.txt -e ".[trackers]"), or leave {setting} empty'
        )
