"""Images of a set, small and inside the page."""

from typing import Self

from PIL import Image

from taskdistill.flows.reports.page.blocks import Picture, plain
from taskdistill.flows.reports.page.subject import Subject
from taskdistill.storage.errors import CorruptArtifactError
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.manifest import ArtifactRef, advice
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.data.decode import decode_rgb
from taskdistill.tasks.data.opening import UnreadableImageError
from taskdistill.tasks.pages import as_jpeg, data_uri

SIDE_PX, QUALITY = 112, 80


class Thumbnails:
    """The images of a set by their ids."""

    def __init__(self, images: ImageSet) -> None:
        self.images = images
        self._rows = {image_id: row for row, image_id in enumerate(images.ids)}

    @classmethod
    def of(cls, subject: Subject) -> Self | None:
        """Return those of the images that the models were scored on; None where the store has them no more."""
        return cls.opened(subject.store, subject.images) if subject.images else None

    @classmethod
    def opened(cls, store: ArtifactStore, ref: ArtifactRef) -> Self:
        return cls(ImageSet.open(store.path(ref)))

    def __contains__(self, image_id: str) -> bool:
        return image_id in self._rows

    def label(self, image_id: str) -> int:
        """Return the class of an image by number; -1 where it has none."""
        return int(self.images.labels[self._rows[image_id]])

    def picture(self, image_id: str, *lines: str) -> Picture:
        """Return an image with what stands under it. CorruptArtifactError for damage."""
        row = self._rows[image_id]
        try:
            shown = Image.fromarray(decode_rgb(self.images.image(row), self.images.levels))
        except UnreadableImageError as error:  # ingest decoded it, so the bytes have changed since
            raise CorruptArtifactError(f"image {image_id!r}: {error}; {advice(self.images.folder)}") from error
        shown.thumbnail((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS)
        return Picture(data_uri(as_jpeg(shown, QUALITY), "image/jpeg"), plain(image_id), list(filter(None, lines)))
