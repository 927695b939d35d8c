"""The mistakes of the chosen student as pictures, by what the teacher says; and where the two agree."""

import numpy as np

from taskdistill.flows.reports.page.blocks import Block, Picture, Pictures, Section, Table, Words, file_name
from taskdistill.flows.reports.page.subject import Answers, Numbers, Subject
from taskdistill.flows.reports.page.thumbnails import Thumbnails

MAX_IMAGES = 24
_SURE = "In brackets how sure the student is, as it was trained; predictions and exports have its calibrated outputs."


def mistakes(subject: Subject) -> Section | None:
    """Show what the chosen student gets wrong; None where an image has not one answer."""
    answers = subject.answers(subject.chosen) if subject.chosen else None
    thumbnails = Thumbnails.of(subject)
    if not answers or not thumbnails or answers.is_right.all():
        return None
    wrong = ~answers.is_right
    if answers.teacher is None:
        return Section("Mistakes", _shown(subject, answers, thumbnails, wrong, "Wrong"))
    teacher_right, same = answers.teacher == answers.true, answers.teacher == answers.said
    groups = {
        "The teacher is right, the student wrong (what is still to be learnt from it)": wrong & teacher_right,
        "Both give the same wrong answer (is the label right?)": wrong & same,
        "Both are wrong, each in its own way (hard, or the label is wrong)": wrong & ~teacher_right & ~same,
    }
    blocks = [block for words, rows in groups.items() for block in _shown(subject, answers, thumbnails, rows, words)]
    return Section("Mistakes", [Words(_SURE), *blocks])


def _shown(
    subject: Subject, answers: Answers, thumbnails: Thumbnails, is_wanted: np.ndarray, words: str
) -> list[Block]:
    """Show the images of a group, the surest answers first."""
    rows = np.flatnonzero(is_wanted)
    if not len(rows):
        return []
    order = rows[np.argsort(-answers.confidence[rows], kind="stable")][:MAX_IMAGES]
    some = f", the {len(order)} it is surest of" if len(rows) > len(order) else ""
    pictures = [_picture(subject, answers, thumbnails, int(row)) for row in order if answers.ids[row] in thumbnails]
    return [Pictures([(f"{words}: {len(rows):,} image{'' if len(rows) == 1 else 's'}{some}", pictures)])]


def _picture(subject: Subject, answers: Answers, thumbnails: Thumbnails, row: int) -> Picture:
    true, said = (subject.labels[which[row]] for which in (answers.true, answers.said))
    lines = [f"is {true}", f"said {said} ({100 * answers.confidence[row]:.0f} %)"]
    if answers.teacher is not None and answers.teacher[row] not in (answers.true[row], answers.said[row]):
        lines.append(f"teacher {subject.labels[answers.teacher[row]]}")
    return thumbnails.picture(answers.ids[row], *lines, file_name(answers.ids[row]))


def agreement(subject: Subject) -> Section | None:
    """Count where teacher and chosen student are right; None where that is not known image by image."""
    answers = subject.answers(subject.chosen) if subject.chosen else None
    if not answers or answers.teacher is None or not subject.chosen:
        return None
    teacher_right, number = answers.teacher == answers.true, len(answers.ids)

    def cell(rows: np.ndarray) -> str:
        return f"{int(rows.sum()):,} ({100 * rows.mean():.1f} %)"

    rows = [
        ["teacher right", cell(teacher_right & answers.is_right), cell(teacher_right & ~answers.is_right)],
        ["teacher wrong", cell(~teacher_right & answers.is_right), cell(~teacher_right & ~answers.is_right)],
    ]
    student = f"{subject.chosen.model}{subject.seed_in_words(subject.chosen)}"
    caption = f"{student} and its teacher on the {number:,} images of test."
    words = Words(f"They give the same answer on {_share(answers.teacher, answers.said)} of the images.")
    return Section("Agreement with the teacher", [Table(["", "student right", "student wrong"], rows, caption), words])


def _share(first: Numbers, second: Numbers) -> str:
    return f"{100 * float((first == second).mean()):.1f} %"
