"""Problem "classification": one class an image.

Shape letters: N samples, M windows of an image, K classes, C channels, H W pixels, D width of a vector; 9 numbers cut a
window.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from taskdistill.configs.evaluation import WindowSettings
from taskdistill.configs.problem_options import VECTORS
from taskdistill.configs.training import TrainingSettings
from taskdistill.storage.image_set import ImageSet
from taskdistill.tasks.data.candidates import DatasetError
from taskdistill.tasks.functional.losses import cross_entropy, distillation_divergence, num_answers, num_labels
from taskdistill.tasks.functional.means import mean_of_outputs
from taskdistill.tasks.functional.mixup import Mixing, WeightedTargets, mixed_logits
from taskdistill.tasks.functional.sums import Sum
from taskdistill.tasks.functional.views import Pixels, Size, View
from taskdistill.tasks.models.encoder import Block
from taskdistill.tasks.models.linear_head import LinearHead
from taskdistill.tasks.models.preprocessing import Preprocessing
from taskdistill.tasks.problems.answers import Answer, AnswerForm, Asked, ranked, ranked_columns
from taskdistill.tasks.problems.classification_meter import ClassificationMeter
from taskdistill.tasks.problems.classification_metrics import METRICS
from taskdistill.tasks.problems.traced_answers import Probabilities
from taskdistill.tasks.problems.whole_images import clean_window


class Classification:
    """Cross-entropy with the labels, temperature-scaled KL with the teacher, chosen by top-1 accuracy."""

    metrics = METRICS
    output_axes = 1

    def classes(self, images: ImageSet) -> list[str]:
        """The names of the folders, or those in the table; DatasetError where no image has a label."""
        if (images.labels < 0).all():
            raise DatasetError(
                f"image-set@{images.fingerprint[:12]} has no labels, and 'classification' learns from them: set "
                "'problem' to one that learns from masks, or ingest the images with their labels"
            )
        return images.classes

    def inputs(self) -> Mapping[str, tuple[str, ...]]:
        return VECTORS

    def head(self, blocks: Sequence[Block], num_classes: int, kind: str = "linear") -> nn.Module:
        """Of the one kind that there is: one linear layer, weights N(0, 0.01), bias 0 (the linear evaluation of DINOv2,
        arXiv 2304.07193).
        """
        head = LinearHead(sum(block.width for block in blocks), num_classes)
        nn.init.normal_(head.weight, std=0.01)
        nn.init.zeros_(head.bias)
        return head

    def for_training(self, training: TrainingSettings, images: ImageSet) -> "Classification":
        return self

    def target(self, images: ImageSet, row: int, view: View, size: Size) -> npt.NDArray[np.int64]:
        return np.asarray(images.labels[row])

    def windows(self, height: int, width: int, preprocessing: Preprocessing, settings: WindowSettings) -> View:
        return clean_window(height, width, preprocessing)

    def joined(self, outputs: Tensor, views_M9: View, height: int, width: int) -> Tensor:
        """An image is shown once, and its logits [1, K] are the answer."""
        return outputs.cpu()

    def truth(self, images: ImageSet, row: int) -> npt.NDArray[np.int64]:
        return np.asarray(images.labels[row])

    def answering(self, preprocessing: Preprocessing, temperature: float) -> Probabilities:
        return Probabilities(temperature)

    def num_targets(self, targets: Tensor) -> Tensor:
        return num_labels(targets)

    def task_loss(self, outputs: Tensor, targets: Tensor) -> Sum:
        return cross_entropy(outputs, targets)

    def distill_loss(
        self, outputs: Tensor, teacher_outputs: Tensor, temperature: float, shown_N4: Tensor | None = None
    ) -> Sum:
        """An answer to the whole view teaches whatever is padded."""
        divergence_N = distillation_divergence(outputs, teacher_outputs, temperature)
        return Sum(divergence_N.sum(), num_answers(teacher_outputs))

    def mix_targets(self, targets: Tensor, mixing: Mixing) -> tuple[WeightedTargets, ...]:
        """Each image belongs to its own class by the share of it that is left, and to its partner's by the rest."""
        return WeightedTargets(mixing.share, targets), WeightedTargets(1 - mixing.share, targets.flip(0))

    def mix_outputs(self, outputs: Tensor, mixing: Mixing, temperature: float) -> Tensor:
        return mixed_logits(outputs, mixing, temperature)

    def mean(self, outputs: Sequence[Tensor], mean_of: str) -> Tensor:
        return mean_of_outputs(outputs, mean_of)

    def agreement(self, outputs: Tensor, teacher_outputs: Tensor) -> Tensor:
        return (outputs.argmax(1) == teacher_outputs.argmax(1)).float()

    def uncertainty(self, outputs: Tensor) -> Tensor:
        """The entropy of the predicted distribution as a share of the largest, log K."""
        logs_NK = outputs.float().log_softmax(1)
        entropy_N: Tensor = -(logs_NK.exp() * logs_NK).sum(1)
        return entropy_N / math.log(max(outputs.shape[1], 2))

    def answer_form(self, asked: Asked) -> AnswerForm:
        return AnswerForm({"prediction": str, "probability": float, **ranked_columns(asked, "probability")})

    def answer(self, outputs: Tensor, asked: Asked, small_HW3: Pixels | None) -> Answer:
        """The class of the highest probability; none where that is below the threshold."""
        logits_K = outputs[0].double().numpy() / asked.temperature
        powers_K = np.exp(logits_K - logits_K.max())
        shares_K = powers_K / powers_K.sum()
        cells = ranked(asked, "probability", shares_K)
        prediction = cells["top1"] if shares_K.max() >= asked.threshold else None
        return Answer({"prediction": prediction, "probability": cells["probability1"], **cells})

    def meter(self, classes: Sequence[str]) -> ClassificationMeter:
        return ClassificationMeter(classes, self.agreement)
