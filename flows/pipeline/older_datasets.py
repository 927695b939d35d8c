"""Image-sets made by older versions, which may hold something else than their folder seems to: other classes than the
rules of `tasks.data.layout` find there, or images of more than 8 bits without the scale that they share today.
"""

import logging

from taskdistill.configs.data import IngestConfig
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.summaries import IngestSummary
from taskdistill.tasks.data.candidates import DatasetError, some
from taskdistill.tasks.data.dataset import open_dataset

log = logging.getLogger(__name__)


def check_older_reading(config: IngestConfig, ref: ArtifactRef, store: ArtifactStore) -> None:
    """Look at an image-set of an older version; those of this one say their counts and their brightness.

    Raises CorruptArtifactError where its pixels are read wrongly, and warns where its classes would be others today.
    """
    summary = IngestSummary.of(store.manifest(ref))
    if summary.brightness is None:
        from taskdistill.storage.image_set import (
            ImageSet,  # pyarrow, numpy and Pillow take their time, and few sets are that old
        )
        from taskdistill.tasks.data.batches import check_levels

        check_levels(ImageSet.open(store.path(ref)))
    if summary.counts is None:
        _warn_of_other_classes(config, ref, store)


def _warn_of_other_classes(config: IngestConfig, ref: ArtifactRef, store: ArtifactStore) -> None:
    """What was read before may be what was meant all the same, so it stays in use."""
    from taskdistill.storage.image_set import class_names_of

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
