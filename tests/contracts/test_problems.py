"""What every problem must obey: stages call these methods and never ask which problem it is."""

from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from PIL import Image

from taskdistill.configs import choices
from taskdistill.configs.evaluation import WindowSettings
from taskdistill.configs.stages import MeanOf
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.tables import read_table, write_columns
from taskdistill.tasks.functional.comparison import standard_error
from taskdistill.tasks.functional.losses import num_answers
from taskdistill.tasks.functional.mixup import Mixing, cutmix, mixup
from taskdistill.tasks.functional.views import Pixels, clean_view
from taskdistill.tasks.models.encoder import Block
from taskdistill.tasks.models.preprocessing import Preprocessing
from taskdistill.tasks.problems.answers import Asked
from taskdistill.tasks.problems.metrics import metrics_of
from taskdistill.tasks.problems.palette import palette
from taskdistill.tasks.problems.problem import (
    Meter,
    Problem,
    num_targets_of,
    problem_named,
    score_of,
    targets_of,
    task_loss_of,
)
from tests.conftest import Bench
from tests.fakes import gradient_image
from tests.masked_images import commit_masked, masked_row

Judge = Callable[..., Meter]

WIDTH = 6

MIXINGS = [
    pytest.param(mixup(0.75, (8, 8)), id="mixup"),
    pytest.param(cutmix(0.75, (8, 8), np.random.default_rng(0)), id="cutmix"),
]


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
        return torch.from_numpy(targets_of(problem, images, rows.tolist(), views, (32, 32)))

    @pytest.fixture
    def outputs(self, problem: Problem, images: ImageSet, targets: torch.Tensor) -> torch.Tensor:
        """What an untrained head says of twelve random features."""
        torch.manual_seed(0)
        head = problem.head([self.block(WIDTH)], len(images.classes))
        return head(self.features(len(targets), WIDTH)).detach()

    def block(self, width: int) -> Block:
        """What a head of the problem sees."""
        return Block("last", width)

    def features(self, num: int, width: int) -> torch.Tensor:
        """Random ones of so many images."""
        return torch.randn(num, width)

    def truth(self, problem: Problem, images: ImageSet, size: tuple[int, int]) -> np.ndarray:
        """What an image of this size is judged against."""
        return problem.truth(images, int(images.rows_of("test")[0]))

    @pytest.fixture
    def judge(self, problem: Problem, images: ImageSet, targets: torch.Tensor) -> Judge:
        """Return a function outputs -> meter that has seen them in batches."""

        def judged(outputs: torch.Tensor, *, teacher: torch.Tensor | None = None, batch_size: int = 12) -> Meter:
            meter = problem.meter(problem.classes(images))
            for start in range(0, len(outputs), batch_size):
                batch = slice(start, start + batch_size)
                said = None if teacher is None else teacher[batch]
                meter.update(outputs[batch], targets[batch], teacher=said)
            return meter

        return judged

    def test_there_is_a_target_for_each_image(self, targets: torch.Tensor) -> None:
        assert len(targets) == 12

    def test_both_losses_have_a_finite_mean_with_a_gradient(
        self, problem: Problem, outputs: torch.Tensor, targets: torch.Tensor
    ) -> None:
        for loss_of in (
            lambda given: problem.task_loss(given, targets),
            lambda given: problem.distill_loss(given, torch.zeros_like(outputs), 2.0),
        ):
            given = outputs.clone().requires_grad_()
            loss = loss_of(given).mean()
            assert loss.shape == ()
            assert torch.isfinite(loss)
            loss.backward()
            assert given.grad is not None
            assert given.grad.abs().sum() > 0

    def test_a_student_that_says_what_its_teacher_says_has_no_distill_loss(
        self, problem: Problem, outputs: torch.Tensor
    ) -> None:
        assert float(problem.distill_loss(outputs, outputs, 2.0).mean()) == pytest.approx(0, abs=1e-6)
        assert float(problem.distill_loss(outputs, outputs.flip(0), 2.0).mean()) > 0

    def test_what_the_losses_count_is_known_before_there_are_outputs(
        self, problem: Problem, outputs: torch.Tensor, targets: torch.Tensor
    ) -> None:
        teacher = outputs.flip(0)
        assert problem.task_loss(outputs, targets).count == problem.num_targets(targets) > 0
        assert problem.distill_loss(outputs, teacher, 2.0).count == num_answers(teacher)
        shown_N4 = torch.tensor([[0.0, 1.0, 0.0, 1.0], [0.5, 1.0, 0.0, 1.0], [0.0, 0.1, 0.0, 0.1]] * 4)
        assert problem.distill_loss(outputs, teacher, 2.0, shown_N4).count == num_answers(teacher, shown_N4)

    def test_the_losses_of_parts_add_up_to_those_of_the_whole(
        self, problem: Problem, outputs: torch.Tensor, targets: torch.Tensor
    ) -> None:
        parts, teacher = (slice(0, 5), slice(5, 12)), outputs.flip(0)
        for loss_of in (
            lambda rows: problem.task_loss(outputs[rows], targets[rows]),
            lambda rows: problem.distill_loss(outputs[rows], teacher[rows], 2.0),
        ):
            whole, added = loss_of(slice(None)), loss_of(parts[0]) + loss_of(parts[1])
            assert added.count == whole.count
            assert float(added.total) == pytest.approx(float(whole.total), rel=1e-5)

    @pytest.mark.parametrize("mixing", MIXINGS)
    def test_the_targets_of_mixed_images_weigh_one_in_all(
        self, problem: Problem, outputs: torch.Tensor, targets: torch.Tensor, mixing: Mixing
    ) -> None:
        mixed = problem.mix_targets(targets, mixing)
        assert sum(weight for weight, _ in mixed) == pytest.approx(1)
        loss = task_loss_of(problem, outputs, mixed)
        assert loss.count == num_targets_of(problem, mixed)
        assert torch.isfinite(loss.mean())

    @pytest.mark.parametrize("mixing", MIXINGS)
    def test_an_image_that_is_mixed_with_the_same_one_is_to_be_recognised_as_before(
        self, problem: Problem, outputs: torch.Tensor, targets: torch.Tensor, mixing: Mixing
    ) -> None:
        same = targets[:1].expand(12, *targets.shape[1:])
        expected = problem.task_loss(outputs, same).mean()
        mixed = problem.mix_targets(same, mixing)
        torch.testing.assert_close(task_loss_of(problem, outputs, mixed).mean(), expected)
        taught = outputs[:1].expand(outputs.shape).half()
        its_loss = problem.distill_loss(problem.mix_outputs(taught, mixing, 2.0), taught, 2.0)
        assert float(its_loss.mean()) == pytest.approx(0, abs=1e-5)

    @pytest.mark.parametrize("temperature", [1.0, 4.0])
    def test_a_mixture_teaches_what_both_its_images_teach_each_by_its_share(
        self, problem: Problem, outputs: torch.Tensor, temperature: float
    ) -> None:
        """The gradient against the mixed outputs is the weighted mean of those against each."""
        teacher, student = outputs * 3, outputs.roll(1, 0)
        mixture = problem.mix_outputs(teacher, mixup(0.7, (8, 8)), temperature)
        assert mixture.shape == teacher.shape
        gradients = []
        for one in (mixture, teacher, teacher.flip(0)):
            given = student.clone().requires_grad_()
            problem.distill_loss(given, one, temperature).mean().backward()
            gradients.append(given.grad)
        of_mixture, of_own, of_other = gradients
        torch.testing.assert_close(of_mixture, 0.7 * of_own + 0.3 * of_other, atol=1e-6, rtol=1e-4)

    @pytest.mark.parametrize("mean_of", get_args(MeanOf))
    def test_the_mean_of_several_models_that_say_the_same_is_what_each_says(
        self, problem: Problem, outputs: torch.Tensor, mean_of: str
    ) -> None:
        mean = problem.mean([outputs.half(), outputs.half(), outputs.half()], mean_of)
        assert mean.shape == outputs.shape
        assert float(problem.distill_loss(mean, outputs.half(), 2.0).mean()) == pytest.approx(0, abs=1e-5)

    @pytest.mark.parametrize("mean_of", get_args(MeanOf))
    def test_the_mean_of_two_models_is_nearer_to_each_than_they_are_to_each_other(
        self, problem: Problem, outputs: torch.Tensor, mean_of: str
    ) -> None:
        others = outputs.flip(0)
        mean, turned = problem.mean([outputs, others], mean_of), problem.mean([others, outputs], mean_of)
        torch.testing.assert_close(mean, turned)
        apart = float(problem.distill_loss(outputs, others, 2.0).mean())
        for one in (outputs, others):
            assert 0 < float(problem.distill_loss(one, mean, 2.0).mean()) < apart

    def test_teachers_in_half_precision_are_understood(self, problem: Problem, outputs: torch.Tensor) -> None:
        assert torch.isfinite(problem.distill_loss(outputs, outputs.half(), 2.0).mean())

    def test_the_classes_are_those_that_the_head_tells_apart(self, problem: Problem, images: ImageSet) -> None:
        assert problem.classes(images) == images.classes

    def test_every_metric_it_computes_is_declared_and_the_first_is_always_there(
        self, judge: Judge, problem: Problem, outputs: torch.Tensor
    ) -> None:
        declared = [metric.name for metric in problem.metrics]
        assert len(set(declared)) == len(declared)
        alone, taught = judge(outputs).compute(), judge(outputs, teacher=outputs.flip(0)).compute()
        for values in (alone, taught):
            assert declared[0] in values
            assert all(isinstance(value, float) and np.isfinite(value) for value in values.values())
        assert alone.keys() <= taught.keys() == set(declared)
        assert {name: taught[name] for name in alone} == alone

    def test_its_metrics_are_shown_as_declared_without_torch(self, problem: Problem) -> None:
        assert metrics_of(self.name) == problem.metrics

    def test_batches_of_any_size_give_what_all_images_at_once_give(self, judge: Judge, outputs: torch.Tensor) -> None:
        whole, parts = (judge(outputs, teacher=outputs.flip(0), batch_size=size) for size in (12, 5))
        assert parts.compute() == pytest.approx(whole.compute(), abs=1e-7)
        assert parts.standard_errors() == pytest.approx(whole.standard_errors(), abs=1e-7)
        for name, column in whole.columns().items():
            np.testing.assert_array_equal(parts.columns()[name], column)

    def test_gradient_descent_on_the_task_loss_raises_the_score(
        self, problem: Problem, images: ImageSet, targets: torch.Tensor
    ) -> None:
        torch.manual_seed(0)
        features = self.features(len(targets), 32)
        head = problem.head([self.block(32)], len(images.classes))
        before = _score(problem, head(features).detach(), targets)
        optimizer = torch.optim.SGD(head.parameters(), lr=0.1)
        for _ in range(100):
            optimizer.zero_grad()
            problem.task_loss(head(features), targets).mean().backward()
            optimizer.step()
        assert _score(problem, head(features).detach(), targets) > before

    def test_two_models_that_say_the_same_agree_fully(self, problem: Problem, outputs: torch.Tensor) -> None:
        assert problem.agreement(outputs, outputs.clone()).tolist() == [1.0] * 12

    def test_the_metric_a_model_is_chosen_by_has_a_standard_error_and_others_may(
        self, judge: Judge, problem: Problem, outputs: torch.Tensor
    ) -> None:
        meter = judge(outputs, teacher=outputs.flip(0))
        errors = meter.standard_errors()
        assert problem.metrics[0].name in errors
        assert errors.keys() <= meter.compute().keys()
        assert all(error >= 0 for error in errors.values())

    def test_models_are_compared_by_a_score_of_each_image(
        self, judge: Judge, problem: Problem, outputs: torch.Tensor
    ) -> None:
        meter, name = judge(outputs), problem.metrics[0].name
        score_N = meter.columns()["score"]
        assert score_N.shape == (12,)
        assert score_N.astype(np.float64).mean() == pytest.approx(meter.compute()[name], abs=1e-5)
        assert standard_error(score_N) == pytest.approx(meter.standard_errors()[name], abs=1e-7)

    @pytest.mark.parametrize("size", [(40, 40), (64, 48), (3, 300), (301, 97)])
    def test_an_image_is_shown_in_windows_and_what_is_said_of_them_is_judged_as_one(
        self, problem: Problem, images: ImageSet, outputs: torch.Tensor, size: tuple[int, int]
    ) -> None:
        preprocessing = Preprocessing(32, (0.5,) * 3, (0.5,) * 3, "bilinear", 0.875, "center")
        windows_M9 = problem.windows(*size, preprocessing, WindowSettings())
        assert windows_M9.ndim == 2
        assert windows_M9.shape[1] == 9
        alone = outputs[:1].expand(len(windows_M9), *outputs.shape[1:])
        meter, same = problem.meter(problem.classes(images)), problem.joined(alone, windows_M9, *size)
        meter.update(same, torch.from_numpy(self.truth(problem, images, size)[None]), teacher=same)
        assert meter.columns()["score"].shape == (1,)
        assert all(np.isfinite(value) for value in meter.compute().values())
        [agreement] = [metric.name for metric in problem.metrics if "teacher" in metric.name]
        assert meter.compute()[agreement] == 1

    def test_what_is_told_of_an_image_without_a_label_are_the_cells_and_pictures_it_declares(
        self, problem: Problem, images: ImageSet, outputs: torch.Tensor
    ) -> None:
        preprocessing, size = Preprocessing(32, (0.5,) * 3, (0.5,) * 3, "bilinear", 0.875, "center"), (40, 60)
        views_M9 = problem.windows(*size, preprocessing, WindowSettings())
        joined = problem.joined(outputs[:1].expand(len(views_M9), *outputs.shape[1:]), views_M9, *size)
        classes = problem.classes(images)
        asked = Asked(classes, palette(len(classes)), temperature=2.0, top=2)
        form = problem.answer_form(asked)
        answer = problem.answer(joined, asked, np.zeros((*size, 3), np.uint8) if form.pictures else None)
        assert list(answer.columns) == list(form.columns)
        assert all(isinstance(value, form.columns[name]) for name, value in answer.columns.items())
        assert tuple(answer.pictures) == form.pictures

    def test_its_table_of_classes_has_a_line_for_each_and_their_means_are_metrics(
        self, judge: Judge, problem: Problem, images: ImageSet, outputs: torch.Tensor
    ) -> None:
        meter = judge(outputs)
        columns, of_classes = meter.class_columns(), [one for one in problem.metrics if one.of_classes]
        assert all(column.shape == (len(problem.classes(images)),) for column in columns.values())
        assert {one.of_classes for one in of_classes} <= columns.keys()
        for metric in of_classes:
            assert np.nanmean(columns[metric.of_classes]) == pytest.approx(meter.compute()[metric.name])

    def test_the_table_of_predictions_has_a_row_for_each_image_and_can_be_written(
        self, judge: Judge, outputs: torch.Tensor, tmp_path: Path
    ) -> None:
        columns = judge(outputs, teacher=outputs.flip(0)).columns()
        assert all(len(column) == len(outputs) for column in columns.values())
        assert not columns.keys() & {"id", "label"}  # the stage's
        write_columns(tmp_path / "predictions.parquet", columns)
        assert len(read_table(tmp_path / "predictions.parquet")) == 12

    def test_its_pictures_are_png_files_that_begin_with_the_name_asked_for(
        self, judge: Judge, outputs: torch.Tensor, tmp_path: Path
    ) -> None:
        judge(outputs).draw(tmp_path, "val", _grey)
        pictures = list(tmp_path.iterdir())
        assert pictures
        for picture in pictures:
            assert picture.name.startswith("val")
            with Image.open(picture) as opened:
                assert opened.format == "PNG"

    def test_its_pictures_are_drawn_whatever_the_classes_are_called(
        self, problem: Problem, outputs: torch.Tensor, targets: torch.Tensor, tmp_path: Path
    ) -> None:
        meter = problem.meter(["猫", "$x_{", "{0}\n\udce9"])
        meter.update(outputs, targets)
        meter.draw(tmp_path, "val", _grey)
        names = [path.name for path in tmp_path.iterdir()]
        assert any(name.endswith(".png") for name in names)
        assert all(name.startswith("val") for name in names)


