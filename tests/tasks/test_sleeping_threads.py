"""Threads of OpenMP that wait for each other sleep, whatever started the process: it must be set before torch loads."""

import os
import subprocess
import sys

import pytest

NOTES_THE_POLICY = """
import importlib.abc, os, sys
class Notes(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            print(os.environ.get("OMP_WAIT_POLICY"), os.environ.get("GOMP_SPINCOUNT"), os.environ.get("KMP_BLOCKTIME"))
            sys.stdout.flush()
            os._exit(0)
sys.meta_path.insert(0, Notes())
"""


def policy(starts: str, **environment: str) -> str:
    """What a process that starts so has set when it first imports torch."""
    unset = {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"}
    given = {name: value for name, value in os.environ.items() if name not in unset} | environment
    command = [sys.executable, "-c", NOTES_THE_POLICY + starts]
    return subprocess.run(command, env=given, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


@pytest.mark.parametrize(
    "starts",
    [
        "import taskdistill.flows.entry, taskdistill.flows.cli, taskdistill.tasks.models.trial",
        "import taskdistill.flows.pipeline.step_process, taskdistill.tasks.stages.distill",
        "import taskdistill.flows.deployed.distillation, taskdistill.tasks.models.trial",
        "import taskdistill.flows.operation.worker, taskdistill.tasks.models.trial",
        "import tests.conftest",
    ],
)
def test_it_is_set_before_torch_is_imported(starts: str) -> None:
    assert policy(starts) == "PASSIVE 0 0"


def test_what_the_user_has_set_stays() -> None:
    assert (
        policy("import taskdistill.flows.cli, taskdistill.tasks.models.trial", OMP_WAIT_POLICY="ACTIVE") == "ACTIVE 0 0"
    )
