"""What plan knows of timm's names: every model passes, what is none is told with those near it."""

import pytest
import timm

import taskdistill.tasks.models  # noqa: F401  makes torchvision importable for timm
from taskdistill.configs.models import Backbone
from taskdistill.tasks.prechecks.timm_names import UnknownModelError, check_name


def test_no_model_of_timm_is_refused() -> None:
    for name in timm.list_models():
        check_name(Backbone(name=name, weights="random"))


def test_no_pretrained_weights_of_timm_are_refused() -> None:
    for name in timm.list_pretrained():
        check_name(Backbone(name=name, weights="hub"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet_50", "timm has no model 'resnet_50'; did you mean 'resnet50'"),
        ("resnet50.nosuch_in1k", "timm's resnet50 has no weights 'nosuch_in1k'.*a1_in1k"),
        ("", "timm has no model ''"),
        (".a1_in1k", "timm has no model '.a1_in1k'"),
        ("resnet50", r"'resnet50' does not say which weights: write resnet50.TAG .*a1_in1k"),
    ],
)
def test_a_name_that_is_none_is_told_with_those_near_it(name: str, message: str) -> None:
    with pytest.raises(UnknownModelError, match=message):
        check_name(Backbone(name=name, weights="hub"))
