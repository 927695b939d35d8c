"""The first section: which student to ship and why, in sentences with numbers; and what the page is of."""

import math
from collections.abc import Iterator

import numpy as np

from taskdistill.flows.pipeline.chain import CONTROL, START
from taskdistill.flows.pipeline.comparing import CHOSEN_BY_CHANCE, Comparison, compared, image_scores
from taskdistill.flows.reports.page.blocks import Block, Points, Section, Terms, Words, named, plain
from taskdistill.flows.reports.page.scores import gap_closed
from taskdistill.flows.reports.page.standing import standing
from taskdistill.flows.reports.page.subject import SPLIT, Subject
from taskdistill.flows.reports.remarks import remarks
from taskdistill.flows.reports.shipping import CHOSEN_ON, Best, without_use
from taskdistill.storage.formats import PROGRAM
from taskdistill.storage.provenance import version_of
from taskdistill.tasks.functional.comparison import CHANCE, standard_error


def verdict(subject: Subject) -> Section:
    """Tell what came out."""
    first, reasons = _conclusion(subject)
    blocks: list[Block] = [Words(sentence) for sentence in first if sentence]
    blocks += filter(None, [standing(subject)])
    reasons += [plain(one) for one in remarks(subject.results, subject.store) if one not in first]
    if reasons:
        blocks.append(Points(reasons))
    p_means = (
        "How often other images would show such a difference between models that are equally good; beyond "
        f"{CHANCE:g} nothing is told apart."
    )
    se_means = "How far other images, as many, would move a number."
    return Section("Verdict", [*blocks, Terms([("SE", se_means), ("p", p_means), ("Made", _made(subject))])])


def _conclusion(subject: Subject) -> tuple[list[str], list[str]]:
    """Return what stands above all, and the reasons for it; where no training has helped, all students are one and the
    same, and nothing is made of differences.
    """
    if useless := without_use(subject.results, subject.store):
        return [useless, "There is nothing to choose between."], []
    advice, *more = [*_shipped(subject), ""]
    evidence, *others = [*_compared(subject), ""]
    return [advice, evidence], [sentence for sentence in (*more, *others, *_reservations(subject)) if sentence]


def _compared(subject: Subject) -> Iterator[str]:
    """Compare each taught student with the one that had no teacher, or where there is none with where it started; the
    one to ship first.
    """
    reference = next((name for name in (CONTROL, START) if name in subject.by_model), None)
    for model in sorted(subject.students, key=lambda name: not subject.chosen or name != subject.chosen.model):
        if reference and model not in (reference, CONTROL):
            yield from _sentence(subject, model, reference)


def _sentence(subject: Subject, model: str, reference: str) -> Iterator[str]:
    of_model, of_reference = subject.by_model[model], subject.by_model[reference]
    found = compared(of_model, of_reference, SPLIT, subject.store)
    if not found:
        return
    first, second = (_scores(subject, name, found) for name in (model, reference))
    evidence = f"{found} on the same images, paired p {_written(found.found.p)}"
    if not found.is_clear:
        yield (
            f"The test split ({_images(found)}) cannot tell {model} {first} from {reference} {second} "
            f"({found.metric.heading}): {evidence}."
        )
    else:
        verb = "beats" if found.found.mean > 0 else "loses to"
        yield f"{model} {first} {verb} {reference} {second} on {_images(found)} ({found.metric.heading}): {evidence}."


def _scores(subject: Subject, model: str, found: Comparison) -> str:
    """Write the mean score of a model, with its standard error on so many images; of one, or where all are right or
    all wrong, that is 0 and says nothing.
    """
    seeds = [image_scores(one, SPLIT, subject.store) for one in subject.by_model[model]]
    mean, error = float(np.mean(seeds)), float(np.mean([standard_error(scores) for scores in seeds]))
    return found.metric.number(mean) + (f" (SE {found.metric.number(error)})" if error else "")


def _by_image(subject: Subject, model: str) -> np.ndarray:
    """Return the score of each image, the mean over seeds."""
    return np.asarray(np.mean([image_scores(one, SPLIT, subject.store) for one in subject.by_model[model]], axis=0))


