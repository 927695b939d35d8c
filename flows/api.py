"""The public interface for Python: use a finished model, run a preset, read scores, features and logits.

    import taskdistill

    for row in taskdistill.load("birds-production").predict("new_photos"):
        print(row["path"], row["prediction"], row["probability"])

Artifacts are named as on the command line, by a label or a reference such as model@3f9c12ab, and lie in the same store:
TASKDISTILL_STORE, or ./artifacts. Every error that is meant for a person is a `UserError`, whose text says what to do.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from taskdistill.configs.errors import UserError
from taskdistill.configs.loading import load_experiment, load_runtime
from taskdistill.flows.pipeline.models import ready_model, resolved_model
from taskdistill.flows.pipeline.planning import PlannedStep
from taskdistill.flows.pipeline.running import ExecuteStep, run_plan
from taskdistill.flows.reports.mlflow_runs import tell_mlflow
from taskdistill.flows.reports.remarks import scores_for_programs
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.summaries import EvaluationSummary
from taskdistill.tasks.deploy.ready import Wish, check_output, unless_said_otherwise
from taskdistill.tasks.deploy.sources import listed
from taskdistill.tasks.deploy.temperature import evaluation_of
from taskdistill.tasks.stage import no_progress

if TYPE_CHECKING:
    from taskdistill.tasks.deploy.predicting import Outcome, Predictor

__all__ = ["Model", "Outputs", "Ran", "UserError", "features", "load", "logits", "run", "scores"]

Sources = str | Path | Sequence[str | Path]
"""Folders of images, images, or tables with a column path."""
Row = dict[str, Any]


def load(name: str | Path, *, settings: Sequence[str] = (), temperature: float = 0.0) -> "Model":
    """Load a finished model, or a folder that it was exported to (a path, or a name that is no label).

    `settings` are lines as --set takes them, of how work is done, such as "runtime.device=cpu"; `temperature` is what
    outputs are divided by, 0 for the one that fits validation best. Raises NotInStoreError where the name means no
    model, ModelError where it cannot be built or there is no such device, and ExportError where a file of a folder is
    missing or altered.
    """
    from taskdistill.tasks.deploy.predicting import Predictor

    store = ArtifactStore.from_env()
    runtime = load_runtime(list(settings), **unless_said_otherwise())
    ready, _ = ready_model(store, name, Wish(temperature=temperature))
    return Model(Predictor(ready, runtime))


class Model:
    """A finished model on a device. Made by `load`."""

    def __init__(self, predictor: "Predictor") -> None:
        self._predictor = predictor

    @property
    def reference(self) -> str:
        """What it is called in the store, whatever its label; of an exported folder, in the one it came from."""
        return self._predictor.ready.name

    @property
    def classes(self) -> list[str]:
        """Names of the classes, in the order of the outputs."""
        return list(self._predictor.ready.classes)

    @property
    def temperature(self) -> float:
        """What outputs are divided by before they are taken for probabilities."""
        return self._predictor.ready.temperature

    def predict(self, images: Sources, *, top: int = 3, threshold: float = 0.0) -> list[Row]:
        """Return a row for each image, in their order: "path", and what the table of `taskdistill predict` has.

        A row of an image that cannot be read has "path" and "error". "prediction" is None where the probability is
        below the threshold. A model that segments has PIL images in its rows, "mask" and "overlay". Raises DatasetError
        where there is no image at all.
        """
        return list(self.predictions(images, top=top, threshold=threshold))

    def predictions(self, images: Sources, *, top: int = 3, threshold: float = 0.0) -> Iterator[Row]:
        """Yield the same rows one by one: of many images, or of masks, which take memory."""
        from taskdistill.tasks.deploy.answering import Unusable

        for one in self._asked(top, threshold).answers(listed(_named(images)).images):
            if isinstance(one, Unusable):
                yield {"path": one.name, "error": one.reason}
            else:
                yield {"path": one.name, **one.answer.columns, **one.answer.pictures}

    def predict_to(self, images: Sources, table: str | Path, *, top: int = 3, threshold: float = 0.0) -> "Outcome":
        """Write the rows to a table, .csv or .parquet, as `taskdistill predict` does: images that are in it are not
        done again. Returns how many were predicted, were there already, and were left out. Raises SettingsError where
        no table can have that name.
        """
        check_output(Path(table))
        return self._asked(top, threshold).write(listed(_named(images)).images, Path(table))

    def outputs(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return what the network says of one image [H, W, 3], uint8 RGB of any size, shown in its clean view: logits
        [K], or [K, h, w] of a model that segments, divided by the temperature. Raises UserError for another array.
        """
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
            raise UserError(
                f"expected an image as an array of uint8 [height, width, 3], RGB; found {pixels.dtype} "
                f"{list(pixels.shape)}: convert it, such as by np.asarray(image.convert('RGB')) of a Pillow image"
            )
        return np.asarray(self._predictor.network.logits(pixels) / self.temperature, np.float32)

    def _asked(self, top: int, threshold: float) -> "Predictor":
        return self._predictor.asked_otherwise(top, threshold)


