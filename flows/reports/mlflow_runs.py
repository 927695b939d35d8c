"""A finished run as MLflow shows it: a run of its own, with one nested in it for each model of the final table.

MLflow is told of what lies in the store, when all of it is made. A run is known by the evaluations of its models, which
are tags: what is complete there is not told again, and what an attempt left incomplete is told once more, to the same
times and steps. Where the server is away, that is said, and no run fails of it.
"""

import json
import logging
import math
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx

from taskdistill.configs.addresses import without_credentials
from taskdistill.configs.errors import UserError
from taskdistill.configs.experiment import Experiment
from taskdistill.configs.places import portable
from taskdistill.flows.pipeline.chain import START, ModelResult
from taskdistill.flows.pipeline.models import facts_of
from taskdistill.flows.reports.card import card_of
from taskdistill.flows.reports.page.subjects import of_run, refs_of
from taskdistill.flows.reports.results import score_rows
from taskdistill.flows.reports.shipping import best_student
from taskdistill.storage.fingerprint import fingerprint
from taskdistill.storage.manifest import ArtifactRef, Manifest, check_file
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.summaries import ModelSummary, PaceSummary
from taskdistill.storage.tables import read_table
from taskdistill.storage.weights import MODEL, ModelDescription
from taskdistill.tasks.deploy.temperature import temperature_of

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

REACHED_SECONDS = 10.0
"""How long the server may take for its first word: MLflow's own client would ask for minutes."""
RUN, EVALUATION = "taskdistill.run", "taskdistill.evaluation"
"""Tags by which a run, and a model nested in it, are found again."""
_OF_ITS_CLIENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # its makers would be told of each call
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # with the password in it, among the scores
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
}
"""Variables of MLflow's client, for which it has no arguments, where the user has not said otherwise."""


def tell_mlflow(
    experiment: Experiment,
    results: Sequence[ModelResult],
    stages: Sequence[Mapping[str, Any]],
    store: ArtifactStore,
    report: Path | None = None,
) -> None:
    """Log a finished run to the server of `runtime.mlflow_uri`, where there is one and it has not got it already.

    `stages` are those that `run_plan` returns, `report` is the run's page, where it has one already.
    """
    if not (uri := experiment.runtime.mlflow_uri):
        return
    for name, value in _OF_ITS_CLIENT.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        # Without the password: the log of httpx has the address in it, and a refusal is an answer too.
        httpx.get(without_credentials(uri), timeout=REACHED_SECONDS)
        client = MlflowClient(tracking_uri=uri)
        _tell(_Telling(client, _place(client, experiment.name), experiment, store), results, stages, report)
    except (
        UserError,  # what is to be logged is damaged
        httpx.TransportError,
        httpx.InvalidURL,
        MlflowException,
        OSError,
    ) as error:  # of requests: an OSError
        log.warning(
            "The run is complete, but MLflow at %s was not told of it (%s): see to the server and give the same "
            "command again; nothing is computed twice",
            without_credentials(uri), _words(error),
        )  # fmt: skip


def _words(error: Exception) -> str:
    text = " ".join(without_credentials(str(error)).split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:200]}..."


class _Telling(NamedTuple):
    """What is told, and where."""

    client: "MlflowClient"
    place: str
    """Id of MLflow's experiment, which has the name of ours."""
    experiment: Experiment
    store: ArtifactStore


def _place(client: "MlflowClient", name: str) -> str:
    found = client.get_experiment_by_name(name)
    return str(found.experiment_id if found else client.create_experiment(name))


def _tell(
    to: _Telling, results: Sequence[ModelResult], stages: Sequence[Mapping[str, Any]], report: Path | None
) -> None:
    evaluations = sorted({str(result.evaluation) for result in results})
    made = max(_made(to.store.manifest(result.evaluation)) for result in results)
    settings = _changed(to.experiment)
    with _told_once(to, to.experiment.name, {RUN: fingerprint({"evaluations": evaluations})}, made, made) as run:
        if run is None:
            return
        _log(to, run, {}, settings, [])
        best = best_student(results, to.store)
        for result in results:
            _tell_model(to, run, result, settings, best.artifact if best else None)
        with TemporaryDirectory() as folder:
            page = Path(folder) / "report.html"
            if report:
                shutil.copyfile(report, page)
            else:
                _write_page(page, to, results, stages)
            to.client.log_artifact(run, str(page))


def _write_page(page: Path, to: _Telling, results: Sequence[ModelResult], stages: Sequence[Mapping[str, Any]]) -> None:
    from taskdistill.flows.reports.page.writing import write_report  # seconds to import

    command = f"taskdistill run {to.experiment.name}"
    write_report(page, of_run(to.experiment, results, refs_of(stages), to.store, command))


