"""Studies from the Prefect UI: the form says what the command line says, and a run makes what it makes."""

from pathlib import Path
from typing import Any

import pytest

from taskdistill.configs.errors import SettingsError
from taskdistill.configs.study_loading import load_study, points_of
from taskdistill.flows.deployed.short_form import filled_in
from taskdistill.flows.deployed.study_form import AskedStudy, StudyForm, asked_study
from taskdistill.storage.store import ArtifactStore
from tests.flows.conftest import call
from tests.flows.local_server import until


def asked(**sent: Any) -> AskedStudy:
    return asked_study(filled_in(StudyForm, sent))


def refusal(**sent: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        asked(**sent)
    return str(caught.value)


# --- the form ------------------------------------------------------------------------------------------------------


def test_the_form_as_it_opens_is_the_study_of_the_paper_on_birds_in_the_folder_of_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASKDISTILL_HOME", str(tmp_path))
    found = asked()
    assert found.study == load_study("paper")
    assert [point.variant for point in found.points] == [point.variant for point in points_of(load_study("paper"))]
    assert {point.experiment.data.path for point in found.points} == {str(tmp_path / "birds-0")}


def test_its_lines_mean_what_the_options_of_the_command_mean() -> None:
    found = asked(
        study="few-labels",
        data_path="/data/birds",
        sweep=["data.labels_per_class=1,2,3"],
        overrides=["seeds=0,1"],
        baseline=["data.labels_per_class=1"],
        halving=3,
    )
    assert found.command == (
        "taskdistill study few-labels --set data.path=/data/birds --set seeds=0,1 --sweep data.labels_per_class=1,2,3 "
        "--baseline data.labels_per_class=1 --halving 3"
    )
    assert [point.experiment.data.labels_per_class for point in found.points] == [1, 2, 3]
    assert {point.experiment.seeds for point in found.points} == {(0, 1)}
    assert found.study.halving == 3


def test_without_a_study_it_is_one_of_the_preset() -> None:
    found = asked(study="", preset="small-cpu", data_path="/data/birds", sweep=["distill.alpha=0.2,0.4"])
    assert (found.study.preset, len(found.points)) == ("small-cpu", 2)
    assert asked(study="paper", preset="small-cpu", data_path="/data/birds", overrides=[
        "generator.folder=/mixer"]).study.preset == "small-cpu"  # fmt: skip


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({"study": ""}, "study: is empty, and so is preset"),
        ({"study": "study.yaml"}, "study: expected one of few-labels, paper, teachers, or the absolute path of a file"),
        ({"study": "/nowhere/study.yaml"}, "/nowhere/study.yaml"),
        ({"study": "teachers"}, "data_path: the preset 'small-cpu' names no images of yours"),
        ({"sweep": ["distill.temprature=1,2"]}, "did you mean 'distill.temperature'"),
        ({"study": "", "preset": "miniature"}, "with --sweep SETTING=A,B"),
        ({"sweep": ["distill.temperature=1,2"], "overrides": ["distill.temperature=1"]}, "is said twice"),
        ({"halving": 1}, "halving: of 1 in 1 all points go on"),
        ({"nme": "x"}, "unknown setting 'nme'"),
    ],
)
def test_a_mistake_is_told_in_the_words_of_the_command_line(sent: dict[str, Any], said: str) -> None:
    assert said in refusal(**sent)


# --- a run, on a real server ---------------------------------------------------------------------------------------


@pytest.fixture
def store(finished: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> ArtifactStore:
    """A store with one of two points finished, for the flows of this process."""
    monkeypatch.setenv("TASKDISTILL_STORE", str(finished.root))
    return finished


@pytest.fixture
def source(preset: str, tmp_path: Path) -> str:
    path = tmp_path / "heat.yaml"
    path.write_text(f"study: 1\nname: heat\npreset: {preset}\nsweep: {{distill.temperature: [1, 2]}}\n")
    return str(path)


def run_here(client: Any, **sent: Any) -> Any:
    """Run the flow in this process; returns the run, as the server has it."""
    from taskdistill.flows.deployed.study import study

    return client.read_flow_run(study(**sent, return_state=True).state_details.flow_run_id)


def reports_of(client: Any, run: Any) -> dict[str, str]:
    return {report.key: report.data for report in client.read_artifacts() if report.flow_run_id == run.id}


@pytest.mark.prefect
@pytest.mark.slow
def test_a_run_makes_what_is_missing_once_and_shows_the_table_and_where_the_files_are(
    client: Any, store: ArtifactStore, source: str
) -> None:
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    run = run_here(client, study=source)
    assert run.state.name == "Completed", run.state.message
    assert run.name.startswith("heat ")
    assert run.state.message.startswith("15 steps: 13 reused, 2 built; ")

    def tasks() -> set[str]:
        found = client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id])))
        return {task.name for task in found if task.state.is_completed()}

    # The server hears of steps a while after it heard of their run.
    wanted = {"distill-seed0 [temperature 1]", "evaluate-distilled-seed0 [temperature 1]"}
    until(lambda: tasks() == wanted, seconds=60, log=Path("/dev/null"))
    reports = reports_of(client, run)
    assert "| 1 | student distilled | " in reports["study-heat"]
    [page] = (store.root / "reports" / "studies").glob("heat-*/study.html")
    assert f"`{page.parent}`" in reports["study-heat"]
    assert f"taskdistill study {source}" in page.read_text(encoding="utf-8")
    told = call(store, "study", source, "--json", "--folder", str(page.parent)).json
    assert {stage["action"] for stage in told["stages"]} == {"have"}


@pytest.mark.prefect
@pytest.mark.slow
def test_a_run_of_a_study_that_is_there_says_so_and_halves_as_it_is_asked_to(
    client: Any, store: ArtifactStore, source: str
) -> None:
    sent = {"study": source, "sweep": ["distill.temperature=1,2,4"], "overrides": ["seeds=0,1"], "halving": 2}
    assert run_here(client, **sent).state.name == "Completed"
    again = run_here(client, **sent)
    assert again.name.endswith("(all reused)")
    report = reports_of(client, again)["study-heat"]
    assert report.count("student distilled (stopped after rung 1) |") == 1
    assert "the best 2 of them on validation have gone on with seed 1" in report


@pytest.mark.prefect
@pytest.mark.slow
def test_a_mistake_fails_the_run_at_once(client: Any, store: ArtifactStore, source: str) -> None:
    run = run_here(client, study=source, sweep=["distill.temperature=1,2", "blends.per_image=1,2"])
    assert run.state.name == "Failed"
    assert "blends.per_image changes nothing" in run.state.message
