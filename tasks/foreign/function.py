"""Source "function": a network that a function of one's own returns.

    # mynet.py in the working folder
    def build(weights: Path) -> Callable[[Tensor], Tensor]:
        network = MyNet()
        network.load_state_dict(torch.load(weights, weights_only=True))
        return network

It is called without `weights` where foreign_teacher.weights is not set. What it returns may be a module, which is moved
to the device and put into evaluation, or any function; `classes` of it, where there are any, are the names of its
outputs.
"""

import importlib
import sys
from pathlib import Path

from taskdistill.configs.foreign import ForeignTeacher, function_of, module_file
from taskdistill.tasks.foreign.network import ForeignModel
from taskdistill.tasks.models.encoder import ModelError
from taskdistill.tasks.prechecks.foreign_models import check_function

_ERRORS = (RuntimeError, ValueError, TypeError, AttributeError, KeyError, IndexError, OSError, ImportError)


def build_foreign(teacher: ForeignTeacher) -> ForeignModel:
    """Import the module and call its function; ModelError where it has none, or it fails."""
    check_function(teacher)
    module_name, name = function_of(teacher)
    here = str(Path.cwd())
    if here not in sys.path:  # the program's own folder stands there instead, unless it was started by `python -m`
        sys.path.insert(0, here)
    arguments = {"weights": Path(teacher.weights).expanduser()} if teacher.weights else {}
    try:
        # Anew where it was imported before: a worker lives longer than the file stays as it is.
        known = sys.modules.get(module_name)
        module = importlib.reload(known) if known else importlib.import_module(module_name)
        network = getattr(module, name)(**arguments)
    except _ERRORS as error:
        raise ModelError(
            f"foreign_teacher.function {teacher.function!r} ({module_file(teacher.function)}) cannot be used: "
            f"{type(error).__name__}: {error}. It is called with {'weights=PATH' if arguments else 'no arguments'} "
            "and returns what takes images and returns logits"
        ) from error
    if not callable(network):
        raise ModelError(
            f"foreign_teacher.function {teacher.function!r} returned a {type(network).__name__}, where something that "
            "takes images and returns logits is expected"
        )
    return ForeignModel(network, classes=tuple(map(str, getattr(network, "classes", ()))))
