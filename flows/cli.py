"""The command line. Torch is imported only when there is work, so that help and plan answer in about a second."""

import logging
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from taskdistill.configs.errors import SettingsError
from taskdistill.configs.experiment import Experiment
from taskdistill.configs.loading import load_experiment
from taskdistill.flows import completing
from taskdistill.flows.commands.compare import commands as compare_commands
from taskdistill.flows.commands.hand_over import commands as hand_over_commands
from taskdistill.flows.commands.looking_up import commands as looking_up_commands
from taskdistill.flows.commands.miniature import commands as miniature_commands
from taskdistill.flows.commands.missing_store import say_if_missing
from taskdistill.flows.commands.operation import commands as operation_commands
from taskdistill.flows.commands.planning import measure, tell
from taskdistill.flows.commands.predict import commands as predict_commands
from taskdistill.flows.commands.removing import commands as removing_commands
from taskdistill.flows.commands.reporting import commands as reporting_commands
from taskdistill.flows.commands.showing import commands as showing_commands
from taskdistill.flows.commands.store import commands
from taskdistill.flows.commands.study import commands as study_commands
from taskdistill.flows.ending.ending import EndsInWords
from taskdistill.flows.ending.interruption import stopped_by_signals
from taskdistill.flows.pipeline.chain import ModelResult
from taskdistill.flows.pipeline.licensing import licence_warnings
from taskdistill.flows.pipeline.planning import make_plan
from taskdistill.flows.pipeline.room import check_room
from taskdistill.flows.printing import (
    AsJson,
    LogOnStderr,
    errors,
    output,
    print_any_character,
    print_json,
)
from taskdistill.storage.formats import PROGRAM
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.provenance import code_commit, version_of
from taskdistill.storage.store import ArtifactStore

app = typer.Typer(
    cls=EndsInWords,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(looking_up_commands)
app.add_typer(showing_commands)
app.add_typer(compare_commands)
app.add_typer(study_commands)
app.add_typer(commands)
app.add_typer(removing_commands)
app.add_typer(reporting_commands)
app.add_typer(predict_commands)
app.add_typer(hand_over_commands)
app.add_typer(operation_commands)
app.add_typer(miniature_commands, name="miniature")

Source = Annotated[str, typer.Argument(help="A preset's name, or a YAML file.", autocompletion=completing.presets)]
Overrides = Annotated[
    list[str],
    typer.Option(
        "--set", help="Change a setting: --set distill.alpha=0.5; repeatable.", autocompletion=completing.settings
    ),
]
Rehash = Annotated[bool, typer.Option(help="Read all images and weights again: for file systems that hide changes.")]
Calibrate = Annotated[
    bool,
    typer.Option("--calibrate", help="Run a small part of it first, for some minutes, to measure how long all takes."),
]
Synthetic = Annotated[str, typer.Option(help="Image-set of synthetic images: a label or reference.")]


class Shown(StrEnum):
    """What a demonstration learns."""

    CLASSIFICATION = "classification"
    SEGMENTATION = "segmentation"


def main() -> None:
    """Run the command line; errors meant for people are printed without a traceback."""
    print_any_character()
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[LogOnStderr()])
    for chatty in (
        "httpx",
        "timm",
        "taskdistill.tasks.stage",
        "taskdistill.tasks.training.trainer",
    ):  # flows.pipeline shows progress
        logging.getLogger(chatty).setLevel(logging.ERROR)
    with stopped_by_signals():
        app()


def _tell_version(is_asked: bool) -> None:
    if is_asked:
        output.print(f"taskdistill {version_of(PROGRAM)}, commit {code_commit()[:12]}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and stop.", is_eager=True, callback=_tell_version),
    ] = False,
) -> None:
    """Distil a large pretrained vision model into a small one for your own task."""


@app.command()
def plan(
    source: Source,
    set_: Overrides = [],  # noqa: B006
    synthetic: Synthetic = "",
    rehash: Rehash = False,
    calibrate: Calibrate = False,
    as_json: AsJson = False,
) -> None:
    """Say what a run would do: have, resume, build, or stale because of what; how much there is to compute for each
    step, and how large it will be. Fails where the disk has no room for it.
    """
    store, experiment = _asked(source, set_, rehash=rehash)
    say_if_missing(store)
    planned = make_plan(experiment, store, synthetic=_synthetic(store, synthetic))
    if calibrate:
        measure(planned, store, synthetic)
    tell(planned, store, as_json=as_json, hint="" if calibrate else "With --calibrate it is measured on a few images.")
    check_room(planned.steps, experiment, store)  # at the end: the table shows what is too large


@app.command()
def run(
    source: Source,
    set_: Overrides = [],  # noqa: B006
    synthetic: Synthetic = "",
    rehash: Rehash = False,
    as_json: AsJson = False,
) -> None:
    """Run the whole pipeline, doing only what is missing, and print the scores."""
    from taskdistill.flows.pipeline.console import on_console
    from taskdistill.flows.pipeline.running import run_plan
    from taskdistill.flows.reports.page.ending import report_of_run
    from taskdistill.flows.reports.page.subjects import command_of
    from taskdistill.flows.reports.remarks import scores_for_programs

    store, experiment = _asked(source, set_, rehash=rehash)
    extra = _synthetic(store, synthetic)
    with on_console(experiment, errors) as show:
        results, stages = run_plan(experiment, store, show, synthetic=extra)
    report = report_of_run(experiment, results, stages, store, command_of(source, set_, synthetic))
    if as_json:
        print_json(scores_for_programs(results, store) | {"stages": stages, "report": report and str(report)})
    else:
        _print_results(experiment, results, store, report)
    if experiment.runtime.mlflow_uri:  # last: it costs nobody the results
        from taskdistill.flows.reports.mlflow_runs import tell_mlflow

        tell_mlflow(experiment, results, stages, store, report)


