"""A segmentor of mmsegmentation as a teacher."""

from pathlib import Path

import pytest
import torch

from taskdistill.tasks.models.encoder import ModelError

pytest.importorskip("mmseg", reason="mmsegmentation is not installed (the extra 'segmentation')")

from taskdistill.tasks.openmmlab.packages import mmseg_ready
from taskdistill.tasks.openmmlab.teacher import load_teacher

CONFIGURATION = """
norm_cfg = dict(type="SyncBN")
model = dict(
    type="EncoderDecoder",
    pretrained="open-mmlab://resnet18_v1c",
    data_preprocessor=dict(
        type="SegDataPreProcessor", mean=[102.0, 51.0, 25.5], std=[51.0, 51.0, 25.5], bgr_to_rgb={rgb}
    ),
    backbone=dict(type="ResNetV1c", depth=18, out_indices=(3,), norm_cfg=norm_cfg),
    decode_head=dict(
        type="{head}", in_channels=512, in_index=0, channels=8, num_classes=2, norm_cfg=norm_cfg{options}
    ),
    auxiliary_head=dict(type="FCNHead", in_channels=512, in_index=0, channels=4, num_classes=2, norm_cfg=norm_cfg),
    test_cfg=dict(mode="whole"),
)
"""


def write_configuration(folder: Path, head: str = "FCNHead", rgb: bool = True, options: str = "") -> Path:
    path = folder / "config.py"
    path.write_text(CONFIGURATION.format(head=head, rgb=rgb, options=options))
    return path


def built_by_mmsegmentation(config: Path) -> torch.nn.Module:
    """The same network, random, built as their own tools do."""
    with mmseg_ready("the test"):
        from mmseg.apis import init_model

        torch.manual_seed(0)
        return init_model(str(config), device="cpu")


def test_its_logits_are_those_of_mmsegmentation_on_the_grid_of_its_head(tmp_path: Path) -> None:
    config = write_configuration(tmp_path)
    theirs = built_by_mmsegmentation(config)
    torch.save({"state_dict": theirs.state_dict(), "meta": {"CLASSES": ("off", "on")}}, tmp_path / "weights.pth")
    teacher = load_teacher(config, tmp_path / "weights.pth")
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(teacher(images), theirs(images), atol=1e-6, rtol=0)
    assert teacher(images).shape == (2, 2, 2, 3)
    assert teacher.classes == ("off", "on")
    assert teacher.mean == pytest.approx((0.4, 0.2, 0.1))
    assert teacher.std == pytest.approx((0.2, 0.2, 0.1))


def test_one_that_was_trained_on_blue_green_red_is_shown_that_and_says_its_means_in_our_order(tmp_path: Path) -> None:
    config = write_configuration(tmp_path, rgb=False)
    theirs = built_by_mmsegmentation(config)
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    teacher = load_teacher(config, tmp_path / "weights.pth")
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(teacher(images), theirs(images[:, [2, 1, 0]]), atol=1e-6, rtol=0)
    assert teacher.mean == pytest.approx((0.1, 0.2, 0.4))
    assert teacher.classes == ()


def test_one_that_takes_pixels_as_they_are_says_so_by_its_mean_and_deviation(tmp_path: Path) -> None:
    config = write_configuration(tmp_path)
    text = config.read_text()
    normalised = text[text.index(", mean=[") : text.index(", bgr_to_rgb")]
    config.write_text(text.replace(normalised, ""))
    torch.save(built_by_mmsegmentation(config).state_dict(), tmp_path / "weights.pth")
    teacher = load_teacher(config, tmp_path / "weights.pth")
    assert (teacher.mean, teacher.std) == ((0.0,) * 3, (1 / 255,) * 3)


def test_one_output_with_a_threshold_becomes_two_logits_with_the_same_answers(tmp_path: Path) -> None:
    config = write_configuration(tmp_path, options=", out_channels=1, threshold=0.3")
    theirs = built_by_mmsegmentation(config)
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    images = torch.randn(4, 3, 64, 64)
    with torch.no_grad():
        answers = load_teacher(config, tmp_path / "weights.pth")(images).argmax(1)
        assert torch.equal(answers, (theirs(images)[:, 0].sigmoid() > 0.3).long())


def test_weights_that_are_a_program_are_refused_unread(tmp_path: Path) -> None:
    config = write_configuration(tmp_path)
    torch.save({"state_dict": {}, "optimizer": Path("/")}, tmp_path / "weights.pth")
    with pytest.raises(ModelError, match=r"was refused, and nothing in it was run.*write them anew"):
        load_teacher(config, tmp_path / "weights.pth")


def test_weights_of_another_model_are_refused_with_what_does_not_fit(tmp_path: Path) -> None:
    config = write_configuration(tmp_path)
    tensors = built_by_mmsegmentation(config).state_dict()
    del tensors["decode_head.conv_seg.weight"]
    torch.save(tensors | {"decode_head.conv_seg.bias": torch.zeros(3)}, tmp_path / "weights.pth")
    with pytest.raises(ModelError, match=r"1 of its tensors are missing.*conv_seg.weight.*1 have another shape"):
        load_teacher(config, tmp_path / "weights.pth")


@pytest.mark.parametrize(
    ("text", "said"),
    [("model = dict(", "SyntaxError"), ("x = 1", "describes no model"), ("model = dict(type='Nothing')", "Nothing")],
)
def test_a_configuration_that_builds_no_segmentor_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "config.py").write_text(text)
    torch.save({"a": torch.zeros(1)}, tmp_path / "weights.pth")
    with pytest.raises(ModelError, match=said):
        load_teacher(tmp_path / "config.py", tmp_path / "weights.pth")


def test_a_head_that_needs_compiled_operators_is_refused_with_the_reason(tmp_path: Path) -> None:
    config = write_configuration(tmp_path, head="CCHead")
    torch.save({"a": torch.zeros(1)}, tmp_path / "weights.pth")
    with pytest.raises(ModelError, match="compiled operators"):
        load_teacher(config, tmp_path / "weights.pth")
