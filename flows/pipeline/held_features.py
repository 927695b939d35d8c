"""Features that hold more than a run asks for serve as well: those that the store has, or that it has heads of."""

from functools import cached_property

from taskdistill.configs.problem_options import ALL_VECTORS, VECTORS, as_blocks
from taskdistill.configs.stages import ExtractConfig
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.catalog import EXTRACT
from taskdistill.tasks.stage import Inputs, content_digests_of


class HeldFeatures:
    """Looks for features in a store, for all steps of a plan."""

    def __init__(self, store: ArtifactStore) -> None:
        self._store = store

    def wanted(self, config: ExtractConfig, inputs: Inputs) -> ExtractConfig:
        """Return the config of features that hold what this one asks for: of those in the store that with the fewest
        blocks, else of those that a head in the store was trained on; the config itself where there are none.

        An encoder pass over all images is what this program exists to do once: features with a block more, as earlier
        versions kept all of them, are not made anew without it. Nor is what was made of them, once they were removed.
        """
        content_digests, asked = content_digests_of(config, self._store), set(config.blocks or ALL_VECTORS)
        fitting = {
            EXTRACT.reference(found, inputs, content_digests): found
            for vectors in sorted(VECTORS.values(), key=len)
            if asked <= set(vectors)
            for found in [config.model_copy(update={"blocks": as_blocks(vectors)})]
        }
        there = (found for ref, found in fitting.items() if ref in self._store)
        if (found := next(there, None)) is not None:
            return found
        used = (found for ref, found in fitting.items() if ref.fingerprint in self._used)
        return next(used, config)

    @cached_property
    def _used(self) -> set[str]:
        """Fingerprints of what the heads in the store were trained on."""
        return {str(recipe.get("inputs", {}).get("features")) for _, recipe in self._store.recipes("probe")}
