"""Which keyword arguments of a model are not its own, and what to set instead; known without the library itself.

A backbone's `arguments` go to the library that builds it. What else that library's functions take (a checkpoint to
load, where to keep downloads, what a setting of ours decides already) would change the network behind the back of its
identity, so it is refused by name.
"""

from collections.abc import Mapping

from pydantic import JsonValue

_WEIGHTS = "which weights are loaded is decided by weights and file, whose content is identity"
_BUILT = "decided by timm for each name; choose another name"
_SHAPE = "the program takes the model's own summary of an image"

RESERVED: dict[str, dict[str, str]] = {
    "timm": {
        "model_name": "set name",
        "model_cls": _BUILT,
        "variant": _BUILT,
        "model_cfg": _BUILT,
        "kwargs_filter": _BUILT,
        "pretrained": _WEIGHTS,
        "pretrained_cfg": _WEIGHTS,
        "pretrained_cfg_overlay": _WEIGHTS,
        "pretrained_strict": _WEIGHTS,
        "pretrained_filter_fn": _WEIGHTS,
        "pretrained_model_args": _WEIGHTS,
        "checkpoint_path": _WEIGHTS,
        "cache_dir": "downloads are kept where the environment variable HF_HOME says",
        "scriptable": "networks are neither scripted nor exported here",
        "exportable": "networks are neither scripted nor exported here",
        "no_jit": "networks are neither scripted nor exported here",
        "kwargs": "write each argument by its own name",
        "features_only": _SHAPE,
        "feature_cfg": _SHAPE,
        "feature_cls": _SHAPE,
        "out_indices": _SHAPE,
        "num_classes": "the head is made by the problem, for the classes of the data",
        "in_chans": "pictures are shown as 3 channels, R, G and B",
        "drop_path_rate": "set training.drop_path or teacher_finetuning.drop_path",
        "device": "set runtime.device",
        "dtype": "set precision or training.precision",
    }
}
"""Source of models -> argument -> what to set instead, or why it cannot be set."""


def check_arguments(source: str, arguments: Mapping[str, JsonValue]) -> None:
    """Raise ValueError where an argument is not the model's own, or names a file."""
    for name, value in arguments.items():
        if name in RESERVED[source]:
            raise ValueError(f"arguments: {name!r} is no argument of the model itself: {RESERVED[source][name]}")
        if found := _place(value):
            raise ValueError(
                f"arguments: {name!r} names a file or an address ({found!r}), whose content would be no part of what "
                "the network is: weights are given by weights=file and file=..."
            )


def _place(value: JsonValue) -> str:
    """Return the first text inside a value that is written like a path or URL, or nothing."""
    if isinstance(value, str):
        return value if "/" in value or "\\" in value else ""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return next((found for item in inner if (found := _place(item))), "")
