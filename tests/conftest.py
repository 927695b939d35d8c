"""Fixtures that several folders use. Expensive ones are made once a session and copied for each test that writes."""

import fcntl
import os
import pickle
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

import hypothesis
import numpy as np
import pytest
import torch

from taskdistill.configs.base import StageConfig
from taskdistill.configs.data import IngestConfig, ViewSettings
from taskdistill.configs.models import Backbone
from taskdistill.configs.runtime import RuntimeConfig
from taskdistill.configs.stages import ExtractConfig, PrecomputeConfig, ProbeConfig, ProbeSettings
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.view_outputs import ViewOutputs
from taskdistill.tasks.catalog import EXTRACT, INGEST, PRECOMPUTE, PROBE
from taskdistill.tasks.stage import OnProgress, Stage, execute, no_progress
from tests.fakes import write_shapes

torch.set_num_threads(1)
# The same examples on every run, however slow the machine is today, and nothing written beside the code.
hypothesis.settings.register_profile("taskdistill", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("taskdistill")

RUNTIME = RuntimeConfig(
    device="cpu", workers=2, inference_batch_size=16, image_cache_mb=64, logits_cache_mb=64, slots=1, kept_views_mb=0
)
VIEWS = ViewSettings(num_views=2)
TEACHER = Backbone(name="test_vit", weights="random", input_px=48)
STUDENT = Backbone(name="test_resnet", weights="random", input_px=32)
PROBE_SETTINGS = ProbeSettings(inputs=("last",), learning_rates=(1e-2, 1.0), steps=60, batch_size=16)

Run = Callable[..., ArtifactRef]


class Bench(NamedTuple):
    """A store with a small dataset in it and everything a student needs: 3 classes, 8 / 4 / 4 images of each."""

    store: ArtifactStore
    images: ArtifactRef
    features: ArtifactRef
    probe: ArtifactRef
    logits: ArtifactRef
    student_features: ArtifactRef
    student_probe: ArtifactRef

    def run(
        self,
        stage: Stage[Any],
        config: StageConfig,
        *,
        on_progress: OnProgress = no_progress,
        runtime: Mapping[str, Any] = MappingProxyType({}),
        **inputs: ArtifactRef,
    ) -> ArtifactRef:
        """Execute a stage here on the CPU; inputs by role, `runtime` for what differs from RUNTIME."""
        settings = RUNTIME.model_copy(update=dict(runtime))
        return execute(stage, config, inputs, store=self.store, runtime=settings, on_progress=on_progress)

    def copied(self, root: Path) -> "Bench":
        shutil.copytree(self.store.root, root)
        return self._replace(store=ArtifactStore(root))

    def path(self, ref: ArtifactRef) -> Path:
        return self.store.path(ref)

    def summary(self, ref: ArtifactRef) -> Mapping[str, Any]:
        return self.store.manifest(ref).summary


Made = TypeVar("Made")


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], Made]) -> Made:
    """Make something in a folder of its own, or load what another worker made there: one worker works, others wait.

    For read-only fixtures of a session, which pytest-xdist would otherwise make once in each of its processes.
    """
    root = factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root
    folder, answer = root / "made_once" / name, root / "made_once" / f"{name}.pickle"
    folder.mkdir(parents=True, exist_ok=True)
    with answer.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not answer.is_file():
            answer.write_bytes(pickle.dumps(make(folder)))
    made: Made = pickle.loads(answer.read_bytes())
    return made


def said_of(outputs: ViewOutputs, images: ImageSet, rows: Sequence[int] | np.ndarray, view: int) -> np.ndarray:
    """Return what a network said of one view of these rows of the image-set, [n, ...] float16."""
    return outputs.view(view)[outputs.rows_of([images.ids[row] for row in rows], view)]


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    """An empty store."""
    return ArtifactStore(tmp_path / "store")


