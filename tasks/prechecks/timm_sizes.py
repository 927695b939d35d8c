"""How large timm's networks are, for `plan`: from a table, since building one, on whatever device, takes torch.

`timm_sizes.tsv` has a line for every network of timm, written by `python -m tests.tasks.prechecks.test_timm_sizes` from
the networks themselves; one of a later timm is unknown until it is written anew. Names alone tell too little: another
size of the same family has thirty times the weights.
"""

import functools
from pathlib import Path
from typing import NamedTuple

from taskdistill.configs.models import Backbone

TABLE = Path(__file__).with_name("timm_sizes.tsv")
_SAME_SIZE = {"pad_type", "output_stride", "patch_size"}
"""Arguments of a model that change its weights by a few percent at most."""
_WITH_TOKENS = 2
"""Vectors of an image that a transformer with a CLS token gives at least: it is as wide as embed_dim says."""


class NetworkSize(NamedTuple):
    """What is known of a network before it is built; None where nobody can say."""

    width: int | None
    """Of each of its vectors."""
    num_vectors: int | None
    """That features are made of, where all are asked for (`tasks.models.encoder.summary_blocks`)."""
    num_parameters: int | None
    """Without a classifier."""


UNKNOWN = NetworkSize(None, None, None)


def size_of(backbone: Backbone) -> NetworkSize:
    """Return the size of a network by its name and arguments."""
    found = _table().get(backbone.name.partition(".")[0], UNKNOWN)
    if backbone.arguments.keys() <= _SAME_SIZE:
        return found
    width = backbone.arguments.get("embed_dim")
    if found.num_vectors is not None and found.num_vectors >= _WITH_TOKENS and isinstance(width, int):
        return NetworkSize(width, found.num_vectors, None)
    return UNKNOWN


@functools.cache
def _table() -> dict[str, NetworkSize]:
    _, *lines = TABLE.read_text(encoding="utf-8").splitlines()
    rows = (line.split("\t") for line in lines)
    return {name: NetworkSize(*map(int, numbers)) for name, *numbers in rows}
