"""The commands that look after the store: show, list, label, verify, discard, collect."""

import re
from pathlib import Path

import pytest

from taskdistill.configs.experiment import Experiment
from taskdistill.flows.pipeline.planning import make_plan
from taskdistill.storage.drafts import DRAFT
from taskdistill.storage.files import write_json
from taskdistill.storage.manifest import MANIFEST, ArtifactRef
from taskdistill.storage.store import PROGRESS, ArtifactStore
from tests.flows.conftest import Command, call
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


def test_show_prints_where_the_pictures_of_an_evaluation_lie(
    taskdistill: Command, made: dict[str, ArtifactRef]
) -> None:
    lines = taskdistill("show", str(made["evaluate-distilled-seed0"])).stdout.splitlines()
    pictures = [Path(line.removeprefix("picture: ")) for line in lines if line.startswith("picture: ")]
    assert "test-confusion.png" in {picture.name for picture in pictures}
    assert all(picture.is_file() for picture in pictures)


def test_show_names_the_prefect_run_that_made_it(taskdistill: Command, finished: ArtifactStore) -> None:
    ref = ArtifactRef("model", "0" * 64)
    run = {"name": "birds seed 0", "flow": "distillation", "id": "one", "page": "http://127.0.0.1:4200/runs/one"}
    with finished.lock(ref):
        (finished.draft(ref, {}) / "weights").write_bytes(b"1")
        finished.commit(ref, recipe={"stage": "distill"}, inputs={}, summary={}, settings={}, run=run)
    shown = taskdistill("show", str(ref)).stdout
    assert "in the Prefect run 'birds seed 0' of the flow 'distillation', http://127.0.0.1:4200/runs/one" in shown


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


def test_list_of_evaluations_says_what_each_is_of(taskdistill: Command, made: dict[str, ArtifactRef]) -> None:
    rows = {row["reference"]: row["what"] for row in taskdistill("list", "evaluation", "--json").json["artifacts"]}
    assert rows == {
        str(made["evaluate-teacher"]): "test_vit probed",
        str(made["evaluate-student-probed"]): "test_resnet probed",
        str(made["evaluate-finetuned-seed0"]): "student finetuned",
        str(made["evaluate-distilled-seed0"]): "student distilled",
    }
    assert "test_resnet probed" in taskdistill("list", "evaluation").stdout


def test_a_label_is_as_good_as_a_reference_and_may_move(taskdistill: Command, made: dict[str, ArtifactRef]) -> None:
    for step in ("finetune-seed0", "distill-seed0"):
        taskdistill("label", "best", str(made[step]))
        assert taskdistill("show", "best", "--json").json["manifest"]["reference"] == str(made[step])


def test_verify_finds_nothing_wrong_with_a_store_nobody_touched(taskdistill: Command) -> None:
    done = taskdistill("verify", "--json")
    assert done.code == 0
    assert done.json == {"verified": 13, "without_digest": 0, "damage": [], "newer": [], "unreadable": []}


def test_verify_of_a_folder_that_is_not_there_is_refused_and_of_an_empty_store_names_it(tmp_path: Path) -> None:
    done = call(ArtifactStore(tmp_path / "mistyped"), "verify")
    assert done.code == 1
    assert f"there is no store to verify: {tmp_path}/mistyped is no folder" in done.stderr
    (tmp_path / "empty").mkdir()
    done = call(ArtifactStore(tmp_path / "empty"), "verify")
    assert done.stdout == f"0 artifacts verified, 0 damaged, in {tmp_path}/empty\n"


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
    assert f"1 artifact was made from {made['distill-seed0'].short}" in refused.stderr
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


def test_collect_tells_of_each_artifact_whether_it_is_kept_and_why(
    taskdistill: Command, made: dict[str, ArtifactRef]
) -> None:
    assert len(taskdistill("collect", "--keep-days", "0", "--json").json["artifacts"]) == len(made)
    taskdistill("label", "shapes-v1", made["ingest"].short)
    found = taskdistill("collect", "--keep-days", "0", "--json").json
    [kept] = found["kept"]
    assert (kept["reference"], kept["because"]) == (str(made["ingest"]), "it has the label shapes-v1")
    assert len(found["artifacts"]) == len(made) - 1
    lines = taskdistill("collect", "--keep-days", "0").stdout.splitlines()
    assert re.fullmatch(rf"kept  {made['ingest'].short}  ingest, [\d.]+ [kM]?B: it has the label shapes-v1", lines[0])
    assert len([line for line in lines if line.startswith(f"goes  {made['evaluate-teacher'].short}  evaluate-")]) == 1
    assert lines[-1].startswith(f"1 artifact kept, {len(made) - 1} would be removed, which would free ")


@pytest.mark.parametrize("days", ["-1", "nan", "inf", "-inf", "-0.5"])
def test_a_number_of_days_that_is_none_is_refused(
    taskdistill: Command, finished: ArtifactStore, made: dict[str, ArtifactRef], days: str
) -> None:
    done = taskdistill("collect", "--keep-days", days, "--yes")
    assert done.code == 1
    assert f"--keep-days {days}: expected a number of days, 0 or more, such as 7" in done.stderr
    assert set(finished.references()) == set(made.values())


def test_more_days_than_there_were_keep_everything(taskdistill: Command) -> None:
    assert taskdistill("collect", "--keep-days", "1e9", "--json").json["artifacts"] == []


