"""Stage "precompute-foreign": a network that was trained elsewhere says what it sees, in the task's classes."""

import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from taskdistill.configs.foreign import ForeignTeacher, PrecomputeForeignConfig
from taskdistill.configs.stages import DistillConfig, EvaluateConfig
from taskdistill.configs.training import TrainingSettings
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.view_attributes import LogitsAttributes
from taskdistill.storage.view_outputs import ViewOutputs
from taskdistill.storage.weights import write_tensors
from taskdistill.tasks.catalog import DISTILL, EVALUATE_TEACHER, PRECOMPUTE_FOREIGN
from taskdistill.tasks.data.decode import decode_rgb
from taskdistill.tasks.foreign.network import ForeignModel, ForeignNetwork, preprocessing_of
from taskdistill.tasks.functional.views import replay
from taskdistill.tasks.models.encoder import ModelError
from tests.conftest import STUDENT, VIEWS, Bench
from tests.foreign_nets import ColourNet

UNIT: dict[str, Any] = {"mean": (0.0,) * 3, "std": (1.0,) * 3, "input_px": 32}
COLOURS = ForeignTeacher(function="tests.foreign_nets:build", **UNIT)


def config_of(teacher: ForeignTeacher, **settings: Any) -> PrecomputeForeignConfig:
    return PrecomputeForeignConfig(model=teacher, views=VIEWS, **settings)


def top1(bench: Bench, logits: Any) -> float:
    scored = bench.run(EVALUATE_TEACHER, EvaluateConfig(), images=bench.images, logits=logits)
    return float(bench.summary(scored)["scores"]["val"]["top1"])


def test_what_it_says_of_each_view_is_what_the_network_says_of_the_pixels_cut_again(workshop: Bench) -> None:
    logits = ViewOutputs(workshop.path(workshop.run(PRECOMPUTE_FOREIGN, config_of(COLOURS), images=workshop.images)))
    images = ImageSet.open(workshop.path(workshop.images))
    assert logits.row_shape == (3,)
    for view in (1, 2):
        rows = logits.rows_of([images.ids[row] for row in images.rows_of("train")[:3]], view)
        for image, row in zip(images.rows_of("train")[:3], rows, strict=True):
            view_9 = logits.view_fields(row, row + 1, view)[0]
            pixels = np.array(replay(decode_rgb(images.image(int(image))), view_9, (32, 32), "bilinear"))
            expected = ColourNet()(torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255)[0]
            # Its classes are disc, frame, wedge in that order too.
            np.testing.assert_allclose(logits.rows(row, row + 1, view)[0], expected.numpy(), rtol=1e-3)


def test_it_needs_no_probe_and_is_evaluated_and_distilled_from_as_any_teacher(workshop: Bench) -> None:
    logits = workshop.run(PRECOMPUTE_FOREIGN, config_of(COLOURS), images=workshop.images)
    assert top1(workshop, logits) == 1.0
    learning = DistillConfig(backbone=STUDENT, views=VIEWS, training=TrainingSettings(epochs=1, batch_size=8))
    model = workshop.run(DISTILL, learning, images=workshop.images, probe=workshop.student_probe, logits=logits)
    assert workshop.summary(model)["steps"] == 3
    assert workshop.summary(logits)["parameters"] == 9
    assert LogitsAttributes.of(ViewOutputs(workshop.path(logits))).classes == ["disc", "frame", "wedge"]


def test_a_plain_function_of_pixels_says_the_same_as_the_module_of_normalised_images(workshop: Bench) -> None:
    plain = ForeignTeacher(function="tests.foreign_nets:build_function", pixels="uint8", input_px=32)
    found = [
        ViewOutputs(workshop.path(workshop.run(PRECOMPUTE_FOREIGN, config_of(one), images=workshop.images)))
        for one in (COLOURS, plain)
    ]
    np.testing.assert_allclose(found[0].view(1), found[1].view(1), atol=2e-3)


def test_weights_are_given_to_the_function_and_their_content_is_identity(bench: Bench, tmp_path: Path) -> None:
    for name, scale in (("a", 1.0), ("b", 1.1)):
        write_tensors(tmp_path / name, {"colours_K3": ColourNet().colours_K3.numpy() * np.float32(scale)})
    shutil.copy(tmp_path / "a", tmp_path / "copy")
    made = {
        name: bench.run(
            PRECOMPUTE_FOREIGN,
            config_of(COLOURS.model_copy(update={"function": "tests.foreign_nets:build_from", "weights": str(path)})),
            images=bench.images,
        )
        for name in ("a", "b", "copy")
        for path in [tmp_path / name]
    }
    assert made["a"] == made["copy"] != made["b"]


