"""Run the studies and write the page of what holds.

    REAL_DATA_DIR=... python -m tests.evidence --folder RUNS [--trials clothing,birds,parts,roads] [--page FILE]

Each trial is a study in the store of `RUNS`: what is there is not computed again, and what is stopped goes on. Its
answers are a file in `.github/evidence`, and the page is made of all that lie there, also of those that another machine
wrote; it says which trials have none.
"""

import argparse
import platform
from pathlib import Path

import torch
from rich.console import Console

from taskdistill.configs.study_loading import points_of
from taskdistill.flows.pipeline.console import on_console
from taskdistill.flows.pipeline.study import plan_study, run_study
from taskdistill.flows.reports.remarks import unchanged
from taskdistill.flows.reports.study_rows import StudyRows
from taskdistill.storage.formats import PROGRAM
from taskdistill.storage.provenance import code_commit, version_of
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.summaries import PaceSummary
from tests.evidence.answers import Answer, answer
from tests.evidence.claims import CLAIMS
from tests.evidence.kept import Told, all_kept, keep
from tests.evidence.page import page
from tests.evidence.trials import Trial, draw_worlds, trials

PAGE = Path(__file__).parents[2] / ".github" / "EVIDENCE.md"
ANSWERS = PAGE.parent / "evidence"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--folder", type=Path, required=True)
    options.add_argument("--trials", default="clothing,birds,parts,roads")
    options.add_argument("--page", type=Path, default=PAGE)
    arguments = options.parse_args()
    known, named = trials(arguments.folder.absolute()), arguments.trials.split(",")
    if unknown := set(named) - known.keys():
        options.error(f"there is no trial {', '.join(sorted(unknown))}: {', '.join(known)}")
    store = ArtifactStore(arguments.folder / "store")
    for name in named:
        rows = run(name, known[name], store)
        by = f"{version_of(PROGRAM)}, {code_commit()[:7]}, {platform.machine()}"
        told = Told(answers(name, known[name], rows), minutes(rows, store), said_of_teachers(rows, store), by)
        keep(told, ANSWERS, name)
    arguments.page.write_text(page(all_kept(ANSWERS, known), known), encoding="utf-8")


def answers(name: str, trial: Trial, rows: StudyRows) -> list[Answer]:
    """Return what a trial answers to the questions that it is asked, each of which several claims may ask."""
    asked = dict.fromkeys(one for claim in CLAIMS for one in claim.questions if one.trial == name)
    return [answer(question, trial, rows) for question in asked]


def run(name: str, trial: Trial, store: ArtifactStore) -> StudyRows:
    """Do what is missing of a trial."""
    draw_worlds(trial)
    study = trial.study(name)
    planned = plan_study(study, points_of(study), store)
    with on_console(planned.plans[0].experiment, Console(stderr=True)) as show:
        return StudyRows(run_study(planned, store, show), store)


def said_of_teachers(rows: StudyRows, store: ArtifactStore) -> list[str]:
    """Return what a comparison of teachers has to know: which of them are what they started from."""
    teachers = [one for row in rows.all if not row.is_student for one in row.results if one.artifact.kind == "model"]
    return list(dict.fromkeys(unchanged(teachers, store)))


def minutes(rows: StudyRows, store: ArtifactStore) -> str:
    """Return how long the steps of a trial took, added up, on whatever else the machine had to do."""
    refs = {step.ref for step in rows.run.planned.steps if step.ref in store}
    seconds = sum(PaceSummary.of(store.manifest(ref)).seconds for ref in refs)
    return f"{seconds / 60:.0f} min"


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
