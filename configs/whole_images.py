"""What a problem that is judged on whole images needs of an experiment: most defaults are those of classification, and
some of them would spend hours on what cannot be learnt from, or be scored where the network has seen nothing.
"""

from collections.abc import Iterator, Mapping

from taskdistill.configs.data import IngestConfig
from taskdistill.configs.problem_options import OPTIONS, Options
from taskdistill.configs.shapes import Network
from taskdistill.configs.stages import ProbeSettings

PRESET = "segmentation-small-cpu"
"""A preset that has all of it."""

_CUTS_OFF = {"model", "center"}
_OF_CLASSIFICATION = ProbeSettings()


def check_whole_images(
    problem: str, data: IngestConfig, teacher_cache: str, networks: Mapping[str, Network], **probes: ProbeSettings
) -> None:
    """Raise ValueError where a problem that is judged on whole images cannot be learnt so; it names all there is to
    set. `networks` are those in use, by the names of their settings, and `probes` the sections of their heads.
    """
    if "whole" not in OPTIONS.get(problem, Options()).show:  # one class an image, by its clean view
        if data.form == "masks":
            raise ValueError(
                f"data.form 'masks' reads a class for each pixel, and problem {problem!r} gives each image one: set "
                "problem=segmentation, or data.form to 'folder' or 'table'"
            )
        return
    missing = [
        *_of_data(data),
        *_of_cache(teacher_cache),
        *(sentence for setting, network in networks.items() for sentence in _of_network(setting, network)),
        *(sentence for section, probe in probes.items() for sentence in _of_probe(section, probe)),
    ]
    if missing:
        lines = "".join(f"\n    {sentence}" for sentence in missing)
        raise ValueError(
            f"problem {problem!r} gives each pixel a class, and some settings are for problems that give each image "
            f"one; the preset {PRESET!r} has others:{lines}"
        )


def _of_data(data: IngestConfig) -> Iterator[str]:
    if data.form == "folder":
        yield (
            "data.form 'folder' reads no masks: set data.form=masks for a folder of images and one of masks, or "
            "data.form=table for a table with a column mask"
        )


def _of_cache(teacher_cache: str) -> Iterator[str]:
    if teacher_cache != "logits":
        yield (
            f"teacher_cache {teacher_cache!r} keeps no maps, which are too large, and heads need them: set "
            "teacher_cache=logits"
        )


def _of_network(setting: str, network: Network) -> Iterator[str]:
    if network.clean_view in _CUTS_OFF:
        yield (
            f"{setting}.clean_view {network.clean_view!r} may cut off the edges of images, where pixels are scored "
            f"too: set {setting}.clean_view=whole (padded) or squash"
        )


def _of_probe(section: str, probe: ProbeSettings) -> Iterator[str]:
    if probe.optimizer == "sgd" and probe.learning_rates == _OF_CLASSIFICATION.learning_rates:
        yield (
            f"{section}.optimizer 'sgd' with {len(probe.learning_rates)} {section}.learning_rates trains as many heads "
            f"on every map: set {section}.optimizer=adamw, {section}.learning_rates=[0.001] and {section}.batch_size "
            "to some 8 or 16"
        )