def _tell_model(
    to: _Telling, parent: str, result: ModelResult, settings: Mapping[str, Any], best: ArtifactRef | None
) -> None:
    """Log a model; of the student that one would ship its card and weights too."""
    name = result.model if result.seed is None else f"{result.model}, seed {result.seed}"
    identity = {"mlflow.parentRunId": parent, EVALUATION: result.evaluation.fingerprint}
    manifest = to.store.manifest(result.artifact)
    made, seconds = _made(manifest), PaceSummary.of(manifest).seconds
    with _told_once(to, name, identity, made - round(1000 * seconds), made) as run:
        if run is None:
            return
        commit = str(manifest.provenance.get("commit", ""))
        tags = {"taskdistill.reference": str(result.artifact), "taskdistill.commit": commit}
        numbers = [*_scores(result, to.store), *_curve(result.artifact, to.store)]
        _log(to, run, tags, {**settings, **_facts(to.experiment, result, manifest)}, numbers, made)
        if result.artifact == best:
            _log_model(to, run, best)


@contextmanager
def _told_once(to: _Telling, name: str, identity: Mapping[str, str], began: int, ended: int) -> Iterator[str | None]:
    """Yield the id of the run with these tags, a new one or what an attempt left unfinished, and finish it when all of
    it is told; None where it is finished.
    """
    wanted = " and ".join(f"tags.`{tag}` = '{value}'" for tag, value in identity.items())
    found = to.client.search_runs([to.place], wanted, max_results=1)
    if found and found[0].info.status == "FINISHED":
        yield None
        return
    run = found[0] if found else to.client.create_run(to.place, began, dict(identity), run_name=name)
    yield run.info.run_id
    to.client.set_terminated(run.info.run_id, end_time=ended)


class _Number(NamedTuple):
    name: str
    value: float
    step: int = 0


def _log(
    to: _Telling,
    run: str,
    tags: Mapping[str, str],
    params: Mapping[str, Any],
    numbers: Sequence[_Number],
    at: int = 0,
) -> None:
    from mlflow.entities import Metric, Param, RunTag

    to.client.log_batch(
        run,
        metrics=[Metric(one.name, one.value, at, one.step) for one in numbers],
        params=[Param(name, value if isinstance(value, str) else json.dumps(value)) for name, value in params.items()],
        tags=[RunTag(name, value) for name, value in tags.items()],
    )


def _log_model(to: _Telling, run: str, model: ArtifactRef) -> None:
    folder = to.store.path(model)
    for name in (MODEL, ModelDescription.read(folder).weights):
        to.client.log_artifact(run, str(check_file(folder, name)), "model")
    to.client.log_text(run, card_of(to.store, model, temperature_of(to.store, model)), "model/README.md")


def _made(manifest: Manifest) -> int:
    """Return when an artifact was made, in milliseconds since 1970."""
    return round(1000 * datetime.fromisoformat(manifest.provenance["made"]).timestamp())


def _changed(experiment: Experiment) -> dict[str, Any]:
    """Return the settings that are not as they are by default, by their dotted names; none of how work is done."""
    usual, found = _flat(portable(Experiment())), _flat(portable(experiment))
    changed = {name: value for name, value in found.items() if name not in usual or usual[name] != value}
    return {name: value for name, value in changed.items() if not name.startswith("runtime.")}


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return found


def _facts(experiment: Experiment, result: ModelResult, manifest: Manifest) -> dict[str, Any]:
    """Return what tells a model from the others of its run."""
    known: dict[str, Any] = {"model": result.model, "preset": experiment.name, "seed": result.seed}
    if result.artifact.kind == "model":
        facts = facts_of(manifest)
        rate = ModelSummary.of(manifest).learning_rate
        known |= {"network": facts.network, "temperature": facts.temperature, "alpha": facts.alpha}
        known |= {"learning_rate": rate}
    elif result.model == START:
        known["network"] = experiment.student.name
    elif len(experiment.teachers) == 1 and experiment.teacher_training != "foreign":
        known["network"] = experiment.teacher.name
    return {name: value for name, value in known.items() if value not in (None, "")}


def _scores(result: ModelResult, store: ArtifactStore) -> Iterator[_Number]:
    for row in score_rows([result], store):
        name = f"{row['split']}/{row['metric']}"
        yield from _finite({name: row["value"], f"{name}_standard_error": row["standard_error"]})


def _curve(model: ArtifactRef, store: ArtifactStore) -> Iterator[_Number]:
    """Yield the learning curve, where there is one."""
    history = store.path(model) / "history.parquet"
    for row in read_table(history) if history.is_file() else []:
        values = {f"curve/{name}": value for name, value in row.items() if name != "step"}
        yield from _finite(values, row["step"])


def _finite(values: Mapping[str, float | None], step: int = 0) -> Iterator[_Number]:
    for name, value in values.items():
        if value is not None and math.isfinite(value):
            yield _Number(name, value, step)
