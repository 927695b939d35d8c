"""A model that predicts: answers for images one after the other, or as a table that is continued where it left off.

What a command, a scheduled run and Python share.

Shape letters: K classes.
"""

import copy
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Self

from taskdistill.configs.errors import UserError
from taskdistill.configs.runtime import RuntimeConfig
from taskdistill.storage.tree import as_text
from taskdistill.tasks.deploy.answer_table import AnswerTable
from taskdistill.tasks.deploy.answering import Answered, Unusable, answers
from taskdistill.tasks.deploy.ready import Ready
from taskdistill.tasks.deploy.sources import Wanted
from taskdistill.tasks.problems.answers import AnswerForm, Asked
from taskdistill.tasks.stage import OnProgress, no_progress

log = logging.getLogger(__name__)

NAMED = 10
"""Images that cannot be predicted and are named one by one; the others are counted, and all stand in a file."""
ROWS_AT_ONCE, SECONDS_AT_ONCE = 256, 1.0
"""Answers are noted when there are so many, or after so long."""


class NothingPredictedError(UserError):
    """Not one of the images could be predicted."""


class Outcome(NamedTuple):
    """What became of the images that were asked for."""

    table: Path
    predicted: int
    already: int
    """That were in the table before."""
    left_out: list[Unusable]
    left_out_table: Path
    pictures: list[Path]
    """Folders of pictures, where answers have some."""


class Predictor:
    """A model on a device, and how it is to answer."""

    def __init__(self, ready: Ready, runtime: RuntimeConfig) -> None:
        """Load a model. Raises what `load_model` does, ModelError where there is no such device, and ExportError where
        an exported folder cannot be run here.
        """
        self.ready, self._runtime = ready, runtime
        self.network = ready.load(runtime)
        self.asked = Asked(ready.classes, ready.colours_K3, ready.temperature, ready.wish.top, ready.wish.threshold)

    def asked_otherwise(self, top: int, threshold: float) -> Self:
        """Return the same, loaded network, to be asked otherwise; SettingsError where a number cannot be used."""
        wish = self.ready.wish._replace(top=top, threshold=threshold)
        wish.check()
        other = copy.copy(self)
        other.ready = replace(self.ready, wish=wish)
        other.asked = self.asked._replace(top=top, threshold=threshold)
        return other

    @property
    def form(self) -> AnswerForm:
        return self.network.problem.answer_form(self.asked)

    def answers(self, images: Iterable[Wanted]) -> Iterator[Answered | Unusable]:
        """Yield what is told of each image, in their order; raises OutOfMemoryError."""
        return answers(self.network, images, self.asked, self.ready.levels, self._runtime)

    def write(self, images: Sequence[Wanted], output: Path, on_progress: OnProgress = no_progress) -> Outcome:
        """Predict the images that are not yet in a table, and write them to it; what is done is kept, whatever ends it.

        Images that cannot be read are named, listed beside the table, and tried again next time; masks that were
        written beside it are not predicted themselves. Raises
        NothingPredictedError where no image of all could be, and as `AnswerTable` and `answers` do.
        """
        with AnswerTable(output, self.form, self.ready.made_by()).open() as table:
            return self._write(images, table, on_progress)

    def _write(self, images: Sequence[Wanted], table: AnswerTable, on_progress: OnProgress) -> Outcome:
        images, done = table.others(images), table.done()
        missing = [image for image in images if as_text(image.name) not in done]
        waiting, noted = list[Answered](), time.monotonic()
        left_out: list[Unusable] = []
        for number, one in enumerate(self.answers(missing), start=1):
            if isinstance(one, Unusable):
                _tell(one, len(left_out))
                left_out.append(one)
            else:
                waiting.append(one)
            if len(waiting) >= ROWS_AT_ONCE or time.monotonic() - noted > SECONDS_AT_ONCE:
                table.add(waiting)
                waiting, noted = [], time.monotonic()
                on_progress("images", number, len(missing))
        table.add(waiting)
        on_progress("images", len(missing), len(missing))
        table.leave_out(left_out)
        if missing and len(left_out) == len(images):
            raise NothingPredictedError(
                f"not one of {len(images)} images could be predicted; the first is {as_text(left_out[0].name)}: "
                f"{left_out[0].reason}. All stand in {table.left_out}"
            )
        already = len(images) - len(missing)
        folders = [table.picture_folder(kind) for kind in self.form.pictures]
        return Outcome(table.path, len(missing) - len(left_out), already, left_out, table.left_out, folders)


def _tell(one: Unusable, number: int) -> None:
    if number < NAMED:
        log.warning("left out %s: %s", as_text(one.name), one.reason)
    elif number == NAMED:
        log.warning("more images are left out; the list of them is written beside the table")
