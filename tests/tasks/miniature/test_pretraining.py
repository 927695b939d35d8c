"""The loop that pretrains every network: what a stopped run promises."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from taskdistill.storage.files import read_json
from taskdistill.storage.weights import read_tensors
from taskdistill.tasks.miniature import pretraining
from taskdistill.tasks.miniature.pretraining import HISTORY, PretrainingError, Settings, pretrain
from taskdistill.tasks.models.task_model import as_arrays
from taskdistill.tasks.stage import no_progress
from taskdistill.tasks.training import checkpoint

SETTINGS = Settings(num_images=40, batch_size=4, learning_rate=0.1)


class Line(pretraining.Part):
    """Learns y = 2 x with one weight; may be told to die."""

    def __init__(self, dies_at: int = -1) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self._weight = nn.Linear(1, 1, bias=False)
        self.steps = 0
        self._dies_at = dies_at

    @property
    def trained(self) -> nn.Module:
        return self._weight

    def losses(self, batch_size: int, generator: torch.Generator) -> dict[str, Tensor]:
        if self.steps == self._dies_at:
            raise RuntimeError("power cut")
        self.steps += 1
        x = torch.randn(batch_size, 1, generator=generator)
        return {"line": (self._weight(x) - 2 * x).square().mean()}

    def score(self) -> dict[str, float]:
        return {"slope": self._weight.weight.item()}

    def save(self, folder: Path) -> None:
        pretraining.checkpoint.write_tensors(folder / "line.safetensors", as_arrays(self._weight.state_dict()))


def slope(folder: Path) -> float:
    return read_tensors(folder / "line.safetensors")["weight"].item()


def test_a_killed_run_continues_to_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pretrain(Line(), SETTINGS, tmp_path / "whole", no_progress)
    monkeypatch.setattr(pretraining, "CHECKPOINT_SECONDS", -1.0)
    with pytest.raises(RuntimeError, match="power cut"):
        pretrain(Line(dies_at=6), SETTINGS, tmp_path / "killed", no_progress)
    again = Line()
    pretrain(again, SETTINGS, tmp_path / "killed", no_progress)
    assert again.steps == 4
    assert slope(tmp_path / "killed") == slope(tmp_path / "whole")


def test_a_finished_run_is_not_trained_again(tmp_path: Path):
    pretrain(Line(), SETTINGS, tmp_path, no_progress)
    again = Line()
    pretrain(again, SETTINGS, tmp_path, no_progress)
    assert again.steps == 0


def test_a_folder_with_a_run_of_other_settings_is_refused(tmp_path: Path):
    pretrain(Line(), SETTINGS, tmp_path, no_progress)
    with pytest.raises(PretrainingError, match="other settings"):
        pretrain(Line(), SETTINGS._replace(num_images=80), tmp_path, no_progress)


def test_the_history_holds_the_loss_curve_and_what_it_took(tmp_path: Path):
    pretrain(Line(), SETTINGS, tmp_path, no_progress)
    history = read_json(tmp_path / HISTORY)
    assert [point["images"] for point in history["curve"]] == list(range(4, 44, 4))
    assert history["curve"][-1]["line"] < history["curve"][0]["line"]
    assert history["images"] == 40
    assert history["scores"]["slope"] == pytest.approx(slope(tmp_path))


def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path):
    part = Line()
    nn.init.constant_(part.trained.weight, float("nan"))
    with pytest.raises(PretrainingError, match="no longer a number at step 0"):
        pretrain(part, SETTINGS, tmp_path, no_progress)


def test_the_learning_rate_rises_and_falls_to_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    rates = []

    class NotingAdamW(torch.optim.AdamW):
        def step(self, closure: None = None) -> None:
            rates.append(self.param_groups[0]["lr"])
            super().step(closure)

    monkeypatch.setattr(torch.optim, "AdamW", NotingAdamW)
    settings = Settings(num_images=100, batch_size=1, learning_rate=1.0, warmup=0.1)
    pretrain(Line(), settings, tmp_path, no_progress)
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9] == pytest.approx(1.0)
    assert rates[55] == pytest.approx(0.5)
    assert rates[99] < 0.001


def test_the_mean_of_the_weights_follows_fast_at_first_and_then_as_set(tmp_path: Path):
    """By hand: after step k, counted from 0, it keeps min(average, (1 + k) / (10 + k)) of itself."""
    whole = []

    class Noting(Line):
        def losses(self, batch_size: int, generator: torch.Generator) -> dict[str, Tensor]:
            whole.append(self.trained.weight.item())
            return super().losses(batch_size, generator)

    pretrain(Noting(), SETTINGS._replace(average=0.3), tmp_path, no_progress)
    last = checkpoint.load(tmp_path)[0]["trained"]["weight"].item()
    mean = whole[0]
    for step, weight in enumerate([*whole[1:], last]):
        kept = min(0.3, (1 + step) / (10 + step))
        mean = kept * mean + (1 - kept) * weight
    assert slope(tmp_path) == pytest.approx(mean, rel=1e-6)
