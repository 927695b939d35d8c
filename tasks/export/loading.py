"""An exported folder as a model that predicts: by what it holds, and without the store that it came from.

Shape letters: K classes, H W pixels.
"""

import functools
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from taskdistill.configs.choices import EXPORT_LOADERS, EXPORT_PACKAGES, load
from taskdistill.configs.evaluation import WindowSettings
from taskdistill.configs.runtime import RuntimeConfig
from taskdistill.storage.image_set import Levels
from taskdistill.tasks.deploy.ready import Ready, Wish
from taskdistill.tasks.export.record import FolderRecord
from taskdistill.tasks.export.target import ExportError, opened
from taskdistill.tasks.problems.palette import palette

if TYPE_CHECKING:
    from taskdistill.tasks.deploy.networks import Network


def ready_folder(folder: Path, wish: Wish) -> Ready:
    """Look up the model that was exported to a folder; every file is compared with its digest.

    Raises ExportError where the folder is none that was exported, a file is missing or altered, or other programs run
    it, SettingsError where a number of the wish cannot be used, MissingPackageError.
    """
    wish.check()
    record = opened(folder)
    if record.target not in EXPORT_LOADERS:
        raise ExportError(
            f"{folder} was exported to {record.target}, for other programs: here {', '.join(EXPORT_LOADERS)} are "
            "loaded, or the model itself out of its store"
        )
    if record.target in EXPORT_PACKAGES:
        load(EXPORT_PACKAGES, record.target)(f"a folder that was exported to {record.target}")
    colours_K3 = np.asarray(record.colours, np.uint8) if record.colours else palette(len(record.classes))
    return Ready(
        name=record.model or folder.resolve().name,
        load=functools.partial(_out_of_a_folder, folder, record),
        classes=record.classes,
        colours_K3=colours_K3,
        wish=wish,
        temperature=wish.temperature or record.temperature,
        temperature_by="noted in the folder",
        levels=Levels(*record.levels) if record.levels else None,
        windows=WindowSettings(),
        exported=f"{record.target} {record.precision}",
    )


def _out_of_a_folder(folder: Path, record: FolderRecord, runtime: RuntimeConfig) -> "Network":
    network: Network = load(EXPORT_LOADERS, record.target)(folder, record, runtime)
    return network
