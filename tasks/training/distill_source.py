"""Images with a teacher's cached outputs, as distillation draws them and cuts their views for the student.

The views are those stored with the outputs, cut again at the student's size; a sample of them is compared with the
thumbnails of the teacher's views.

Shape letters: N images, H W pixels; 4 numbers are the area in which a view shows its image.
"""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from taskdistill.configs.data import ViewSettings
from taskdistill.configs.runtime import RuntimeConfig
from taskdistill.storage.errors import CacheMismatchError
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.view_outputs import ViewOutputs
from taskdistill.tasks.data.batches import ViewSource, halves
from taskdistill.tasks.data.processes import view_source
from taskdistill.tasks.data.shown import check_num_views
from taskdistill.tasks.data.view_cache import CachedViews, ViewCache
from taskdistill.tasks.functional.order import visits
from taskdistill.tasks.functional.shares import Share
from taskdistill.tasks.functional.views import Pixels, thumbnail_distance
from taskdistill.tasks.models.preprocessing import Preprocessing

CHECK_EVERY = 64
"""One in this many images is compared with the thumbnail of the teacher's view."""
CHECK_TOLERANCE = 8.0
"""Mean grey levels (0-255) by which two sizes of one view may differ; other views of the same image differ by tens.
"""


class Draw(NamedTuple):
    """Images of one source, chosen for one batch."""

    items: npt.NDArray[np.int64]
    """Positions among the images that can be drawn."""
    rows: npt.NDArray[np.int64]
    cached: CachedViews
    """The teacher's outputs for these views, and how each was cut."""

    def of(self, share: Share) -> "Draw":
        """Return those that one of several ranks takes."""
        taken = share.of(len(self.rows))
        outputs, views_N9, thumbnails_N64 = self.cached
        cached = CachedViews(outputs[taken], views_N9[taken], thumbnails_N64[taken])
        return Draw(self.items[taken], self.rows[taken], cached)


@dataclass(frozen=True)
class DistillSource:
    """The real training images, or the synthetic ones."""

    source: ViewSource
    cache: ViewCache
    rows: npt.NDArray[np.int64]
    num_views: int
    """Augmented ones of each image."""

    @classmethod
    def open(
        cls,
        images: ImageSet,
        outputs: ViewOutputs,
        views: ViewSettings,
        preprocessing: Preprocessing,
        runtime: RuntimeConfig,
        *,
        kept: AbstractSet[str] | None = None,
        kept_in: Path | None = None,
    ) -> Self:
        """Join the training images, or those of them whose ids are `kept`, with the teacher's outputs for
        them. `kept_in` is the folder of views that steps share.

        Raises CacheMismatchError where the outputs are of other images or views, or of another number of views.
        """
        outputs.require(images=images.fingerprint, views=views.identity())
        rows = images.rows_of("train")
        # Of the whole set, not of those that are kept: the teacher was shown all of them.
        check_num_views(outputs, views, len(rows))
        num_views = views.num_augmented(len(rows))
        if kept is not None:
            # In the order of the image-set, not of `kept`, which is a set: draws depend on positions among the rows.
            rows = np.asarray([row for row in rows if images.ids[row] in kept], np.int64)
        images_mb, views_mb = halves(runtime.image_cache_mb)
        return cls(
            source=view_source(
                images, views, preprocessing, runtime, images_mb=images_mb, views_mb=views_mb, kept_in=kept_in
            ),
            cache=ViewCache(outputs, [images.ids[row] for row in rows], budget_mb=runtime.logits_cache_mb),
            rows=rows,
            num_views=num_views,
        )

    def of_rows(self, rows: npt.NDArray[np.int64], *, budget_mb: int) -> Self:
        """Return the source of these images alone, which shares what is decoded and has a cache of its own."""
        ids = [self.source.images.ids[row] for row in rows]
        return replace(self, rows=rows, cache=ViewCache(self.cache.outputs, ids, budget_mb=budget_mb))

    def draw(self, step: int, count: int, seed: int) -> Draw:
        """Choose the images of a step, in order: epoch e shows augmented view 1 + e mod K.

        For the training thread alone: the cache keeps one view and reads the next when the epoch ends.
        """
        # `items` are positions among `rows`, of which an epoch is made, and those by which the cache was joined.
        items, epochs = visits(step * count, count, size=len(self.rows), seed=seed)
        return Draw(items, self.rows[items], self.cache.take(items, 1 + epochs % self.num_views))

    def cut(self, drawn: Draw) -> Pixels:
        """Return the views as uint8 [N, H, W, 3], by any thread; raises CacheMismatchError where one differs from
        the teacher's.
        """
        pixels_NHW3 = self.source.cut(drawn.rows.tolist(), drawn.cached.views_N9)
        self._check_thumbnails(drawn, pixels_NHW3)
        return pixels_NHW3

    def shown(self, drawn: Draw) -> npt.NDArray[np.float32] | None:
        """Return the area [N, 4] in which each view shows its image; None where none is padded."""
        return self.source.shown(drawn.rows.tolist(), drawn.cached.views_N9)

    def ids_of(self, drawn: Draw) -> list[str]:
        return [self.source.images.ids[row] for row in drawn.rows]

    def _check_thumbnails(self, drawn: Draw, pixels_NHW3: Pixels) -> None:
        # Chosen by position among the images, not in the batch: over an epoch the same images are checked, whatever the
        # batch size, and each step pays for a few.
        for index in np.flatnonzero(drawn.items % CHECK_EVERY == 0):
            row, of_it = int(drawn.rows[index]), slice(index, index + 1)
            now_64 = self.source.thumbnails([row], drawn.cached.views_N9[of_it], pixels_NHW3[of_it])[0]
            distance = thumbnail_distance(now_64, drawn.cached.thumbnails_N64[index])
            if distance > CHECK_TOLERANCE:
                raise CacheMismatchError(
                    f"image {self.source.images.ids[row]!r}: the view cut now differs from the one the teacher saw by "
                    f"{distance:.0f} grey levels on average (at most {CHECK_TOLERANCE:.0f} for the same view): Pillow "
                    "decodes or resizes differently than when the logits were made. Install the versions named in the "
                    "manifest of the logits, or discard these logits, and features they are of, and run the same again"
                )