@pytest.mark.parametrize("text", ["", "{", "\0\0\0"])
def test_records_that_a_power_cut_tore_end_no_command_and_are_named(
    taskdistill: Command, finished: ArtifactStore, made: dict[str, ArtifactRef], preset: str, text: str
) -> None:
    taskdistill("label", "best", made["distill-seed0"].short)
    draft = finished.draft(ArtifactRef("model", "f" * 64), {"stage": "distill", "inputs": {}})
    write_json(draft / PROGRESS, {"unit": "steps", "done": 1, "total": 9})
    for record in (
        finished.root / "labels/best",
        draft / DRAFT,
        draft / PROGRESS,
        *(finished.root / "sources").iterdir(),
    ):
        record.write_text(text)

    assert taskdistill("plan", preset, "--json").code == 0
    assert taskdistill("show", made["ingest"].short).code == 0
    listed = taskdistill("list", "--json").json
    assert (len(listed["artifacts"]), len(listed["unreadable"])) == (len(made), 2)
    people = taskdistill("list").stdout
    assert "the label 'best' cannot be read" in people
    assert "unfinished: draft@ffffffffffff" in people
    verified = taskdistill("verify", "--json")
    assert (verified.code, verified.json["damage"], verified.json["unreadable"]) == (1, [], listed["unreadable"])
    collected = taskdistill("collect", "--keep-days", "0", "--yes")
    assert collected.code == 0
    assert "nothing is removed: the label 'best' cannot be read" in collected.stdout
    assert set(finished.references()) == set(made.values())

    (finished.root / "labels" / "best").unlink()
    assert taskdistill("discard", "draft@ffff").code == 0
    assert taskdistill("verify").code == 0


def test_a_manifest_that_is_torn_is_named_by_list_and_show_and_ends_no_plan_of_others(
    taskdistill: Command, finished: ArtifactStore, made: dict[str, ArtifactRef], preset: str
) -> None:
    (finished.path(made["precompute"]) / MANIFEST).write_bytes(b"")
    listed = taskdistill("list", "--json").json
    assert len(listed["artifacts"]) == len(made) - 1
    assert f"discard {made['precompute'].short} --with-dependents" in listed["damaged"][0]
    assert "(damaged: see 'taskdistill verify')" in taskdistill("show", made["distill-seed0"].short).stdout
    other = taskdistill("plan", preset, "--json", "--set", "distill.temperature=3")
    assert other.code == 1
    assert f"discard {made['precompute'].short} --with-dependents" in other.stderr
    assert taskdistill("plan", preset, "--json", "--set", "views.num_views=3").code == 0


def test_an_interrupted_copy_is_named_set_aside_by_the_next_run_and_all_is_whole_again(
    taskdistill: Command, finished: ArtifactStore, made: dict[str, ArtifactRef], preset: str
) -> None:
    ref = made["evaluate-teacher"]
    (finished.path(ref) / MANIFEST).unlink()
    found = taskdistill("verify")
    assert found.code == 1
    assert f"taskdistill discard {ref.short}" in found.stdout
    assert "an interrupted copy" in taskdistill("list", "--json").json["damaged"][0]
    assert taskdistill("run", preset, "--json").code == 0
    assert taskdistill("verify").code == 0
    (finished.path(ref) / MANIFEST).unlink()
    assert taskdistill("discard", ref.short, "--json").json["artifacts"] == [str(ref)]


def test_discard_names_labels_of_what_would_go_first(
    taskdistill: Command, finished: ArtifactStore, made: dict[str, ArtifactRef]
) -> None:
    taskdistill("label", "student", made["distill-seed0"].short)
    refused = taskdistill("discard", made["ingest"].short, "--with-dependents")
    assert refused.code == 1
    assert f"labels: student ({made['distill-seed0'].short})" in " ".join(refused.stderr.split())
    assert set(finished.references()) == set(made.values())
    done = taskdistill("discard", made["ingest"].short, "--with-dependents", "--with-labels", "--json")
    assert done.json["labels"] == ["student"]
    assert finished.references() == []


def test_rehash_reads_every_file_again(
    taskdistill: Command, finished: ArtifactStore, made: dict[str, ArtifactRef], preset: str
) -> None:
    [record] = (finished.root / "sources").iterdir()
    right = finished.manifest(made["ingest"]).recipe["external"]["path"]
    # As where a file system hides that the files changed.
    record.write_text(record.read_text().replace(right, "0" * 64))
    references = [row["reference"] for row in taskdistill("plan", preset, "--json").json["stages"]]
    assert str(made["ingest"]) not in references
    references = [row["reference"] for row in taskdistill("plan", preset, "--rehash", "--json").json["stages"]]
    assert references[0] == str(made["ingest"])


def test_collect_keeps_what_was_made_in_the_last_days(taskdistill: Command) -> None:
    assert taskdistill("collect", "--keep-days", "1", "--json").json["artifacts"] == []


@pytest.mark.parametrize(
    "command",
    [["list"], ["collect"], ["plan", "PRESET"], ["study", "PRESET", "--sweep", "distill.alpha=0.5,1", "--plan"]],
)
def test_a_store_that_is_not_there_is_said_to_be_missing_and_looking_at_it_is_no_fault(
    tmp_path: Path, preset: str, command: list[str]
) -> None:
    arguments = [preset if word == "PRESET" else word for word in command]
    done = call(ArtifactStore(tmp_path / "mistyped"), *arguments)
    assert done.code == 0
    assert f"there is no store at {tmp_path}/mistyped yet: a run makes it" in done.stderr
    (tmp_path / "empty").mkdir()
    assert "there is no store" not in call(ArtifactStore(tmp_path / "empty"), *arguments).stderr
