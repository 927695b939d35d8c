"""Stage "extract": every view that something reads is shown to the encoder once, whatever happens on the way."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from taskdistill.configs import choices
from taskdistill.configs.data import TrainViews, ViewSettings
from taskdistill.configs.models import Backbone
from taskdistill.configs.stages import ExtractConfig, PrecomputeImagesConfig
from taskdistill.storage import view_arrays
from taskdistill.storage.errors import SourceChangedError
from taskdistill.storage.files import sha256_of
from taskdistill.storage.fingerprint import fingerprint
from taskdistill.storage.image_set import ImageRow, ImageSet, write_index, write_shard
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.upkeep import discard
from taskdistill.storage.view_outputs import ViewOutputs
from taskdistill.tasks import sizes
from taskdistill.tasks.catalog import EXTRACT
from taskdistill.tasks.data.decode import decode_rgb
from taskdistill.tasks.functional.views import draw_view, replay, thumbnail
from tests import fakes
from tests.conftest import STUDENT, TEACHER, VIEWS, Bench, said_of
from tests.fakes import CountingEncoder

NUM_TRAIN, NUM_OTHERS, NUM_VIEWS = 24, 24, 3
COUNTED = ExtractConfig(
    backbone=Backbone(name="quarters", weights="random", input_px=16), views=ViewSettings(num_views=NUM_VIEWS)
)


@pytest.fixture
def counting_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the settings COUNTED build whatever encoder the test has put into `fakes.counting_encoders`."""
    monkeypatch.setitem(choices.MODEL_SOURCES, "timm", "tests.fakes:build_counting_encoder")
    monkeypatch.setattr(fakes, "counting_encoders", [])


def extract(bench: Bench, encoder: CountingEncoder, batch_size: int = 16) -> ArtifactRef:
    fakes.counting_encoders[:] = [encoder]
    return bench.run(EXTRACT, COUNTED, images=bench.images, runtime={"inference_batch_size": batch_size})


@pytest.mark.usefixtures("counting_source")
def test_the_encoder_is_shown_augmented_views_of_training_images_and_the_clean_one_of_others(bench: Bench) -> None:
    ref = extract(bench, encoder := CountingEncoder(16))
    assert bench.summary(ref)["encoder_forwards"] == NUM_TRAIN * NUM_VIEWS + NUM_OTHERS
    assert encoder.batches == [16, 8] * 4  # four chunks of 24 images
    features, images = ViewOutputs(bench.path(ref)), ImageSet.open(bench.path(bench.images))
    assert features.ids_of(0) == [images.ids[row] for row in images.rows_of("val", "test")]
    for view in range(1, NUM_VIEWS + 1):
        assert features.ids_of(view) == [images.ids[row] for row in images.rows_of("train")]


@pytest.mark.usefixtures("counting_source")
@pytest.mark.parametrize(("batch_size", "sizes"), [(16, [16, 16]), (20, [20, 16]), (6, [6, 6, 6, 6]), (32, [32])])
def test_a_batch_is_filled_up_to_whole_blocks_and_never_beyond_its_size(
    bench: Bench, batch_size: int, sizes: list[int]
) -> None:
    """24 images a chunk, in blocks of 16."""
    extract(bench, encoder := CountingEncoder(16), batch_size)
    assert encoder.sizes[: len(sizes)] == sizes


@pytest.mark.usefixtures("counting_source")
@pytest.mark.parametrize(
    ("train_views", "num_shown"),
    [("clean", NUM_TRAIN + NUM_OTHERS), ("both", NUM_TRAIN * (NUM_VIEWS + 1) + NUM_OTHERS)],
)
def test_a_recipe_may_ask_for_the_clean_view_of_training_images_alone_or_too(
    bench: Bench, train_views: TrainViews, num_shown: int
) -> None:
    fakes.counting_encoders[:] = [CountingEncoder(16)]
    config = COUNTED.model_copy(update={"train_views": train_views})
    ref = bench.run(EXTRACT, config, images=bench.images)
    assert bench.summary(ref)["encoder_forwards"] == num_shown
    images = ImageSet.open(bench.path(bench.images))
    assert sorted(ViewOutputs(bench.path(ref)).ids_of(0)) == sorted(images.ids)


