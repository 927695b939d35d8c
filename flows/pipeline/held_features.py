"""Features that the store has already and that hold more than a run asks for: they serve as well."""

from taskdistill.configs.problem_options import ALL_VECTORS, VECTORS, as_blocks
from taskdistill.configs.stages import ExtractConfig
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.catalog import EXTRACT
from taskdistill.tasks.stage import Inputs, content_digests_of


def held(config: ExtractConfig, inputs: Inputs, store: ArtifactStore) -> ExtractConfig:
    """Return the config of features in the store that hold what this one asks for, the fewest blocks first; the config
    itself where there are none.

    An encoder pass over all images is what this program exists to do once: features with a block more, as earlier
    versions kept all of them, are not made anew without it.
    """
    content_digests, asked = content_digests_of(config, store), set(config.blocks or ALL_VECTORS)
    for vectors in sorted(VECTORS.values(), key=len):
        if asked <= set(vectors):
            found = config.model_copy(update={"blocks": as_blocks(vectors)})
            if EXTRACT.reference(found, inputs, content_digests) in store:
                return found
    return config
