"""What ingest noted of an image-set: counts and colours of its classes."""

from storage.image_set import ImageSet
from storage.manifest import MANIFEST, Manifest
from storage.summaries import IngestSummary


def noted_of(images: ImageSet) -> IngestSummary:
    """Return it; neutral values where nothing was noted, as in a set without a manifest, which no stage committed."""
    if not (images.folder / MANIFEST).is_file():
        return IngestSummary()
    return IngestSummary.of(Manifest.read(images.folder))
