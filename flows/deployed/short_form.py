"""The short form: the handful of settings that people change from run to run, and how they become an Experiment.

Each field becomes lines as `--set` takes them, so that a form means what a command line means, and is refused in the
same words. Nothing here knows Prefect.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field, ValidationError

from taskdistill.configs.base import Seed, Settings
from taskdistill.configs.errors import SettingsError
from taskdistill.configs.experiment import Experiment
from taskdistill.configs.loading import load_experiment
from taskdistill.configs.messages import explained
from taskdistill.flows.birds import PRESET, folder_of
from taskdistill.flows.presets import home, source_of

AS_PRESET = "as the preset says"


class PresetForm(Settings):
    """What every form has: a preset, and lines that change any of its settings."""

    preset: str = PRESET
    """The settings to start from. miniature is a demonstration on drawn birds, which needs no images and no download;
    small-cpu and dinov2 take images of your own in folders; yours are those of the folder named by `taskdistill up
    --presets`.
    """
    synthetic: str = ""
    """An image-set of synthetic images that is in the store, by its label or reference. Empty: none."""
    overrides: tuple[str, ...] = ()
    """Lines that change any other setting, as --set does: training.batch_size=16. They count last."""


class ShortForm(PresetForm):
    """The settings that people change from run to run; what is empty or 0 stays as the preset says."""

    data_path: str = ""
    """Absolute path of the folder of your images, as the worker sees it. Empty: the preset's own; for miniature a world
    of birds, which is drawn first.
    """
    teacher: str = ""
    """Name of the large network that teaches, one that timm knows, such as vit_base_patch14_dinov2.lvd142m; with its
    weights of the hub. Empty: the preset's own.
    """
    student: str = ""
    """Name of the small network that learns, one that timm knows, such as mobilenetv2_050.lamb_in1k; with its weights
    of the hub. Empty: the preset's own.
    """
    blends: Literal["as the preset says", "on", "off"] = "as the preset says"
    """Whether a third student learns from synthetic images too. on: blends of two training images, which need
    generator.folder; off: labelled images only.
    """
    epochs: int = Field(default=0, ge=0, le=1_000_000)
    """Passes over the labelled training images, exactly so many. 0: as the preset says."""
    alpha: float = Field(default=0.0, ge=0, le=1)
    """Weight of the teacher against the labels; this value, also where the preset chooses among several. 0: as the
    preset says.
    """
    temperature: float = Field(default=0.0, ge=0, le=1e4)
    """Softens teacher and student; this value, also where the preset chooses among several. 0: as the preset says."""
    seeds: tuple[Seed, ...] = ()
    """Each seed trains one pair of students; several tell how far chance goes. Empty: as the preset says."""


class DistillationForm(ShortForm):
    """The whole pipeline."""

    rebuild_from: str = ""
    """Name of a step or stage, such as distill: says what would be made again, and how to have it made; discards
    nothing. Empty: an ordinary run.
    """


class StageForm(ShortForm):
    """One stage alone."""

    inputs: tuple[str, ...] = ()
    """Lines role=artifact, such as logits=my-label: what the stage is to read in place of what the settings mean."""


class LongForm(PresetForm):
    """Every setting."""

    experiment: dict[str, Any] = {}
    rebuild_from: str = ""
    """Name of a step or stage, such as distill: says what would be made again, and how to have it made; discards
    nothing. Empty: an ordinary run.
    """


AnyForm = TypeVar("AnyForm", bound=Settings)


def filled_in(form: type[AnyForm], sent: Mapping[str, Any]) -> AnyForm:
    """Return what a run was sent; SettingsError, which lists every mistake."""
    try:
        return form.model_validate(dict(sent))
    except ValidationError as error:
        raise SettingsError("\n  ".join(["the parameters cannot be used:", *explained(error, form)])) from None


def experiment_of(form: PresetForm) -> Experiment:
    """Return all settings that a form means; SettingsError where they cannot be used."""
    settings = form.experiment if isinstance(form, LongForm) else {}
    lines = [*(lines_of(form) if isinstance(form, ShortForm) else []), *form.overrides]
    experiment = load_experiment(source_of(form.preset), lines, settings)
    if isinstance(form, ShortForm) and form.teacher and experiment.teacher_training == "foreign":
        raise SettingsError(
            f"teacher: in the preset {form.preset!r} a network teaches that was trained elsewhere (foreign_teacher), "
            f"and {form.teacher!r} would have no part: leave teacher empty, or add the line teacher_training=probed "
            "to overrides"
        )
    return with_images(experiment, form.preset)


def lines_of(form: ShortForm) -> list[str]:
    """Return what the fields of a form change, as `--set` takes it."""
    return [f"{name}={value}" for name, value in _changes(form)]


def birds_folder() -> Path:
    """Return where the birds lie that the preset of the demonstration is run on."""
    return folder_of(home(), 0)


def _changes(form: ShortForm) -> Iterator[tuple[str, Any]]:
    if form.data_path:
        yield "data.path", form.data_path
    for role, name in (("teacher", form.teacher), ("student", form.student)):
        if name:  # the preset's weights and arguments belong to its own network
            yield f"{role}.name", name
            yield f"{role}.weights", "hub"
            yield from ((f"{role}.{setting}", empty) for setting, empty in _OF_ONE_NETWORK.items())
    if form.blends != AS_PRESET:
        yield "synthetic_images", {"on": "blends", "off": "none"}[form.blends]
    if form.epochs:
        yield "training.epochs", form.epochs
        yield "training.min_steps", 0
    for setting, values, value in (
        ("alpha", "alphas", form.alpha),
        ("temperature", "temperatures", form.temperature),
    ):
        if value:
            yield f"distill.{setting}", value
            yield f"tuning.{values}", f"[{value}]"  # a search tries no other
    if form.seeds:
        yield "seeds", f"[{', '.join(map(str, form.seeds))}]"


_OF_ONE_NETWORK = {"file": "", "arguments": "{}", "mean": "[]", "std": "[]"}


def with_images(experiment: Experiment, preset: str) -> Experiment:
    """Return an experiment whose images have a place that means the same in any folder; SettingsError where its preset
    names none.
    """
    if Path(experiment.data.path).expanduser().is_absolute():
        return experiment
    if preset != PRESET:
        raise SettingsError(
            f"data_path: the preset {preset!r} names no images of yours ({experiment.data.path!r} is an example): give "
            "the absolute path of the folder that holds them, as the worker sees it, such as /data/birds"
        )
    data = experiment.data.model_copy(update={"path": str(birds_folder())})
    return experiment.model_copy(update={"data": data})
