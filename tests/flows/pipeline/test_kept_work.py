"""Where an unfinished step goes on is where it really does, and not where it was when it was killed."""

from pathlib import Path

import pytest

from taskdistill.configs.stages import FinetuneConfig
from taskdistill.configs.training import TrainingSettings
from taskdistill.flows.pipeline.kept_work import kept_work
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.tasks.catalog import FINETUNE
from tests.conftest import STUDENT, VIEWS, Bench
from tests.storage.artifacts import tear

CONFIG = FinetuneConfig(
    backbone=STUDENT, views=VIEWS, training=TrainingSettings(epochs=2, batch_size=8, learning_rate=1e-3)
)
"""24 training images: six steps."""


def killed_at_step_4(bench: Bench, checkpoint_seconds: float) -> ArtifactRef:
    """Return the model whose training died; its progress says 4 steps."""

    def die(unit: str, done: int, total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    inputs = {"images": bench.images, "probe": bench.student_probe}
    with pytest.raises(KeyboardInterrupt):
        bench.run(FINETUNE, CONFIG, on_progress=die, runtime={"checkpoint_seconds": checkpoint_seconds}, **inputs)
    (draft,) = (bench.store.root / "drafts").glob("**/.progress.json")
    return ArtifactRef("model", draft.parent.name)


@pytest.fixture
def begun(bench: Bench) -> ArtifactRef:
    return killed_at_step_4(bench, checkpoint_seconds=1e-9)


def test_a_training_goes_on_at_its_checkpoint(bench: Bench, begun: ArtifactRef) -> None:
    assert str(kept_work(bench.store, begun)) == "at 3 of 6 steps"


def test_a_training_that_was_killed_before_its_first_checkpoint_begins_anew(bench: Bench) -> None:
    begun = killed_at_step_4(bench, checkpoint_seconds=3600.0)
    assert str(kept_work(bench.store, begun)) == "from the beginning"


def test_where_a_power_cut_tore_the_checkpoint_it_begins_anew(bench: Bench, begun: ArtifactRef) -> None:
    checkpoint: Path = bench.store.draft_path(begun) / "checkpoint.safetensors"
    tear(checkpoint, "empty")
    assert str(kept_work(bench.store, begun)) == "from the beginning"
