"""A model exported as a program of torch answers there, without this program and timm, as it answers here."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from taskdistill.storage.files import all_files
from taskdistill.tasks.deploy.deployable import Deployable
from taskdistill.tasks.export import torch_target
from taskdistill.tasks.export.target import ExportError, Given, export
from taskdistill.tasks.functional.joining import JoinedMap
from taskdistill.tasks.functional.views import clean_view
from tests.conftest import Bench
from tests.tasks.export.networks import CONVOLUTIONAL, alone, classifier, images_of
from tests.tasks.openmmlab.models import finished_model

WITH_TORCH_ALONE = """
import sys
import numpy as np
import torch

program = torch.export.load("model.pt2").module()
with torch.inference_mode():
    answers = program(torch.tensor(np.load(sys.argv[1])))
np.savez(sys.argv[2], *(answer.numpy() for answer in answers))
print(sorted({"timm", "taskdistill", "PIL"} & set(sys.modules)))
"""


def answers_alone(folder: Path, images: np.ndarray) -> list[np.ndarray]:
    """What a process with torch gets from an exported folder."""
    np.save(folder.parent / "images.npy", images)
    places = [str(folder.parent / name) for name in ("images.npy", "answers.npz")]
    assert alone(WITH_TORCH_ALONE, folder, *places).strip() == "[]"
    return list(np.load(places[1]).values())


def test_with_torch_alone_the_answers_are_the_models_own(workshop: Bench, tmp_path: Path) -> None:
    artifact = workshop.path(classifier(workshop))
    said = export(torch_target.write, "torch", Given(artifact, images_of(workshop), 1.7), tmp_path / "new")
    assert said.measured["answers_changed"] == 0
    assert said.measured["difference"] <= 1e-4
    images = np.random.default_rng(5).integers(0, 256, (3, 50, 71, 3), np.uint8)
    logits, probabilities = answers_alone(tmp_path / "new", images)
    deployable = Deployable.load(artifact, torch.device("cpu"))
    expected = deployable.outputs(np.stack([deployable.shown(image) for image in images]))
    np.testing.assert_allclose(logits, expected, atol=1e-4)
    np.testing.assert_allclose(probabilities, (expected / 1.7).softmax(1), atol=1e-5)
    here = str(Path(__file__).parents[3]).encode()
    assert [file for file in all_files(tmp_path / "new") if here in file.read_bytes()] == []


@pytest.mark.slow
def test_of_a_model_of_masks_the_logits_are_on_the_images_own_grid(workshop: Bench, tmp_path: Path) -> None:
    """The middle of the image is shown, and what lies beside it gets what its nearest cell says."""
    see = CONVOLUTIONAL.model_copy(update={"input_px": 64, "input_width_px": 96, "clean_view": "center"})
    ref = finished_model(workshop.store, see, blocks=["map-2", "map"], classes=["sky", "road"], sure=100)
    export(torch_target.write, "torch", Given(workshop.path(ref)), tmp_path / "new")
    image = np.random.default_rng(5).integers(0, 256, (150, 90, 3), np.uint8)
    logits, classes = answers_alone(tmp_path / "new", image[None])
    deployable = Deployable.load(workshop.path(ref), torch.device("cpu"))
    outputs = deployable.outputs(deployable.shown(image)[None])
    view = clean_view(150, 90, deployable.preprocessing.crop_share, "center", 1.5)
    expected = JoinedMap(outputs, view[None], 150, 90).rows(range(150))
    np.testing.assert_allclose(logits[0], expected, atol=1e-4)
    np.testing.assert_array_equal(classes[0], logits[0].argmax(0))


def test_a_kind_of_resizing_that_is_not_known_is_refused(workshop: Bench, tmp_path: Path) -> None:
    given = Given(workshop.path(classifier(workshop)))
    loaded = Deployable.load(given.artifact, torch.device("cpu"))
    deployable = replace(loaded, preprocessing=loaded.preprocessing._replace(interpolation="nearest"))
    from taskdistill.tasks.export.network import ExportedNetwork

    with pytest.raises(ExportError, match=r"resized by 'nearest'.*known: bilinear, bicubic, lanczos"):
        ExportedNetwork(deployable)