@pytest.fixture
def run(store: ArtifactStore) -> Run:
    """Execute a stage in the empty store: run(STAGE, config, {"images": ref}, **settings of the runtime)."""

    def run_stage(
        stage: Stage[Any],
        config: StageConfig,
        inputs: Mapping[str, ArtifactRef] | None = None,
        on_progress: OnProgress = no_progress,
        **runtime: Any,
    ) -> ArtifactRef:
        settings = RUNTIME.model_copy(update=runtime)
        return execute(stage, config, inputs or {}, store=store, runtime=settings, on_progress=on_progress)

    return run_stage


@pytest.fixture(scope="session")
def shapes_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 pictures of 3 shapes as split/class/file.png, 40 px a side. Read only."""
    images_per_class = {"train": 8, "val": 4, "test": 4}
    return made_once(tmp_path_factory, "shapes", lambda folder: write_shapes(folder, images_per_class))


@pytest.fixture(scope="session")
def finished_bench(tmp_path_factory: pytest.TempPathFactory, shapes_folder: Path) -> Bench:
    """The shapes, ingested, with a probed ViT as teacher, its logits, and a probed ResNet as student. Read only."""
    return made_once(tmp_path_factory, "bench", lambda folder: _make_bench(folder / "store", shapes_folder))


def _make_bench(root: Path, shapes_folder: Path) -> Bench:
    store = ArtifactStore(root)

    def make(stage: Stage[Any], config: StageConfig, **inputs: ArtifactRef) -> ArtifactRef:
        return execute(stage, config, inputs, store=store, runtime=RUNTIME)

    probe_config = ProbeConfig(probe=PROBE_SETTINGS)
    images = make(INGEST, IngestConfig(path=str(shapes_folder)))
    features = make(EXTRACT, ExtractConfig(backbone=TEACHER, views=VIEWS), images=images)
    probe = make(PROBE, probe_config, images=images, features=features)
    logits = make(PRECOMPUTE, PrecomputeConfig(), features=features, probe=probe)
    student_features = make(EXTRACT, ExtractConfig(backbone=STUDENT, views=VIEWS), images=images)
    student_probe = make(PROBE, probe_config, images=images, features=student_features)
    return Bench(store, images, features, probe, logits, student_features, student_probe)


@pytest.fixture(scope="session")
def workshop(finished_bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A copy that tests may add to: as artifacts never change, they cannot disturb each other, and share the work."""
    return finished_bench.copied(tmp_path_factory.mktemp("shared") / "store")


@pytest.fixture
def bench(finished_bench: Bench, tmp_path: Path) -> Bench:
    """A copy for one test: to discard in, to die in, or to build with other adapters."""
    return finished_bench.copied(tmp_path / "bench")


@pytest.fixture(scope="session")
def mixer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny ImageMixer of random weights. Read only."""
    from tests.tiny_mixer import write_tiny_mixer  # diffusers takes seconds to import

    return made_once(tmp_path_factory, "mixer", lambda folder: write_tiny_mixer(folder / "tiny"))


@pytest.fixture(scope="module")
def bare_pictures() -> Iterator[None]:
    """Pictures have no frames and numbers at their axes, which take longer to draw than a test's training takes."""
    from matplotlib import rc_context

    frames = {f"axes.spines.{side}": False for side in ("left", "right", "top", "bottom")}
    ticks = dict.fromkeys(("xtick.bottom", "xtick.labelbottom", "ytick.left", "ytick.labelleft"), False)
    with rc_context(frames | ticks):
        yield


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real images and weights; skips where REAL_DATA_DIR is not set."""
    if not (folder := os.environ.get("REAL_DATA_DIR")):
        pytest.skip("REAL_DATA_DIR is not set")
    return Path(folder)


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB, truly full after that; skips where mounting is not allowed."""
    folder = tmp_path / "tiny_disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root")
    yield folder
    # Lazily: the error that a test caught may still hold the file it could not write.
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
