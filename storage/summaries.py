"""What the manifest of each kind of artifact says came out: counts and scores, as records with fields.

A stage returns its record, `as_json` of it is the `summary` in the manifest, and whoever reads one asks for it by type:
`EvaluationSummary.of(store.manifest(ref)).scores`. Fields that an older version did not write have neutral values, and
fields that this version does not know are passed over: a summary describes an artifact, it decides nothing.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from taskdistill.storage.errors import CorruptArtifactError
from taskdistill.storage.manifest import ArtifactRef, Manifest, advice


class Summary(BaseModel):
    """The common part: only fields that were given are written, so that a record may be filled in parts."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="constants")

    @classmethod
    def of(cls, manifest: Manifest) -> Self:
        """Read the summary of an artifact; CorruptArtifactError where a value is not of the type it has had in every
        version, as in a manifest that was edited by hand.
        """
        try:
            return cls.model_validate(manifest.summary)
        except ValidationError as error:
            ref = ArtifactRef.parse(manifest.reference)
            names = ", ".join(sorted({str(one["loc"][0]) for one in error.errors() if one["loc"]}))
            raise CorruptArtifactError(
                f"the summary of {ref.short} cannot be read ({names}): {advice(Path(*ref))}"
            ) from error

    @classmethod
    def joined(cls, *parts: "Summary") -> Self:
        """Return one record of what several parts say; of a field that several have, the last one counts."""
        return cls.model_validate({name: value for part in parts for name, value in part.as_json().items()})

    def as_json(self) -> dict[str, Any]:
        """Return the fields that were given, as plain JSON values."""
        return self.model_dump(mode="json", exclude_unset=True)


class ImageSetSummary(Summary):
    """What every image-set says: its number of images, those of each split, and its number of classes."""

    images: int = 0
    splits: dict[str, int] = {}
    classes: int = 0


class IngestSummary(ImageSetSummary):
    """Of a set made from a folder of images (stage ingest). Lists and tables hold the first or the smallest entries."""

    counts: dict[str, dict[str, int]] | None = None
    """Class -> split -> images, of the smallest classes; None in sets made before they were counted. Where masks are
    learnt from, images that show the class.
    """
    pixels: dict[str, dict[str, int]] | None = None
    """Class -> split -> pixels, where masks are learnt from."""
    pixels_of_images: dict[str, dict[str, int]] | None = None
    """Class -> split -> pixels of any class in the images that show this one; None in sets made before it was counted.
    """
    colours: dict[str, tuple[int, int, int]] = {}
    """Class -> red, green, blue, where masks are learnt from and something gives every class its colour."""
    ignored_pixels: dict[str, int] = {}
    """Split -> pixels of masks that are ignored."""
    left_out: dict[str, int] = {}
    """Reason -> number of files that are no part of the set."""
    left_out_first: list[str] = []
    made_splits: list[str] = []
    """A sentence for each split that the dataset did not have."""
    said: list[str] = []
    """A sentence for each other decision that was taken for the user, and for each warning."""
    quarantined: int = 0
    """Images that were set aside because they cannot be used."""
    quarantined_first: dict[str, str] = {}
    duplicates_across_splits: int = 0
    contradicting_labels: int = 0
    duplicates_within_splits: int = 0
    brightness: dict[str, float] | None = None
    """Class -> mean grey level of 255; None in sets made before images of more than 8 bits shared one scale."""
    constant_images: int = 0
    constant_first: list[str] = []
    levels: dict[str, float] | None = None
    """The values that become black and white, where a set holds images of more than 8 bits."""


class BlendsSummary(ImageSetSummary):
    """Of a set of blends (stage generate)."""

    similarity_to_parents: float = 0.0
    largest_similarity_to_held_out: float | None = None
    """None where there is no validation or test image."""
    pairs: str = ""
    painted: int = 0
    """Blends that this attempt made; an earlier one may have made the others."""
    blends_per_second: float = 0.0
    substitution: str = ""
    """What stood in for a part of the generator that cannot be had here; empty where nothing did."""


class NetworkSummary(Summary):
    """What artifacts that come from a network say of it; None where this artifact does not say."""

    parameters: int | None = None


class FeaturesSummary(NetworkSummary):
    """Of features (stage extract)."""

    images: int = 0
    views: int = 0
    encoder_forwards: int = 0


class EmbeddingsSummary(Summary):
    """Of embeddings (stage embed)."""

    images: int = 0
    width: int = 0
    encoder_forwards: int = 0
    substitution: str = ""


class LogitsSummary(Summary):
    """Of logits (stages precompute, precompute-images, precompute-probed and combine)."""

    images: int = 0
    views: int = 0
    outputs: list[int] = []
    """Shape of the outputs for one view."""
    encoder_forwards: int = 0
    temperature: float | None = None
    """What they were divided by to be calibrated; None where they are as the head gave them."""
    said: list[str] = []
    """A sentence for what a person should know of the calibration."""


