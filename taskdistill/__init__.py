"""Distil a large pretrained vision model into a small one for your own task, with every artifact versioned.

    import taskdistill

    for row in taskdistill.load("birds-production").predict("new_photos"):
        print(row["path"], row["prediction"], row["probability"])

What is listed here is the public interface for Python (.github/API.md, `taskdistill.flows.api`); all else may change.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from taskdistill.flows.api import Model, Outputs, Ran, UserError, features, load, logits, run, scores

__all__ = ["Model", "Outputs", "Ran", "UserError", "features", "load", "logits", "run", "scores"]


def __getattr__(name: str) -> Any:
    # When it is asked for: the command line begins in this package too, and says in words what stops it while it loads.
    if name not in __all__:
        raise AttributeError(f"module 'taskdistill' has no attribute {name!r}")
    from taskdistill.flows import api

    return getattr(api, name)
