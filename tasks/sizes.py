"""About how large each stage's artifact will be, before it is there: counts of images times bytes of a row; and how
much there is to compute for it.

Imports no torch: `plan` asks for these sizes before anything is made. The functions are named by `Stage.size`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from taskdistill.configs.base import StageConfig
from taskdistill.configs.choices import MODEL_SIZES, load
from taskdistill.configs.data import (
    UNLABELLED,
    IngestConfig,
    TrainViews,
    UnlabelledConfig,
    ViewSettings,
    views_of_train,
)
from taskdistill.configs.foreign import PrecomputeForeignConfig
from taskdistill.configs.generation import GenerateConfig
from taskdistill.configs.models import Backbone
from taskdistill.configs.problem_options import VECTORS
from taskdistill.configs.stages import (
    CombineConfig,
    DistillConfig,
    EvaluateConfig,
    ExtractConfig,
    FinetuneConfig,
    PrecomputeConfig,
    PrecomputeImagesConfig,
    PrecomputeProbedConfig,
    ProbeConfig,
    ProbeImagesConfig,
    StoredLogits,
)
from taskdistill.configs.tuning import TuneDistillConfig, TuneFinetuneConfig
from taskdistill.storage.summaries import IngestSummary
from taskdistill.tasks.data.contradictions import settle
from taskdistill.tasks.data.counts import too_few_for_folds
from taskdistill.tasks.data.dataset import open_dataset, size_of
from taskdistill.tasks.data.few_labels import with_few_labels, with_fewer_images
from taskdistill.tasks.data.first_look import said_of_broken
from taskdistill.tasks.data.left_out import by_reason, most_telling
from taskdistill.tasks.functional import successive_halving as halving
from taskdistill.tasks.functional.lengths import num_steps
from taskdistill.tasks.prechecks.timm_sizes import UNKNOWN, NetworkSize

_CLEAN_ONLY = ViewSettings(num_views=0)
_VIEW_BYTES = 100
"""View fields and thumbnail."""
_WEIGHT_BYTES = 4
"""Weights are stored in float32."""
_BYTES_OF_NUMBER = {"fp16": 2, "int8": 1}
_PICTURE_BYTES = 60_000
_IMAGE_BYTES = 100_000
_SETTINGS_BYTES = 10_000
_EMBEDDING_WIDTH = 768
_COPY_BYTES_PER_PIXEL = 0.5
"""Of the square that a reduced photograph fits into, as JPEG of quality 95."""
_BYTES_PER_PIXEL = {"jpeg": 0.4, "png": 1.6}
_MAX_COMPARED = 20_000
"""Images among which contradicting labels are looked for at once; of more, ingest does it, as files must be read."""


class Known(NamedTuple):
    """What is known of the inputs of a stage before any of them need be there."""

    splits: Mapping[str, int]
    """Images of each split of the image-set that the artifact will be of; empty where that is not known."""
    num_shown: int
    """Outputs that the features or logits hold which the artifact is made from: images, each counted in each view."""
    num_train: int
    """Of the real images."""
    num_classes: int
    num_outputs: int | None
    """Numbers that a head on the backbone gives for a view (tasks.problems.output_sizes); None: nobody can say."""
    backbone: Backbone

    @property
    def num_images(self) -> int:
        return sum(self.splits.values())


class Shown(NamedTuple):
    """Images that a frozen network is shown, each in so many views."""

    num_images: int
    num_views: int


class Estimate(NamedTuple):
    """What an artifact will be like, and what there is to compute for it."""

    num_bytes: int | None
    """None where that cannot be said."""
    splits: Mapping[str, int]
    """Images of each split that it will be of; empty where that is not known."""
    num_shown: int = 0
    """Outputs that it will hold: images, each counted in each view."""
    dataset: IngestSummary | None = None
    """What is known of a folder of images before they are read; of stage ingest only."""
    classes: tuple[str, ...] = ()
    """Of that dataset."""
    shown: tuple[Shown, ...] = ()
    """What a frozen encoder is shown for it; empty where none runs."""
    num_steps: int = 0
    """Optimiser steps of the training that makes it; 0 where nothing is trained."""
    num_images: int = 0
    """What is gone through image by image; 0 where the stage does not, or nobody can say."""

    @property
    def units(self) -> dict[str, int]:
        """How many there are of each unit that a stage may report its progress in; of what is not known, none."""
        views, images = self.num_shown or num_shown(self.shown), self.num_images
        all_units = {"views": views, "steps": self.num_steps, "images": images, "masks": images, "blends": images}
        return {unit: number for unit, number in all_units.items() if number}


def ingested(config: IngestConfig, known: Known) -> Estimate:
    """Check the dataset as ingest will before it decodes an image, and add up its files.

    Raises DatasetError and SourceError as `tasks.data.dataset.open_dataset` does.
    """
    dataset = open_dataset(config)
    if len(dataset.candidates) <= _MAX_COMPARED:
        dataset = settle(dataset, config.contradictions)
    dataset = with_few_labels(with_fewer_images(dataset, config), config)
    broken = said_of_broken(dataset.candidates, config.max_quarantined_share, "data")
    dataset = dataset._replace(said=[*broken, *dataset.said])
    num_bytes = sum(_stored_bytes(candidate.path, config) for candidate in dataset.candidates)
    splits = Counter(candidate.split for candidate in dataset.candidates)
    found = Estimate(num_bytes, splits, dataset=dataset.summary(), classes=tuple(dataset.classes))
    return found._replace(num_images=len(dataset.candidates))


def unlabelled(config: UnlabelledConfig, known: Known) -> Estimate:
    """Count the pictures of the folder, and those of the dataset that have no label.

    Raises DatasetError where there is no picture, or the folder cannot be used.
    """
    from taskdistill.tasks.data.unlabelled import (  # opens image-sets too, which nobody else here does
        list_folder,
        nothing_there,
    )

    listing = list_folder(config)
    if not known.splits:
        return Estimate(None, {})
    num_own = known.splits.get(UNLABELLED, 0)
    num_images = num_own + len(listing.candidates)
    if not num_images:
        raise nothing_there(config)
    dataset = IngestSummary(
        splits={"train": num_images},
        left_out=by_reason(listing.left_out),
        left_out_first=[f"{one.path}: {one.reason}" for one in most_telling(listing.left_out)[:10]],
        said=[*said_of_broken(listing.candidates, config.max_quarantined_share, "unlabelled"), *listing.said],
    )
    of_files = sum(_stored_bytes(candidate.path, config) for candidate in listing.candidates)
    num_bytes = of_files + num_own * _IMAGE_BYTES
    return Estimate(num_bytes, {"train": num_images}, dataset=dataset, num_images=num_images)


def _stored_bytes(path: Path, config: IngestConfig | UnlabelledConfig) -> int:
    """Return about how many bytes of a file are stored."""
    copied = round(config.reduce_to_px**2 * _COPY_BYTES_PER_PIXEL)
    return min(size_of(path), copied) if copied else size_of(path)


def blends(config: GenerateConfig, known: Known) -> Estimate:
    settings = config.blends
    num_images = max(1, round(settings.per_image * known.num_train))
    num_bytes = round(num_images * settings.side_px**2 * _BYTES_PER_PIXEL[settings.encoding])
    return Estimate(num_bytes, {"train": num_images}, num_images=num_images)


def embeddings(config: StageConfig, known: Known) -> Estimate:
    parts = shown(_CLEAN_ONLY, "clean", known.splits)
    return _of_images(known, num_shown(parts) * (2 * _EMBEDDING_WIDTH + _VIEW_BYTES))._replace(shown=parts)


def features(config: ExtractConfig, known: Known) -> Estimate:
    about, parts = _about(known.backbone), shown(config.views, config.train_views, known.splits)
    num_vectors = len(config.blocks) or about.num_vectors
    num_numbers = num_vectors and about.width and num_vectors * about.width
    num_bytes = num_numbers and num_shown(parts) * (2 * num_numbers + _VIEW_BYTES)
    return _of_images(known, num_bytes, num_shown(parts))._replace(shown=parts)


def probe(config: ProbeConfig, known: Known) -> Estimate:
    """Raises DatasetError where there are fewer training images than folds: a run would come to it after extracting."""
    num_train = known.splits.get("train", 0)
    if known.splits and num_train < config.probe.folds:
        raise too_few_for_folds(num_train, config.probe.folds)
    width, num_heads = _about(known.backbone).width, 1 + config.probe.folds
    num_blocks = max(len(VECTORS[name]) for name in config.probe.inputs)
    num_bytes = width and num_heads * 4 * num_blocks * width * known.num_classes
    return _of_images(known, num_bytes)._replace(num_steps=num_heads * config.probe.steps)


def probe_of_images(config: ProbeImagesConfig, known: Known) -> Estimate:
    """The encoder runs at every step, and on the validation images at the end."""
    found = probe(ProbeConfig(problem=config.problem, probe=config.probe), known)
    parts = Shown(config.probe.steps * config.probe.batch_size, 1), Shown(known.splits.get("val", 0), 1)
    return found._replace(shown=parts) if known.splits else found


def logits(config: PrecomputeConfig | CombineConfig, known: Known) -> Estimate:
    """From features or other logits: of what they are of."""
    return _of_images(known, _logits_bytes(config.logits, known, known.num_shown), known.num_shown)


def logits_of_images(
    config: PrecomputeImagesConfig | PrecomputeProbedConfig | PrecomputeForeignConfig, known: Known
) -> Estimate:
    parts = shown(config.views, config.train_views, known.splits)
    num_bytes = _logits_bytes(config.logits, known, num_shown(parts))
    return _of_images(known, num_bytes, num_shown(parts))._replace(shown=parts)


def _logits_bytes(stored: StoredLogits, known: Known, num_views: int) -> int | None:
    """Return the bytes of the logits of so many views, with what says how each was cut."""
    if known.num_outputs is None:
        return None
    return num_views * (known.num_outputs * _BYTES_OF_NUMBER[stored] + _VIEW_BYTES)


def shown(views: ViewSettings, train_views: TrainViews, splits: Mapping[str, int]) -> tuple[Shown, ...]:
    """Return what a frozen network is shown (`tasks.data.shown`); nothing where the images are not counted yet."""
    num_train = splits.get("train", 0)
    num_judged = sum(splits.values()) - num_train - splits.get(UNLABELLED, 0)
    parts = Shown(num_train, len(views_of_train(views, train_views, splits))), Shown(num_judged, 1)
    return tuple(part for part in parts if part.num_images)


def num_shown(parts: Iterable[Shown]) -> int:
    """Return how many images that is, each counted in each view."""
    return sum(part.num_images * part.num_views for part in parts)


def selection(config: StageConfig, known: Known) -> Estimate:
    return _of_images(known, known.num_images * _VIEW_BYTES)


def chosen_settings(config: TuneFinetuneConfig | TuneDistillConfig, known: Known) -> Estimate:
    """A few values, and a line for each trial."""
    estimate, tuning = _of_images(known, _SETTINGS_BYTES), config.tuning
    length = num_steps(config.training, known.splits.get("train", 0)) if known.splits else 0
    plan = halving.rungs(
        len(halving.candidates(config.default(), config.lists())),
        budget_steps=int(tuning.budget * length),
        min_steps=tuning.min_steps,
        num_folds=1,  # which images are held out makes no trial longer
        seed=tuning.seed,
    )
    is_tried = plan and plan[0].steps >= tuning.min_steps
    return estimate._replace(num_steps=halving.num_steps(plan) if is_tried else 0)


def model(config: FinetuneConfig | DistillConfig, known: Known) -> Estimate:
    """Two sets of weights in float32, the best and the last, and the learning curve."""
    number = _about(known.backbone).num_parameters
    estimate = _of_images(known, number and 2 * _WEIGHT_BYTES * number + _PICTURE_BYTES)
    length = num_steps(config.training, known.splits.get("train", 0)) if known.splits else 0
    return estimate._replace(num_steps=length)


def evaluation(config: EvaluateConfig, known: Known) -> Estimate:
    found = _of_images(known, known.num_images * (4 * known.num_classes + 50) + 2 * _PICTURE_BYTES)
    return found._replace(num_images=sum(known.splits.get(split, 0) for split in config.splits))


def _of_images(known: Known, num_bytes: int | None, num_shown: int = 0) -> Estimate:
    """Where the images are not counted yet, nothing that depends on them is."""
    return Estimate(num_bytes if known.splits else None, known.splits, num_shown)


def _about(backbone: Backbone) -> NetworkSize:
    """Return what is known of a network by its name, and by the file of its weights."""
    name = backbone.source
    found: NetworkSize = load(MODEL_SIZES, name)(backbone) if name in MODEL_SIZES else UNKNOWN
    if not backbone.file:
        return found
    return found._replace(num_parameters=Path(backbone.file).expanduser().stat().st_size // _WEIGHT_BYTES)
