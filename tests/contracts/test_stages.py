"""What every stage must obey: flows, command line and docs iterate over STAGES and rely on this and nothing else."""

import importlib
import inspect
import json
from fnmatch import fnmatchcase
from typing import Any

import pytest

from taskdistill.configs.base import Settings, StageConfig
from taskdistill.configs.data import UNLABELLED, IngestConfig
from taskdistill.configs.models import Backbone
from taskdistill.configs.runtime import RuntimeConfig
from taskdistill.storage.errors import NotInStoreError
from taskdistill.storage.fingerprint import canonical_json
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.tasks.catalog import STAGES
from taskdistill.tasks.sizes import Known
from taskdistill.tasks.stage import Stage

every_stage = pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)


def inputs_of(stage: Stage[Any]) -> dict[str, ArtifactRef]:
    return {role: ArtifactRef(kind, f"{number:064x}") for number, (role, kind) in enumerate(stage.inputs.items())}


def test_stages_have_names_of_their_own() -> None:
    names = [stage.name for stage in STAGES]
    assert sorted(set(names)) == sorted(names)


@every_stage
def test_its_entry_point_takes_config_and_context(stage: Stage[Any]) -> None:
    module, _, name = stage.run.partition(":")
    function = getattr(importlib.import_module(module), name)
    assert stage.load() is function
    assert list(inspect.signature(function).parameters) == ["config", "context"]


@every_stage
def test_it_says_nothing_of_its_size_before_its_images_are_counted_and_a_number_after(stage: Stage[Any]) -> None:
    if stage.inputs:  # ingest looks at a folder
        splits = {"train": 60, "val": 20, "test": 20, UNLABELLED: 5}
        backbone = Backbone(name="vit_tiny_patch16_224")
        known = Known(splits, num_shown=280, num_train=60, num_classes=5, num_outputs=5, backbone=backbone)
        estimate = stage.load_size()(stage.config_type(), known)
        assert estimate.num_bytes
        if stage.output != "image-set":
            unknown = stage.load_size()(stage.config_type(), known._replace(splits={}, num_shown=0))
            assert unknown[:5] == (None, {}, 0, None, ())


@every_stage
def test_its_pictures_are_among_the_files_it_may_write(stage: Stage[Any]) -> None:
    written = [*stage.contents.made, *stage.contents.optional]
    for pattern in (pattern for pictures in stage.pictures for pattern in (pictures.pattern, pictures.legend)):
        assert not pattern or any(fnmatchcase(pattern, allowed) for allowed in written), pattern


@every_stage
def test_its_inputs_are_kinds_that_some_stage_makes(stage: Stage[Any]) -> None:
    made = {other.output for other in STAGES}
    assert {*stage.inputs.values(), *stage.optional_inputs.values()} <= made
    assert not stage.inputs.keys() & stage.optional_inputs.keys()


@every_stage
def test_its_config_has_a_default_for_every_field_and_says_what_each_means(stage: Stage[Any]) -> None:
    assert issubclass(stage.config_type, StageConfig)
    config = stage.config_type()
    undocumented = [name for name, field in type(config).model_fields.items() if not field.description]
    # Sections such as views describe themselves, field by field.
    assert all(isinstance(getattr(config, name), Settings) for name in undocumented)


@every_stage
def test_its_config_keeps_its_identity_through_json(stage: Stage[Any]) -> None:
    config = stage.config_type()
    again = stage.config_type.model_validate_json(config.model_dump_json())
    assert again == config
    assert canonical_json(again.identity()) == canonical_json(config.identity())


@every_stage
def test_its_recipe_is_plain_json_and_names_stage_version_and_inputs(stage: Stage[Any]) -> None:
    inputs = inputs_of(stage)
    recipe = stage.recipe(stage.config_type(), inputs, {"path": "d" * 64})
    assert json.loads(canonical_json(recipe)) == json.loads(json.dumps(recipe))
    assert (recipe["stage"], recipe["version"]) == (stage.name, stage.version)
    assert recipe["inputs"] == {role: ref.fingerprint for role, ref in inputs.items()}
    assert recipe["external"] == {"path": "d" * 64}


@every_stage
def test_its_reference_changes_with_external_content_and_with_each_input(stage: Stage[Any]) -> None:
    config, inputs = stage.config_type(), inputs_of(stage)
    references = {stage.reference(config, inputs, {}), stage.reference(config, inputs, {"path": "d" * 64})}
    for role, ref in inputs.items():
        references.add(stage.reference(config, inputs | {role: ref._replace(fingerprint="f" * 64)}, {}))
    assert len(references) == 2 + len(inputs)
    assert {ref.kind for ref in references} == {stage.output}


@every_stage
def test_an_input_that_is_missing_unknown_or_of_another_kind_is_refused_by_name(stage: Stage[Any]) -> None:
    config, inputs = stage.config_type(), inputs_of(stage)
    wrong = [inputs | {"stranger": ArtifactRef("image-set", "0" * 64)}]
    for role, ref in inputs.items():
        wrong.append({other: kept for other, kept in inputs.items() if other != role})
        wrong.append(inputs | {role: ref._replace(kind="sandwich")})
    for given in wrong:
        with pytest.raises(NotInStoreError, match=f"stage '{stage.name}' needs the inputs"):
            stage.reference(config, given, {})


@every_stage
def test_no_setting_of_the_machine_is_a_setting_of_the_artifact(stage: Stage[Any]) -> None:
    assert not stage.config_type.model_fields.keys() & RuntimeConfig.model_fields.keys()


def test_where_a_folder_lies_is_no_part_of_the_identity() -> None:
    here, there = IngestConfig(path="/here"), IngestConfig(path="/there")
    assert here.identity() == there.identity()
    assert (here.locations(), there.locations()) == ({"path": "/here"}, {"path": "/there"})
