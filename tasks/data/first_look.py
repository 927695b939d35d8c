"""What can be told before any image is decoded of files that ingest will set aside: empty ones, and those that are of
another kind than their names say.
"""

from collections.abc import Sequence
from pathlib import Path

from taskdistill.configs.counting import counted
from taskdistill.storage.tree import unreadable
from taskdistill.tasks.data.candidates import Candidate, some

LOOKED_AT = 1000
"""Files, spread over the dataset: of more, what is wrong with many is found all the same."""


def said_of_broken(candidates: Sequence[Candidate], max_share: float, section: str) -> list[str]:
    """Return a sentence where some files cannot be images, and whether they are more than a share of all, which is a
    setting of `section`; SourceError where one cannot be read.
    """
    looked_at = candidates[:: -(-len(candidates) // LOOKED_AT)] if candidates else []
    broken = [one.id for one in looked_at if not is_picture(one.path)]
    if not broken:
        return []
    of_all = "" if len(looked_at) == len(candidates) else f" of {len(looked_at)} that were looked at"
    found = f"empty or no images: {counted(len(broken), 'file')}{of_all}, such as {some(broken)}"
    if len(broken) <= max_share * len(looked_at):
        return [f"{found}. {'It' if len(broken) == 1 else 'They'} will be set aside"]
    return [
        f"{found}. That is more than {section}.max_quarantined_share = {max_share:g} allows, and the run will stop: "
        "repair or remove them"
    ]


def is_picture(path: Path) -> bool:
    """Whether a file has the header of an image; SourceError where it cannot be read."""
    from taskdistill.tasks.data.opening import (  # Pillow, only where there is something to look at
        UnreadableImageError,
        open_header,
    )

    try:
        file = path.open("rb")
    except OSError as error:
        raise unreadable(path, error) from error
    with file:
        try:
            open_header(file)
        except UnreadableImageError:
            return False
    return True
