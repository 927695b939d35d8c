"""What mmsegmentation runs of a model that is handed over: the image as the network sees it, the backbone, the head,
and the answer on the image's own grid.

The configuration in the folder names these classes. They are cut out of this program into a package in the folder
(`bundle`), with the functions and the head that they use; so beside those they import only torch, timm, Pillow and
mmsegmentation.

Shape letters: N images, C channels, H W pixels, D width of a map, h w cells of a map, K classes.
"""

from collections.abc import Sequence
from typing import Any

import timm
from mmcv.transforms import BaseTransform
from mmengine.model import BaseModule
from mmengine.structures import PixelData
from mmengine.utils import get_object_from_string
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.segmentors import EncoderDecoder
from torch import Tensor

from taskdistill.tasks.functional.joining import JoinedMap
from taskdistill.tasks.functional.views import clean_view, replay
from taskdistill.tasks.models.encoder import Block


class CleanView(BaseTransform):  # type: ignore[misc]
    """Shows a network an image as it was shown one when it was evaluated: the same bytes from the same pixels.

    A transform of a pipeline, in place of Resize and Pad, after an image was loaded in BGR as everywhere there.
    """

    def __init__(self, size: Sequence[int], crop_share: float, crop_mode: str, interpolation: str) -> None:
        self.size = size[0], size[1]
        self.crop_share = crop_share
        self.crop_mode = crop_mode
        self.interpolation = interpolation

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        image_HW3 = results["img"]
        height, width = image_HW3.shape[:2]
        view = clean_view(height, width, self.crop_share, self.crop_mode, self.size[1] / self.size[0])
        shown_HW3 = replay(image_HW3[..., ::-1].copy(), view, self.size, self.interpolation)
        results["img"] = shown_HW3[..., ::-1].copy()
        results["img_shape"] = results["pad_shape"] = shown_HW3.shape[:2]
        results["view"] = view
        return results


class TimmMaps(BaseModule):  # type: ignore[misc]
    """A timm model that gives the maps a head sees, counted from its last layer: 1 is the last, 2 the one before."""

    def __init__(self, name: str, arguments: dict[str, Any], depths: Sequence[int], options: dict[str, Any]) -> None:
        super().__init__(init_cfg=None)
        # Its weights come with those of the whole model.
        self.model = timm.create_model(name, pretrained=False, num_classes=0, **arguments)
        self.depths = list(depths)
        self.options = dict(options)

    def forward(self, images_NCHW: Tensor) -> tuple[Tensor, ...]:
        maps = self.model.forward_intermediates(
            images_NCHW, indices=max(self.depths), output_fmt="NCHW", intermediates_only=True, **self.options
        )
        return tuple(maps[-depth] for depth in self.depths)


class MapHead(BaseDecodeHead):  # type: ignore[misc]
    """A head of ours as a decode head: it is trained and tested by mmsegmentation as any other is.

    `head` is the place of its class, `blocks` what it is built for.
    """

    def __init__(self, head: str, blocks: Sequence[Sequence[Any]], num_classes: int, **options: Any) -> None:
        seen = [Block(*block) for block in blocks]
        super().__init__(
            in_channels=[block.width for block in seen],
            channels=1,
            num_classes=num_classes,
            out_channels=num_classes,
            in_index=list(range(len(seen))),
            input_transform="multiple_select",
            dropout_ratio=0,
            align_corners=False,
            init_cfg=None,
            **options,
        )
        del self.conv_seg  # the last layer of heads of theirs
        self.head = get_object_from_string(head)(seen, num_classes)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        logits_NKhw: Tensor = self.head(*self._transform_inputs(inputs))
        return logits_NKhw


class CleanViewSegmentor(EncoderDecoder):  # type: ignore[misc]
    """Brings what was said of a clean view to the image's own grid in one step, as this program does.

    Theirs go by way of the grid of what the network saw, and know of no view that leaves out a part of the image. After
    another pipeline than CleanView's, and with test_cfg's mode "slide", it answers as theirs do.
    """

    def predict(self, inputs: Tensor, data_samples: Any = None) -> Any:
        if not data_samples or self.test_cfg.mode != "whole" or any("view" not in one for one in data_samples):
            return super().predict(inputs, data_samples)
        for sample, map_Khw in zip(data_samples, self(inputs), strict=True):
            height, width = sample.ori_shape
            logits_KHW = JoinedMap(map_Khw[None], sample.view[None], height, width).rows(range(height))
            sample.set_data(
                {
                    "seg_logits": PixelData(data=logits_KHW),
                    "pred_sem_seg": PixelData(data=logits_KHW.argmax(dim=0, keepdim=True)),
                }
            )
        return data_samples
