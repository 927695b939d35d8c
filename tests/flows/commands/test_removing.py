"""What `discard` and `collect` say of what they take away, and of what stays."""

import pytest

from taskdistill.configs.experiment import Experiment
from taskdistill.flows.pipeline.planning import make_plan
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from tests.flows.conftest import Command


@pytest.fixture
def made(experiment: Experiment, finished: ArtifactStore) -> dict[str, ArtifactRef]:
    """Step -> its artifact in the finished store."""
    return {step.name: step.ref for step in make_plan(experiment, finished).steps}


def test_discard_prints_the_command_that_gives_a_label_back_which_works_once_it_is_made_again(
    taskdistill: Command, finished: ArtifactStore, made: dict[str, ArtifactRef], preset: str
) -> None:
    model = made["evaluate-teacher"]
    taskdistill("label", "mine", model.short)
    lines = taskdistill("discard", "mine", "--with-dependents").stdout.splitlines()
    assert lines[-3:] == [
        "1 artifact removed, with the label mine",
        "Once made again, it gets its name back by:",
        f"  taskdistill label mine {model.short}",
    ]
    taskdistill("run", preset)
    assert taskdistill(*lines[-1].split()[1:]).code == 0
    assert finished.labels() == {"mine": model}


def test_discard_says_so_of_every_label_also_those_of_dependents(
    taskdistill: Command, made: dict[str, ArtifactRef]
) -> None:
    model, scores = made["distill-seed0"].short, made["evaluate-distilled-seed0"].short
    for name, reference in (("best", model), ("scores", scores), ("tenth", model)):
        taskdistill("label", name, reference)
    lines = taskdistill("discard", "best", "--with-dependents", "--with-labels").stdout.splitlines()
    assert lines[-5:] == [
        "2 artifacts removed, with the labels best, scores, tenth",
        "Once made again, they get their names back by:",
        f"  taskdistill label best {model}",
        f"  taskdistill label scores {scores}",
        f"  taskdistill label tenth {model}",
    ]


def test_discard_as_json_has_the_same_commands_and_none_where_nothing_had_a_label(
    taskdistill: Command, made: dict[str, ArtifactRef]
) -> None:
    taskdistill("label", "best", made["evaluate-teacher"].short)
    found = taskdistill("discard", "best", "--json").json
    assert found["give_back"] == [f"taskdistill label best {made['evaluate-teacher'].short}"]
    unnamed = taskdistill("discard", made["evaluate-finetuned-seed0"].short, "--json").json
    assert (unnamed["labels"], unnamed["give_back"]) == ([], [])
