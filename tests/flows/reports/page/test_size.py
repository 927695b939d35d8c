"""Score against parameters and latency, of a small real run."""

import os

from taskdistill.flows.pipeline.chain import CONTROL, START, STUDENT
from taskdistill.flows.reports.page.blocks import Chart, Table, Words
from taskdistill.flows.reports.page.latency import Timed, timed
from taskdistill.flows.reports.page.size import size
from taskdistill.flows.reports.page.subject import Subject
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.cores import num_cores
from taskdistill.tasks.export.latency import Latency
from tests.flows.reports.page.made_up import TEACHER, made_up


def test_networks_that_differ_in_their_weights_alone_are_measured_once(subject: Subject) -> None:
    found = timed(subject)
    assert found.missing == []
    assert list(found.by_model) == list(subject.by_model)
    students = {id(latency) for model, latency in found.by_model.items() if model != TEACHER}
    assert len(students) == 1
    assert id(found.by_model[TEACHER]) not in students
    assert all((one.batch, one.threads) == (1, num_cores()) for one in found.by_model.values())


def test_score_is_drawn_against_both_and_how_latency_was_measured_is_told(subject: Subject) -> None:
    section = size(subject)
    assert section
    charts = [block for block in section.blocks if isinstance(block, Chart)]
    assert [chart.caption.partition(" against ")[2].partition(",")[0] for chart in charts] == [
        "million parameters", "ms for one image",
    ]  # fmt: skip
    (table,) = [block for block in section.blocks if isinstance(block, Table)]
    assert [row[0] for row in table.rows] == [
        TEACHER,
        ", ".join(model for model in subject.by_model if model != TEACHER),
    ]
    for _, median, within, times in table.rows:
        assert 0 < float(median) <= float(within)
        assert int(times) >= 3
    assert f"on this machine's CPU with {num_cores()} thread" in table.caption
    assert " ms</title>" in charts[1].svg


def test_a_network_that_is_gone_is_named_and_the_others_are_measured(subject: Subject) -> None:
    subject.store.remove(subject.by_model[TEACHER][0].artifact)
    found = timed(subject)
    assert list(found.by_model)[:2] == [START, CONTROL]
    (missing,) = found.missing
    assert missing.startswith(f"The latency of {TEACHER} is not known: ")


def test_where_no_network_is_there_the_size_is_drawn_all_the_same(store: ArtifactStore) -> None:
    section = size(made_up(store, ["ant", "bee"], [0, 1] * 20))
    assert section
    chart, words = section.blocks
    assert isinstance(chart, Chart)
    assert isinstance(words, Words)
    assert words.text.startswith(f"The latency of {TEACHER} is not known: ")
    assert STUDENT not in words.text


def test_what_other_programs_took_of_the_processors_is_told() -> None:
    latency = Latency("store (torch)", "cpu", os.cpu_count() or 1, 1, 5.0, 6.0, 30)
    assert "but other programs were" not in Timed({TEACHER: latency}, [], beside=0.1).table.caption
    assert (
        f"but other programs were (2.0 threads beside this one on {os.cpu_count()} processors), so these are not the "
        "figures of an idle machine"
    ) in Timed({TEACHER: latency}, [], beside=2.0).table.caption
