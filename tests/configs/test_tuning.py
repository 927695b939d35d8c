"""Settings of the search: what decides its artifact, and what is refused."""

from typing import Any

import pytest
from pydantic import ValidationError

from taskdistill.configs.experiment import Experiment
from taskdistill.configs.tuning import TuneDistillConfig, TuneFinetuneConfig, TuningSettings


@pytest.mark.parametrize(
    "wrong",
    [{"budget": 2.0}, {"budget": 0.0}, {"alphas": (0.0,)}, {"alphas": (1.1,)}, {"learning_rates": ()}, {"folds": 1}],
)
def test_a_search_that_could_not_be_or_costs_two_trainings_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TuningSettings(**wrong)


def test_nothing_is_searched_unless_it_is_asked_for() -> None:
    assert Experiment().tuning.search == "none"


def test_what_a_stage_does_not_read_does_not_decide_its_artifact() -> None:
    tuning = TuningSettings(search="halving", folds=7)
    assert TuneDistillConfig(tuning=tuning).identity() == TuneDistillConfig().identity()


def test_weights_and_temperatures_are_nothing_to_finetuning() -> None:
    tuning = TuningSettings(alphas=(0.9,), temperatures=(9.0,))
    assert TuneFinetuneConfig(tuning=tuning).identity() == TuneFinetuneConfig().identity()
    assert TuneDistillConfig(tuning=tuning).identity() != TuneDistillConfig().identity()
