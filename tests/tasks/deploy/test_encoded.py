"""Blocks of an encoder for looking at."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from taskdistill.storage.errors import NotFiniteError
from taskdistill.tasks.deploy.deployable import Deployable
from taskdistill.tasks.deploy.encoded import encoded
from taskdistill.tasks.deploy.pretrained import probed_network
from taskdistill.tasks.models.encoder import ModelError
from tests.conftest import Bench

NUM_VIEWS = 35


@pytest.fixture
def network(bench: Bench) -> Deployable:
    return probed_network(bench.path(bench.probe), {}, torch.device("cpu"))


def views() -> Iterator[np.ndarray]:
    generator = np.random.default_rng(0)
    return (generator.integers(0, 256, (48, 48, 3), np.uint8) for _ in range(NUM_VIEWS))


def test_each_view_has_its_map_however_many_there_are(network: Deployable) -> None:
    found = encoded(network, views(), "map")
    assert found.shape[0] == NUM_VIEWS
    assert found.shape[2:] == (3, 3)
    *_, last = views()
    assert encoded(network, [last], "map")[0] == pytest.approx(found[-1], abs=1e-5)


def test_a_block_that_there_is_not_is_refused(network: Deployable) -> None:
    with pytest.raises(ModelError, match="not \\['map-99'\\]"):
        encoded(network, views(), "map-99")


def test_a_network_that_says_what_is_no_number_is_refused(network: Deployable) -> None:
    next(network.model.parameters()).data.fill_(torch.nan)
    with pytest.raises(NotFiniteError, match="no number"):
        encoded(network, views(), "map")
