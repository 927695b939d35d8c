"""What `discard` and `collect` say of what they take away, and of what stays."""

import pytest

from taskdistill.configs.experiment import Experiment
from taskdistill.flows.pipeline.planning import make_plan
from taskdistill.storage.files import bytes_in_words
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from tests.flows.conftest import Command


@pytest.fixture
def made(experiment: Experiment, finished: ArtifactStore) -> dict[str, ArtifactRef]:
    """Step -> its artifact in the finished store."""
    return {step.name: step.ref for step in make_plan(experiment, finished).steps}


def test_discard_prints_the_command_that_gives_a_label_back_which_works_once_it_is_made_again(
    taskdistill: Command, finished: ArtifactStore, made: dict[str, ArtifactRef], preset: str
) -> None:
    model = made["evaluate-teacher"]
    taskdistill("label", "mine", model.short)
    lines = taskdistill("discard", "mine", "--with-dependents").stdout.splitlines()
    assert lines[-3:] == [
        "1 artifact removed, with the label mine",
        "Once made again, it gets its name back by:",
        f"  taskdistill label mine {model.short}",
    ]
    taskdistill("run", preset)
    assert taskdistill(*lines[-1].split()[1:]).code == 0
    assert finished.labels() == {"mine": model}


def test_discard_says_so_of_every_label_also_those_of_dependents(
    taskdistill: Command, made: dict[str, ArtifactRef]
) -> None:
    model, scores = made["distill-seed0"].short, made["evaluate-distilled-seed0"].short
    for name, reference in (("best", model), ("scores", scores), ("tenth", model)):
        taskdistill("label", name, reference)
    lines = taskdistill("discard", "best", "--with-dependents", "--with-labels").stdout.splitlines()
    assert lines[-5:] == [
        "2 artifacts removed, with the labels best, scores, tenth",
        "Once made again, they get their names back by:",
        f"  taskdistill label best {model}",
        f"  taskdistill label scores {scores}",
        f"  taskdistill label tenth {model}",
    ]


def test_discard_as_json_has_the_same_commands_and_none_where_nothing_had_a_label(
    taskdistill: Command, made: dict[str, ArtifactRef]
) -> None:
    taskdistill("label", "best", made["evaluate-teacher"].short)
    found = taskdistill("discard", "best", "--json").json
    assert found["give_back"] == [f"taskdistill label best {made['evaluate-teacher'].short}"]
    unnamed = taskdistill("discard", made["evaluate-finetuned-seed0"].short, "--json").json
    assert (unnamed["labels"], unnamed["give_back"]) == ([], [])


# --- collect -------------------------------------------------------------------------------------------------------


def test_collect_says_of_each_why_it_is_kept_what_it_is_and_how_large(
    taskdistill: Command, finished: ArtifactStore, made: dict[str, ArtifactRef]
) -> None:
    student = made["distill-seed0"]
    taskdistill("label", "best", student.short)
    lines = taskdistill("collect", "--keep-days", "0").stdout.splitlines()
    size = bytes_in_words(finished.manifest(student).num_bytes)
    assert f"kept  {student.short}  student distilled, test_resnet, {size}: it has the label best" in lines
    control = made["finetune-seed0"]
    size = bytes_in_words(finished.manifest(control).num_bytes)
    assert f"goes  {control.short}  student finetuned, test_resnet, {size}" in lines


def test_collect_says_that_recent_artifacts_are_kept_for_their_age_and_names_the_option(taskdistill: Command) -> None:
    lines = taskdistill("collect").stdout.splitlines()
    assert all(" UTC is kept" in line for line in lines if line.startswith("kept"))
    assert "--keep-days is 1: with fewer days less is kept for its age alone, with 0 nothing" in lines


def test_collect_frees_as_many_bytes_as_it_said(
    taskdistill: Command, finished: ArtifactStore, made: dict[str, ArtifactRef]
) -> None:
    taskdistill("label", "shapes", made["ingest"].short)
    expected = sum(finished.manifest(ref).num_bytes for ref in finished.references() if ref != made["ingest"])
    told = taskdistill("collect", "--keep-days", "0", "--json").json
    assert told["frees_bytes"] == sum(row["bytes"] for row in told["goes"]) == expected
    last = taskdistill("collect", "--keep-days", "0", "--yes").stdout.splitlines()[-1]
    assert last == f"1 artifact kept, {len(made) - 1} removed, which frees {bytes_in_words(expected)}"


def test_collect_names_kept_views_and_drafts_which_stay_with_the_commands_that_remove_them(
    taskdistill: Command, finished: ArtifactStore
) -> None:
    table = finished.root / "views" / ("a" * 64) / "one.table"
    table.parent.mkdir(parents=True, exist_ok=True)
    table.write_bytes(bytes(4096))
    draft = ArtifactRef("model", "f" * 64)
    with finished.lock(draft):
        finished.draft(draft, {"stage": "distill", "inputs": {}})
    rest = taskdistill("collect", "--json").json["not_removed"]
    assert [(one["what"].partition(",")[0], one["command"]) for one in rest] == [
        ("kept views", f"rm -r {finished.root}/views"),
        (f"unfinished {draft.short}", f"taskdistill discard {draft.short}"),
    ]
    assert all(one["bytes"] > 0 for one in rest)
    lines = taskdistill("collect").stdout.splitlines()
    assert "This takes room too, and is not removed here:" in lines
    assert sum(line.endswith(one["command"]) for line in lines for one in rest) == 2
