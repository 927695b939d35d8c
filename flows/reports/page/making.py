"""What each step cost, and how to make the chosen model again and go on."""

from taskdistill.configs.loading import dump_preset
from taskdistill.flows.reports.chosen import choices_of, trials_table
from taskdistill.flows.reports.page.blocks import Block, Code, Section, Table, Words, plain
from taskdistill.flows.reports.page.subject import Subject
from taskdistill.flows.reports.steps import duration
from taskdistill.flows.reports.tables import rows_of
from taskdistill.storage.files import bytes_in_words
from taskdistill.storage.summaries import PaceSummary


def costs(subject: Subject) -> Section | None:
    """Tell what each step took, in this run or the one that made it first; None where no step is known."""
    rows, seconds = [], 0.0
    for name, ref in subject.steps.items():
        if ref in subject.store:
            manifest = subject.store.manifest(ref)
            pace = PaceSummary.of(manifest)
            seconds += pace.seconds
            rows.append([name, duration(pace.seconds), bytes_in_words(manifest.num_bytes), pace.device, ref.short])
    table = Table(["step", "time", "size", "device", "artifact"], rows, f"All together {duration(seconds)} of work.")
    return Section("What each step cost", [table], is_open=False) if rows else None


def tried(subject: Subject) -> Section | None:
    """Show which settings were tried where they chose themselves."""
    blocks: list[Block] = []
    for ref, models in choices_of(subject.results, subject.store).items():
        columns, *rows = rows_of(trials_table(subject.store, ref))
        blocks.append(Table(columns, rows, f"For {models}."))
    return Section("Settings tried", blocks, is_open=False) if blocks else None


def again(subject: Subject) -> Section:
    """Tell how to make the chosen model again, what it came from, and what to do next."""
    blocks: list[Block] = [Words("Next:"), Code("\n".join(subject.next_commands))] if subject.next_commands else []
    blocks += [Words("Made by:"), Code(subject.command)]
    if subject.chosen:
        ref = subject.chosen.artifact
        settings = subject.store.manifest(ref).provenance.get("settings", {})
        blocks += [
            Words(
                f"The preset that makes {ref.short} again (save it as preset.yaml, then: taskdistill run preset.yaml):"
            ),
            Code(plain_lines(dump_preset(settings))),
        ]
    return Section("How to make it again", blocks, is_open=False)


def plain_lines(text: str) -> str:
    return "\n".join(map(plain, text.splitlines()))
