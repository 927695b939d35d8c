"""What settings name as models, looked at without torch: for `plan`, which answers before any network is built."""

from pathlib import Path

from taskdistill.configs.base import Settings, StageConfig
from taskdistill.configs.choices import FOREIGN_FOLDERS, GENERATOR_FOLDERS, MODEL_NAMES, load
from taskdistill.configs.foreign import ForeignTeacher
from taskdistill.configs.generation import GeneratorModel
from taskdistill.configs.models import Backbone
from taskdistill.storage.tree import walk
from taskdistill.storage.weight_formats import check_regular, check_weights


def check_places(config: StageConfig) -> None:
    """Raise WeightFileError where a weight file, or a file of a model's folder, must not be opened: a device, a pipe.

    Before anything is digested, as reading from those may never end. What does not exist is left to the digest.
    """
    for model in _models(config):
        for place in model.locations().values():
            path = Path(place).expanduser()
            for file in _special_files(path) if _is_folder_of(model, path) else [path]:
                if file.exists():
                    check_regular(file)


def check_content(config: StageConfig) -> None:
    """Raise UserError where a name is unknown, or a weight file or generator is not whole or not what it should be, by
    headers alone.
    """
    for model in _models(config):
        if isinstance(model, GeneratorModel):
            if model.kind in GENERATOR_FOLDERS:
                load(GENERATOR_FOLDERS, model.kind)(model)
            continue
        if isinstance(model, ForeignTeacher):
            if model.source in FOREIGN_FOLDERS:
                load(FOREIGN_FOLDERS, model.source)(model)
            continue
        if model.source in MODEL_NAMES:
            load(MODEL_NAMES, model.source)(model)
        if model.file:
            check_weights(Path(model.file).expanduser())


def _is_folder_of(model: Settings, path: Path) -> bool:
    """Whether a folder lies there, and may: a backbone's weights are a file."""
    return path.is_dir() and not isinstance(model, Backbone)


def _special_files(folder: Path) -> list[Path]:
    return [folder / entry.path for entry in walk(folder) if entry.kind == "special"]


def _models(config: StageConfig) -> list[Backbone | GeneratorModel | ForeignTeacher]:
    return [value for _, value in config if isinstance(value, Backbone | GeneratorModel | ForeignTeacher)]
