"""The command that sets models side by side on the same images."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from taskdistill.configs.counting import counted
from taskdistill.configs.errors import SettingsError
from taskdistill.flows.completing import references
from taskdistill.flows.pipeline.comparable import check_comparable, judged
from taskdistill.flows.printing import AsJson, output, print_json, print_table
from taskdistill.storage.files import atomic
from taskdistill.storage.store import ArtifactStore

commands = typer.Typer()

MAX_IMAGES = 10
"""Printed; the others go into a file."""


@commands.command()
def compare(
    models: Annotated[
        list[str],
        typer.Argument(
            help="Two or more: labels or references of models or evaluations; seeds of one model joined by commas. The "
            "others are compared with the first.",
            autocompletion=references,
        ),
    ],
    split: Annotated[Literal["val", "test"], typer.Option(help="Which images.")] = "test",
    images: Annotated[Path | None, typer.Option(help="Write all images on which they differ to this CSV.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare models on the same images: by how much they differ, whether that is more than chance, and on which."""
    from taskdistill.flows.reports import compare as reports
    from taskdistill.flows.reports.differing import image_rows, image_table

    if len(models) < 2:
        raise SettingsError("name two models at least: the first, and what is to be compared with it")
    store = ArtifactStore.from_env()
    found = judged(store, models)
    check_comparable(store, found, split)
    compared = reports.compare(store, found, split)
    rows, num_images = image_rows(store, found, split), reports.num_images(store, found[0], split)
    if images:
        _write_csv(images, rows)
    if as_json:
        told = reports.compared_rows(found[0], compared, num_images)
        print_json({"split": split, "compared": told, "images": rows})
        return
    print_table(f"{split}:", reports.compared_table(found[0], compared, num_images))
    for line in reports.verdicts(found[0], compared, num_images):
        output.print(line)
    if classes := reports.class_table(store, found, split):
        print_table("Right of each class, in %, the largest gains of the last model first:", classes)
    if rows:
        right = " (=: it says the label)" if "label" in rows[0] else ""
        title = f"They differ on {counted(len(rows), 'image')}, such as{right}"
        print_table(title, image_table(rows[:MAX_IMAGES], found))
    else:
        output.print("They differ on 0 images")
    if images:
        output.print(f"All of them are in {images.absolute()}")
    elif len(rows) > MAX_IMAGES:
        output.print("All of them: --images FILE.csv")


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    from pyarrow import Table
    from pyarrow.csv import write_csv

    with atomic(path) as partial:
        write_csv(Table.from_pylist(rows or [{"id": ""}]).slice(0, len(rows)), partial)
