"""What can be told before any image is decoded of files that ingest will set aside: empty ones, and those that are of
another kind than their names say.
"""

from collections.abc import Sequence
from pathlib import Path

from taskdistill.configs.data import IngestConfig
from taskdistill.storage.tree import unreadable
from taskdistill.tasks.data.candidates import Candidate, some

LOOKED_AT = 1000
"""Files, spread over the dataset: of more, what is wrong with many is found all the same."""


def said_of_broken(candidates: Sequence[Candidate], config: IngestConfig) -> list[str]:
    """Return a sentence where some files cannot be images; SourceError where one cannot be read."""
    looked_at = candidates[:: -(-len(candidates) // LOOKED_AT)] if candidates else []
    broken = [one.id for one in looked_at if not is_picture(one.path)]
    if not broken:
        return []
    of_all = "" if len(looked_at) == len(candidates) else f" of {len(looked_at)} that were looked at"
    found = f"{len(broken)} files{of_all} are empty or no images, such as {some(broken)}"
    if len(broken) <= config.max_quarantined_share * len(looked_at):
        return [f"{found}: they will be set aside"]
    return [
        f"{found}: that is more than data.max_quarantined_share = {config.max_quarantined_share:g} allows, and the run "
        "will stop. Repair or remove them"
    ]


def is_picture(path: Path) -> bool:
    """Whether a file has the header of an image; SourceError where it cannot be read."""
    from taskdistill.tasks.data.opening import (  # Pillow, only where there is something to look at
        UnreadableImageError,
        open_picture,
    )

    try:
        open_picture(path.read_bytes()).close()
    except UnreadableImageError:
        return False
    except OSError as error:
        raise unreadable(path, error) from error
    return True
