"""The presets that forms offer: those that come with the program, and those of one's own in a folder.

The folder is named by an environment variable, which the worker's runs inherit. The drop-down is written when the flows
are deployed; a preset that is put into the folder later is offered from the next `taskdistill up` on.
"""

import os
from pathlib import Path

from taskdistill.configs.choices import nearest
from taskdistill.configs.errors import SettingsError
from taskdistill.configs.loading import preset_names

PRESETS = "TASKDISTILL_PRESETS"
"""The variable with the folder of presets of one's own."""
HOME, DEFAULT_HOME = "TASKDISTILL_HOME", "~/.taskdistill"
_ENDING = ".yaml"


def own_presets() -> dict[str, Path]:
    """Return name -> file of each preset of one's own; none where no folder is named or it is not there."""
    folder = os.environ.get(PRESETS, "")
    found = sorted(Path(folder).expanduser().glob(f"*{_ENDING}")) if folder else []
    return {path.stem: path for path in found}


def check_own_presets() -> None:
    """Raise SettingsError where the folder is not there, or one in it has the name of one that comes with us."""
    folder = os.environ.get(PRESETS, "")
    if folder and not Path(folder).expanduser().is_dir():
        raise SettingsError(f"{PRESETS} is {folder!r}, which is no folder: name the folder that holds your presets")
    if taken := sorted(own_presets().keys() & set(preset_names())):
        raise SettingsError(
            f"{folder} holds {taken[0]}{_ENDING}, and {taken[0]!r} is a preset that comes with the program: give yours "
            "another name"
        )


def preset_choices() -> list[str]:
    """Return the names of all presets, those of one's own first."""
    return list(dict.fromkeys([*own_presets(), *preset_names()]))


def source_of(preset: str) -> str:
    """Return what `load_experiment` reads for a preset's name; SettingsError where there is none of that name."""
    if preset in preset_names():
        return preset
    own = own_presets()
    if preset not in own:
        where = f" For presets of your own see {PRESETS}." if not own else ""
        raise SettingsError(f"preset: there is no preset {preset!r}{nearest(preset, preset_choices())}.{where}")
    return str(own[preset])


def home() -> Path:
    """Return the folder in which this program keeps what is no artifact."""
    return Path(os.environ.get(HOME) or DEFAULT_HOME).expanduser().absolute()
