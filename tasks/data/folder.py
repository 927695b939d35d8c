"""Dataset form "folder": `split/class/file` or `class/file`.

The first form is recognised by its top folders all having split names (train, val, valid, validation, test ...).
Files may lie deeper than the class folder. Files that are no images are named as candidates too, so that ingest can
say what it left out.
"""

from configs.data import IngestConfig
from storage.sources import visible_files
from tasks.data.candidates import SPLIT_NAMES, Candidate, DatasetError, dataset_folder


def list_images(config: IngestConfig) -> list[Candidate]:
    """Return every file of the folder with its class and split; DatasetError where the layout is neither form."""
    folder = dataset_folder(config)
    paths = [path.relative_to(folder) for path in visible_files(folder)]
    tops = {path.parts[0] for path in paths if len(path.parts) > 1}
    if not tops:
        raise DatasetError(f"{folder} holds no class folders: expected class/file.jpg or train/class/file.jpg below it")
    splits = {top for top in tops if top.lower() in SPLIT_NAMES}
    with_splits = splits == tops
    if len(splits) > 1 and not with_splits:
        raise DatasetError(
            f"{folder} has split folders ({', '.join(sorted(splits))}) beside others "
            f"({', '.join(sorted(tops - splits))}): move the others elsewhere, or the splits into a folder of their "
            "own"
        )
    depth = 3 if with_splits else 2
    candidates = [
        Candidate(
            id=path.as_posix(),
            path=folder / path,
            label=path.parts[depth - 2],
            split=SPLIT_NAMES[path.parts[0].lower()] if with_splits else "",
        )
        for path in paths
        if len(path.parts) >= depth
    ]
    if not candidates:
        raise DatasetError(f"{folder} has split folders but no class folders in them: expected train/class/file.jpg")
    return candidates
