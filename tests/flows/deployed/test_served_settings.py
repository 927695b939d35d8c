"""A run that names some settings keeps the others its deployment was served with."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from configs.errors import SettingsError
from configs.experiment import Experiment
from flows.pipeline.planning import make_plan
from flows.pipeline.running import experiment_settings_of
from storage.store import ArtifactStore


def test_an_experiment_is_taken_as_it_is(experiment: Experiment) -> None:
    from flows.deployed.served_settings import whole_experiment

    assert whole_experiment(experiment) is experiment


def test_outside_of_a_deployment_a_part_is_filled_up_with_the_defaults() -> None:
    from flows.deployed.served_settings import whole_experiment

    assert whole_experiment({"teacher_finetuning": {"epochs": 3}}).teacher_finetuning.learning_rate == 1e-4
    assert whole_experiment({}) == Experiment()


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({"distill": {"alpha": 2}}, "experiment.distill.alpha: expected a number from 0 to 1, found 2"),
        ({"distil": {}}, "unknown setting 'experiment.distil'; did you mean 'distill'?"),
        ("small-cpu", "expected a section with the settings schema, name"),
        (None, "expected a section with the settings schema, name"),
    ],
)
def test_a_mistake_is_said_in_our_words_with_the_name_of_the_parameter(sent: Any, said: str) -> None:
    from flows.deployed.served_settings import whole_experiment

    with pytest.raises(SettingsError, match="the parameter 'experiment' cannot be used") as caught:
        whole_experiment(sent)
    assert said in str(caught.value)


@pytest.mark.parametrize("name", ["distillation", "ingest", "distill"])
def test_a_flow_takes_a_part_of_an_experiment_and_its_form_shows_all_of_one(name: str) -> None:
    from flows.deployed.distillation import distillation
    from flows.deployed.single_stage import FLOWS

    flow = {"distillation": distillation, **FLOWS}[name]
    part = {"experiment": {"seeds": [1]}}
    assert flow.validate_parameters(part)["experiment"] == {"seeds": [1]}
    form = flow.parameters.model_dump()["properties"]["experiment"]
    assert form["default"] == json.loads(json.dumps(Experiment().model_dump(mode="json", by_alias=True)))
    assert form["properties"].keys() == Experiment.model_json_schema()["properties"].keys()


PART = {"experiment": {"data": {"max_side_px": 64}}}


def by_hand(client: Any, flow: Any, preset: dict[str, Any]) -> Any:
    """Start a run of a served preset that names one setting, as the API and the form do."""
    from prefect.deployments.runner import RunnerDeployment

    deployed = RunnerDeployment.from_flow(flow, "by-hand", parameters={"experiment": preset}).apply()
    return client.create_flow_run_from_deployment(deployed, parameters=PART)


def by_a_schedule(client: Any, flow: Any, preset: dict[str, Any]) -> Any:
    """Serve a preset with a schedule that names one setting; returns its first run."""
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
    from prefect.deployments.runner import RunnerDeployment
    from prefect.schedules import Interval

    hourly = Interval(3600, parameters=PART)
    deployed = RunnerDeployment.from_flow(
        flow, "scheduled", parameters={"experiment": preset}, schedules=[hourly]
    ).apply()
    chosen = DeploymentFilter(id=DeploymentFilterId(any_=[deployed]))
    deadline = time.monotonic() + 60
    while not (runs := client.read_flow_runs(deployment_filter=chosen, limit=1)):
        assert time.monotonic() < deadline, "the server scheduled nothing"
        time.sleep(0.5)
    return runs[0]


@pytest.mark.prefect
@pytest.mark.slow
@pytest.mark.parametrize("start", [by_hand, by_a_schedule])
def test_a_run_of_a_served_preset_that_names_one_setting_does_what_the_preset_says_but_for_it(
    client: Any,
    experiment: Experiment,
    store: ArtifactStore,
    start: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from prefect.flow_engine import run_flow
    from prefect.states import Pending

    from flows.deployed.single_stage import FLOWS

    monkeypatch.setenv("TASKDISTILL_STORE", str(store.root))
    preset = experiment_settings_of(experiment)
    run = start(client, FLOWS["ingest"], preset)
    assert run.parameters["experiment"] == PART["experiment"]  # Prefect itself keeps nothing of the preset
    client.set_flow_run_state(run.id, Pending(), force=True)
    state = run_flow(FLOWS["ingest"], flow_run=run, parameters=run.parameters, return_type="state")
    assert state.is_completed(), state.message

    data = experiment.data.model_copy(update={"max_side_px": 64})
    wanted = make_plan(experiment.model_copy(update={"data": data}), store).steps[0]
    assert store.references() == [wanted.ref]
    settings = store.manifest(wanted.ref).provenance["settings"]
    assert settings == preset | {"data": preset["data"] | {"max_side_px": 64}}


@pytest.mark.prefect
@pytest.mark.slow
def test_a_run_whose_deployment_is_gone_says_so_and_does_not_run_on_defaults(
    client: Any, experiment: Experiment
) -> None:
    from prefect.deployments.runner import RunnerDeployment
    from prefect.flow_engine import run_flow
    from prefect.states import Pending

    from flows.deployed.single_stage import FLOWS

    parameters = {"experiment": experiment_settings_of(experiment)}
    deployed = RunnerDeployment.from_flow(FLOWS["ingest"], "short-lived", parameters=parameters).apply()
    run = client.create_flow_run_from_deployment(deployed, parameters={"experiment": {"seeds": [1]}})
    client.set_flow_run_state(run.id, Pending())  # runs that nobody took up are deleted with their deployment
    client.delete_deployment(deployed)
    state = run_flow(FLOWS["ingest"], flow_run=run, parameters=run.parameters, return_type="state")
    assert state.is_failed()
    assert "the deployment of this run is gone" in state.message
