"""Which deployments are brought to a server, and which are removed from it."""

from pathlib import Path
from typing import Any
from uuid import uuid4

from prefect.client.schemas.responses import DeploymentResponse

from taskdistill.flows.operation.deploying import are_there, outlived, wanted_deployments


def deployment(name: str, entrypoint: str | None, version: str = "") -> DeploymentResponse:
    return DeploymentResponse(id=uuid4(), flow_id=uuid4(), name=name, entrypoint=entrypoint, version=version)


def on_a_server(wanted: dict[str, Any]) -> dict[str, DeploymentResponse]:
    """What a server has to which all was brought."""
    return {
        each["name"]: deployment(each["name"], each["entrypoint"], each["version"]) for each in wanted["deployments"]
    }


def test_what_a_server_has_is_not_brought_to_it_again_and_another_server_has_nothing() -> None:
    wanted = wanted_deployments({}, None)
    there = on_a_server(wanted)
    assert are_there(wanted, there)
    assert not are_there(wanted, {})
    del there["step"]
    assert not are_there(wanted, there)


def test_other_presets_make_other_forms(tmp_path: Path) -> None:
    there = on_a_server(wanted_deployments({}, None))
    (tmp_path / "mine.yaml").write_text("{}")
    assert not are_there(wanted_deployments(there, tmp_path), there)


def test_what_is_paused_stays_so_and_is_not_brought_again_for_it() -> None:
    there = on_a_server(wanted_deployments({}, None))
    there["batch"].paused = True
    wanted = wanted_deployments(there, None)
    assert [each["name"] for each in wanted["deployments"] if each["paused"]] == ["batch"]
    assert are_there(wanted, there)


def test_a_deployment_whose_flow_is_gone_is_removed_and_those_that_people_made_stay() -> None:
    wanted = wanted_deployments({}, None)
    flows = "taskdistill.flows.deployed"
    gone = [
        deployment("stage-dream", f"{flows}.single_stage.dream"),
        deployment("serve", "flows.deployed.serving.serve"),
    ]
    stay = [
        deployment("batch", "flows.deployed.batch.batch"),  # of an older version, which is brought anew
        deployment("nightly", f"{flows}.batch.batch"),
        deployment("of others", "their/flows.py:flow"),
        deployment("without", None),
    ]
    assert outlived([*gone, *stay], wanted) == gone
