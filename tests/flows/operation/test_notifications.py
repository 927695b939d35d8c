"""Who is told of a scheduled run that failed: by the server, at a web server and a mail server of this machine."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect import flow
from prefect.blocks.notifications import CustomWebhookNotificationBlock, SlackWebhook
from prefect.server.events.schemas.automations import EventTrigger
from prefect.server.events.schemas.events import ReceivedEvent
from prefect.states import AwaitingRetry, Crashed, Failed, Pending

from taskdistill.configs.errors import SettingsError
from taskdistill.flows.operation.notifications import AUTOMATION, OF_ALL, OF_SCHEDULES, automation_telling, block_of
from taskdistill.flows.operation.pool import of_silent_runs
from tests.flows.local_server import QUIET, Called, Served, until
from tests.flows.sinks import Sink, mail_sink, web_sink

# Apprise imports it with its plugins for e-mail.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")


def notify(addresses: str, environment: Mapping[str, str], *options: str) -> Called:
    """Call the command, with addresses as what is typed or piped in."""
    done = subprocess.run(
        [sys.executable, "-m", "taskdistill.flows.cli", "notify", *options], input=addresses, text=True,
        capture_output=True,
        env={key: text for key, text in os.environ.items() if not key.startswith("PREFECT_")} | QUIET | environment,
        timeout=300, check=False,
    )  # fmt: skip
    return Called(done.returncode, done.stdout, done.stderr)


# --- addresses ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "https://hooks.slack.com/services/T00000000/B00000000/abcdefghijklmnopqrstuvwx",
        "https://hooks.slack-gov.com/services/T00000000/B00000000/abcdefghijklmnopqrstuvwx",
        "mailtos://me:secret@smtp.example.org?from=me@example.org&to=you@example.org",
        "tgram://123456789:abcdefg_hijklmnop/12315544/",
    ],
)
def test_slack_mail_and_other_services_are_sent_to_by_prefects_block_for_them(address: str):
    assert isinstance(block_of(address), SlackWebhook)


@pytest.mark.parametrize("address", ["https://chat.example.org/hooks/secret", "http://127.0.0.1:8080"])
def test_any_other_web_address_is_a_webhook_whose_address_is_kept_as_a_secret(address: str):
    block = block_of(address)
    assert isinstance(block, CustomWebhookNotificationBlock)
    assert block.secrets.get_secret_value() == {"address": address}
    assert address not in block.model_dump_json()


@pytest.mark.parametrize("address", ["nonsense:secret", "https:///secret", "mailto://", "you@example.org/secret"])
def test_what_is_no_address_is_refused_and_not_repeated(address: str):
    with pytest.raises(SettingsError, match="address") as caught:
        block_of(address)
    assert "secret" not in str(caught.value)


def test_without_an_address_nothing_is_changed_and_the_way_to_stop_is_named(tmp_path: Path):
    done = notify(" \n", {"TASKDISTILL_HOME": str(tmp_path)})
    assert (done.code, done.stderr) == (1, "error: no address was given: type or pipe one in, or say --off\n")


# --- whose runs are looked at -------------------------------------------------------------------------------------


def covers(automation: Any, event: str, *tags: str) -> bool:
    """Whether the server takes what happens to a run with these tags for something that the automation looks at."""
    trigger = EventTrigger.model_validate(automation.trigger.model_dump(mode="json"))
    related = [{"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{tag}"} for tag in tags]
    resource = {"prefect.resource.id": f"prefect.flow-run.{uuid4()}"}
    name = f"prefect.flow-run.{event}"
    return trigger.covers(
        ReceivedEvent(id=uuid4(), occurred=datetime.now(UTC), event=name, resource=resource, related=related)
    )


def test_people_are_told_of_scheduled_runs_of_this_project_alone():
    automation = automation_telling([uuid4()], OF_SCHEDULES)
    assert covers(automation, "Failed", "auto-scheduled", "taskdistill", "batch")
    assert covers(automation, "Crashed", "taskdistill", "auto-scheduled")
    assert not covers(automation, "Failed", "auto-scheduled", "another-project")
    assert not covers(automation, "Failed", "taskdistill", "pipeline")


@pytest.mark.parametrize("kind", ["pipeline", "stage", "inference"])
def test_with_all_they_are_told_of_every_run_that_is_no_part_of_another(kind: str):
    automation = automation_telling([uuid4()], OF_ALL)
    assert covers(automation, "Failed", "taskdistill", kind)
    assert not covers(automation, "Failed", kind)
    assert not covers(automation, "Failed", "taskdistill", "part")


def test_silent_runs_of_other_projects_are_not_ended():
    assert covers(of_silent_runs(), "heartbeat", "taskdistill", "pipeline")
    assert not covers(of_silent_runs(), "heartbeat", "pipeline")


# --- a run that fails --------------------------------------------------------------------------------------------


@pytest.fixture
def web() -> Iterator[Sink]:
    with web_sink() as sink:
        yield sink


@pytest.fixture
def mail() -> Iterator[Sink]:
    with mail_sink() as sink:
        yield sink


def ended(served: Served, state: Any, tags: list[str]) -> UUID:
    """A run that nobody takes up, and that ends so."""
    run_id: UUID = served.client.create_flow_run(flow(lambda: None, name="ended"), tags=tags, state=Pending()).id
    served.client.set_flow_run_state(run_id, state, force=True)
    return run_id


@pytest.mark.nightly
@pytest.mark.prefect
@pytest.mark.slow
def test_a_scheduled_run_that_fails_is_told_at_a_webhook_and_by_mail_and_one_that_a_person_started_is_not(
    server: dict[str, str], served: Served, web: Sink, mail: Sink
) -> None:
    from prefect.client.schemas.schedules import IntervalSchedule

    addresses = (
        f"http://127.0.0.1:{web.port}/hook\nmailto://127.0.0.1:{mail.port}?from=me@example.org&to=you@example.org"
    )
    done = notify(addresses, server, "--test")
    assert done.code == 0, done.stderr
    assert done.stdout == (
        "2 addresses are told of taskdistill's runs of schedules that failed and are still so 30 s later: one that is "
        "handed back goes on by itself\n"
    )
    assert [each["subject"] for each in web.sent] == ["taskdistill: a test"]
    assert ["Subject: taskdistill: a test" in each for each in mail.sent] == [True]

    others = ended(served, Failed(message="of another project"), tags=["auto-scheduled"])
    handed_back = ended(served, Crashed(message="its worker was stopped"), tags=["auto-scheduled", "taskdistill"])
    served.client.set_flow_run_state(handed_back, AwaitingRetry(), force=True)

    wrong = {"data_path": "/no/such/folder"}
    by_hand = served.finish(served.start("ingest/stage-ingest", wrong))
    assert by_hand.state.name == "Failed"
    deployment = served.client.read_deployment_by_name("ingest/stage-ingest")
    soon = IntervalSchedule(interval=timedelta(seconds=30))
    route = f"/deployments/{deployment.id}/schedules"
    schedule = {"schedule": soon.model_dump(mode="json"), "active": True, "parameters": wrong}
    (made,) = served.client.request("POST", route, json=[schedule]).json()

    until(lambda: len(web.sent) > 1 and len(mail.sent) > 1, seconds=300, log=served.log)
    served.client.delete_deployment_schedule(deployment.id, made["id"])
    told = web.sent[1]["text"]
    assert web.sent[1]["subject"].endswith(": Failed")
    assert "data.path is '/no/such/folder'" in told
    assert "of stage-ingest: " + server["PREFECT_API_URL"].removesuffix("/api") in told
    assert len(web.sent) == 2  # the others failed earlier, and would have been told of by now
    assert not any(str(run) in json.dumps(web.sent) for run in (by_hand.id, others, handed_back))
    assert "To: you@example.org" in mail.sent[1]

    assert notify("", server, "--off").stdout == "nobody is told any more\n"
    assert served.client.read_automations_by_name(AUTOMATION) == []


@pytest.mark.nightly
@pytest.mark.prefect
@pytest.mark.slow
def test_the_next_addresses_take_the_place_of_the_last_and_one_that_is_not_reached_is_said(
    server: dict[str, str], client: Any
) -> None:
    with web_sink(status=500) as broken:
        assert notify(f"json://127.0.0.1:{broken.port} json://127.0.0.1:{broken.port}", server, "--all").code == 0
        done = notify(f"json://127.0.0.1:{broken.port}", server, "--test")
    assert done.code == 1
    assert "1: Notification failed" in done.stderr
    assert "error=500" in done.stderr
    (automation,) = client.read_automations_by_name(AUTOMATION)
    assert len(automation.actions) == 1
    blocks = client.read_block_documents(include_secrets=False)
    assert [each.name for each in blocks if each.name] == ["taskdistill-notify-1"]
    assert notify("", server, "--off").code == 0
