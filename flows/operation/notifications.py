"""Telling people of runs that failed: an automation of Prefect's, and one of its notification blocks for each address.

A run that a worker hands back as it stops is Crashed for a moment, and goes on by itself. So the automation waits: only
of one that has not moved on meanwhile is anybody told. It looks at our runs alone, by the tag of our deployments.

An address is a web address, which is sent JSON with `text` and `subject` (what Mattermost, Google Chat and most chats
take), or one that Apprise knows, which is what Prefect sends with: Slack's https://hooks.slack.com/services/..., e-mail
as mailtos://USER:PASSWORD@SMTP-HOST?from=ME&to=YOU, and a hundred others. Prefect's block for Slack hands Apprise
whatever is not Slack's own.
"""

import logging
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit
from uuid import UUID, uuid4

from apprise import Apprise
from prefect.blocks.abstract import NotificationBlock
from prefect.blocks.notifications import CustomWebhookNotificationBlock, SlackWebhook
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import BlockDocument
from prefect.events.actions import SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.settings import PREFECT_API_AUTH_STRING
from pydantic import SecretStr

from taskdistill.configs.errors import SettingsError
from taskdistill.flows.deployed.server import OF_OURS, ServerError
from taskdistill.flows.operation.server_access import PORT, check_listener, check_password, check_server, log_in

AUTOMATION = "taskdistill: people are told of a run that failed"
BLOCK = "taskdistill-notify"
TEST = "taskdistill.notification-test"
"""An event that is nothing but a test."""
OF_SCHEDULES = ("prefect.tag.auto-scheduled",)
OF_ALL = ("prefect.tag.pipeline", "prefect.tag.stage", "prefect.tag.inference")
"""Not parts of runs, of which the run itself tells."""
STILL_SECONDS = 30.0
"""After the failure, until it is told: by then a run that was handed back is waiting to be taken up again."""
SEND_SECONDS = STILL_SECONDS + 120.0
"""For a test, which waits as well; the server looks every few seconds whether a wait is over, tries three times, and
writes down what became of it every few seconds.
"""
SENT = "sent"
_LOOK_SECONDS = 0.5
_PAGE = 50
"""As many as the server gives at once."""
_FAILURES = ("Failed", "Crashed", "TimedOut")
_MOVED_ON = (
    "AwaitingRetry", "Scheduled", "Late", "AwaitingConcurrencySlot", "Pending", "Submitting", "InfrastructurePending",
    "Running", "Retrying", "Paused", "Suspended", "Resuming", "Completed", "Cancelling", "Cancelled",
)  # fmt: skip
_SUBJECT = "{% if flow_run %}{{ flow_run.name }}: {{ flow_run.state.name }}{% else %}taskdistill: a test{% endif %}"
_BODY = (
    "{% if flow_run %}{{ flow_run.state.message }}\n\n"
    "The run {{ flow_run.name }} of {{ deployment.name }}: {{ flow_run|ui_url }}\n"
    "Retry, there, goes on where it was.{% else %}Runs that fail are told here.{% endif %}"
)


def block_of(address: str) -> NotificationBlock:
    """Return what sends to an address; SettingsError, which does not repeat it, where it is none."""
    parts = urlsplit(address)
    if parts.scheme in ("http", "https") and not re.fullmatch(r"hooks\.slack(-gov)?\.com", parts.hostname or ""):
        if not parts.hostname:
            raise SettingsError("the web address has no host")
        # Where the address is, is as good as a password: what is secret is shown to nobody.
        return CustomWebhookNotificationBlock(
            name=BLOCK, url="{{address}}", secrets={"address": address},
            json_data={"text": "{{subject}}\n{{body}}", "subject": "{{subject}}"},
        )  # fmt: skip
    if Apprise.instantiate(address, suppress_exceptions=True) is None:
        raise SettingsError(
            f"what begins with {parts.scheme or address[:4]!r} is no address that can be sent to: expected "
            "https://... of a webhook or of Slack, mailtos://USER:PASSWORD@SMTP-HOST?from=ME&to=YOU, or another "
            "address of Apprise (https://appriseit.com/services)"
        )
    return SlackWebhook(url=SecretStr(address), notify_type="failure")


def notify(port: int | None, addresses: Sequence[str], *, of: Sequence[str], is_tested: bool) -> None:
    """Have these addresses, and no others, told of our runs with one of these tags that fail, on the server in use.

    Raises ServerError where it cannot be reached, is another user's of this machine whose password was not given, or
    reaches not all of them when they are tested; SettingsError where one is no address.
    """
    logging.getLogger("apprise").setLevel(logging.CRITICAL)  # it repeats an address that is none, with its secrets
    url = log_in(port or PORT)
    if not PREFECT_API_AUTH_STRING.value():  # otherwise the user gave it for this server, or it is his own
        check_listener(url)
    check_server(url)
    check_password(url)
    with get_client(sync_client=True) as client:
        if not addresses:
            tell_nobody(client)
            return
        automation = tell(client, addresses, of=of)
        if is_tested:
            send_test(client, automation, len(addresses))


