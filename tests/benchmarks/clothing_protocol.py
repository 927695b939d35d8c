"""Whether the recipe earns its keep on real photographs: the student distilled, against the probe it starts from and
against the same student finetuned, with the settings that a folder of one's own gets.

    REAL_DATA_DIR=... python -m tests.benchmarks.clothing_protocol --folder RUNS [--rows main,ten ...] [--runs 2]
        [--set ...]

A row of the table is a cut of the photographs (`tests.benchmarks.clothing_cuts`), a teacher and a student, five times:
the five folds of a cross-validation, in which each of the 596 photographs is tested once, or five seeds. Nothing is set
but the images and the two networks: all else is what the preset `small-cpu` says. With --set it is another experiment;
give it a --name for the table.

Differences are of the same photographs, the mean over seeds where a photograph is tested in several; their standard
error is over photographs. What is there is not computed again: stop it where you like, run it again, or run two with
other --rows on one folder.
"""

import argparse
import os
import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console
from rich.table import Table

from taskdistill.configs.experiment import Experiment
from taskdistill.configs.loading import load_experiment
from taskdistill.flows.pipeline.chain import CONTROL, START, ModelResult
from taskdistill.flows.pipeline.comparing import image_scores
from taskdistill.flows.pipeline.console import on_console
from taskdistill.flows.pipeline.planning import make_plan
from taskdistill.flows.pipeline.running import run_plan
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.functional.comparison import Difference, paired_difference
from tests.benchmarks.clothing_cuts import RUNS, table_of, write_cuts

PRESET = "small-cpu"
DISTILLED = "student distilled"
Scores = Mapping[str, Mapping[str, list[float]]]
"""Model -> id of a photograph -> its score in each run that tests it."""


class Network(NamedTuple):
    """A network of `$REAL_DATA_DIR/weights`, and how it wants to see an image."""

    name: str
    file: str
    input_px: int
    settings: tuple[str, ...] = ()


_MOBILENET = ("arguments={pad_type: same}", "mean=[0.5, 0.5, 0.5]", "std=[0.5, 0.5, 0.5]")
LITE1 = Network("tf_efficientnet_lite1", "tf_efficientnet_lite1.safetensors", 240)
LITE0 = Network("tf_efficientnet_lite0", "tf_efficientnet_lite0.safetensors", 224)
LARGE = Network("mobilenetv2_100", "mobilenetv2_100.coral_tf2_in1k.safetensors", 224, _MOBILENET)
SMALL = Network("mobilenetv2_035", "mobilenetv2_035.keras_128_backbone.safetensors", 128, _MOBILENET)


class Row(NamedTuple):
    """One line of the table."""

    cut: str
    teacher: Network
    student: Network
    settings: tuple[str, ...] = ()


ROWS = {
    "main": Row("folds", LITE1, SMALL),
    "published": Row("all", LITE1, SMALL),
    "ten": Row("ten", LITE1, SMALL),
    "kinds": Row("kinds", LITE1, SMALL),
    "weaker-teacher": Row("folds", LARGE, SMALL),
    "finetuned-teacher": Row("folds", LITE1, SMALL, ("teacher_training=finetuned",)),
    "larger-student": Row("folds", LITE1, LITE0),
}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--folder", type=Path, required=True)
    options.add_argument("--rows", default=",".join(ROWS), help=f"of {', '.join(ROWS)}")
    options.add_argument("--set", action="append", default=[], dest="overrides")
    options.add_argument("--name", default="", help="what the settings of --set are called in the table")
    options.add_argument("--runs", type=int, default=len(RUNS), help="as many folds or seeds, the first ones")
    arguments = options.parse_args()
    found: dict[str, Scores] = {}
    for name in arguments.rows.split(","):
        title = " ".join(filter(None, (name, arguments.name)))
        found[title] = scores_of(ROWS[name], arguments.folder, arguments.overrides, RUNS[: arguments.runs])
        Console(width=160).print(table(found))


def scores_of(row: Row, folder: Path, overrides: Sequence[str], runs: Iterable[int] = RUNS) -> Scores:
    """Run what is missing of a row, and return the scores of every model on every photograph that was tested."""
    photographs = folder.absolute() / "photographs"
    write_cuts(_data() / "clothing10", photographs)
    store = ArtifactStore(folder / "store")
    experiments = [experiment_of(row, run, photographs, overrides) for run in runs]
    for experiment in experiments:
        with on_console(experiment, Console(stderr=True)) as show:
            run_plan(experiment, store, show)
    return scores_in(experiments, store)


def experiment_of(row: Row, run: int, photographs: Path, overrides: Sequence[str]) -> Experiment:
    """Return the experiment of one fold or seed of a row."""
    data = [f"data.path={photographs}", "data.form=table", f"data.table={table_of(row.cut, run)}", f"seeds=[{run}]"]
    networks = [
        f"{role}.{setting}"
        for role, network in (("teacher", row.teacher), ("student", row.student))
        for setting in network_settings(network)
    ]
    return load_experiment(PRESET, [*data, *networks, *row.settings, *overrides])


def network_settings(network: Network) -> list[str]:
    """Return the settings of a network of `$REAL_DATA_DIR/weights`, without the role it has."""
    file = _data() / "weights" / network.file
    named = [f"name={network.name}", "weights=file", f"file={file}", f"input_px={network.input_px}"]
    return [*named, *network.settings]


def _data() -> Path:
    return Path(os.environ["REAL_DATA_DIR"]).absolute()


def scores_in(experiments: list[Experiment], store: ArtifactStore) -> Scores:
    """Return the scores of every model on every image that finished experiments have tested."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for experiment in experiments:
        plan = make_plan(experiment, store)
        for result in plan.results:
            for photograph, score in _test_scores(result, store):
                found[result.model][photograph].append(score)
    return found


def _test_scores(result: ModelResult, store: ArtifactStore) -> Iterator[tuple[str, float]]:
    images = ImageSet.open(store.path(store.manifest(result.evaluation).input_refs["images"]))
    names = [images.ids[row] for row in images.rows_of("test")]
    return zip(names, image_scores(result, "test", store), strict=True)


def table(found: Mapping[str, Scores]) -> Table:
    """One line for each row of the protocol: means in percent, and paired differences with their standard errors."""
    shown = Table("", "photographs", "teacher", START, CONTROL, DISTILLED, "to probed", "to finetuned", "ft to probed")
    for name, scores in found.items():
        teacher = next(model for model in scores if model.startswith("teacher"))
        means = [
            f"{100 * statistics.mean(means_of(scores[model])):.1f}" for model in (teacher, START, CONTROL, DISTILLED)
        ]
        pairs = ((DISTILLED, START), (DISTILLED, CONTROL), (CONTROL, START))
        differences = [written(difference(scores, model, reference)) for model, reference in pairs]
        shown.add_row(name, str(len(scores[START])), *means, *differences)
    return shown


def means_of(by_photograph: Mapping[str, list[float]]) -> list[float]:
    """Return the mean score of each photograph over the runs that test it, in the order of their ids."""
    return [statistics.mean(by_photograph[name]) for name in sorted(by_photograph)]


def difference(scores: Scores, model: str, reference: str) -> Difference:
    """Return how much better a model is than another one, on the photographs of both."""
    return paired_difference([means_of(scores[model])], means_of(scores[reference]))


def written(found: Difference) -> str:
    """Return a difference in points of a hundred, with its standard error, and a star where it is more than chance."""
    star = "*" if found.is_clear else ""
    return f"{100 * found.mean:+.1f} (SE {100 * found.standard_error:.1f}){star}"


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
