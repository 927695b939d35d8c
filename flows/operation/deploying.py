"""The deployments of flows/deployed/prefect.yaml, brought to the server by Prefect's own command.

What people change there stays. Prefect's command would start again what somebody has paused, and a schedule in the file
would replace those that were added in the UI; so it is given a copy, in which what is paused is paused, and what is
there already has no schedules. The version of a deployment says what it was made of: one that has it already is as it
should be, whatever database the server has by now.
"""

import hashlib
import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import prefect
import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.responses import DeploymentResponse

from taskdistill.flows.deployed.server import POOL, ServerError
from taskdistill.flows.operation.prefect_environment import inherited
from taskdistill.flows.operation.state import StateFolder
from taskdistill.storage.formats import PROGRAM
from taskdistill.storage.provenance import version_of

log = logging.getLogger(__name__)

WHICH = ("--all",)
LOOK_SECONDS = 0.2
MOST_SECONDS = 900.0
"""It takes half a minute on an idle machine, and is not to hang for ever on one that is none."""
_ROOT = Path(__file__).parents[2]
_PAGE = 200
_OUR_FLOWS = ("taskdistill.flows.deployed.", "flows.deployed.")
"""How their entry points begin; once without the name of the program."""


def deploy(
    client: SyncPrefectClient, folder: StateFolder, presets: Path | None, check: Callable[[], None] = lambda: None
) -> None:
    """Bring all deployments to the server, where they are not as they should be, and remove those of which nothing can
    be run any more; ServerError where Prefect's command fails.

    Forms offer the presets of a folder of one's own. `check` is called meanwhile: what it raises ends the command.
    """
    ours = our_deployments(client)
    existing = {each.name: each for each in ours}
    wanted = wanted_deployments(existing, presets)
    for each in outlived(ours, wanted):
        log.info("removing the deployment %s, which this version does not have", each.name)
        client.delete_deployment(each.id)
    if are_there(wanted, existing):
        return  # it takes a minute, and changes nothing
    folder.deployments.write_text(yaml.safe_dump(wanted, sort_keys=False))
    # By module, not by file: then runs may start in any folder.
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", *WHICH, "--prefect-file"]
    path = folder.fresh_log("deploy")
    with path.open("wb") as output:
        process = subprocess.Popen(
            [*command, str(folder.deployments)], cwd=folder.path, env=inherited({}), stdin=subprocess.DEVNULL,
            stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
        try:
            deadline = time.monotonic() + MOST_SECONDS
            while process.poll() is None and time.monotonic() < deadline:
                check()
                time.sleep(LOOK_SECONDS)
        finally:
            process.kill()
            process.wait()
    if process.returncode:
        last = "\n".join(path.read_text(errors="replace").strip().splitlines()[-8:])
        raise ServerError(f"the deployments could not be brought to the server. The end of {path}:\n{last}")


def wanted_deployments(existing: Mapping[str, DeploymentResponse], presets: Path | None) -> dict[str, Any]:
    """Return the list of deployments as it is to be applied to a server that has some, by name."""
    text = (files("taskdistill.flows.deployed") / "prefect.yaml").read_text(encoding="utf-8")
    wanted: dict[str, Any] = yaml.safe_load(text)
    version = _version(wanted["deployments"], presets)
    for deployment in wanted["deployments"]:
        deployment["version"] = version
        if found := existing.get(deployment["name"]):
            deployment["paused"] = found.paused
            deployment.pop("schedules", None)
    return wanted


def are_there(wanted: Mapping[str, Any], existing: Mapping[str, DeploymentResponse]) -> bool:
    """Whether a server has all that is wanted, made of the same."""
    return all(
        each["name"] in existing and existing[each["name"]].version == each["version"] for each in wanted["deployments"]
    )


def outlived(ours: Iterable[DeploymentResponse], wanted: Mapping[str, Any]) -> list[DeploymentResponse]:
    """Return the deployments of flows that an older version had: their runs would fail.

    A deployment that people made themselves, of a flow that is there, such as a copy of one of these, stays.
    """
    flows = {each["entrypoint"] for each in wanted["deployments"]}
    names = {each["name"] for each in wanted["deployments"]}
    return [
        each
        for each in ours
        if (each.entrypoint or "").startswith(_OUR_FLOWS) and each.entrypoint not in flows and each.name not in names
    ]


def _version(listed: list[dict[str, Any]], presets: Path | None) -> str:
    """Return a digest of all that deployments depend on: the list, the code that forms are made of, Prefect, and the
    presets.
    """
    names = sorted(path.name for path in presets.glob("*.yaml")) if presets else []
    code = [path for room in ("configs", "flows/deployed") for path in sorted((_ROOT / room).rglob("*"))]
    code += [*sorted((_ROOT / "flows").glob("*")), _ROOT / "tasks" / "catalog.py"]
    digest = hashlib.blake2b(json.dumps([listed, names]).encode(), digest_size=6)
    for path in [path for path in code if path.suffix in (".py", ".yaml")]:
        digest.update(path.read_bytes())
    return f"{version_of(PROGRAM)} {digest.hexdigest()}, Prefect {prefect.__version__}"


def our_deployments(client: SyncPrefectClient) -> list[DeploymentResponse]:
    """Return the deployments of our work pool, those that people made included."""
    found: list[Any] = []
    while page := client.read_deployments(limit=_PAGE, offset=len(found)):
        found += page
    return [each for each in found if each.work_pool_name == POOL]