def _print_results(
    experiment: Experiment, results: Sequence[ModelResult], store: ArtifactStore, report: Path | None
) -> None:
    from taskdistill.flows.reports.remarks import print_scores
    from taskdistill.flows.reports.shipping import best_commands, best_student, without_use

    print_scores(output, results, store, experiment.name)
    output.print()
    for student in (result for result in results if result.seed is not None):
        seed = f", seed {student.seed}" if len(experiment.seeds) > 1 else ""
        output.print(f"{student.model}{seed}: {student.artifact.short}, in {store.path(student.artifact)}")
    if best := best_student(results, store):
        output.print("\nThere is nothing to choose between:" if without_use(results, store) else f"\n{best}")
        output.print("\n".join(best_commands(best, f"my-{experiment.name}")))
    if report:
        output.print(f"\nThe report is {report}: open it in a browser")


@app.command()
def demo(
    folder: Annotated[Path, typer.Option(help="Where the dataset and the report are written.")] = Path("demo"),
    world: Annotated[int, typer.Option(min=0, help="A seed: other species, other pictures.")] = 0,
    problem: Annotated[
        Shown, typer.Option(help="classification: of which species a bird is; segmentation: the parts of birds.")
    ] = Shown.CLASSIFICATION,
    set_: Overrides = [],  # noqa: B006
    as_json: AsJson = False,
) -> None:
    """Run the whole pipeline on an embedded world of birds: no data, no download, a few minutes on a CPU."""
    from taskdistill.flows.birds import TASKS
    from taskdistill.flows.commands.demo import demonstrate
    from taskdistill.flows.reports.mlflow_runs import tell_mlflow
    from taskdistill.flows.reports.remarks import print_scores, scores_for_programs

    store = ArtifactStore.from_env()
    done = demonstrate(folder, world, set_, store, errors, TASKS[problem])
    if as_json:
        scores = scores_for_programs(done.results, store)
        print_json(scores | {"stages": done.stages, "report": str(done.report)})
    else:
        print_scores(output, done.results, store, f"{done.experiment.name}, world {world}")
        output.print(f"\nThe report is {done.report.absolute()}: open it in a browser")
        output.print("Next:        " + "\n             ".join(done.next_commands))
    tell_mlflow(done.experiment, done.results, done.stages, store, done.report)


@app.command()
def stage(
    name: Annotated[
        str,
        typer.Argument(
            help="A step such as distill-seed0, or a stage such as distill: all its steps.",
            autocompletion=completing.stages,
        ),
    ],
    source: Source,
    set_: Overrides = [],  # noqa: B006
    inputs: Annotated[list[str], typer.Option("--input", help="Another input: --input logits=LABEL; repeatable.")] = [],  # noqa: B006
    synthetic: Synthetic = "",
    rehash: Rehash = False,
    as_json: AsJson = False,
) -> None:
    """Run one stage alone; what it needs must be in the store."""
    from taskdistill.flows.pipeline.console import on_console
    from taskdistill.flows.pipeline.running import run_steps

    store, experiment = _asked(source, set_, rehash=rehash)
    given = dict(_input(store, text) for text in inputs)
    extra = _synthetic(store, synthetic)
    with on_console(experiment, errors) as show:
        made = run_steps(experiment, name, store, show, inputs=given, synthetic=extra)
    if as_json:
        print_json({"made": [str(ref) for ref in made]})
        return
    for ref in made:
        output.print(f"{ref}  {store.path(ref)}")


@app.command()
def convert_image_mixer(
    checkpoint: Annotated[Path, typer.Argument(help="The original image-mixer-pruned.ckpt.")],
    folder: Annotated[Path, typer.Argument(help="A new folder for the pipeline.")],
) -> None:
    """Turn the original Image Mixer checkpoint into a folder of safetensors, running nothing that is in it."""
    from taskdistill.tasks.generators.convert_image_mixer import convert

    convert(checkpoint, folder)
    output.print(f"{folder} is a pipeline that tasks.generators.image_mixer.ImageMixerPipeline.from_pretrained loads")


def _asked(source: str, overrides: list[str], *, rehash: bool) -> tuple[ArtifactStore, Experiment]:
    """Return the store and the settings of a command, all files to be read anew where that is asked for."""
    store = ArtifactStore.from_env()
    if rehash:
        store.sources.forget_all()
    experiment = load_experiment(source, overrides)
    for warning in licence_warnings(experiment):
        errors.print(f"warning: {warning}")
    return store, experiment


def _synthetic(store: ArtifactStore, text: str) -> ArtifactRef | None:
    return store.resolve(text, "image-set") if text else None


def _input(store: ArtifactStore, text: str) -> tuple[str, ArtifactRef]:
    role, equals, name = text.partition("=")
    if not equals:
        raise SettingsError(f"--input {text!r}: expected role=artifact, such as logits=logits@3f9c12ab")
    return role, store.resolve(name)


if __name__ == "__main__":
    main()
