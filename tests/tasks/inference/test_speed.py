"""Speed is measured on one batch, alone and warm, and says under which conditions."""

import time

import pytest
import torch

from taskdistill.configs.base import RuntimeConfig
from taskdistill.storage.image_set import ImageSet
from taskdistill.tasks.data.batches import DecodedImages, ViewSource
from taskdistill.tasks.inference.speed import MIN_PASSES, WARM_UP, measured_speed
from taskdistill.tasks.models.preprocessing import Preprocessing
from tests.conftest import VIEWS, Bench

CPU = torch.device("cpu")


@pytest.fixture
def source(finished_bench: Bench) -> ViewSource:
    images = ImageSet.open(finished_bench.path(finished_bench.images))
    preprocessing = Preprocessing(16, (0.0,) * 3, (1.0,) * 3, "bilinear", 1.0, "center")
    return ViewSource(DecodedImages(images, cache_mb=0), VIEWS, preprocessing)


def busy(seconds: float) -> None:
    """Compute for so long, whatever else the machine does meanwhile."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def test_a_network_of_known_speed_is_measured_as_that_however_slow_its_first_passes(source: ViewSource) -> None:
    passes: list[int] = []

    def network(images_NCHW: torch.Tensor) -> torch.Tensor:
        passes.append(len(images_NCHW))
        busy(0.02 if len(passes) > WARM_UP else 0.2)
        return images_NCHW[:, 0, 0]

    speed = measured_speed(network, source, list(range(8)), RuntimeConfig(), CPU)
    assert speed.images_per_second == pytest.approx(8 / 0.02, rel=0.15)
    assert set(passes) == {8}


def test_a_slow_network_is_shown_no_more_than_a_few_batches(source: ViewSource) -> None:
    passes: list[int] = []

    def network(images_NCHW: torch.Tensor) -> torch.Tensor:
        passes.append(len(images_NCHW))
        busy(0.12)
        return images_NCHW

    measured_speed(network, source, list(range(4)), RuntimeConfig(), CPU)
    assert len(passes) == WARM_UP + MIN_PASSES


@pytest.mark.parametrize(("batch_size", "rows", "expected"), [(64, 48, 32), (10, 48, 10), (64, 5, 5)])
def test_the_batch_is_named_and_fits_the_images_and_the_memory(
    source: ViewSource, batch_size: int, rows: int, expected: int
) -> None:
    runtime = RuntimeConfig(inference_batch_size=batch_size)
    speed = measured_speed(lambda images_NCHW: images_NCHW, source, list(range(rows)), runtime, CPU)
    assert (speed.batch_size, speed.threads, speed.device) == (expected, 1, "cpu")


@pytest.mark.gpu
def test_on_a_gpu_the_answer_is_waited_for(source: ViewSource) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    device = torch.device("cuda")
    square_MM = torch.ones(4096, 4096, device=device)

    def network(images_NCHW: torch.Tensor) -> torch.Tensor:
        for _ in range(20):
            square_MM @ square_MM
        return images_NCHW + (square_MM @ square_MM)[0, 0]

    speed = measured_speed(network, source, list(range(8)), RuntimeConfig(), device)
    torch.cuda.synchronize()
    began = time.perf_counter()
    network(torch.ones(8, 3, 16, 16, device=device))
    torch.cuda.synchronize()
    assert speed.images_per_second == pytest.approx(8 / (time.perf_counter() - began), rel=0.3)
    assert speed.device == torch.cuda.get_device_name()
