"""Views cut by worker processes, for networks that take more images a second than threads of one interpreter give.

Decoding and resizing release the interpreter's lock, but what lies between them does not: threads end at about 1,250
images a second, however many cores there are. Here the threads of `tasks.data.threads` stay what they are, and so do
order and errors; only the cutting is done elsewhere. What travels is row numbers and how views are cut; pixels lie in
memory that all processes share. Bytes are those that threads make: the same functions make them.

Each row has its process, so that what is kept of an image is kept once and found again, and the memory for it is
divided by the number of processes. Pools are those of the standard library, a pool for each process.

Shape letters: N views, H W pixels; 9 numbers cut a view.
"""

import ctypes
import logging
import multiprocessing
import queue
import shutil
import sys
import tempfile
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from taskdistill.configs.data import ViewSettings
from taskdistill.configs.runtime import RuntimeConfig
from taskdistill.storage.image_set import ImageSet
from taskdistill.tasks.cores import num_cores
from taskdistill.tasks.data import cutting_process
from taskdistill.tasks.data.batches import DecodedImages, ViewSource
from taskdistill.tasks.data.cutting_process import Opening
from taskdistill.tasks.data.table_place import table_place
from taskdistill.tasks.data.worker_process import Names, Task, WorkerProcess
from taskdistill.tasks.functional.views import Pixels, View
from taskdistill.tasks.models.preprocessing import Preprocessing

log = logging.getLogger(__name__)

SHARED_MEMORY = Path("/dev/shm")
"""Where Linux keeps it. Where that is too small, as in containers, the standard library takes a file, deleted at once.
"""
MAX_BUFFER_BYTES = 16 * 2**20
MAX_BUFFER_VIEWS = 64


def view_source(
    images: ImageSet,
    settings: ViewSettings,
    preprocessing: Preprocessing,
    runtime: RuntimeConfig,
    *,
    images_mb: int = 0,
    views_mb: int = 0,
    ahead_mb: int = 0,
    kept_in: Path | None = None,
) -> ViewSource:
    """Return views that are cut as `runtime.loading` says: by whoever asks for them, or by worker processes.

    Memory in MiB is for images kept decoded, for views kept, and for views cut ahead. `kept_in` is the folder of views
    that steps share (`StageContext.views`).
    """
    memory = {"images_mb": images_mb, "views_mb": views_mb, "ahead_mb": ahead_mb}
    on_disk = table_place(kept_in, images, settings, preprocessing, runtime) if kept_in else None
    opening = Opening(
        images.folder, settings, preprocessing, decode_mb=runtime.decode_memory_mb, on_disk=on_disk, **memory
    )
    match runtime.loading:
        case "threads":
            return opening.of_images(images)
        case "processes":
            return ViewsOfProcesses(images, opening, runtime.workers)


class ViewsOfProcesses(ViewSource):
    """Views of an image-set, cut by processes that end when this is dropped.

    One image at a time is decoded in each, within its share of the memory for it; an image that needs more is decoded
    here, in as much as is stated. Masks, and the views' numbers, are made here.
    """

    def __init__(self, images: ImageSet, opening: Opening, num_processes: int) -> None:
        here = DecodedImages(images, cache_mb=0, decode_mb=opening.decode_mb)
        super().__init__(here, opening.settings, opening.preprocessing, on_disk=opening.kept_views())
        _say_if_too_many(num_processes)
        self._buffers = _Buffers(opening, num_processes)
        share, context = opening.shared_by(num_processes), _context()
        self._share = share.decode_mb
        at_work = context.RawArray(ctypes.c_int64, num_processes)
        self._processes = [
            WorkerProcess(self._buffers.starting(share, context, at_work, place), at_work, place)
            for place in range(num_processes)
        ]
        self._too_large: set[int] = set()
        """Rows whose image needs more memory than a process has."""
        weakref.finalize(self, _end, self._processes)

    def cut(self, rows: Sequence[int], views_N9: View) -> Pixels:
        pixels_NHW3 = np.empty((len(rows), *self.preprocessing.size, 3), np.uint8)
        for start in range(0, len(rows), self._buffers.num_views):
            part = slice(start, start + self._buffers.num_views)
            self._cut_part(rows[part], views_N9[part], pixels_NHW3[part])
        return pixels_NHW3

    def cut_ahead(self, rows: Sequence[int], numbers: Sequence[int]) -> None:
        """As that of a source of one process, but without waiting: what is asked for afterwards is done afterwards."""
        for process, places in self._by_process(rows):
            own_rows = [rows[place] for place in places]
            process.submit(self._naming(own_rows), cutting_process.cut_ahead, own_rows, list(numbers))

    def forget_pixels(self, rows: Sequence[int]) -> None:
        for process, places in self._by_process(rows):
            own_rows = [rows[place] for place in places]
            process.submit(self._naming(own_rows), cutting_process.forget_pixels, own_rows)

    def _cut_part(self, rows: Sequence[int], views_N9: View, pixels_NHW3: Pixels) -> None:
        """Cut as many views as a buffer holds into `pixels_NHW3`."""
        with self._buffers.lent() as (buffer, shared_NHW3):
            tasks = list[Task]()
            try:
                for process, places in self._by_process(rows):
                    own_rows = [rows[place] for place in places]
                    asked = (cutting_process.cut, buffer, places, own_rows, views_N9[places])
                    tasks.append(Task(process, self._naming(own_rows), *asked))
                refused = [place for task in tasks for place in task.result()]
            finally:
                wait([task.future for task in tasks])  # until then the buffer is still written to
            pixels_NHW3[:] = shared_NHW3[: len(rows)]
        here = [place for place, row in enumerate(rows) if row in self._too_large] + refused
        self._note_too_large([rows[place] for place in refused])
        if here:
            pixels_NHW3[here] = super().cut([rows[place] for place in here], views_N9[here])

    def _note_too_large(self, rows: Sequence[int]) -> None:
        if rows and not self._too_large:
            log.warning(
                "images that need more than %d MiB to decode, such as %s, are decoded by the run itself, once for each "
                "view, while the %d worker processes wait: raise runtime.decode_memory_mb, which they share, or bound "
                "what is kept of each image with data.reduce_to_px",
                self._share, self._naming(rows)(), len(self._processes),
            )  # fmt: skip
        self._too_large |= set(rows)

    def _by_process(self, rows: Sequence[int]) -> Iterator[tuple[WorkerProcess, list[int]]]:
        """Yield each process that has some of these rows, with their places among them."""
        places: dict[int, list[int]] = {}
        for place, row in enumerate(rows):
            if row not in self._too_large:
                places.setdefault(row % len(self._processes), []).append(place)
        for number, its_places in places.items():
            yield self._processes[number], its_places

    def _naming(self, rows: Sequence[int]) -> Names:
        return partial(_some_names, self.images.ids, rows)


