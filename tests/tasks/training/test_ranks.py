"""Several ranks train one network together: they take the steps of one that trains alone, and end together."""

import io
import multiprocessing
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from taskdistill.configs.base import StageConfig
from taskdistill.configs.errors import SettingsError
from taskdistill.configs.experiment import Experiment
from taskdistill.configs.runtime import RuntimeConfig
from taskdistill.configs.stages import DistillConfig, FinetuneConfig
from taskdistill.configs.training import TrainingSettings
from taskdistill.storage.errors import CacheMismatchError
from taskdistill.storage.image_set import ImageRow, write_index, write_shard
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.tables import read_table
from taskdistill.tasks.catalog import FINETUNE
from taskdistill.tasks.functional.shares import Share
from taskdistill.tasks.models.device import check_ranks_have_devices
from taskdistill.tasks.models.encoder import ModelError
from taskdistill.tasks.stage import StageContext
from taskdistill.tasks.training.checkpoint import load
from taskdistill.tasks.training.launching import RankKilledError, on_ranks
from taskdistill.tasks.training.ranks import Ranks
from tests.conftest import RUNTIME, STUDENT, VIEWS, Bench
from tests.tasks.training import rank_work

pytestmark = pytest.mark.usefixtures("bare_pictures")

# 24 training images, 9 a step, of which one rank takes 4 and the other 5: 16 steps.
TRAINING = TrainingSettings(epochs=6, batch_size=9, learning_rate=1e-3, mixup=1.0, ema=0.7)
CONFIG = FinetuneConfig(backbone=STUDENT, views=VIEWS, training=TRAINING)
TWO = {"ranks": 2, "checkpoint_seconds": 1e-9}


def finetune(bench: Bench, **named: Any) -> ArtifactRef:
    return bench.run(FINETUNE, CONFIG, images=bench.images, probe=bench.student_probe, **named)


