"""What masks of known datasets mean, against mmsegmentation's own reading of them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("mmseg", reason="mmsegmentation is not installed (the extra 'segmentation')")

from taskdistill.tasks.openmmlab.labels import LabelTableError, label_table
from taskdistill.tasks.openmmlab.packages import mmseg_ready


@pytest.mark.parametrize("name", ["ADE20KDataset", "CityscapesDataset", "PascalVOCDataset", "COCOStuffDataset"])
def test_each_value_of_a_mask_is_read_as_mmsegmentation_reads_it(name: str, tmp_path: Path) -> None:
    table = label_table(name)
    Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(tmp_path / "every-value.png")
    with mmseg_ready("the test"):
        from mmseg.datasets.transforms import LoadAnnotations

        results = {
            "seg_map_path": str(tmp_path / "every-value.png"), "seg_fields": [],
            "reduce_zero_label": name == "ADE20KDataset",  # stated in its documentation
        }  # fmt: skip
        theirs = LoadAnnotations().transform(results)["gt_seg_map"].ravel()
    for number, values in enumerate(table.values):
        assert [int(theirs[value]) for value in values] == [number]
    assert {int(theirs[value]) for value in (*table.ignored, 255)} == {255}


def test_classes_and_colours_of_ade20k_are_those_of_its_authors() -> None:
    table = label_table("ADE20KDataset")
    assert len(table.names) == len(table.colours) == 150
    assert table.names[:3] == ("wall", "building", "sky")
    assert table.colours[:2] == (((120, 120, 120),), ((180, 120, 120),))
    assert (table.values[0], table.ignored) == ((1,), (0,))


def test_a_dataset_that_is_not_known_is_answered_with_those_like_it() -> None:
    with pytest.raises(LabelTableError, match="did you mean 'ADE20KDataset'"):
        label_table("ADE20kDataset")


def test_a_dataset_without_classes_of_its_own_is_not_among_them() -> None:
    with pytest.raises(LabelTableError, match="with classes and colours of its own"):
        label_table("BaseSegDataset")
