"""Answers against labels: what is in order, what is permuted, what is guessing."""

import numpy as np
import torch

from taskdistill.tasks.foreign.confusion import counted, doubts, table
from taskdistill.tasks.functional.losses import IGNORED

CLASSES = ["road", "sky", "car", "tree"]
SOUND = np.asarray([[90, 5, 5, 0], [5, 90, 0, 5], [10, 0, 80, 10], [0, 20, 0, 80]])


def test_answers_are_counted_by_label_and_what_has_no_label_is_left_out() -> None:
    outputs = torch.eye(3)[[0, 2, 2, 1]]
    counts = counted(outputs, torch.tensor([0, 2, 1, IGNORED]), num_classes=3)
    assert counts.tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 1]]


def test_a_map_is_brought_to_the_size_of_its_labels() -> None:
    outputs_1Khw = torch.tensor([[[[5.0, -5.0]], [[-5.0, 5.0]]]])
    targets_1HW = torch.tensor([[[0, 0, 1, 1], [0, IGNORED, 1, 0]]])
    assert counted(outputs_1Khw, targets_1HW, num_classes=2).tolist() == [[3, 1], [0, 3]]


def test_a_teacher_that_answers_as_its_map_says_is_not_doubted() -> None:
    assert doubts(SOUND, CLASSES) == []


def test_classes_in_another_order_are_named_with_what_they_are_called() -> None:
    (said,) = doubts(SOUND[:, [1, 2, 0, 3]], CLASSES)
    assert "look permuted: 'road' is called 'car' (90%), 'sky' is called 'road' (90%), 'car' is called 'sky'" in said


def test_answers_at_random_are_told_from_guessing() -> None:
    counts = np.random.default_rng(0).multinomial(100, [0.7, 0.1, 0.1, 0.1], size=4)
    (said,) = doubts(counts, CLASSES)
    assert "where guessing has 25.0%" in said


def test_two_classes_of_which_one_is_always_mistaken_are_no_permutation() -> None:
    counts = SOUND.copy()
    counts[3] = [0, 90, 0, 10]
    assert doubts(counts, CLASSES) == []


def test_the_table_shows_percents_of_each_label() -> None:
    written = table(SOUND, CLASSES)
    row = next(line for line in written.splitlines() if line.startswith("2 car"))
    assert row.split() == ["2", "car", "100", "10", ".", "80", "10"]


def test_of_many_classes_the_table_shows_the_most_frequent() -> None:
    counts = np.diag(np.arange(30))
    written = table(counts, [f"class{number}" for number in range(30)])
    assert "29 class29" in written
    assert "and 6 classes with fewer labels" in written
