"""One Prefect flow for each stage: it does the steps of that stage and nothing else.

What the steps need must be in the store; `inputs` names others, such as logits=my-teacher-logits.
"""

from collections.abc import Iterable
from typing import Any

from prefect import Flow, flow
from prefect.client.schemas.objects import State

from taskdistill.configs.errors import SettingsError
from taskdistill.flows.deployed.birds import draw_birds
from taskdistill.flows.deployed.forms import taking
from taskdistill.flows.deployed.short_form import StageForm, experiment_of, filled_in
from taskdistill.flows.deployed.shown import ShownRun
from taskdistill.flows.pipeline.running import run_steps
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.catalog import STAGES
from taskdistill.tasks.prefect_task import show_logs_in_ui
from taskdistill.tasks.stage import Stage


def _flow_of(stage: Stage[Any]) -> Flow[..., State[list[str]]]:
    roles = {**stage.inputs, **stage.optional_inputs}

    def run(**sent: Any) -> State[list[str]]:
        show_logs_in_ui()
        form = filled_in(StageForm, sent)
        store, experiment = ArtifactStore.from_env(), experiment_of(form)
        draw_birds(experiment)
        synthetic = store.resolve(form.synthetic, "image-set") if form.synthetic else None
        given: dict[str, Any] = {"inputs": _given(form.inputs, store), "synthetic": synthetic}
        with ShownRun(experiment, store) as shown:
            given |= {"asked_by": shown.asked_by, "elsewhere": shown.elsewhere}
            made = run_steps(experiment, stage.name, store, shown.show, **given)
        return shown.completed([str(ref) for ref in made])

    run.__name__ = run.__qualname__ = stage.name.replace("-", "_")
    run.__doc__ = f"{stage.config_type.__doc__}\n\nInputs: {', '.join(roles) or 'none'}; each a label or reference."
    return flow(name=stage.name, persist_result=False)(taking(StageForm, roles)(run))


def _given(lines: Iterable[str], store: ArtifactStore) -> dict[str, ArtifactRef]:
    given = {}
    for line in lines:
        role, equals, name = line.partition("=")
        if not equals:
            raise SettingsError(f"inputs: {line!r} is no line role=artifact, such as logits=logits@3f9c12ab")
        given[role.strip()] = store.resolve(name.strip())
    return given


FLOWS = {stage.name: _flow_of(stage) for stage in STAGES}

# Prefect finds a flow as an attribute of its module: flows.deployed.single_stage.precompute_images.
globals().update({flow.fn.__name__: flow for flow in FLOWS.values()})
