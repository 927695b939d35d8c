"""What of the settings is identity, and what is not."""

from pathlib import Path
from typing import Annotated

import pytest
from pydantic import ValidationError

from taskdistill.configs.base import AddedLater, Path_, Settings, StageConfig
from taskdistill.configs.data import IngestConfig
from taskdistill.configs.experiment import Experiment
from taskdistill.configs.models import Backbone
from taskdistill.configs.runtime import RuntimeConfig


class Lens(Settings):
    """A section inside the settings below."""

    file: Path_ = ""
    focus: float = 0.5


class Camera(StageConfig):
    """As it was released first."""

    folder: Path_ = ""
    exposures: tuple[int, ...] = (1, 2)
    lens: Lens = Lens()


class Rig(StageConfig):
    """Several of them."""

    lenses: tuple[Lens, ...] = ()


class LaterCamera(Camera):
    """As it was released next, with one more field."""

    filter: Annotated[str, AddedLater] = "none"


def test_identity_is_every_value_as_plain_json_without_the_places_on_disk():
    camera = Camera(folder="/data/birds", exposures=(3,), lens=Lens(file="/data/lens.bin", focus=2))
    assert camera.identity() == {"exposures": [3], "lens": {"focus": 2.0}}


def test_the_places_on_disk_are_listed_by_their_dotted_names_and_empty_ones_are_left_out():
    camera = Camera(folder="/data/birds", lens=Lens(file="/data/lens.bin"))
    assert camera.locations() == {"folder": "/data/birds", "lens.file": "/data/lens.bin"}
    assert Camera().locations() == {}


def test_sections_in_a_list_keep_their_places_out_of_the_identity_and_name_them_by_number():
    rig = Rig(lenses=(Lens(focus=1), Lens(file="/data/lens.bin")))
    assert rig.identity() == {"lenses": [{"focus": 1.0}, {"focus": 0.5}]}
    assert rig.locations() == {"lenses[1].file": "/data/lens.bin"}


def test_a_field_added_later_leaves_old_fingerprints_valid_at_its_default():
    assert LaterCamera(exposures=(3,)).identity() == Camera(exposures=(3,)).identity()


def test_a_field_added_later_is_identity_as_soon_as_it_has_another_value():
    assert LaterCamera(filter="red").identity() == Camera().identity() | {"filter": "red"}


def test_two_ingests_of_the_same_settings_from_two_folders_have_one_identity():
    assert IngestConfig(path="/a").identity() == IngestConfig(path="/b").identity()
    assert "path" not in IngestConfig(path="/a").identity()


def test_the_place_of_a_weight_file_is_no_identity_but_that_there_is_one_is():
    here, there = (Backbone(weights="file", file=f"{folder}/vit.safetensors") for folder in ("/a", "/b"))
    assert here.identity() == there.identity()
    assert here.identity() != Backbone().identity()


def test_no_setting_of_the_runtime_enters_the_identity_of_any_stage():
    runtime = set(RuntimeConfig.model_fields)
    experiment = Experiment()
    stages = [
        experiment.data,
        experiment.extract_config(experiment.teacher, experiment.probe, "both"),
        experiment.probe_config(experiment.probe),
        experiment.precompute_config(),
        experiment.precompute_images_config(),
        experiment.finetune_config(seed=0),
        experiment.finetune_teacher_config(),
        experiment.distill_config(seed=0),
        experiment.evaluate_config(),
    ]
    assert not runtime & {name for config in stages for name in config.identity()}
    assert all(isinstance(config, StageConfig) for config in stages)


def test_settings_cannot_be_changed_once_made():
    with pytest.raises(ValidationError, match="frozen"):
        IngestConfig().val_share = 0.5  # type: ignore[misc]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_json_cannot_hold_are_refused(value: float):
    with pytest.raises(ValidationError, match="finite number"):
        IngestConfig(max_megapixels=value)


def test_a_weight_file_must_be_named_and_only_when_weights_come_from_a_file(tmp_path: Path):
    with pytest.raises(ValidationError, match="needs the path in 'file'"):
        Backbone(weights="file")
    with pytest.raises(ValidationError, match="other weights must not have it"):
        Backbone(weights="random", file=str(tmp_path / "vit.safetensors"))


def test_mean_and_std_have_three_values_or_none():
    with pytest.raises(ValidationError, match="one value for each of R, G, B"):
        Backbone(mean=(0.5,))


def test_a_table_is_named_exactly_when_the_form_is_table():
    for fields in ({"form": "table"}, {"form": "folder", "table": "images.csv"}):
        with pytest.raises(ValidationError, match=r"form 'table' needs data\.table"):
            IngestConfig.model_validate(fields)


def test_white_must_be_above_black_where_it_is_stated():
    for fields in ({"white_level": 1000, "black_level": 1000}, {"white_level": -5}):
        with pytest.raises(ValidationError, match=r"data\.white_level is .*: white must be the larger value"):
            IngestConfig.model_validate(fields)
    assert IngestConfig(black_level=-1000).identity()["black_level"] == -1000
    assert not {"white_level", "black_level"} & IngestConfig().identity().keys()
