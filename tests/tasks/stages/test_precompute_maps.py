"""Logits that are maps, precomputed from images: kept in one byte or two, and killed on the way."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr

from taskdistill.configs import choices
from taskdistill.configs.models import Backbone
from taskdistill.configs.stages import PrecomputeProbedConfig, ProbeImagesConfig, ProbeSettings
from taskdistill.flows.commands.demo import world_experiment
from taskdistill.storage.files import all_files
from taskdistill.storage.manifest import MANIFEST, ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.view_outputs import GROUP, ViewOutputs
from taskdistill.tasks.catalog import INGEST, PRECOMPUTE_PROBED, PROBE_IMAGES
from taskdistill.tasks.miniature.dataset import write_dataset
from tests.conftest import VIEWS, Run
from tests.contracts.dense_toy import Parts

ROOT = Path(__file__).parents[3]
TEACHER = Backbone(name="test_vit", weights="random", input_px=64)
CONFIG = PrecomputeProbedConfig(backbone=TEACHER, views=VIEWS)
NUM_TRAIN, NUM_OTHERS = 50, 50

KILLED = """
import os, signal, sys, time
from pathlib import Path
from taskdistill.configs import choices
from taskdistill.storage import view_arrays
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.view_outputs import GROUP
from taskdistill.tasks.catalog import PRECOMPUTE_PROBED
from taskdistill.tasks.stage import execute
from tests.conftest import RUNTIME
from tests.tasks.stages.test_precompute_maps import CONFIG

root, images, probe, reference = sys.argv[1:]
choices.PROBLEMS["parts"] = "tests.contracts.dense_toy:Parts"
view_arrays.MAX_CHUNK_BYTES = 8 * 10 * 4 * 4 * 2  # 8 maps of 10 classes on 4 x 4 cells
store = ArtifactStore(Path(root))
outputs = store.draft_path(ArtifactRef.parse(reference)) / GROUP

def in_the_middle_of_the_fourth_chunk(unit, done, total):
    if done == 28:  # in batches of 4
        while sum(1 for path in outputs.glob("*/outputs/c/**/*") if path.is_file()) < 3:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGKILL)

runtime = RUNTIME.model_copy(update={"inference_batch_size": 4})
inputs = {"images": ArtifactRef.parse(images), "probe": ArtifactRef.parse(probe)}
execute(PRECOMPUTE_PROBED, CONFIG, inputs, store=store, runtime=runtime, on_progress=in_the_middle_of_the_fourth_chunk)
"""


@pytest.fixture
def inputs(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, ArtifactRef]:
    """Birds, and a head on a ViT that names the part of a bird in each of 4 x 4 cells."""
    monkeypatch.setitem(choices.PROBLEMS, "parts", "tests.contracts.dense_toy:Parts")
    folder = tmp_path / "birds-0"
    monkeypatch.setattr(Parts, "folder", folder, raising=False)
    write_dataset(folder, seed=0, train_per_class=2, val_per_class=1, test_per_class=1)
    images = run(INGEST, world_experiment(tmp_path, 0).data)
    probe = ProbeSettings(learning_rates=(1.0,), steps=3, batch_size=8)
    config = ProbeImagesConfig(problem="parts", backbone=TEACHER, views=VIEWS, probe=probe)
    return {"images": images, "probe": run(PROBE_IMAGES, config, {"images": images})}


def bytes_of(folder: Path) -> dict[str, bytes]:
    files = [path for path in all_files(folder) if path.name != MANIFEST]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def _views(folder: Path) -> list[np.ndarray]:
    return [ViewOutputs(folder).view(view) for view in range(3)]


def test_maps_in_one_byte_a_number_are_those_in_two_within_half_a_step(
    run: Run, store: ArtifactStore, inputs: dict[str, ArtifactRef]
) -> None:
    exact, kept = (
        ViewOutputs(store.path(run(PRECOMPUTE_PROBED, CONFIG.model_copy(update={"logits": stored}), inputs)))
        for stored in ("fp16", "int8")
    )
    assert kept.folder != exact.folder
    assert kept.row_shape == exact.row_shape == (10, 4, 4)
    group = zarr.open_group(kept.folder / GROUP / "augmented", mode="r")
    scales_N2 = group["scales"][:, 0]  # type: ignore[index]
    for row, (scale, _) in enumerate(scales_N2.tolist()):
        found, expected = (outputs.rows(row, row + 1, 1).astype(float) for outputs in (kept, exact))
        assert np.abs(found - expected).max() <= scale / 2 + np.abs(expected).max() * 2**-11
    assert kept.attributes == exact.attributes


def test_a_kill_costs_the_chunk_that_was_being_made_and_the_bytes_are_the_same_in_the_end(
    run: Run, store: ArtifactStore, inputs: dict[str, ArtifactRef]
) -> None:
    reference = PRECOMPUTE_PROBED.reference(CONFIG, inputs, {})
    arguments = [str(store.root), str(inputs["images"]), str(inputs["probe"]), str(reference)]
    killed = subprocess.run([sys.executable, "-c", KILLED, *arguments], cwd=ROOT, capture_output=True, timeout=300)
    assert killed.returncode == -9, killed.stderr
    draft = store.draft_path(reference)
    there = {name: data for name, data in bytes_of(draft).items() if "/outputs/c/" in name}
    assert len(there) == 3
    assert run(PRECOMPUTE_PROBED, CONFIG, inputs, inference_batch_size=4) == reference
    # Three chunks of 8 views were there; the 4 views of the fourth that had been computed are computed again.
    assert store.manifest(reference).summary["encoder_forwards"] == NUM_TRAIN * 2 + NUM_OTHERS - 3 * 8
    made = bytes_of(store.path(reference))
    assert {name: made[name] for name in there} == there
    resumed = _views(store.path(reference))
    store.remove(reference)
    run(PRECOMPUTE_PROBED, CONFIG, inputs, inference_batch_size=4)
    for view, unbroken in enumerate(_views(store.path(reference))):
        np.testing.assert_array_equal(resumed[view], unbroken)
