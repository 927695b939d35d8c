"""A graph of artifacts as SVG: a box for each, arrows from what it was made from, no script.

Colours are variables of the page's style sheet, as those of charts are.
"""

import itertools
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from markupsafe import Markup

from taskdistill.flows.reports.page.blocks import Chart
from taskdistill.flows.reports.page.charts import ACCENT, LINE, MUTED, SVG, TEXT
from taskdistill.flows.reports.page.layering import Layers, Passing, Place, layered, without_detours

BOX_WIDTH, BOX_HEIGHT, BETWEEN_COLUMNS, BETWEEN_ROWS, PASSING_HEIGHT, EDGE = 136, 38, 20, 10, 8, 4
"""Pixels."""
MAX_LETTERS, DIGITS = 20, 8
"""Of a name that fits into a box; of a fingerprint."""
ARROW = "lineage-arrow"


class Node(NamedTuple):
    """An artifact."""

    name: str
    kind: str
    short: str
    """Its reference."""
    is_strong: bool
    is_here: bool
    inputs: Sequence[str]


class Corner(NamedTuple):
    """The upper left corner of a box."""

    x: float
    y: float


def drawn_graph(nodes: Mapping[str, Node], caption: str) -> Chart:
    """Draw the graph; each node's inputs are keys of `nodes`."""
    layers = layered(without_detours({key: node.inputs for key, node in nodes.items()}))
    places = _places(layers)
    width = max(corner.x for corner in places.values()) + BOX_WIDTH + EDGE
    height = max(corner.y for corner in places.values()) + BOX_HEIGHT + EDGE
    ET.register_namespace("", SVG)
    root = _element(None, "svg", width=width, height=height, viewBox=f"0 0 {width:g} {height:g}", role="img")
    root.set("aria-label", caption)
    root.set("font-family", "system-ui, sans-serif")
    _add_arrow_head(root)
    for way in layers.arrows:
        is_strong = all(nodes[str(end)].is_strong for end in (way[0], way[-1]))
        _add_arrow(root, way, places, is_strong=is_strong)
    for key, node in nodes.items():
        _add_box(root, node, places[key])
    # Made as XML, so every name in it is escaped.
    return Chart(Markup(ET.tostring(root, encoding="unicode")), caption, is_wide=True)


def _places(layers: Layers) -> dict[Place, Corner]:
    """Put each column in the middle of the drawing's height."""
    heights = [sum(_height(place) + BETWEEN_ROWS for place in column) for column in layers.columns]
    found = {}
    for number, (column, height) in enumerate(zip(layers.columns, heights, strict=True)):
        y = EDGE + (max(heights) - height) / 2
        for place in column:
            found[place] = Corner(EDGE + number * (BOX_WIDTH + BETWEEN_COLUMNS), y)
            y += _height(place) + BETWEEN_ROWS
    return found


def _height(place: Place) -> int:
    return PASSING_HEIGHT if isinstance(place, Passing) else BOX_HEIGHT


def _add_arrow_head(root: ET.Element) -> None:
    marker = _element(
        _element(root, "defs"), "marker", id=ARROW, viewBox="0 0 8 8", refX=7, refY=4, markerWidth=7, markerHeight=7,
        orient="auto", markerUnits="userSpaceOnUse",
    )  # fmt: skip
    _element(marker, "path", d="M 0 0.5 L 8 4 L 0 7.5 z", fill=MUTED)


def _add_arrow(root: ET.Element, way: Sequence[Place], places: Mapping[Place, Corner], *, is_strong: bool) -> None:
    colour, width = (ACCENT, 1.8) if is_strong else (MUTED, 1.0)
    path = _element(root, "path", d=_path(way, places), fill="none", stroke=colour)
    path.set("stroke-width", str(width))
    path.set("marker-end", f"url(#{ARROW})")


def _path(way: Sequence[Place], places: Mapping[Place, Corner]) -> str:
    """Lead an arrow from the right side of a box to the left side of another, straight through columns between."""
    middles = [(places[place].x, places[place].y + _height(place) / 2) for place in way]
    drawn = [f"M {middles[0][0] + BOX_WIDTH:g} {middles[0][1]:g}"]
    for (x, y), (next_x, next_y) in itertools.pairwise(middles):
        bend = (x + BOX_WIDTH + next_x) / 2
        drawn.append(f"C {bend:g} {y:g} {bend:g} {next_y:g} {next_x:g} {next_y:g} H {next_x + BOX_WIDTH:g}")
    return " ".join(drawn).rpartition(" H ")[0]


def _add_box(root: ET.Element, node: Node, corner: Corner) -> None:
    group = _element(root, "g")
    _element(group, "title").text = f"{node.name}: {node.short}"
    box = _element(group, "rect", x=corner.x, y=corner.y, width=BOX_WIDTH, height=BOX_HEIGHT, rx=5, fill="var(--soft)")
    box.set("stroke", ACCENT if node.is_strong else LINE)
    box.set("stroke-width", "1.8" if node.is_strong else "1")
    if not node.is_here:
        box.set("stroke-dasharray", "4 3")
    _add_line(group, node.name, corner.x + 8, corner.y + 16, 11)
    reference = node.short[: len(node.kind) + 1 + DIGITS]
    _add_line(group, reference, corner.x + 8, corner.y + 31, 10)


def _add_line(group: ET.Element, words: str, x: float, y: float, size: float) -> None:
    text = _element(group, "text", x=x, y=y, fill=TEXT)
    text.set("font-size", str(size))
    # Names of steps differ at their ends, such as -seed0.
    half = MAX_LETTERS // 2
    text.text = words if len(words) <= MAX_LETTERS else f"{words[: half - 1]}…{words[-half:]}"


def _element(parent: ET.Element | None, name: str, **attributes: str | float) -> ET.Element:
    texts = {key: value if isinstance(value, str) else f"{value:g}" for key, value in attributes.items()}
    tag = f"{{{SVG}}}{name}"
    return ET.Element(tag, texts) if parent is None else ET.SubElement(parent, tag, texts)
