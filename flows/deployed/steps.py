"""The flow that does a whole step for a run elsewhere, which has workers do long steps (flows.deployed.whole_steps).

The artifact is that run's: its manifest says so.
"""

from typing import Any

from prefect import flow

from taskdistill.configs.runtime import RuntimeConfig
from taskdistill.flows.deployed.server import STEP_FLOW
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.catalog import STAGES
from taskdistill.tasks.prefect_task import progress, show_logs_in_ui
from taskdistill.tasks.stage import digests_of_wanted, execute
from taskdistill.tasks.turns import DEVICES, taking_turns


@flow(name=STEP_FLOW, persist_result=False)
def step(
    step_name: str,
    stage: str,
    config: dict[str, Any],
    inputs: dict[str, str],
    wanted: str,
    runtime: RuntimeConfig,
    noted: dict[str, Any],
) -> str:
    """Make the artifact of a step of another run, or what is missing of it; return its reference."""
    show_logs_in_ui()
    asked = next(known for known in STAGES if known.name == stage)
    store, settings = ArtifactStore.from_env(), asked.config_type.model_validate(config)
    sources = {role: ArtifactRef.parse(source) for role, source in inputs.items()}
    digests_of_wanted(ArtifactRef.parse(wanted), asked, settings, sources, store)
    named: dict[str, Any] = {"store": store, "runtime": runtime, "noted": noted}
    with progress(step_name) as on_progress, taking_turns(store, DEVICES):
        return str(execute(asked, settings, sources, on_progress=on_progress, **named))
