"""An ONNX model whose network computes in 8 bits: ONNX Runtime's static quantisation, ranges from training images.

Weights have a scale for each channel, activations one for each tensor, from the smallest and largest values that the
training images give. What a clip or a ReLU cuts off is cut off before it is rounded, or steps would be spent on values
that nobody sees. Weights have 7 bits: on processors without VNNI sums of two products of 8 bits saturate, which loses
more. On the validation images of two students, averages of the ranges, more images, percentiles, and the first and last
layer left out were no better; entropy was tried only without these two, and was no better than without it.
Norms, softmax and the view stay as they are, and so do products of two activations, of which
attention is made: those lose most and save little.

Shape letters: H W pixels.
"""

import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from taskdistill.storage.image_set import ImageSet
from taskdistill.tasks.data.batches import decoded_row
from taskdistill.tasks.export.target import ExportError
from taskdistill.tasks.functional.views import Pixels

MAX_IMAGES = 128
INPUT = "images"


def rows_for_calibration(images: ImageSet | None) -> tuple[ImageSet, list[int]]:
    """Return the training images that tell the ranges of activations, spread over the set; ExportError where the store
    has none.
    """
    if images is None or not len(rows := images.rows_of("train")):
        raise ExportError(
            "int8 needs training images, by which the ranges of its numbers are found, and the store no longer has "
            "those that the model was trained on: export it in fp32 or fp16, or run its experiment again"
        )
    return images, rows[np.linspace(0, len(rows) - 1, min(MAX_IMAGES, len(rows))).astype(int)].tolist()


class _Images(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, images: ImageSet, rows: list[int]) -> None:
        self._pixels = _decoded(images, rows)

    def get_next(self) -> dict[str, Pixels] | None:
        pixels_HW3 = next(self._pixels, None)
        return None if pixels_HW3 is None else {INPUT: pixels_HW3[None]}


def _decoded(images: ImageSet, rows: list[int]) -> Iterator[Pixels]:
    for row in rows:
        yield decoded_row(images, row)


def quantised(path: Path, layers: list[str], clips: list[str], shown: tuple[ImageSet, list[int]]) -> str:
    """Replace a model by one whose nodes of these names compute in 8 bits, and of which `clips` become a part of the
    layers before them; returns a sentence that says by what.
    """
    before = path.with_name("before.onnx")
    path.rename(before)
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            quantize_static(
                before, path, _Images(*shown), quant_format=QuantFormat.QDQ, nodes_to_quantize=layers + clips,
                per_channel=True, reduce_range=True, weight_type=QuantType.QInt8, activation_type=QuantType.QInt8,
                extra_options={"MatMulConstBOnly": True},
            )  # fmt: skip
    finally:
        logging.disable(level)
    before.unlink()
    return f"{len(layers)} layers compute in 8 bits; their ranges are those of {len(shown[1])} training images"
