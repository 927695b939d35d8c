"""A program that does one thing in many child processes, each killed (-9) at its next file operation; run by tests.

    python killed_at_every_step.py write_json|commit FOLDER

Prints, as JSON, what each child left behind; the last child was not killed. File operations are seen by an audit
hook: open, rename, unlink and fsync-by-open, in the order in which Python asks the kernel for them.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from storage.files import all_files, read_json, write_json
from storage.fingerprint import fingerprint
from storage.manifest import ArtifactRef
from storage.provenance import code_commit
from storage.store import ArtifactStore
from storage.upkeep import verify

OPERATIONS = ("open", "os.rename", "os.remove", "os.mkdir")
RECIPE = {"stage": "killed", "version": 1, "config": {}, "external": {}, "inputs": {}}
REF = ArtifactRef("features", fingerprint(RECIPE))


def killed_at(step: int, action: Callable[[], None]) -> bool:
    """Do the action in a child that dies before its file operation number `step`; return whether it died."""
    child = os.fork()
    if child == 0:
        seen = 0

        def count(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal seen
            if event in OPERATIONS:
                if seen == step:
                    os.kill(os.getpid(), signal.SIGKILL)
                seen += 1

        sys.addaudithook(count)
        action()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status) and os.WEXITSTATUS(status) != 0:
        raise SystemExit(f"the action failed at step {step}")
    return os.WIFSIGNALED(status)


def write_json_at_every_step(folder: Path) -> list[str]:
    found, step, alive = [], 0, False
    while not alive:
        write_json(folder / "value.json", "old")
        alive = not killed_at(step, lambda: write_json(folder / "value.json", "new"))
        found.append(read_json(folder / "value.json"))
        step += 1
    return found


def commit_at_every_step(folder: Path) -> list[str]:
    """Each round: a draft, a commit killed at one more step, a look, and the same done again to its end."""
    found, step, alive = [], 0, False
    code_commit()  # remembered, so that children do not run git
    while not alive:
        store = ArtifactStore(folder / str(step))
        prepare(store)
        alive = not killed_at(step, lambda store=store: commit(store))
        found.append(state(store))
        if REF not in store:
            prepare(store)
            commit(store)
        found[-1] += "; after another try " + state(store)
        step += 1
    return found


def prepare(store: ArtifactStore) -> None:
    draft = store.draft(REF, RECIPE)
    (draft / "chunks").mkdir(exist_ok=True)
    for number in range(3):
        (draft / "chunks" / str(number)).write_text(f"chunk {number}")


def commit(store: ArtifactStore) -> None:
    store.commit(REF, recipe=RECIPE, inputs={}, summary={})


def state(store: ArtifactStore) -> str:
    """What a reader of the store finds."""
    folder = store.root / "artifacts" / REF.kind / REF.fingerprint
    if REF not in store:
        return "absent" if not folder.exists() else f"half there: {all_files(folder)}"
    if store.references() != [REF] or store.drafts():
        return "listed wrongly"
    damage = list(verify(store, REF))
    return f"damaged: {damage}" if damage else f"whole, {len(store.manifest(REF).files)} files"


if __name__ == "__main__":
    actions = {"write_json": write_json_at_every_step, "commit": commit_at_every_step}
    print(json.dumps(actions[sys.argv[1]](Path(sys.argv[2]))))