def tell(client: SyncPrefectClient, addresses: Sequence[str], *, of: Sequence[str]) -> UUID:
    """Have these addresses, and no others, told of our runs with one of these tags that fail; returns the automation.

    Raises SettingsError where one is none.
    """
    blocks = [block_of(address) for address in addresses]
    kept = [UUID(str(block.save(f"{BLOCK}-{number}", overwrite=True))) for number, block in enumerate(blocks, start=1)]
    automation = _put(client, automation_telling(kept, of))
    for document in _documents(client):
        if document.id not in kept:
            client.delete_block_document(document.id)
    return automation


def tell_nobody(client: SyncPrefectClient) -> None:
    """Take back what `tell` has done."""
    for automation in client.read_automations_by_name(AUTOMATION):
        client.delete_automation(automation.id)
    for document in list(_documents(client)):
        client.delete_block_document(document.id)


def send_test(client: SyncPrefectClient, automation: UUID, number: int) -> None:
    """Have the server send a test to each of so many addresses; ServerError where one of them was not reached."""
    began = datetime.now(UTC)
    resource = {"prefect.resource.id": f"prefect.flow-run.{uuid4()}"}
    related = [{"prefect.resource.id": tag, "prefect.resource.role": "tag"} for tag in (*OF_SCHEDULES, *OF_ALL)]
    related.append(OF_OURS)
    event = {"id": str(uuid4()), "occurred": began.isoformat(), "event": TEST, "payload": {}}
    client.request("POST", "/events", json=[event | {"resource": resource, "related": related}])
    deadline = time.monotonic() + SEND_SECONDS
    while len(told := _what_became(client, automation, began)) < number and time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)
    unheard = "no word from the server, whose log says why"
    outcomes = {place: told.get(place, unheard) for place in range(number)}
    if wrong := [f"  {place + 1}: {what}" for place, what in outcomes.items() if what != SENT]:
        raise ServerError("\n".join(["the server did not reach these addresses, by their place:", *wrong]))


def _what_became(client: SyncPrefectClient, automation: UUID, since: datetime) -> Mapping[int, str]:
    """Return number of the action -> what the server says of it, as far as it has."""
    asked = {
        "filter": {
            "occurred": {"since": (since - timedelta(seconds=1)).isoformat()},
            "event": {"name": ["prefect.automation.action.executed", "prefect.automation.action.failed"]},
            "resource": {"id": [f"prefect.automation.{automation}"]},
        },
        "limit": _PAGE,
    }
    events = client.request("POST", "/events/filter", json=asked).json()["events"]
    found = {}
    for event in events:
        payload = event["payload"]
        why = " ".join(str(payload.get(key, "")) for key in ("reason", "notification_log")).strip()
        found[int(payload["action_index"])] = SENT if event["event"].endswith("executed") else why
    return found


def automation_telling(blocks: Sequence[UUID], tags: Sequence[str]) -> AutomationCore:
    """Return what sends by these blocks, where a run of ours with one of these tags has failed and not moved on."""
    failures = {TEST, *(f"prefect.flow-run.{name}" for name in _FAILURES)}
    return AutomationCore(
        name=AUTOMATION,
        description="Made by 'taskdistill notify', which makes it anew.",
        trigger=EventTrigger(
            match={"prefect.resource.id": "prefect.flow-run.*"},
            match_related=[OF_OURS, {"prefect.resource.role": "tag", "prefect.resource.id": list(tags)}],
            for_each={"prefect.resource.id"},
            after=failures,
            # A failure as well: one that follows is waited for anew, and not forgotten with the first.
            expect={*failures, *(f"prefect.flow-run.{name}" for name in _MOVED_ON)},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=STILL_SECONDS),
        ),
        actions=[SendNotification(block_document_id=block, subject=_SUBJECT, body=_BODY) for block in blocks],
    )


def _put(client: SyncPrefectClient, wanted: AutomationCore) -> UUID:
    existing = client.read_automations_by_name(AUTOMATION)
    if not existing:
        return client.create_automation(wanted)
    client.update_automation(existing[0].id, wanted)
    return existing[0].id


def _documents(client: SyncPrefectClient) -> Iterator[BlockDocument]:
    """Yield the blocks that were made here."""
    found: list[BlockDocument] = []
    while page := client.read_block_documents(offset=len(found), limit=_PAGE, include_secrets=False):
        found += page
    yield from (each for each in found if each.name and re.fullmatch(rf"{BLOCK}-\d+", each.name))
