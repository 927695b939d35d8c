"""What each part of the recipe is worth by itself: the default against the same with one setting changed, on real
photographs, whether it helps or not.

    REAL_DATA_DIR=... python -m tests.benchmarks.clothing_alone --folder RUNS [--only "no mean of weights,alpha 1"]
        [--runs 3]

The photographs, networks and folds are those of row `main` of `tests.benchmarks.clothing_protocol`, and so may be the
folder. Nothing is chosen on validation here (`tuning.search=none`): it would choose something else for each line. Each
difference is that of the same student with the setting and without it, on the same photographs; the standard error is
over photographs, of one training in each fold. What is there is not computed again.
"""

import argparse
import statistics
from collections.abc import Mapping
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from taskdistill.flows.pipeline.chain import CONTROL
from taskdistill.tasks.functional.comparison import paired_difference
from tests.benchmarks.clothing_cuts import RUNS
from tests.benchmarks.clothing_protocol import (
    DISTILLED,
    LARGE,
    ROWS,
    Scores,
    difference,
    means_of,
    network_settings,
    scores_of,
    written,
)

CHANGES: dict[str, tuple[str, ...]] = {
    "default": (),
    "no mean of weights": ("training.ema=0",),
    "rate 3e-4": ("training.learning_rate=0.0003",),
    "4 views": ("views.num_views=4",),
    "300 steps": ("training.min_steps=300",),
    "1200 steps": ("training.min_steps=1200",),
    "layer decay 0.8": ("training.layer_decay=0.8",),
    "head first": ("training.head_first=0.2",),
    "stochastic depth": ("training.drop_path=0.1",),
    "alpha 0.5": ("distill.alpha=0.5",),
    "alpha 1": ("distill.alpha=1.0",),
    "temperature 1": ("distill.temperature=1.0",),
    "temperature 4": ("distill.temperature=4.0",),
    "alpha 1 with temperature 4": ("distill.alpha=1.0", "distill.temperature=4.0"),
    "mixup of views": ("distill.mix_views=mixup",),
    "cutmix of views": ("distill.mix_views=cutmix",),
    "logits out of fold": ("teacher_logits=out-of-fold", "probe.folds=5"),
    "calibrated teacher": ("teacher_calibration=temperature",),
    "two teachers": (),
}
"""A line of the table -> what is set; "two teachers" is set where the folder of weights is known."""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--folder", type=Path, required=True)
    options.add_argument("--only", default=",".join(CHANGES), help="lines of the table; the default is always one")
    options.add_argument("--runs", type=int, default=len(RUNS), help="as many folds, the first ones")
    arguments = options.parse_args()
    found: dict[str, Scores] = {}
    for name in dict.fromkeys(["default", *arguments.only.split(",")]):
        settings = ["tuning.search=none", *settings_of(name)]
        found[name] = scores_of(ROWS["main"], arguments.folder, settings, RUNS[: arguments.runs])
        Console(width=160).print(table(found))


def settings_of(name: str) -> tuple[str, ...]:
    """Return what is set for one line."""
    if name != "two teachers":
        return CHANGES[name]
    entries = ", ".join(setting.replace("=", ": ", 1) for setting in network_settings(LARGE))
    return (f"more_teachers={{{entries}}}",)


def table(found: Mapping[str, Scores]) -> Table:
    """One line for each change: means in percent, and paired differences to the default with standard errors."""
    shown = Table("", "photographs", "teacher", CONTROL, "to default", DISTILLED, "to default", "distilled - finetuned")
    for name, scores in found.items():
        taught = [model for model in scores if model.startswith("teacher")][-1]
        means = [f"{100 * statistics.mean(means_of(scores[model])):.1f}" for model in (taught, CONTROL, DISTILLED)]
        changed = [_to(found["default"], scores, model) for model in (CONTROL, DISTILLED)]
        shown.add_row(
            name, str(len(scores[CONTROL])), means[0], means[1], changed[0], means[2], changed[1],
            written(difference(scores, DISTILLED, CONTROL)),
        )  # fmt: skip
    return shown


def _to(default: Scores, scores: Scores, model: str) -> str:
    if scores is default or scores[model] == default[model]:
        return ""
    return written(paired_difference([means_of(scores[model])], means_of(default[model])))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
