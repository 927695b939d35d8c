"""Names of mmsegmentation's heads in settings; mmsegmentation need not be there."""

import pytest
from pydantic import ValidationError

from taskdistill.configs.stages import ProbeConfig, ProbeSettings


def test_a_head_that_needs_compiled_operators_is_refused_with_those_that_do_not() -> None:
    with pytest.raises(ValidationError, match=r"'CCHead' cannot be used.*compiled operators.*did you mean 'GCHead'"):
        ProbeSettings(head="mmseg:CCHead")


def test_a_source_of_heads_that_is_not_known_is_refused_with_those_that_are() -> None:
    with pytest.raises(ValidationError, match=r"unknown head 'mmdet:FCNHead'.*mmseg:NAME"):
        ProbeSettings(head="mmdet:FCNHead")


def test_only_a_problem_with_maps_takes_them() -> None:
    probe = ProbeSettings(head="mmseg:FCNHead")
    assert ProbeConfig(problem="segmentation", probe=probe).probe.head == "mmseg:FCNHead"
    with pytest.raises(ValidationError, match="the problem 'classification' does not have"):
        ProbeConfig(problem="classification", probe=probe)