@pytest.fixture(scope="module")
def together(finished_bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A store in which two ranks have trained."""
    bench = finished_bench.copied(tmp_path_factory.mktemp("together") / "store")
    finetune(bench, runtime=TWO)
    return bench


# --- the same steps ----------------------------------------------------------------------------------------------


def test_two_ranks_come_to_the_losses_scores_and_weights_of_one(together: Bench, bench: Bench) -> None:
    ref = finetune(bench)
    curves = [read_table(place.path(ref) / "history.parquet") for place in (together, bench)]
    assert [row["step"] for row in curves[0]] == [0, 3, 6, 8, 11, 14, 16]
    for theirs, alone in zip(*curves, strict=True):
        assert theirs.keys() == alone.keys()
        for name in (name for name, value in alone.items() if value is not None):
            assert theirs[name] == pytest.approx(alone[name], rel=1e-5)
    weights = [load_file(place.path(ref) / "last.safetensors") for place in (together, bench)]
    for name, tensor in weights[1].items():
        torch.testing.assert_close(weights[0][name], tensor, rtol=1e-4, atol=1e-5)


def test_gradients_and_losses_of_every_lesson_are_those_of_one_where_shares_count_differently(
    workshop: Bench, tmp_path: Path
) -> None:
    roles = {"images": workshop.images, "logits": workshop.logits, "probe": workshop.student_probe}
    roles |= {"synthetic": workshop.images, "synthetic_logits": workshop.logits}
    inputs = {role: workshop.path(ref) for role, ref in roles.items()}
    config = DistillConfig(backbone=STUDENT, views=VIEWS)
    for ranks in (1, 2):
        (tmp_path / str(ranks)).mkdir()
    on_ranks(rank_work.note_gradients, config, context_of(tmp_path / "2", inputs))
    rank_work.note_gradients(config, StageContext(inputs, tmp_path / "1", RUNTIME))
    for name in (*rank_work.FINETUNINGS, *rank_work.DISTILLATIONS):
        alone, theirs = (load_file(tmp_path / str(ranks) / f"{name}.safetensors") for ranks in (1, 2))
        assert theirs.keys() == alone.keys()
        for key in (key for key in alone if key.endswith("loss")):
            assert theirs[key].item() == pytest.approx(alone[key].item(), rel=1e-5)
        whole, summed = (torch.cat([some[key].flatten() for key in alone]) for some in (alone, theirs))
        assert whole.norm() > 0.01
        assert (summed - whole).norm() < 1e-5 * whole.norm()


def test_random_numbers_are_of_each_rank_and_of_the_first_those_of_one_alone() -> None:
    assert [Ranks(Share(rank, 3)).seeds(7, 3) for rank in range(3)] == [[7, 3], [7, 3, 1], [7, 3, 2]]


def test_worker_processes_cut_for_each_rank_and_end_with_it(tmp_path: Path) -> None:
    images, draft = tmp_path / "images", tmp_path / "draft"
    draft.mkdir()
    for_each = []
    for number, grey in enumerate((50, 200)):
        Image.new("RGB", (8, 8), (grey,) * 3).save(data := io.BytesIO(), "PNG")
        for_each.append(ImageRow(f"{number}.png", data.getvalue(), 8, 8, "train", 0))
    write_shard(images, 0, for_each)
    write_index(images, classes=["x", "y"], num_shards=1)
    context = context_of(draft, {"images": images}, loading="processes")
    on_ranks(rank_work.cut_by_processes, StageConfig(), context)
    found = [np.load(path)[:, 0, 0, 0].tolist() for path in draft.iterdir()]
    assert found == [[200, 50], [200, 50]]
    assert multiprocessing.active_children() == []


# --- an end ------------------------------------------------------------------------------------------------------


def test_a_rank_that_is_killed_ends_all_and_the_next_run_continues_to_the_same_bytes(
    together: Bench, bench: Bench
) -> None:
    steps = list[int]()

    def kill_second(unit: str, done: int, total: int) -> None:
        if done >= 3:
            next(process for process in multiprocessing.active_children() if process.name == "rank-1").kill()

    with pytest.raises(RankKilledError, match=r"^rank 1 of 2 \(process \d+\) was killed \(SIGKILL\): most often"):
        finetune(bench, runtime=TWO, on_progress=kill_second)
    assert multiprocessing.active_children() == []
    [draft] = bench.store.drafts().values()
    _, facts = load(draft) or ({}, {})
    assert 2 <= facts["step"] < 16
    ref = finetune(bench, runtime=TWO, on_progress=lambda unit, done, total: steps.append(done))
    assert steps[0] == facts["step"] + 1
    assert bench.store.manifest(ref).files == together.store.manifest(ref).files


@pytest.mark.nightly
def test_an_error_of_one_rank_is_raised_as_it_is_and_ends_the_others(tmp_path: Path) -> None:
    with pytest.raises(CacheMismatchError, match=r"^an image of the second rank$"):
        on_ranks(rank_work.second_fails, StageConfig(), context_of(tmp_path))
    assert multiprocessing.active_children() == []


STARTS_RANKS = """
import sys
from pathlib import Path
from taskdistill.configs.base import StageConfig
from taskdistill.configs.runtime import RuntimeConfig
from taskdistill.tasks.stage import StageContext
from taskdistill.tasks.training.launching import on_ranks
from tests.tasks.training.rank_work import wait_forever

on_ranks(wait_forever, StageConfig(), StageContext({}, Path(sys.argv[1]), RuntimeConfig(device="cpu", ranks=2)))
"""


@pytest.mark.parametrize("ending", [pytest.param(signal.SIGKILL, marks=pytest.mark.nightly), signal.SIGINT])
def test_ranks_end_with_who_started_them(tmp_path: Path, ending: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", STARTS_RANKS, str(tmp_path)]) as starter:
        while len(ranks := list(tmp_path.iterdir())) < 2:
            assert starter.poll() is None
            time.sleep(0.05)
        processes = [psutil.Process(int(rank.name)) for rank in ranks]
        starter.send_signal(ending)
        starter.wait(timeout=30)
    _, alive = psutil.wait_procs(processes, timeout=10)
    assert alive == []


# --- what is refused ---------------------------------------------------------------------------------------------


def test_a_batch_too_small_for_the_ranks_is_refused_before_anything_runs(bench: Bench) -> None:
    words = r"training.batch_size 9 is too small for runtime.ranks 8 .* Set batch_size to 16 or more, or ranks to 4"
    with pytest.raises(ValueError, match=words):
        Experiment(training={"batch_size": 9}, runtime={"ranks": 8})
    with pytest.raises(SettingsError, match=words):
        finetune(bench, runtime={"ranks": 8})


def test_more_ranks_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ModelError, match=r"^runtime.ranks is 3, .* and this process may use 2"):
        check_ranks_have_devices(RuntimeConfig(ranks=3))
    check_ranks_have_devices(RuntimeConfig(ranks=2))
    check_ranks_have_devices(RuntimeConfig(device="cpu", ranks=3))


def test_ranks_and_workers_with_one_gpu_each_are_refused_together() -> None:
    with pytest.raises(ValueError, match="Set one of the two to 1"):
        RuntimeConfig(ranks=2, fan_out=2)


def test_ranks_share_what_one_process_may_use() -> None:
    runtime = RuntimeConfig(ranks=2, threads=5, workers=1, image_cache_mb=100, decode_memory_mb=100).of_one_rank()
    assert (runtime.threads, runtime.workers, runtime.image_cache_mb, runtime.decode_memory_mb) == (2, 1, 50, 64)


def context_of(draft: Path, inputs: dict[str, Path] | None = None, **runtime: Any) -> StageContext:
    return StageContext(inputs or {}, draft, RUNTIME.model_copy(update={"ranks": 2, **runtime}))
