"""What is tried: four studies, each a preset in several places (worlds, sequences) and with several changes (arms).

The settings are those of the presets, which were chosen on other worlds and with other images left out.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from taskdistill.configs.study import Study, Values
from taskdistill.configs.study_loading import points_of
from taskdistill.flows.birds import PARTS, SPECIES, Task, draw_world, folder_of

WORLDS = range(5)
"""Worlds of birds, which are seeds; settings were chosen on those from 100 on."""
SEQUENCES = ("0001TP", "0006R0", "0016E5")
PROBED, FINETUNED, LONGER, CNN, LARGER = "probed", "finetuned", "longer", "cnn", "larger"
"""Arms: what teaches, or what else is changed."""
LITE1 = {
    "name": "tf_efficientnet_lite1",
    "weights": "file",
    "file": "${REAL_DATA_DIR}/weights/tf_efficientnet_lite1.safetensors",
    "input_px": 240,
}
MOBILENET = {
    "name": "mobilenetv2_035",
    "weights": "file",
    "file": "${REAL_DATA_DIR}/weights/mobilenetv2_035.keras_128_backbone.safetensors",
    "arguments": {"pad_type": "same"},
    "input_px": 128,
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
}
_ALONE = {"synthetic_images": "none"}
_TEACHERS: dict[str, Values] = {PROBED: {"teacher_training": "probed"}, FINETUNED: {"teacher_training": "finetuned"}}


class Trial(NamedTuple):
    """A preset in several places, in each of them with the same arms."""

    preset: str
    told: str
    """What it is tried on, in a table."""
    places: Mapping[str, Values]
    arms: Mapping[str, Values]
    sample: Literal["places", "images"]
    """What is drawn at random, so that more of it would tell more: worlds, each with its own species, or images."""
    shared: Values

    def study(self, name: str) -> Study:
        """Return it as a study, whose points are those of each place by turns."""
        points = [place | arm for place in self.places.values() for arm in self.arms.values()]
        return Study.model_validate(
            {"study": 1, "name": name, "preset": self.preset, "set": self.shared, "points": points}
        )

    def point(self, place: str, arm: str) -> int:
        """Return the number of a point of the study."""
        return list(self.places).index(place) * len(self.arms) + list(self.arms).index(arm)


def trials(folder: Path) -> dict[str, Trial]:
    """Return the trials by name; worlds are drawn into `folder`."""
    one_seed: Values = {"seeds": [0]}
    birds = {
        PROBED: _TEACHERS[PROBED],
        # On 100 validation pictures no finetuned teacher scores above its own probe, which `keep: best` would take.
        FINETUNED: _TEACHERS[FINETUNED] | {"teacher_finetuning.keep": "last"} | _ALONE,
        LONGER: {"training.epochs": 240} | _ALONE,
        CNN: {
            "student": MOBILENET,
            "student_probe.inputs": ["last"],
            "training.epochs": 60,
            "training.batchnorm": "frozen",
        }
        | _ALONE,
    }
    clothing = _TEACHERS | {LARGER: {"teacher": LITE1}}
    return {
        "clothing": Trial("clothing10", "10 kinds of clothing", {"": {}}, clothing, "images", {"seeds": [0, 1, 2]}),
        "birds": Trial("miniature", "25 species of birds", _worlds(folder, SPECIES), birds, "places", one_seed),
        "parts": Trial(
            "miniature-segmentation", "parts of birds, masks", _worlds(folder, PARTS), {PROBED: {}}, "places", one_seed
        ),
        "roads": Trial("camvid", "road scenes, masks", _sequences(), {FINETUNED: {}}, "images", one_seed),
    }


def draw_worlds(trial: Trial) -> None:
    """Draw the pictures that a trial is about, where they are drawn and not there yet."""
    task = {SPECIES.preset: SPECIES, PARTS.preset: PARTS}.get(trial.preset)
    if task:
        experiments = [point.experiment for point in points_of(trial.study("drawn"))][:: len(trial.arms)]
        for world, experiment in zip(WORLDS, experiments, strict=True):
            draw_world(experiment, world, task)


def _worlds(folder: Path, task: Task) -> dict[str, Values]:
    return {f"world {world}": {"data.path": str(folder_of(folder, world, task))} for world in WORLDS}


def _sequences(names: Sequence[str] = SEQUENCES) -> dict[str, Values]:
    """Leave out each sequence by turns, and the published 18 pairs always: they are of one of the three."""
    return {
        name: {
            "data.test_images": [f"train/{name}_*"],
            "data.left_out_images": ["val/*", f"unlabelled/{name}_*"],
        }
        for name in names
    }
