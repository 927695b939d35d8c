"""A finished model on images as they come: made for schedules, as images that are in the table are not done again."""

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import Field
from rich.table import Table

from taskdistill.configs.base import Settings
from taskdistill.configs.errors import SettingsError
from taskdistill.configs.loading import load_runtime
from taskdistill.flows.deployed.forms import taking
from taskdistill.flows.deployed.short_form import filled_in
from taskdistill.flows.pipeline.models import ready_model
from taskdistill.flows.reports.prefect_ui import sent_or_said
from taskdistill.flows.reports.tables import as_markdown
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.tree import as_text
from taskdistill.tasks.deploy.ready import IMAGES_AT_ONCE, Wish, check_output
from taskdistill.tasks.deploy.sources import listed
from taskdistill.tasks.prefect_task import progress, show_logs_in_ui

REPORT = "predictions"
MAX_NAMED = 50
"""Images that could not be predicted and stand in the report; all stand in a file beside the table."""


class PredictForm(Settings):
    """Predictions for images that nobody has labelled."""

    model: str = ""
    """The label or reference of a model in the store, such as birds-production. A label may move to a better model;
    then name another table too.
    """
    images: str = ""
    """Absolute path of a folder of images, or of a table of them (CSV, Parquet) with a column path, as the worker sees
    it.
    """
    output: str = ""
    """Absolute path of the table, .csv or .parquet; pictures of a model that segments are put beside it. Images that
    are in it are not done again.
    """
    top: int = Field(default=3, ge=1)
    """How many classes are named, the most likely first."""
    threshold: float = Field(default=0.0, ge=0, le=1)
    """Probability below which the answer is: don't know."""
    overrides: tuple[str, ...] = ()
    """Lines that say how it is done, as --set does: runtime.device=cpu."""


@flow(name="predict", persist_result=False)
@taking(PredictForm)
def predict(**sent: Any) -> State[dict[str, Any]]:
    """Predict the images of a folder that are not in the table yet."""
    show_logs_in_ui()
    form = filled_in(PredictForm, sent)
    told, report = predicted(form)
    with sent_or_said("the report"):
        create_markdown_artifact(report, key=REPORT, description="What became of the images")
    words = f"{told['predicted']} images predicted, {told['already']} were in the table, {told['left_out']} left out"
    return Completed(message=words, data=told)


def predicted(form: PredictForm) -> tuple[dict[str, Any], str]:
    """Do it; returns counts with the place of the table, and a report in Markdown. Raises SettingsError where a field
    is empty or its path is not absolute, and what a prediction raises.
    """
    for field in ("model", "images", "output"):
        value = getattr(form, field)
        if not value or (field != "model" and not Path(value).expanduser().is_absolute()):
            wanted = "a label or reference" if field == "model" else "an absolute path, as the worker sees it"
            raise SettingsError(f"{field}: expected {wanted}, found {value!r}")
    store, output = ArtifactStore.from_env(), Path(form.output).expanduser()
    check_output(output)
    runtime = load_runtime(form.overrides, inference_batch_size=IMAGES_AT_ONCE)
    ready, remarks = ready_model(store, form.model, Wish(form.top, form.threshold))
    images, said = listed([form.images])
    from taskdistill.tasks.deploy.predicting import Predictor  # torch, when all that is asked for is known to be there

    with progress("predict") as on_progress:
        done = Predictor(ready, runtime).write(images, output, on_progress)
    counts = {"predicted": done.predicted, "already": done.already, "left_out": len(done.left_out)}
    told = {"table": str(done.table), "model": ready.name, **counts}
    table = Table("image", "why it was left out")
    for one in done.left_out[:MAX_NAMED]:
        table.add_row(as_text(one.name), one.reason)
    lines = [
        f"`{done.table}` holds {done.predicted} new predictions by `{ready.name}`; {done.already} were there before.",
        *remarks,
        *said,
        *ready.said(),
        *([as_markdown(table)] if done.left_out else []),
    ]
    return told, "\n\n".join(lines)
