"""The form of a study, and how it becomes one: what its lines say, the options of `taskdistill study` say.

Nothing here knows Prefect.
"""

from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from taskdistill.configs.base import Settings
from taskdistill.configs.errors import SettingsError
from taskdistill.configs.loading import preset_names
from taskdistill.configs.study import MAX_POINTS, Study
from taskdistill.configs.study_loading import Given, Point, command_of, load_study, points_of, study_names
from taskdistill.flows.deployed.short_form import with_images
from taskdistill.flows.presets import source_of

AS_STUDY = "as the study says"


class StudyForm(Settings):
    """One preset in many variants."""

    study: str = "paper"
    """The study to run: paper (on drawn birds, without images or a download), teachers or few-labels; or the absolute
    path of a file of a study, as the worker sees it. Empty: the preset below, with a sweep.
    """
    preset: str = AS_STUDY
    """The settings that every point begins as, where they are to be others than the study's."""
    data_path: str = ""
    """Absolute path of the folder of your images, as the worker sees it. Empty: those of study or preset."""
    sweep: tuple[str, ...] = ()
    """Lines setting=values, such as distill.temperature=1,2,4: the points are all combinations. They take the place of
    what the study says of the same settings.
    """
    baseline: tuple[str, ...] = ()
    """What the others are compared with: lines such as distill.temperature=2, or model=student finetuned."""
    halving: int = Field(default=0, ge=0, le=MAX_POINTS)
    """Successive halving: all points are made with their first seed, and one in so many, the best by validation, with
    the other seeds too. 0: as the study says.
    """
    overrides: tuple[str, ...] = ()
    """Lines that change a setting of all points, as --set does: seeds=0,1,2."""


class AskedStudy(NamedTuple):
    """What a form means."""

    study: Study
    points: list[Point]
    command: str
    """That does the same at the command line."""


def asked_study(form: StudyForm) -> AskedStudy:
    """Return the study that a form means, its images at places that mean the same in any folder.

    Raises SettingsError where the form cannot be used.
    """
    preset = "" if form.preset == AS_STUDY else source_of(form.preset)
    source = form.study or preset
    if not source:
        raise SettingsError("study: is empty, and so is preset: name a study, or choose a preset and give a sweep")
    known = {*study_names(), *preset_names()}
    if form.study and form.study not in known and not Path(form.study).expanduser().is_absolute():
        raise SettingsError(
            f"study: expected one of {', '.join(study_names())}, or the absolute path of a file, as the worker sees "
            f"it, found {form.study!r}"
        )
    images = [f"data.path={form.data_path}"] if form.data_path else []
    changes = [*images, *form.overrides]
    given = Given(preset if form.study else "", changes, form.sweep, form.baseline, form.halving or None)
    study = load_study(source, given)
    points = [point._replace(experiment=with_images(point.experiment, study.preset)) for point in points_of(study)]
    return AskedStudy(study, points, command_of(source, given))
