"""Predicting from the command line: what is answered is what was scored, and what cannot be answered is named."""

import csv
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.tables import read_table
from taskdistill.tasks.deploy.temperature import evaluation_of, temperature_of
from tests.flows.conftest import Done, call

Predict = Callable[..., Done]
ON_THE_CPU = ("--set", "runtime.device=cpu", "--set", "runtime.threads=1", "--set", "runtime.inference_batch_size=16")


@pytest.fixture(scope="module")
def store(first_run: tuple[Path, Done]) -> ArtifactStore:
    """The store of the finished experiment. Read only."""
    return ArtifactStore(first_run[0])


@pytest.fixture(scope="module")
def student(first_run: tuple[Path, Done], store: ArtifactStore) -> ArtifactRef:
    return next(
        store.resolve(step["reference"]) for step in first_run[1].json["stages"] if step["name"] == "distill-seed0"
    )


@pytest.fixture
def predict(store: ArtifactStore, student: ArtifactRef, tmp_path: Path) -> Predict:
    """Predict with the distilled student, into a table of the test's own folder."""

    def call_predict(*sources: Path | str, to: str = "said.csv", more: tuple[str, ...] = ()) -> Done:
        named = [str(source) for source in sources]
        return call(store, "predict", student.short, *named, "-o", str(tmp_path / to), *ON_THE_CPU, *more)

    return call_predict


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_answers_to_the_test_images_are_those_of_the_evaluation(
    predict: Predict, store: ArtifactStore, student: ArtifactRef, shapes_folder: Path, tmp_path: Path
) -> None:
    done = predict(shapes_folder / "test", to="said.parquet", more=("--json",))
    assert done.code == 0, done.stderr
    assert done.json["predicted"] == 12
    said = {row["path"]: row for row in pq.read_table(tmp_path / "said.parquet").to_pylist()}
    evaluation = evaluation_of(store, student)
    assert evaluation is not None
    classes, temperature = ImageSet.open(store.path(store.manifest(student).input_refs["images"])).classes, None
    temperature = temperature_of(store, student)
    scored = read_table(store.path(evaluation) / "test-predictions.parquet")
    assert len(scored) == len(said)
    for row in scored:
        answer = said[str(shapes_folder / row["id"])]
        assert answer["prediction"] == answer["top1"] == classes[row["predicted"]]
        logits_K = np.asarray(row["outputs"]) / temperature
        shares_K = np.exp(logits_K) / np.exp(logits_K).sum()
        assert answer["probability"] == answer["probability1"] == pytest.approx(shares_K.max(), abs=1e-5)
        assert answer["top2"] == classes[int(np.argsort(-shares_K)[1])]


def test_a_table_names_path_prediction_probability_and_the_most_likely_classes(
    predict: Predict, shapes_folder: Path, tmp_path: Path
) -> None:
    done = predict(shapes_folder / "test" / "disc", more=("--top", "2"))
    assert done.code == 0, done.stderr
    rows = rows_of(tmp_path / "said.csv")
    assert list(rows[0]) == ["path", "prediction", "probability", "top1", "probability1", "top2", "probability2"]
    assert [row["path"] for row in rows] == [str(shapes_folder / "test" / "disc" / f"00{n}.png") for n in range(4)]
    assert "holds the predictions of 4 images" in done.stdout
    assert "Probabilities are those at temperature" in done.stderr


def test_below_the_threshold_it_does_not_know_and_what_that_costs_is_told(
    predict: Predict, shapes_folder: Path, tmp_path: Path
) -> None:
    done = predict(shapes_folder / "test", more=("--threshold", "1"))
    assert "With the threshold 1, on validation: of 12 images it answers none" in done.stderr
    rows = rows_of(tmp_path / "said.csv")
    assert {row["prediction"] for row in rows} == {""}
    assert all(row["top1"] for row in rows)


