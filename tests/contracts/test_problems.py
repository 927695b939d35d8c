"""What every problem must obey: stages call these methods and never ask which problem it is."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from storage.image_set import ImageSet
from tasks.functional.views import clean_view
from tasks.models.encoder import Block
from tasks.problems.problem import Problem, problem_named, targets_of
from tests.conftest import Bench

WIDTH = 6


class ProblemContract:
    """The rules; a subclass names the problem."""

    name: str

    @pytest.fixture
    def problem(self) -> Problem:
        return problem_named(self.name)

    @pytest.fixture
    def images(self, finished_bench: Bench) -> ImageSet:
        return ImageSet.open(finished_bench.path(finished_bench.images))

    @pytest.fixture
    def targets(self, problem: Problem, images: ImageSet) -> torch.Tensor:
        """What is to be learnt from twelve images."""
        rows = images.rows_of("test")
        views = np.stack([clean_view(40, 40, 1.0, "center")] * len(rows))
        return torch.from_numpy(targets_of(problem, images, rows.tolist(), views, 32))

    @pytest.fixture
    def outputs(self, problem: Problem, images: ImageSet, targets: torch.Tensor) -> torch.Tensor:
        """What an untrained head says of twelve random features."""
        torch.manual_seed(0)
        head = problem.head([Block("last", WIDTH)], len(images.classes))
        return head(torch.randn(len(targets), WIDTH)).detach()

    def test_there_is_a_target_for_each_image(self, targets: torch.Tensor) -> None:
        assert len(targets) == 12

    def test_both_losses_are_finite_scalars_with_a_gradient(
        self, problem: Problem, outputs: torch.Tensor, targets: torch.Tensor
    ) -> None:
        for loss_of in (
            lambda given: problem.task_loss(given, targets),
            lambda given: problem.distill_loss(given, torch.zeros_like(outputs), 2.0),
        ):
            given = outputs.clone().requires_grad_()
            loss = loss_of(given)
            assert loss.shape == ()
            assert torch.isfinite(loss)
            loss.backward()
            assert given.grad is not None
            assert given.grad.abs().sum() > 0

    def test_a_student_that_says_what_its_teacher_says_has_no_distill_loss(
        self, problem: Problem, outputs: torch.Tensor
    ) -> None:
        assert float(problem.distill_loss(outputs, outputs, 2.0)) == pytest.approx(0, abs=1e-6)
        assert float(problem.distill_loss(outputs, outputs.flip(0), 2.0)) > 0

    def test_teachers_in_half_precision_are_understood(self, problem: Problem, outputs: torch.Tensor) -> None:
        assert torch.isfinite(problem.distill_loss(outputs, outputs.half(), 2.0))

    def test_the_score_a_model_is_chosen_by_is_among_the_metrics(
        self, problem: Problem, outputs: torch.Tensor, targets: torch.Tensor
    ) -> None:
        metrics = problem.metrics(outputs, targets)
        assert problem.score_name in metrics
        assert all(isinstance(value, float) and np.isfinite(value) for value in metrics.values())

    def test_gradient_descent_on_the_task_loss_raises_the_score(
        self, problem: Problem, images: ImageSet, targets: torch.Tensor
    ) -> None:
        torch.manual_seed(0)
        features = torch.randn(len(targets), 32)
        head = problem.head([Block("last", 32)], len(images.classes))
        before = problem.metrics(head(features).detach(), targets)[problem.score_name]
        optimizer = torch.optim.SGD(head.parameters(), lr=0.1)
        for _ in range(100):
            optimizer.zero_grad()
            problem.task_loss(head(features), targets).backward()
            optimizer.step()
        assert problem.metrics(head(features).detach(), targets)[problem.score_name] > before

    def test_two_models_that_say_the_same_agree_fully(self, problem: Problem, outputs: torch.Tensor) -> None:
        assert problem.agreement(outputs, outputs.clone()).tolist() == [1.0] * 12

    def test_the_scores_of_single_images_have_the_metric_as_their_mean(
        self, problem: Problem, outputs: torch.Tensor, targets: torch.Tensor
    ) -> None:
        metrics, by_image = problem.metrics(outputs, targets), problem.image_scores(outputs, targets)
        assert problem.score_name in by_image
        for name, values_N in by_image.items():
            assert values_N.shape == (12,)
            assert float(values_N.double().mean()) == pytest.approx(metrics[name], abs=1e-5)

    def test_the_table_of_predictions_has_a_row_for_each_image(self, problem: Problem, outputs: torch.Tensor) -> None:
        columns = problem.predictions(outputs)
        assert columns
        assert all(len(column) == len(outputs) for column in columns.values())

    def test_its_pictures_are_png_files_that_begin_with_the_name_asked_for(
        self, problem: Problem, outputs: torch.Tensor, targets: torch.Tensor, images: ImageSet, tmp_path: Path
    ) -> None:
        problem.draw(tmp_path, "val", outputs, targets, images.classes)
        pictures = list(tmp_path.iterdir())
        assert pictures
        for picture in pictures:
            assert picture.name.startswith("val")
            with Image.open(picture) as opened:
                assert opened.format == "PNG"

    def test_its_pictures_are_drawn_whatever_the_classes_are_called(
        self, problem: Problem, outputs: torch.Tensor, targets: torch.Tensor, tmp_path: Path
    ) -> None:
        problem.draw(tmp_path, "val", outputs, targets, ["猫", "$x_{", "{0}\n\udce9"])
        names = [path.name for path in tmp_path.iterdir()]
        assert any(name.endswith(".png") for name in names)
        assert all(name.startswith("val") for name in names)


class TestClassification(ProblemContract):
    name = "classification"

    def test_its_head_gives_one_logit_for_each_class(self, outputs: torch.Tensor) -> None:
        assert outputs.shape == (12, 3)
