"""Kind settings: values that were chosen on held-out images, and a config that has them in place of its own."""

import logging
from pathlib import Path
from typing import TypeVar

from taskdistill.configs.base import StageConfig
from taskdistill.storage.descriptions import Description
from taskdistill.storage.errors import CacheMismatchError
from taskdistill.storage.files import write_json
from taskdistill.storage.manifest import Manifest, check_file
from taskdistill.tasks.functional.successive_halving import Settings
from taskdistill.tasks.stage import StageContext

log = logging.getLogger(__name__)

SETTINGS = "settings.json"
SECTIONS = {"learning_rate": "training", "alpha": "distill", "temperature": "distill"}
"""Setting -> the section of a config that it stands in."""

C = TypeVar("C", bound=StageConfig)


class ChosenSettings(Description):
    """What lies in settings.json; finetuning has a learning rate alone."""

    learning_rate: float
    alpha: float | None = None
    temperature: float | None = None


def write_settings(draft: Path, settings: Settings) -> None:
    """Write the chosen values."""
    write_json(draft / SETTINGS, dict(settings))


def with_chosen_settings(config: C, chooser: str, context: StageContext) -> C:
    """Return the config with the values of the input "settings", where there is one, in place of its own.

    Raises CacheMismatchError where another stage than `chooser` chose them, or with another probe, which is one of
    another backbone too, other images or another teacher's logits.
    """
    if (folder := context.inputs.get("settings")) is None:
        return config
    manifest = Manifest.read(folder)
    if (found := manifest.recipe["stage"]) != chooser:
        raise CacheMismatchError(
            f"{manifest.ref.short} was chosen by {found}, for another way of training: give what {chooser} chose"
        )
    for role, source in manifest.input_refs.items():
        if source.fingerprint != (given := context.inputs[role].name):
            raise CacheMismatchError(
                f"{manifest.ref.short} was chosen with {source.short} as {role}, and this training has "
                f"{source.kind}@{given[:12]}: run {chooser} with that first"
            )
    return _updated(config, ChosenSettings.of_format(check_file(folder, SETTINGS), manifest.format))


def _updated(config: C, chosen: ChosenSettings) -> C:
    sections: dict[str, StageConfig] = {}
    for name, value in chosen.model_dump(exclude_none=True).items():
        section = sections.get(SECTIONS[name], getattr(config, SECTIONS[name]))
        sections[SECTIONS[name]] = section.model_copy(update={name: value})
    log.info("chosen settings: %s", ", ".join(f"{name} {value:g}" for name, value in chosen if value is not None))
    return config.model_copy(update=sections)
