"""What tells one bird from another: thirteen categorical attributes, and species as fixed combinations of them.

A genus fixes every attribute; its species differ in two of those a field guide would look at (FINE). So classes of one
genus are fine-grained: most of what a picture shows does not tell them apart.

Shape letters: N birds, A attributes, K species.
"""

from typing import NamedTuple

import torch
from torch import Tensor

PALETTE: dict[str, tuple[float, float, float]] = {
    "black": (0.13, 0.12, 0.15),
    "white": (0.92, 0.91, 0.86),
    "grey": (0.52, 0.54, 0.58),
    "brown": (0.45, 0.29, 0.17),
    "red": (0.76, 0.19, 0.16),
    "yellow": (0.93, 0.75, 0.20),
    "green": (0.30, 0.52, 0.25),
    "blue": (0.22, 0.40, 0.70),
}
"""Name -> RGB in 0..1."""

COLOURS = tuple(PALETTE)


class Attribute(NamedTuple):
    """One thing that varies, and its values."""

    name: str
    values: tuple[str, ...]


ATTRIBUTES = (
    Attribute("body", COLOURS),
    Attribute("belly", COLOURS),
    Attribute("wing", COLOURS),
    Attribute("head", COLOURS),
    Attribute("beak", ("cone", "needle", "hook", "spoon")),
    Attribute("beak colour", ("black", "grey", "red", "yellow")),
    Attribute("tail", ("short", "long", "forked", "fan")),
    Attribute("crest", ("none", "spike", "plume", "swept")),
    Attribute("wing pattern", ("plain", "bar", "tip", "spots")),
    Attribute("breast pattern", ("plain", "spots", "bars", "bib")),
    Attribute("shape", ("slim", "middling", "round")),
    Attribute("eye mark", ("none", "ring", "stripe", "cap")),
    Attribute("legs", ("black", "grey", "red", "yellow")),
)

INDEX = {attribute.name: index for index, attribute in enumerate(ATTRIBUTES)}
"""Name of an attribute -> its column in attributes_NA."""

FINE = ("head", "beak", "tail", "crest", "wing pattern", "breast pattern", "eye mark")
"""Attributes in which species of one genus may differ."""

NUM_GENERA, SPECIES_PER_GENUS, NUM_REDRAWN = 5, 5, 2

NUM_VALUES = tuple(len(attribute.values) for attribute in ATTRIBUTES)


class Species(NamedTuple):
    """The classes of one downstream world."""

    names: tuple[str, ...]
    """Invented: genus-epithet, sorted by genus."""
    attributes_KA: Tensor


def random_attributes(num_birds: int, generator: torch.Generator) -> Tensor:
    """Draw every attribute of every bird uniformly and independently, int64 [N, A]."""
    columns = [torch.randint(num_values, (num_birds,), generator=generator) for num_values in NUM_VALUES]
    return torch.stack(columns, dim=1)


def draw_species(seed: int) -> Species:
    """Draw the 25 species of a world: no two alike, and each at most two attributes from its genus."""
    generator = torch.Generator().manual_seed(seed)
    known: list[list[int]] = []
    for genus_A in random_attributes(NUM_GENERA, generator):
        complete = len(known) + SPECIES_PER_GENUS
        while len(known) < complete:
            candidate = _redrawn(genus_A, generator).tolist()
            if candidate not in known:
                known.append(candidate)
    return Species(_names(generator), torch.tensor(known))


def _redrawn(genus_A: Tensor, generator: torch.Generator) -> Tensor:
    species_A = genus_A.clone()
    for choice in torch.randperm(len(FINE), generator=generator)[:NUM_REDRAWN].tolist():
        column = INDEX[FINE[choice]]
        species_A[column] = torch.randint(NUM_VALUES[column], (1,), generator=generator)
    return species_A


_GENERA = ("alba", "corva", "dendro", "erita", "fringa", "lanio", "mela", "parula", "sitta", "turdo", "upupa", "zosta")
_EPITHETS = (
    "montana", "palustris", "minor", "silvana", "borea", "rupestris", "vulga", "nocta", "clara", "fusca", "arvensis",
    "insulara", "media", "litora", "alpina",
)  # fmt: skip


def _names(generator: torch.Generator) -> tuple[str, ...]:
    genera = torch.randperm(len(_GENERA), generator=generator)[:NUM_GENERA]
    names = []
    for genus in genera.tolist():
        epithets = torch.randperm(len(_EPITHETS), generator=generator)[:SPECIES_PER_GENUS]
        names += [f"{_GENERA[genus]}-{_EPITHETS[epithet]}" for epithet in epithets.tolist()]
    return tuple(names)
