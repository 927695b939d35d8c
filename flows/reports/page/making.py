"""What each step cost, what the chosen model was made from, and how to make it again and go on."""

from taskdistill.configs.loading import dump_preset
from taskdistill.flows.reports.chosen import choices_of, trials_table
from taskdistill.flows.reports.page.blocks import Block, Branch, Code, Section, Table, Tree, Words, plain
from taskdistill.flows.reports.page.subject import Subject
from taskdistill.flows.reports.steps import duration
from taskdistill.flows.reports.tables import rows_of
from taskdistill.storage.files import bytes_in_words
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
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
            Words(f"What {ref.short} was made from:"),
            Tree(_branch(subject.store, ref, "", set())),
            Words("The preset that makes it again (save it as preset.yaml, then: taskdistill run preset.yaml):"),
            Code(plain_lines(dump_preset(settings))),
        ]
    return Section("How to make it again", blocks, is_open=False)


def _branch(store: ArtifactStore, ref: ArtifactRef, role: str, seen: set[ArtifactRef]) -> Branch:
    """Return an artifact with its inputs; one that stands further up already without them."""
    named = f"{role}: {ref.short}" if role else ref.short
    if ref not in store:
        return Branch(f"{named} (not here)")
    manifest = store.manifest(ref)
    text = f"{named}, {manifest.recipe.get('stage', '')}"
    if ref in seen:
        return Branch(f"{text} (see above)" if manifest.inputs else text)
    seen.add(ref)
    return Branch(text, [_branch(store, one, input_role, seen) for input_role, one in manifest.input_refs.items()])


def plain_lines(text: str) -> str:
    return "\n".join(map(plain, text.splitlines()))
