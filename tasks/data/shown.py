"""Which views of which images a frozen network computes: those that something reads, and no others; and whether cached
outputs hold as many of them as the settings say.

Who reads what: a probe trains on the augmented views of training images (`probe.train_on`: or on their clean one) and
is judged on the clean view of validation images; students are trained on the augmented views of training and synthetic
images; teachers are evaluated, and students compared with them, on the clean view of validation and test images; the
choice of synthetic images goes by their clean view. So validation and test images need no augmented view, and training
images no clean one, unless the recipe asks for it. Images of split "unlabelled" need none: who learns from them takes
them into an image-set of their own (stage ingest-unlabelled).

Shape letters: N images.
"""

from collections import Counter

import numpy as np

from taskdistill.configs.data import CLEAN_VIEW, UNLABELLED, TrainViews, ViewSettings, views_of_train
from taskdistill.storage.errors import CacheMismatchError
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.view_outputs import Part, ViewOutputs

CLEAN_ONLY = ViewSettings(num_views=0)


def shown_parts(images: ImageSet, settings: ViewSettings, train_views: TrainViews = "augmented") -> list[Part]:
    """Return the parts of an image-set, by the views that its images are shown; each has at least one image. Those of
    split "unlabelled" are in none.

    It depends on nothing but the recipe of what is made: settings, and the splits of the image-set.
    """
    is_train_N = images.splits == "train"
    views = views_of_train(settings, train_views, Counter(images.splits.tolist()))
    clean = range(CLEAN_VIEW, CLEAN_VIEW + 1)
    is_read_N = images.splits != UNLABELLED
    if views == clean:
        return [Part(np.flatnonzero(is_read_N), clean)]
    parts = [Part(np.flatnonzero(is_read_N & ~is_train_N), clean), Part(np.flatnonzero(is_train_N), views)]
    return [part for part in parts if len(part.rows)]


def check_num_views(outputs: ViewOutputs, settings: ViewSettings, num_train: int) -> None:
    """Raise CacheMismatchError where outputs hold another number of augmented views than the settings give each of
    `num_train` training images. Outputs of the clean view alone pass: who asks them for another says what to do.
    """
    held, asked = outputs.num_views - 1, settings.num_augmented(num_train)
    if held and held != asked:
        ref = f"{outputs.folder.parent.name}@{outputs.folder.name[:12]}"
        raise CacheMismatchError(
            f"the cached outputs {ref} hold {held} augmented views of each training image, and {asked} were asked for: "
            f"of {num_train} images, views.num_views {settings.num_views} and views.max_total {settings.max_total} "
            f"give each so many. Discard them ('taskdistill discard {ref}') and run the same again"
        )
