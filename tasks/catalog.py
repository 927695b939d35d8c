"""All stages: what the command line, the flows, the docs and the contract tests iterate over."""

from typing import Any

from taskdistill.configs.data import IngestConfig, UnlabelledConfig
from taskdistill.configs.foreign import PrecomputeForeignConfig
from taskdistill.configs.generation import EmbedConfig, GenerateConfig, SelectConfig
from taskdistill.configs.stages import (
    MAX_TEACHERS,
    CombineConfig,
    DistillConfig,
    EvaluateConfig,
    EvaluateProbedConfig,
    ExtractConfig,
    FinetuneConfig,
    PrecomputeConfig,
    PrecomputeImagesConfig,
    PrecomputeProbedConfig,
    ProbeConfig,
    ProbeImagesConfig,
)
from taskdistill.configs.tuning import TuneDistillConfig, TuneFinetuneConfig
from taskdistill.storage.contents import Contents
from taskdistill.tasks import artifact_files as files
from taskdistill.tasks.stage import Stage

INGEST = Stage(
    name="ingest",
    version=2,
    config_type=IngestConfig,
    inputs={},
    output="image-set",
    run="taskdistill.tasks.stages.ingest:run",
    size="taskdistill.tasks.sizes:ingested",
    contents=files.DATASET,
)

INGEST_UNLABELLED = Stage(
    name="ingest-unlabelled",
    version=1,
    config_type=UnlabelledConfig,
    inputs={"images": "image-set"},
    output="image-set",
    run="taskdistill.tasks.stages.ingest_unlabelled:run",
    size="taskdistill.tasks.sizes:unlabelled",
    contents=files.LABEL_FREE,
)

EXTRACT = Stage(
    name="extract",
    version=1,
    config_type=ExtractConfig,
    inputs={"images": "image-set"},
    output="features",
    run="taskdistill.tasks.stages.extract:run",
    size="taskdistill.tasks.sizes:features",
    contents=files.OUTPUTS,
)

EMBED = Stage(
    name="embed",
    version=1,
    config_type=EmbedConfig,
    inputs={"images": "image-set"},
    output="embeddings",
    run="taskdistill.tasks.stages.embed:run",
    size="taskdistill.tasks.sizes:embeddings",
    contents=files.OUTPUTS,
)

GENERATE = Stage(
    name="generate",
    version=1,
    config_type=GenerateConfig,
    inputs={"images": "image-set", "embeddings": "embeddings"},
    output="image-set",
    run="taskdistill.tasks.stages.generate:run",
    size="taskdistill.tasks.sizes:blends",
    contents=files.BLENDS,
    pictures=(files.BETWEEN,),
)

PROBE = Stage(
    name="probe",
    version=1,
    config_type=ProbeConfig,
    inputs={"images": "image-set", "features": "features"},
    output="probe",
    run="taskdistill.tasks.stages.probe:run",
    size="taskdistill.tasks.sizes:probe",
    contents=Contents(
        made=("model.json", "head.safetensors", "grid.parquet"), optional=("folds.parquet", "head-fold*.safetensors")
    ),
)

PROBE_IMAGES = Stage(
    name="probe-images",
    version=1,
    config_type=ProbeImagesConfig,
    inputs={"images": "image-set"},
    output="probe",
    run="taskdistill.tasks.stages.probe_images:run",
    size="taskdistill.tasks.sizes:probe_of_images",
    contents=Contents(made=("model.json", "head.safetensors", "grid.parquet"), working=("checkpoint.safetensors",)),
)

PRECOMPUTE = Stage(
    name="precompute",
    version=1,
    config_type=PrecomputeConfig,
    inputs={"features": "features", "probe": "probe"},
    optional_inputs={"images": "image-set", "calibrated": "logits"},
    output="logits",
    run="taskdistill.tasks.stages.precompute:run",
    size="taskdistill.tasks.sizes:logits",
    contents=files.OUTPUTS,
)

PRECOMPUTE_IMAGES = Stage(
    name="precompute-images",
    version=1,
    config_type=PrecomputeImagesConfig,
    inputs={"images": "image-set", "model": "model"},
    output="logits",
    run="taskdistill.tasks.stages.precompute:run_on_images",
    size="taskdistill.tasks.sizes:logits_of_images",
    contents=files.OUTPUTS,
)

PRECOMPUTE_PROBED = Stage(
    name="precompute-probed",
    version=1,
    config_type=PrecomputeProbedConfig,
    inputs={"images": "image-set", "probe": "probe"},
    output="logits",
    run="taskdistill.tasks.stages.precompute:run_probed_on_images",
    size="taskdistill.tasks.sizes:logits_of_images",
    contents=files.OUTPUTS,
)

PRECOMPUTE_FOREIGN = Stage(
    name="precompute-foreign",
    version=1,
    config_type=PrecomputeForeignConfig,
    inputs={"images": "image-set"},
    optional_inputs={"labelled": "image-set"},
    output="logits",
    run="taskdistill.tasks.stages.precompute_foreign:run",
    size="taskdistill.tasks.sizes:logits_of_images",
    contents=files.FOREIGN,
)

