"""What the encoder of a finished network makes of images, before its head: for looking at.

Shape letters: N images, D width, S T height and width of a view, h w cells of a map.
"""

import itertools
from collections.abc import Iterable
from typing import cast

import numpy as np
import numpy.typing as npt
import torch

from taskdistill.storage.errors import NotFiniteError
from taskdistill.tasks.deploy.deployable import Deployable
from taskdistill.tasks.functional.views import Pixels
from taskdistill.tasks.models.encoder import Encoder, blocks_named
from taskdistill.tasks.models.preprocessing import normalise

_BATCH = 16


@torch.inference_mode()
def encoded(deployable: Deployable, views_ST3: Iterable[Pixels], block: str) -> npt.NDArray[np.float32]:
    """Return one block of some views as the network is shown them, vectors [N, D] or maps [N, D, h, w]; N > 0.

    Raises ModelError where the encoder has no such block, NotFiniteError where it says what is no number, and what
    `views_ST3` raises.
    """
    encoder = cast(Encoder, deployable.model.encoder)
    blocks_named(encoder.blocks, [block])
    found, waiting = [], iter(views_ST3)
    while batch := list(itertools.islice(waiting, _BATCH)):
        (said,) = encoder(normalise(np.stack(batch), deployable.preprocessing, deployable.device), [block])
        found.append(said.float().cpu().numpy())
    whole = np.concatenate(found)
    if not np.isfinite(whole).all():
        raise NotFiniteError("the network says of these images what is no number: its training went astray")
    return whole