def _grey(item: int) -> Pixels:
    return np.full((40, 40, 3), 128, np.uint8)


def _score(problem: Problem, outputs: torch.Tensor, targets: torch.Tensor) -> float:
    meter = problem.meter(["disc", "frame", "wedge"])
    meter.update(outputs, targets)
    return score_of(problem, meter).value


class TestClassification(ProblemContract):
    name = "classification"

    def test_its_head_gives_one_logit_for_each_class(self, outputs: torch.Tensor) -> None:
        assert outputs.shape == (12, 3)


class TestSegmentation(ProblemContract):
    name = "segmentation"

    @pytest.fixture
    def images(self, tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
        """A shape in a corner, another in the middle, the right edge unknown; one image of which nothing is known."""
        rng, rows = np.random.default_rng(0), []
        for number in range(12):
            mask_HW = np.zeros((40, 40), np.uint8)
            mask_HW[: rng.integers(10, 30), : rng.integers(10, 30)] = 1
            mask_HW[15:25, 10 : rng.integers(12, 35)] = 2
            mask_HW[:, 36:] = 255
            if number == 5:
                mask_HW[:] = 255
            rows.append(masked_row(f"{number:02d}.png", "test", gradient_image(40, 40), mask_HW))
        store = ArtifactStore(tmp_path_factory.mktemp("masked") / "store")
        return ImageSet.open(store.path(commit_masked(store, rows, ["disc", "frame", "wedge"])))

    def block(self, width: int) -> Block:
        return Block("map", width, 8)

    def features(self, num: int, width: int) -> torch.Tensor:
        return torch.randn(num, width, 4, 4)

    def truth(self, problem: Problem, images: ImageSet, size: tuple[int, int]) -> np.ndarray:
        return np.ones(size, np.int64)


class TestToyProblem(ProblemContract):
    name = "ordinal"

    @pytest.fixture(autouse=True)
    def known(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(choices.PROBLEMS, "ordinal", "tests.fakes:Ordinal")
        monkeypatch.setitem(choices.METRICS, "ordinal", "tests.fakes:ORDINAL_METRICS")


def test_metrics_of_a_problem_that_declares_none_are_none() -> None:
    assert metrics_of("tarot") == ()