@pytest.mark.usefixtures("counting_source")
def test_of_a_set_of_training_images_alone_the_clean_view_is_shown_too(bench: Bench) -> None:
    """As of blends, which are chosen among by it, and of them whatever is said of labels."""
    images = commit_images(bench, ["train"] * 5)
    fakes.counting_encoders[:] = [CountingEncoder(16)]
    ref = bench.run(EXTRACT, COUNTED, images=images)
    assert bench.summary(ref)["encoder_forwards"] == 5 * (NUM_VIEWS + 1)
    features = ViewOutputs(bench.path(ref))
    assert [features.ids_of(view) for view in range(NUM_VIEWS + 1)] == [features.ids] * (NUM_VIEWS + 1)


@pytest.mark.usefixtures("counting_source")
@pytest.mark.parametrize(("num_views", "num_shown"), [(NUM_VIEWS, 2 * NUM_VIEWS + 1), (0, 3)])
def test_images_without_labels_are_not_shown_as_nobody_reads_what_is_said_of_them(
    bench: Bench, num_views: int, num_shown: int
) -> None:
    splits, views = ["unlabelled", "train", "unlabelled", "val", "train"], ViewSettings(num_views=num_views)
    fakes.counting_encoders[:] = [CountingEncoder(16)]
    ref = bench.run(EXTRACT, COUNTED.model_copy(update={"views": views}), images=commit_images(bench, splits))
    assert sizes.num_shown(sizes.shown(views, "augmented", Counter(splits))) == num_shown
    assert (bench.summary(ref)["encoder_forwards"], bench.summary(ref)["images"]) == (num_shown, 3)
    assert ViewOutputs(bench.path(ref)).ids == ["1.png", "3.png", "4.png"]


@pytest.mark.usefixtures("counting_source")
@pytest.mark.parametrize(("num_images", "num_views"), [(1, 9), (5, 6), (12, 4)])
def test_a_limit_of_views_goes_by_the_training_images_of_the_set_that_is_shown(
    bench: Bench, num_images: int, num_views: int
) -> None:
    """Blends too have as many views as their own number allows."""
    images = commit_images(bench, ["train"] * num_images)
    fakes.counting_encoders[:] = [CountingEncoder(16)]
    config = COUNTED.model_copy(update={"views": ViewSettings(num_views=9, max_total=30)})
    ref = bench.run(EXTRACT, config, images=images)
    assert bench.summary(ref)["encoder_forwards"] == num_images * (num_views + 1)
    assert bench.summary(ref)["views"] == ViewOutputs(bench.path(ref)).num_views == num_views + 1


def test_an_old_recipe_that_says_nothing_of_training_views_keeps_its_fingerprint() -> None:
    for config in (ExtractConfig(), PrecomputeImagesConfig()):
        assert "train_views" not in config.identity()
    assert ExtractConfig(train_views="both").identity()["train_views"] == "both"


def commit_images(bench: Bench, splits: Sequence[str]) -> ArtifactRef:
    """Commit a picture without a label in each of these splits."""
    recipe = {"stage": "drawn", "splits": list(splits)}
    ref = ArtifactRef("image-set", fingerprint(recipe))
    shown = ImageSet.open(bench.path(bench.images))
    rows = (ImageRow(f"{row}.png", shown.image(row), 40, 40, split) for row, split in enumerate(splits))
    with bench.store.lock(ref):
        draft = bench.store.draft(ref, recipe)
        write_shard(draft, 0, rows)
        counts = write_index(draft, classes=["a", "b"], num_shards=1)
        bench.store.commit(ref, recipe=recipe, inputs={}, summary=counts)
    return ref


@pytest.mark.usefixtures("counting_source")
def test_features_that_exist_are_not_computed_again(bench: Bench) -> None:
    ref = extract(bench, CountingEncoder(16))
    assert extract(bench, second := CountingEncoder(16), batch_size=5) == ref
    assert second.shown == 0


@pytest.mark.usefixtures("counting_source")
def test_a_second_attempt_shows_only_the_chunks_the_first_did_not_finish(bench: Bench) -> None:
    with pytest.raises(RuntimeError, match="power cut"):
        extract(bench, CountingEncoder(16, dies_after=2 * NUM_TRAIN + 20))
    ref = extract(bench, CountingEncoder(16))
    # A chunk is 24 images in one view here; two of four were finished.
    assert bench.summary(ref)["encoder_forwards"] == 2 * NUM_TRAIN
    assert not np.isnan(ViewOutputs(bench.path(ref)).view(NUM_VIEWS)).any()


