"""A model that is handed over to mmsegmentation gives there the logits that it gives here."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate
from typer.testing import CliRunner

from taskdistill.configs.models import Backbone
from taskdistill.flows.cli import app
from taskdistill.storage.files import all_files
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.functional.views import clean_view, replay
from taskdistill.tasks.models.preprocessing import normalise
from taskdistill.tasks.models.task_model import load_model
from tests.conftest import Bench
from tests.tasks.openmmlab.models import CLASSES, finished_model

pytest.importorskip("mmseg", reason="mmsegmentation is not installed (the extra 'segmentation')")

from taskdistill.tasks.export.target import Exported, ExportError, Given
from taskdistill.tasks.export.target import export as written
from taskdistill.tasks.openmmlab import export as exporting

PYRAMID = ["map-4", "map-3", "map-2", "map"]
TINY = Backbone(name="test_resnet", weights="random", input_px=64)
VIT = Backbone(name="test_vit", weights="random", input_px=48)

AS_A_USER = """
import sys
sys.path.insert(0, ".")
from importlib import import_module
from pathlib import Path
[package] = Path().glob("taskdistill_*")
import_module(f"{package.name}.mmcv_ops").prepare()
import warnings; warnings.simplefilter("ignore")
import numpy as np
from mmseg.apis import inference_model, init_model
model = init_model("config.py", "weights.pth", device="cpu")
answer = inference_model(model, sys.argv[1])
np.savez(sys.argv[2], logits=answer.seg_logits.data.numpy(), classes=model.dataset_meta["classes"],
         ours=[name for name in sys.modules if name.split(".")[0] == "taskdistill"])
"""


def export(artifact: Path, folder: Path) -> Exported:
    return written(exporting.write, "mmseg", Given(artifact), folder)


def logits_here(folder: Path, pixels_HW3: np.ndarray) -> Tensor:
    """What the model says of an image's clean view, [K, h, w]."""
    model, _ = load_model(folder)
    see = model.preprocessing
    view = clean_view(*pixels_HW3.shape[:2], see.crop_share, see.crop_mode, see.width_to_height)
    seen = np.array(replay(pixels_HW3, view, see.size, see.interpolation))
    with torch.no_grad():
        return model(normalise(seen[None], see, torch.device("cpu")))[0]


def as_a_user(folder: Path, photograph: Path, answer: Path) -> dict[str, np.ndarray]:
    """Run an exported folder as its README says, in a process that has never seen this program."""
    subprocess.run([sys.executable, "-c", AS_A_USER, str(photograph), str(answer)], cwd=folder, check=True, env={})
    return dict(np.load(answer))


@pytest.mark.real_data
def test_another_program_gets_from_a_photograph_the_logits_that_the_model_gives_here(
    real_data: Path, store: ArtifactStore, tmp_path: Path
) -> None:
    student = Backbone(
        name="mobilenetv2_035", weights="file", input_px=224, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5),
        file=str(real_data / "weights/mobilenetv2_035.keras_128_backbone.safetensors"), arguments={"pad_type": "same"},
        input_width_px=320, clean_view="squash",
    )  # fmt: skip
    ref = finished_model(store, student, blocks=PYRAMID)
    exported = export(store.path(ref), tmp_path / "it's handed over")
    assert exported.measured["difference"] <= 1e-4
    photograph = sorted((real_data / "camvid/val").glob("*.png"))[0]
    found = as_a_user(tmp_path / "it's handed over", photograph, tmp_path / "answer.npz")
    pixels_HW3 = np.asarray(Image.open(photograph).convert("RGB"))
    # The whole image is shown, so its own grid lies over that of the answer: torch's own interpolation.
    expected = interpolate(logits_here(store.path(ref), pixels_HW3)[None], pixels_HW3.shape[:2], mode="bilinear")[0]
    torch.testing.assert_close(torch.from_numpy(found["logits"]), expected, atol=1e-4, rtol=0)
    assert found["classes"].tolist() == CLASSES
    assert found["ours"].tolist() == []


