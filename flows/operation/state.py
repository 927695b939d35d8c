"""The folder of a machine's server: what was started, the password, the server's database, and what each process said.

    lock               flock held by the `up` that runs: the kernel frees it at any death
    state.json         what it started: processes, port, store
    prefect/           Prefect's own: database and password (PREFECT_HOME, where that is not set already)
    prefect.yaml       the deployments as they were last applied
    server.log ...     one of each process; that of the time before ends in .1

It holds nothing of value but the history of runs: what was made lies in the store.
"""

import json
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self

from taskdistill.configs.errors import SettingsError
from taskdistill.flows.operation.processes import Process
from taskdistill.flows.presets import HOME
from taskdistill.storage.files import read_json_if_whole, write_json
from taskdistill.storage.locks import is_free, take

FOR_OWNER = 0o600
"""Of files. The folder is closed, but a copy of it, or one that was opened by hand, would show what is in it."""
OTHERS = stat.S_IRWXG | stat.S_IRWXO


class Running(NamedTuple):
    """What an `up` has started."""

    up: Process
    port: int
    store: str
    on_stop: str
    presets: str
    """The folder of presets of one's own; "" without."""
    children: dict[str, Process]
    is_ready: bool
    """Whether all of it answers."""

    @classmethod
    def read(cls, value: Any) -> Self:
        children = {name: Process(*process) for name, process in value["children"].items()}
        return cls(**value | {"up": Process(*value["up"]), "children": children})

    @property
    def url(self) -> str:
        """Where the API is."""
        return f"http://127.0.0.1:{self.port}/api"

    @property
    def page(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class StateFolder:
    """A state folder; it need not be there yet."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path).expanduser().absolute()

    @property
    def prefect_home(self) -> Path:
        return self.path / "prefect"

    @property
    def deployments(self) -> Path:
        return self.path / "prefect.yaml"

    def log(self, name: str) -> Path:
        return self.path / f"{name}.log"

    def make(self) -> None:
        """Make the folder, or close it, for its owner alone: the database holds the addresses that are told of
        failures, and logs may quote settings. SettingsError where it is another's, or everybody's, such as /tmp.
        """
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.path.stat().st_mode & OTHERS and not _is_closed(self.path):
            raise SettingsError(
                f"the state folder {self.path} is open to others of this machine, and not yours to close: let {HOME} "
                f"name a folder for you alone, such as {self.path}/taskdistill"
            )

    @contextmanager
    def held(self) -> Iterator[bool]:
        """Hold the lock as long as the block lasts; yields False where another process has it."""
        self.make()
        with (self.path / "lock").open("a") as file:
            yield take(file)

    def is_held(self) -> bool:
        """Whether an `up` runs."""
        try:
            with (self.path / "lock").open() as file:
                return not is_free(file)
        except FileNotFoundError:
            return False

    def running(self) -> Running | None:
        """Return what was written last; None where nothing was, or it cannot be read."""
        value = read_json_if_whole(self.path / "state.json")
        try:
            return Running.read(value) if value else None
        except (TypeError, KeyError):  # of another version
            return None

    def write(self, running: Running) -> None:
        write_json(self.path / "state.json", json.loads(json.dumps(running._asdict())))
        (self.path / "state.json").chmod(FOR_OWNER)

    def forget(self) -> None:
        (self.path / "state.json").unlink(missing_ok=True)

    def fresh_log(self, name: str) -> Path:
        """Make the file of a process's log, and return its path; the last one is kept."""
        path = self.log(name)
        if path.exists():
            path.replace(path.with_suffix(".log.1"))
        path.touch(mode=FOR_OWNER)
        return path


def _is_closed(path: Path) -> bool:
    """Close a folder to others; returns whether that could be done."""
    if path.stat().st_mode & stat.S_ISVTX:  # everybody's, such as /tmp
        return False
    try:
        path.chmod(0o700)
    except PermissionError:
        return False
    return True
