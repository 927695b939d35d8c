"""A pretrained encoder with the head that was probed on it: what students start from, and a teacher that was not
trained further.
"""

from collections.abc import Sequence

from taskdistill.configs.models import Backbone
from taskdistill.storage.errors import CacheMismatchError
from taskdistill.storage.weights import ModelDescription
from taskdistill.tasks.models.device import device_of, on_device
from taskdistill.tasks.models.encoder import build_encoder_as_named, encoder_fingerprint
from taskdistill.tasks.models.preprocessing import Preprocessing
from taskdistill.tasks.models.task_model import TaskModel, load_head
from taskdistill.tasks.stage import StageContext


def probed_model(
    backbone: Backbone, context: StageContext, *, classes: Sequence[str] | None = None, drop_path: float = 0.0
) -> TaskModel:
    """Build the pretrained encoder with its own probed head (the input "probe"), on the device.

    Raises CacheMismatchError where the probe belongs to another encoder, or to other classes than these.
    """
    description = ModelDescription.read(context.inputs["probe"])
    if description.encoder != encoder_fingerprint(backbone, context.content_digests):
        raise CacheMismatchError(
            f"the probe was trained on features of {description.backbone['name']}, not of {backbone.name} with these "
            "weights: run the probe of this backbone first"
        )
    if classes is not None and description.classes != list(classes):
        raise CacheMismatchError(f"the probe knows the classes {description.classes}, the images have {list(classes)}")
    encoder = build_encoder_as_named(backbone, context.content_digests, drop_path=drop_path)
    encoder.preprocessing = Preprocessing(**description.preprocessing)  # what its features were extracted with
    head = load_head(context.inputs["probe"], description, encoder.blocks)
    return on_device(TaskModel(encoder, description.blocks, head), device_of(context.runtime))
