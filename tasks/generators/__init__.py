"""Generators of images behind one protocol: ImageMixer, its converter and its small autoencoder."""

import tasks.models  # noqa: F401  # before diffusers and transformers, which import torchvision
