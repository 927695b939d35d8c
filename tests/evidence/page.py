"""The page of answers, as Markdown."""

import math
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet

from taskdistill.tasks.functional.comparison import CHANCE
from tests.evidence.answers import Answer
from tests.evidence.claims import CLAIMS, Claim, Question
from tests.evidence.kept import Told
from tests.evidence.trials import Trial

COMMAND = "REAL_DATA_DIR=... python -m tests.evidence --folder RUNS"


_HEADS = ("on", "is", "its mean", "above", "its mean", "difference (SE)", "p", "over", "answer")


_ABOVE = (
    "# Evidence",
    "",
    "What the paper claims, tried where it can be without a GPU, with the settings of the presets but for what the "
    "trials change (`tests/evidence/trials.py`): the teacher, and of birds the epochs, and that a finetuned teacher "
    "keeps its last weights, as on 100 validation pictures its best ones are those of its probe. "
    "A question is whether one model lies above another on images that neither has seen. The answer is *yes*, or *no, "
    f"the reverse*, where chance alone makes such a difference in fewer than {CHANCE:.0%} of cases (p, two-sided, "
    "paired), and else *cannot be told*. Of so many questions one or two are answered by chance. SE is the standard "
    "error of the difference; all are points of top-1, or of mIoU for masks.",
    "",
    "Worlds of birds are drawn, each with species of its own: there a world counts once, by the paired t-test over "
    "worlds. Of photographs each image counts once: by a test of the signs of what differs, which is that of McNemar "
    "where both models were trained once, and of many differences by the paired t-test. Road scenes are frames of "
    "three films, in which neighbours are alike: their errors are too small.",
    "",
    "The tables of worlds in MEASURED and SEGMENTATION take the number of a world as the seed of all that is random; "
    "here that seed is 0 in each: the same experiments, drawn anew.",
    "",
    f"`{COMMAND}` makes this page and goes on where it was stopped. With `--trials clothing` it asks that trial alone; "
    "the page has all answers that lie in `.github/evidence`.",
    "",
)


def page(told: Mapping[str, Told], trials: Mapping[str, Trial]) -> str:
    """Return the page: each claim with the answers of the trials that were run; both by names of trials."""
    answers = {one.question: one for of_trial in told.values() for one in of_trial.answers}
    lines = [
        *_ABOVE,
        *_summary(answers, told, trials),
        "",
        "| trial | preset | places | models share | steps took, added up | asked by |",
        "| --- | --- | --- | --- | --- | --- |",
        *(_trial(name, trials[name], of_trial) for name, of_trial in told.items()),
        "",
        *(f"- {name}: {sentence}" for name, of_trial in told.items() for sentence in of_trial.said),
    ]
    for number, claim in enumerate(CLAIMS, 1):
        lines += ["", f"## {number}. {claim.sentence}", "", *_claim(claim, answers, told.keys(), trials)]
    return "\n".join(lines) + "\n"


def _summary(
    answers: Mapping[Question, Answer], told: Mapping[str, Told], trials: Mapping[str, Trial]
) -> Iterator[str]:
    """Yield a table of the first question under each claim, of each trial."""
    yield f"| is there more, in points | {' | '.join(trials[name].told for name in told)} |"
    yield f"| --- |{' --- |' * len(told)}"
    for number, claim in enumerate(CLAIMS, 1):
        leading: dict[str, Question] = {}
        for question in claim.questions:
            leading.setdefault(question.trial, question)
        sides = dict.fromkeys(f"{one.first.called} to {one.second.called}" for one in leading.values())
        cells = (_brief(answers.get(leading[name]) if name in leading else None) for name in told)
        yield f"| {number}: {'; '.join(sides)} | {' | '.join(cells)} |"


def _brief(one: Answer | None) -> str:
    if one is None:
        return ""
    difference = one.metric.signed(one.difference.mean)
    return f"**{difference}**" if one.difference.is_clear else f"{difference}, cannot be told"


def _trial(name: str, trial: Trial, told: Told) -> str:
    places = ", ".join(filter(None, trial.places)) or "its own test split"
    shared = ", ".join(f"`{setting}={value}`" for setting, value in trial.shared.items())
    return f"| {name}: {trial.told} | `{trial.preset}` | {places} | {shared} | {told.took} | {told.by} |"


def _claim(
    claim: Claim, answers: Mapping[Question, Answer], ran: AbstractSet[str], trials: Mapping[str, Trial]
) -> list[str]:
    lines = []
    if found := [answers[question] for question in claim.questions if question in answers]:
        lines += [f"| {' | '.join(_HEADS)} |", f"|{' --- |' * len(_HEADS)}"]
        lines += [f"| {' | '.join(_cells(one, trials))} |" for one in found]
    missing = {question.trial for question in claim.questions if question not in answers}
    for names, why in ((missing - ran, "Not run for this page"), (missing & ran, "Asked something else when run")):
        if names:
            lines += ["", f"{why}: {', '.join(name for name in trials if name in names)}."]
    return lines + (["", claim.remark] if claim.remark else [])


def _cells(one: Answer, trials: Mapping[str, Trial]) -> list[str]:
    number, (_, error, p) = one.metric.number, one.difference
    written = "" if math.isnan(error) else f" ({number(error)})"
    return [
        trials[one.question.trial].told,
        one.question.first.called,
        number(one.first),
        one.question.second.called,
        number(one.second),
        one.metric.signed(one.difference.mean) + written,
        "< 0.001" if p < 0.001 else f"{p:.2g}",
        one.counted,
        f"**{one.said}**" if one.difference.is_clear else one.said,
    ]
