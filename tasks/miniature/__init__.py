"""The embedded miniature: a procedural world of birds, and small networks pretrained on it, so that the whole pipeline
runs in minutes with no download.
"""

import taskdistill.tasks.models  # noqa: F401  # before diffusers and transformers, which import torchvision
