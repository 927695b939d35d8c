"""Generators of images behind one protocol: ImageMixer, its converter and its small autoencoder."""

import taskdistill.tasks.models  # noqa: F401  # before diffusers and transformers, which import torchvision