@dataclass(frozen=True)
class Ran:
    """What a run made. `best` is None where no student was scored on validation."""

    best: str | None
    """Reference of the student that was best on validation: the one to ship."""
    scores: list[Row]
    """A row for each model, seed, split and metric, as `scores` returns them."""
    report: Row
    """All that `taskdistill run --json` prints: scores, differences, remarks, calibration, best."""
    steps: list[Row]
    """Name, action (have, resumed or built), reference and seconds of each step."""


def run(preset: str, *changes: str, settings: Mapping[str, Any] | None = None) -> Ran:
    """Run a preset, or a YAML file of settings, doing only what is missing: `taskdistill run`, without its words.

    `changes` are lines as --set takes them, "data.path=/my/images"; `settings` are some settings in groups, as a preset
    has them. Steps run in processes of their own, so the calling program needs `if __name__ == "__main__":`. Raises
    SettingsError, which lists every mistake, and the error of a step that failed.
    """
    store, experiment = ArtifactStore.from_env(), load_experiment(preset, list(changes), settings)
    results, steps = run_plan(experiment, store, _silently)
    tell_mlflow(experiment, results, steps, store)
    report = scores_for_programs(results, store)
    best = report.get("best")
    return Ran(best and best["reference"], report["scores"], report, steps)


def scores(name: str) -> list[Row]:
    """Return the scores of an evaluation, or of the evaluation of a model: rows of split, metric, value, standard_error
    (None where the metric has none) and images.

    Raises NotInStoreError where the name means neither, and UserError where the model was never scored.
    """
    store = ArtifactStore.from_env()
    ref = store.resolve(name)
    evaluation = ref if ref.kind == "evaluation" else evaluation_of(store, resolved_model(store, name))
    if evaluation is None:
        raise UserError(f"{name!r} was never scored: run the step evaluate of its experiment")
    summary = EvaluationSummary.of(store.manifest(evaluation))
    return [
        {
            "split": split,
            "metric": metric,
            "value": value,
            "standard_error": summary.standard_errors.get(split, {}).get(metric),
            "images": summary.num_images[split],
        }
        for split, found in summary.scores.items()
        for metric, value in found.items()
    ]


@dataclass(frozen=True)
class Outputs:
    """What a frozen network said of one view of some images."""

    ids: list[str]
    """Of the images: their paths inside the data set."""
    values: npt.NDArray[np.float16]
    """[N, ...], a row for each id: features [N, R, D] (R blocks of width D), logits [N, K] or [N, K, h, w]."""


def features(name: str, *, view: int = 0) -> Outputs:
    """Open the features that a backbone gave: of the clean view of all images that were shown it, or of augmented view
    1, 2 ... of the training images. Raises NotInStoreError where the name means no features.
    """
    return _outputs(name, "features", view)


def logits(name: str, *, view: int = 0) -> Outputs:
    """Open a teacher's logits, as `features`."""
    return _outputs(name, "logits", view)


def _outputs(name: str, kind: str, view: int) -> Outputs:
    from taskdistill.storage.view_outputs import ViewOutputs

    store = ArtifactStore.from_env()
    found = ViewOutputs(store.path(store.resolve(name, kind)))
    return Outputs(found.ids_of(view), found.view(view))


def _named(images: Sources) -> list[str]:
    return [str(images)] if isinstance(images, str | Path) else [str(image) for image in images]


def _silently(step: PlannedStep, execute: ExecuteStep) -> ArtifactRef:
    return execute(step, no_progress)
