"""What the encoder of a finished model makes of images, before its head: for looking at.

Shape letters: N images, D width, S T height and width of a view.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import torch

from taskdistill.storage.image_set import ImageSet
from taskdistill.tasks.data.batches import decoded_row
from taskdistill.tasks.deploy.deployable import Deployable
from taskdistill.tasks.models.encoder import LAST, Encoder
from taskdistill.tasks.models.preprocessing import normalise

_BATCH = 16


@torch.inference_mode()
def vectors_of(model: Path, images: ImageSet, rows: Sequence[int], device: torch.device) -> npt.NDArray[np.float32]:
    """Return the vector "last" of the clean view of some images, [N, D]; raises what loading a model raises, and
    CorruptArtifactError for an image that cannot be decoded.
    """
    deployable = Deployable.load(model, device)
    encoder = cast(Encoder, deployable.model.encoder)
    found = []
    for start in range(0, len(rows), _BATCH):
        shown_NST3 = np.stack([deployable.shown(decoded_row(images, row)) for row in rows[start : start + _BATCH]])
        normalised = normalise(shown_NST3, deployable.preprocessing, device)
        (vectors_ND,) = encoder(normalised, [LAST])
        found.append(vectors_ND.float().cpu().numpy())
    return np.concatenate(found)
