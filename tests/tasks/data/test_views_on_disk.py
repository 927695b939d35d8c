"""Views that one step has cut and the next reads: the pixels that it would have cut, without decoding an image."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pytest

from taskdistill.configs.data import ViewSettings
from taskdistill.configs.runtime import RuntimeConfig
from taskdistill.configs.stages import (
    DistillConfig,
    EvaluateConfig,
    ExtractConfig,
    FinetuneConfig,
    PrecomputeConfig,
    ProbeImagesConfig,
)
from taskdistill.configs.training import TrainingSettings
from taskdistill.storage.collecting import collect
from taskdistill.storage.errors import CorruptArtifactError
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.manifest import FileRecord, Manifest
from taskdistill.tasks.catalog import DISTILL, EVALUATE, EXTRACT, FINETUNE, PRECOMPUTE, PROBE_IMAGES
from taskdistill.tasks.data import batches
from taskdistill.tasks.data.batches import ViewSource
from taskdistill.tasks.data.decode_memory import DecodeMemory
from taskdistill.tasks.data.processes import view_source
from taskdistill.tasks.data.table_place import PIXELS, table_place
from taskdistill.tasks.functional.views import Pixels
from taskdistill.tasks.models.preprocessing import Preprocessing
from tests.conftest import PROBE_SETTINGS, RUNTIME, STUDENT, TEACHER, Bench

CUT = Preprocessing(24, (0.5,) * 3, (0.5,) * 3, "bicubic", 0.9, "center")
VIEWS = ViewSettings(num_views=3)
KEEPING = RUNTIME.model_copy(update={"kept_views_mb": 64})
BY_PROCESSES = KEEPING.model_copy(update={"loading": "processes"})
ROWS = [0, 7, 7, 30, 47]
NUMBERS = [0, 1, 2, 3, 1]
TRAINING = TrainingSettings(epochs=2, batch_size=8, learning_rate=1e-3)


@pytest.fixture
def images(finished_bench: Bench, tmp_path: Path) -> ImageSet:
    """A copy, of which tests may lose the pictures."""
    folder = finished_bench.path(finished_bench.images)
    return ImageSet.open(shutil.copytree(folder, tmp_path / folder.name))


def source(images: ImageSet, kept_in: Path, runtime: RuntimeConfig = KEEPING, **memory: int) -> ViewSource:
    return view_source(images, VIEWS, CUT, runtime, kept_in=kept_in, **memory)


def cut(views: ViewSource) -> np.ndarray:
    return views.cut(ROWS, views.views(ROWS, NUMBERS))


def without_pictures(images: ImageSet) -> ImageSet:
    """The same set, of which no picture can be read any more."""
    for shard in (images.folder / "shards").iterdir():
        found = shard.read_bytes()
        for row in range(len(images)):
            found = found.replace(picture := images.image(row), bytes(len(picture)))
        shard.write_bytes(found)
    return ImageSet.open(images.folder)


@pytest.mark.parametrize("first", [KEEPING, BY_PROCESSES], ids=["threads", "processes"])
@pytest.mark.parametrize("second", [KEEPING, BY_PROCESSES], ids=["threads", "processes"])
def test_what_one_step_has_cut_another_reads_without_the_pictures(
    images: ImageSet, tmp_path: Path, first: RuntimeConfig, second: RuntimeConfig
) -> None:
    plain = cut(view_source(images, VIEWS, CUT, RUNTIME))
    np.testing.assert_array_equal(cut(source(images, tmp_path / "views", first)), plain)
    later = source(without_pictures(images), tmp_path / "views", second)
    np.testing.assert_array_equal(cut(later), plain)
    with pytest.raises(CorruptArtifactError):
        later.cut([8], later.views([8], [1]))


def test_views_are_cut_ahead_from_the_disk_where_all_of_an_image_are_there(images: ImageSet, tmp_path: Path) -> None:
    earlier = source(images, tmp_path / "views")
    plain = earlier.cut([7, 7], earlier.views([7, 7], [1, 2]))
    later = source(without_pictures(images), tmp_path / "views", ahead_mb=1)
    later.cut_ahead([7], [1, 2])
    shutil.rmtree(tmp_path / "views")
    np.testing.assert_array_equal(later.cut([7, 7], later.views([7, 7], [1, 2])), plain)


def test_nothing_is_kept_where_no_room_is_given(images: ImageSet, tmp_path: Path) -> None:
    cut(source(images, tmp_path / "views", RUNTIME))
    assert not (tmp_path / "views").exists()


OTHER_PIXELS = {
    "size": (VIEWS, CUT._replace(side_px=25)),
    "width": (VIEWS, CUT._replace(width_px=36)),
    "interpolation": (VIEWS, CUT._replace(interpolation="bilinear")),
    "way of the clean view": (VIEWS, CUT._replace(crop_mode="squash")),
    "share of the clean view": (VIEWS, CUT._replace(crop_share=0.8)),
    "resampler": (VIEWS.model_copy(update={"resize": "torch"}), CUT),
}


@pytest.mark.parametrize(("settings", "network"), OTHER_PIXELS.values(), ids=OTHER_PIXELS)
def test_what_makes_other_pixels_has_another_table(
    images: ImageSet, tmp_path: Path, settings: ViewSettings, network: Preprocessing
) -> None:
    first, other = (table_place(tmp_path, images, *cut_by, KEEPING) for cut_by in ((VIEWS, CUT), (settings, network)))
    assert first
    assert other
    assert first.path != other.path


def test_a_set_that_was_made_again_with_other_pictures_has_another_table_whatever_its_name(
    images: ImageSet, tmp_path: Path
) -> None:
    first = table_place(tmp_path, images, VIEWS, CUT, KEEPING)
    manifest = Manifest.read(images.folder)
    other = {name: record.model_copy(update={"sha256": "0" * 64}) for name, record in manifest.files.items()}
    manifest.model_copy(update={"files": other}).write(images.folder)
    second = table_place(tmp_path, images, VIEWS, CUT, KEEPING)
    assert first
    assert second
    assert first.path.parent == second.path.parent
    assert first.path != second.path


@pytest.mark.parametrize("package", [PIL, np], ids=["Pillow", "numpy"])
def test_another_version_of_what_decodes_and_cuts_has_another_table(
    images: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: Any
) -> None:
    first = table_place(tmp_path, images, VIEWS, CUT, KEEPING)
    monkeypatch.setattr(package, "__version__", "0.1")
    assert table_place(tmp_path, images, VIEWS, CUT, KEEPING) != first


def test_networks_that_normalise_otherwise_and_views_of_another_seed_share_a_table(
    images: ImageSet, tmp_path: Path
) -> None:
    first = table_place(tmp_path, images, VIEWS, CUT, KEEPING)
    settings, network = VIEWS.model_copy(update={"seed": 1}), CUT._replace(mean=(0.1,) * 3, std=(0.2,) * 3)
    assert first == table_place(tmp_path, images, settings, network, KEEPING)


def test_where_code_gives_other_pixels_kept_views_are_not_found_any_more() -> None:
    assert EXTRACT.version == PIXELS


def made(bench: Bench, **runtime: object) -> list[Mapping[str, FileRecord]]:
    """Run whatever cuts views; returns the files of each artifact."""
    images = {"images": bench.images}
    teacher, student = (
        bench.run(EXTRACT, ExtractConfig(backbone=backbone, views=VIEWS), runtime=runtime, **images)
        for backbone in (TEACHER, STUDENT)
    )
    taught = images | {"probe": bench.student_probe}
    finetuning = FinetuneConfig(backbone=STUDENT, views=VIEWS, training=TRAINING)
    finetuned = bench.run(FINETUNE, finetuning, runtime=runtime, **taught)
    logits = bench.run(PRECOMPUTE, PrecomputeConfig(), features=teacher, probe=bench.probe)
    distilling = DistillConfig(backbone=STUDENT, views=VIEWS, training=TRAINING)
    distilled = bench.run(DISTILL, distilling, runtime=runtime, logits=logits, **taught)
    scored = bench.run(EVALUATE, EvaluateConfig(), runtime=runtime, model=distilled, **images)
    return [bench.store.manifest(ref).files for ref in (teacher, student, finetuned, distilled, scored)]


def test_features_networks_and_scores_are_the_same_bytes_whether_views_are_cut_or_read(
    finished_bench: Bench, tmp_path: Path
) -> None:
    cutting, keeping, reading = (finished_bench.copied(tmp_path / name) for name in ("cutting", "keeping", "reading"))
    expected = made(cutting)
    assert made(keeping, kept_views_mb=64) == expected
    shutil.copytree(keeping.store.root / "views", reading.store.root / "views")
    assert made(reading, kept_views_mb=64) == expected


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The images that are decoded, by their ids."""
    found: set[str] = set()
    decode = batches.decoded_row

    def noting(images: ImageSet, row: int, *, memory: DecodeMemory | None = None) -> Pixels:
        found.add(images.ids[row])
        return decode(images, row, memory=memory)

    monkeypatch.setattr(batches, "decoded_row", noting)
    return found


