"""Charts as SVG: Vega-Lite, drawn while the page is written, so that it needs no script and asks no network.

Colours are variables of the page's style sheet, and text has the colour of the text around it: a chart follows light
and dark. What a mark says of itself (`description`) is shown where the pointer rests on it.
"""

import re
import xml.etree.ElementTree as ET
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import altair as alt
import vl_convert
from markupsafe import Markup

from taskdistill.flows.reports.page.blocks import Chart

SVG = "http://www.w3.org/2000/svg"
VEGA_LITE = "6.4"
WIDTH, HEIGHT = 360, 240
"""Pixels of what lies between the axes: with them a chart is little wider than a phone."""
TEXT, LINE, ACCENT, MUTED = "currentColor", "var(--line)", "var(--accent)", "var(--muted)"
NUM_COLOURS = 8
_MARKS = re.compile(r"point|bar|rect mark|circle|square|rule mark|tick")
"""Of which each stands for one row; a line stands for many."""

CONFIG: dict[str, Any] = {
    "background": None,
    "padding": {"left": 26, "right": 20, "top": 6, "bottom": 6},  # fonts of readers may be wider than those measured
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": TEXT, "titleColor": TEXT, "gridColor": LINE, "domainColor": LINE, "tickColor": LINE,
        "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal", "labelLimit": 180, "titlePadding": 14,
    },
    "legend": {"labelColor": TEXT, "titleColor": TEXT, "labelFontSize": 12, "orient": "top", "title": None,
               "columns": 1, "labelLimit": 320, "symbolStrokeWidth": 3, "symbolOpacity": 1},
    "header": {"labelColor": TEXT, "titleColor": TEXT, "labelFontSize": 12},
    "text": {"color": TEXT, "fontSize": 12},
    "title": {"color": TEXT},
}  # fmt: skip


def coloured(models: Iterable[str], shown: Iterable[str]) -> alt.Color:
    """Return how marks are coloured by model: each has one colour in all charts of a page; the legend has `shown`."""
    names, wanted = list(models), set(shown)
    scale = alt.Scale(domain=names, range=[f"var(--c{number % NUM_COLOURS})" for number in range(len(names))])
    return alt.Color("model:N", scale=scale, legend=alt.Legend(values=[name for name in names if name in wanted]))


def data_of(rows: Sequence[Mapping[str, Any]]) -> alt.Data:
    return alt.Data(values=[dict(row) for row in rows])  # type: ignore[no-untyped-call]


def drawn(chart: Any, caption: str, *, is_wide: bool = False) -> Chart:
    """Draw an Altair chart; the caption tells those who do not see it what it shows."""
    svg = vl_convert.vegalite_to_svg(chart.to_dict(), vl_version=VEGA_LITE, config=CONFIG, allowed_base_urls=[])
    return Chart(_within_a_page(svg, caption), caption, is_wide)


def _within_a_page(svg: str, caption: str) -> Markup:
    """Return a drawing whose names are its own, that is told by one sentence, and has a tip on each mark."""
    own = f"v{zlib.crc32(svg.encode()):08x}-"
    ET.register_namespace("", SVG)
    root = ET.fromstring(svg)
    for element in root.iter():
        _tell(element)
        _rename(element, own)
    root.set("role", "img")
    root.set("aria-label", caption)
    # Made of parsed XML, so every text of a user's in it is escaped.
    return Markup(ET.tostring(root, encoding="unicode"))


def _rename(element: ET.Element, own: str) -> None:
    """Begin the name of an element, and those that it refers to, with what no other drawing has; attributes hold no
    text of a user's once that is told elsewhere.
    """
    for attribute, value in element.attrib.items():
        element.set(attribute, f"{own}{value}" if attribute == "id" else value.replace("url(#", f"url(#{own}"))


def _tell(element: ET.Element) -> None:
    """Move what a mark says of itself to where browsers show it."""
    words, what = element.get("aria-label"), element.get("aria-roledescription", "")
    for name in ("aria-label", "aria-roledescription", "role", "aria-hidden"):
        element.attrib.pop(name, None)
    if words and _MARKS.search(what):
        title = ET.Element(f"{{{SVG}}}title")
        title.text = words
        element.insert(0, title)