def _images(found: Comparison) -> str:
    seeds = f", {found.num_seeds} seeds" if found.num_seeds > 1 else ""
    return f"{found.num_images} image{'s' if found.num_images != 1 else ''} of {found.split}{seeds}"


def _written(p: float) -> str:
    if math.isnan(p):
        return "unknown"
    return "< 0.001" if p < 0.001 else f"= {p:.2g}"


def _shipped(subject: Subject) -> Iterator[str]:
    """Say which student to take, and why; how it compares with the next best, and with its teacher."""
    best = subject.best
    if not best:
        return
    number = sum(len(subject.by_model[model]) for model in subject.students)
    on_test = "" if best.test is None else f": {best.metric.in_words(best.test)} on {SPLIT}"
    named = f"{best.result.model}{subject.seed_in_words(best.result)} ({best.artifact.short}){on_test}"
    yield f"Ship {named}{_or_the_control(subject, best.result.model)}."
    yield f"{best} {f'{number} were trained.' if number > 1 else ''}".rstrip()
    yield from _next_best(subject, best)
    closed = gap_closed(subject, best.result.model, SPLIT)
    if closed and subject.teacher:
        score = f"{best.metric.in_words(float(np.mean(_by_image(subject, subject.teacher))))}"
        means = " (means over seeds)" if len(subject.by_model[best.result.model]) > 1 else ""
        yield f"Its teacher has {score} on {SPLIT}: of the way there from {CONTROL}, {closed} is done{means}."


def _or_the_control(subject: Subject, model: str) -> str:
    """Say that the student without a teacher will do as well, where nothing tells them apart."""
    if model == CONTROL or CONTROL not in subject.by_model:
        return ""
    found = compared(subject.by_model[model], subject.by_model[CONTROL], SPLIT, subject.store)
    return f"; or {CONTROL}: {SPLIT} cannot tell them apart" if found and not found.is_clear else ""


def _next_best(subject: Subject, best: Best) -> Iterator[str]:
    """Say how far the chosen student is above the best one of another kind on validation, by which it was chosen, and
    on test.
    """
    on_val = [
        (found, other)
        for other in subject.results
        if other.seed is not None
        and other.model != best.result.model
        and (found := compared([best.result], [other], CHOSEN_ON, subject.store))
    ]
    if not on_val:
        return
    nearest, other = min(on_val, key=lambda one: one[0].found.mean)
    on_test = compared([best.result], [other], SPLIT, subject.store)
    by_chance = "" if nearest.is_clear else CHOSEN_BY_CHANCE
    then = f"; on {SPLIT} {on_test}" if on_test else ""
    yield (
        f"The next best is {nearest.reference}{subject.seed_in_words(other)}: on validation ({_images(nearest)}) the "
        f"difference is {nearest}{by_chance}{then}."
    )


def _reservations(subject: Subject) -> Iterator[str]:
    """Say what the comparison with the control does not prove."""
    if not subject.students:
        return
    if CONTROL in subject.by_model and START in subject.by_model:
        found = compared(subject.by_model[CONTROL], subject.by_model[START], SPLIT, subject.store)
        if found and not (found.is_clear and found.found.mean > 0):
            yield (
                f"{CONTROL} is {found} to its own probe on {SPLIT}: "
                f"{'finetuning alone loses' if found.is_clear else 'whether finetuning alone gains cannot be told'}. "
                f"So look at the difference to {START} too, under Scores."
            )
    if all(len(subject.by_model[model]) == 1 for model in subject.students):
        yield "One seed: how much another would change is not known; SE and p speak of the images alone."
    else:
        yield (
            "SE and p speak of the images alone, with these seeds; how much a seed changes is the ± under Scores. "
            "Scores and classes are means over seeds; confusions, mistakes, agreement and reliability are of one seed."
        )


def _made(subject: Subject) -> str:
    made = [subject.store.manifest(result.artifact).provenance for result in subject.results]
    newest = max((str(one.get("made", "")) for one in made), default="")
    names = dict.fromkeys(str(one.get("settings", {}).get("name", "")) for one in made)
    preset = ", ".join(filter(None, names))
    return (
        f"{newest.replace('T', ' ')[:16]} UTC; preset {named(preset) or 'unknown'}; "
        f"{PROGRAM} {version_of(PROGRAM)}; {subject.command}"
    )