class ForeignLogitsSummary(LogitsSummary, NetworkSummary):
    """Of logits of a network that was trained elsewhere (stage precompute-foreign), whose size nothing else says.

    `said` has a sentence for what a person should know of its classes.
    """


class NotedPace(BaseModel):
    """How many units of work were done in how many seconds."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    units: int = Field(gt=0)
    seconds: float


class PaceSummary(Summary):
    """How long an artifact took, which no stage says: `tasks.stage.execute` notes it of each."""

    seconds: float = 0.0
    """Of all attempts, as far as each said how long it was at work; in older versions of the last one."""
    pace: dict[str, NotedPace] | None = None
    """Unit, such as "views" -> its pace; None where an earlier attempt had begun, and in older versions."""
    device: str = ""
    """What `runtime.device` was: as it was asked for."""
    hands: dict[str, int | str] | None = None
    """How many threads, ranks and workers it had (`RuntimeConfig.hands`); None in older versions."""


class ScoredSummary(Summary):
    """A record with a score on the validation images, by the metric that chooses a model.

    Older versions wrote the metric into the names of the fields: `val_top1`, `val_top1_standard_error`.
    """

    prefix: ClassVar[str]
    score_name: str = ""

    @model_validator(mode="before")
    @classmethod
    def _older_names(cls, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        older = next((name for name in fields if name.startswith(cls.prefix) and not name.endswith(_ERROR)), None)
        if older is None or "score_name" in fields:
            return fields
        rest = {name: value for name, value in fields.items() if name not in (older, older + _ERROR)}
        score, error = cls.prefix + "score", fields.get(older + _ERROR, 0.0)
        return {**rest, "score_name": older.removeprefix(cls.prefix), score: fields[older], score + _ERROR: error}


_ERROR = "_standard_error"


class ProbeSummary(ScoredSummary, NetworkSummary):
    """Of a probe: the cell of the grid that was kept. Its network's parameters, where its features do not say them."""

    prefix = "val_"
    input: str = ""
    learning_rate: float = 0.0
    val_score: float = 0.0
    val_score_standard_error: float = 0.0
    grid: int = 0
    """Number of cells."""
    images: int = 0
    folds: int = 0
    """Number of heads beside the one that was kept, each trained without a fold of the images."""


class ModelSummary(NetworkSummary, ScoredSummary):
    """Of a model (stages finetune and distill)."""

    prefix = "best_val_"
    best_val_score: float = 0.0
    best_val_score_standard_error: float = 0.0
    steps: int = 0
    """Optimiser steps of the whole training."""
    best_step: int = 0
    kept_step: int | None = None
    """The step whose weights the model has; None in models made before this was noted."""
    images: int = 0
    synthetic_images: int = 0
    learning_rate: float | None = None
    """What was used, chosen or not; None in models made before this was noted, as of the two below."""
    alpha: float | None = None
    """None also where no teacher taught, as of the temperature."""
    temperature: float | None = None


class SettingsSummary(Summary):
    """Of settings that were chosen on held-out images (stages tune-finetune and tune-distill)."""

    chosen: dict[str, float] = {}
    default: dict[str, float] = {}
    """What stood in the settings of the experiment."""
    is_default: bool = True
    because: str = ""
    """Why the default stayed or went: a sentence with figures."""
    challenger: dict[str, float] = {}
    """What the default was compared with at last; empty where nothing was."""
    score_name: str = ""
    difference: float = 0.0
    """Of the challenger to the default, mean over held-out images and seeds."""
    difference_standard_error: float = 0.0
    held_out: str = ""
    """On which images it was chosen, in words."""
    images: int = 0
    """How many those are."""
    candidates: int = 0
    said: list[str] = []
    """A sentence for each other thing that was decided for the user."""
    steps: int = 0
    """Optimiser steps of all trials."""
    steps_of_training: int = 0
    """Of one training."""
    cost: float = 0.0
    """The first over the second."""


class SelectionSummary(Summary):
    """Of a selection among synthetic images."""

    images: int = 0
    kept: int = 0
    dropped: int = 0
    flagged: dict[str, int] = {}
    """Flag -> images; an image may have several."""
    mean_teacher_entropy: float = 0.0
    mean_teacher_entropy_of_kept: float = 0.0


class EvaluationSummary(NetworkSummary):
    """Of an evaluation (stages evaluate, evaluate-probed and evaluate-teacher): tables by split, then by metric."""

    score_name: str = ""
    """The metric that chooses a model."""
    num_images: dict[str, int] = {}
    scores: dict[str, dict[str, float]] = {}
    standard_errors: dict[str, dict[str, float]] = {}
    """Of those metrics that have one."""
