"""Principal components, against scikit-learn."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from taskdistill.tasks.functional.components import Components

GENERATOR = np.random.default_rng(0)
VECTORS = GENERATOR.normal(size=(40, 7)) @ GENERATOR.normal(size=(7, 7))
OTHERS = GENERATOR.normal(size=(5, 7))


def test_components_are_those_of_scikit_learn_up_to_their_signs() -> None:
    found, expected = Components.of(VECTORS, 3), PCA(3, svd_solver="full").fit(VECTORS)
    assert found.shares_C == pytest.approx(expected.explained_variance_ratio_)
    assert np.abs(found.project(OTHERS)) == pytest.approx(np.abs(expected.transform(OTHERS)))


def test_the_sign_of_a_component_does_not_hang_on_the_order_of_the_vectors() -> None:
    first, second = Components.of(VECTORS, 2), Components.of(VECTORS[::-1], 2)
    assert first.axes_CD == pytest.approx(second.axes_CD)


def test_equal_vectors_all_lie_in_the_middle() -> None:
    found = Components.of(np.ones((4, 3)), 2)
    assert found.project(np.ones((2, 3))).tolist() == [[0, 0], [0, 0]]
