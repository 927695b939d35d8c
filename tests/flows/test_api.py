"""The page about Python is true: every line of it is run."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import taskdistill
from taskdistill.configs.experiment import Experiment
from taskdistill.flows import api
from taskdistill.flows.reports.handing_over import given_of
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.data.decode import decode_rgb
from taskdistill.tasks.export import torch_target
from taskdistill.tasks.export.target import export
from tests.flows.conftest import write_preset

PAGE = Path(__file__).parents[2] / ".github" / "API.md"


@pytest.fixture
def student(finished: ArtifactStore) -> ArtifactRef:
    return next(ref for ref in finished.references("model") if finished.manifest(ref).recipe["stage"] == "distill")


@pytest.fixture
def here(
    finished: ArtifactStore, student: ArtifactRef, shapes_folder: Path, experiment: Experiment, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:  # fmt: skip
    """A folder with what the page takes to be there: a labelled model, photographs, a table of them, a preset."""
    folder = tmp_path / "here"
    shutil.copytree(shapes_folder / "test", folder / "new_photos")
    (folder / "new_photos" / "broken.jpg").write_bytes(b"")
    (folder / "list.csv").write_text("path\nnew_photos/disc/000.png\n")
    write_preset(folder / "birds.yaml", experiment)
    given = given_of(finished, student, "fp32")
    export(torch_target.write, "torch", given, folder / "birds-torch")
    finished.label("birds-production", student)
    monkeypatch.setenv("TASKDISTILL_STORE", str(finished.root))
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.usefixtures("here")
def test_every_line_of_the_page_runs_and_says_what_the_page_says() -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= 10
    names: dict[str, object] = {}
    exec(compile("".join(blocks), str(PAGE), "exec"), names)
    done, ran, teacher, first = (names[name] for name in ("done", "ran", "teacher", "first"))
    assert isinstance(done, object)
    assert (done.predicted, done.already, len(done.left_out)) == (12, 0, 1)  # type: ignore[attr-defined]
    assert ran.best.startswith("model@")  # type: ignore[attr-defined]
    assert teacher.values.shape == (24, 3)  # type: ignore[attr-defined]  # validation and test
    assert first.values.shape == (24, 3)  # type: ignore[attr-defined]  # training
    assert names["best"].reference == ran.best  # type: ignore[attr-defined]
    model, exported = names["model"], names["exported"]
    assert exported.reference == model.reference  # type: ignore[attr-defined]
    of_store, of_folder = (one.predict("new_photos/disc") for one in (model, exported))  # type: ignore[attr-defined]
    assert [row["prediction"] for row in of_folder] == [row["prediction"] for row in of_store]


def test_rows_and_single_outputs_say_the_same(here: Path) -> None:
    model = taskdistill.load("birds-production", settings=["runtime.device=cpu"])
    rows = model.predict("new_photos/disc")
    assert list(rows[0])[:3] == ["path", "prediction", "probability"]
    for row in rows:
        logits = model.outputs(decode_rgb((here / row["path"]).read_bytes()))
        shares = np.exp(logits) / np.exp(logits).sum()
        assert model.classes[shares.argmax()] == row["prediction"]
        assert row["probability"] == pytest.approx(shares.max(), abs=1e-5)


def test_a_row_of_what_cannot_be_read_has_its_error(here: Path) -> None:
    (row,) = taskdistill.load("birds-production").predict(here / "new_photos" / "broken.jpg")
    assert row == {"path": str(here / "new_photos" / "broken.jpg"), "error": "the file is empty"}


@pytest.mark.usefixtures("here")
def test_an_array_that_is_no_image_and_a_table_that_cannot_be_are_refused_in_words() -> None:
    model = taskdistill.load("birds-production", settings=["runtime.device=cpu"])
    for other in (np.zeros((8, 9, 3), np.float32), np.zeros((8, 9), np.uint8), np.zeros((3, 8, 9), np.uint8)):
        with pytest.raises(taskdistill.UserError, match=r"uint8 \[height, width, 3\], RGB; found (float32|uint8) \["):
            model.outputs(other)
    for table, said in (
        ("said.txt", "let its name end in .csv or .parquet"),
        ("nowhere/said.csv", "there is no folder"),
    ):
        with pytest.raises(taskdistill.UserError, match=said):
            model.predict_to("new_photos", table)


@pytest.mark.usefixtures("here")
def test_a_name_that_means_something_else_is_told() -> None:
    with pytest.raises(taskdistill.UserError, match="neither a label nor a reference"):
        taskdistill.load("birds-productoin")
    with pytest.raises(taskdistill.UserError, match="--top 0"):
        taskdistill.load("birds-production").predict("new_photos", top=0)


@pytest.mark.usefixtures("here")
def test_only_what_stands_in_its_list_is_public() -> None:
    assert all(getattr(taskdistill, name).__doc__ for name in taskdistill.__all__)
    assert taskdistill.__all__ == api.__all__
