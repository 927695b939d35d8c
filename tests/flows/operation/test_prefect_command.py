"""Prefect's own commands, as README, OPERATING.md and `doctor` write them, in a shell that knows nothing of Prefect."""

import re
import shlex
import shutil
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.flows.local_server import Called, Served, command, until

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", ROOT / "OPERATING.md"]
COMMANDS = [
    line.partition("   #")[0].strip()
    for page in PAGES
    for block in re.findall(r"```bash\n(.*?)```", page.read_text(), re.DOTALL)
    for line in re.sub(r"\n  +", " ", block).splitlines()
    if re.search(r"\bprefect ", line)
]


def told(line: str, server: dict[str, str]) -> Called:
    """Do what a line says; all that is known is where the state is, which by default is in one's home."""
    program, *arguments = shlex.split(line)
    assert program == "taskdistill"
    return command(arguments, {name: server[name] for name in ("TASKDISTILL_HOME", "TASKDISTILL_STORE")})


@pytest.mark.parametrize("line", COMMANDS)
def test_a_documented_command_is_one_of_prefects_with_options_that_it_has(line: str) -> None:
    from prefect.cli._app import _app as prefect

    program, subcommand, *arguments = shlex.split(line.replace(" ID", f" {uuid4()}"))
    assert (program, subcommand) == ("taskdistill", "prefect")
    function, bound, _ = prefect.parse_args(arguments, exit_on_error=False, print_error=False)
    assert bound.arguments, function


def test_who_asks_for_a_server_that_does_not_run_is_told_how_to_start_it(tmp_path: Path) -> None:
    done = command(["prefect", "deployment", "ls"], {"TASKDISTILL_HOME": str(tmp_path)})
    assert done.code == 1
    assert "start one with 'taskdistill up'" in done.stderr


# --- at a server -------------------------------------------------------------------------------------------------


@pytest.mark.prefect
@pytest.mark.slow
def test_a_schedule_is_made_in_a_time_zone_with_parameters_of_its_own_and_cancels_what_is_new(
    server: dict[str, str], client: Any
) -> None:
    batch = client.read_deployment_by_name("batch/batch")
    assert batch.global_concurrency_limit.limit == 1
    assert batch.concurrency_options.collision_strategy == "CANCEL_NEW"
    for line in [each for each in COMMANDS if "schedule create" in each or "/schedules" in each]:
        done = told(line.replace("/ID/", f"/{batch.id}/"), server)
        assert done.code == 0, done.stderr
    schedules = client.read_deployment_by_name("batch/batch").schedules
    try:
        made = {each.schedule.cron: (each.schedule.timezone, each.parameters) for each in schedules}
        runs = [{"preset": "miniature"}, {"preset": "miniature", "seeds": [1], "epochs": 2}]
        assert made == {"0 3 * * *": ("Europe/Berlin", {}), "0 3 * * 1": ("Europe/Berlin", {"runs": runs})}
    finally:
        for each in schedules:
            client.delete_deployment_schedule(batch.id, each.id)


@pytest.mark.prefect
@pytest.mark.slow
def test_what_doctor_says_of_a_queue_that_is_paused_has_it_go_on(server: dict[str, str], client: Any) -> None:
    client.update_work_queue(client.read_work_queue_by_name("gpu", "taskdistill").id, is_paused=True)
    mends = [line.strip() for line in told("taskdistill doctor", server).stdout.splitlines()]
    (mend,) = [line for line in mends if line.startswith("taskdistill prefect")]
    assert told(mend, server).code == 0
    assert not client.read_work_queue_by_name("gpu", "taskdistill").is_paused


@pytest.mark.prefect
@pytest.mark.slow
def test_a_failed_run_is_retried_by_a_command(
    server: dict[str, str], served: Served, shapes_folder: Path, tmp_path: Path
) -> None:
    asked = {"preset": "four-epochs", "data_path": str(tmp_path / "shapes")}
    run_id = served.start("ingest/stage-ingest", asked)
    assert served.finish(run_id).state.name == "Failed"
    shutil.copytree(shapes_folder, tmp_path / "shapes")
    assert told(f"taskdistill prefect flow-run retry {run_id}", server).code == 0
    until(lambda: served.client.read_flow_run(run_id).run_count == 2, seconds=60, log=served.log)
    assert served.finish(run_id).state.name == "Completed"
