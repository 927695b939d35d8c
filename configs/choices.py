"""What can be chosen by name, and which code answers: plain tables, one line an adapter.

The values are import paths, so that settings can be validated and the form drawn without importing torch; `load`
follows them when the work begins. A new problem, model source, generator or dataset form adds one line here (a problem
one more, for how its metrics are shown) and touches no stage.
"""

import difflib
import importlib
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, WithJsonSchema

PROBLEMS: dict[str, str] = {
    "classification": "taskdistill.tasks.problems.classification:Classification",
    "segmentation": "taskdistill.tasks.problems.segmentation:Segmentation",
}

METRICS: dict[str, str] = {
    "classification": "taskdistill.tasks.problems.classification_metrics:METRICS",
    "segmentation": "taskdistill.tasks.problems.segmentation_metrics:METRICS",
}
"""How a problem's metrics are shown, without torch; those of a problem that has no line here are shown by name."""

CONFIDENCES: dict[str, str] = {
    "classification": "taskdistill.tasks.problems.classification_confidence:of_predictions",
}
"""What tells how sure a problem's models are, from the predictions of an evaluation, without torch; of a problem that
has no line here nothing is known, and its models answer as they are.
"""

WEIGHED: dict[str, str] = {
    "classification": "taskdistill.tasks.problems.classification_weighing:of_predictions",
    "segmentation": "taskdistill.tasks.problems.segmentation_weighing:of_predictions",
}
"""What computes a problem's metrics where each image counts so many times, from the predictions of an evaluation and
without torch; of a problem that has no line here models are compared by the score they are chosen by alone.
"""

OUTPUT_SIZES: dict[str, str] = {
    "segmentation": "taskdistill.tasks.problems.output_sizes:of_maps",
}
"""What tells how many numbers a problem's outputs for one view are, without torch; of a problem that has no line here
they are as many as the classes.
"""

MODEL_SOURCES: dict[str, str] = {
    "timm": "taskdistill.tasks.models.timm_encoder:build_encoder",
}

MODEL_NAMES: dict[str, str] = {
    "timm": "taskdistill.tasks.prechecks.timm_names:check_name",
}
"""What looks at a backbone's name for `plan`, without torch; a source may have none."""

MODEL_SIZES: dict[str, str] = {
    "timm": "taskdistill.tasks.prechecks.timm_sizes:size_of",
}
"""What tells how large a backbone is for `plan`, without torch; a source may have none: then nobody knows."""

GENERATORS: dict[str, str] = {
    "image-mixer": "taskdistill.tasks.generators.mixer_generator:build_generator",
}

GENERATOR_FOLDERS: dict[str, str] = {
    "image-mixer": "taskdistill.tasks.prechecks.mixer_folder:check_folder",
}
"""What looks at a generator's folder for `plan`, without torch; a generator may have none."""

GENERATOR_DESCRIPTIONS: dict[str, str] = {
    "image-mixer": "taskdistill.tasks.generators.mixer_generator:describe",
}
"""What tells the width of a generator's embeddings without loading its weights; a generator may have none."""

GENERATOR_TRIALS: dict[str, str] = {
    "image-mixer": "taskdistill.tasks.generators.mixer_fit:check_fit",
}
"""What tries a generator before anything expensive, without loading its weights; a generator may have none."""

FOREIGN_SOURCES: dict[str, str] = {
    "function": "taskdistill.tasks.foreign.function:build_foreign",
    "transformers": "taskdistill.tasks.foreign.transformers_models:build_foreign",
    "mmseg": "taskdistill.tasks.foreign.mmseg_models:build_foreign",
}
"""Where networks come from that were trained elsewhere and teach as they are (`tasks.foreign.network`)."""

FOREIGN_FOLDERS: dict[str, str] = {
    "function": "taskdistill.tasks.prechecks.foreign_models:check_function",
    "transformers": "taskdistill.tasks.prechecks.foreign_models:check_folder",
}
"""What looks at such a network's files for `plan`, without torch; a source may have none."""

DATASET_FORMS: dict[str, str] = {
    "folder": "taskdistill.tasks.data.folder:list_images",
    "table": "taskdistill.tasks.data.table:list_images",
    "masks": "taskdistill.tasks.data.mask_folder:list_images",
}

LABEL_TABLES: dict[str, str] = {
    "camvid": "taskdistill.tasks.data.label_tables:CAMVID",
    "voc": "taskdistill.tasks.data.label_tables:VOC",
    "cityscapes": "taskdistill.tasks.data.label_tables:CITYSCAPES",
    "cityscapes-ids": "taskdistill.tasks.data.label_tables:CITYSCAPES_IDS",
    "bird-parts": "taskdistill.tasks.data.label_tables:BIRD_PARTS",
}
"""What the numbers and colours in masks mean, for data sets that many people have."""

LABEL_SOURCES: dict[str, str] = {
    "mmseg": "taskdistill.tasks.openmmlab.labels:label_table",
}
"""What makes such a table from a name: `mmseg:ADE20KDataset` asks the first of these for ADE20KDataset."""

