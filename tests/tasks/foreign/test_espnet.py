"""A real network that was trained elsewhere: ESPNet with its authors' weights, on road scenes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from taskdistill.configs.foreign import ForeignTeacher
from taskdistill.tasks.foreign.confusion import counted, doubts
from taskdistill.tasks.foreign.network import opened
from taskdistill.tasks.functional.losses import IGNORED
from tests.espnet import CLASSES

pytestmark = pytest.mark.real_data

TASK = [*CLASSES[:11]]


def counts_of(real_data: Path, **settings: object) -> np.ndarray:
    """Its answers on the 18 validation pairs against their masks."""
    teacher = ForeignTeacher(
        function="tests.espnet:build",
        weights=str(real_data / "weights/espnet_p_2_q_8_camvid.pth"),
        pixels="uint8",
        input_px=360,
        input_width_px=480,
    ).model_copy(update={"channels": "bgr", **settings})
    digests = {name: "" for name in teacher.locations("model.")}
    with pytest.MonkeyPatch.context() as patch, torch.inference_mode():
        patch.setattr("taskdistill.tasks.foreign.network._check_unchanged", lambda *_: None)
        patch.setattr(
            "taskdistill.tasks.foreign.network.preprocessing_of", lambda *_: None
        )  # the images are shown at their size
        network, _ = opened(teacher, digests, TASK, 3, torch.device("cpu"))
        counts = np.zeros((11, 11), np.int64)
        for path in sorted((real_data / "camvid/val").glob("*.png")):
            pixels = torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1)[None]
            mask = torch.from_numpy(np.array(Image.open(real_data / "camvid/valannot" / path.name))).long()[None]
            counts += counted(network(pixels.float()), torch.where(mask < 11, mask, IGNORED), 11)
    return counts


def test_its_weights_fit_it_to_the_last_tensor_and_its_void_is_dropped(real_data: Path) -> None:
    counts = counts_of(real_data)
    union_K = counts.sum(0) + counts.sum(1) - counts.diagonal()
    # Published: 0.556 on the whole test split of CamVid; the 18 are of a sequence that it was trained on.
    assert (counts.diagonal() / union_K).mean() == pytest.approx(0.696, abs=0.01)
    assert doubts(counts, TASK) == []


def test_classes_in_another_order_show(real_data: Path) -> None:
    order = ("building", "road", "sky", *CLASSES[3:])
    order = (*order[:3], "pole", *order[4:])
    (said,) = doubts(counts_of(real_data, classes=order), TASK)
    assert "look permuted: 'sky' is called 'building'" in said
