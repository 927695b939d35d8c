"""Pictures with whatever names users give their classes: each is drawn as it is or by its number, never as a box."""

import logging
import warnings
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from taskdistill.tasks.problems.names import MAX_CHARACTERS, drawable
from taskdistill.tasks.problems.pictures import draw_confusion, draw_history, save

PLAIN = [
    "cat", "Ünïcödé", "Кошка", "Γάτα", "$x^2$", "$", "$\\frac{", "a_b^c", "{0} {name} {", "%s %(x)d", "\\begin{x}",
    "<b>&", "w" * MAX_CHARACTERS,
]  # fmt: skip
NUMBERED = {
    "Chinese": "猫", "Japanese": "ねこ", "Korean": "고양이", "Arabic": "قط", "Hebrew": "חתול", "Hindi": "बिल्ली",
    "Thai": "แมว", "half Chinese": "cat 猫", "new emoji": "🫎", "line break": "a\nb", "tab": "a\tb", "escape": "\x1b[1",
    "mirrored": "\u202ecat", "not decoded": "caf\udce9", "private": "\ue000", "blank": " ", "long": "n" * 200,
    "like a number": "#1",
}  # fmt: skip


def picture(path: Path) -> np.ndarray:
    with Image.open(path) as opened:
        return np.asarray(opened.convert("L"))


@pytest.mark.parametrize("name", PLAIN)
def test_a_name_in_letters_that_the_font_has_stands_as_it_is(name: str) -> None:
    assert drawable(["dog", name]) == (["dog", name], {})


@pytest.mark.parametrize("name", NUMBERED.values(), ids=NUMBERED.keys())
def test_a_name_that_cannot_be_drawn_is_replaced_by_the_number_of_its_class(name: str) -> None:
    assert drawable(["dog", name, "cat"]) == (["dog", "#1", "cat"], {"#1": name})


def test_any_names_are_drawn_without_a_warning_and_numbers_are_explained_beside_the_picture(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = [*PLAIN, *NUMBERED.values()]
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING):
        warnings.simplefilter("error")
        draw_confusion(tmp_path / "test-confusion.png", np.eye(len(names), dtype=int), names)
    assert caplog.text == ""
    assert min(picture(tmp_path / "test-confusion.png").shape) > 400
    lines = (tmp_path / "test-confusion-classes.txt").read_text(encoding="utf-8").splitlines()
    assert len(lines) == len(NUMBERED)
    assert lines[0] == f"#{len(PLAIN)} = 猫"
    assert f"#{names.index('a' + chr(10) + 'b')} = a b" in lines


def test_names_that_the_font_has_need_no_list(tmp_path: Path) -> None:
    draw_confusion(tmp_path / "test-confusion.png", np.eye(2), ["cat", "dog"])
    assert [path.name for path in tmp_path.iterdir()] == ["test-confusion.png"]


def test_a_formula_is_drawn_as_its_signs(tmp_path: Path) -> None:
    # Read as formulas, both names would be the same italic letter.
    for number, name in enumerate(("$x$", "${x}$")):
        draw_confusion(tmp_path / f"{number}.png", np.eye(2), ["cat", name])
    first, second = (picture(tmp_path / f"{number}.png") for number in (0, 1))
    assert first.shape != second.shape or (first != second).any()


@pytest.mark.parametrize("num_classes", [1, 2, 40, 41, 1000])
def test_a_matrix_of_any_size_is_drawn_when_nothing_was_predicted(tmp_path: Path, num_classes: int) -> None:
    names = [f"class {number}" for number in range(num_classes)]
    draw_confusion(tmp_path / "confusion.png", np.zeros((num_classes, num_classes), int), names)
    assert min(picture(tmp_path / "confusion.png").shape) > 300


@pytest.mark.parametrize(
    "history",
    [
        [],
        [{"step": 0, "val_score": 0.5}],
        [{"step": 0, "val_score": float("nan")}, {"step": 3, "val_score": 0.5, "loss": float("nan")}],
        [{"step": 0, "val_score": 0.5, "loss": None}, {"step": 3, "val_score": 0.5, "loss": 1e300}],
    ],
    ids=["nothing", "the start alone", "no numbers", "huge"],
)
def test_any_history_is_drawn(tmp_path: Path, history: list[dict[str, float | None]]) -> None:
    draw_history(tmp_path / "history.png", history, "top1")
    assert min(picture(tmp_path / "history.png").shape) > 100


def test_a_picture_that_cannot_be_drawn_is_left_out_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    broken, huge = Figure(), Figure(figsize=(1e4, 1e4))
    broken.text(0.5, 0.5, "$\\frac{$")  # read as a formula, which it is not
    for figure in (broken, huge):
        save(figure, tmp_path / "broken.png")
    assert list(tmp_path.iterdir()) == []
    assert [record.message.partition(" (")[0] for record in caplog.records] == ["broken.png could not be drawn"] * 2
