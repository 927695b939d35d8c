"""The flow that makes a part of an artifact: what a worker does for a run that dispatches its partitions to workers
(flows.deployed.fan_out).

It loads the network once, makes its partitions, and is done; it hands nothing on to others. The draft it writes to was
begun by the run that asks, in the same store.
"""

from typing import Any

from prefect import flow

from taskdistill.configs.runtime import RuntimeConfig
from taskdistill.flows.deployed.server import SPAN_FLOW
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.catalog import STAGES
from taskdistill.tasks.partitions import make_partitions, span_name
from taskdistill.tasks.prefect_task import progress, show_logs_in_ui
from taskdistill.tasks.turns import DEVICES, taking_turns


@flow(name=SPAN_FLOW, persist_result=False)
def span(
    stage: str, config: dict[str, Any], inputs: dict[str, str], wanted: str, numbers: list[int], runtime: RuntimeConfig
) -> int:
    """Make some partitions (shards, chunks) of an artifact that another run has begun; return how many were missing."""
    show_logs_in_ui()
    asked = next(known for known in STAGES if known.name == stage)
    store, ref = ArtifactStore.from_env(), ArtifactRef.parse(wanted)
    if ref in store:  # the run that asked is long done
        return 0
    with progress(f"{stage}-{span_name(numbers)}") as on_progress, taking_turns(store, DEVICES):
        return make_partitions(
            asked,
            asked.config_type.model_validate(config),
            {role: ArtifactRef.parse(source) for role, source in inputs.items()},
            numbers,
            wanted=ref,
            store=store,
            runtime=runtime,
            on_progress=on_progress,
        )
