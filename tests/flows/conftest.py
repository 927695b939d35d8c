"""An experiment on the shapes that fits the bench of tests/conftest.py, and ways to run it."""

import contextlib
import io
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from taskdistill.configs.data import IngestConfig
from taskdistill.configs.experiment import Experiment
from taskdistill.configs.generation import BlendSettings, GeneratorModel
from taskdistill.configs.loading import dump_preset
from taskdistill.configs.training import TrainingSettings
from taskdistill.flows import cli
from taskdistill.flows.pipeline.planning import PlannedStep
from taskdistill.flows.pipeline.running import ExecuteStep, ShowStep, experiment_settings_of, run_plan
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.stage import execute as execute_here
from taskdistill.tasks.stage import no_progress
from tests.conftest import PROBE_SETTINGS, RUNTIME, STUDENT, TEACHER, VIEWS, Bench, made_once
from tests.flows.local_server import Served, asked, machine, password_of, refill


class Done(NamedTuple):
    """What one call of the command line did."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


Command = Callable[..., Done]


def call(store: ArtifactStore, *arguments: str) -> Done:
    """Call the command line as a user does, here in this process, on this store."""
    stdout, stderr = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TASKDISTILL_STORE", str(store.root))
        patch.setattr(sys, "argv", ["taskdistill", *arguments])
        with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
            try:
                cli.main()
                code = 0
            except SystemExit as exit_:
                code = int(exit_.code or 0)
    return Done(code, stdout.getvalue(), stderr.getvalue())


def quietly(experiment: Experiment, store: ArtifactStore) -> ShowStep:
    """Have each step done, or do it here and now, telling nobody."""

    def do(step: PlannedStep, execute: ExecuteStep | None = None) -> ArtifactRef:
        if execute:
            return execute(step, no_progress)
        named = {"runtime": experiment.runtime, "noted": {"settings": experiment_settings_of(experiment)}}
        return execute_here(step.stage, step.config, step.inputs, store=store, **named)

    return do


def when_made(store: ArtifactStore) -> dict[ArtifactRef, tuple[str, int]]:
    """Time each artifact was made, as its manifest and its file system say: building it again would change both."""
    return {
        ref: (store.manifest(ref).provenance["made"], (store.path(ref) / "manifest.json").stat().st_mtime_ns)
        for ref in store.references()
    }


def write_preset(path: Path, experiment: Experiment) -> str:
    path.write_text(dump_preset(experiment_settings_of(experiment)))
    return str(path)


def as_overrides(experiment: Experiment) -> list[str]:
    """Every setting of an experiment as a line of a form, or of --set."""
    values = experiment_settings_of(experiment)
    return [f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in values.items()]


@pytest.fixture(scope="session")
def experiment(shapes_folder: Path) -> Experiment:
    """A probed ViT teaches a ResNet the shapes, with the settings of the bench."""
    return Experiment(
        name="shapes",
        data=IngestConfig(path=str(shapes_folder)),
        teacher=TEACHER,
        student=STUDENT,
        views=VIEWS,
        probe=PROBE_SETTINGS,
        student_probe=PROBE_SETTINGS,
        training=TrainingSettings(epochs=2, batch_size=8),
        runtime=RUNTIME,
    )


@pytest.fixture
def of_other_images(experiment: Experiment, shapes_folder: Path, tmp_path: Path) -> Experiment:
    """The same on a folder that lacks one of the training images."""
    others = tmp_path / "others"
    shutil.copytree(shapes_folder, others)
    next(others.rglob("train/*/*.png")).unlink()
    return experiment.model_copy(update={"data": experiment.data.model_copy(update={"path": str(others)})})


@pytest.fixture(scope="session")
def with_finetuned_teacher(experiment: Experiment) -> Experiment:
    return experiment.model_copy(update={"teacher_training": "finetuned"})


@pytest.fixture(scope="session")
def with_blends(experiment: Experiment, mixer_folder: Path) -> Experiment:
    """The same with a blend for each of the 24 training images."""
    blends = BlendSettings(per_image=1, side_px=16, num_steps=2, encoding="png")
    update = {"synthetic_images": "blends", "generator": GeneratorModel(folder=str(mixer_folder)), "blends": blends}
    return experiment.model_copy(update=update)


@pytest.fixture(scope="session")
def preset(experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The experiment as a YAML file."""
    return made_once(tmp_path_factory, "preset", lambda folder: write_preset(folder / "shapes.yaml", experiment))


