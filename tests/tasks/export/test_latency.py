"""What a brief measurement of a loaded network says."""

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from taskdistill.tasks.cores import beside_this, num_cores
from taskdistill.tasks.deploy.deployable import Deployable
from taskdistill.tasks.export.latency import Effort, measured_alone
from taskdistill.tasks.models.preprocessing import Preprocessing
from taskdistill.tasks.problems.problem import problem_named

NAP_SECONDS = 0.03


@dataclass(eq=False)
class Sleeping(nn.Module):
    """Answers after a nap, the first time after a longer one; notes what it was shown."""

    def __post_init__(self) -> None:
        super().__init__()
        self.shown: list[tuple[int, ...]] = []

    def forward(self, images_NCST: Tensor) -> Tensor:
        self.shown.append(tuple(images_NCST.shape))
        time.sleep(NAP_SECONDS * (1 if len(self.shown) > 1 else 10))
        return torch.zeros(len(images_NCST), 2)


def test_the_median_of_single_images_is_told_without_the_first_passes_and_threads_stay_as_they_were() -> None:
    network, see = Sleeping(), Preprocessing(24, (0.5,) * 3, (0.5,) * 3, "bilinear", 1.0, "center", width_px=32)
    deployable = Deployable(network, problem_named("classification"), ["a", "b"], see, torch.device("cpu"))
    threads = torch.get_num_threads()
    found = measured_alone(deployable, num_cores(), Effort(warm_up=1, least=5, most=5, seconds=0))
    assert network.shown == [(1, 3, 24, 32)] * 6
    assert 1000 * NAP_SECONDS <= found.p50_ms < 5000 * NAP_SECONDS
    assert (found.batch, found.passes, found.threads, found.device) == (1, 5, num_cores(), "cpu")
    assert torch.get_num_threads() == threads


def test_a_slow_network_is_asked_only_as_often_as_it_must_be() -> None:
    see = Preprocessing(24, (0.5,) * 3, (0.5,) * 3, "bilinear", 1.0, "center")
    deployable = Deployable(Sleeping(), problem_named("classification"), ["a", "b"], see, torch.device("cpu"))
    found = measured_alone(deployable, num_cores(), Effort(warm_up=1, least=2, most=1000, seconds=4 * NAP_SECONDS))
    assert 2 <= found.passes <= 5


@pytest.mark.skipif(not Path("/proc/loadavg").is_file(), reason="only Linux says what runs")
def test_a_program_that_computes_beside_this_one_is_counted() -> None:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        try:
            time.sleep(0.2)
            assert beside_this() >= 1
        finally:
            busy.kill()
