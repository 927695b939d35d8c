"""What each class adds to the score, model beside model."""

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from taskdistill.flows.pipeline.chain import ModelResult
from taskdistill.flows.reports.classes import class_rows, class_tables
from taskdistill.flows.reports.page.subject import Subject
from taskdistill.flows.reports.page.writing import write_report
from taskdistill.flows.reports.pictures import pictures_of
from taskdistill.flows.reports.prefect_ui import scores_in_markdown
from taskdistill.flows.reports.remarks import remarks, scores_for_programs
from taskdistill.storage.store import ArtifactStore
from tests.flows.scored import evaluated

NAMES = ["road", "<b>tree|"]


def scored(store: ArtifactStore, model: str, seed: int | None, road: float, tree: float) -> ModelResult:
    of_classes = {"class": NAMES, "IoU": [road, tree], "accuracy": [road, 0.5]}
    more = {"score_name": "miou", "problem": "segmentation"}
    return evaluated(store, model, seed, [0.5, 0.5], classes=of_classes, **more)  # type: ignore[arg-type]


@pytest.fixture
def results(store: ArtifactStore) -> list[ModelResult]:
    return [
        scored(store, "teacher probed", None, 0.9, math.nan),
        scored(store, "student distilled", 0, 0.7, 0.2),
        scored(store, "student distilled", 1, 0.8, math.nan),
    ]


def test_the_table_has_a_line_for_each_class_and_a_column_for_each_model_the_mean_of_its_seeds(
    results: list[ModelResult], store: ArtifactStore
) -> None:
    [(table, notes)] = class_tables(results, store)  # mean accuracy has no column in the table of scores
    columns = {str(column.header): list(column.cells) for column in table.columns}
    assert columns == {"class": NAMES, "teacher probed": ["90.0", "-"], "student distilled": ["75.0", "20.0"]}
    assert notes == "IoU of each class on test in %, mean over seeds; -: the class is not there."


def test_it_is_in_the_markdown_and_on_the_page_and_names_of_classes_are_text(
    results: list[ModelResult], store: ArtifactStore, tmp_path: Path
) -> None:
    assert "| <b>tree\\| | - | 20.0 |" in scores_in_markdown(results, store, "streets")
    write_report(tmp_path / "page.html", Subject("streets", results, {}, store, "", []))
    page = (tmp_path / "page.html").read_text()
    assert "<p>IoU of each class on test" in page
    number = '<td class="number">'
    assert f"<bdi>&lt;b&gt;tree|</bdi></th>{number}20.0</td>" in page


def test_programs_are_given_every_value_and_nothing_where_there_are_no_classes(
    results: list[ModelResult], store: ArtifactStore
) -> None:
    rows = class_rows(results, store)
    assert len(rows) == 3 * 2 * 2
    assert [row["value"] for row in rows if row["class"] == NAMES[1] and row["metric"] == "IoU"] == [None, 0.2, None]
    assert scores_for_programs(results, store)["classes"] == rows
    assert "classes" not in scores_for_programs([evaluated(store, "student probed", None, [1.0])], store)


def test_an_evaluation_without_such_a_table_has_no_column(results: list[ModelResult], store: ArtifactStore) -> None:
    without = evaluated(store, "student finetuned", 0, [0.5], score_name="miou", problem="segmentation")
    [(table, _)] = class_tables([*results, without], store)
    assert [column.header for column in table.columns] == ["class", "teacher probed", "student distilled"]
    assert class_tables([without], store) == []


def test_models_that_were_shown_the_images_in_different_ways_are_named(store: ArtifactStore) -> None:
    probed = evaluated(store, "student probed", None, [0.5])
    students = [
        evaluated(store, name, seed, [0.5], settings={"windows": {"show": "sliding"}})
        for name, seed in (("student finetuned", 0), ("student distilled", 0), ("student distilled", 1))
    ]
    assert [line for line in remarks([probed, *students], store) if line.startswith("Not shown alike")] == [
        "Not shown alike: student finetuned, student distilled in the windows that were asked for; student probed in "
        "the clean view, which is what is cached. What lies between them is not training alone."
    ]
    assert not any(line.startswith("Not shown alike") for line in remarks(students, store))


def test_wide_pictures_are_shown_once_and_in_few_bytes(store: ArtifactStore, tmp_path: Path) -> None:
    result = evaluated(store, "student finetuned", 0, [0.5])
    folder = store.path(result.evaluation)
    noise = np.random.default_rng(0).integers(0, 256, (300, 900, 3), np.uint8)
    folder.chmod(0o755)
    for name in ("test-images.png", "test-confusion.png"):
        Image.fromarray(noise).save(folder / name)
    shown = [path.name for _, paths in pictures_of(result.evaluation, store) for path in paths]
    assert shown == ["test-images.png", "test-confusion.png"]
    write_report(tmp_path / "page.html", Subject("streets", [result], {}, store, "", []))
    page = (tmp_path / "page.html").read_text()
    assert page.count('<img src="data:image/jpeg') == 1
    assert "data:image/png" not in page
