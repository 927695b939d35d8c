"""Which images models were scored on: what scores of a split may be compared, and chosen by."""

from taskdistill.flows.pipeline.chain import ModelResult
from taskdistill.storage.fingerprint import canonical_json
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.summaries import EvaluationSummary
from taskdistill.storage.tables import read_column

_ID = "id"


class ScoredImages:
    """Numbers the sets of images that evaluations are of; those of each image-set are read once."""

    def __init__(self, store: ArtifactStore) -> None:
        self._store = store
        self._numbers: dict[tuple[str, ...], int] = {}
        self._of_split: dict[tuple[ArtifactRef, str], int] = {}

    def number(self, result: ModelResult, split: str) -> int | None:
        """Return the number of the images of a split that a model was scored on; None where it was not.

        Images of two folders have two numbers, whatever they are called.
        """
        manifest = self._store.manifest(result.evaluation)
        if split not in EvaluationSummary.of(manifest).scores:
            return None
        images = manifest.input_refs.get("images")
        known_by = images or result.evaluation, split
        if known_by not in self._of_split:
            # What the set was made from, and not the set: with fewer labels of training images it is another one.
            source = self._store.manifest(images).recipe.get("external", {}) if images and images in self._store else {}
            ids = read_column(self._store.path(result.evaluation) / f"{split}-predictions.parquet", _ID)
            named = (canonical_json(source), *ids)
            self._of_split[known_by] = self._numbers.setdefault(named, len(self._numbers))
        return self._of_split[known_by]
