"""How fast a network is: measured alone and warm, on one batch that lies on the device already.

Beside the threads that decode the next batches the same network was once measured at 146, 500 and 698 images a second.
Where a CPU computes in one thread, that thread's own time is taken, so that whatever else the machine does counts
little (shared caches and clock rates remain); otherwise the time on the wall, on a GPU until the answer is there.

Shape letters: N images, C channels, H W pixels.
"""

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from taskdistill.configs.base import RuntimeConfig
from taskdistill.storage.summaries import Speed
from taskdistill.tasks.data.batches import ViewSource
from taskdistill.tasks.functional.views import CLEAN_VIEW
from taskdistill.tasks.models.preprocessing import normalise

BATCH_SIZE = 32
WARM_UP, MIN_PASSES, MAX_PASSES = 3, 5, 100
ENOUGH_SECONDS = 0.5


@torch.inference_mode()
def measured_speed(
    network: Callable[[Tensor], Tensor],
    source: ViewSource,
    rows: list[int],
    runtime: RuntimeConfig,
    device: torch.device,
) -> Speed:
    """Return the median number of images a second, in fp32, and under which conditions it was measured.

    `network` is on the device; it is shown the clean view of the first of `rows` several times.
    """
    rows = rows[: min(BATCH_SIZE, runtime.inference_batch_size)]
    images_NCHW = normalise(
        source.cut(rows, source.views(rows, [CLEAN_VIEW] * len(rows))), source.preprocessing, device
    )
    clock = time.thread_time if device.type == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
    # The first passes choose kernels and fill caches, of memory and of compiled code: they say nothing about the rest.
    for _ in range(WARM_UP):
        network(images_NCHW).cpu()
    seconds: list[float] = []
    end = time.monotonic() + ENOUGH_SECONDS
    while len(seconds) < MIN_PASSES or (len(seconds) < MAX_PASSES and time.monotonic() < end):
        began = clock()
        network(images_NCHW).cpu()  # copying the answer waits for it
        seconds.append(clock() - began)
    return Speed(
        images_per_second=round(len(rows) / statistics.median(seconds), 1),
        batch_size=len(rows),
        threads=torch.get_num_threads(),
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
    )
