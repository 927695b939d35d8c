"""What is said of settings that chose themselves, under the table and by `show`."""

from pathlib import Path

from taskdistill.flows.reports.chosen import chosen_settings, trials_table
from taskdistill.flows.reports.page.subject import Subject
from taskdistill.flows.reports.page.writing import write_report
from taskdistill.flows.reports.remarks import remarks
from taskdistill.storage.fingerprint import fingerprint
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.tables import TRIALS, write_table
from tests.flows.scored import commit, evaluated

WHY = (
    "learning_rate 0.0003 in place of learning_rate 0.001: +2.3 points (SE 1.1) on 300 validation images, by another "
    "seed"
)


def test_one_line_says_what_was_chosen_for_which_models_with_figures(store: ArtifactStore) -> None:
    finetuning = commit(store, "settings", {"because": WHY})
    distilling = commit(store, "settings", {"because": "alpha 0.75 stays: the lists hold no other value"})
    results = [
        evaluated(store, model, seed, [1.0], artifact=commit(store, "model", {"kept_step": 1}, settings=settings))
        for seed in (0, 1)
        for model, settings in (("finetuned", finetuning), ("distilled", distilling), ("+blends", distilling))
    ]
    line = (
        f"Settings chosen on held-out images. finetuned: {WHY}. distilled, +blends: alpha 0.75 stays: the lists "
        "hold no other value."
    )
    assert chosen_settings(results, store) == [line]
    assert line in remarks(results, store)


def test_nothing_is_said_where_nothing_was_chosen(store: ArtifactStore) -> None:
    assert chosen_settings([evaluated(store, "finetuned", 0, [1.0])], store) == []


def tried(store: ArtifactStore) -> ArtifactRef:
    """Commit settings of which two were tried."""
    ref = ArtifactRef("settings", fingerprint({}))
    with store.lock(ref):
        draft = store.draft(ref, {})
        trial = {"rung": 0, "seed": 0, "learning_rate": 3e-4, "steps": 22, "score": 0.52346, "went_on": True}
        write_table(draft / "trials.parquet", TRIALS, [trial, trial | {"went_on": False, "score": None}])
        store.commit(ref, recipe={}, inputs={}, summary={"because": WHY})
    return ref


def test_the_page_of_a_run_holds_all_that_was_tried(store: ArtifactStore, tmp_path: Path) -> None:
    artifact = commit(store, "model", {"kept_step": 1}, settings=tried(store))
    results = [evaluated(store, "finetuned", 0, [1.0], artifact=artifact)]
    write_report(tmp_path / "page.html", Subject("A run", results, {}, store, "taskdistill run mine", []))
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<h2>Settings tried</h2>" in page
    assert "For finetuned." in page
    number = '<td class="number">'
    assert f"{number}0.0003</td>{number}22</td>{number}0.5235</td>{number}yes</td>" in page


def test_trials_are_a_table_without_the_columns_that_no_trial_has(store: ArtifactStore) -> None:
    table = trials_table(store, tried(store))
    assert [str(column.header) for column in table.columns] == [
        "rung", "seed", "learning rate", "steps", "score", "went on",
    ]  # fmt: skip
    assert [list(column.cells) for column in table.columns][2:] == [
        ["0.0003", "0.0003"], ["22", "22"], ["0.5235", ""], ["yes", "no"],
    ]  # fmt: skip
