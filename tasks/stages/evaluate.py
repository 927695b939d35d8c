"""Stages "evaluate", "evaluate-probed" and "evaluate-teacher": scores, per-image predictions and pictures, for a model,
for a pretrained network with its probe, or for cached logits: a teacher's, or those of a probe that a student starts
from.

Reads `images` (image-set), `model`, or `probe` or `logits` in its place, and where given the clean view of `teacher`
(logits); writes SPLIT-predictions.parquet for each split asked for, where the problem has such a table
SPLIT-classes.parquet; and pictures, SPLIT-*.png and SPLIT-*.txt, of test, or of val where that is not asked for.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import torch

from taskdistill.configs.evaluation import WindowSettings
from taskdistill.configs.stages import EvaluateConfig, EvaluateProbedConfig
from taskdistill.storage.errors import CacheMismatchError
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.summaries import EvaluationSummary, NetworkSummary
from taskdistill.storage.tables import write_columns
from taskdistill.storage.view_outputs import ViewOutputs
from taskdistill.tasks.data.batches import DecodedImages
from taskdistill.tasks.data.processes import view_source
from taskdistill.tasks.data.shown import CLEAN_ONLY
from taskdistill.tasks.data.view_cache import ViewCache
from taskdistill.tasks.deploy.deployable import Deployable
from taskdistill.tasks.inference.predictor import Predicted, cached, clean_outputs, predict
from taskdistill.tasks.models.device import device_of
from taskdistill.tasks.problems.labelled import WholeImages
from taskdistill.tasks.problems.palette import known_colours
from taskdistill.tasks.problems.problem import Joined, Meter, Problem, problem_named
from taskdistill.tasks.stage import StageContext
from taskdistill.tasks.training.probed import probed_model


class Scores(NamedTuple):
    """Each metric of one split, and its standard error where it has one."""

    values: dict[str, float]
    standard_errors: dict[str, float]


class Judging(NamedTuple):
    """What every split of one evaluation is judged with."""

    problem: Problem
    images: ImageSet
    classes: list[str]
    decoded: DecodedImages
    teacher: ViewOutputs | None
    device: torch.device
    context: StageContext

    def cached(self, logits: ViewOutputs, judged: WholeImages) -> ViewCache:
        return ViewCache(logits, [self.images.ids[row] for row in judged.rows], budget_mb=0)


def run(config: EvaluateConfig, context: StageContext) -> EvaluationSummary:
    """Score a finished model on whole images.

    Raises CacheMismatchError where model, images and teacher are of different classes, ModelError where the model
    cannot be built or there is no device of the kind asked for.
    """
    judging = _judging(config, context)
    deployable = Deployable.load(context.inputs["model"], judging.device)
    if deployable.classes != judging.classes:
        raise CacheMismatchError(f"the model knows the classes {deployable.classes}, the images have {judging.classes}")
    return _scored(config, judging, deployable)


def run_probed(config: EvaluateProbedConfig, context: StageContext) -> EvaluationSummary:
    """Score a pretrained network with the head that was probed on it, by showing it the images.

    Raises CacheMismatchError where the probe is of another backbone or of other classes, and as `run` does.
    """
    judging = _judging(config, context)
    model = probed_model(config.backbone, context, classes=judging.classes).eval()
    deployable = Deployable(model, judging.problem, judging.classes, model.preprocessing, judging.device)
    return _scored(config, judging, deployable)


def _scored(config: EvaluateConfig, judging: Judging, deployable: Deployable) -> EvaluationSummary:
    """Score a network as it is used."""
    context = judging.context
    source = view_source(judging.images, CLEAN_ONLY, deployable.preprocessing, context.runtime, kept_in=context.views)

    def predicted(images: WholeImages) -> Iterator[Predicted]:
        return predict(deployable, images, source, context.runtime, windows=config.windows)

    scores = _scores(config, judging, predicted)
    network = NetworkSummary(parameters=sum(parameter.numel() for parameter in deployable.model.parameters()))
    return EvaluationSummary.joined(network, _summary(judging, scores))


def run_on_logits(config: EvaluateConfig, context: StageContext) -> EvaluationSummary:
    """Score a model by its cached logits of the clean view: it need not run again.

    Raises CacheMismatchError where the logits are of other images, classes, or another problem, or other windows than
    the clean view are asked for.
    """
    judging = _judging(config, context)
    if config.windows != WindowSettings():
        raise CacheMismatchError("cached logits are of the clean view of each image: leave 'windows' out")
    logits = ViewOutputs(context.inputs["logits"])
    logits.require(images=judging.images.fingerprint, classes=judging.classes, problem=config.problem)

    def said(images: WholeImages) -> Iterator[Predicted]:
        batch_size = context.runtime.inference_batch_size
        return cached(images, judging.cached(logits, images), batch_size=batch_size, device=judging.device)

    return _summary(judging, _scores(config, judging, said))


def _judging(config: EvaluateConfig, context: StageContext) -> Judging:
    images, problem = ImageSet.open(context.inputs["images"]), problem_named(config.problem)
    classes = problem.classes(images)
    teacher = None
    if "teacher" in context.inputs:
        teacher = ViewOutputs(context.inputs["teacher"])
        teacher.require(images=images.fingerprint, classes=list(classes))
    decoded = DecodedImages(images, cache_mb=0, decode_mb=context.runtime.decode_memory_mb)
    return Judging(problem, images, classes, decoded, teacher, device_of(context.runtime), context)


def _reporting(config: EvaluateConfig, judging: Judging) -> Callable[[Iterable[Predicted]], Iterator[Predicted]]:
    """Return what hands predictions on and reports each as an image that is done, those of all splits together."""
    done, total = itertools.count(1), len(judging.images.rows_of(*config.splits))

    def reported(said: Iterable[Predicted]) -> Iterator[Predicted]:
        for one in said:
            yield one
            judging.context.on_progress("images", next(done), total)

    return reported


def _scores(
    config: EvaluateConfig, judging: Judging, said: Callable[[WholeImages], Iterator[Predicted]]
) -> dict[str, Scores]:
    """Score what is said of each split, write it, and draw one of them."""
    scores, reported = dict[str, Scores](), _reporting(config, judging)
    # Drawing takes as long as showing a small network hundreds of images: only what reports show is drawn.
    drawn = "test" if "test" in config.splits else "val"
    for split in config.splits:
        images = WholeImages(judging.problem, judging.images, judging.images.rows_of(split))
        meter = _judged(judging, split, reported(said(images)), images)
        scores[split] = Scores(meter.compute(), meter.standard_errors())
        if split == drawn:
            _draw(judging, split, meter, images)
    return scores


def _draw(judging: Judging, split: str, meter: Meter, images: WholeImages) -> None:
    colours = known_colours(judging.images, judging.classes)
    meter.draw(judging.context.draft, split, lambda item: judging.decoded.pixels(int(images.rows[item])), colours)


def _judged(judging: Judging, split: str, said: Iterable[Predicted], images: WholeImages) -> Meter:
    """Judge what is said of one split and write it: before any picture, as one that fails must not cost the table."""
    meter, folder = judging.problem.meter(judging.classes), judging.context.draft
    for image, by_teacher in zip(said, _teacher_says(judging, images), strict=False):
        meter.update(image.outputs, image.truth, teacher=by_teacher)
    ids = [judging.images.ids[row] for row in images.rows]
    columns = {"id": ids, "label": judging.images.labels[images.rows], **meter.columns()}
    write_columns(folder / f"{split}-predictions.parquet", columns)
    if of_classes := meter.class_columns():
        write_columns(folder / f"{split}-classes.parquet", {"class": judging.classes, **of_classes})
    return meter


def _teacher_says(judging: Judging, images: WholeImages) -> Iterator[Joined | None]:
    """Yield what the teacher says of each image; None for ever where there is no teacher."""
    if judging.teacher is None:
        return itertools.repeat(None)
    cache, batch_size = judging.cached(judging.teacher, images), judging.context.runtime.inference_batch_size
    return clean_outputs(images, cache, batch_size=batch_size, device=judging.device)


def _summary(judging: Judging, scores: Mapping[str, Scores]) -> EvaluationSummary:
    return EvaluationSummary(
        score_name=judging.problem.metrics[0].name,
        num_images={split: len(judging.images.rows_of(split)) for split in scores},
        scores={split: _rounded(found.values) for split, found in scores.items()},
        standard_errors={split: _rounded(found.standard_errors) for split, found in scores.items()},
    )


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 6) for name, value in values.items()}
