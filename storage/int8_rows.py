"""Outputs kept as one byte a number: each row (what a network said of one view) with a scale and an offset of its own.

    x = offset + scale * q,   q = -128 .. 127,   scale = (max - min) / 255

so that the smallest and the largest number of a row are kept as they are and every other is off by at most half a
scale, which is 0.2 % of the row's range; before it is cast to float16, as outputs are given to readers.

What that loses, beside float16 (KL divergence in nats, mean over cells):

    teacher                                            KL at T = 1, 2, 4          answers that change
    11 classes, 72 x 96 cells, of 385 frames of CamVid  4.8e-5   3.1e-5   1.7e-5   0.24 %
    150 classes, 37 x 37 cells, drawn                   2.5e-4   1.5e-4   5.5e-5   1.1 %

The first is the finetuned teacher of the preset camvid (tests/benchmarks/int8_logits.py); its answer changes where two
classes are as good as equal. The second is what tests/storage/test_int8_rows.py draws and holds to bounds.

Shape letters: N rows; the other axes are those of one output.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Int8 = npt.NDArray[np.int8]

_LOWEST, _HIGHEST, _STEPS = -128, 127, 255
_AT_ONCE = 2**20
"""Numbers that are worked on in float32 at a time: of a whole chunk they would take several times its memory."""


def quantised(outputs: npt.NDArray[Any]) -> tuple[Int8, npt.NDArray[np.float32]]:
    """Return outputs [N, ...] as bytes [N, ...], and the scale and offset of each row, [N, 2]; all must be finite."""
    rows_NM = outputs.reshape(len(outputs), math.prod(outputs.shape[1:]))
    bytes_NM, scales_N2 = np.empty(rows_NM.shape, np.int8), np.empty((len(outputs), 2), np.float32)
    step = max(1, _AT_ONCE // max(rows_NM.shape[1], 1))
    for start in range(0, len(outputs), step):
        some = slice(start, start + step)
        values_nM = rows_NM[some].astype(np.float32)
        lowest_n1, highest_n1 = values_nM.min(axis=1, keepdims=True), values_nM.max(axis=1, keepdims=True)
        scale_n1 = (highest_n1 - lowest_n1) / _STEPS
        offset_n1 = lowest_n1 - _LOWEST * scale_n1
        # Of a row of one value repeated the scale is 0, and the offset says all.
        values_nM -= offset_n1
        values_nM /= np.where(scale_n1 > 0, scale_n1, 1)
        bytes_NM[some] = np.clip(np.rint(values_nM), _LOWEST, _HIGHEST)
        scales_N2[some] = np.concatenate([scale_n1, offset_n1], axis=1)
    return bytes_NM.reshape(outputs.shape), scales_N2


def restored(values: Int8, scales_N2: npt.NDArray[np.float32]) -> npt.NDArray[np.float16]:
    """Return the outputs [N, ...] that these bytes and scales stand for."""
    # A row has at most 256 different numbers: looking them up is four times as fast as computing each, which in numpy
    # means float32 and a slow cast. A byte read without its sign is its place among them: 0 .. 127, then -128 .. -1.
    bytes_256 = np.arange(256, dtype=np.uint8).view(np.int8).astype(np.float32)
    levels_N256 = (scales_N2[:, 1:] + scales_N2[:, :1] * bytes_256).astype(np.float16)
    outputs = np.empty(values.shape, np.float16)
    for levels_256, row, output in zip(levels_N256, values, outputs, strict=True):
        # No index can be out of range; "clip" spares numpy the check, and a copy of the output.
        np.take(levels_256, row.view(np.uint8), out=output, mode="clip")
    return outputs
