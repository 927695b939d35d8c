"""One Prefect flow for each stage: it does the steps of that stage and nothing else.

What the steps need must be in the store; `inputs` names others by role, such as {"logits": "my-teacher-logits"}.
`experiment` may name some settings only: the others are those the deployment was served with.
"""

from typing import Any

from prefect import Flow, flow
from prefect.client.schemas.objects import State

from configs.experiment import Experiment
from flows.deployed.served_settings import SentExperiment, whole_experiment
from flows.deployed.shown import ShownRun
from flows.pipeline.running import run_steps
from storage.store import ArtifactStore
from tasks.catalog import STAGES
from tasks.stage import Stage


def _flow_of(stage: Stage[Any]) -> Flow[..., State[list[str]]]:
    def run(experiment: SentExperiment = Experiment(), inputs: dict[str, str] = {}) -> State[list[str]]:  # noqa: B006, B008
        store, settings = ArtifactStore.from_env(), whole_experiment(experiment)
        given = {role: store.resolve(text) for role, text in inputs.items()}
        with ShownRun(settings, store) as shown:
            made = run_steps(settings, stage.name, store, shown.show, inputs=given, asked_by=shown.asked_by)
        return shown.completed([str(ref) for ref in made])

    roles = {**stage.inputs, **stage.optional_inputs}
    run.__name__ = run.__qualname__ = stage.name.replace("-", "_")
    run.__doc__ = f"{stage.config_type.__doc__}\n\nInputs: {', '.join(roles) or 'none'}; each a label or reference."
    return flow(name=stage.name, persist_result=False)(run)


FLOWS = {stage.name: _flow_of(stage) for stage in STAGES}

# Prefect finds a flow as an attribute of its module: flows.deployed.single_stage.precompute_images.
globals().update({flow.fn.__name__: flow for flow in FLOWS.values()})
