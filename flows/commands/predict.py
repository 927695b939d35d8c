"""The command that uses a finished model: predictions for images that nobody has labelled, as a table."""

from pathlib import Path
from typing import Annotated

import typer

from taskdistill.configs.counting import counted
from taskdistill.configs.loading import load_runtime
from taskdistill.flows.pipeline.models import ready_model
from taskdistill.flows.pipeline.progress import progress
from taskdistill.flows.printing import AsJson, errors, output, print_json
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.tree import as_text
from taskdistill.tasks.deploy.ready import Wish, check_output, unless_said_otherwise
from taskdistill.tasks.deploy.sources import listed

commands = typer.Typer()


@commands.command()
def predict(
    model: Annotated[str, typer.Argument(help="A label, a reference such as model@3f9c12ab, or an exported folder.")],
    sources: Annotated[
        list[str], typer.Argument(help="Folders of images, images, or tables (CSV, Parquet) with a column path.")
    ],
    to: Annotated[
        Path, typer.Option("--output", "-o", help="The table: .csv or .parquet. Images in it are not done again.")
    ] = Path("predictions.csv"),
    top: Annotated[int, typer.Option(help="How many classes are named, the most likely first.")] = 3,
    threshold: Annotated[float, typer.Option(help="Probability below which the answer is: don't know.")] = 0.0,
    temperature: Annotated[
        float, typer.Option(help="What outputs are divided by; 0: what fits validation best; 1: nothing.")
    ] = 0.0,
    set_: Annotated[
        list[str], typer.Option("--set", help="How it is done: --set runtime.device=cpu; repeatable.")
    ] = [],  # noqa: B006
    as_json: AsJson = False,
) -> None:
    """Predict images without labels: a CSV or Parquet table, and masks as PNG where a model segments.

    What is in the table already is not done again, so that the same command continues, or takes up new images.
    """
    store = ArtifactStore.from_env()
    check_output(to)
    runtime = load_runtime(set_, **unless_said_otherwise())
    ready, remarks = ready_model(store, model, Wish(top, threshold, temperature))
    images, said = listed(sources)
    for sentence in [*remarks, *said, *ready.said()]:
        errors.print(sentence)
    from taskdistill.tasks.deploy.predicting import (
        Predictor,  # torch, only when all that is asked for is known to be there
    )

    with progress(errors, "predict") as on_progress:
        done = Predictor(ready, runtime).write(images, to, on_progress)
    if as_json:
        left_out = [{"path": as_text(one.name), "reason": one.reason} for one in done.left_out]
        counts = {"predicted": done.predicted, "already": done.already, "left_out": left_out}
        print_json({"table": str(done.table.absolute()), **counts, "settings": ready.made_by()})
        return
    already = f"; {done.already} were there before" if done.already else ""
    output.print(f"{done.table} holds the predictions of {counted(done.predicted, 'image')}{already}")
    for folder in done.pictures:
        output.print(f"{folder} holds their pictures")
    if done.left_out:
        output.print(
            f"{counted(len(done.left_out), 'image')} could not be predicted: {done.left_out_table} says which, and why"
        )
