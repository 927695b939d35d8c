"""A model exported for timm, or as a folder for hubs, is loaded there with the answers that it has here."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from huggingface_hub import ModelCard
from PIL import Image

from taskdistill.configs.models import Backbone
from taskdistill.storage.files import all_files
from taskdistill.tasks.deploy.deployable import Deployable
from taskdistill.tasks.export import hub_folder, timm_target
from taskdistill.tasks.export.target import ExportError, Given, export
from tests.conftest import Bench
from tests.tasks.export.networks import CONVOLUTIONAL, TRANSFORMER, alone, classifier, images_of
from tests.tasks.openmmlab.models import finished_model

WITH_TIMM_ALONE = """
import json, sys
from pathlib import Path
import torch

# Where a torchvision of another build than torch's is installed it cannot be imported otherwise.
library = torch.library.Library("torchvision", "FRAGMENT")
for name in ("nms", "qnms"):
    if not hasattr(torch.ops.torchvision, name):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

import timm
from PIL import Image

sys.path.insert(0, ".")
from taskdistill_view.in_timm_folder import shown

network = timm.create_model("local-dir:.", pretrained=True).eval()
with torch.inference_mode():
    logits = network(shown(Image.open(sys.argv[1]), Path("config.json")))
print(json.dumps({"logits": logits[0].tolist(), "ours": sorted({"taskdistill"} & set(sys.modules))}))
"""


@pytest.mark.parametrize("backbone", [CONVOLUTIONAL, TRANSFORMER], ids=["resnet", "vit"])
def test_with_timm_alone_the_logits_are_the_models_own(workshop: Bench, tmp_path: Path, backbone: Backbone) -> None:
    artifact = workshop.path(classifier(workshop, backbone))
    said = export(timm_target.write, "timm", Given(artifact, images_of(workshop)), tmp_path / "new")
    assert said.measured["answers_changed"] == 0
    here = [str(place).encode() for place in (Path(__file__).parents[3], tmp_path)]
    assert [file for file in all_files(tmp_path / "new") if any(place in file.read_bytes() for place in here)] == []
    check = json.loads((tmp_path / "new/check.json").read_text())
    found = json.loads(alone(WITH_TIMM_ALONE, tmp_path / "new", check["image"]))
    assert found["ours"] == []
    np.testing.assert_allclose(found["logits"], check["logits"], atol=1e-4)
    deployable = Deployable.load(artifact, torch.device("cpu"))
    photograph = np.random.default_rng(5).integers(0, 256, (150, 90, 3), np.uint8)
    Image.fromarray(photograph).save(tmp_path / "photograph.png")
    found = json.loads(alone(WITH_TIMM_ALONE, tmp_path / "new", str(tmp_path / "photograph.png")))
    np.testing.assert_allclose(found["logits"], deployable.outputs(deployable.shown(photograph)[None])[0], atol=1e-4)


def test_it_is_said_whether_timms_own_transform_cuts_the_same_pixels(workshop: Bench, tmp_path: Path) -> None:
    squashed = CONVOLUTIONAL.model_copy(update={"clean_view": "squash"})
    for name, backbone, expected in [
        ("squash", squashed, r"cuts the same pixels of 12 images of the test split"),
        ("center", CONVOLUTIONAL, r"cuts other pixels.*of 12 of 12 images.*changes \d+ answers; taskdistill_view"),
    ]:
        given = Given(workshop.path(classifier(workshop, backbone)), images_of(workshop))
        said = export(timm_target.write, "timm", given, tmp_path / name)
        assert re.search(expected, said.said[1])


def test_timms_transform_of_a_squashed_view_gives_the_models_own_pixels(workshop: Bench, tmp_path: Path) -> None:
    backbone = CONVOLUTIONAL.model_copy(update={"clean_view": "squash"})
    artifact = workshop.path(classifier(workshop, backbone))
    export(timm_target.write, "timm", Given(artifact), tmp_path / "new")
    network = timm.create_model(f"local-dir:{tmp_path / 'new'}", pretrained=True).eval()
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(network))
    photograph = np.random.default_rng(5).integers(0, 256, (150, 90, 3), np.uint8)
    deployable = Deployable.load(artifact, torch.device("cpu"))
    with torch.inference_mode():
        theirs = network(transform(Image.fromarray(photograph))[None])
    torch.testing.assert_close(theirs, deployable.outputs(deployable.shown(photograph)[None]), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("problem", "blocks", "reason"),
    [
        ("classification", ["layer-2", "last"], r"one linear layer.*sees layer-2, last.*--to onnx"),
        ("segmentation", ["map"], r"one linear layer.*problem 'segmentation'.*sees map.*--to onnx"),
    ],
)
def test_a_head_that_timm_has_no_place_for_is_refused(
    workshop: Bench, tmp_path: Path, problem: str, blocks: list[str], reason: str
) -> None:
    ref = finished_model(workshop.store, TRANSFORMER, problem=problem, blocks=blocks, classes=["wren", "robin"])
    with pytest.raises(ExportError, match=reason):
        export(timm_target.write, "timm", Given(workshop.path(ref)), tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_the_folder_for_hubs_has_a_card_that_hubs_read(workshop: Bench, tmp_path: Path) -> None:
    given = Given(
        workshop.path(classifier(workshop)),
        images_of(workshop),
        card_head={"license": "mit"},
        card="## Data\n\n36 images",
    )
    said = export(hub_folder.write, "hub-folder", given, tmp_path / "new")
    assert "transformers" in said.said[-1]
    card = ModelCard.load(tmp_path / "new/README.md")
    assert card.data.to_dict() | {"tags": []} == {
        "license": "mit", "library_name": "timm", "pipeline_tag": "image-classification", "tags": []
    }  # fmt: skip
    assert card.text.index("# A model for timm") < card.text.index("## Data")
