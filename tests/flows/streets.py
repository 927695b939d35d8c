"""Settings of a run on masks that takes seconds: a ViT teaches a ResNet, both untrained, three steps each."""

from typing import Any

VIT = {"patch_size": 8, "embed_dim": 24, "depth": 4, "num_heads": 2}
PROBE = {"inputs": ["last4"], "learning_rates": [0.01], "optimizer": "adamw", "steps": 3, "batch_size": 4}
SETTINGS: dict[str, Any] = {
    "name": "streets",
    "problem": "segmentation",
    "data": {"path": "data", "form": "masks"},
    "teacher": {"name": "test_vit", "weights": "random", "input_px": 32, "clean_view": "whole", "arguments": VIT},
    "student": {"name": "test_resnet", "weights": "random", "input_px": 32, "clean_view": "whole"},
    "teacher_cache": "logits",
    "views": {"num_views": 2, "crop": "scaled"},
    "probe": PROBE,
    "student_probe": PROBE,
    "training": {"epochs": 1, "batch_size": 4, "keep": "last"},
    "runtime": {"device": "cpu", "slots": 1},
}
