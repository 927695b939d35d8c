"""An exported folder predicts as the model does that it was made of, and a folder that is not as it was is refused."""

import csv
from pathlib import Path

import pytest

from taskdistill.storage.files import all_files
from taskdistill.tasks.deploy.predicting import Predictor
from taskdistill.tasks.deploy.ready import Ready, Wish
from taskdistill.tasks.deploy.sources import listed
from taskdistill.tasks.export import onnx_target, timm_target, torch_target
from taskdistill.tasks.export.loading import ready_folder
from taskdistill.tasks.export.target import ExportError, Given, Target, Written, export
from tests.conftest import RUNTIME, Bench
from tests.tasks.export.networks import CONVOLUTIONAL, classifier, images_of
from tests.tasks.openmmlab.models import finished_model

TARGETS: dict[str, Target] = {"torch": torch_target.write, "onnx": onnx_target.write, "timm": timm_target.write}


def table_of(ready: Ready, pictures: Path, table: Path) -> list[dict[str, str]]:
    Predictor(ready, RUNTIME).write(listed([str(pictures)]).images, table)
    with table.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("target", TARGETS)
def test_the_table_is_the_one_that_the_model_in_the_store_gives(
    workshop: Bench, shapes_folder: Path, tmp_path: Path, target: str
) -> None:
    ref = classifier(workshop)
    given = Given(workshop.path(ref), images_of(workshop), 1.7, model=str(ref))
    export(TARGETS[target], target, given, tmp_path / "new")
    ready = ready_folder(tmp_path / "new", Wish(top=2))
    assert (ready.name, ready.temperature) == (str(ref), 1.7)
    assert ready.made_by()["exported"] == f"{target} fp32"
    of_folder = table_of(ready, shapes_folder / "test", tmp_path / "folder.csv")
    in_store = Ready.of(workshop.store, ref, Wish(top=2, temperature=1.7))
    of_store = table_of(in_store, shapes_folder / "test", tmp_path / "store.csv")
    assert len(of_folder) == 12
    for ours, theirs in zip(of_store, of_folder, strict=True):
        for column in ("path", "prediction", "top1", "top2"):
            assert ours[column] == theirs[column]
        assert float(theirs["probability1"]) == pytest.approx(float(ours["probability1"]), abs=1e-5)


def test_masks_are_those_of_the_model_in_the_store(workshop: Bench, shapes_folder: Path, tmp_path: Path) -> None:
    see = CONVOLUTIONAL.model_copy(update={"clean_view": "center"})
    ref = finished_model(workshop.store, see, blocks=["map-2", "map"], classes=["sky", "road"], sure=100)
    export(torch_target.write, "torch", Given(workshop.path(ref)), tmp_path / "new")
    pictures = shapes_folder / "test" / "disc"
    found = {}
    for name, ready in (
        ("folder", ready_folder(tmp_path / "new", Wish())), ("store", Ready.of(workshop.store, ref, Wish()))
    ):  # fmt: skip
        table_of(ready, pictures, tmp_path / f"{name}.csv")
        found[name] = [path.read_bytes() for path in sorted(all_files(tmp_path / f"{name}-mask"))]
    assert len(found["store"]) == 4
    assert found["folder"] == found["store"]


def test_a_file_that_is_altered_or_missing_is_named_before_anything_is_predicted(
    workshop: Bench, tmp_path: Path
) -> None:
    export(torch_target.write, "torch", Given(workshop.path(classifier(workshop))), tmp_path / "new")
    program = tmp_path / "new" / "model.pt2"
    program.write_bytes(program.read_bytes()[:-1] + b"?")
    with pytest.raises(ExportError, match=r"model\.pt2 is not what was exported: export the model again"):
        ready_folder(tmp_path / "new", Wish())
    program.unlink()
    with pytest.raises(ExportError, match=r"lacks model\.pt2"):
        ready_folder(tmp_path / "new", Wish())


def test_a_folder_for_another_program_says_what_is_loaded_here(workshop: Bench, tmp_path: Path) -> None:
    given = Given(workshop.path(classifier(workshop)))
    export(lambda given, folder: Written("# A model", [], {}), "mmseg", given, tmp_path / "new")
    with pytest.raises(ExportError, match="exported to mmseg, for other programs: here onnx, torch, timm, hub-folder"):
        ready_folder(tmp_path / "new", Wish())
