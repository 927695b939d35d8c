"""The early trial of a network: what would stop a later stage for the network's sake is found before any work."""

import pytest
import timm
import torch

from taskdistill.configs import choices
from taskdistill.configs.experiment import Experiment
from taskdistill.configs.models import Backbone
from taskdistill.configs.stages import ProbeSettings
from taskdistill.configs.training import TeacherFinetuning, TrainingSettings
from taskdistill.tasks.models.encoder import ModelError
from taskdistill.tasks.models.trial import Wanted, try_encoder, wanted_of

VIT = Backbone(name="test_vit", weights="random", input_px=32)
RESNET = Backbone(name="test_resnet", weights="random", input_px=32)


def tried(backbone: Backbone, **asked: object) -> int:
    wanted = Wanted(
        "student",
        "classification",
        backbone,
        ["fp32"],
        "student_probe",
        ProbeSettings(),
        "training",
        TrainingSettings(),
    )
    return try_encoder(wanted._replace(**asked), torch.device("cpu"))


def test_what_goes_together_passes_with_the_number_of_parameters() -> None:
    training = TrainingSettings(drop_path=0.1, layer_decay=0.7, precision="bf16")
    asked = {"training": training, "precisions": ["fp32", "bf16"], "probe": ProbeSettings(inputs=("last4+mean",))}
    alone = timm.create_model("test_vit", num_classes=0, img_size=32)
    assert tried(VIT, **asked) == sum(parameter.numel() for parameter in alone.parameters())


def test_an_input_side_the_network_cannot_take_is_an_error() -> None:
    with pytest.raises(ModelError, match=r"cannot see an image of 224 px in fp32 on cpu"):
        tried(Backbone(name="crossvit_tiny_240", weights="random", input_px=224))


def test_a_probe_input_the_network_has_not_is_named_with_those_it_has() -> None:
    with pytest.raises(
        ModelError, match=r"student_probe\.inputs asks for \['last4'\], but test_resnet .* only \['last'\]"
    ):
        tried(RESNET, probe=ProbeSettings(inputs=("last", "last4")))


def test_stochastic_depth_where_a_network_has_none_is_named_by_its_setting() -> None:
    vgg = Backbone(name="vgg11", weights="random", input_px=32)
    with pytest.raises(ModelError, match=r"cannot build vgg11 with drop_path of its training \(0\.1\): TypeError"):
        tried(vgg, training=TrainingSettings(drop_path=0.1))


def test_a_pooling_that_gives_no_vector_is_an_error() -> None:
    unpooled = RESNET.model_copy(update={"arguments": {"global_pool": ""}})
    with pytest.raises(ModelError, match=r"gives 'last' of an image as \(1, \d+, 1, 1\) numbers, where \(1, \d+\)"):
        tried(unpooled)


def test_an_image_size_that_contradicts_the_side_shown_is_an_error() -> None:
    with pytest.raises(ModelError, match=r"student\.arguments has img_size 64, but student\.input_px is 32"):
        tried(VIT.model_copy(update={"arguments": {"img_size": 64}}))


def test_a_network_may_be_shown_pictures_that_are_no_squares() -> None:
    assert tried(VIT.model_copy(update={"input_width_px": 64})) > tried(VIT)
    assert tried(RESNET.model_copy(update={"input_width_px": 64})) == tried(RESNET)
    arguments = {"img_size": [32, 64]}
    assert tried(VIT.model_copy(update={"input_width_px": 64, "arguments": arguments}))
    with pytest.raises(ModelError, match=r"img_size 32, but student.input_px is 32 and student.input_width_px 64:"):
        tried(VIT.model_copy(update={"input_width_px": 64, "arguments": {"img_size": 32}}))


def test_a_size_that_the_cells_of_a_map_do_not_fill_is_refused_with_those_that_fit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(choices.PROBLEMS, "parts", "tests.contracts.dense_toy:Parts")
    with pytest.raises(
        ModelError,
        match=r"student\.input_px is 50, which the cells of test_vit's map, 16 px each, do not fill: set it to "
        "48 or 64",
    ):
        tried(VIT.model_copy(update={"input_px": 50}), problem="parts")
    with pytest.raises(
        ModelError, match=r"input_width_px is 48, which .* map, 32 px each, do not fill: set it to 32 or 64"
    ):
        tried(RESNET.model_copy(update={"input_width_px": 48}), problem="parts")
    assert tried(RESNET.model_copy(update={"input_width_px": 64}), problem="parts")
    assert tried(RESNET.model_copy(update={"input_px": 50}))  # a summary of the whole has no cells


def test_a_network_of_two_layers_gives_its_last_but_not_its_last_four() -> None:
    shallow = VIT.model_copy(update={"arguments": {"depth": 2}})
    tried(shallow)
    with pytest.raises(ModelError, match=r"inputs asks for \['last4'\]"):
        tried(shallow, probe=ProbeSettings(inputs=("last4",)))


def test_a_teacher_is_asked_for_training_only_where_it_is_finetuned() -> None:
    training = TeacherFinetuning(layer_decay=0.5, precision="bf16")
    probed = Experiment(teacher=VIT, student=RESNET, teacher_finetuning=training)
    finetuned = Experiment(teacher=VIT, student=RESNET, teacher_finetuning=training, teacher_training="finetuned")
    assert [wanted.training for wanted in wanted_of(probed)] == [None, probed.training]
    assert wanted_of(finetuned)[0].training == training
    assert list(wanted_of(finetuned)[0].precisions) == ["fp32", "bf16"]


def test_each_of_several_teachers_is_tried_by_the_name_of_its_setting() -> None:
    asked = wanted_of(Experiment(teacher=VIT, more_teachers=(RESNET.model_copy(update={"seed": 1}),), student=RESNET))
    assert [(wanted.role, wanted.backbone.name, wanted.backbone.seed) for wanted in asked] == [
        ("teacher", "test_vit", 0),
        ("more_teachers[0]", "test_resnet", 1),
        ("student", "test_resnet", 0),
    ]


def test_a_head_that_needs_more_maps_than_an_input_has_is_an_error() -> None:
    lraspp = {"problem": "segmentation", "probe": ProbeSettings(head="lraspp", inputs=("last4",))}
    assert tried(RESNET, **lraspp)
    with pytest.raises(ModelError, match=r"'lraspp' sees the last map and a finer one.*inputs to \['last4'\]"):
        tried(RESNET, problem="segmentation", probe=ProbeSettings(head="lraspp", inputs=("last4", "last")))
