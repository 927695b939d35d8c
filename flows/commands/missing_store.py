"""Says that the folder of a store is not there: before the first run there is none, and a mistyped one looks alike."""

from taskdistill.flows.printing import errors
from taskdistill.storage.root import ROOT_VARIABLE
from taskdistill.storage.store import ArtifactStore


def say_if_missing(store: ArtifactStore) -> None:
    """Print a remark on stderr where the store's folder does not exist; commands that only look go on as with an empty
    store.
    """
    if not store.root.is_dir():
        errors.print(f"there is no store at {store.root} yet: a run makes it. Another one? Let {ROOT_VARIABLE} name it")