@pytest.mark.usefixtures("counting_source")
def test_interrupted_and_uninterrupted_work_give_the_same_bytes(bench: Bench) -> None:
    with pytest.raises(RuntimeError, match="power cut"):
        extract(bench, CountingEncoder(16, dies_after=60))
    continued = bench.store.manifest(extract(bench, CountingEncoder(16))).files
    (ref,) = discard(bench.store, extract(bench, CountingEncoder(16)))
    assert extract(bench, CountingEncoder(16)) == ref
    assert bench.store.manifest(ref).files == continued


@pytest.mark.usefixtures("counting_source")
def test_the_batch_size_does_not_change_a_byte(bench: Bench) -> None:
    ref = extract(bench, CountingEncoder(16), batch_size=24)
    files = bench.store.manifest(ref).files
    discard(bench.store, ref)
    assert extract(bench, second := CountingEncoder(16), batch_size=7) == ref
    assert max(second.batches) == 7
    assert bench.store.manifest(ref).files == files


@pytest.mark.usefixtures("counting_source")
@pytest.mark.parametrize(
    ("chunk_rows", "batches"), [(4, [16] * 6), (5, [15, 14, 15, 15, 15, 14, 8]), (24, [16, 8] * 4)]
)
def test_chunks_of_few_rows_are_shown_together_in_whole_blocks(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, chunk_rows: int, batches: list[int]
) -> None:
    """Of 24 images in one view and 24 in three: as of large maps, of which few rows are a chunk."""
    monkeypatch.setattr(view_arrays, "rows_per_chunk", lambda *shape: chunk_rows)
    extract(bench, encoder := CountingEncoder(16), batch_size=16)
    assert encoder.batches == batches
    assert set(encoder.sizes) == {16}


