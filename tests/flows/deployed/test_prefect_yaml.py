"""The one list of deployments: nothing is missing in it, and each entry can be loaded from any folder."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.cli.deploy._models import PrefectYamlModel
from prefect.flows import load_flow_from_entrypoint

from taskdistill.flows.deployed.server import GPU_QUEUE, POOL, TAG
from taskdistill.tasks.catalog import STAGES

ROOT = Path(__file__).parents[3]
LIST = ROOT / "flows" / "deployed" / "prefect.yaml"
DEPLOYMENTS: list[dict[str, Any]] = yaml.safe_load(LIST.read_text())["deployments"]


def test_the_roots_list_is_the_one_that_is_installed() -> None:
    assert (ROOT / "prefect.yaml").resolve() == LIST


def test_prefect_understands_all_of_it() -> None:
    """A list with a mistake is skipped by Prefect's command with a warning."""
    model = PrefectYamlModel.model_validate(yaml.safe_load(LIST.read_text()))
    assert len(model.deployments) == len(DEPLOYMENTS)
    assert model.pull == []


def test_the_pipeline_each_stage_a_batch_and_the_parts_of_spread_stages_are_offered() -> None:
    whole = ["distillation", "distillation-all-settings", "study", "batch", "predict", "span", "step"]
    wanted = [*whole, *(f"stage-{each.name}" for each in STAGES)]
    assert sorted(each["name"] for each in DEPLOYMENTS) == sorted(wanted)


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda each: each["name"])
def test_a_deployment_says_what_comes_out_and_loads_its_flow_from_any_folder(
    deployment: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    flow = load_flow_from_entrypoint(deployment["entrypoint"], use_placeholder_flow=False)
    is_stage = flow.name in {stage.name for stage in STAGES}
    assert deployment["name"] == (f"stage-{flow.name}" if is_stage else flow.name)
    assert len(deployment["description"].split()) > 15
    assert deployment["tags"][0] == TAG
    queue = GPU_QUEUE if deployment["tags"] == [TAG, "part"] else "cpu"
    assert deployment["work_pool"] == {"name": POOL, "work_queue_name": queue}


def test_no_schedule_is_in_the_list_as_it_would_replace_those_that_people_added() -> None:
    assert [each["name"] for each in DEPLOYMENTS if "schedules" in each or "schedule" in each] == []


def test_what_is_made_for_schedules_goes_on_once_and_what_is_due_meanwhile_is_cancelled() -> None:
    limits = {each["name"]: each["concurrency_limit"] for each in DEPLOYMENTS if "concurrency_limit" in each}
    assert limits == {name: {"limit": 1, "collision_strategy": "CANCEL_NEW"} for name in ("batch", "predict")}
