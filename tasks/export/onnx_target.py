"""Target "onnx" of `taskdistill export`: one file that ONNX Runtime runs with numpy alone.

Shape letters: N images of one size, H W their pixels.
"""

import contextlib
import functools
import io
import json
import logging
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from onnxscript import ir

from taskdistill.tasks.deploy.deployable import Deployable
from taskdistill.tasks.export.network import TRACING_ERRORS, ExportedNetwork, example, traced
from taskdistill.tasks.export.onnx_int8 import quantised, rows_for_calibration
from taskdistill.tasks.export.target import FP32, ExportError, Given, Written
from taskdistill.tasks.export.torch_target import answers_told, check
from taskdistill.tasks.export.tried import Answers, Run, compared, tried_images
from taskdistill.tasks.functional.views import Pixels

MODEL = "model.onnx"
OPSET = 18
INPUT = "images"
USAGE = """# A model for ONNX Runtime

```python
import json

import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
names = json.load(open("taskdistill.json", encoding="utf-8"))["classes"]
image = np.zeros((480, 640, 3), np.uint8)  # in place of a photograph: uint8 RGB [H, W, 3]
{answers} = session.run(None, {{"images": image[None]}})
```

It needs onnxruntime and numpy alone, and takes images of any size as they are, uint8 RGB [N, H, W, 3]: resizing and
normalising are part of it, so that it sees what it was trained to see. {what}
"""


def write(given: Given, folder: Path) -> Written:
    """Write the model in the precision asked for.

    Raises ExportError where it cannot be traced or written in ONNX's operations, where float32 answers otherwise than
    ours, or int8 is asked for and there are no training images to go by.
    """
    # Before the work, which takes a minute.
    shown = rows_for_calibration(given.images) if given.precision == "int8" else None
    dtype = torch.float16 if given.precision == "fp16" else torch.float32
    deployable = Deployable.load(given.artifact, torch.device("cpu"), given.temperature)
    network = ExportedNetwork(deployable, dtype).eval()
    model = _in_onnx(network)
    _without_traces(model, deployable.classes)
    ir.save(model, folder / MODEL)
    said = [quantised(folder / MODEL, *_to_quantise(model), shown)] if shown else []
    tried = tried_images(given.images)
    parity = compared(deployable, run_of(folder, torch.device("cpu")), tried, given.on_progress)
    if given.precision == FP32:
        check(parity, "ONNX Runtime")
    by = "ONNX Runtime" + (f" in {given.precision}" if given.precision != FP32 else "")
    return Written(USAGE.format(**answers_told(network)), [*said, parity.sentence(by, tried)], parity.measured())


def run_of(folder: Path, device: torch.device, threads: int = 0) -> Run:
    """Return the model of an exported folder, run with this many threads (0: as many as ONNX Runtime takes).

    Raises ExportError where this ONNX Runtime cannot compute on the device.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    provider = "CUDAExecutionProvider" if device.type == "cuda" else "CPUExecutionProvider"
    if provider not in onnxruntime.get_available_providers():
        raise ExportError(f"this ONNX Runtime cannot compute on {device}: it needs the package onnxruntime-gpu")
    session = onnxruntime.InferenceSession(folder / MODEL, options, providers=[provider])
    return functools.partial(_run, session)


def _run(session: onnxruntime.InferenceSession, images_NHW3: Pixels) -> Answers:
    return tuple(session.run(None, {INPUT: np.ascontiguousarray(images_NHW3)}))


def _in_onnx(network: ExportedNetwork) -> ir.Model:
    # What the exporter prints of its progress is for its developers; it warns of its own code.
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), _quiet():
        warnings.simplefilter("ignore")
        program, names = traced(network), list(network.answer.names)
        try:
            written: Any = torch.onnx.export(
                program, (example(),), input_names=[INPUT], output_names=names, dynamo=True, opset_version=OPSET,
                verbose=False,
            )  # fmt: skip
        except (torch.onnx.errors.OnnxExporterError, *TRACING_ERRORS) as error:
            raise ExportError(f"this network cannot be written in ONNX's operations: {_reason(error)}") from error
    _name_axes(written.model)
    return written.model


def _reason(error: BaseException) -> str:
    """Return the operation that ONNX lacks, where that is it, or what the exporter says first."""
    told = str(error)
    while error.__cause__ is not None:
        error = error.__cause__
        told = f"{told}\n{error}"
    if found := re.search(r"No ONNX function found for <OpOverload\(op='([^']+)'", told):
        return f"it computes {found[1]}, which ONNX does not have"
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


def _name_axes(model: ir.Model) -> None:
    """Call the axes that are not known N, H and W wherever they appear."""
    shape = model.graph.inputs[0].shape or ir.Shape([])
    named = {str(axis): name for axis, name in zip(shape, "NHW", strict=False)}
    values = [*model.graph.inputs, *(value for node in model.graph.all_nodes() for value in node.outputs)]
    for value in values:
        if value.shape is not None:
            value.shape = ir.Shape([
                axis if isinstance(axis, int) else named.get(str(axis)) for axis in value.shape
            ])  # fmt: skip


def _without_traces(model: ir.Model, classes: list[str]) -> None:
    """Leave out what tells of how it was traced, and put the classes in."""
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
        node.doc_string = None
        for value in node.outputs:
            value.metadata_props.clear()
    for value in (*model.graph.inputs, *model.graph.initializers.values()):
        value.metadata_props.clear()
    model.graph.metadata_props.clear()
    model.graph.doc_string = model.doc_string = None
    model.metadata_props.clear()
    model.metadata_props["classes"] = json.dumps(classes, ensure_ascii=False)


def _to_quantise(model: ir.Model) -> tuple[list[str], list[str]]:
    """Return the names of the layers of the network that can be computed in whole numbers, and of what clips their
    outputs. The view, in float64, is not among them.
    """
    layers = [node for node in model.graph.all_nodes() if _is_of_the_network(node)]
    outputs = {output for layer in layers for output in layer.outputs}
    clips = [node for node in model.graph.all_nodes() if node.op_type in ("Clip", "Relu") and node.inputs[0] in outputs]
    return [layer.name or "" for layer in layers], [clip.name or "" for clip in clips]


def _is_of_the_network(node: ir.Node) -> bool:
    if node.op_type not in ("Conv", "Gemm", "MatMul"):
        return False
    seen, weights = node.inputs[:2]
    # Without weights it is a product of two activations, as in attention.
    has_weights = weights is not None and weights.const_value is not None
    return bool(has_weights and seen is not None and seen.dtype == ir.DataType.FLOAT)


@contextlib.contextmanager
def _quiet() -> Any:
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
