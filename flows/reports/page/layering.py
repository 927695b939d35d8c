"""Places for the nodes of a graph without circles, column by column, so that arrows run from left to right and few of
them cross (Sugiyama's method: layers, a place in each layer for every arrow that passes it, and sweeps of barycentres).
"""

import graphlib
import itertools
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

SWEEPS = 8

Node = str
Inputs = Mapping[Node, Sequence[Node]]
"""What each node is made from; every node is a key."""


class Passing(NamedTuple):
    """The place of an arrow in a layer that it passes."""

    source: Node
    end: Node
    layer: int


Place = Node | Passing


class Layers(NamedTuple):
    """Nodes and passing arrows by column, in each from top to bottom."""

    columns: list[list[Place]]
    arrows: list[list[Place]]
    """The places that each arrow leads over, one in each column, the two nodes among them."""


def without_detours(inputs: Inputs) -> dict[Node, list[Node]]:
    """Leave out arrows that a longer way implies, as from the images to all that was made of what was made of them."""
    above: dict[Node, set[Node]] = {}
    for node in graphlib.TopologicalSorter(inputs).static_order():
        above[node] = set(inputs[node]).union(*(above[one] for one in inputs[node]))
    return {
        node: [one for one in dict.fromkeys(ones) if not any(one in above[other] for other in ones)]
        for node, ones in inputs.items()
    }


def layered(inputs: Inputs) -> Layers:
    """Place each node in the first column after all that it is made from."""
    layer_of = _layers(inputs)
    arrows = [_way(one, node, layer_of) for node, ones in inputs.items() for one in ones]
    columns: list[list[Place]] = [[] for _ in range(max(layer_of.values(), default=-1) + 1)]
    for node in inputs:
        columns[layer_of[node]].append(node)
    for place in itertools.chain.from_iterable(arrows):
        if isinstance(place, Passing):
            columns[place.layer].append(place)
    return Layers(_untangled(columns, arrows), arrows)


def _layers(inputs: Inputs) -> dict[Node, int]:
    found: dict[Node, int] = {}
    for node in graphlib.TopologicalSorter(inputs).static_order():
        found[node] = max((found[one] + 1 for one in inputs[node]), default=0)
    return found


def _way(source: Node, end: Node, layer_of: Mapping[Node, int]) -> list[Place]:
    return [source, *(Passing(source, end, layer) for layer in range(layer_of[source] + 1, layer_of[end])), end]


def _untangled(columns: list[list[Place]], arrows: Iterable[Sequence[Place]]) -> list[list[Place]]:
    """Sort each column by where its neighbours lie, from left to right and back, and keep the order that crosses
    least.
    """
    before: dict[Place, list[Place]] = {}
    after: dict[Place, list[Place]] = {}
    for way in arrows:
        for one, next_one in itertools.pairwise(way):
            before.setdefault(next_one, []).append(one)
            after.setdefault(one, []).append(next_one)
    best, fewest = columns, num_crossings(columns, after)
    for sweep in range(SWEEPS):
        order, neighbours = (1, before) if sweep % 2 == 0 else (-1, after)
        columns = _sorted(columns[::order], neighbours)[::order]
        if (crossings := num_crossings(columns, after)) < fewest:
            best, fewest = columns, crossings
    return best


def _sorted(columns: Sequence[list[Place]], neighbours: Mapping[Place, Sequence[Place]]) -> list[list[Place]]:
    """Sort each column by the mean place of its neighbours in the one before; what has none stays where it is."""
    found = list(columns[:1])
    for column in columns[1:]:
        share_of = {place: (row + 0.5) / len(found[-1]) for row, place in enumerate(found[-1])}
        own = {place: (row + 0.5) / len(column) for row, place in enumerate(column)}
        means = {
            place: statistics.mean([share_of[one] for one in neighbours.get(place, [])] or [own[place]])
            for place in column
        }
        found.append(sorted(column, key=lambda place: means[place]))
    return found


def num_crossings(columns: Sequence[Sequence[Place]], after: Mapping[Place, Sequence[Place]]) -> int:
    """Count the arrows between neighbouring columns that cross."""
    crossings = 0
    for left, right in itertools.pairwise(columns):
        row_of = {place: row for row, place in enumerate(right)}
        ends = [sorted(row_of[one] for one in after.get(place, [])) for place in left]
        passed: list[int] = []
        for rows in ends:
            crossings += sum(earlier > row for row in rows for earlier in passed)
            passed += rows
    return crossings
