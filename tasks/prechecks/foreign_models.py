"""The files of a foreign teacher, looked at without torch: whether they are there, whole, and run nothing."""

from pathlib import Path

from taskdistill.configs.errors import SettingsError
from taskdistill.configs.foreign import ForeignTeacher, function_of, module_file
from taskdistill.storage.errors import StoreError
from taskdistill.storage.sources import visible_files
from taskdistill.storage.weight_formats import check_weights
from taskdistill.tasks.prechecks.mixer_folder import FROM_ELSEWHERE, read_settings

CONFIG = "config.json"
WEIGHTS = "model.safetensors"


class ForeignFolderError(StoreError):
    """A folder that holds no model as transformers writes them, or not a whole one."""


def check_function(teacher: ForeignTeacher) -> None:
    """Raise SettingsError where the module of a function is not there."""
    module, _ = function_of(teacher)
    file = module_file(teacher.function)
    if not file.is_file():
        raise SettingsError(
            f"foreign_teacher.function is {teacher.function!r}, but there is no module {module!r} in the working "
            f"folder ({Path.cwd()}) and none is installed: run in the folder where {file.name} lies"
        )


def check_folder(teacher: ForeignTeacher) -> None:
    """Raise ForeignFolderError or WeightFileError where a folder is no whole model in safetensors."""
    folder = Path(teacher.folder).expanduser()
    if not (folder / CONFIG).is_file():
        raise ForeignFolderError(
            f"foreign_teacher.folder {folder} has no {CONFIG}: name a folder as transformers' save_pretrained writes it"
        )
    if code := [path for path in visible_files(folder) if path.suffix == ".py"]:
        raise ForeignFolderError(f"{code[0]} is a program, and a model's folder is read, never run: take it out")
    settings = read_settings(folder / CONFIG)
    if asked := [key for key in FROM_ELSEWHERE if settings.get(key)]:
        raise ForeignFolderError(
            f"{folder / CONFIG} asks for code or formats from elsewhere ({asked[0]}), which are not used: remove the "
            "entry where the model is an ordinary one"
        )
    for path in _weight_files(folder):
        check_weights(path)


def _weight_files(folder: Path) -> list[Path]:
    index = folder / f"{WEIGHTS}.index.json"
    if (folder / WEIGHTS).exists() or not index.is_file():
        if not (folder / WEIGHTS).exists():
            raise ForeignFolderError(
                f"{folder / WEIGHTS} is missing. Weights must be safetensors; pickled ones (.bin) can run code and are "
                "not read"
            )
        return [folder / WEIGHTS]
    names = read_settings(index).get("weight_map", {})
    if not isinstance(names, dict) or not all(isinstance(name, str) and "/" not in name for name in names.values()):
        raise ForeignFolderError(f"{index} does not say which tensor is in which file: download it again")
    return [folder / name for name in sorted(set(names.values()))]