# Roles by number, and not one role of many artifacts: whatever walks over stages, from the recipe to the forms of the
# Prefect flows, stays a mapping of one role to one artifact.
COMBINE = Stage(
    name="combine",
    version=1,
    config_type=CombineConfig,
    inputs={"logits": "logits", "logits2": "logits"},
    optional_inputs={f"logits{number}": "logits" for number in range(3, MAX_TEACHERS + 1)},
    output="logits",
    run="taskdistill.tasks.stages.combine:run",
    size="taskdistill.tasks.sizes:logits",
    contents=files.OUTPUTS,
)

SELECT = Stage(
    name="select",
    version=1,
    config_type=SelectConfig,
    inputs={"synthetic": "image-set", "logits": "logits"},
    output="selection",
    run="taskdistill.tasks.stages.select:run",
    size="taskdistill.tasks.sizes:selection",
    contents=Contents(made=("selection.parquet",)),
)

TUNE_FINETUNE = Stage(
    name="tune-finetune",
    version=2,
    config_type=TuneFinetuneConfig,
    inputs={"images": "image-set", "probe": "probe"},
    output="settings",
    run="taskdistill.tasks.stages.tune:run_finetune",
    size="taskdistill.tasks.sizes:chosen_settings",
    contents=files.CHOSEN,
)

TUNE_DISTILL = Stage(
    name="tune-distill",
    version=2,
    config_type=TuneDistillConfig,
    inputs={"images": "image-set", "probe": "probe", "logits": "logits"},
    output="settings",
    run="taskdistill.tasks.stages.tune:run_distill",
    size="taskdistill.tasks.sizes:chosen_settings",
    contents=files.CHOSEN,
)

FINETUNE = Stage(
    name="finetune",
    version=2,
    config_type=FinetuneConfig,
    inputs={"images": "image-set", "probe": "probe"},
    optional_inputs={"settings": "settings"},
    output="model",
    run="taskdistill.tasks.stages.finetune:run",
    size="taskdistill.tasks.sizes:model",
    contents=files.MODEL,
    pictures=(files.CURVES,),
)

DISTILL = Stage(
    name="distill",
    version=2,
    config_type=DistillConfig,
    inputs={"images": "image-set", "probe": "probe", "logits": "logits"},
    optional_inputs={
        "synthetic": "image-set",
        "synthetic_logits": "logits",
        "selection": "selection",
        "settings": "settings",
    },
    output="model",
    run="taskdistill.tasks.stages.distill:run",
    size="taskdistill.tasks.sizes:model",
    contents=files.MODEL,
    pictures=(files.CURVES,),
)

EVALUATE = Stage(
    name="evaluate",
    version=3,
    config_type=EvaluateConfig,
    inputs={"images": "image-set", "model": "model"},
    optional_inputs={"teacher": "logits"},
    output="evaluation",
    run="taskdistill.tasks.stages.evaluate:run",
    size="taskdistill.tasks.sizes:evaluation",
    contents=files.EVALUATION,
    pictures=(files.LOOKED_AT, files.SCORED),
)

EVALUATE_TEACHER = Stage(
    name="evaluate-teacher",
    version=3,
    config_type=EvaluateConfig,
    inputs={"images": "image-set", "logits": "logits"},
    optional_inputs={"teacher": "logits"},
    output="evaluation",
    run="taskdistill.tasks.stages.evaluate:run_on_logits",
    size="taskdistill.tasks.sizes:evaluation",
    contents=files.EVALUATION,
    pictures=(files.LOOKED_AT, files.SCORED),
)

EVALUATE_PROBED = Stage(
    name="evaluate-probed",
    version=2,
    config_type=EvaluateProbedConfig,
    inputs={"images": "image-set", "probe": "probe"},
    optional_inputs={"teacher": "logits"},
    output="evaluation",
    run="taskdistill.tasks.stages.evaluate:run_probed",
    size="taskdistill.tasks.sizes:evaluation",
    contents=files.EVALUATION,
    pictures=(files.LOOKED_AT, files.SCORED),
)

STAGES: tuple[Stage[Any], ...] = (
    INGEST,
    INGEST_UNLABELLED,
    EMBED,
    GENERATE,
    EXTRACT,
    PROBE,
    PROBE_IMAGES,
    PRECOMPUTE,
    PRECOMPUTE_IMAGES,
    PRECOMPUTE_PROBED,
    PRECOMPUTE_FOREIGN,
    COMBINE,
    SELECT,
    TUNE_FINETUNE,
    TUNE_DISTILL,
    FINETUNE,
    DISTILL,
    EVALUATE,
    EVALUATE_TEACHER,
    EVALUATE_PROBED,
)


def stage_named(name: str) -> Stage[Any] | None:
    """Return the stage of this name; None where a recipe names one that this version does not have."""
    return next((stage for stage in STAGES if stage.name == name), None)