def test_stages_decode_nothing_that_an_earlier_one_has_cut(bench: Bench, decoded: set[str]) -> None:
    keeping, images = {"kept_views_mb": 64}, {"images": bench.images}
    for backbone in (TEACHER, STUDENT):
        bench.run(EXTRACT, ExtractConfig(backbone=backbone, views=VIEWS), runtime=keeping, **images)
    every = set(ImageSet.open(bench.path(bench.images)).ids)
    assert decoded == every
    decoded.clear()
    probing = ProbeImagesConfig(backbone=STUDENT, views=VIEWS, probe=PROBE_SETTINGS)
    probe = bench.run(PROBE_IMAGES, probing, runtime=keeping, **images)
    again = ExtractConfig(backbone=STUDENT, views=VIEWS.model_copy(update={"num_views": 2}))
    bench.run(EXTRACT, again, runtime=keeping, **images)
    finetuning = FinetuneConfig(backbone=STUDENT, views=VIEWS, training=TRAINING)
    model = bench.run(FINETUNE, finetuning, runtime=keeping, probe=probe, **images)
    teacher = bench.run(EXTRACT, ExtractConfig(backbone=TEACHER, views=VIEWS), runtime=keeping, **images)
    logits = bench.run(PRECOMPUTE, PrecomputeConfig(), features=teacher, probe=bench.probe)
    distilling = DistillConfig(backbone=STUDENT, views=VIEWS, training=TRAINING)
    bench.run(DISTILL, distilling, runtime=keeping, logits=logits, probe=bench.student_probe, **images)
    assert decoded == set()
    bench.run(EVALUATE, EvaluateConfig(), runtime=keeping, model=model, **images)
    assert {name.partition("/")[0] for name in decoded} <= {"test"}  # of which it shows pictures


def test_collecting_takes_the_views_of_image_sets_along(bench: Bench) -> None:
    bench.run(EXTRACT, ExtractConfig(backbone=STUDENT, views=VIEWS), runtime={"kept_views_mb": 64}, images=bench.images)
    views = bench.store.root / "views"
    assert [folder.name for folder in views.iterdir()] == [bench.images.fingerprint]
    bench.store.label("kept", bench.images)
    collect(bench.store)
    assert list(views.glob("*/*.table"))
    bench.store.remove_label("kept")
    collect(bench.store)
    assert not list(views.iterdir())
