"""A model exported to ONNX answers there, with onnxruntime and numpy alone, as it answers here."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from taskdistill.configs.models import Backbone
from taskdistill.storage.files import all_files
from taskdistill.tasks.deploy.deployable import Deployable
from taskdistill.tasks.export.target import Exported, ExportError, Given, export
from tests.conftest import Bench
from tests.tasks.export.networks import CONVOLUTIONAL, TRANSFORMER, alone, classifier, images_of
from tests.tasks.openmmlab.models import finished_model

pytest.importorskip("onnxscript", reason="the extra 'export' is not installed")

from taskdistill.tasks.export import onnx_target

WITH_NUMPY_ALONE = """
import json
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
images = np.load(sys.argv[1])
answers = {name: session.run(None, {"images": images[name]}) for name in images}
np.savez(sys.argv[2], **{f"{name}-{number}": array for name in answers for number, array in enumerate(answers[name])})
classes = json.loads(session.get_modelmeta().custom_metadata_map["classes"])
print(json.dumps({"classes": classes, "others": sorted({"torch", "PIL", "taskdistill"} & set(sys.modules))}))
"""


def exported(bench: Bench, folder: Path, backbone: Backbone = CONVOLUTIONAL, precision: str = "fp32") -> Exported:
    given = Given(bench.path(classifier(bench, backbone)), images_of(bench), 1.7, precision)
    return export(onnx_target.write, "onnx", given, folder)


def test_how_many_images_answers_were_compared_on_is_told_meanwhile(workshop: Bench, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    given = Given(workshop.path(classifier(workshop)), images_of(workshop))
    export(onnx_target.write, "onnx", given._replace(on_progress=lambda *one: told.append(one)), tmp_path / "new")
    assert told == [("images compared", done, 12) for done in range(1, 13)]


def pictures() -> dict[str, np.ndarray]:
    """Several sizes, among them one with fewer than half as many columns as rows, and a batch."""
    draw = np.random.default_rng(5)
    sizes = {"batch": (3, 40, 70), "tall": (1, 300, 90), "tiny": (1, 3, 5), "square": (1, 32, 32)}
    return {name: draw.integers(0, 256, (*size, 3), np.uint8) for name, size in sizes.items()}


def test_with_onnxruntime_and_numpy_alone_the_answers_are_the_models_own(workshop: Bench, tmp_path: Path) -> None:
    said = exported(workshop, tmp_path / "new")
    assert said.measured["answers"] == 12
    assert said.measured["answers_changed"] == 0
    assert said.measured["difference"] <= 1e-4
    np.savez(tmp_path / "images.npz", **pictures())
    told = alone(
        WITH_NUMPY_ALONE, tmp_path / "new", str(tmp_path / "images.npz"), str(tmp_path / "answers.npz"),
        packages=("onnxruntime", "numpy"),
    )  # fmt: skip
    assert json.loads(told) == {"classes": ["disc", "frame", "wedge"], "others": []}
    answers = np.load(tmp_path / "answers.npz")
    deployable = Deployable.load(workshop.path(classifier(workshop)), torch.device("cpu"))
    for name, images in pictures().items():
        logits = deployable.outputs(np.stack([deployable.shown(image) for image in images]))
        assert logits.abs().max() > 0.1
        np.testing.assert_allclose(answers[f"{name}-0"], logits, atol=1e-4)
        np.testing.assert_allclose(answers[f"{name}-1"], (logits / 1.7).softmax(1), atol=1e-5)
    # Nothing that was written tells where it was written.
    for file in all_files(tmp_path / "new"):
        assert not {place for place in places(workshop, tmp_path) if place in file.read_bytes()}, file


def places(bench: Bench, tmp_path: Path) -> list[bytes]:
    here = Path(__file__).parents[3]
    return [str(place).encode() for place in (bench.store.root, tmp_path, here, Path.home() / "x")]


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "share"), [("fp16", 0.55), ("int8", 0.45)])
def test_a_lower_precision_makes_the_file_smaller_and_says_what_it_changes(
    workshop: Bench, tmp_path: Path, precision: str, share: float
) -> None:
    full = exported(workshop, tmp_path / "full", TRANSFORMER)
    less = exported(workshop, tmp_path / "less", TRANSFORMER, precision)
    assert full.measured["difference"] < 1e-4 < less.measured["difference"] < 5  # of logits up to 25
    assert less.measured["answers_changed"] <= 6
    [*_, sentence] = less.said
    assert f"ONNX Runtime in {precision}, on 12 images of the test split" in sentence
    sizes = [(tmp_path / name / "model.onnx").stat().st_size for name in ("full", "less")]
    assert sizes[1] < share * sizes[0] + 200_000  # what does not shrink: the operations themselves


@pytest.mark.slow
def test_the_class_map_is_on_the_images_own_grid(workshop: Bench, tmp_path: Path) -> None:
    see = CONVOLUTIONAL.model_copy(update={"input_px": 64, "input_width_px": 96, "clean_view": "center"})
    ref = finished_model(workshop.store, see, blocks=["map-2", "map"], classes=["sky", "road"], sure=100)
    said = export(onnx_target.write, "onnx", Given(workshop.path(ref)), tmp_path / "new")
    assert said.measured["answers"] == 61 * 83 + 224 * 224 + 2 * 90 * 300
    assert said.measured["difference"] <= 1e-4
    assert "noise" in said.said[0]


def test_int8_without_the_training_images_is_refused_before_anything_is_written(
    workshop: Bench, tmp_path: Path
) -> None:
    given = Given(workshop.path(classifier(workshop)), None, precision="int8")
    with pytest.raises(ExportError, match="int8 needs training images"):
        export(onnx_target.write, "onnx", given, tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.nightly
@pytest.mark.slow
def test_an_operation_that_onnx_lacks_is_named(
    workshop: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No model of timm is at hand that has one: the answers are made of it instead.
    from taskdistill.tasks.problems.traced_answers import Probabilities

    def forward(self: Probabilities, outputs_NK: torch.Tensor, height: int, width: int) -> tuple[torch.Tensor, ...]:
        return outputs_NK, torch.special.bessel_j0(outputs_NK)

    monkeypatch.setattr(Probabilities, "forward", forward)
    with pytest.raises(ExportError, match=r"it computes .*bessel_j0, which ONNX does not have"):
        exported(workshop, tmp_path / "new")
    assert list(tmp_path.iterdir()) == []
