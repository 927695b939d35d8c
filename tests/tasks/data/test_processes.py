"""Views cut by worker processes: the pixels of threads, whatever happens to the processes, and none left behind."""

import gc
import io
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from taskdistill.configs.base import StageConfig
from taskdistill.configs.data import IngestConfig, ViewSettings
from taskdistill.configs.runtime import RuntimeConfig
from taskdistill.configs.stages import ExtractConfig, FinetuneConfig
from taskdistill.configs.training import TrainingSettings
from taskdistill.storage.errors import CorruptArtifactError
from taskdistill.storage.image_set import ImageRow, ImageSet, write_index, write_shard
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.upkeep import discard
from taskdistill.tasks.catalog import EXTRACT, FINETUNE, INGEST
from taskdistill.tasks.data import cutting_process, processes
from taskdistill.tasks.data.batches import ViewSource
from taskdistill.tasks.data.cutting_process import IDLE
from taskdistill.tasks.data.decode_memory import DecodeMemoryError
from taskdistill.tasks.data.processes import view_source
from taskdistill.tasks.data.threads import prefetch
from taskdistill.tasks.data.worker_process import Task, WorkerEndedError, WorkerProcess
from taskdistill.tasks.models.preprocessing import Preprocessing
from taskdistill.tasks.stage import Stage
from tests.conftest import RUNTIME, STUDENT, TEACHER, Bench, Run
from tests.tasks.data import worker_work

CUT = Preprocessing(24, (0.5,) * 3, (0.5,) * 3, "bicubic", 0.9, "center")
VIEWS = ViewSettings(num_views=3)
PROCESSES = RUNTIME.model_copy(update={"loading": "processes"})

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes as Linux shows them")


@pytest.fixture(scope="module")
def images(finished_bench: Bench) -> ImageSet:
    return ImageSet.open(finished_bench.path(finished_bench.images))


@pytest.fixture(scope="module")
def threads(images: ImageSet) -> ViewSource:
    return view_source(images, VIEWS, CUT, RUNTIME)


@pytest.fixture
def source(images: ImageSet) -> ViewSource:
    """Views by two processes."""
    return view_source(images, VIEWS, CUT, PROCESSES, images_mb=8, views_mb=8, ahead_mb=8)


def workers(parent: int | None = None) -> list[psutil.Process]:
    """The processes that cut for this one: children of the one that they are copies of."""
    below = psutil.Process(parent).children(recursive=True)
    return [process for process in below if process.ppid() != (parent or os.getpid())]


