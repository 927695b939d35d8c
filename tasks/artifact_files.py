"""The files of artifacts that several stages make or take, and the pictures among them."""

from taskdistill.storage.contents import Contents
from taskdistill.tasks.stage import Pictures

OUTPUTS = Contents(
    made=(
        "rows.parquet",
        "outputs.zarr/zarr.json",
        # The star is a part with its slash, such as clean/; in a draft of format 1, which has no parts, it is nothing.
        *(f"outputs.zarr/*outputs/{name}" for name in ("zarr.json", "c/*")),
        # "shown", or in a draft of format 1 "views": without one of them nothing would say how views were cut.
        *(f"outputs.zarr/*[sv][hi][oe]w[ns]/{name}" for name in ("zarr.json", "c/*")),
    ),
    optional=(
        "outputs.zarr/thumbnails/*",  # of format 1; since then they are gathered
        *(f"outputs.zarr/{part}/zarr.json" for part in ("clean", "augmented", "all")),
        *(f"outputs.zarr/*scales/{name}" for name in ("zarr.json", "c/*")),  # of outputs of one byte a number
    ),
    working=(".efforts/*", *(f"outputs.zarr/*/{array}/*" for array in ("views", "thumbnails"))),
)
"""Outputs of a frozen network (storage.view_outputs)."""
FOREIGN = Contents(OUTPUTS.made, (*OUTPUTS.optional, "confusion.txt"), OUTPUTS.working)
"""The same of a network that was trained elsewhere."""
DATASET = Contents(
    made=(
        "image-set.json",
        "cells.parquet",
        "shards/*.parquet",
        "files.parquet",
        "duplicates.parquet",
        "left-out.parquet",
    ),
    working=("notes/*.json",),
)
"""A dataset as it was read."""
BLENDS = Contents(
    made=(
        "image-set.json",
        "cells.parquet",
        "shards/*.parquet",
        "pairs.parquet",
        "blends.parquet",
        "contact-sheet.png",
        "blends.html",
    ),
    working=("scores/*.parquet", ".efforts/*"),
)
"""Synthetic images between two others."""
BETWEEN = Pictures(
    "contact-sheet.png",
    heading="Blends",
    words="Each between its two parents; all of them are in blends.html of the artifact.",
)
LABEL_FREE = Contents(
    made=("image-set.json", "cells.parquet", "shards/*.parquet", "files.parquet", "left-out.parquet"),
    working=("notes/*.json",),
)
"""Images without labels."""
MODEL = Contents(
    made=("model.json", "best.safetensors", "last.safetensors", "history.parquet"),
    optional=("history.png",),
    working=("checkpoint.safetensors",),
)
CURVES = Pictures("history.png", heading="Learning curves")
EVALUATION = Contents(
    made=("*-predictions.parquet",),
    optional=("*-classes.parquet", "val-*.png", "test-*.png", "val-*.txt", "test-*.txt"),
)
LOOKED_AT = Pictures(
    "test-images*.png",
    heading="Images of the test split",
    words="What is wrong is red in the last column.",
    is_wide=True,
)
SCORED = Pictures(
    "test-*.png",
    heading="On the test split",
    words="Rows of a confusion matrix are the true classes.",
    legend="test-*.txt",
)
CHOSEN = Contents(made=("settings.json", "trials.parquet"), working=("trials/*",))
"""Settings that were chosen."""
