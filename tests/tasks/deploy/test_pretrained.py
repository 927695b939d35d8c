"""A probe as a whole network: the encoder with weights from a file, wherever that lies now."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from taskdistill.configs.models import Backbone
from taskdistill.configs.stages import ExtractConfig, PrecomputeConfig, ProbeConfig
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.view_outputs import ViewOutputs
from taskdistill.tasks.catalog import EXTRACT, PRECOMPUTE, PROBE
from taskdistill.tasks.data.batches import decoded_row
from taskdistill.tasks.deploy.pretrained import probed_network
from taskdistill.tasks.models.encoder import ModelError
from tests.conftest import PROBE_SETTINGS, VIEWS, Bench, said_of

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "mine.safetensors"
    save_file(timm.create_model("test_resnet", num_classes=0).state_dict(), path)
    return path


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def probe(workshop: Bench, weights: Path) -> tuple[ArtifactRef, ArtifactRef]:
    """A probe of an encoder from a file, and its logits."""
    backbone = Backbone(name="test_resnet", weights="file", file=str(weights), input_px=32)
    features = workshop.run(EXTRACT, ExtractConfig(backbone=backbone, views=VIEWS), images=workshop.images)
    made = workshop.run(PROBE, ProbeConfig(probe=PROBE_SETTINGS), images=workshop.images, features=features)
    return made, workshop.run(PRECOMPUTE, PrecomputeConfig(), features=features, probe=made)


def test_it_says_what_the_cached_logits_of_the_probe_are(
    workshop: Bench, probe: tuple[ArtifactRef, ArtifactRef], weights: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.safetensors"
    other.write_bytes(b"not the one")
    files = {str(other): digest(other), str(weights): digest(weights)}
    network = probed_network(workshop.path(probe[0]), files, CPU)
    images = ImageSet.open(workshop.path(workshop.images))
    rows = images.rows_of("test")[:5]
    found = network.outputs(np.stack([network.shown(decoded_row(images, int(row))) for row in rows]))
    expected = said_of(ViewOutputs(workshop.path(probe[1])), images, rows, 0)
    assert found.numpy() == pytest.approx(expected.astype(np.float32), abs=2e-2)  # cached as float16


def test_weights_that_are_gone_or_others_are_an_error_that_names_the_network(
    workshop: Bench, probe: tuple[ArtifactRef, ArtifactRef], weights: Path
) -> None:
    for files in ({}, {str(weights): "0" * 64}):
        with pytest.raises(ModelError, match="the weights of test_resnet is not where it was, or has other content"):
            probed_network(workshop.path(probe[0]), files, CPU)
