"""Artifacts of every format that was ever written open, verify and say what they said when they were made.

The folders are stores that `tests.formats.make` made: they are never made anew.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import softmax
from scipy.stats import entropy

from taskdistill.storage.drafts import DRAFT
from taskdistill.storage.files import read_json
from taskdistill.storage.fingerprint import fingerprint
from taskdistill.storage.formats import FORMATS
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.manifest import Manifest
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.tables import read_column, read_table
from taskdistill.storage.upkeep import verify_all
from taskdistill.storage.view_outputs import GROUP, ViewOutputs
from taskdistill.storage.weights import ModelDescription, read_committed_tensors
from taskdistill.tasks.catalog import EXTRACT, STAGES
from taskdistill.tasks.data.decode import decode_rgb
from taskdistill.tasks.models.preprocessing import normalise
from taskdistill.tasks.models.task_model import load_model
from taskdistill.tasks.stage import execute
from tests.conftest import RUNTIME
from tests.fakes import draw_shape
from tests.formats.make import UNFINISHED

HERE = Path(__file__).parent
FOLDERS = sorted((folder for folder in HERE.iterdir() if folder.name.isdecimal()), key=lambda folder: int(folder.name))
ARTIFACTS = [manifest.parent for folder in FOLDERS for manifest in sorted(folder.glob("artifacts/*/*/manifest.json"))]


def _open_weights(folder: Path) -> int:
    return len(read_committed_tensors(folder, ModelDescription.read(folder).weights))


READERS: dict[str, Callable[[Path], Any]] = {
    "image-set": lambda folder: len(ImageSet.open(folder).image(0)),
    "features": lambda folder: ViewOutputs(folder).view(0).size,
    "embeddings": lambda folder: ViewOutputs(folder).view(0).size,
    "logits": lambda folder: ViewOutputs(folder).view(0).size,
    "probe": _open_weights,
    "model": lambda folder: len(list(load_model(folder)[0].parameters())),
    "settings": lambda folder: len(read_json(folder / "settings.json")) + len(read_table(folder / "trials.parquet")),
    "selection": lambda folder: len(read_table(folder / "selection.parquet")),
    "evaluation": lambda folder: len(read_column(folder / "test-predictions.parquet", "score")),
}
"""Kind -> what opens an artifact of it and reads something of every part."""


def copy_of(folder: Path, tmp_path: Path) -> ArtifactStore:
    shutil.copytree(folder, tmp_path / "store")
    return ArtifactStore(tmp_path / "store")


@pytest.fixture
def first(tmp_path: Path) -> ArtifactStore:
    """A copy of the store from before formats had numbers."""
    return copy_of(HERE / "1", tmp_path)


def only(store: ArtifactStore, kind: str, stage: str = "") -> Path:
    """Return the folder of the one artifact of this kind, made by this stage where there are more."""
    found = [store.path(ref) for ref, recipe in store.recipes(kind) if stage in ("", recipe["stage"])]
    assert len(found) == 1
    return found[0]


def of_images(store: ArtifactStore, kind: str, name: str = "images", backbone: str = "test_vit") -> Path:
    """Return the folder of what a network said of the image-set with this label."""
    images = store.labels()[name].fingerprint
    found = [ViewOutputs(store.path(ref)) for ref in store.references(kind)]
    return next(
        one.folder
        for one in found
        if one.attributes["images"] == images and one.attributes.get("backbone", {"name": backbone})["name"] == backbone
    )


def test_every_kind_that_a_stage_makes_has_a_format_and_a_kept_artifact_of_it():
    assert {stage.output for stage in STAGES} == set(FORMATS)
    kept = {(manifest.ref.kind, manifest.format) for manifest in map(Manifest.read, ARTIFACTS)}
    missing = set(FORMATS.items()) - kept
    assert not missing, f"a format is new: python -m tests.formats.make {len(FOLDERS) + 1}, and commit what it makes"


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_kept_store_verifies(folder: Path, tmp_path: Path):
    store = copy_of(folder, tmp_path)
    found = verify_all(store)
    assert (found.damages, found.unreadable, found.newer) == ([], [], [])
    assert found.num_verified == len(list(folder.glob("artifacts/*/*")))


@pytest.mark.parametrize("folder", ARTIFACTS, ids=lambda folder: f"{folder.parents[2].name}-{folder.parent.name}")
def test_a_kept_artifact_opens(folder: Path):
    assert READERS[folder.parent.name](folder)


# --- what those of format 1 say ----------------------------------------------------------------------------------


def test_images_of_format_1_are_those_that_were_drawn(first: ArtifactStore):
    images = ImageSet.open(first.path(first.resolve("images")))
    assert images.ids == sorted(
        f"{split}/{name}/{number:03d}.png"
        for split, count in (("train", 3), ("val", 1), ("test", 1))
        for name in ("disc", "frame", "wedge")
        for number in range(count)
    )
    assert images.classes == ["disc", "frame", "wedge"]
    assert images.labels.tolist() == [0, 1, 2, 0, 0, 0, 1, 1, 1, 2, 2, 2, 0, 1, 2]
    assert (images.levels, images.mask(0), set(images.heights)) == (None, None, {32})
    # write_shapes numbers pictures by split (train 0, val 1, test 2) times 1000.
    assert np.array_equal(decode_rgb(images.image(images.ids.index("test/disc/000.png"))), draw_shape("disc", 2000, 32))
    assert np.array_equal(decode_rgb(images.image(images.ids.index("train/wedge/002.png"))), draw_shape("wedge", 2, 32))


def test_blends_of_format_1_have_no_label_and_know_parents_and_seed(first: ArtifactStore):
    blends = ImageSet.open(first.path(first.resolve("blends")))
    assert (blends.ids, blends.labels.tolist()) == (["blend-0000000", "blend-0000001"], [-1, -1])
    assert blends.parents[0] == ["train/wedge/002.png", "train/disc/001.png"]
    assert blends.seeds == [4238684269688948003, 5421388387313413094]
    assert decode_rgb(blends.image(1)).shape == (16, 16, 3)


def test_features_of_format_1_are_float16_of_every_block_of_every_view(first: ArtifactStore):
    features = ViewOutputs(of_images(first, "features"))
    assert (len(features.ids), features.num_views, features.row_shape) == (15, 3, (5, 8))
    assert features.attributes["blocks"] == ["layer-4", "layer-3", "layer-2", "last", "mean"]
    assert features.view(0).reshape(-1)[:4].tolist() == np.float16([0.3452, -0.3716, 0.3357, -0.5464]).tolist()
    assert features.view_fields(0, 1, 0).tolist() == [[1, 1, 30, 30, 0, 1, 1, 1, 0]]
    assert features.thumbnails(0, 1, 1)[0, :4].tolist() == [118, 120, 122, 130]


def test_embeddings_of_format_1_are_of_one_view(first: ArtifactStore):
    embeddings = ViewOutputs(only(first, "embeddings"))
    assert (len(embeddings.ids), embeddings.num_views, embeddings.row_shape) == (15, 1, (32,))
    assert embeddings.attributes["substitution"] == ""
    assert embeddings.view(0)[0, :3].tolist() == np.float16([-0.5273, -0.3037, -0.548]).tolist()


def test_logits_of_format_1_are_the_kept_probe_on_the_kept_features(first: ArtifactStore):
    features, logits = (ViewOutputs(of_images(first, kind)) for kind in ("features", "logits"))
    manifest = Manifest.read(logits.folder)
    probe = first.path(manifest.input_refs["probe"])
    description = ModelDescription.read(probe)
    assert (description.blocks, description.classes) == (["last"], ["disc", "frame", "wedge"])
    head = read_committed_tensors(probe, description.weights)
    last_ND = features.view(2)[:, 3].astype(np.float64)
    np.testing.assert_allclose(logits.view(2), last_ND @ head["weight"].T + head["bias"], atol=1e-4)


def test_logits_in_one_byte_are_the_kept_ones_in_two_within_half_a_step(tmp_path: Path):
    store = copy_of(HERE / "4", tmp_path)
    kept = ViewOutputs(store.path(store.resolve("int8")))
    inputs = store.manifest(store.resolve("int8")).input_refs
    [exact] = [
        ViewOutputs(store.path(ref))
        for ref in store.references("logits")
        if store.manifest(ref).input_refs == inputs and ref != store.resolve("int8")
    ]
    assert exact.ids == kept.ids
    for view in range(3):
        two_NK, one_NK = (outputs.view(view).astype(np.float64) for outputs in (exact, kept))
        half_step_N1 = np.ptp(two_NK, axis=1, keepdims=True) / 255 / 2
        assert (np.abs(one_NK - two_NK) <= half_step_N1 + np.abs(two_NK) * 2**-11).all()
    assert kept.view(0)[0] == pytest.approx([-0.0074310, 0.0032368, -0.00073767], rel=1e-4)


def test_a_model_of_format_1_answers_as_when_it_was_evaluated(first: ArtifactStore):
    model, _ = load_model(first.path(first.resolve("student")))
    images = ImageSet.open(first.path(first.resolve("images")))
    preprocessing = model.encoder.preprocessing
    shown = ViewOutputs(of_images(first, "features", backbone="test_resnet"))
    top, left, height, width = shown.view_fields(0, 1, 0)[0, :4].astype(int)
    whole = torch.from_numpy(np.array(decode_rgb(images.image(0))[top : top + height, left : left + width]))
    resized = torch.nn.functional.interpolate(
        whole.permute(2, 0, 1)[None].float(),
        (preprocessing.side_px,) * 2,
        mode=preprocessing.interpolation,
        antialias=True,
    )
    pixels = resized.round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    with torch.inference_mode():
        logits = model(normalise(pixels, preprocessing, torch.device("cpu")))[0]
    [row, *_] = read_table(only(first, "evaluation", "evaluate") / "test-predictions.parquet")
    assert row["id"] == images.ids[0]
    np.testing.assert_allclose(logits, row["outputs"], atol=2e-3)


def test_the_history_of_a_model_of_format_1_is_there(first: ArtifactStore):
    start, end = read_table(first.path(first.resolve("student")) / "history.parquet")
    assert (start["step"], start["loss"], end["step"], end["epoch"]) == (0, None, 3, 1.0)
    # 0.75 of the weight is the teacher's, by default.
    assert end["loss"] == pytest.approx(0.25 * end["task_loss"] + 0.75 * end["distill_loss"], rel=1e-5)


def test_a_selection_of_format_1_scores_each_blend(first: ArtifactStore):
    rows = read_table(only(first, "selection") / "selection.parquet")
    assert [(row["id"], row["is_kept"], row["flags"]) for row in rows] == [
        ("blend-0000000", True, "uncertain"),
        ("blend-0000001", True, "uncertain"),
    ]
    logits_NK = ViewOutputs(of_images(first, "logits", "blends")).view(0).astype(np.float64)
    expected = entropy(softmax(logits_NK, axis=1), base=3, axis=1)
    assert [row["teacher_entropy"] for row in rows] == pytest.approx(expected, abs=1e-4)


def test_an_evaluation_of_format_1_has_the_outputs_of_the_kept_logits(first: ArtifactStore):
    folder = only(first, "evaluation", "evaluate-teacher")
    rows = read_table(folder / "test-predictions.parquet")
    logits = ViewOutputs(of_images(first, "logits"))
    for row in rows:
        assert row["outputs"] == pytest.approx(logits.view(0)[logits.ids.index(row["id"])].tolist())
    assert [row["predicted"] for row in rows] == [1, 1, 2]
    # Of disc, frame and wedge the last two are right.
    assert Manifest.read(folder).summary["scores"]["test"]["top1"] == pytest.approx(2 / 3, abs=1e-6)


# --- going on with a draft ---------------------------------------------------------------------------------------


def test_a_draft_of_format_1_is_continued_where_it_was_broken_off(first: ArtifactStore):
    [(ref, draft)] = first.drafts().items()
    made = {
        path.relative_to(draft): path.read_bytes()
        for path in (draft / GROUP).rglob("*")
        if path.is_file() and "c" in path.parts
    }
    done = execute(EXTRACT, UNFINISHED, {"images": first.resolve("images")}, store=first, runtime=RUNTIME)
    assert done == ref
    assert len(made) == 3  # a chunk of view fields, of thumbnails and of outputs
    assert {name: (first.path(ref) / name).read_bytes() for name in made} == made
    # Of 15 images in 3 views, those of one view were there.
    assert first.manifest(ref).summary["encoder_forwards"] == 30
    assert first.manifest(ref).format == FORMATS["features"]


def test_a_draft_of_format_1_says_nothing_of_its_format(first: ArtifactStore):
    [draft] = first.drafts().values()
    assert '"format"' not in (draft / DRAFT).read_text()


def test_references_of_format_1_are_named_by_their_recipes_still(first: ArtifactStore):
    by_name = {stage.name: stage for stage in STAGES}
    for ref in first.references():
        manifest = first.manifest(ref)
        stage, recipe = by_name[manifest.recipe["stage"]], manifest.recipe
        config = stage.config_type.model_validate(recipe["config"])
        # A stage whose version was raised since makes its artifacts anew: all else of the recipe is as it was.
        assert recipe["version"] <= stage.version
        named = stage.recipe(config, manifest.input_refs, recipe["external"]) | {"version": recipe["version"]}
        assert fingerprint(named) == ref.fingerprint
