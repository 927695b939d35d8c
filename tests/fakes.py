"""Small real things the tests put at the adapter tables: a dataset anyone can learn, an encoder that counts, a toy
problem, a toy source of models, a toy dataset form.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image, ImageDraw
from torch import Tensor, nn

from taskdistill.configs.data import IngestConfig
from taskdistill.configs.evaluation import WindowSettings
from taskdistill.configs.models import Backbone
from taskdistill.configs.training import TrainingSettings
from taskdistill.storage.image_set import ImageSet
from taskdistill.tasks.data.candidates import Candidate, Listing
from taskdistill.tasks.data.label_tables import LabelTable
from taskdistill.tasks.functional.comparison import standard_error
from taskdistill.tasks.functional.losses import num_answers
from taskdistill.tasks.functional.mixup import Mixing, WeightedTargets
from taskdistill.tasks.functional.sums import Sum
from taskdistill.tasks.functional.views import Pixels, Size, View
from taskdistill.tasks.models.encoder import LAST, Block, Encoder
from taskdistill.tasks.models.preprocessing import Preprocessing
from taskdistill.tasks.problems.answers import Answer, AnswerForm, Asked
from taskdistill.tasks.problems.metrics import Metric
from taskdistill.tasks.problems.palette import Colours
from taskdistill.tasks.problems.problem import PixelsOf
from taskdistill.tasks.problems.whole_images import clean_window

SHAPES = {"disc": (210, 60, 50), "frame": (60, 190, 70), "wedge": (60, 80, 220)}
"""Class -> the colour it is drawn in, more or less."""


def draw_shape(name: str, seed: int, side: int = 40) -> Image.Image:
    """A coloured shape at a random place on grey noise: the same picture for the same seed."""
    rng = np.random.default_rng([seed, sorted(SHAPES).index(name)])
    picture = Image.fromarray(rng.integers(90, 150, (side, side, 3), np.uint8))
    colour = tuple(int(value) for value in np.clip(SHAPES[name] + rng.integers(-30, 31, 3), 0, 255))
    left, top = (int(value) for value in rng.integers(0, side // 3, 2))
    right, bottom = (int(value) for value in rng.integers(2 * side // 3, side, 2))
    pen = ImageDraw.Draw(picture)
    match name:
        case "disc":
            pen.ellipse((left, top, right, bottom), fill=colour)
        case "frame":
            pen.rectangle((left, top, right, bottom), outline=colour, width=side // 6)
        case "wedge":
            pen.polygon([(left, bottom), (right, bottom), ((left + right) // 2, top)], fill=colour)
    return picture


def write_shapes(folder: Path, images_per_class: Mapping[str, int], *, side: int = 40, seed: int = 0) -> Path:
    """Write split/class/000.png ... for each split; with the split "" write class/000.png. Returns the folder."""
    for split_number, (split, count) in enumerate(images_per_class.items()):
        for name in SHAPES:
            (folder / split / name).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                picture = draw_shape(name, seed * 100_000 + split_number * 1000 + number, side)
                picture.save(folder / split / name / f"{number:03d}.png")
    return folder


class CountingEncoder(Encoder):
    """Says the exact mean colour of each quarter of an image, and remembers how many images it was shown.

    The sums are of whole numbers, so no order of summation or size of batch can change a bit of them.
    """

    def __init__(self, side_px: int, dies_after: int | None = None) -> None:
        super().__init__()
        self.blocks = (Block(LAST, 12),)
        self.preprocessing = Preprocessing(side_px, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "bilinear", 1.0, "center")
        self.scale = nn.Parameter(torch.ones(12))
        self.batches: list[int] = []
        """Images of each batch, those that fill it up left out."""
        self.sizes: list[int] = []
        """The same with them."""
        self.dies_after = dies_after

    @property
    def shown(self) -> int:
        return sum(self.batches)

    def forward(self, images_NCHW: Tensor, names: Sequence[str]) -> tuple[Tensor, ...]:
        num_images = int(images_NCHW.flatten(1).any(dim=1).sum())  # batches may be filled up with black ones
        if self.dies_after is not None and self.shown + num_images > self.dies_after:
            raise RuntimeError("power cut")
        self.batches.append(num_images)
        self.sizes.append(len(images_NCHW))
        levels_NCHW = (images_NCHW * 255).round().double()
        side = levels_NCHW.shape[-1] // 2
        quarters = levels_NCHW.unfold(2, side, side).unfold(3, side, side).sum(dim=(-2, -1)).flatten(1)
        return ((quarters / (255 * side * side)).float() * self.scale,)

    def parameter_groups(self, learning_rate: float, weight_decay: float, layer_decay: float) -> list[dict[str, Any]]:
        return [{"params": [self.scale], "lr": learning_rate, "weight_decay": 0.0}]


counting_encoders: list[CountingEncoder] = []
"""Encoders for `build_counting_encoder` to hand out, in this order; the test that fills the list owns it."""


def build_counting_encoder(backbone: Backbone, *, drop_path: float = 0.0) -> CountingEncoder:
    if torch.get_default_device().type == "meta":  # asked for its widths alone
        return CountingEncoder(backbone.input_px)
    return counting_encoders.pop(0)


# --- extensions, as a user would write them ------------------------------------------------------------------------


ORDINAL_METRICS = (Metric("minus_mae", "minus error"), Metric("as_teacher", "as teacher"))


class Ordinal:
    """A toy problem: the label is a place on a scale, learnt by least squares with a single output."""

    metrics = ORDINAL_METRICS
    output_axes = 1

    def classes(self, images: ImageSet) -> list[str]:
        return images.classes

    def inputs(self) -> Mapping[str, tuple[str, ...]]:
        return {"last": (LAST,)}

    def head(self, blocks: Sequence[Block], num_classes: int, kind: str = "linear") -> nn.Module:
        return nn.Linear(blocks[0].width, 1)

    def for_training(self, training: TrainingSettings, images: ImageSet) -> "Ordinal":
        return self

    def target(self, images: ImageSet, row: int, view: View, size: Size) -> np.ndarray:
        return np.asarray([images.labels[row]], np.float32)

    def windows(self, height: int, width: int, preprocessing: Preprocessing, settings: WindowSettings) -> View:
        return clean_window(height, width, preprocessing)

    def joined(self, outputs: Tensor, views_M9: View, height: int, width: int) -> Tensor:
        return outputs

    def truth(self, images: ImageSet, row: int) -> np.ndarray:
        return np.asarray([images.labels[row]], np.float32)

    def num_targets(self, targets: Tensor) -> Tensor:
        return torch.tensor(len(targets))

    def task_loss(self, outputs: Tensor, targets: Tensor) -> Sum:
        return Sum(F.mse_loss(outputs.float(), targets, reduction="sum"), self.num_targets(targets))

    def distill_loss(
        self, outputs: Tensor, teacher_outputs: Tensor, temperature: float, shown_N4: Tensor | None = None
    ) -> Sum:
        total = F.mse_loss(outputs.float(), teacher_outputs.float(), reduction="sum")
        return Sum(total, num_answers(teacher_outputs))

    def mix_targets(self, targets: Tensor, mixing: Mixing) -> tuple[WeightedTargets, ...]:
        """Places on a scale can be mixed themselves."""
        return (WeightedTargets(1.0, self.mix_outputs(targets, mixing, 1.0)),)

    def mix_outputs(self, outputs: Tensor, mixing: Mixing, temperature: float) -> Tensor:
        return mixing.share * outputs + (1 - mixing.share) * outputs.flip(0)

    def mean(self, outputs: Sequence[Tensor], mean_of: str) -> Tensor:
        """Places on a scale have one mean."""
        return torch.stack(list(outputs)).float().mean(0)

    def agreement(self, outputs: Tensor, teacher_outputs: Tensor) -> Tensor:
        return (outputs.round() == teacher_outputs.round()).float()[:, 0]

    def uncertainty(self, outputs: Tensor) -> Tensor:
        return torch.zeros(len(outputs))

    def answer_form(self, asked: Asked) -> AnswerForm:
        return AnswerForm({"place": float})

    def answer(self, outputs: Tensor, asked: Asked, small_HW3: Pixels | None) -> Answer:
        return Answer({"place": float(outputs[0, 0])})

    def meter(self, classes: Sequence[str]) -> "OrdinalMeter":
        return OrdinalMeter()


class OrdinalMeter:
    """Keeps a few numbers of each image and no outputs, as a dense problem would."""

    def __init__(self) -> None:
        self._scores: list[float] = []
        self._places: list[float] = []
        self._as_teacher: list[float] = []

    def update(self, outputs: Tensor, targets: Tensor, *, teacher: Tensor | None = None) -> None:
        self._scores += (-(outputs.float() - targets).abs()[:, 0]).tolist()
        self._places += outputs[:, 0].tolist()
        if teacher is not None:
            self._as_teacher += (outputs.round() == teacher.round()).float()[:, 0].tolist()

    def compute(self) -> dict[str, float]:
        values = {"minus_mae": self._scores, "as_teacher": self._as_teacher}
        return {name: float(np.mean(of_images)) for name, of_images in values.items() if of_images}

    def standard_errors(self) -> dict[str, float]:
        return {"minus_mae": standard_error(self._scores)}

    def columns(self) -> Mapping[str, np.ndarray]:
        return {"place": np.asarray(self._places), "score": np.asarray(self._scores)}

    def class_columns(self) -> Mapping[str, np.ndarray]:
        return {}

    def draw(self, folder: Path, name: str, pixels_of: PixelsOf, colours_K3: Colours | None = None) -> None:
        """The image that is judged last, as it is."""
        Image.fromarray(pixels_of(len(self._scores) - 1)).save(folder / f"{name}-last.png")


class PoolingEncoder(Encoder):
    """A toy source of models: the colours of a 4x4 grid, mixed by one layer."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(backbone.seed)
            self.mix = nn.Linear(48, 16)
        self.blocks = (Block(LAST, 16),)
        self.preprocessing = Preprocessing(backbone.input_px, (0.5,) * 3, (0.5,) * 3, "bilinear", 1.0, "center")

    def forward(self, images_NCHW: Tensor, names: Sequence[str]) -> tuple[Tensor, ...]:
        return (torch.tanh(self.mix(F.adaptive_avg_pool2d(images_NCHW, 4).flatten(1))),)

    def parameter_groups(self, learning_rate: float, weight_decay: float, layer_decay: float) -> list[dict[str, Any]]:
        return [{"params": list(self.parameters()), "lr": learning_rate, "weight_decay": 0.0}]


pooling_encoders_built: list[str] = []
"""The device of each that was built: "meta" for one without weights."""


def build_pooling_encoder(backbone: Backbone, *, drop_path: float = 0.0) -> PoolingEncoder:
    encoder = PoolingEncoder(backbone)
    pooling_encoders_built.append(encoder.mix.weight.device.type)
    return encoder


def list_flat_images(config: IngestConfig) -> Listing:
    """A toy dataset form: all files in one folder, named class-number.png."""
    folder = Path(config.path)
    return Listing([Candidate(file.name, folder, file.name.partition("-")[0], "") for file in sorted(folder.iterdir())])


def list_masked_images(config: IngestConfig) -> Listing:
    """A toy dataset form without labels: 000.png beside 000.mask.png, whose values count through the classes."""
    folder = Path(config.path)
    files = sorted(folder.glob("*[0-9].png"))
    candidates = [Candidate(file.name, folder, None, "", file.with_suffix(".mask.png").name) for file in files]
    return Listing(candidates, labels=LabelTable(("nothing", "shape")))


def gradient_image(height: int, width: int) -> Pixels:
    """An image whose red is its row, green its column: each pixel says where it is. Up to 256 on a side."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, np.zeros_like(rows)], axis=-1).astype(np.uint8)