def test_what_a_network_says_of_an_image_is_the_same_bits_wherever_in_a_block_it_stands(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ExtractConfig(backbone=TEACHER, views=VIEWS.model_copy(update={"seed": 5}))

    def features(chunk_rows: int) -> list[bytes]:
        with monkeypatch.context() as patch:
            patch.setattr(view_arrays, "rows_per_chunk", lambda *shape: chunk_rows)
            ref = bench.run(EXTRACT, config, images=bench.images)
        found = ViewOutputs(bench.path(ref))
        said = [found.view(view).tobytes() for view in range(found.num_views)]
        discard(bench.store, ref)
        return said

    assert features(4) == features(7) == features(64)


@pytest.mark.usefixtures("counting_source")
def test_features_that_are_not_finite_are_refused(bench: Bench) -> None:
    encoder = CountingEncoder(16)
    torch.nn.init.constant_(encoder.scale, float("inf"))
    with pytest.raises(ValueError, match="not finite in float16: its weights, its normalisation"):
        extract(bench, encoder)


@pytest.mark.usefixtures("counting_source")
def test_each_feature_belongs_to_the_image_and_view_of_its_place(bench: Bench) -> None:
    images, features = (
        ImageSet.open(bench.path(bench.images)),
        ViewOutputs(bench.path(extract(bench, CountingEncoder(16)))),
    )
    for row, view in ((12, 1), (31, 3), (35, 2)):
        fields = draw_view(images.ids[row], view, 40, 40, COUNTED.views)
        cut = replay(decode_rgb(images.image(row)), fields, (16, 16), "bilinear")
        # Mean colour of each quarter, in the order channel, upper or lower half, left or right half.
        quarters = cut.reshape(2, 8, 2, 8, 3).mean(axis=(1, 3)).transpose(2, 0, 1).reshape(-1) / 255
        np.testing.assert_allclose(said_of(features, images, [row], view)[0, 0], quarters, rtol=1e-3)
        (place,) = features.rows_of([images.ids[row]], view)
        assert features.view_fields(place, place + 1, view)[0].tolist() == fields.tolist()
        assert features.thumbnails(place, place + 1, view)[0].tolist() == thumbnail(cut).tolist()


def as_seen(bench: Bench, row: int, view: int, model: torch.nn.Module, side_px: int) -> torch.Tensor:
    """One view, normalised by hand with what timm says of the model."""
    images, features = ImageSet.open(bench.path(bench.images)), ViewOutputs(bench.path(bench.features))
    cfg = timm.data.resolve_model_data_config(model)
    (place,) = features.rows_of([images.ids[row]], view)
    fields = features.view_fields(place, place + 1, view)[0]
    cut = replay(decode_rgb(images.image(row)), fields, (side_px, side_px), cfg["interpolation"])
    pixels = (cut / 255 - np.asarray(cfg["mean"])) / np.asarray(cfg["std"])
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float()


@torch.inference_mode()
def test_features_of_a_vit_are_its_last_cls_tokens_and_the_mean_of_its_patches(finished_bench: Bench) -> None:
    torch.manual_seed(0)
    model = timm.create_model(TEACHER.name, num_classes=0, img_size=48).eval()
    layers: list[torch.Tensor] = []
    for block in model.blocks[-4:]:
        block.register_forward_hook(lambda module, arguments, output: layers.append(output))
    model.forward_features(as_seen(finished_bench, 17, 2, model, 48))
    normed = [model.norm(tokens)[0] for tokens in layers]
    expected = torch.stack([*(tokens[0] for tokens in normed), normed[-1][1:].mean(0)])

    features = ViewOutputs(finished_bench.path(finished_bench.features))
    images = ImageSet.open(finished_bench.path(finished_bench.images))
    assert features.attributes["blocks"] == ["layer-4", "layer-3", "layer-2", "last", "mean"]
    np.testing.assert_allclose(said_of(features, images, [17], 2)[0], expected, rtol=2e-3, atol=2e-3)


@torch.inference_mode()
def test_features_of_a_convolutional_network_are_its_pooled_map(finished_bench: Bench) -> None:
    torch.manual_seed(0)
    model = timm.create_model(STUDENT.name, num_classes=0).eval()
    expected = model.forward_features(as_seen(finished_bench, 20, 1, model, 32)).mean(dim=(2, 3))
    features = ViewOutputs(finished_bench.path(finished_bench.student_features))
    images = ImageSet.open(finished_bench.path(finished_bench.images))
    assert features.attributes["blocks"] == ["last"]
    np.testing.assert_allclose(said_of(features, images, [20], 1)[0], expected, rtol=2e-3, atol=2e-3)


def test_the_clean_view_comes_first_and_is_the_models_own_central_crop(finished_bench: Bench) -> None:
    features = ViewOutputs(finished_bench.path(finished_bench.student_features))
    side = round(40 * features.attributes["preprocessing"]["crop_share"])
    assert features.num_views == VIEWS.num_views + 1
    assert features.view_fields(0, 1, 0)[0, :5].tolist() == [(40 - side) // 2, (40 - side) // 2, side, side, 0]


def test_views_resized_by_torch_are_features_of_their_own_and_the_clean_view_is_the_same(bench: Bench) -> None:
    by = {}
    for resize in ("pillow", "torch"):
        config = ExtractConfig(backbone=TEACHER, views=VIEWS.model_copy(update={"resize": resize}))
        by[resize] = ViewOutputs(bench.path(bench.run(EXTRACT, config, images=bench.images)))
    assert by["torch"].attributes["views"]["resize"] == "torch"
    clean, augmented = ([outputs.view(view) for outputs in by.values()] for view in (0, 1))
    np.testing.assert_array_equal(*clean)
    assert not np.array_equal(*augmented)
    assert np.abs(augmented[0] - augmented[1]).mean() < 0.1  # of values whose spread is 1: images of 40 px are border


def test_after_weights_changed_unseen_running_again_gives_the_features_of_the_new_ones(
    bench: Bench, tmp_path: Path
) -> None:
    """As on a file system that hides changes: the remembered digest is of the weights before."""
    path = tmp_path / "weights.safetensors"
    save_file(timm.create_model("test_resnet").state_dict(), path)
    backbone = Backbone(name="test_resnet", weights="file", file=str(path), input_px=32)
    config = ExtractConfig(backbone=backbone, views=VIEWS)
    bench.store.sources.digest(str(path))
    records = {found: found.read_text() for found in (bench.store.root / "sources").iterdir()}
    [record] = [found for found, text in records.items() if sha256_of(path) in text]
    record.write_text(records[record].replace(sha256_of(path), "0" * 64))
    with pytest.raises(SourceChangedError, match=f"{path} is not what it was when its digest was taken"):
        bench.run(EXTRACT, config, images=bench.images)
    recipe = bench.store.manifest(bench.run(EXTRACT, config, images=bench.images)).recipe
    assert recipe["external"] == {"backbone.file": sha256_of(path)}
