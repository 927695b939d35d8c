"""A store in which a newer version has worked: every command says so, ends with code 1, and changes nothing."""

from pathlib import Path

import pytest

from taskdistill.configs.experiment import Experiment
from taskdistill.flows.pipeline.planning import make_plan
from taskdistill.storage.drafts import DRAFT
from taskdistill.storage.files import read_json, write_json
from taskdistill.storage.formats import format_of
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from tests.flows.conftest import Command, Done
from tests.storage.artifacts import write_as_newer


@pytest.fixture
def newer(experiment: Experiment, finished: ArtifactStore) -> dict[str, ArtifactRef]:
    """Step -> its artifact; the cached logits of the teacher, in the midst of all, are of a newer format."""
    made = {step.name: step.ref for step in make_plan(experiment, finished).steps}
    write_as_newer(finished.path(made["precompute"]), format=format_of("logits") + 1)
    return made


def files_of(store: ArtifactStore) -> dict[Path, bytes]:
    kept = (path for name in ("artifacts", "drafts", "labels") for path in (store.root / name).rglob("*"))
    return {path: path.read_bytes() for path in kept if path.is_file()}


def says_so(done: Done) -> bool:
    """Whether a command ended with what a newer version's artifact calls for."""
    words = " ".join((done.stdout + done.stderr).replace("│", " ").split())
    return (
        done.code == 1
        and "newer version of this program (taskdistill 7.0.0, commit abcdef012345)" in words
        and "discard" not in words
    )


@pytest.mark.parametrize("command", ["plan", "run"])
def test_what_needs_it_is_refused(
    taskdistill: Command, finished: ArtifactStore, newer: dict[str, ArtifactRef], preset: str, command: str
) -> None:
    before = files_of(finished)
    assert says_so(taskdistill(command, preset))
    assert files_of(finished) == before


def test_a_stage_that_is_given_it_begins_no_draft(
    taskdistill: Command, finished: ArtifactStore, newer: dict[str, ArtifactRef], preset: str
) -> None:
    before = files_of(finished)
    given = ("--set", "distill.alpha=0.5", "--input", f"logits={newer['precompute']}")
    assert says_so(taskdistill("stage", "distill-seed0", preset, *given))
    assert files_of(finished) == before


def test_show_refuses_it_and_names_it_in_the_lineage_of_others(
    taskdistill: Command, newer: dict[str, ArtifactRef]
) -> None:
    assert says_so(taskdistill("show", str(newer["precompute"])))
    other = taskdistill("show", str(newer["distill-seed0"]))
    assert (other.code, "(made by a newer version)" in other.stdout) == (0, True)


def test_list_names_all_others_and_ends_with_code_1(taskdistill: Command, newer: dict[str, ArtifactRef]) -> None:
    assert says_so(taskdistill("list"))
    listed = taskdistill("list", "--json")
    assert listed.code == 1
    assert {row["reference"] for row in listed.json["artifacts"]} == {str(ref) for ref in newer.values()} - {
        str(newer["precompute"])
    }
    assert (listed.json["damaged"], len(listed.json["newer"])) == ([], 1)


def test_verify_calls_it_no_damage(taskdistill: Command, newer: dict[str, ArtifactRef]) -> None:
    assert says_so(taskdistill("verify"))
    assert "12 artifacts verified, 0 damaged, 1 of a newer version not looked at" in taskdistill("verify").stdout
    found = taskdistill("verify", "--json").json
    assert (found["verified"], found["damage"], len(found["newer"])) == (12, [], 1)
    assert says_so(taskdistill("verify", newer["precompute"].short))


def test_collect_removes_nothing_as_nobody_knows_what_it_needs(
    taskdistill: Command, finished: ArtifactStore, newer: dict[str, ArtifactRef]
) -> None:
    before = files_of(finished)
    done = taskdistill("collect", "--yes", "--keep-days", "0", "--json")
    assert (done.code, done.json["artifacts"], len(done.json["unreadable"])) == (1, [], 1)
    because = {row["reference"]: row["because"] for row in done.json["kept"]}
    assert because[str(newer["precompute"])] == "a newer version of this program made it"
    assert files_of(finished) == before
    said = taskdistill("collect", "--yes", "--keep-days", "0")
    assert says_so(said)
    assert "nothing is removed: what it was made from is unknown" in " ".join(said.stdout.split())


def test_discarding_something_else_never_takes_it_along(
    taskdistill: Command, finished: ArtifactStore, newer: dict[str, ArtifactRef]
) -> None:
    before = files_of(finished)
    done = taskdistill("discard", newer["probe-teacher"].short, "--with-dependents", "--with-labels")
    assert done.code == 1
    assert "by a newer version of this program: with that version" in " ".join(done.stderr.split())
    assert files_of(finished) == before


def test_it_can_be_discarded_by_its_own_name(
    taskdistill: Command, finished: ArtifactStore, newer: dict[str, ArtifactRef]
) -> None:
    assert taskdistill("discard", newer["precompute"].short, "--with-dependents").code == 0
    assert newer["precompute"] not in finished
    assert newer["extract-teacher"] in finished


def test_a_draft_of_a_newer_version_stops_its_plan_and_keeps_what_it_may_need(
    taskdistill: Command, finished: ArtifactStore, experiment: Experiment, preset: str
) -> None:
    settings = ("--set", "distill.alpha=0.5")
    altered = experiment.model_copy(update={"distill": experiment.distill.model_copy(update={"alpha": 0.5})})
    ref = next(step.ref for step in make_plan(altered, finished).steps if step.name == "distill-seed0")
    draft = finished.draft(ref, {"stage": "distill"})
    record = {"format": 3, "version": "7.0.0", "commit": "abcdef0123456789"}
    write_json(draft / DRAFT, read_json(draft / DRAFT) | record)
    before = files_of(finished)
    assert says_so(taskdistill("plan", preset, *settings))
    assert says_so(taskdistill("run", preset, *settings))
    assert taskdistill("collect", "--yes", "--keep-days", "0", "--json").json["artifacts"] == []
    assert "was made by a newer version" in " ".join(taskdistill("list").stdout.split())
    assert files_of(finished) == before
