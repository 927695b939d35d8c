"""The deployments of flows/deployed/prefect.yaml, brought to the server by Prefect's own command.

What people change there stays. Prefect's command would start again what somebody has paused, and a schedule in the file
would replace those that were added in the UI; so it is given a copy, in which what is paused is paused, and what is
there already has no schedules.
"""

import hashlib
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
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
from taskdistill.storage.files import read_json_if_whole, write_json

WHICH = ("--all",)
APPLIED = "applied.json"
"""In the state folder: what was applied last."""
LOOK_SECONDS = 0.2
MOST_SECONDS = 900.0
"""It takes half a minute on an idle machine, and is not to hang for ever on one that is none."""
_ROOT = Path(__file__).parents[2]
_PAGE = 200


def deploy(
    client: SyncPrefectClient, folder: StateFolder, presets: Path | None, check: Callable[[], None] = lambda: None
) -> None:
    """Bring all deployments to the server, where they are not as they should be; ServerError where Prefect's command
    fails.

    Forms offer the presets of a folder of one's own. `check` is called meanwhile: what it raises ends the command.
    """
    existing = {each.name: each for each in _deployments(client) if each.work_pool_name == POOL}
    wanted = wanted_deployments(existing)
    applied, state = folder.path / APPLIED, _state_of(wanted, presets)
    if read_json_if_whole(applied) == state and all(each["name"] in existing for each in wanted["deployments"]):
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
    write_json(applied, state)


def wanted_deployments(existing: Mapping[str, DeploymentResponse]) -> dict[str, Any]:
    """Return the list of deployments as it is to be applied to a server that has some, by name."""
    text = (files("taskdistill.flows.deployed") / "prefect.yaml").read_text(encoding="utf-8")
    wanted: dict[str, Any] = yaml.safe_load(text)
    for deployment in wanted["deployments"]:
        if found := existing.get(deployment["name"]):
            deployment["paused"] = found.paused
            deployment.pop("schedules", None)
    return wanted


def _state_of(wanted: dict[str, Any], presets: Path | None) -> dict[str, Any]:
    """Return all that deployments depend on: the list, the code that forms are made of, Prefect, and the presets."""
    # Without what people change by themselves, which is left as it is in any case.
    listed = [
        {key: value for key, value in each.items() if key not in ("paused", "schedules")}
        for each in wanted["deployments"]
    ]
    code = [path for room in ("configs", "flows/deployed") for path in sorted((_ROOT / room).rglob("*"))]
    code += [*sorted((_ROOT / "flows").glob("*")), _ROOT / "tasks" / "catalog.py"]
    digest = hashlib.blake2b(digest_size=16)
    for path in [path for path in code if path.suffix in (".py", ".yaml")]:
        digest.update(path.read_bytes())
    names = sorted(path.name for path in presets.glob("*.yaml")) if presets else []
    return {"deployments": listed, "code": digest.hexdigest(), "prefect": prefect.__version__, "presets": names}


def _deployments(client: SyncPrefectClient) -> list[DeploymentResponse]:
    found: list[Any] = []
    while page := client.read_deployments(limit=_PAGE, offset=len(found)):
        found += page
    return found
