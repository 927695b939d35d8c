"""All stages: what the command line, the flows, the docs and the contract tests iterate over."""

from typing import Any

from configs.data import IngestConfig
from configs.generation import EmbedConfig, GenerateConfig, SelectConfig
from configs.stages import (
    DistillConfig,
    EvaluateConfig,
    ExtractConfig,
    FinetuneConfig,
    PrecomputeConfig,
    PrecomputeImagesConfig,
    ProbeConfig,
)
from tasks.stage import Stage

INGEST = Stage(
    name="ingest",
    version=2,
    config_type=IngestConfig,
    inputs={},
    output="image-set",
    run="tasks.ingest:run",
)

EXTRACT = Stage(
    name="extract",
    version=1,
    config_type=ExtractConfig,
    inputs={"images": "image-set"},
    output="features",
    run="tasks.extract:run",
)

EMBED = Stage(
    name="embed",
    version=1,
    config_type=EmbedConfig,
    inputs={"images": "image-set"},
    output="embeddings",
    run="tasks.embed:run",
)

GENERATE = Stage(
    name="generate",
    version=1,
    config_type=GenerateConfig,
    inputs={"images": "image-set", "embeddings": "embeddings"},
    output="image-set",
    run="tasks.generate:run",
)

PROBE = Stage(
    name="probe",
    version=1,
    config_type=ProbeConfig,
    inputs={"images": "image-set", "features": "features"},
    output="probe",
    run="tasks.probe:run",
)

PRECOMPUTE = Stage(
    name="precompute",
    version=1,
    config_type=PrecomputeConfig,
    inputs={"features": "features", "probe": "probe"},
    output="logits",
    run="tasks.precompute:run",
)

PRECOMPUTE_IMAGES = Stage(
    name="precompute-images",
    version=1,
    config_type=PrecomputeImagesConfig,
    inputs={"images": "image-set", "model": "model"},
    output="logits",
    run="tasks.precompute:run_on_images",
)

SELECT = Stage(
    name="select",
    version=1,
    config_type=SelectConfig,
    inputs={"synthetic": "image-set", "logits": "logits"},
    output="selection",
    run="tasks.select:run",
)

FINETUNE = Stage(
    name="finetune",
    version=2,
    config_type=FinetuneConfig,
    inputs={"images": "image-set", "probe": "probe"},
    output="model",
    run="tasks.finetune:run",
)

DISTILL = Stage(
    name="distill",
    version=2,
    config_type=DistillConfig,
    inputs={"images": "image-set", "probe": "probe", "logits": "logits"},
    optional_inputs={"synthetic": "image-set", "synthetic_logits": "logits", "selection": "selection"},
    output="model",
    run="tasks.distill:run",
)

EVALUATE = Stage(
    name="evaluate",
    version=2,
    config_type=EvaluateConfig,
    inputs={"images": "image-set", "model": "model"},
    optional_inputs={"teacher": "logits"},
    output="evaluation",
    run="tasks.evaluate:run",
)

EVALUATE_TEACHER = Stage(
    name="evaluate-teacher",
    version=2,
    config_type=EvaluateConfig,
    inputs={"images": "image-set", "logits": "logits"},
    optional_inputs={"teacher": "logits"},
    output="evaluation",
    run="tasks.evaluate:run_on_logits",
)

STAGES: tuple[Stage[Any], ...] = (
    INGEST,
    EMBED,
    GENERATE,
    EXTRACT,
    PROBE,
    PRECOMPUTE,
    PRECOMPUTE_IMAGES,
    SELECT,
    FINETUNE,
    DISTILL,
    EVALUATE,
    EVALUATE_TEACHER,
)
