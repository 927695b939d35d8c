"""What was made from what, from the images to the scores: as a graph, and in words."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from taskdistill.flows.reports.page.blocks import Block, Folded, Section, Table, Words, plain
from taskdistill.flows.reports.page.lineage_drawing import Node, drawn_graph
from taskdistill.flows.reports.page.subject import Subject
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore

MAX_NODES = 120
"""Beyond, a drawing shows what leads to the chosen student alone."""
CAPTION = (
    "What was made from what, from left to right; an arrow that a longer way implies is not drawn. With a strong line: "
    "what the chosen student was made from. Dashed: no longer in the store."
)


@dataclass(frozen=True)
class Lineage:
    """Artifacts, each after those it was made from."""

    store: ArtifactStore
    inputs: Mapping[ArtifactRef, Mapping[str, ArtifactRef]]
    """By role; none of those that the store has no more."""
    names: Mapping[ArtifactRef, str]
    """Of their steps."""

    @classmethod
    def of(cls, subject: Subject) -> "Lineage":
        """Return the lineage of all that a run made, and of its models and evaluations."""
        steps = [ref for ref in subject.steps.values() if ref in subject.store]
        results = [ref for one in subject.results for ref in (one.artifact, one.evaluation)]
        names = {ref: name.removesuffix(f" {ref.short}") for name, ref in subject.steps.items()}
        inputs = dict(_with_inputs(subject.store, [*steps, *results]))
        named = {ref: plain(names.get(ref) or _stage(subject.store, ref)) for ref in inputs}
        return cls(subject.store, inputs, named)

    def leading_to(self, ref: ArtifactRef | None) -> set[ArtifactRef]:
        """Return an artifact with all that it was made from."""
        found, waiting = set[ArtifactRef](), [ref] if ref in self.inputs else []
        while waiting:
            if (one := waiting.pop()) not in found and one is not None:
                found.add(one)
                waiting += self.inputs[one].values()
        return found

    @cached_property
    def rows(self) -> list[list[str]]:
        """Each artifact in words."""
        return [[self.names[ref], ref.short, self._made_from(ref)] for ref in self.inputs]

    def _made_from(self, ref: ArtifactRef) -> str:
        if ref not in self.store:
            return "(no longer in the store)"
        return ", ".join(f"{role}: {self.names[one]}" for role, one in self.inputs[ref].items())


def _with_inputs(
    store: ArtifactStore, refs: list[ArtifactRef]
) -> Iterator[tuple[ArtifactRef, Mapping[str, ArtifactRef]]]:
    """Yield artifacts and all that they were made from with their inputs, in the order in which they are met."""
    waiting, seen = list(refs), set[ArtifactRef]()
    while waiting:
        if (ref := waiting.pop(0)) not in seen:
            seen.add(ref)
            inputs = store.manifest(ref).input_refs if ref in store else {}
            waiting += inputs.values()
            yield ref, inputs


def _stage(store: ArtifactStore, ref: ArtifactRef) -> str:
    return str(store.manifest(ref).recipe.get("stage", ref.kind)) if ref in store else ref.kind


def lineage(subject: Subject) -> Section | None:
    """Draw what was made from what; None where nothing is known of it."""
    found = Lineage.of(subject)
    if not found.inputs:
        return None
    chosen = subject.chosen
    strong = found.leading_to(chosen.artifact if chosen else None)
    shown, blocks = set(found.inputs), list[Block]()
    if len(shown) > MAX_NODES:
        shown = strong | {chosen.evaluation} if chosen else strong
        blocks.append(Words(f"Of {len(found.inputs)} artifacts those are drawn that lead to the chosen student."))
    nodes = {
        str(ref): Node(
            found.names[ref], ref.kind, ref.short, ref in strong, ref in subject.store,
            [str(one) for one in inputs.values() if one in shown],
        )
        for ref, inputs in found.inputs.items() if ref in shown
    }  # fmt: skip
    words = Table(["step", "artifact", "made from"], found.rows, num_names=3)
    return Section("Lineage", [*blocks, drawn_graph(nodes, CAPTION), Folded("The same in words", words)])