def _some_names(ids: Sequence[str], rows: Sequence[int]) -> str:
    names = [repr(ids[row]) for row in dict.fromkeys(rows)]
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


class _Buffers:
    """Memory that the worker processes write pixels to, a buffer for each thread that may ask at the same time."""

    def __init__(self, opening: Opening, count: int) -> None:
        self._opening = opening
        per_view = cutting_process.view_bytes(opening.preprocessing)
        self.num_views = max(1, min(MAX_BUFFER_VIEWS, MAX_BUFFER_BYTES // per_view))
        num_bytes = count * self.num_views * per_view
        _say_if_in_a_file(num_bytes)
        self._memory = _context().RawArray("B", num_bytes)
        self._free: queue.SimpleQueue[int] = queue.SimpleQueue()
        for number in range(count):
            self._free.put(number)

    def starting(self, share: Opening, context: Any, at_work: Any, place: int) -> Callable[[], ProcessPoolExecutor]:
        """Return a function that makes a pool of one process, which writes here, and in `at_work[place]` what it is
        at.
        """
        arguments = (share, self._memory, self.num_views, at_work, place)
        return lambda: ProcessPoolExecutor(1, context, cutting_process.start, arguments)

    @contextmanager
    def lent(self) -> Iterator[tuple[int, Pixels]]:
        """Yield the number of a buffer that nobody else has meanwhile, and what lies in it [N, H, W, 3]."""
        buffer = self._free.get()
        try:
            yield buffer, cutting_process.as_buffers(self._memory, self.num_views, self._opening.preprocessing)[buffer]
        finally:
            self._free.put(buffer)


def _context() -> Any:
    """Return how processes are started: never as copies of this one, whose threads hold locks and whose GPU is its own.

    On Linux they are copies of a process that has imported what they need and done nothing else, which is started once.
    """
    context = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
    if sys.platform == "linux":
        context.set_forkserver_preload([cutting_process.__name__])
    return context


def _say_if_too_many(num_processes: int) -> None:
    if num_processes > (cores := num_cores()):
        log.warning(
            "runtime.workers asks for %d worker processes, and there are %d cores for this run: more processes than "
            "cores are no faster, and each takes memory",
            num_processes, cores,
        )  # fmt: skip


def _say_if_in_a_file(num_bytes: int) -> None:
    if SHARED_MEMORY.is_dir() and (free := shutil.disk_usage(SHARED_MEMORY).free) < num_bytes:
        log.warning(
            "%s has room for %d MiB, and worker processes share %d MiB: these lie in a file in %s instead. Give a "
            "container more shared memory (docker run --shm-size), or the run fewer runtime.workers",
            SHARED_MEMORY, free >> 20, -(-num_bytes >> 20), tempfile.gettempdir(),
        )  # fmt: skip


def _end(processes: Sequence[WorkerProcess]) -> None:
    for process in processes:
        process.end()