FOUND = "found"
"""In place of the name of a table: the classes are the numbers or colours that the masks hold."""

LABEL_FILES = (".txt", ".csv", ".tsv", ".parquet")
"""Endings of files of a user's own that say what masks mean."""

HEAD_SOURCES: dict[str, str] = {
    "mmseg": "taskdistill.tasks.openmmlab.heads:build_head",
}
"""What builds a head on maps that is named source:name, such as mmseg:FCNHead, beside those of a problem itself."""

HEAD_NAMES: dict[str, str] = {
    "mmseg": "taskdistill.tasks.openmmlab.head_names:head_form",
}
"""What looks at such a name for `plan`, without torch; a source may have none."""

EXPORT_TARGETS: dict[str, str] = {
    "onnx": "taskdistill.tasks.export.onnx_target:write",
    "torch": "taskdistill.tasks.export.torch_target:write",
    "timm": "taskdistill.tasks.export.timm_target:write",
    "hub-folder": "taskdistill.tasks.export.hub_folder:write",
    "mmseg": "taskdistill.tasks.openmmlab.export:write",
}
"""What a finished model can be handed over as: a target (`tasks.export.target`)."""

EXPORT_PRECISIONS: dict[str, tuple[str, ...]] = {
    "onnx": ("fp32", "fp16", "int8"),
}
"""What a target can compute in; one that has no line here is float32 alone."""

EXPORT_RUNNERS: dict[str, str] = {
    "onnx": "taskdistill.tasks.export.onnx_target:run_of",
    "torch": "taskdistill.tasks.export.torch_target:run_of",
}
"""What runs an exported folder from here (`taskdistill latency`): a function of the folder, a device and threads."""

EXPORT_LOADERS: dict[str, str] = {
    "onnx": "taskdistill.tasks.export.as_it_is:network_of",
    "torch": "taskdistill.tasks.export.as_it_is:network_of",
    "timm": "taskdistill.tasks.export.timm_target:network_of",
    "hub-folder": "taskdistill.tasks.export.timm_target:network_of",
}
"""What makes of an exported folder a network that predicts here: a function of the folder, its record and settings."""

EXPORT_PACKAGES: dict[str, str] = {
    "onnx": "taskdistill.tasks.export.packages:check_installed",
    "mmseg": "taskdistill.tasks.openmmlab.packages:check_installed",
}
"""What names the packages that a target needs and that are not installed, before torch is; a target may have none."""


MAX_LISTED, MANY = 16, 100


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint for the end of an error, such as `; did you mean 'timm'? (known: hub, timm)`."""
    names = sorted(set(known))
    meant = f"; did you mean {close[0]!r}?" if (close := difflib.get_close_matches(name, names, n=1)) else ""
    return f"{meant}{listed(name, names)}"


def listed(name: str, known: Iterable[str]) -> str:
    """Return the end of such a hint, ` (known: hub, timm)`: of very many names those that are like the one given."""
    names = sorted(set(known))
    close = difflib.get_close_matches(name, names, n=MAX_LISTED, cutoff=0.5)
    # Of very many names those that are like it help, not those that begin with an a.
    some = close if close and len(names) > MANY else names[:MAX_LISTED]
    rest = f" and {len(names) - len(some)} more" if len(names) > len(some) else ""
    return f" (known: {', '.join(some)}{rest})"


def load(table: Mapping[str, str], name: str) -> Any:
    """Import and return what a table's entry `package.module:attribute` names."""
    module, _, attribute = table[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def _one_of(table: dict[str, str]) -> tuple[AfterValidator, WithJsonSchema]:
    def check(name: str) -> str:
        if name not in table:
            raise ValueError(f"unknown name {name!r}{nearest(name, table)}")
        return name

    return AfterValidator(check), WithJsonSchema({"type": "string", "enum": sorted(table)})


def check_labels(name: str) -> str:
    """Return what names the classes of masks; ValueError where it is none of what can (`IngestConfig.labels`)."""
    source, separator, _ = name.partition(":")
    is_known = name in ("", FOUND, *LABEL_TABLES) or (separator and source in LABEL_SOURCES)
    if not is_known and not name.lower().endswith(LABEL_FILES):
        others = [FOUND, *LABEL_TABLES, *(f"{source}:NAME" for source in LABEL_SOURCES)]
        raise ValueError(
            f"unknown name {name!r}{nearest(name, others)}; for a file of your own write its path inside data.path, "
            f"with its ending ({', '.join(LABEL_FILES)})"
        )
    return name


ProblemName = Annotated[str, *_one_of(PROBLEMS)]
SourceName = Annotated[str, *_one_of(MODEL_SOURCES)]
GeneratorName = Annotated[str, *_one_of(GENERATORS)]
ForeignSourceName = Annotated[str, *_one_of(FOREIGN_SOURCES)]
FormName = Annotated[str, *_one_of(DATASET_FORMS)]
