"""Filling a network with given weights: names without wrappers, everything loaded, and an error that names what is not.

timm renames, fuses and resamples tensors on loading, and loads a network without its classifier leniently: what a file
lacks keeps its random values, and what it has too much is dropped, both in silence. So a loaded network is compared
with an untrained one and with the file.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from taskdistill.tasks.memory import is_out_of_memory
from taskdistill.tasks.models.encoder import ModelError
from taskdistill.tasks.models.weight_files import not_finite

log = logging.getLogger(__name__)

CONSTRUCTOR_ERRORS = (
    TypeError, ValueError, AttributeError, KeyError, IndexError, AssertionError, NotImplementedError, RuntimeError,
    ZeroDivisionError,
)  # fmt: skip
"""What timm's functions raise where what they are given does not go together."""
MAX_NAMED = 3
_WRAPPERS = ("module.", "_orig_mod.", "state_dict.")
"""How DistributedDataParallel, torch.compile and checkpoints call the network inside them."""


class MisfitError(ModelError):
    """Weights of another network."""


def filled(build: Callable[..., nn.Module], untrained: nn.Module, tensors: dict[str, Tensor], what: str) -> nn.Module:
    """Build a network with these weights; MisfitError where they do not fit it, ModelError where they are not finite.

    `build` takes timm's keyword arguments pretrained and pretrained_cfg_overlay; `what` names weights and network for
    messages, such as "the weights w.safetensors of resnet18".
    """
    tensors = without_wrappers(tensors, untrained, what)
    try:
        model = build(pretrained=True, pretrained_cfg_overlay={"state_dict": tensors})
    except CONSTRUCTOR_ERRORS as error:  # the same network was built without weights: it is they that do not fit
        if isinstance(error, RuntimeError) and is_out_of_memory(error):
            raise
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        raise MisfitError(_counted(untrained, tensors, what, reason)) from error
    model.pretrained_cfg.pop("state_dict")  # type: ignore[operator, union-attr]  # timm's copy of all weights
    # That timm raised nothing proves little: it loads leniently, so both directions are asked for.
    if unused := _deeper(model, tensors):
        reason = f"the file is that of a larger one: {_some(unused)} would not be used"
        raise MisfitError(_counted(untrained, tensors, what, reason))
    if unloaded := _unloaded(model, untrained, tensors):
        reason = f"{_some(unloaded)} would stay random"
        raise MisfitError(_counted(untrained, tensors, what, reason))
    if broken := not_finite(model.state_dict()):
        raise ModelError(
            f"{what} hold values that are not finite, in {_some(broken)}, as a training that diverged leaves them: "
            "take an earlier checkpoint"
        )
    return model


def without_wrappers(tensors: dict[str, Tensor], network: nn.Module, what: str) -> dict[str, Tensor]:
    """Return the network's tensors by its own names, where a program stored them inside something else.

    Raises ModelError where several networks of this form are in the file.
    """
    # Whatever stands before the first parameter's name may be the wrapper; it is the one under which most of the
    # network's names are found.
    own = [name for name, _ in network.named_parameters()]
    ends = [name.removesuffix(own[0]) for name in tensors if name.endswith(f".{own[0]}")]
    found = {prefix: sum(prefix + name in tensors for name in own) for prefix in ("", *ends)}
    best = max(found.values())
    fitting = [prefix for prefix, count in found.items() if count == best]
    if 2 * best < len(own):
        fitting = [_common(tensors)]  # not its own names, which timm may know all the same
    if len(fitting) > 1 and "" not in fitting:
        raise ModelError(
            f"{what} are in the file more than once, as {', '.join(map(repr, fitting))}: write those you mean to a "
            "file of their own, by these names without the beginning"
        )
    if "" in fitting:  # names that fit as they are win over any prefix, as where a file holds a teacher's copy too
        return tensors
    log.info("%s are stored under %r, which is left out of their names", what, fitting[0])
    return {name.removeprefix(fitting[0]): tensors[name] for name in tensors if name.startswith(fitting[0])}


def _common(names: Iterable[str]) -> str:
    """Return the wrappers that all names begin with, outermost first, joined."""
    prefix = ""
    while wrapper := next((w for w in _WRAPPERS if all(name.startswith(prefix + w) for name in names)), ""):
        prefix += wrapper
    return prefix


def _deeper(model: nn.Module, tensors: Mapping[str, Tensor]) -> list[str]:
    """Return tensors of layers that the network does not have, in a file that has all of its own: a shallower network
    of the same kind would take the first layers of a deeper one for its own.
    """
    if not all(name in tensors for name, _ in model.named_parameters()):
        return []
    # Asked by module, not by tensor: layers of the same name may hold tensors that timm fuses or drops on purpose.
    modules = {name for name, _ in model.named_modules()}
    stacks = tuple(f"{name}." for name, child in model.named_children() if any(True for _ in child.parameters()))
    heads = _classifiers(model)
    return [
        name
        for name in tensors
        if name.startswith(stacks) and not name.startswith(heads) and name.rpartition(".")[0] not in modules
    ]


def _classifiers(model: nn.Module) -> tuple[str, ...]:
    named = model.pretrained_cfg.get("classifier") or ()  # type: ignore[operator, union-attr]
    return (named,) if isinstance(named, str) else tuple(named)


def _unloaded(model: nn.Module, untrained: nn.Module, tensors: Mapping[str, Tensor]) -> list[str]:
    """Return tensors that still have the values they began with.

    Where a tensor begins with one value throughout, as those of norms do, a trained one may well have kept it: it
    counts only where the file has the network's own names and lacks this one.
    """
    initial = untrained.state_dict()
    # Most names are timm's own, so that a name missing in the file is missing; else timm renames them on loading, and
    # the values alone can tell.
    own_names = 2 * sum(name in tensors for name in initial) > len(initial)
    # Fixed tensors, such as position embeddings of sines, are equal by construction.
    untrainable = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    return [
        name
        for name, value in model.state_dict().items()
        if value.is_floating_point()
        and name not in untrainable
        and torch.equal(value, initial[name])
        and not (name in tensors and torch.equal(value, tensors[name].to(value.dtype)))
        and (own_names or value.std(correction=0) > 0)
    ]


def _counted(network: nn.Module, tensors: Mapping[str, Tensor], what: str, reason: str) -> str:
    """Return in a few lines how many tensors do not fit, and the first of each kind."""
    # Counters, whole numbers without an axis, are not counted: files of old lack them and nothing depends on them.
    wanted = {name: tuple(t.shape) for name, t in network.state_dict().items() if t.ndim or t.is_floating_point()}
    given = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    missing = [name for name in wanted if name not in given]
    unknown = [
        name
        for name in given
        if name not in wanted
        and not name.startswith(_classifiers(network))
        and not name.endswith("num_batches_tracked")
    ]
    shapes = [
        f"{name} {_size(given[name])} for {_size(wanted[name])}"
        for name in wanted
        if name in given and given[name] != wanted[name]
    ]
    lines = [
        f"{what} do not fit it: of its {len(wanted)} tensors {len(missing)} are not in the file and {len(shapes)} have "
        f"another shape there, and {len(unknown)} of the file's {len(given)} it does not know ({reason})"
    ]
    lines += [f"  not in the file: {_some(missing)}"] if missing else []
    lines += [f"  another shape:   {_some(shapes)}"] if shapes else []
    lines += [f"  not known:       {_some(unknown)}"] if unknown else []
    return "\n".join(lines)


def _size(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "scalar"


def _some(names: Collection[str]) -> str:
    more = len(names) - MAX_NAMED
    return ", ".join(list(names)[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
