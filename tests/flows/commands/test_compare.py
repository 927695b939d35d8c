"""The command compare: two students of a finished run, and what cannot be compared."""

import csv
from pathlib import Path

import numpy as np
import pytest

from taskdistill.configs.experiment import Experiment
from taskdistill.flows.pipeline.chain import CONTROL, STUDENT
from taskdistill.flows.pipeline.planning import make_plan
from taskdistill.flows.reports.page.subject import Subject
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.tables import read_column
from tests.flows.conftest import Command, call
from tests.flows.reports.page.made_up import made_up
from tests.flows.scored import commit, evaluated


@pytest.fixture
def made(experiment: Experiment, finished: ArtifactStore) -> dict[str, ArtifactRef]:
    """Step -> its artifact in the finished store."""
    return {step.name: step.ref for step in make_plan(experiment, finished).steps}


@pytest.fixture
def students(made: dict[str, ArtifactRef]) -> list[str]:
    return [made["finetune-seed0"].short, made["distill-seed0"].short]


def test_two_students_are_compared_image_by_image(
    taskdistill: Command, finished: ArtifactStore, made: dict[str, ArtifactRef], students: list[str]
) -> None:
    tables = [
        finished.path(made[f"evaluate-{end}-seed0"]) / "test-predictions.parquet" for end in ("finetuned", "distilled")
    ]
    finetuned, distilled = (np.asarray(read_column(table, "score")) for table in tables)
    [top1, *others] = taskdistill("compare", *students, "--json").json["compared"]
    assert (top1["metric"], top1["model"], top1["reference"]) == ("top1", students[1], students[0])
    assert top1["difference"] == pytest.approx(distilled.mean() - finetuned.mean())
    assert top1["mcnemar_only_first"] == np.sum((distilled == 1) & (finetuned == 0))
    assert top1["mcnemar_only_second"] == np.sum((distilled == 0) & (finetuned == 1))
    assert [row["metric"] for row in others] == ["mean_class_accuracy", "nll", "ece"]
    assert all(row["low"] <= row["difference"] <= row["high"] for row in [top1, *others])


def test_a_model_beside_its_evaluation_is_the_same(taskdistill: Command, made: dict[str, ArtifactRef]) -> None:
    done = taskdistill("compare", made["distill-seed0"].short, made["evaluate-distilled-seed0"].short)
    assert "They differ on 0 images" in done.stdout
    assert "p = 1" in done.stdout


@pytest.fixture
def pair(store: ArtifactStore) -> Subject:
    """Two students that answer 60 images of two classes by chance."""
    return made_up(store, ["ant", "bee"], [0] * 40 + [1] * 20)


def answers_where_they_differ(pair: Subject) -> dict[str, list[str]]:
    """Image -> its class, and what the student without a teacher and the one with it say; where one alone is right."""
    [finetuned], [distilled] = pair.answers_of(CONTROL), pair.answers_of(STUDENT)
    rows = zip(finetuned.ids, finetuned.true, finetuned.said, distilled.said, strict=True)
    said = {image: [pair.classes[number] for number in numbers] for image, *numbers in rows}
    return {image: words for image, words in said.items() if words[1] != words[2]}


def models_of(pair: Subject) -> list[str]:
    return [pair.by_model[model][0].evaluation.short for model in (CONTROL, STUDENT)]


