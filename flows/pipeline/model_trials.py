"""The networks of a run tried out before anything expensive starts, each once however many experiments have it."""

import logging
import math
from typing import TYPE_CHECKING, Any

from taskdistill.configs.base import StageConfig
from taskdistill.configs.errors import naming
from taskdistill.configs.experiment import Experiment
from taskdistill.configs.generation import EmbedConfig, GenerateConfig
from taskdistill.flows.pipeline.planning import Plan

if TYPE_CHECKING:
    from taskdistill.tasks.models.trial import Wanted  # torch, only where there is work

log = logging.getLogger(__name__)


class ModelTrials:
    """What was tried so far."""

    def __init__(self) -> None:
        self._sizes: list[tuple[Any, float]] = []
        """What was asked of each network, and its parameters."""
        self._said: set[str] = set()

    def check(self, plan: Plan) -> None:
        """Try the networks that a step to do still needs, so that names, weights and settings that do not go together
        are known in seconds. Where nothing is left to do, torch is not imported.
        """
        experiment, configs = plan.experiment, [step.config for step in plan.steps if step.action != "have"]
        if not configs:
            return
        from taskdistill.tasks.models.device import check_ranks_have_devices
        from taskdistill.tasks.models.trial import try_generator, wanted_of

        check_ranks_have_devices(experiment.runtime)
        backbones = [getattr(config, "backbone", None) for config in configs]
        needed = [wanted for wanted in wanted_of(experiment) if wanted.backbone in backbones]
        sizes = {wanted.role: self._size(wanted, experiment) for wanted in needed}
        if plan.has_untried_teacher:
            sizes["teacher"] = self._foreign(plan)
        if any(_is_of_generator(config) for config in configs):
            self._once(experiment.generator, lambda: try_generator(experiment.generator))
        self._compare(experiment, sizes)

    def _size(self, wanted: "Wanted", experiment: Experiment) -> float:
        from taskdistill.tasks.models.device import device_of
        from taskdistill.tasks.models.trial import try_encoder

        with naming(wanted.role if experiment.more_teachers else ""):
            return self._once(wanted.asked, lambda: try_encoder(wanted, device_of(experiment.runtime)))

    def _foreign(self, plan: Plan) -> float:
        """Return the parameters of a foreign teacher; of a plain function nobody can say how large what is behind it
        is.
        """
        from taskdistill.tasks.foreign.network import tried
        from taskdistill.tasks.models.device import device_of
        from taskdistill.tasks.problems.problem import problem_named

        experiment = plan.experiment
        axes, device = problem_named(experiment.problem).output_axes, device_of(experiment.runtime)

        def try_it() -> float:
            foreign = tried(experiment.foreign_teacher, plan.classes, axes, device)
            for sentence in foreign.said:
                log.warning("%s", sentence)
            return foreign.num_parameters or math.inf

        return self._once((experiment.foreign_teacher, plan.classes), try_it)

    def _once(self, asked: Any, try_it: Any) -> float:
        known = next((size for other, size in self._sizes if other == asked), None)
        if known is None:
            known = try_it() or 0.0
            self._sizes.append((asked, known))
        return known

    def _compare(self, experiment: Experiment, sizes: dict[str, float]) -> None:
        """Say once of a pair of networks that it may be the wrong way round."""
        student, teacher = sizes.get("student", 0), sizes.get("teacher", math.inf)
        if student <= teacher:
            return
        name = "foreign" if experiment.teacher_training == "foreign" else experiment.teacher.name
        sentence = (
            f"the student ({experiment.student.name}, {student / 1e6:.1f} M parameters) is larger than the teacher "
            f"({name}, {teacher / 1e6:.1f} M): is it the other way round?"
        )
        if sentence not in self._said:
            self._said.add(sentence)
            log.warning("%s", sentence)


def _is_of_generator(config: StageConfig) -> bool:
    return isinstance(config, EmbedConfig | GenerateConfig)