def test_of_a_view_that_leaves_out_a_border_the_nearest_cell_speaks_for_it(
    store: ArtifactStore, tmp_path: Path
) -> None:
    """40 x 80 pixels, of which 95 % of the middle square are shown, 38 x 38: the border is what their edge is."""
    ref = finished_model(store, TINY.model_copy(update={"clean_view": "center"}), blocks=PYRAMID)
    export(store.path(ref), tmp_path / "new")
    pixels_HW3 = np.random.default_rng(1).integers(0, 256, (40, 80, 3), np.uint8)
    theirs = exporting.answer_of(tmp_path / "new", pixels_HW3)
    middle = interpolate(logits_here(store.path(ref), pixels_HW3)[None], (38, 38), mode="bilinear")[0]
    torch.testing.assert_close(theirs[:, 1:39, 21:59], middle, atol=1e-4, rtol=0)
    torch.testing.assert_close(theirs[:, 1:39, :21], middle[:, :, :1].expand(-1, -1, 21), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("backbone", "head", "blocks"),
    [
        (VIT, "linear", ["map-2", "map"]),
        (VIT, "mmseg:FCNHead", ["map"]),
        (TINY, "fcn", ["map"]),
        (TINY, "lraspp", PYRAMID),
        (TINY, "segformer-mlp", PYRAMID),
        (TINY, "mmseg:UPerHead", PYRAMID),
    ],
)
def test_every_kind_of_head_and_backbone_is_handed_over(
    store: ArtifactStore, tmp_path: Path, backbone: Backbone, head: str, blocks: list[str]
) -> None:
    ref = finished_model(store, backbone, head=head, blocks=blocks, classes=["road", "réseau 'ferré'"])
    exported = export(store.path(ref), tmp_path / "new")
    assert exported.measured["difference"] <= 1e-4
    assert {"README.md", "config.py", "weights.pth"} < set(exported.files)
    content = torch.load(tmp_path / "new/weights.pth", weights_only=True)
    assert content["meta"]["dataset_meta"]["classes"] == ["road", "réseau 'ferré'"]


def test_an_image_shown_whole_with_padding_is_answered_where_it_lies(store: ArtifactStore, tmp_path: Path) -> None:
    """32 x 96 pixels fill the middle third of a square: of the answer's 16 rows of cells those from 5.33 to 10.67."""
    ref = finished_model(store, TINY.model_copy(update={"clean_view": "whole"}), blocks=PYRAMID)
    export(store.path(ref), tmp_path / "new")
    pixels_HW3 = np.random.default_rng(1).integers(0, 256, (32, 96, 3), np.uint8)
    theirs = exporting.answer_of(tmp_path / "new", pixels_HW3)
    square = interpolate(logits_here(store.path(ref), pixels_HW3)[None], (96, 96), mode="bilinear")[0]
    torch.testing.assert_close(theirs, square[:, 32:64], atol=1e-4, rtol=0)


def test_the_command_says_what_it_wrote_and_how_near_the_answers_are(
    store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = finished_model(store, TINY, blocks=["map"])
    monkeypatch.setenv("TASKDISTILL_STORE", str(store.root))
    done = CliRunner().invoke(app, ["export", str(ref), str(tmp_path / "new"), "--to", "mmseg", "--json"])
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert said["folder"] == str(tmp_path / "new")
    assert said["files"] == sorted(path.name for path in (tmp_path / "new").iterdir())
    assert said["difference"] <= 1e-4


def test_a_model_that_names_whole_images_is_refused_with_the_reason(workshop: Bench, tmp_path: Path) -> None:
    ref = finished_model(workshop.store, TINY, problem="classification", blocks=["last"], classes=["wren", "robin"])
    with pytest.raises(ExportError, match=r"which class each pixel is.*problem 'classification'.*whole images"):
        export(workshop.path(ref), tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there_is_left_alone(store: ArtifactStore, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(ExportError, match="is there already"):
        export(tmp_path / "no model", tmp_path / "mine")


def test_where_the_answers_differ_nothing_is_written(
    store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = finished_model(store, TINY, blocks=["map"])
    monkeypatch.setattr(exporting, "TOLERANCE", -1.0)
    before = all_files(tmp_path)
    with pytest.raises(ExportError, match="differs from ours"):
        export(store.path(ref), tmp_path / "new")
    assert all_files(tmp_path) == before
    assert not (tmp_path / "new").exists()


def test_two_models_of_different_heads_run_side_by_side(store: ArtifactStore, tmp_path: Path) -> None:
    folders = []
    for head in ("linear", "fcn"):
        ref = finished_model(store, TINY, head=head, blocks=PYRAMID)
        export(store.path(ref), tmp_path / head)
        folders.append(tmp_path / head)
    pixels_HW3 = np.zeros((32, 48, 3), np.uint8)
    for folder in (*folders, folders[0]):
        assert exporting.answer_of(folder, pixels_HW3).shape == (len(CLASSES), 32, 48)