def test_the_images_on_which_they_differ_are_written_to_a_table(pair: Subject, tmp_path: Path) -> None:
    file, (finetuned, distilled) = tmp_path / "images.csv", models_of(pair)
    images = call(pair.store, "compare", finetuned, distilled, "--images", str(file), "--json").json["images"]
    with file.open(newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert [row["id"] for row in rows] == [image["id"] for image in images]
    columns = ("label", f"answer of {finetuned}", f"answer of {distilled}")
    expected = answers_where_they_differ(pair)
    assert len(expected) > 5
    assert {row["id"]: [row[column] for column in columns] for row in rows} == expected


def test_of_images_on_which_they_differ_some_are_printed_with_what_each_says_or_that_it_is_right(pair: Subject) -> None:
    _, _, printed = call(pair.store, "compare", *models_of(pair)).stdout.partition("They differ on")
    expected = answers_where_they_differ(pair)
    shown = [line.split() for line in printed.splitlines() if ".png" in line]
    assert len(shown) == min(10, len(expected))
    for image, label, *cells in shown:
        assert [label if cell == "=" else cell for cell in cells] == expected[image][1:]
        assert label == expected[image][0]


def test_a_probe_is_called_by_its_network_whatever_was_scored_of_it(
    taskdistill: Command, made: dict[str, ArtifactRef], students: list[str]
) -> None:
    teacher, student = made["evaluate-teacher"].short, made["evaluate-student-probed"].short
    printed = " ".join(taskdistill("compare", students[0], teacher, student).stdout.split())
    assert f"test_vit probed ({teacher})" in printed
    assert f"test_resnet probed ({student})" in printed


def test_seeds_of_one_model_are_joined_by_a_comma(store: ArtifactStore) -> None:
    images = commit(store, "image-set", {})
    first, second, base = (
        evaluated(store, "student", seed, scores, inputs={"images": images}).evaluation.short
        for seed, scores in enumerate([[1, 1, 1, 0], [1, 0, 1, 0], [0, 0, 1, 0]])
    )
    [top1] = call(store, "compare", base, f"{first},{second}", "--json").json["compared"]
    assert (top1["value"], top1["reference_value"]) == (0.625, 0.25)
    assert "mcnemar_p_value" not in top1
    assert top1["p"] == pytest.approx(0.5)  # two images differ: both one way is 2 of 4 ways
    lines = [line.split() for line in call(store, "compare", base, f"{first},{second}").stdout.splitlines()]
    assert ["1.png", "0.0", "50.0"] in lines
    assert ["0.png", "0.0", "100.0"] in lines


def test_what_is_clear_with_these_seeds_alone_is_said_to_be_so(store: ArtifactStore) -> None:
    inputs = {"images": commit(store, "image-set", {})}
    base = evaluated(store, "base", 0, [0] * 20 + [1] * 80, inputs=inputs).evaluation.short
    same = evaluated(store, "it", 0, [0] * 20 + [1] * 80, inputs=inputs).evaluation.short
    better = evaluated(store, "it", 1, [1] * 100, inputs=inputs).evaluation.short
    said = call(store, "compare", base, f"{same},{better}").stdout  # of both +10 on 20 images, of the first alone 0
    assert "with these seeds; others may come out otherwise, as the interval, which draws seeds too, has 0" in said
    assert "with these seeds" not in call(store, "compare", base, better).stdout


def test_models_that_differ_in_more_than_the_seed_are_not_taken_for_seeds_of_one(store: ArtifactStore) -> None:
    images = commit(store, "image-set", {})

    def scored(stage: str, seed: int) -> str:
        config = {"number": 0, "seed": seed, "training": {"epochs": 9}}
        model = commit(store, "model", {"steps": 9}, stage=stage, config=config)
        return evaluated(store, stage, seed, [1, 0] * 5, inputs={"images": images, "model": model}).evaluation.short

    first, second, finetuned = scored("distill", 0), scored("distill", 1), scored("finetune", 0)
    refused = call(store, "compare", f"{first},{finetuned}", second).stderr
    assert f"{first} and {finetuned} differ in more than the seed, so they are no seeds of one model" in refused
    assert call(store, "compare", f"{first},{second}", finetuned, "--json").json["compared"]


@pytest.mark.parametrize(
    ("only_second", "num_images", "p", "is_clear"),
    [(1, 1, 1.0, False), (3, 3, 0.25, False), (4, 100, 0.125, False), (6, 100, 0.03125, True)],
)
def test_a_difference_is_marked_where_the_exact_test_says_so_and_not_by_draws_of_few_images(
    store: ArtifactStore, only_second: int, num_images: int, p: float, is_clear: bool
) -> None:
    inputs = {"images": commit(store, "image-set", {})}
    right = [0] * only_second + [1] * (num_images - only_second)
    first = evaluated(store, "it", 0, right, inputs=inputs).evaluation.short
    second = evaluated(store, "it", 1, [1] * num_images, inputs=inputs).evaluation.short
    [row] = call(store, "compare", first, second, "--json").json["compared"]
    assert (row["p"], row["is_clear"]) == (pytest.approx(p), is_clear)  # twice 0.5 ** only_second, at most 1
    printed = call(store, "compare", first, second).stdout
    difference = f"{100 * only_second / num_images:+.1f}"
    assert ([line for line in printed.splitlines() if f"* {difference}" in line] != []) == is_clear
    assert ("Of so few images nothing is told from chance" in printed) == (num_images < 6)


def test_what_cannot_be_compared_is_refused_with_the_reason(store: ArtifactStore) -> None:
    images, others = commit(store, "image-set", {}), commit(store, "image-set", {})
    one = evaluated(store, "student", 0, [1, 0], inputs={"images": images}).evaluation.short
    more = evaluated(store, "student", 0, [1, 0, 1], inputs={"images": others}).evaluation.short
    masks = evaluated(store, "student", 0, [1, 0], inputs={"images": images}, problem="segmentation").evaluation.short

    def refused(*names: str) -> str:
        return call(store, "compare", *names).stderr

    assert "they were scored on other images (1 are of one alone, such as '2.png')" in refused(one, more)
    assert "only models that learn the same can be compared" in refused(one, masks)
    assert "has no score of each image of val (scored: test)" in refused(one, one, "--split", "val")
    assert "name two models at least" in refused(one)
    assert "name a model, or an evaluation" in refused(one, images.short)
