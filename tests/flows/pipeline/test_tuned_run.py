"""A run whose settings choose themselves, from the plan to the line under the table."""

import pytest

from taskdistill.configs.experiment import Experiment
from taskdistill.configs.training import TrainingSettings
from taskdistill.configs.tuning import TuningSettings
from taskdistill.flows.pipeline.planning import make_plan
from taskdistill.flows.pipeline.running import run_plan
from taskdistill.flows.reports.remarks import remarks
from taskdistill.storage.summaries import ModelSummary, SettingsSummary
from tests.conftest import Bench
from tests.flows.conftest import call, quietly

pytestmark = pytest.mark.usefixtures("bare_pictures")


def test_a_tuned_run_says_what_it_chose_and_trains_with_it(bench: Bench, experiment: Experiment) -> None:
    store = bench.store
    # Finetuning has the default alone, distillation one other temperature.
    lists = {"learning_rates": (1e-3,), "alphas": (0.75,), "temperatures": (2.0, 2.5)}
    tuning = TuningSettings(search="halving", folds=2, budget=1.9, min_steps=4, **lists)
    training = TrainingSettings(epochs=12, batch_size=8, learning_rate=1e-3)
    tuned = experiment.model_copy(update={"tuning": tuning, "training": training})
    planned = {step.name: step for step in make_plan(tuned, store).steps}
    assert planned["tune-distill"].num_bytes
    results, done = run_plan(tuned, store, quietly(tuned, store))
    assert [row["action"] for row in done if row["name"].startswith("tune-")] == ["built", "built"]

    summary = SettingsSummary.of(store.manifest(planned["tune-distill"].ref))
    assert summary.held_out == "36 training and validation images in 2 of 2 folds"
    assert (summary.candidates, summary.steps_of_training) == (2, 36)
    assert summary.cost < 2
    [distilled] = [ModelSummary.of(store.manifest(one.artifact)) for one in results if one.model == "student distilled"]
    used = {name: getattr(distilled, name) for name in ("learning_rate", "alpha", "temperature")}
    assert used == summary.chosen
    assert remarks(results, store)[-1].startswith("Settings chosen on held-out images. student finetuned: ")
    assert make_plan(tuned, store).is_complete

    shown = call(store, "show", planned["tune-distill"].ref.short)
    assert shown.code == 0
    assert "temperature" in shown.stdout.partition("Trials:")[2].splitlines()[2]
