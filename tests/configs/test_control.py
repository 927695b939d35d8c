"""The finetuned student, the control of every claim, is shown what the distilled one is shown."""

import pytest

from taskdistill.configs.experiment import Experiment
from taskdistill.configs.loading import validated


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_the_control_is_finetuned_on_mixtures_where_the_student_is_distilled_on_them(kind: str):
    experiment = validated({"distill": {"mix_views": kind, "mix_beta": 0.4}}, "birds.yaml")
    for control in (experiment.finetune_config(0), experiment.tune_finetune_config()):
        assert control.training == experiment.training.model_copy(update={kind: 0.4})
    for student in (experiment.distill_config(0), experiment.tune_distill_config()):
        assert student.training == experiment.training  # its own mixing stands in `distill`
    assert experiment.finetune_teacher_config().training == experiment.teacher_finetuning


def test_the_control_trains_as_the_student_does_where_nothing_is_mixed():
    experiment = Experiment()
    assert experiment.finetune_config(0).training == experiment.distill_config(0).training == experiment.training
