"""What a page says of runs whose predictions are known, among them those that are unlike others."""

import itertools
import re
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, recall_score
from statsmodels.stats.proportion import proportion_confint

from taskdistill.flows.pipeline.chain import CONTROL, STUDENT
from taskdistill.flows.reports.page.blocks import Chart, Points, Section, Table, Words, plain
from taskdistill.flows.reports.page.by_class import by_class
from taskdistill.flows.reports.page.confusion import confusion
from taskdistill.flows.reports.page.dataset import dataset
from taskdistill.flows.reports.page.mistakes import agreement
from taskdistill.flows.reports.page.standing import scored_models
from taskdistill.flows.reports.page.subject import Subject
from taskdistill.flows.reports.page.subjects import command_of
from taskdistill.flows.reports.page.verdict import verdict
from taskdistill.flows.reports.page.writing import write_report
from taskdistill.storage.store import ArtifactStore
from tests.flows.conftest import Done, call
from tests.flows.reports.page.made_up import TEACHER, made_up

STRANGE = ["<b>bold</b>", "$$x^2$$", "🐦‍⬛ & 'bird'", "ציפור", "tab\there", "a" * 90]
MAX_BYTES, MAX_SECONDS = 10_000_000, 60


def written(subject: Subject, folder: Path) -> str:
    write_report(folder / "page.html", subject)
    return (folder / "page.html").read_text(encoding="utf-8")


def words(section: Section | None) -> str:
    """What stands in the paragraphs and lists of a section."""
    assert section
    texts = [[block.text] for block in section.blocks if isinstance(block, Words)]
    points = [block.sentences for block in section.blocks if isinstance(block, Points)]
    return "\n".join(itertools.chain(*texts, *points))


def table(section: Section | None) -> list[list[str]]:
    assert section
    (found,) = [block for block in section.blocks if isinstance(block, Table)]
    return [list(row) for row in found.rows]


