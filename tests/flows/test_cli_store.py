"""The commands that look after the store: show, list, label, verify, discard, collect."""

import pytest

from configs.experiment import Experiment
from flows.planning import make_plan
from storage.manifest import ArtifactRef
from storage.store import ArtifactStore
from tests.flows.conftest import Command
from tests.storage.artifacts import flip_a_bit


@pytest.fixture
def made(experiment: Experiment, finished: ArtifactStore) -> dict[str, ArtifactRef]:
    """Step -> its artifact in the finished store."""
    return {step.name: step.ref for step in make_plan(experiment, finished).steps}


def test_show_prints_scores_lineage_and_what_made_it(taskdistill: Command, made: dict[str, ArtifactRef]) -> None:
    done = taskdistill("show", made["evaluate-distilled-seed0"].fingerprint[:10])
    assert '"top1"' in done.stdout
    assert '"standard_errors"' in done.stdout
    assert f"model: {made['distill-seed0'].short}" in done.stdout
    assert f"logits: {made['precompute'].short}" in done.stdout
    assert "by commit" in done.stdout


def test_show_as_json_follows_the_lineage_to_the_images(taskdistill: Command, made: dict[str, ArtifactRef]) -> None:
    lineage = taskdistill("show", str(made["precompute"]), "--json").json["lineage"]
    assert lineage["reference"] == str(made["precompute"])
    assert lineage["inputs"]["features"]["inputs"]["images"] == {"reference": str(made["ingest"]), "inputs": {}}


def test_list_names_every_artifact_and_its_label(taskdistill: Command, made: dict[str, ArtifactRef]) -> None:
    taskdistill("label", "shapes-v1", made["ingest"].short)
    rows = taskdistill("list", "--json").json["artifacts"]
    assert {row["reference"] for row in rows} == {str(ref) for ref in made.values()}
    assert {row["label"]: row["stage"] for row in rows if row["label"]} == {"shapes-v1": "ingest"}


def test_list_of_one_kind_names_no_other(taskdistill: Command, made: dict[str, ArtifactRef]) -> None:
    rows = taskdistill("list", "model", "--json").json["artifacts"]
    assert {row["reference"] for row in rows} == {str(made["finetune-seed0"]), str(made["distill-seed0"])}


def test_a_label_is_as_good_as_a_reference_and_may_move(taskdistill: Command, made: dict[str, ArtifactRef]) -> None:
    for step in ("finetune-seed0", "distill-seed0"):
        taskdistill("label", "best", str(made[step]))
        assert taskdistill("show", "best", "--json").json["manifest"]["reference"] == str(made[step])


def test_verify_finds_nothing_wrong_with_a_store_nobody_touched(taskdistill: Command) -> None:
    done = taskdistill("verify", "--json")
    assert done.code == 0
    assert done.json == {"verified": 13, "damage": []}


def test_verify_names_the_file_whose_bit_flipped_and_ends_with_code_1(
    taskdistill: Command, finished: ArtifactStore, made: dict[str, ArtifactRef]
) -> None:
    flip_a_bit(finished.path(made["distill-seed0"]) / "best.safetensors")
    done = taskdistill("verify", "--json")
    assert done.code == 1
    assert [(row["ref"], row["file"]) for row in done.json["damage"]] == [
        (str(made["distill-seed0"]), "best.safetensors")
    ]
    people = taskdistill("verify", str(made["distill-seed0"]))
    assert people.code == 1
    assert f"taskdistill discard {made['distill-seed0'].short} --with-dependents" in people.stdout


def test_discard_refuses_what_others_were_made_from_until_told_to_take_them_along(
    taskdistill: Command, finished: ArtifactStore, made: dict[str, ArtifactRef]
) -> None:
    refused = taskdistill("discard", made["distill-seed0"].short)
    assert refused.code == 1
    assert f"1 artifacts were made from {made['distill-seed0'].short}" in refused.stderr
    done = taskdistill("discard", made["distill-seed0"].short, "--with-dependents", "--json")
    assert done.json["artifacts"] == [str(made["evaluate-distilled-seed0"]), str(made["distill-seed0"])]
    assert set(made.values()) - set(finished.references()) == {
        made["distill-seed0"], made["evaluate-distilled-seed0"],
    }  # fmt: skip


def test_after_verify_discard_and_run_the_store_is_whole_again(
    taskdistill: Command, finished: ArtifactStore, made: dict[str, ArtifactRef], preset: str
) -> None:
    flip_a_bit(finished.path(made["evaluate-teacher"]) / "val-predictions.parquet")
    taskdistill("discard", made["evaluate-teacher"].short, "--with-dependents")
    stages = taskdistill("run", preset, "--json").json["stages"]
    assert [stage["name"] for stage in stages if stage["action"] == "built"] == ["evaluate-teacher"]
    assert taskdistill("verify").code == 0


def test_discard_removes_a_draft_by_its_reference(
    taskdistill: Command, finished: ArtifactStore, experiment: Experiment
) -> None:
    wanted = experiment.model_copy(update={"seeds": (5,)})
    draft = next(step.ref for step in make_plan(wanted, finished).steps if step.name == "distill-seed5")
    with finished.lock(draft):
        finished.draft(draft, {"stage": "distill", "inputs": {}})
    assert taskdistill("discard", draft.short, "--json").json["artifacts"] == [str(draft)]
    assert finished.drafts() == {}


def test_collect_keeps_a_labelled_model_with_its_scores_and_removes_the_rest_only_when_told(
    taskdistill: Command, finished: ArtifactStore, made: dict[str, ArtifactRef]
) -> None:
    taskdistill("label", "student", str(made["distill-seed0"]))
    scores = ("evaluate-teacher", "evaluate-student-probed", "evaluate-finetuned-seed0")
    unneeded = {made[step] for step in (*scores, "precompute-student", "finetune-seed0")}
    shown = taskdistill("collect", "--keep-days", "0", "--json")
    assert {ArtifactRef.parse(text) for text in shown.json["artifacts"]} == unneeded
    assert len(finished.references()) == len(made)

    taskdistill("collect", "--keep-days", "0", "--yes")
    assert set(finished.references()) == set(made.values()) - unneeded


def test_collect_keeps_what_was_made_in_the_last_days(taskdistill: Command) -> None:
    assert taskdistill("collect", "--keep-days", "1", "--json").json["artifacts"] == []
