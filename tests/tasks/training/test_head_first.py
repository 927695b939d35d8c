"""Head first: for a share of the steps the head alone learns, then the whole network."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from taskdistill.configs.stages import FinetuneConfig
from taskdistill.configs.training import TrainingSettings
from taskdistill.tasks.catalog import FINETUNE
from taskdistill.tasks.models.task_model import load_model
from taskdistill.tasks.stage import StageContext
from taskdistill.tasks.training.checkpoint import Groups, load
from taskdistill.tasks.training.probed import probed_model
from tests.conftest import RUNTIME, STUDENT, VIEWS, Bench

pytestmark = pytest.mark.usefixtures("bare_pictures")

# 24 training images in batches of 8 are 6 steps: 3 of the head, and 3 in which the rate of the encoder rises in two.
SETTINGS = TrainingSettings(epochs=2, batch_size=8, warmup=0.6, head_first=0.5, batchnorm="train", ema=0.5)
CONFIG = FinetuneConfig(backbone=STUDENT, views=VIEWS, training=SETTINGS)


def state_after(bench: Bench, step: int) -> Groups:
    """Return the tensors of a training of 6 steps after some of them, in the checkpoint or as at the start; later steps
    may be asked for next.
    """

    def die(unit: str, done: int, total: int) -> None:
        if done == step + 1:
            raise KeyboardInterrupt

    inputs = {"images": bench.images, "probe": bench.student_probe}
    with pytest.raises(KeyboardInterrupt):
        bench.run(FINETUNE, CONFIG, on_progress=die, runtime={"checkpoint_seconds": 1e-9}, **inputs)
    groups = saved(bench)
    return {**groups, "model": {**start(bench), **groups["model"]}}


def saved(bench: Bench) -> Groups:
    [draft] = bench.store.drafts().values()
    found = load(draft)
    assert found
    return found[0]


def start(bench: Bench) -> dict[str, torch.Tensor]:
    context = StageContext({"probe": bench.path(bench.student_probe)}, Path(), RUNTIME)
    return dict(probed_model(STUDENT, context).state_dict())


def moved(before: Groups, after: Groups) -> set[str]:
    return {name for name, tensor in after["model"].items() if not torch.equal(tensor, before["model"][name])}


def test_the_head_alone_learns_and_then_the_whole_network(bench: Bench) -> None:
    states = [state_after(bench, step) for step in (1, 3, 4)]
    of_head = {"head.weight", "head.bias"}
    assert moved(states[0], states[1]) == of_head  # no weight decays, no statistic of BatchNorm is taken
    parameters = {name for name in states[0]["model"] if "running_" not in name and "num_batches" not in name}
    assert moved(states[1], states[2]) >= {name for name in parameters if states[0]["model"][name].ndim > 1}
    with_moments = [{name.partition(".")[0] for name in state["optimizer"]} for state in states]
    assert [len(places) for places in with_moments] == [2, 2, len(parameters)]


def test_while_the_head_learns_alone_a_checkpoint_holds_the_head_alone(bench: Bench) -> None:
    state_after(bench, 3)
    of_head = {"head.weight", "head.bias"}
    assert saved(bench)["model"].keys() == of_head
    assert saved(bench)["ema"].keys() == {"n_averaged"} | {f"module.{name}" for name in of_head}
    state_after(bench, 4)
    assert saved(bench)["model"].keys() == start(bench).keys()


def test_the_encoder_joins_with_a_low_rate_and_moments_of_its_own(bench: Bench) -> None:
    """A first step of AdamW moves what does not decay by the learning rate, whatever the gradient."""
    before, after = (state_after(bench, step)["model"] for step in (3, 4))
    biases = [name for name in before if name.startswith("encoder.") and before[name].ndim == 1 and "bias" in name]
    largest = max(float((after[name] - before[name]).abs().max()) for name in biases)
    assert largest == pytest.approx(SETTINGS.learning_rate / 2, rel=1e-2)


def test_the_network_that_comes_out_has_learnt_everywhere(workshop: Bench) -> None:
    start = workshop.path(workshop.student_probe)
    inputs = {"images": workshop.images, "probe": workshop.student_probe}
    ref = workshop.run(FINETUNE, CONFIG, **inputs)
    last = load_file(workshop.path(ref) / "last.safetensors")
    assert not torch.equal(last["head.weight"], load_file(start / "head.safetensors")["weight"])
    model, _ = load_model(workshop.path(ref))
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_the_encoder_joins_between_two_validations_too(workshop: Bench) -> None:
    """One of two epochs is of the head, and the only validations are before and after both."""
    training = SETTINGS.model_copy(update={"validate_every": 2, "ema": 0.0})
    ref = workshop.run(
        FINETUNE, CONFIG.model_copy(update={"training": training}), images=workshop.images, probe=workshop.student_probe
    )
    before, after = start(workshop), load_file(workshop.path(ref) / "last.safetensors")
    still = {name for name in before if torch.equal(before[name], after[name])}
    assert not {name for name in still if name.endswith("weight")}


def test_a_training_of_one_step_leaves_it_to_the_whole_network(workshop: Bench) -> None:
    found = []
    for share in (0.0, 0.99):
        single = SETTINGS.model_copy(update={"epochs": 1, "batch_size": 24, "ema": 0.0, "head_first": share})
        config = CONFIG.model_copy(update={"training": single})
        ref = workshop.run(FINETUNE, config, images=workshop.images, probe=workshop.student_probe)
        found.append(load_file(workshop.path(ref) / "last.safetensors"))
    for name, tensor in found[0].items():
        np.testing.assert_array_equal(tensor, found[1][name], err_msg=name)