def test_an_edited_module_is_another_teacher(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    teacher = ForeignTeacher(function="my_colours:build", pixels="uint8", input_px=32)
    text = "import torch\n\ndef build():\n    return lambda images: torch.ones(len(images), 3) * {}\n"
    made = []
    for number in (1, 22):  # of another length, or Python may take the compiled file of the same second for it
        (tmp_path / "my_colours.py").write_text(text.format(number))
        made.append(bench.run(PRECOMPUTE_FOREIGN, config_of(teacher), images=bench.images))
    first, second = (ViewOutputs(bench.path(ref)).view(0)[0].tolist() for ref in made)
    assert (first, second) == ([1.0] * 3, [22.0] * 3)


# --- what shows that it does not fit -------------------------------------------------------------------------------


def test_classes_in_a_wrong_order_are_shown_in_a_table(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    wrong = COLOURS.model_copy(update={"classes": ("frame", "wedge", "disc")})
    with caplog.at_level(logging.WARNING):
        logits = bench.run(PRECOMPUTE_FOREIGN, config_of(wrong), images=bench.images)
    assert "look permuted: 'disc' is called 'frame' (100%)" in caplog.text
    assert "rows: labels" in caplog.text
    assert (bench.path(logits) / "confusion.txt").read_text().startswith("rows: labels")
    assert any("look permuted" in sentence for sentence in bench.summary(logits)["said"])


def test_an_image_of_another_range_is_told_from_guessing(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    wrong = COLOURS.model_copy(update={"std": (1 / 255,) * 3})
    with caplog.at_level(logging.WARNING):
        bench.run(PRECOMPUTE_FOREIGN, config_of(wrong), images=bench.images)
    assert "recognises 33.3% of a class on average, where guessing has 33.3%" in caplog.text


def test_a_sound_teacher_says_nothing_and_leaves_its_table(workshop: Bench, caplog: pytest.LogCaptureFixture) -> None:
    logits = workshop.run(PRECOMPUTE_FOREIGN, config_of(COLOURS), images=workshop.images)
    assert workshop.summary(logits)["said"] == []
    assert (workshop.path(logits) / "confusion.txt").is_file()


def test_channels_are_turned_round_for_a_network_that_wants_blue_first() -> None:
    teacher = COLOURS.model_copy(update={"channels": "bgr", "mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)})
    model = ForeignModel(lambda images_NCHW: images_NCHW.mean(dim=(2, 3)))
    assert preprocessing_of(teacher, model).mean == (0.3, 0.2, 0.1)
    network = ForeignNetwork(teacher, model, 1)
    network.bring_to(["a", "b", "c"], (), torch.device("cpu"))
    red = torch.zeros(1, 3, 4, 4)
    red[:, 0] = 1
    assert network(red).tolist() == [[0.0, 0.0, 1.0]]


def test_a_map_is_kept_at_the_stride_that_was_asked_for_as_the_mean_of_its_logits() -> None:
    teacher = COLOURS.model_copy(update={"output_stride": 4, "input_px": 16})
    network = ForeignNetwork(teacher, ForeignModel(lambda images: images), 3)
    network.bring_to(["a", "b", "c"], (), torch.device("cpu"))
    images = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(network(images), images.unfold(2, 4, 4).unfold(3, 4, 4).mean(dim=(-2, -1)))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            "tests.foreign_nets:build_map",
            r"gives \(1, 3, 32, 32\) for 1 images, and this problem wants logits \[1, classes\]",
        ),
        ("tests.foreign_nets:build_nothing", "returned a int, where something that takes images"),
        ("tests.foreign_nets:absent", "AttributeError: module 'tests.foreign_nets' has no attribute 'absent'"),
        ("tests.foreign_nets:build_from", "TypeError: build_from.. missing 1 required positional argument: 'weights'"),
    ],
)
def test_a_function_that_does_not_answer_as_the_problem_asks_is_refused(
    workshop: Bench, function: str, message: str
) -> None:
    wrong = COLOURS.model_copy(update={"function": function})
    with pytest.raises(ModelError, match=message):
        workshop.run(PRECOMPUTE_FOREIGN, config_of(wrong), images=workshop.images)


def test_a_network_that_fails_or_is_not_finite_is_named() -> None:
    for network, message in (
        (lambda images: images @ torch.ones(7, 7), "failed on images of"),
        (lambda images: images.mean(dim=(2, 3)) / 0, "values that are not finite"),
    ):
        foreign = ForeignNetwork(COLOURS, ForeignModel(network), 1)
        with pytest.raises(ModelError, match=message):
            foreign.bring_to(["a", "b", "c"], (), torch.device("cpu"))
