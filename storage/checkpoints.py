"""What an unfinished training has kept of itself, told without reading its weights."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

CHECKPOINT = "checkpoint.safetensors"
"""The file of a draft that a training writes (tasks.training.checkpoint)."""


def facts_of(checkpoint: Path) -> dict[str, Any]:
    """Return the facts that lie beside the tensors; SafetensorError, OSError or ValueError where it is damaged."""
    with safe_open(checkpoint, "np") as file:
        note = (file.metadata() or {}).get("note", "")
    facts: dict[str, Any] = json.loads(note)
    return facts


def kept_step(draft: Path) -> int:
    """Return the optimiser step that a training continues with; 0 where it has kept nothing that can be read."""
    try:
        return int(facts_of(draft / CHECKPOINT)["step"])
    except (SafetensorError, OSError, ValueError, KeyError):
        return 0
