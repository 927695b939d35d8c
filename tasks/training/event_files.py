"""A training as TensorBoard shows it: values by step, in event files that lie beside the store and decide nothing.

Each artifact in the making has a run of its own. A training that is continued goes on in it: from the first step that
is written anew, TensorBoard passes over what an earlier attempt wrote.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from taskdistill.tasks.prechecks.trackers import TENSORBOARD, check_installed
from taskdistill.tasks.stage import StageContext

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

log = logging.getLogger(__name__)

OnValues = Callable[[int, Mapping[str, float]], None]
"""Called with a number of steps that are done, and values after them by name."""

FLUSH_SECONDS = 10
"""What a killed process may cost of a curve."""


def to_nobody(step: int, values: Mapping[str, float]) -> None:
    """Tell nobody."""


@contextmanager
def event_files(context: StageContext) -> Iterator[OnValues]:
    """Yield what writes values into a folder of the artifact's fingerprint, where event files are asked for.

    Raises MissingPackageError where they are, and TensorBoard is not installed.
    """
    if not context.runtime.tensorboard:
        yield to_nobody
        return
    check_installed(TENSORBOARD)
    events = _EventFiles(Path(context.runtime.tensorboard) / context.draft.name[:12])
    try:
        yield events.add
    finally:
        events.close()


class _EventFiles:
    """The run of one training. It is begun with the first value: who has no step left to do writes nothing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: SummaryWriter | None = None
        self._is_given_up = False

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Write values; where the disk refuses, say so once: a curve is not worth a training."""
        if self._is_given_up:
            return
        try:
            self._write(step, values)
        except OSError as error:
            self._give_up(error)

    def close(self) -> None:
        """Write what is still held."""
        if self._writer is None or self._is_given_up:
            return
        try:
            self._writer.close()
        except OSError as error:
            self._give_up(error)

    def _write(self, step: int, values: Mapping[str, float]) -> None:
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self._folder), purge_step=step, flush_secs=FLUSH_SECONDS)
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def _give_up(self, error: OSError) -> None:
        self._is_given_up = True
        log.warning("no more event files in %s: %s. The training goes on without", self._folder, error.strerror)
