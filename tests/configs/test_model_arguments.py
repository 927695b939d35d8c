"""Arguments of a model are its own: nothing in them loads a file or sets what the program sets."""

import pytest
from pydantic import ValidationError

from taskdistill.configs.model_arguments import RESERVED
from taskdistill.configs.models import Backbone


@pytest.mark.parametrize(
    "name", ["checkpoint_path", "pretrained", "pretrained_cfg_overlay", "cache_dir", "features_only"]
)
def test_what_is_not_the_models_own_is_refused_by_name(name: str) -> None:
    with pytest.raises(ValidationError, match=f"'{name}' is no argument of the model itself"):
        Backbone(arguments={name: "x"})


def test_the_refusal_says_which_setting_to_use_instead() -> None:
    with pytest.raises(ValidationError, match=r"'drop_path_rate' .*: set training\.drop_path or teacher_finetuning"):
        Backbone(arguments={"drop_path_rate": 0.1})


@pytest.mark.parametrize(
    "value", ["/tmp/w.pth", "https://example.org/w", "..\\w", {"file": "../w"}, [{"a": ["models/w"]}]]
)
def test_an_argument_that_names_a_file_or_address_is_refused(value: object) -> None:
    with pytest.raises(ValidationError, match="'norm_layer' names a file or an address"):
        Backbone.model_validate({"arguments": {"norm_layer": value}})


@pytest.mark.parametrize("name", ["hf-hub:timm/resnet18", "local-dir:/models", "../resnet18", "timm/resnet18.a1_in1k"])
def test_a_name_that_is_a_place_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="is a place, not a name that timm knows"):
        Backbone(name=name)


def test_the_models_own_arguments_pass() -> None:
    own = {"pad_type": "same", "patch_size": 8, "global_pool": "avg", "init_values": 1e-5, "img_size": [64, 64]}
    assert Backbone.model_validate({"arguments": own}).arguments == own


def test_everything_timms_own_functions_take_is_on_the_list() -> None:
    """The list is written out, as settings are checked without timm; here it is compared with the installed one."""
    import inspect

    import taskdistill.tasks.models  # noqa: F401  # makes torchvision importable

    # isort: split
    import timm
    from timm.models import build_model_with_cfg

    taken = {*inspect.signature(timm.create_model).parameters, *inspect.signature(build_model_with_cfg).parameters}
    assert taken - RESERVED["timm"].keys() == set()