def test_only_images_that_are_not_in_the_table_are_predicted(
    predict: Predict, shapes_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "arriving"
    shutil.copytree(shapes_folder / "test" / "disc", folder)
    assert predict(folder, more=("--json",)).json["predicted"] == 4
    before = rows_of(tmp_path / "said.csv")
    shutil.copy(shapes_folder / "test" / "wedge" / "000.png", folder / "new.png")
    done = predict(folder, more=("--json",))
    assert (done.json["predicted"], done.json["already"]) == (1, 4)
    after = rows_of(tmp_path / "said.csv")
    assert after[:4] == before
    assert after[4]["path"] == str(folder / "new.png")
    assert predict(folder, more=("--json",)).json["predicted"] == 0


def test_what_a_killed_run_had_done_is_not_done_again(predict: Predict, shapes_folder: Path, tmp_path: Path) -> None:
    folder = shapes_folder / "test" / "disc"
    predict(folder)
    (first, *_), table = rows_of(tmp_path / "said.csv"), tmp_path / "said.csv"
    table.unlink()
    first["top1"] = "as it was noted"
    (tmp_path / "said.csv.unfinished").write_text(json.dumps(first) + "\n" + '{"path": "half a li')
    assert predict(folder, more=("--json",)).json["already"] == 1
    rows = rows_of(table)
    assert (len(rows), rows[0]["top1"]) == (4, "as it was noted")
    assert not (tmp_path / "said.csv.unfinished").exists()


def test_rows_of_other_settings_are_not_mixed(predict: Predict, shapes_folder: Path) -> None:
    predict(shapes_folder / "test")
    done = predict(shapes_folder / "test", more=("--threshold", "0.5"))
    assert done.code == 1
    assert "was made with threshold 0.0, and now it would be 0.5: remove it, or name another --output" in done.stderr


def test_broken_images_are_named_and_listed_and_the_others_predicted(
    predict: Predict, shapes_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "mixed"
    shutil.copytree(shapes_folder / "test" / "disc", folder)
    whole = (folder / "000.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "notes.txt").write_text("no image")
    done = predict(folder)
    assert done.code == 0
    assert f"left out {folder}/empty.jpg: the file is empty" in caplog.text
    assert "not an image 1" in done.stderr
    assert "2 images could not be predicted" in done.stdout
    assert len(rows_of(tmp_path / "said.csv")) == 4
    listed = rows_of(tmp_path / "said.left-out.csv")
    assert [Path(row["path"]).name for row in listed] == ["cut.png", "empty.jpg"]
    assert listed[0]["reason"].startswith("damaged")


def test_a_file_that_vanishes_is_named(predict: Predict, shapes_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(f"path\n{shapes_folder}/test/disc/000.png\ngone.png\n")
    done = predict(tmp_path / "list.csv", more=("--json",))
    assert done.json["predicted"] == 1
    assert done.json["left_out"] == [{"path": "gone.png", "reason": "it is not there, or no longer"}]


def test_nothing_but_broken_images_is_an_error(predict: Predict, tmp_path: Path) -> None:
    (tmp_path / "one.jpg").write_bytes(b"")
    done = predict(tmp_path / "one.jpg")
    assert done.code == 1
    assert "not one of 1 images could be predicted; the first is" in done.stderr


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: (folder / "clip.MP4").write_bytes(b"x"), "is a video: write its frames as images first"),
        (lambda folder: (folder / "notes.txt").write_text("x"), "holds no images (not an image 1)"),
        (lambda folder: None, "is empty"),
    ],
    ids=["a video", "no image", "nothing"],
)
def test_a_folder_without_images_is_refused_before_anything_is_loaded(
    store: ArtifactStore, student: ArtifactRef, tmp_path: Path, make: Callable[[Path], object], said: str
) -> None:
    (tmp_path / "in").mkdir()
    make(tmp_path / "in")
    done = call(store, "predict", student.short, str(tmp_path / "in"), "-o", str(tmp_path / "said.csv"))
    assert done.code == 1
    assert said in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("missing.png",), "there is no file or folder 'missing.png'"),
        (("clip.mov",), "clip.mov is a video"),
        (("here.txt",), "here.txt is no image"),
        (("here.png", "-o", "said.xlsx"), "let its name end in .csv or .parquet"),
        (("here.png", "-o", "nowhere/said.csv"), "there is no folder"),
        (("here.png", "--top", "0"), "--top 0: expected 1 or more classes"),
        (("here.png", "--threshold", "80"), "--threshold 80: expected a probability from 0 to 1"),
        (("here.png", "--set", "training.epochs=3"), "only settings of runtime are taken here"),
    ],
)
def test_a_mistake_is_told_at_once(
    store: ArtifactStore,
    student: ArtifactRef,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("clip.mov", "here.txt", "here.png"):
        Path(name).write_bytes(b"x")
    done = call(store, "predict", student.short, *arguments)
    assert done.code == 1
    assert said in done.stderr
    assert sorted(os.listdir()) == ["clip.mov", "here.png", "here.txt"]


def test_what_is_no_model_is_answered_with_the_model_that_is_meant(
    store: ArtifactStore, student: ArtifactRef, tmp_path: Path
) -> None:
    evaluation = evaluation_of(store, student)
    assert evaluation is not None
    done = call(store, "predict", evaluation.short, str(tmp_path))
    assert f"is an evaluation, but a model is needed here: the model that it scored is {student.short}" in done.stderr
    probe = store.references("probe")[0]
    assert "a probe is a head alone" in call(store, "predict", probe.short, str(tmp_path)).stderr
