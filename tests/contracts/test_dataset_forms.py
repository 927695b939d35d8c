"""What every dataset form must obey: the same pictures, laid out as the form wants them, are the same dataset."""

import io
import shutil
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from PIL import Image

from taskdistill.configs.choices import DATASET_FORMS, load
from taskdistill.configs.data import IngestConfig
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.catalog import INGEST
from taskdistill.tasks.data.candidates import Candidate, DatasetError, Listing
from tests.conftest import Run
from tests.fakes import write_shapes


class DatasetFormContract:
    """The rules for all; a subclass lays out a folder of split/class/file as its form wants it."""

    @abstractmethod
    def config(self, folder: Path) -> IngestConfig:
        """Make of split/class/file what this form reads; returns the settings that read it."""

    @pytest.fixture
    def dataset(self, tmp_path: Path) -> IngestConfig:
        """Three classes; 3, 1 and 2 images of each in train, val and test."""
        return self.config(write_shapes(tmp_path / "data", {"train": 3, "val": 1, "test": 2}, side=16))

    @staticmethod
    def list_images(config: IngestConfig) -> Sequence[Candidate]:
        found: Listing = load(DATASET_FORMS, config.form)(config)
        return found.candidates

    def test_every_image_is_named_once_with_its_split(self, dataset: IngestConfig) -> None:
        found = self.list_images(dataset)
        count = {split: sum(candidate.split == split for candidate in found) for split in ("train", "val", "test")}
        assert count == {"train": 9, "val": 3, "test": 6}
        assert len({candidate.id for candidate in found}) == len(found) == 18

    def test_an_id_is_the_path_below_the_folder_and_leads_to_the_file(self, dataset: IngestConfig) -> None:
        for candidate in self.list_images(dataset):
            assert candidate.path == Path(dataset.path) / candidate.id
            assert candidate.path.is_file()

    def test_ids_do_not_change_when_the_folder_is_moved(self, dataset: IngestConfig, tmp_path: Path) -> None:
        before = {candidate.id for candidate in self.list_images(dataset)}
        moved = shutil.move(dataset.path, tmp_path / "elsewhere")
        after = {candidate.id for candidate in self.list_images(dataset.model_copy(update={"path": str(moved)}))}
        assert after == before

    def test_a_folder_that_is_not_there_is_refused_by_name(self, dataset: IngestConfig) -> None:
        with pytest.raises(DatasetError, match="/nowhere"):
            self.list_images(dataset.model_copy(update={"path": "/nowhere"}))


class LabelledFormContract(DatasetFormContract):
    """The rules for forms whose images have labels."""

    def test_every_image_has_its_class(self, dataset: IngestConfig) -> None:
        found = self.list_images(dataset)
        assert {candidate.label for candidate in found} == {"disc", "frame", "wedge"}
        assert all(candidate.label in candidate.id for candidate in found if candidate.label)

    def test_it_ingests_to_rows_with_the_labels_of_the_classes(
        self, dataset: IngestConfig, run: Run, store: ArtifactStore
    ) -> None:
        images = ImageSet.open(store.path(run(INGEST, dataset)))
        assert images.classes == ["disc", "frame", "wedge"]
        assert len(images) == 18
        for image_id, label in zip(images.ids, images.labels, strict=True):
            assert images.classes[label] in image_id


class MaskedFormContract(DatasetFormContract):
    """The rules for forms whose images have masks, of two classes: bright and dark."""

    def test_every_image_has_a_mask_and_no_label(self, dataset: IngestConfig) -> None:
        for candidate in self.list_images(dataset):
            assert candidate.label is None
            assert candidate.mask
            assert candidate.mask.stem == candidate.path.stem

    def test_it_ingests_to_rows_with_canonical_masks(
        self, dataset: IngestConfig, run: Run, store: ArtifactStore
    ) -> None:
        images = ImageSet.open(store.path(run(INGEST, dataset)))
        assert images.classes == ["class 0", "class 1"]
        for row, image_id in enumerate(images.ids):
            bright = np.asarray(Image.open(Path(dataset.path) / image_id).convert("L")) > 128
            np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(images.mask(row) or b""))), bright)


def with_masks(folder: Path) -> Path:
    """Move split/class/file to images/split/class/file, and draw masks/split/class/file."""
    for path in sorted(folder.rglob("*.png")):
        name = path.relative_to(folder)
        for kind in ("images", "masks"):
            (folder / kind / name).parent.mkdir(parents=True, exist_ok=True)
        Image.open(path).convert("L").point(lambda value: int(value > 128)).save(folder / "masks" / name)
        path.rename(folder / "images" / name)
    return folder


class TestFolder(LabelledFormContract):
    def config(self, folder: Path) -> IngestConfig:
        return IngestConfig(path=str(folder))


class TestCsvTable(LabelledFormContract):
    def config(self, folder: Path) -> IngestConfig:
        pyarrow.csv.write_csv(_table_of(folder), folder / "labels.csv")
        return IngestConfig(path=str(folder), form="table", table="labels.csv")


class TestParquetTable(LabelledFormContract):
    def config(self, folder: Path) -> IngestConfig:
        pq.write_table(_table_of(folder), folder / "labels.parquet")
        return IngestConfig(path=str(folder), form="table", table="labels.parquet")


class TestMaskFolders(MaskedFormContract):
    def config(self, folder: Path) -> IngestConfig:
        return IngestConfig(path=str(with_masks(folder)), form="masks")


class TestTableOfMasks(MaskedFormContract):
    def config(self, folder: Path) -> IngestConfig:
        files = [path.relative_to(folder / "images") for path in sorted((with_masks(folder) / "images").rglob("*.png"))]
        lines = [f"images/{file.as_posix()},masks/{file.as_posix()},{file.parts[0]}" for file in files]
        (folder / "masks.csv").write_text("\n".join(["path,mask,split", *lines]) + "\n")
        return IngestConfig(path=str(folder), form="table", table="masks.csv")


def _table_of(folder: Path) -> pa.Table:
    files = [path.relative_to(folder) for path in sorted(folder.rglob("*.png"))]
    columns = {
        "path": [file.as_posix() for file in files],
        "label": [file.parts[1] for file in files],
        "split": [file.parts[0] for file in files],
    }
    return pa.table(columns)