def assert_gone_soon(some: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(some, timeout=20)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


def cut(source: ViewSource, rows: list[int], view: int = 1) -> np.ndarray:
    return source.cut(rows, source.views(rows, [view] * len(rows)))


def test_they_cut_what_threads_cut(source: ViewSource, threads: ViewSource, images: ImageSet) -> None:
    rows = [*range(len(images)), 3, 3, 0]  # some of them twice
    for view in range(4):
        np.testing.assert_array_equal(cut(source, rows, view), cut(threads, rows, view))


def test_they_resize_by_torch_where_threads_do(images: ImageSet, threads: ViewSource) -> None:
    settings, rows = VIEWS.model_copy(update={"resize": "torch"}), list(range(48))
    by_processes, by_threads = (cut(view_source(images, settings, CUT, one), rows) for one in (PROCESSES, RUNTIME))
    np.testing.assert_array_equal(by_processes, by_threads)
    assert not np.array_equal(by_threads, cut(threads, rows))


def test_more_views_than_a_buffer_holds_come_in_their_order(
    monkeypatch: pytest.MonkeyPatch, images: ImageSet, threads: ViewSource
) -> None:
    monkeypatch.setattr(processes, "MAX_BUFFER_VIEWS", 5)
    source = view_source(images, VIEWS, CUT, PROCESSES)
    rows = list(reversed(range(48)))
    np.testing.assert_array_equal(cut(source, rows), cut(threads, rows))


def test_several_threads_may_ask_at_the_same_time(source: ViewSource, threads: ViewSource) -> None:
    jobs = [np.random.default_rng(job).integers(0, 48, 11).tolist() for job in range(30)]
    found = list(prefetch(lambda rows: cut(source, rows), jobs, workers=5))
    for rows, pixels_NHW3 in zip(jobs, found, strict=True):
        np.testing.assert_array_equal(pixels_NHW3, cut(threads, rows))


def test_views_cut_ahead_and_forgotten_again_are_the_same(source: ViewSource, threads: ViewSource) -> None:
    for _ in range(2):
        source.cut_ahead([5, 6, 7], [1, 2])
        np.testing.assert_array_equal(cut(source, [5, 6, 7], 2), cut(threads, [5, 6, 7], 2))
        source.forget_pixels([5, 6, 7])


def test_they_end_when_nobody_cuts_any_more(images: ImageSet) -> None:
    gc.collect()
    before = set(workers())
    source = view_source(images, VIEWS, CUT, PROCESSES)
    cut(source, [0, 1])
    started = set(workers()) - before
    assert len(started) == 2
    del source
    assert_gone_soon([*started])


def test_they_end_also_where_a_call_has_failed(images: ImageSet) -> None:
    gc.collect()
    before = set(workers())
    source = view_source(images, VIEWS, CUT, PROCESSES)
    with pytest.raises(IndexError):
        source.cut([10**6], source.views([0], [1]))
    started = set(workers()) - before
    assert started
    del source
    gc.collect()
    assert_gone_soon([*started])


def test_after_kill_9_the_run_says_which_images_it_held_and_cuts_them_all_the_same(
    source: ViewSource, threads: ViewSource, images: ImageSet, caplog: pytest.LogCaptureFixture
) -> None:
    cut(source, list(range(48)))
    killed = workers()
    with caplog.at_level(logging.WARNING):
        for process in killed:  # they stand still first, so that they are killed at work
            process.send_signal(signal.SIGSTOP)
        threading.Timer(0.3, lambda: [process.kill() for process in killed]).start()
        found = cut(source, [4, 9], 2)
    np.testing.assert_array_equal(found, cut(threads, [4, 9], 2))
    said = [record.message for record in caplog.records if "a worker process was killed" in record.message]
    assert [name in " ".join(said) for name in (repr(images.ids[4]), repr(images.ids[9]))] == [True, True]
    assert_gone_soon(killed)


def test_one_that_was_killed_while_it_waited_is_started_again(source: ViewSource, threads: ViewSource) -> None:
    cut(source, list(range(48)))
    for process in workers():
        process.kill()
    time.sleep(0.5)
    np.testing.assert_array_equal(cut(source, [4, 9], 2), cut(threads, [4, 9], 2))


def one_process(start: Callable[..., None]) -> tuple[WorkerProcess, Any]:
    """Return a process that begins with `start(at_work)`, and what it is at."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([cutting_process.__name__])
    at_work = context.RawArray("q", 1)
    return WorkerProcess(lambda: ProcessPoolExecutor(1, context, start, (at_work,)), at_work, 0), at_work


def test_images_that_nobody_waits_for_are_named_too_when_a_process_ends_with_them(
    caplog: pytest.LogCaptureFixture,
) -> None:
    process, _ = one_process(worker_work.start)
    process.submit(lambda: "'seven'", worker_work.die)
    assert Task(process, lambda: "'eight'", worker_work.answer, 8).result() == 8
    assert "with these images to cut: 'seven'" in caplog.text
    assert "'eight'" not in caplog.text
    process.end(wait=True)


def test_images_with_which_each_process_ends_are_an_error_that_names_them(caplog: pytest.LogCaptureFixture) -> None:
    process, _ = one_process(worker_work.start)
    with pytest.raises(WorkerEndedError, match=r"3 worker processes.*to cut: 'seven'.*runtime.loading=threads"):
        Task(process, lambda: "'seven'", worker_work.die).result()
    assert caplog.text.count("with these images to cut: 'seven'") == 2  # the third time it is an error
    assert Task(process, lambda: "'eight'", worker_work.answer, 8).result() == 8
    process.end(wait=True)


def test_who_waits_while_another_s_images_end_processes_is_not_blamed_for_them() -> None:
    process, _ = one_process(worker_work.start)
    guilty = Task(process, lambda: "'seven'", worker_work.die)
    innocent = Task(process, lambda: "'eight'", worker_work.answer, 8)
    with ThreadPoolExecutor(1) as other_thread:  # which is asked for anew after each end, behind the guilty one
        answered = other_thread.submit(innocent.result)
        with pytest.raises(WorkerEndedError, match="'seven'"):
            guilty.result()
        assert answered.result() == 8
    process.end(wait=True)


def test_a_process_that_cannot_start_is_another_error_than_one_that_images_end() -> None:
    process, _ = one_process(worker_work.fail_to_start)
    with pytest.raises(WorkerEndedError, match=r"3 worker processes.*ended while they started.*loading=threads"):
        Task(process, lambda: "'eight'", worker_work.answer, 8).result()
    process.end(wait=True)


def test_a_process_that_is_killed_before_it_is_told_what_to_do_is_one_that_cannot_start() -> None:
    class Unstartable(ProcessPoolExecutor):
        """As where a process is killed before its start has been written to it, which no test can time."""

        def submit(self, *arguments: Any, **named: Any) -> Any:
            raise BrokenPipeError

    process = WorkerProcess(lambda: Unstartable(1), [IDLE], 0)
    with pytest.raises(WorkerEndedError, match=r"3 worker processes.*ended while they started"):
        Task(process, lambda: "'eight'", worker_work.answer, 8).result()


def test_processes_that_something_keeps_killing_are_an_error_sooner_or_later(source: ViewSource) -> None:
    over = threading.Event()

    def kill_all() -> None:
        while not over.wait(0.01):
            for process in workers():
                process.kill()

    cut(source, [0, 1])
    (killer := threading.Thread(target=kill_all)).start()
    try:
        with pytest.raises(WorkerEndedError, match="3 worker processes, one after the other, ended"):
            [cut(source, [7]) for _ in range(1000)]
    finally:
        over.set()
        killer.join()


def image_set(folder: Path, images: dict[str, bytes]) -> ImageSet:
    write_shard(folder, 0, [ImageRow(name, data, 8, 8, "train", 0) for name, data in images.items()])
    write_index(folder, classes=["x", "y"], num_shards=1)
    return ImageSet.open(folder)


def png(side_px: int) -> bytes:
    Image.linear_gradient("L").resize((side_px, side_px)).save(data := io.BytesIO(), "PNG")
    return data.getvalue()


@pytest.mark.parametrize("runtime", [RUNTIME, PROCESSES], ids=["threads", "processes"])
def test_an_image_that_cannot_be_decoded_is_the_same_error(tmp_path: Path, runtime: RuntimeConfig) -> None:
    images = image_set(tmp_path / "set", {"whole.png": png(40), "cut.png": png(40)[:-40]})
    source = view_source(images, VIEWS, CUT, runtime)
    with pytest.raises(CorruptArtifactError, match=r"image 'cut.png': damaged.*taskdistill discard"):
        cut(source, [0, 1])
    assert cut(source, [0]).shape == (1, 24, 24, 3)


def test_an_image_above_the_memory_of_a_process_is_decoded_by_the_run_itself_which_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images = image_set(tmp_path / "set", {"small.png": png(64), "large.png": png(2600), "other.png": png(65)})
    expected = cut(view_source(images, VIEWS, CUT, RUNTIME), [0, 1, 2])
    little = PROCESSES.model_copy(update={"decode_memory_mb": 64, "workers": 4})
    source = view_source(images, VIEWS, CUT, little)
    for _ in range(2):
        np.testing.assert_array_equal(cut(source, [0, 1, 2]), expected)
    [said] = [record.message for record in caplog.records if "are decoded by the run itself" in record.message]
    assert "more than 16 MiB to decode, such as 'large.png'" in said
    less = view_source(images, VIEWS, CUT, little.model_copy(update={"decode_memory_mb": 8}))
    with pytest.raises(DecodeMemoryError, match=r"'large.png'.*runtime.decode_memory_mb"):
        cut(less, [0, 1, 2])


def test_a_share_of_the_memory_for_decoding_is_never_none(tmp_path: Path) -> None:
    images = image_set(tmp_path / "set", {"large.png": png(1200)})
    opening = processes.Opening(
        images.folder, VIEWS, CUT, images_mb=0, views_mb=0, ahead_mb=0, decode_mb=64, on_disk=None
    )
    with pytest.raises(DecodeMemoryError, match=r"runtime.decode_memory_mb allows 1:"):
        cut(opening.shared_by(100).of_images(images), [0])


def made(bench: Bench, stage: Stage[Any], config: StageConfig, loading: str, **inputs: ArtifactRef) -> dict[str, str]:
    """Return the digests of what a stage makes, and discard it."""
    ref = bench.run(stage, config, runtime={"loading": loading}, **inputs)
    files = bench.store.manifest(ref).files
    discard(bench.store, ref)
    return {name: record.sha256 for name, record in files.items()}


def test_features_and_trained_networks_are_the_same_bytes(bench: Bench) -> None:
    views, training = VIEWS.model_copy(update={"seed": 5}), TrainingSettings(epochs=2, batch_size=8)
    extract = ExtractConfig(backbone=TEACHER, views=views)
    finetune = FinetuneConfig(backbone=STUDENT, views=views, training=training)
    given = {"images": bench.images, "probe": bench.student_probe}
    by = [
        (
            made(bench, EXTRACT, extract, loading, images=bench.images),
            made(bench, FINETUNE, finetune, loading, **given),
        )
        for loading in ("threads", "processes")
    ]
    assert by[0] == by[1]


def test_more_processes_than_cores_are_spoken_of(images: ImageSet, caplog: pytest.LogCaptureFixture) -> None:
    view_source(images, VIEWS, CUT, RuntimeConfig(workers=256))
    assert not caplog.records
    view_source(images, VIEWS, CUT, RuntimeConfig(workers=256, loading="processes"))
    assert "asks for 256 worker processes, and there are" in caplog.text


@pytest.mark.real_data
def test_photographs_are_the_same_pixels(real_data: Path, store: ArtifactStore, run: Run) -> None:
    images = ImageSet.open(store.path(run(INGEST, IngestConfig(path=f"{real_data}/clothing10"))))
    rows, cut_at = list(range(0, len(images), 9)), CUT._replace(side_px=160)
    by_threads, by_processes = (view_source(images, VIEWS, cut_at, runtime) for runtime in (RUNTIME, PROCESSES))
    np.testing.assert_array_equal(cut(by_processes, rows), cut(by_threads, rows))


UNGUARDED = """
import sys
from pathlib import Path
from taskdistill.configs.stages import ExtractConfig
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.catalog import EXTRACT
from taskdistill.tasks.stage import execute
from tests.conftest import TEACHER
from tests.tasks.data.test_processes import PROCESSES, VIEWS
config = ExtractConfig(backbone=TEACHER, views=VIEWS)
images = ArtifactRef.parse(sys.argv[2])
execute(EXTRACT, config, {"images": images}, store=ArtifactStore(Path(sys.argv[1])), runtime=PROCESSES)
"""


def test_a_script_that_works_as_soon_as_it_is_read_is_told_so_and_does_not_wait_for_itself(
    bench: Bench, tmp_path: Path
) -> None:
    (tmp_path / "script.py").write_text(UNGUARDED)
    command = [sys.executable, str(tmp_path / "script.py"), str(bench.store.root), str(bench.images)]
    # A script finds modules beside itself, and these tests are not installed.
    others = os.environ.get("PYTHONPATH", "")
    environment = os.environ | {"PYTHONPATH": f"{Path(__file__).parents[3]}{os.pathsep}{others}"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 1
    assert 'put what it does under `if __name__ == "__main__":`' in done.stderr
    assert "3 worker processes, one after the other, ended while they started" in done.stderr


CUTTING = """
import sys
from pathlib import Path
from typing import Any
from tests.tasks.data.test_processes import CUT, PROCESSES, VIEWS, cut
from taskdistill.storage.image_set import ImageSet
from taskdistill.tasks.data.processes import view_source
from taskdistill.tasks.data.threads import prefetch
images = ImageSet.open(Path(sys.argv[1]))
source = view_source(images, VIEWS, CUT._replace(side_px=int(sys.argv[2])), PROCESSES)
for pixels in prefetch(lambda view: cut(source, list(range(48)), view), [1, 2, 3] * int(sys.argv[3]), workers=2):
    print(pixels.sum(), flush=True)
"""


def cutting(images: ImageSet, *, side_px: int = 24, times: int, before: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """Start a program that cuts views by worker processes, in a session of its own."""
    command = [*before, sys.executable, "-c", CUTTING, str(images.folder), str(side_px), str(times)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_process_outlives_the_run(images: ImageSet, ending: signal.Signals) -> None:
    with cutting(images, times=10**6) as program:
        assert program.stdout is not None
        assert program.stdout.readline()
        below = psutil.Process(program.pid).children(recursive=True)
        assert len(workers(program.pid)) == 2
        # As a terminal does: Ctrl-C is for all processes of it.
        os.killpg(program.pid, ending) if ending == signal.SIGINT else program.send_signal(ending)
        _, said = program.communicate(timeout=30)
        assert_gone_soon(below)
    assert said.count("Traceback") == said.count("KeyboardInterrupt") == (ending == signal.SIGINT)


def test_shared_memory_as_small_as_in_containers_is_spoken_of_and_suffices(
    images: ImageSet, threads: ViewSource
) -> None:
    if subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode:
        pytest.skip("a small /dev/shm of its own needs root")
    small = 'mount -t tmpfs -o size=1m tmpfs /dev/shm && exec "$@"'
    before = ("unshare", "--mount", "sh", "-c", small, "sh")
    with cutting(images, side_px=200, times=1, before=before) as program:
        found, said = program.communicate(timeout=120)
    by_threads = view_source(images, VIEWS, CUT._replace(side_px=200), RUNTIME)
    assert found.split() == [str(cut(by_threads, list(range(48)), view).sum()) for view in (1, 2, 3)]
    assert "/dev/shm has room for 1 MiB, and worker processes share 15 MiB" in said
    assert program.returncode == 0