@pytest.fixture(scope="session")
def first_run(finished_bench: Bench, preset: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Done]:
    """The store after `run --json` on a copy of the bench, and what the command said. Read only."""
    return made_once(
        tmp_path_factory, "first_run", lambda folder: _run(finished_bench.store.root, folder / "store", preset)
    )


@pytest.fixture(scope="session")
def run_store(first_run: tuple[Path, Done]) -> ArtifactStore:
    return ArtifactStore(first_run[0])


@pytest.fixture(scope="session")
def student(run_store: ArtifactStore) -> ArtifactRef:
    """The distilled student of that run."""
    [ref] = [ref for ref, recipe in run_store.recipes("model") if recipe["stage"] == "distill"]
    return ref


def _run(before: Path, root: Path, preset: str) -> tuple[Path, Done]:
    """Run the preset on a copy of a store."""
    shutil.copytree(before, root)
    return root, call(ArtifactStore(root), "run", preset, "--json")


@pytest.fixture(scope="session")
def preset_with_blends(with_blends: Experiment, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The experiment with blends as a YAML file."""
    return made_once(tmp_path_factory, "blends", lambda folder: write_preset(folder / "shapes.yaml", with_blends))


@pytest.fixture(scope="session")
def run_with_blends(
    first_run: tuple[Path, Done], preset_with_blends: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Done]:
    """The store after `run --json` with blends where it had run without, and what the command said. Read only."""
    return made_once(
        tmp_path_factory, "run_with_blends", lambda folder: _run(first_run[0], folder / "store", preset_with_blends)
    )


@pytest.fixture(scope="session")
def complete(
    run_with_blends: tuple[Path, Done], with_finetuned_teacher: Experiment, tmp_path_factory: pytest.TempPathFactory
) -> ArtifactStore:
    """A store with the experiment finished: with a probed teacher, a finetuned one, and with blends. Read only."""
    root = tmp_path_factory.mktemp("complete") / "store"
    shutil.copytree(run_with_blends[0], root)
    store = ArtifactStore(root)
    run_plan(with_finetuned_teacher, store, quietly(with_finetuned_teacher, store))
    return store


@pytest.fixture
def finished(first_run: tuple[Path, Done], tmp_path: Path) -> ArtifactStore:
    """A copy of the store with the experiment finished, to write to."""
    shutil.copytree(first_run[0], tmp_path / "finished")
    return ArtifactStore(tmp_path / "finished")


@pytest.fixture
def taskdistill(finished: ArtifactStore) -> Command:
    """The command line on the store with the finished experiment."""
    return lambda *arguments: call(finished, *arguments)


# --- Prefect -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def four_epochs(experiment: Experiment) -> Experiment:
    """The preset that the forms of the server offer beside those of the program."""
    training = experiment.training.model_copy(update={"epochs": 4})
    return experiment.model_copy(update={"name": "four-epochs", "training": training})


@pytest.fixture(scope="session")
def server(four_epochs: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """`taskdistill up` on a free port of this machine; returns the environment that leads to it."""
    presets = tmp_path_factory.mktemp("presets")
    write_preset(presets / "four-epochs.yaml", four_epochs)
    with machine(tmp_path_factory.mktemp("machine"), "--presets", str(presets)) as environment:
        yield environment


@pytest.fixture(scope="session")
def password(server: dict[str, str]) -> str:
    """The text of the file that `taskdistill up` has made."""
    return password_of(server)


@pytest.fixture(scope="session")
def client(server: dict[str, str]) -> Iterator[Any]:
    """A client of the server; flows of this process go there as well."""
    with asked(server) as client:
        yield client


@pytest.fixture(scope="module")
def served(server: dict[str, str], client: Any, finished_bench: Bench) -> Served:
    """What `taskdistill up` offers, and its store, which holds the finished bench and is written to."""
    store = ArtifactStore(Path(server["TASKDISTILL_STORE"]))
    refill(store, finished_bench.store)
    return Served(client, store, Path(server["TASKDISTILL_HOME"]) / "worker.log")
