"""The command that runs a study: one preset in many variants, of which nothing is made twice."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from taskdistill.configs.counting import counted
from taskdistill.configs.study_loading import Given, command_of, load_study, points_of
from taskdistill.flows import completing
from taskdistill.flows.birds import draw_where_missing
from taskdistill.flows.commands.missing_store import say_if_missing
from taskdistill.flows.pipeline.forecast import (
    by_other_images,
    other_images_in_words,
    seconds_in_all,
    time_in_all,
    unknown_of,
)
from taskdistill.flows.pipeline.planning import PlannedStep
from taskdistill.flows.pipeline.room import check_room
from taskdistill.flows.pipeline.running import ExecuteStep, ShowStep
from taskdistill.flows.pipeline.slots import probable_slots
from taskdistill.flows.pipeline.study import StudyPlan, plan_study, run_study
from taskdistill.flows.pipeline.study_rungs import num_going_on
from taskdistill.flows.pipeline.work import Work, works
from taskdistill.flows.printing import AsJson, errors, output, print_json, print_table
from taskdistill.flows.reports.study_plans import stage_table, study_plan_json, study_words
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.pace import taken
from taskdistill.tasks.stage import no_progress

commands = typer.Typer()


@commands.command()
def study(
    source: Annotated[
        str,
        typer.Argument(help="A study's name, a preset's, or a YAML file of either.", autocompletion=completing.studies),
    ],
    sweep: Annotated[
        list[str],
        typer.Option(
            help="Values of a setting: --sweep distill.temperature=1,2,4; repeatable: all combinations.",
            autocompletion=completing.settings,
        ),
    ] = [],  # noqa: B006
    set_: Annotated[
        list[str],
        typer.Option("--set", help="A setting of all points: --set seeds=0,1,2.", autocompletion=completing.settings),
    ] = [],  # noqa: B006
    baseline: Annotated[
        list[str],
        typer.Option(help="What is compared with: --baseline distill.temperature=2, or model='student finetuned'."),
    ] = [],  # noqa: B006
    preset: Annotated[
        str, typer.Option(help="Another preset than the study's.", autocompletion=completing.presets)
    ] = "",
    halving: Annotated[
        int | None,
        typer.Option(min=0, help="One in so many points, the best by the first seed, has the other seeds too; 0: all."),
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Only say what there is to do and what it costs.")] = False,
    folder: Annotated[Path | None, typer.Option(help="Where tables and page go; study-NAME if not given.")] = None,
    as_json: AsJson = False,
) -> None:
    """Run a preset in many variants, each shared step once, and compare what comes out.

    Kill it whenever you like: the same command goes on.
    """
    store = ArtifactStore.from_env()
    if plan:  # before the images are looked at: what is known of them is kept in the store's folder
        say_if_missing(store)
    given = Given(preset, set_, sweep, baseline, halving)
    asked = load_study(source, given)
    points = points_of(asked)
    for point in points:
        draw_where_missing(point.experiment)
    planned = plan_study(asked, points, store)
    if plan:
        _print_plan(planned, store, as_json=as_json)
        return
    _run(planned, store, folder or Path(f"study-{asked.name}"), command_of(source, given), as_json=as_json)


def _print_plan(planned: StudyPlan, store: ArtifactStore, *, as_json: bool) -> None:
    experiment, steps = planned.plans[0].experiment, planned.steps
    work = works(steps, store, experiment.runtime)
    if as_json:
        print_json({"store": str(store.root)} | study_plan_json(planned, work))
    else:
        for line in study_words(planned):
            output.print(line)
        print_table(f"in {store.root}", stage_table(planned, work))
        if not planned.is_complete:
            for line in _time(planned, work, store):
                output.print(line)
    check_room(steps, experiment, store)


def _time(planned: StudyPlan, work: Mapping[str, Work], store: ArtifactStore) -> Iterator[str]:
    """Say how long it takes, as far as that is known, and how to know more."""
    steps, experiment = planned.steps, planned.plans[0].experiment
    rung = "First rung: " if planned.is_first_rung else ""
    yield rung + time_in_all(steps, work, probable_slots(experiment.runtime, steps))
    if planned.is_first_rung:
        yield _time_of_both_rungs(planned, work, store)
    if others := by_other_images(steps, work):
        yield other_images_in_words(others)
    if others or unknown_of(steps, work):
        yield (
            f"'taskdistill plan {quote(planned.study.preset)} --calibrate', with the same --set, measures on a few "
            "images what the points have in common with the preset."
        )


def _time_of_both_rungs(planned: StudyPlan, work: Mapping[str, Work], store: ArtifactStore) -> str:
    """Say how long the study takes with the other seeds of as many points as go on, taken to cost as much as others."""
    every = works(planned.every_seed, store, planned.plans[0].experiment.runtime)
    if unknown_of(planned.every_seed, every):
        return "How long the other seeds of those that go on take is not known yet."
    first, whole = _seconds(planned.steps, work, planned), _seconds(planned.every_seed, every, planned)
    share = num_going_on(planned.study, len(planned.points)) / len(planned.points)
    return f"With the other seeds of those that go on: about {taken(first + share * max(0.0, whole - first))} in all."


def _seconds(steps: Sequence[PlannedStep], work: Mapping[str, Work], planned: StudyPlan) -> float:
    missing = [step for step in steps if step.action != "have"]
    return seconds_in_all(missing, work, probable_slots(planned.plans[0].experiment.runtime, steps))


def _run(planned: StudyPlan, store: ArtifactStore, folder: Path, command: str, *, as_json: bool) -> None:
    """Do what is missing, write the tables and print what came out."""
    from taskdistill.flows.pipeline.console import on_console
    from taskdistill.flows.reports.study import print_study
    from taskdistill.flows.reports.study_choice import best
    from taskdistill.flows.reports.study_files import BEST, study_for_programs, write_study
    from taskdistill.flows.reports.study_latency import latencies_of
    from taskdistill.flows.reports.study_rows import StudyRows

    if not as_json:
        for line in study_words(planned):
            output.print(line)
    finished = sum(step.action == "have" for step in planned.steps)
    errors.print(f"{finished} of {counted(len(planned.steps), 'step')} {'is' if finished == 1 else 'are'} there")
    with on_console(planned.plans[0].experiment, errors) as show:
        made = run_study(planned, store, _silent_where_finished(show))
    rows = StudyRows(made, store, latencies_of(made, store))
    written = write_study(folder, rows, store, command)
    if as_json:
        print_json(study_for_programs(rows) | {"stages": made.stages, "files": [str(path) for path in written]})
        return
    output.print()
    print_study(output, rows, store)
    output.print(f"\nWritten to {folder.absolute()}: {', '.join(path.name for path in written)}")
    if chosen := best(rows.all):
        output.print(f"Look at it:  taskdistill run {folder / BEST}")
        output.print(f"Use it:      taskdistill predict {chosen.results[0].artifact.short} FOLDER_OF_IMAGES")


def _silent_where_finished(show: ShowStep) -> ShowStep:
    """Show only steps that are to be done: a study has hundreds that are there."""

    def do(step: PlannedStep, execute: ExecuteStep) -> ArtifactRef:
        return execute(step, no_progress) if step.action == "have" else show(step, execute)

    return do
