"""Setting one field of any section, in any way there is, leaves every other field of the experiment as it was."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import Field, ValidationError

from taskdistill.configs.base import AddedLater, Settings, StageConfig
from taskdistill.configs.experiment import Experiment
from taskdistill.configs.fields import Kind, dotted_names, kind_at
from taskdistill.configs.loading import dump_preset, load_experiment
from taskdistill.configs.merging import merged
from taskdistill.configs.models import Backbone, Student, Teacher
from taskdistill.configs.stages import ExtractConfig, FinetuneConfig
from taskdistill.configs.training import TeacherFinetuning, TrainingSettings
from taskdistill.tasks.catalog import STAGES

ONLY_VALUE = {
    "schema", "teacher.source", "student.source", "generator.kind", "training.mixup", "training.cutmix",
}  # fmt: skip
"""Settings with no second value that a whole experiment could have."""

OF_MASKS: dict[str, Any] = {
    "problem": "segmentation",
    "data.form": "masks",
    "teacher_cache": "logits",
    "teacher.clean_view": "whole",
    "student.clean_view": "whole",
    "probe.optimizer": "adamw",
    "student_probe.optimizer": "adamw",
}
"""What an experiment needs where each pixel has a class."""

TOGETHER: dict[str, dict[str, Any]] = {
    "problem": OF_MASKS,
    **{
        name: {**OF_MASKS, name: value}
        for name, value in {
            "probe.head": "fcn",
            "student_probe.head": "fcn",
            "training.loss": "cross-entropy+dice",
            "training.class_weights": "inverse-frequency",
            "teacher_finetuning.loss": "cross-entropy+dice",
            "teacher_finetuning.class_weights": "inverse-frequency",
            "windows.show": "sliding",
            "windows.flip": "horizontal",
        }.items()
    },
    **{
        name: {**OF_MASKS, "windows.show": "sliding", name: value}
        for name, value in {"windows.window_px": 64, "windows.stride": 0.5, "windows.scales": [0.5, 2.0]}.items()
    },
    "data.form": {"data.form": "table", "data.table": "images.csv"},
    "data.table": {"data.form": "table", "data.table": "images.csv"},
    "data.labels": {**OF_MASKS, "data.labels": "voc"},
    "data.ignored_values": {**OF_MASKS, "data.ignored_values": [0, 3]},
    "teacher.weights": {"teacher.weights": "random"},
    "teacher.file": {"teacher.weights": "file", "teacher.file": "/weights/vit.safetensors"},
    "student.weights": {"student.weights": "random"},
    "student.file": {"student.weights": "file", "student.file": "/weights/vit.safetensors"},
    "teacher.arguments": {"teacher.arguments": {"depth": 4}},
    "student.arguments": {"student.arguments": {"depth": 4}},
    "synthetic_images": {"synthetic_images": "blends", "generator.folder": "/weights/mixer"},
    "teacher_logits": {"teacher_logits": "out-of-fold", "probe.folds": 5},
    "probe.folds": {"probe.folds": 5},
    "student_probe.folds": {"student_probe.folds": 5},
    "unlabelled.max_images": {"unlabelled.path": "/photographs", "unlabelled.max_images": 100},
    "views.width_to_height": {
        "views.width_to_height": 2.0,
        "teacher.input_width_px": 448,
        "student.input_width_px": 448,
    },
    "teacher.input_width_px": {"teacher.input_width_px": 226},
    "student.input_width_px": {"student.input_width_px": 226},
    "views.max_aspect": {"views.max_aspect": 2.0},
    "views.min_scale": {"views.crop": "scaled", "views.min_scale": 0.7},
    "views.max_scale": {"views.crop": "scaled", "views.max_scale": 3.0},
    "blends.side_px": {"blends.side_px": 64},
    "training.accumulate": {"training.accumulate": 2},
    "teacher_finetuning.accumulate": {"teacher_finetuning.accumulate": 2},
    "data.path": {"data.path": "/images"},
    "unlabelled.path": {"unlabelled.path": "/photographs"},
    "foreign_teacher.source": {"foreign_teacher.source": "transformers"},
    "foreign_teacher.folder": {"foreign_teacher.folder": "/weights/segformer"},
    "foreign_teacher.config_file": {"foreign_teacher.config_file": "/weights/pspnet.py"},
    "foreign_teacher.weights": {"foreign_teacher.weights": "/weights/pspnet.pth"},
    "foreign_teacher.label_map": {"foreign_teacher.label_map": {"car": "vehicle"}},
    "generator.folder": {"generator.folder": "/weights/mixer"},
    "runtime.tensorboard": {"runtime.tensorboard": "/events"},
    "runtime.mlflow_uri": {"runtime.mlflow_uri": "http://localhost:5000"},
}
"""Settings whose other value needs to be chosen, or needs another setting with it."""

LISTS = {"val_images": ["a/*"], "test_images": ["b/*"], "left_out_images": ["c/*"],
         "mean": [0.5] * 3, "std": [0.5] * 3, "inputs": ["last4"], "drop": ["uncertain"], "strengths": [0.5, 2.0],
         "learning_rates": [0.5], "seeds": [3, 4], "alphas": [0.5], "temperatures": [0.5], "classes": ["car"],
         "more_teachers": [Teacher(name="other", arguments={"depth": 4}).model_dump(mode="json")]}  # fmt: skip


def changes() -> Iterator[dict[str, Any]]:
    """Yield a valid change for every setting there is: dotted name -> value."""
    defaults = flat(as_json(Experiment()))
    for dotted in dotted_names(Kind(Experiment)):
        if dotted not in ONLY_VALUE:
            yield TOGETHER.get(dotted) or {dotted: another(dotted, defaults[dotted])}


def another(dotted: str, value: Any) -> Any:
    kind = kind_at(dotted.split("."), Experiment)
    assert kind, dotted
    if kind.choices:
        return next(choice for choice in kind.choices if choice != value)
    if kind.is_list:
        return LISTS[dotted.rpartition(".")[2]]
    if kind.type is str:
        return "other"
    return value + 1 if kind.type is int else value / 2 or 0.5


def as_json(experiment: Experiment) -> dict[str, Any]:
    return experiment.model_dump(mode="json", by_alias=True)


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return every setting that is no section by its dotted name."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        kind = kind_at([*prefix.split(".")[:-1], name], Experiment)
        found |= flat(value, f"{prefix}{name}.") if kind and kind.section else {f"{prefix}{name}": value}
    return found


def nested(change: dict[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for dotted, value in change.items():
        *sections, last = dotted.split(".")
        section = values
        for name in sections:
            section = section.setdefault(name, {})
        section[last] = value
    return values


def written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def by_validation(change: dict[str, Any], _: Path) -> Experiment:
    return Experiment.model_validate(nested(change))


def by_file(change: dict[str, Any], folder: Path) -> Experiment:
    path = folder / "change.yaml"
    path.write_text(dump_preset(nested(change)))
    return load_experiment(str(path))


def by_set(change: dict[str, Any], folder: Path) -> Experiment:
    path = folder / "empty.yaml"
    path.write_text("schema: 1\n")
    return load_experiment(str(path), [f"{dotted}={written(value)}" for dotted, value in change.items()])


def by_a_run_of_what_is_served(change: dict[str, Any], _: Path) -> Experiment:
    return Experiment.model_validate(merged(as_json(Experiment()), nested(change), Kind(Experiment)))


@pytest.mark.parametrize("way", [by_validation, by_file, by_set, by_a_run_of_what_is_served])
def test_setting_one_field_leaves_all_others_as_they_are(
    way: Callable[[dict[str, Any], Path], Experiment], tmp_path: Path
):
    defaults = flat(as_json(Experiment()))
    wrong = {}
    for change in changes():
        after = flat(as_json(way(change, tmp_path)))
        moved = {name: value for name, value in after.items() if value != defaults[name]}
        if moved != change:
            wrong[str(change)] = moved
    assert wrong == {}


def test_the_walk_reaches_every_setting():
    names = set(dotted_names(Kind(Experiment)))
    assert {name for change in changes() for name in change} | ONLY_VALUE == names
    assert len(names) > 90


def test_setting_a_field_over_a_preset_that_sets_part_of_the_section_keeps_both(tmp_path: Path):
    path = tmp_path / "birds.yaml"
    path.write_text("teacher_finetuning: {epochs: 3}\nteacher: {input_px: 98}\n")
    experiment = load_experiment(str(path), ["teacher_finetuning.batch_size=8", "teacher.weights=random"])
    settings = experiment.teacher_finetuning
    assert (settings.epochs, settings.batch_size, settings.learning_rate) == (3, 8, 1e-4)
    assert (experiment.teacher.input_px, experiment.teacher.name) == (98, "vit_large_patch14_dinov2.lvd142m")


def test_a_section_in_braces_changes_what_it_names_and_keeps_the_rest(tmp_path: Path):
    path = tmp_path / "birds.yaml"
    path.write_text("training: {epochs: 3, warmup: 0.2}\n")
    training = load_experiment(str(path), ["training={epochs: 5}"]).training
    assert (training.epochs, training.warmup) == (5, 0.2)


@pytest.mark.parametrize("form", [Experiment, *dict.fromkeys(stage.config_type for stage in STAGES)])
def test_the_defaults_of_every_section_are_those_of_its_type(form: type[Settings]):
    fields = form.model_fields
    sections = {name: kind.section for name in fields if (kind := kind_at([fields[name].alias or name], form))}
    wrong = [name for name, section in sections.items() if section and fields[name].default != section()]
    assert wrong == []


# --- the types of their own ----------------------------------------------------------------------------------------


def test_a_type_of_its_own_differs_in_its_default_alone():
    for own, plain in ((Teacher, Backbone), (Student, Backbone), (TeacherFinetuning, TrainingSettings)):
        assert own.model_json_schema()["properties"].keys() == plain.model_json_schema()["properties"].keys()
        bounds = [{n: f.metadata for n, f in form.model_fields.items()} for form in (own, plain)]
        assert bounds[0] == bounds[1]


def test_a_stage_takes_a_section_of_a_type_of_its_own_as_the_plain_one():
    experiment = Experiment()
    config = experiment.finetune_teacher_config()
    assert (type(config.backbone), type(config.training)) == (Backbone, TrainingSettings)
    plain = FinetuneConfig(
        backbone=Backbone(name="vit_large_patch14_dinov2.lvd142m"), training=TrainingSettings(learning_rate=1e-4)
    )
    assert config == plain
    assert config.identity() == plain.identity()


def test_the_identity_of_a_section_does_not_depend_on_where_it_stood():
    experiment = Experiment(teacher=Backbone(name="vit", weights="random"))
    for section in (Backbone, Teacher, Student):
        backbone = section(name="vit", weights="random", input_px=98)
        config = experiment.extract_config(backbone, experiment.probe, "augmented")
        assert config.identity()["backbone"] == Backbone(name="vit", weights="random", input_px=98).identity()


def test_settings_are_equal_when_their_values_are_wherever_they_stand():
    assert Teacher(name="vit") == Backbone(name="vit")
    assert Backbone(name="vit") in [Student(name="vit")]
    assert Teacher() != Student()
    assert TrainingSettings(learning_rate=1e-4) == TeacherFinetuning()
    assert ExtractConfig() != FinetuneConfig()


def test_the_values_of_a_plain_section_are_taken_whole():
    given = Backbone(name="test_vit", weights="random", input_px=48)
    assert Experiment(teacher=given).teacher == given
    assert type(Experiment(teacher=given).teacher) is Teacher


def test_a_plain_section_that_leaves_a_differing_default_open_is_refused_by_name():
    with pytest.raises(ValidationError, match="have different defaults of learning_rate"):
        Experiment(teacher_finetuning=TrainingSettings(epochs=3))


class Lens(Settings):
    """As it was released first, and next with one more field."""

    focus: float = Field(default=0.5, gt=0)
    filter: Annotated[str, AddedLater] = "none"


class TeleLens(Lens):
    """Has another default of the field that came later."""

    filter: str = "red"


class Camera(StageConfig):
    """A stage that takes either."""

    lens: Lens = Lens()


def test_a_later_field_is_neutral_at_the_value_it_came_with_whatever_a_section_of_its_own_has_as_default():
    assert Camera(lens=TeleLens()).identity() == {"lens": {"focus": 0.5, "filter": "red"}}
    assert Camera(lens=TeleLens(filter="none")).identity() == Camera().identity() == {"lens": {"focus": 0.5}}
    assert TeleLens().identity() == {"focus": 0.5, "filter": "red"}
    assert TeleLens(filter="none").identity() == {"focus": 0.5}
