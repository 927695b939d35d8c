"""Weights made elsewhere: what is read, under which names, and what is said of files that do not fit."""

import json
import logging
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from taskdistill.configs.models import Backbone
from taskdistill.storage.weight_formats import WeightFileError
from taskdistill.tasks.models.encoder import ModelError, build_encoder
from taskdistill.tasks.models.weight_files import read_weights

Tensors = dict[str, Tensor]


def weights_of(name: str, **arguments: object) -> Tensors:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model: nn.Module = timm.create_model(name, **arguments)
    return {key: value.clone() for key, value in model.state_dict().items()}


@pytest.fixture(scope="module")
def resnet() -> Tensors:
    """Of test_resnet, with its classifier."""
    return weights_of("test_resnet")


def built(path: Path, name: str = "test_resnet", **arguments: object) -> Tensors:
    backbone = Backbone(name=name, weights="file", file=str(path), input_px=32, arguments=arguments)
    return {key.removeprefix("model."): value for key, value in build_encoder(backbone).state_dict().items()}


def saved(tensors: Tensors, path: Path) -> Path:
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    return path


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_widened_without_a_change_of_value(
    resnet: Tensors, tmp_path: Path, dtype: torch.dtype
) -> None:
    halves = {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in resnet.items()}
    found = built(saved(halves, tmp_path / "half.safetensors"))
    assert found["conv1.0.weight"].dtype is torch.float32
    assert torch.equal(found["conv1.0.weight"], halves["conv1.0.weight"].float())
    assert found["bn1.num_batches_tracked"].dtype is torch.int64


@pytest.mark.parametrize(("dtype", "name"), [(torch.float8_e4m3fn, "F8_E4M3"), (torch.int8, "I8"), (torch.uint8, "U8")])
def test_eight_bit_numbers_are_refused(tmp_path: Path, dtype: torch.dtype, name: str) -> None:
    saved({"a": torch.zeros(2).to(dtype)}, tmp_path / "w.safetensors")
    with pytest.raises(WeightFileError, match=f"is quantised: a has {name} numbers"):
        read_weights(tmp_path / "w.safetensors")


def test_float64_is_refused_as_what_it_is(tmp_path: Path) -> None:
    saved({"a": torch.zeros(2).double()}, tmp_path / "w.safetensors")
    with pytest.raises(WeightFileError, match=r"is in float64 \(a\): save the same tensors in float32"):
        read_weights(tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "model.", "backbone.", "student.backbone.", "module._orig_mod."]
)
def test_names_in_the_wrapper_of_a_trainer_are_read_without_it_and_that_is_said(
    resnet: Tensors, tmp_path: Path, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    wrapped = {prefix + name: tensor for name, tensor in resnet.items()} | {"criterion.scale": torch.ones(1)}
    with caplog.at_level(logging.INFO):
        found = built(saved(wrapped, tmp_path / "w.safetensors"))
    assert torch.equal(found["conv1.0.weight"], resnet["conv1.0.weight"])
    assert f"are stored under {prefix!r}, which is left out" in caplog.text


def test_two_networks_of_the_same_form_in_one_file_are_not_chosen_between(resnet: Tensors, tmp_path: Path) -> None:
    both = {f"{role}.{name}": tensor for role in ("student", "teacher") for name, tensor in resnet.items()}
    with pytest.raises(ModelError, match=r"in the file more than once, as 'student\.', 'teacher\.'"):
        built(saved({name: tensor.clone() for name, tensor in both.items()}, tmp_path / "w.safetensors"))


def test_a_value_that_is_no_number_is_refused_with_its_tensor(resnet: Tensors, tmp_path: Path) -> None:
    broken = resnet["layer1.0.conv1.weight"].clone()
    broken[0, 0, 0, 0] = float("nan")
    path = saved(resnet | {"layer1.0.conv1.weight": broken}, tmp_path / "w.safetensors")
    with pytest.raises(ModelError, match=r"not finite, in layer1\.0\.conv1\.weight, as a training that diverged"):
        built(path)


def test_a_file_of_another_width_is_refused_in_few_lines_with_the_name_it_fits(tmp_path: Path) -> None:
    path = saved(weights_of("resnet18"), tmp_path / "mine.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "resnet18"}))
    with pytest.raises(ModelError, match=r"they fit timm's 'resnet18'") as raised:
        built(path)
    assert len(str(raised.value).splitlines()) <= 10


def test_nothing_is_proposed_where_nothing_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskdistill.tasks.models.fitting_names.SEARCH_SECONDS", 0.5)
    with pytest.raises(ModelError, match="do not fit it: of its") as raised:
        built(saved({"decoder.weight": torch.randn(3, 3)}, tmp_path / "w.safetensors"))
    assert "they fit" not in str(raised.value)


def test_the_first_layers_of_a_deeper_network_are_not_taken_for_a_shallow_one(tmp_path: Path) -> None:
    path = saved(weights_of("test_vit", depth=6), tmp_path / "w.safetensors")
    assert built(path, "test_vit", depth=6)
    with pytest.raises(ModelError, match=r"(?s)a larger one: blocks\.4\..* they fit timm's 'test_vit': without"):
        built(path, "test_vit", depth=4)


def test_norms_that_a_file_lacks_are_not_left_as_they_began(
    resnet: Tensors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskdistill.tasks.models.fitting_names.SEARCH_SECONDS", 0.1)
    # A norm begins as ones and zeros, which no random draw tells from loaded values.
    path = saved({k: v for k, v in resnet.items() if not k.startswith("bn1.")}, tmp_path / "w.safetensors")
    with pytest.raises(ModelError, match=r"bn1\.weight, bn1\.bias, bn1\.running_mean and 1 more would stay random"):
        built(path)


def test_counters_that_a_file_lacks_do_not_matter(resnet: Tensors, tmp_path: Path) -> None:
    path = saved({k: v for k, v in resnet.items() if "num_batches" not in k}, tmp_path / "w.safetensors")
    assert torch.equal(built(path)["conv1.0.weight"], resnet["conv1.0.weight"])


def test_weights_equal_to_the_random_ones_are_not_called_missing(tmp_path: Path) -> None:
    encoder = build_encoder(Backbone(name="test_resnet", weights="random", input_px=32))
    path = saved(dict(encoder.model.state_dict()), tmp_path / "w.safetensors")  # type: ignore[union-attr, arg-type]
    assert built(path).keys() == encoder.model.state_dict().keys()  # type: ignore[union-attr]


def test_weights_are_read_by_content_whatever_their_name_ends_with(resnet: Tensors, tmp_path: Path) -> None:
    assert load_file(saved(resnet, tmp_path / "w.bin")).keys() == resnet.keys()
    assert torch.equal(built(tmp_path / "w.bin")["conv1.0.weight"], resnet["conv1.0.weight"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"wings": 2}, r"with arguments\.wings \(2\): TypeError"),
        ({"num_heads": 7, "qkv_bias": True}, r"with arguments\.num_heads \(7\): AssertionError"),
        ({"norm_layer": "nope"}, r"with arguments\.norm_layer \('nope'\): KeyError: 'nope'"),
        ({"embed_dim": "x"}, r"with arguments\.embed_dim \('x'\)"),
    ],
)
def test_an_argument_that_the_constructor_refuses_is_named(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        build_encoder(Backbone.model_validate({"name": "test_vit", "weights": "random", "arguments": arguments}))
