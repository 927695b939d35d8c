"""Columns of a graph: by hand, and by what must hold for any graph."""

import itertools
from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from taskdistill.flows.reports.page.layering import Inputs, Passing, Place, layered, num_crossings, without_detours


@st.composite
def graphs(draw: st.DrawFn) -> Inputs:
    """Up to 9 nodes, each made from some of those before it."""
    names = [f"n{number}" for number in range(draw(st.integers(1, 9)))]
    return {
        name: draw(st.lists(st.sampled_from(names[:number]), unique=True)) if number else []
        for number, name in enumerate(names)
    }


def reachable(inputs: Inputs) -> np.ndarray:
    """Which node leads to which, by any way: powers of the matrix of arrows."""
    names = list(inputs)
    arrows = np.array([[one in inputs[node] for one in names] for node in names], int)
    ways = sum(np.linalg.matrix_power(arrows, length) for length in range(1, len(names) + 1))
    return np.asarray(ways > 0)


def one_less(inputs: Inputs, node: str, one: str) -> Inputs:
    return {**inputs, node: [other for other in inputs[node] if other != one]}


@given(graphs())
def test_detours_are_left_out_and_nothing_that_leads_somewhere_is(inputs: Inputs) -> None:
    found = without_detours(inputs)
    assert (reachable(found) == reachable(inputs)).all()
    for node, ones in found.items():
        for one in ones:
            assert (reachable(one_less(found, node, one)) != reachable(inputs)).any()


@given(graphs())
def test_every_arrow_goes_to_the_right_over_one_place_in_each_column(inputs: Inputs) -> None:
    columns, arrows = layered(inputs)
    column_of = {place: number for number, column in enumerate(columns) for place in column}
    assert sorted(place for place in column_of if isinstance(place, str)) == sorted(inputs)
    assert len(column_of) == sum(map(len, columns))
    assert sorted((way[0], way[-1]) for way in arrows) == sorted(
        (one, node) for node, ones in inputs.items() for one in ones
    )
    for way in arrows:
        first = column_of[way[0]]
        assert [column_of[place] for place in way] == list(range(first, first + len(way)))


def crossings(inputs: Inputs) -> int:
    columns, arrows = layered(inputs)
    after: dict[Place, list[Place]] = {place: [] for column in columns for place in column}
    for way in arrows:
        for one, other in itertools.pairwise(way):
            after[one].append(other)
    return num_crossings(columns, after)


def test_arrows_that_need_not_cross_do_not() -> None:
    assert crossings({"a": [], "b": [], "c": [], "x": ["c"], "y": ["a"], "z": ["b"]}) == 0
    ladder = {"images": [], "teacher": ["images"], "student": ["images"], "logits": ["teacher"]}
    assert crossings({**ladder, "distilled": ["student", "logits"], "finetuned": ["student"]}) == 0


def test_crossings_are_counted() -> None:
    columns: Sequence[Sequence[Place]] = [["a", "b"], ["x", "y"]]
    assert num_crossings(columns, {"a": ["y"], "b": ["x"]}) == 1
    assert num_crossings(columns, {"a": ["x", "y"], "b": ["x", "y"]}) == 1
    assert num_crossings(columns, {"a": ["x"], "b": ["y"]}) == 0


def test_a_long_arrow_has_a_place_in_each_column_it_passes() -> None:
    columns, _ = layered({"a": [], "b": ["a"], "c": ["b"], "d": ["c", "a"]})
    assert [sum(isinstance(place, Passing) for place in column) for column in columns] == [0, 1, 1, 0]
