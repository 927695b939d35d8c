"""What ingest noted of an image-set: counts and colours of its classes."""

from pathlib import Path

from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.manifest import MANIFEST, Manifest
from taskdistill.storage.summaries import IngestSummary


def noted_of(images: ImageSet) -> IngestSummary:
    """Return it; neutral values where nothing was noted, as in a set without a manifest, which no stage committed."""
    return noted_in(images.folder)


def noted_in(folder: Path) -> IngestSummary:
    """Return the same of the set in a folder, which need not be opened."""
    if not (folder / MANIFEST).is_file():
        return IngestSummary()
    return IngestSummary.of(Manifest.read(folder))
