"""What distilling is worth on road scenes that nothing has seen: preset `camvid` with each of its three sequences left
out in turn, and the 18 pairs of its own test split beside them.

    REAL_DATA_DIR=... python -m tests.benchmarks.camvid_sequences --folder RUNS [--sources finetuned,probed,espnet]
        [--columns 0001TP,0006R0,0016E5,val] [--set 'seeds=[0]']

A column is a sequence: its masks test, and neither they nor its frames without masks were learnt from; nor were the 18
pairs of `val`, which are of 0016E5. In column `val` those 18 test, of a sequence that is trained on. The table has the
mIoU of each model, the mean over its seeds, by column; then the mean over the three sequences, and how far that lies
above the student that was finetuned, with the standard error over images. What is there is not computed again.

`espnet` was trained elsewhere on CamVid, so that no sequence is new to it: use it with `--columns val` alone.
"""

import argparse
import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from taskdistill.configs.experiment import Experiment
from taskdistill.configs.loading import load_experiment
from taskdistill.flows.pipeline.chain import CONTROL, ModelResult
from taskdistill.flows.pipeline.comparing import compared
from taskdistill.flows.pipeline.console import on_console
from taskdistill.flows.pipeline.planning import make_plan
from taskdistill.flows.pipeline.running import run_plan
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.summaries import EvaluationSummary
from taskdistill.tasks.functional.comparison import Difference

PRESET = "camvid"
SEQUENCES = ("0001TP", "0006R0", "0016E5")
PUBLISHED = "val"
SOURCES = {
    "finetuned": (),
    "probed": ("teacher_training=probed",),
    "espnet": (
        "teacher_training=foreign", "foreign_teacher.function=tests.espnet:build", "foreign_teacher.output_stride=4",
        "foreign_teacher.weights=${REAL_DATA_DIR}/weights/espnet_p_2_q_8_camvid.pth", "foreign_teacher.pixels=uint8",
        "foreign_teacher.channels=bgr", "foreign_teacher.input_px=360", "foreign_teacher.input_width_px=480",
    ),
}  # fmt: skip
"""What teaches -> its settings."""
SPLIT = "test"
Results = Mapping[str, list[ModelResult]]
"""Model -> what each of its seeds came to."""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--folder", type=Path, required=True)
    options.add_argument("--sources", default="finetuned,probed", help=f"of {', '.join(SOURCES)}")
    options.add_argument("--columns", default=",".join((*SEQUENCES, PUBLISHED)))
    options.add_argument("--set", action="append", default=[], dest="overrides")
    arguments = options.parse_args()
    store = ArtifactStore(arguments.folder / "store")
    for source in arguments.sources.split(","):
        found: dict[str, Results] = {}
        for column in arguments.columns.split(","):
            experiment = experiment_of(column, (*SOURCES[source], *arguments.overrides))
            found[column] = results_of(experiment, store)
            Console(width=160).print(table(f"teacher {source}", found, store))


def experiment_of(column: str, settings: Sequence[str]) -> Experiment:
    """Return the preset with one sequence left out, or as it is."""
    left_out = (
        []
        if column == PUBLISHED
        else [f"data.test_images=[train/{column}_*]", f"data.left_out_images=[val/*, unlabelled/{column}_*]"]
    )
    return load_experiment(PRESET, [*left_out, *settings])


def results_of(experiment: Experiment, store: ArtifactStore) -> Results:
    """Run what is missing of an experiment, and return its results by model."""
    with on_console(experiment, Console(stderr=True)) as show:
        run_plan(experiment, store, show)
    by_model = defaultdict[str, list[ModelResult]](list)
    for result in make_plan(experiment, store).results:
        by_model[result.model].append(result)
    return by_model


def table(title: str, found: Mapping[str, Results], store: ArtifactStore) -> Table:
    """One line for each model: its mIoU in percent by column, and the mean over the sequences that are there."""
    shown = Table("model", *found, "mean of sequences", "to finetuned", title=title)
    sequences = [column for column in found if column != PUBLISHED]
    for model in next(iter(found.values())):
        scores = {column: mean_score(results[model], store) for column, results in found.items()}
        mean = statistics.mean(scores[column] for column in sequences) if sequences else math.nan
        differences = [to_finetuned(found[column], model, store) for column in sequences]
        written = ["" if math.isnan(score) else f"{100 * score:.1f}" for score in (*scores.values(), mean)]
        shown.add_row(model, *written, mean_written(differences))
    return shown


def mean_score(results: Sequence[ModelResult], store: ArtifactStore) -> float:
    """Return the mIoU of a model, the mean over its seeds."""
    summaries = [EvaluationSummary.of(store.manifest(result.evaluation)) for result in results]
    return statistics.mean(summary.scores[SPLIT]["miou"] for summary in summaries)


def to_finetuned(results: Results, model: str, store: ArtifactStore) -> Difference | None:
    """Return how far a student lies above the finetuned one on the images of one column; None where it is not one."""
    if model == CONTROL or model.startswith("teacher"):
        return None
    comparison = compared(results[model], results[CONTROL], SPLIT, store)
    return comparison.found if comparison else None


def mean_written(differences: Sequence[Difference | None]) -> str:
    """Return the mean of independent differences in points, with its standard error, and a star beyond two of those."""
    known = [one for one in differences if one is not None]
    if not known:
        return ""
    mean = statistics.mean(one.mean for one in known)
    error = math.sqrt(sum(one.standard_error**2 for one in known)) / len(known)
    star = "*" if abs(mean) > 2 * error else ""
    return f"{100 * mean:+.1f} (SE {100 * error:.1f}){star}"


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
