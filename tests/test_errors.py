"""Errors that are meant for a person come through from one process to another: of a rank, a step, a worker."""

import importlib
import pickle
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import taskdistill
from taskdistill.configs.errors import UserError, naming
from taskdistill.storage.weight_formats import WeightFileError, tensor_forms

PACKAGES = ("configs", "storage", "tasks", "flows")
SAID = "what was asked, what was found"
WITH_EXTRAS = (ImportError,)
"""Of a module that needs a package which is not installed."""


def subclasses(of: type[UserError]) -> Iterator[type[UserError]]:
    for one in of.__subclasses__():
        yield one
        yield from subclasses(one)


def import_all() -> None:
    for package in PACKAGES:
        within = importlib.import_module(f"{taskdistill.__name__}.{package}")
        for module in pkgutil.walk_packages(within.__path__, f"{within.__name__}."):
            if not module.name.endswith("__main__"):
                try:
                    importlib.import_module(module.name)
                except WITH_EXTRAS:
                    continue


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of mmengine, where no test before imported it
def test_every_error_for_a_person_is_made_from_its_message_and_survives_the_way_to_another_process() -> None:
    """All are made from one text, none has another constructor: that is what pickle calls them with."""
    import_all()
    found = {one for one in subclasses(UserError) if one.__module__.startswith(f"{taskdistill.__name__}.")}
    assert len(found) > 35
    for one in found:
        there = pickle.loads(pickle.dumps(one(SAID)))
        assert (type(there), str(there)) == (one, SAID)


def test_what_is_wrong_with_a_weight_file_goes_with_its_error(tmp_path: Path) -> None:
    with pytest.raises(WeightFileError) as raised, naming("student"):
        tensor_forms(tmp_path / "none.safetensors")
    there = pickle.loads(pickle.dumps(raised.value))
    assert isinstance(there, WeightFileError)
    assert there.finding == "does not exist"
    path = tmp_path / "none.safetensors"
    assert str(there) == f"student: {path} does not exist: check the path in the settings"
