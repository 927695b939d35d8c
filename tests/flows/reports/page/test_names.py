"""Names of classes and files, such as people give them, in sentences, tables and drawings."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import altair as alt
import pytest

from taskdistill.flows.pipeline.chain import CONTROL, STUDENT
from taskdistill.flows.reports.page.blocks import Chart, Pictures, Section, Table, distinct, file_name, plain, short
from taskdistill.flows.reports.page.by_class import by_class
from taskdistill.flows.reports.page.charts import data_of, drawn
from taskdistill.flows.reports.page.confusion import PRECISION, RECALL, confusion
from taskdistill.flows.reports.page.dataset import dataset
from taskdistill.flows.reports.page.mistakes import mistakes
from taskdistill.flows.reports.page.subject import Subject
from taskdistill.flows.reports.page.writing import write_report
from taskdistill.storage.store import ArtifactStore
from tests.flows.reports.page.made_up import TEACHER, made_up

LONG = "a warbler that is told from the other only by its "
BIRD, CAT = "ציפור", "חתול"
URL = 'url(#abc) id="foo'


@pytest.fixture
def alike(store: ArtifactStore) -> Subject:
    """Two classes of 30 and 20 images whose long names differ at their ends, and a third."""
    return made_up(store, [f"{LONG}song", f"{LONG}legs", "cat"], [0] * 30 + [1] * 20 + [2] * 10)


def blocks_of(section: Section | None, kind: type) -> list:
    assert section
    return [block for block in section.blocks if isinstance(block, kind)]


def texts(chart: Chart) -> list[str]:
    return [
        element.text or "" for element in ET.fromstring(chart.svg).iter() if element.tag.endswith(("text", "title"))
    ]


def test_classes_whose_names_begin_alike_have_lines_of_their_own_in_table_and_drawing(alike: Subject) -> None:
    (table,) = blocks_of(by_class(alike), Table)
    (chart,) = blocks_of(by_class(alike), Chart)
    names = [f"{LONG[:39]}… (1)", f"{LONG[:39]}… (2)"]
    assert sorted((row[0], row[1]) for row in table.rows) == [(names[0], "30"), (names[1], "20"), ("cat", "10")]
    tips = [text.rpartition(": ")[0] for text in texts(chart) if text.endswith(" %")]
    assert {tip for tip in tips if tip.startswith(LONG[:39])} == {
        f"{name}, {model}" for name in names for model in (CONTROL, STUDENT, TEACHER)
    }


def test_a_class_is_called_the_same_wherever_it_is(alike: Subject) -> None:
    (counts,) = blocks_of(dataset(alike), Table)
    assert {row[0]: row[-1] for row in counts.rows} == dict(zip(alike.labels, ("30", "20", "10"), strict=True))
    headings = {heading for block in blocks_of(confusion(alike), Pictures) for heading, _ in block.rows}
    assert any(heading.startswith(f"{alike.labels[0]} / {alike.labels[1]}: ") for heading in headings)
    lines = {line for block in blocks_of(mistakes(alike), Pictures) for _, row in block.rows for one in row
             for line in one.lines}  # fmt: skip
    assert f"is {alike.labels[1]}" in lines


def test_names_that_were_made_to_differ_differ_from_all_others() -> None:
    assert distinct(["a", "b", "a"]) == ["a (1)", "b", "a (3)"]
    assert distinct(["a", "a", "a (1)"]) == ["a (1) (1)", "a (2)", "a (1)"]
    assert distinct(["a", RECALL], [RECALL, PRECISION]) == ["a", f"{RECALL} (2)"]


def test_a_name_that_is_written_from_right_to_left_turns_no_sentence_around(store: ArtifactStore) -> None:
    subject = made_up(store, [BIRD, CAT], [0, 1] * 20)
    headings = [heading for block in blocks_of(confusion(subject), Pictures) for heading, _ in block.rows]
    assert re.fullmatch(f"\u2068{BIRD}\u2069 / \u2068{CAT}\u2069: \\d+ and \\d+ images", headings[0])
    lines = [line for block in blocks_of(mistakes(subject), Pictures) for _, row in block.rows for one in row
             for line in one.lines]  # fmt: skip
    assert any(re.fullmatch(f"said \u2068{BIRD}\u2069 \\(\\d+ %\\)", line) for line in lines)
    assert f"\u2068{BIRD}/0.png\u2069" in lines


def test_a_line_under_a_picture_that_begins_with_such_a_name_is_written_from_the_left(
    store: ArtifactStore, tmp_path: Path
) -> None:
    write_report(tmp_path / "page.html", made_up(store, [BIRD, CAT], [0, 1] * 20))
    # An element of its own, <bdi>, would take its direction from the name, and the arrow would point at that.
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert f"<figcaption>\u2068{BIRD}\u2069 →<br>\u2068{CAT}\u2069<br>" in page


def test_a_long_name_from_right_to_left_ends_where_it_is_cut() -> None:
    assert short(50 * "ש") == f"\u2068{39 * 'ש'}…\u2069"
    assert file_name(50 * "ש") == f"\u2068…{39 * 'ש'}\u2069"
    assert short("bird") == "bird"


@pytest.mark.parametrize("control", [*"\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"])
def test_what_turns_the_direction_of_writing_around_becomes_visible(control: str) -> None:
    assert plain(f"a{control}gpj.exe") == f"a\\u{ord(control):04x}gpj.exe"
    assert short(f"{BIRD}{control}") == f"\u2068{BIRD}\\u{ord(control):04x}\u2069"


def test_names_of_a_drawing_are_its_own_and_text_is_as_it_is() -> None:
    rows = [{"class": name, "x": x, "words": f"{name}, {x}"} for x, name in enumerate((URL, "b"))]
    marks = alt.Chart(data_of(rows)).mark_point().encode(
        x="x:Q", y="class:N", color="x:Q", description="words:N"
    )  # fmt: skip  # a scale of colours is a gradient, which has a name
    chart = drawn(marks, f"Of {URL}.")
    assert {URL, f"{URL}, 0"} <= set(texts(chart))
    root = ET.fromstring(chart.svg)
    assert root.get("aria-label") == f"Of {URL}."
    [gradient] = [name for one in root.iter() if (name := one.get("id"))]
    [filled] = [fill for one in root.iter() if (fill := one.get("fill", "")).startswith("url(")]
    assert filled == f"url(#{gradient})"
    assert re.fullmatch(r"v[0-9a-f]{8}-\w+", gradient)
