"""What was made from what, as a graph and in words."""

import re
import xml.etree.ElementTree as ET
from itertools import combinations

from taskdistill.flows.reports.page.blocks import Chart, Folded, Section, Words
from taskdistill.flows.reports.page.lineage import MAX_NODES, lineage
from taskdistill.flows.reports.page.subject import Subject
from taskdistill.storage.store import ArtifactStore
from tests.flows.reports.page.made_up import made_up

BOXES = ".//{http://www.w3.org/2000/svg}g"
RECT, TITLE, PATH = (f"{{http://www.w3.org/2000/svg}}{name}" for name in ("rect", "title", "path"))


def graph(section: Section | None) -> ET.Element:
    assert section
    (chart,) = [block for block in section.blocks if isinstance(block, Chart)]
    return ET.fromstring(chart.svg)


def in_words(section: Section | None) -> dict[str, list[str]]:
    """Return the rows of the table by the names of their steps."""
    assert section
    (folded,) = [block for block in section.blocks if isinstance(block, Folded)]
    return {row[0]: list(row[1:]) for row in folded.table.rows}


def titles(root: ET.Element) -> list[str]:
    return [str(box.findtext(TITLE)) for box in root.iterfind(BOXES)]


def test_every_step_of_a_run_is_a_box_with_its_name_and_reference(subject: Subject) -> None:
    root = graph(lineage(subject))
    assert sorted(titles(root)) == sorted(f"{name}: {ref.short}" for name, ref in subject.steps.items())
    assert root.get("role") == "img"
    assert "Dashed: no longer in the store" in str(root.get("aria-label"))


def test_boxes_lie_within_the_drawing_and_none_on_another(subject: Subject) -> None:
    root = graph(lineage(subject))
    boxes = [tuple(float(str(rect.get(name))) for name in ("x", "y", "width", "height")) for rect in root.iter(RECT)]
    width, height = float(str(root.get("width"))), float(str(root.get("height")))
    assert all(x >= 0 and y >= 0 and x + w <= width and y + h <= height for x, y, w, h in boxes)
    for (x, y, w, h), (other_x, other_y, _, _) in combinations(boxes, 2):
        assert abs(x - other_x) >= w or abs(y - other_y) >= h


def test_arrows_lead_from_the_right_of_one_box_to_the_left_of_another(subject: Subject) -> None:
    root = graph(lineage(subject))
    rects = [[float(str(rect.get(name))) for name in ("x", "y", "width", "height")] for rect in root.iter(RECT)]
    left = {(x, y + height / 2) for x, y, _, height in rects}
    right = {(x + width, y + height / 2) for x, y, width, height in rects}
    drawn = [str(path.get("d")) for path in root.iter(PATH) if path.get("marker-end")]
    assert len(drawn) > len(rects) / 2
    for path in drawn:
        numbers = [float(number) for number in re.findall(r"-?[\d.]+", path)]
        assert (numbers[0], numbers[1]) in right
        assert (numbers[-2], numbers[-1]) in left


def test_the_table_tells_what_each_was_made_from_with_roles(subject: Subject) -> None:
    rows = in_words(lineage(subject))
    assert rows["ingest"] == [subject.steps["ingest"].short, ""]
    assert rows["precompute"][1] == "features: extract-teacher, probe: probe-teacher"
    assert rows["distill-seed0"][1] == "images: ingest, probe: probe-student, logits: precompute"


def test_what_the_chosen_student_was_made_from_has_a_strong_line_and_what_is_gone_a_dashed_one(
    subject: Subject,
) -> None:
    assert subject.chosen
    subject.store.remove(subject.steps["extract-teacher"])
    root = graph(lineage(subject))
    strong = [str(box.findtext(TITLE)) for box in root.iterfind(BOXES) if box.find(RECT).get("stroke-width") == "1.8"]
    assert f"ingest: {subject.steps['ingest'].short}" in strong
    assert any(title.endswith(subject.chosen.artifact.short) for title in strong)
    assert not any(title.startswith("evaluate") for title in strong)
    dashed = [str(box.findtext(TITLE)) for box in root.iterfind(BOXES) if box.find(RECT).get("stroke-dasharray")]
    assert dashed == [f"extract-teacher: {subject.steps['extract-teacher'].short}"]
    assert in_words(lineage(subject))["extract-teacher"][1] == "(no longer in the store)"


def test_of_very_many_artifacts_those_are_drawn_that_lead_to_the_chosen_student(store: ArtifactStore) -> None:
    many = made_up(store, ["ant", "bee"], [0, 1], seeds=range(30))
    section = lineage(many)
    assert section
    words = section.blocks[0]
    assert isinstance(words, Words)
    total = 1 + 2 * len(many.results)
    assert total > MAX_NODES
    assert words.text == f"Of {total} artifacts those are drawn that lead to the chosen student."
    assert len(titles(graph(section))) == 3  # the images, the student, its scores
    assert len(section.blocks[-1].table.rows) == total
