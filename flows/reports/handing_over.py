"""What is known of a finished model when it is handed over: the images it was made with, where the store still has
them, and its card.
"""

from taskdistill.flows.reports.card import card_head, card_of
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.deploy.temperature import temperature_of
from taskdistill.tasks.export.target import Given


def given_of(store: ArtifactStore, ref: ArtifactRef, precision: str) -> Given:
    """Return what a target is given of a model of this store, its temperature that which fits validation best."""
    temperature = temperature_of(store, ref)
    images = store.manifest(ref).input_refs.get("images")
    found = ImageSet.open(store.path(images)) if images is not None and images in store else None
    head, card = card_head(store, ref), card_of(store, ref, temperature)
    return Given(store.path(ref), found, temperature, precision, head, card, str(ref))
