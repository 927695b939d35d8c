"""The settings of a Prefect run: what it names, over what its deployment was served with.

Prefect replaces a parameter as a whole: a run, a schedule or an API call that names one setting of `experiment` would
lose the preset that the deployment was served with. So flows take `experiment` as it was sent, put it over the
deployment's, and validate the result, whose mistakes are then told in our words. A run that is retried after its
deployment was served anew takes what is served then, and says that it does.
"""

import logging
from collections.abc import Mapping
from typing import Any

from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
from prefect.exceptions import ObjectNotFound
from pydantic import SkipValidation

from configs.errors import SettingsError
from configs.experiment import Experiment
from configs.fields import Kind
from configs.loading import validated
from configs.merging import merged
from tasks.prefect_task import show_logs_in_ui

log = logging.getLogger(__name__)

PARAMETER = "experiment"

SentExperiment = SkipValidation[Experiment]
"""An Experiment in the form that the UI draws; a run is handed what was sent, which may be a part of one."""


def whole_experiment(sent: Experiment | Mapping[str, Any]) -> Experiment:
    """Return all settings of this run; SettingsError where they cannot be used."""
    if isinstance(sent, Experiment):
        return sent
    show_logs_in_ui()
    values = merged(_served(), sent, Kind(Experiment)) if isinstance(sent, Mapping) else sent
    if values != sent:
        log.info("settings that this run does not name are those its deployment is served with now")
    return validated(values, f"the parameter {PARAMETER!r}", f"{PARAMETER}.")


def _served() -> Mapping[str, Any]:
    """Return the experiment that this run's deployment was served with; nothing where there is none."""
    context = FlowRunContext.get()
    deployment_id = context.flow_run.deployment_id if context and context.flow_run else None
    if deployment_id is None:
        return {}
    try:
        with get_client(sync_client=True) as client:
            deployment = client.read_deployment(deployment_id)
    except ObjectNotFound:
        raise SettingsError(
            "the deployment of this run is gone, and with it the settings that the run does not name: start the run "
            "again from a deployment that is there"
        ) from None
    served: Mapping[str, Any] = deployment.parameters.get(PARAMETER, {})
    return served