@pytest.fixture(scope="module")
def plain_run(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """Four classes, of which 60, 30, 10 and 0 images are in test."""
    store = ArtifactStore(tmp_path_factory.mktemp("plain") / "store")
    return made_up(store, ["ant", "bee", "cat", "dog"], [0] * 60 + [1] * 30 + [2] * 10, seeds=(0, 1))


def test_the_verdict_names_winner_numbers_error_and_the_one_to_ship(plain_run: Subject) -> None:
    said = verdict(plain_run).blocks
    assert re.match(
        rf"{STUDENT} \d\d\.\d \(SE \d\.\d\) beats {CONTROL} \d\d\.\d \(SE \d\.\d\) on 100 images "
        r"of test, 2 seeds \(top-1\): \+\d+\.\d \(SE \d\.\d\) on the same images, paired p (= 0\.\d+|< 0\.001)",
        said[1].text,
    )
    best = plain_run.best
    assert best
    assert best.test is not None
    named = f"{STUDENT}, seed {best.result.seed}"
    assert said[0].text == f"Ship {named} ({best.artifact.short}): {100 * best.test:.1f} % on test."
    assert said[3].sentences[0].startswith(f"Best on validation: {named} ")
    assert said[3].sentences[0].endswith(" 4 were trained.")


def test_under_the_verdict_every_model_stands_with_its_score_and_two_standard_errors(plain_run: Subject) -> None:
    chart = verdict(plain_run).blocks[2]
    assert isinstance(chart, Chart)
    rows = {row["model"]: row for row in scored_models(plain_run)}
    assert list(rows) == list(plain_run.by_model)
    for model, row in rows.items():
        percent = 100 * np.mean([one.is_right for one in plain_run.answers_of(model)])
        # A standard error of one point is noted with each evaluation.
        assert (row["score"], row["low"], row["high"]) == pytest.approx((percent, percent - 2, percent + 2))
        assert f">{percent:.1f}</text>" in chart.svg


def test_the_verdict_says_how_far_the_next_best_is_and_the_teacher(plain_run: Subject) -> None:
    best, answers = plain_run.best, {model: plain_run.answers_of(model) for model in (STUDENT, CONTROL, TEACHER)}
    right = {model: [100 * np.mean(one.is_right) for one in seeds] for model, seeds in answers.items()}
    assert best
    # Validation has the same images here: the seed that is shipped, and the best one of the others.
    shipped, other = max(right[STUDENT]), max(right[CONTROL])
    said = words(verdict(plain_run))
    assert re.search(
        rf"The next best is {CONTROL}, seed \d: on validation \(100 images of val\) the difference is "
        rf"{re.escape(f'{shipped - other:+.1f}')} \(SE \d\.\d\).*; on test {re.escape(f'{shipped - other:+.1f}')} ",
        said,
    )
    student, control, teacher = (np.mean(right[model]) for model in (STUDENT, CONTROL, TEACHER))
    closed = 100 * (student - control) / (teacher - control)
    assert f"Its teacher has {teacher:.1f} % on test: of the way there from {CONTROL}, {closed:.0f} % is done" in said
    assert "SE and p speak of the images alone, with these seeds" in said


def test_the_error_of_the_headline_is_that_of_one_seed_as_under_scores(plain_run: Subject) -> None:
    shares = [np.mean(one.is_right) for one in plain_run.answers_of(STUDENT)]
    error = 100 * np.mean([(share * (1 - share) / 100) ** 0.5 for share in shares])
    assert verdict(plain_run).blocks[1].text.startswith(f"{STUDENT} {100 * np.mean(shares):.1f} (SE {error:.1f}) beats")


def test_what_is_of_one_seed_alone_names_it(plain_run: Subject) -> None:
    assert plain_run.chosen
    assert f"{STUDENT}, seed {plain_run.chosen.seed} (model@" in words(confusion(plain_run))
    assert "confusions, mistakes, agreement and reliability are of one seed" in words(verdict(plain_run))


def test_where_every_student_still_is_its_probe_the_verdict_says_first_that_no_training_helped(
    store: ArtifactStore, plain_run: Subject
) -> None:
    untrained = made_up(store, ["ant", "bee"], [0, 1] * 20, kept_step=0)
    said = words(verdict(untrained))
    assert said.startswith("No training helped: every student still is student probed")
    assert "There is nothing to choose between." in said
    assert "Ship" not in said
    assert "chance" not in said
    assert said.count("No training helped") == 1
    assert "No training helped" not in words(verdict(plain_run))


def test_of_one_seed_the_verdict_says_what_it_does_not_know(store: ArtifactStore) -> None:
    assert "One seed: how much another would change is not known" in words(
        verdict(made_up(store, ["ant", "bee"], [0, 1] * 20))
    )


def test_classes_in_which_the_student_is_below_the_control_are_counted_and_the_worst_is_named(
    plain_run: Subject,
) -> None:
    gains = [
        np.mean([one.is_right[one.true == number] for one in plain_run.answers_of(STUDENT)])
        - np.mean([one.is_right[one.true == number] for one in plain_run.answers_of(CONTROL)])
        for number in range(3)
    ]
    above, below = sum(gain > 0 for gain in gains), sum(gain < 0 for gain in gains)
    assert f"is above {CONTROL} in {above} classes and below it in {below}" in words(by_class(plain_run))


def test_where_the_test_split_cannot_tell_the_verdict_says_so(store: ArtifactStore) -> None:
    few = made_up(store, ["ant", "bee"], [0, 1, 0])
    assert "The test split (3 images of test) cannot tell" in words(verdict(few))
    assert few.best
    headline = verdict(few).blocks[0].text
    assert headline.startswith(f"Ship {few.best.result.model} ")
    assert headline.endswith(f"% on test; or {CONTROL}: test cannot tell them apart.")


def test_recall_of_each_class_and_its_interval_are_those_of_scikit_learn_and_statsmodels(plain_run: Subject) -> None:
    chosen = plain_run.chosen
    assert chosen
    answers = plain_run.answers_of(chosen.model)
    shares = np.mean([recall_score(one.true, one.said, labels=[0, 1, 2], average=None) for one in answers], axis=0)
    low, high = proportion_confint(shares * [60, 30, 10], [60, 30, 10], method="wilson")
    expected = {
        name: f"{100 * share:.0f} ({100 * a:.0f}-{100 * b:.0f})"
        for name, share, a, b in zip(("ant", "bee", "cat"), shares, low, high, strict=True)
    }
    place = 3  # class, n, control, chosen, ...
    found = {row[0]: row[place] for row in table(by_class(plain_run))}
    assert found == {**expected, "dog": "-"}


def test_a_class_that_test_lacks_is_named(plain_run: Subject) -> None:
    assert "1 class has no image in test, so nothing is known of it: dog." in words(dataset(plain_run))


def test_agreement_counts_each_image_once(plain_run: Subject) -> None:
    chosen = plain_run.chosen
    assert chosen
    answers = plain_run.answers(chosen)
    assert answers
    assert answers.teacher is not None
    expected = confusion_matrix(answers.teacher != answers.true, answers.said != answers.true)
    found = [[int(cell.split()[0]) for cell in row[1:]] for row in table(agreement(plain_run))]
    assert found == expected.tolist()


def test_one_seed_and_no_blends_leave_their_parts_out(store: ArtifactStore, tmp_path: Path) -> None:
    page = written(made_up(store, ["ant", "bee"], [0, 1] * 20), tmp_path)
    headings = re.findall(r"<h2>(.*?)</h2>", page)
    assert headings == [
        "Verdict", "Data", "Scores", "Learning curves", "Classes", "Confusions", "Mistakes",
        "Agreement with the teacher", "Size", "Features", "Patches", "Lineage", "What each step cost",
        "How to make it again",
    ]  # fmt: skip
    assert "<p>Not drawn: " in page  # these models have no networks
    assert "None" not in re.sub(r"<svg.*?</svg>|data:[^\"]*", "", page, flags=re.DOTALL)


def test_names_of_classes_and_files_are_shown_as_they_are(store: ArtifactStore, tmp_path: Path) -> None:
    page = written(made_up(store, STRANGE, list(range(6)) * 10), tmp_path)
    assert "<b>bold" not in page
    assert "&lt;b&gt;bold&lt;/b&gt;" in page
    for name in ("$$x^2$$", "🐦‍⬛ &amp; ", f"\u2068{STRANGE[3]}\u2069", r"tab\there"):
        assert f"<bdi>{name}" in page, name
        assert page.count(name) > 5, name  # in drawings too


def test_the_page_asks_no_network_runs_no_script_and_each_drawing_is_told_in_words(
    plain_run: Subject, tmp_path: Path
) -> None:
    page = written(plain_run, tmp_path)
    assert "<script" not in page
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", page)
    drawings = re.findall(r"<svg[^>]*>", page)
    assert len(drawings) >= 4
    assert all('role="img"' in one and re.search(r'aria-label="[^"]{20,}"', one) for one in drawings)
    names = re.findall(r' id="([^"]+)"', page)
    assert len(names) == len(set(names))


def test_of_a_thousand_classes_tables_are_short_and_say_so(store: ArtifactStore, tmp_path: Path) -> None:
    many = made_up(store, [f"class {number}" for number in range(1000)], list(range(1000)) * 2)
    start = time.process_time()
    page = written(many, tmp_path)
    assert len(page.encode()) < MAX_BYTES
    assert time.process_time() - start < MAX_SECONDS
    assert len(table(by_class(many))) == 40
    assert "Shown are 40 of 1000 classes" in words(by_class(many))
    assert "Of 1,000 classes the 30 most confused are shown." in words(confusion(many))


@pytest.mark.slow
def test_of_a_hundred_thousand_images_the_page_stays_small(store: ArtifactStore, tmp_path: Path) -> None:
    many = made_up(store, [f"class {number}" for number in range(100)], list(range(100)) * 1000)
    assert len(written(many, tmp_path).encode()) < MAX_BYTES


def test_a_control_character_in_a_name_becomes_visible_and_no_letter_is_lost() -> None:
    assert plain("a\tb\x00") == r"a\tb\x00"
    assert plain("name\udce9.png") == r"name\udce9.png"
    assert plain("🐦‍⬛ ציפור") == "🐦‍⬛ ציפור"


def test_run_writes_its_page_into_the_store_and_report_writes_it_again(
    first_run: tuple[Path, Done], preset: str
) -> None:
    store = ArtifactStore(first_run[0])
    page = Path(first_run[1].json["report"])
    assert page.parent == store.root / "reports"
    assert "<h2>Reliability</h2>" in page.read_text(encoding="utf-8")
    again = call(store, "report", preset, "--json")
    assert again.json == {"report": str(page)}


def test_a_run_that_finds_everything_draws_no_page_again(finished: ArtifactStore, preset: str) -> None:
    page = Path(call(finished, "run", preset, "--json").json["report"])
    drawn = page.stat().st_mtime_ns
    assert call(finished, "run", preset, "--json").json["report"] == str(page)
    assert page.stat().st_mtime_ns == drawn


def test_a_run_whose_page_cannot_be_written_has_done_its_work_all_the_same(
    finished: ArtifactStore, preset: str
) -> None:
    shutil.rmtree(finished.root / "reports")
    (finished.root / "reports").write_text("a file where the folder should be")
    done = call(finished, "run", preset, "--json")
    assert done.code == 0
    assert done.json["report"] is None
    assert done.json["best"]


def test_models_are_shown_beside_what_they_are_compared_with(first_run: tuple[Path, Done], tmp_path: Path) -> None:
    store = ArtifactStore(first_run[0])
    (student,) = [ref for ref, recipe in store.recipes("model") if recipe["stage"] == "distill"]
    done = call(store, "report", student.short, "--output", str(tmp_path / "page.html"))
    assert done.code == 0, done.stderr
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert all(f"<bdi>{model}</bdi>" in page for model in ("teacher", "student probed", CONTROL, STUDENT))


def test_a_page_of_what_never_ran_is_refused_with_what_to_do(store: ArtifactStore, preset: str) -> None:
    done = call(store, "report", preset)
    assert done.code == 1
    assert f"run it first ('taskdistill run {preset}')" in done.stderr


def test_settings_have_no_place_where_models_are_named(store: ArtifactStore) -> None:
    done = call(store, "report", "model@3f9c12ab", "--set", "distill.alpha=1")
    assert done.code == 1
    assert "it has no place where models are named" in done.stderr


def test_models_that_were_judged_on_other_images_have_no_page_together(store: ArtifactStore, tmp_path: Path) -> None:
    ours, theirs = (made_up(store, ["ant", "bee"], labels) for labels in ([0, 1] * 20, [0, 1] * 25))
    names = [str(subject.results[-1].artifact) for subject in (ours, theirs)]
    done = call(store, "report", *names, "--output", str(tmp_path / "page.html"))
    assert done.code == 1
    assert "cannot be compared on test: they were scored on other images (10 are of one alone" in done.stderr


def test_a_password_in_a_setting_is_not_in_the_command_of_a_page() -> None:
    command = command_of("small-cpu", ["runtime.mlflow_uri=http://me:secret@host:5000", "seeds=0"])
    assert command == "taskdistill run small-cpu --set runtime.mlflow_uri=http://host:5000 --set seeds=0"


def test_what_is_no_letter_for_unicode_becomes_visible() -> None:
    assert plain("a\uffffb\ufdd0c\U0001fffe") == "a\\uffffb\\ufdd0c\\U0001fffe"
