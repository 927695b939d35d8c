"""Image-sets made before the rules of `tasks.data.layout`, which may hold something else than their folder seems to."""

import logging

from configs.data import IngestConfig
from storage.manifest import ArtifactRef
from storage.store import ArtifactStore
from tasks.data.candidates import DatasetError, some
from tasks.data.dataset import open_dataset

log = logging.getLogger(__name__)


def warn_of_older_reading(config: IngestConfig, ref: ArtifactRef, store: ArtifactStore) -> None:
    """Warn where the classes of an image-set that an older version made, which did not count them, are not those that
    its folder would be read as today. It may be what was meant all the same, so it stays in use.
    """
    if "counts" in store.manifest(ref).summary:
        return
    from storage.image_set import class_names_of  # pyarrow and numpy take their time, and few sets are that old

    classes = class_names_of(store.path(ref))
    try:
        today = open_dataset(config).classes
    except DatasetError as error:
        reason = f"today its folder would be refused: {error}"
    else:
        reason = f"today its folder would be read as {len(today)} classes, {some(today)}"
        if today == classes:
            return
    log.warning(
        "%s was made by an older version, with %d classes, %s; %s. If these are not the classes you mean, remove it "
        "with 'taskdistill discard %s --with-dependents' and run again", ref.short, len(classes), some(classes), reason,
        ref.short,
    )  # fmt: skip
