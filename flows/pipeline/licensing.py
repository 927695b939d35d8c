"""Which licences of pretrained networks stand against what an experiment's models are for."""

from taskdistill.configs.experiment import Experiment


def licence_warnings(experiment: Experiment) -> list[str]:
    """Return a sentence for each network whose licence forbids commercial use, or is not known, where the models are
    for that.
    """
    if experiment.license != "commercial":
        return []
    from taskdistill.tasks.models.licences import Licence, of_backbone, of_generator  # timm takes seconds to import

    found = [of_backbone("student", experiment.student.model_dump(), experiment.student.file)]
    if experiment.teacher_training == "foreign":
        found.append(Licence("teacher", "the foreign teacher", ""))
    else:
        found += [of_backbone("teacher", one.model_dump(), one.file) for one in experiment.teachers.values()]
    if experiment.synthetic_images == "blends":
        found.append(of_generator(experiment.generator.folder))
    return [warning for licence in dict.fromkeys(found) if (warning := licence.warning())]
