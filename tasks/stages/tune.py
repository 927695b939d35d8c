"""Stages "tune-finetune" and "tune-distill": choose the settings of a student by successive halving on held-out images.

Shape letters: N images.

Read `images` (image-set) and `probe`, with whose head the students start, and tune-distill their `logits`; write
settings.json and trials.parquet; what lies in trials/ lets a killed search continue.
"""

from dataclasses import replace

from taskdistill.configs.stages import DistillConfig, FinetuneConfig
from taskdistill.configs.tuning import TuneDistillConfig, TuneFinetuneConfig
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.summaries import SettingsSummary
from taskdistill.tasks.functional.successive_halving import Settings
from taskdistill.tasks.problems.problem import problem_named
from taskdistill.tasks.stage import StageContext
from taskdistill.tasks.stages.distill import lesson_of as distill_lesson_of
from taskdistill.tasks.stages.finetune import lesson_of as finetune_lesson_of
from taskdistill.tasks.training.choosing import Search, choose
from taskdistill.tasks.training.held_out import Fold, held_out
from taskdistill.tasks.training.probed import probed_model
from taskdistill.tasks.training.tuning_trials import Course


def run_finetune(config: TuneFinetuneConfig, context: StageContext) -> SettingsSummary:
    """Choose the learning rate of finetuning.

    Raises CacheMismatchError where the probe is of other images or another backbone, SettingsError where no image can
    be held out, and TrainingDivergedError where training diverges with the default and with what else is left.
    """
    images = ImageSet.open(context.inputs["images"])
    classes = problem_named(config.problem).classes(images)
    model = probed_model(config.backbone, context, classes=classes, drop_path=config.training.drop_path)
    shared = {name: getattr(config, name) for name in ("problem", "backbone", "views", "training")}
    lesson = finetune_lesson_of(FinetuneConfig(**shared), images, model, context)

    def course(fold: Fold, settings: Settings, seed: int) -> Course:
        training = config.training.model_copy(update={"learning_rate": settings["learning_rate"]})
        return Course(training, replace(lesson, rows=fold.train_N, training=training, seed=seed))

    search = Search(
        problem=config.problem,
        model=model,
        source=lesson.source,
        held=held_out(images, len(classes), context.inputs["probe"], model),
        training=config.training,
        tuning=config.tuning,
        default=config.default(),
        lists=config.lists(),
    )
    return choose(search, course, context)


def run_distill(config: TuneDistillConfig, context: StageContext) -> SettingsSummary:
    """Choose the learning rate of distillation, the weight of the teacher and the temperature.

    Raises CacheMismatchError also where the logits are of other images, views or classes, and else as `run_finetune`.
    """
    images = ImageSet.open(context.inputs["images"])
    classes = problem_named(config.problem).classes(images)
    model = probed_model(config.backbone, context, classes=classes, drop_path=config.training.drop_path)
    shared = {name: getattr(config, name) for name in ("problem", "backbone", "views", "training", "distill")}
    lesson = distill_lesson_of(DistillConfig(**shared), images, model, context)
    held = held_out(images, len(classes), context.inputs["probe"], model)
    taught = {
        fold.number: lesson.real.of_rows(fold.train_N, budget_mb=context.runtime.logits_cache_mb // len(held.folds))
        for fold in held.folds
    }

    def course(fold: Fold, settings: Settings, seed: int) -> Course:
        training = config.training.model_copy(update={"learning_rate": settings["learning_rate"]})
        distill = config.distill.model_copy(update={name: settings[name] for name in ("alpha", "temperature")})
        return Course(training, replace(lesson, real=taught[fold.number], distill=distill, seed=seed))

    search = Search(
        problem=config.problem,
        model=model,
        source=lesson.real.source,
        held=held,
        training=config.training,
        tuning=config.tuning,
        default=config.default(),
        lists=config.lists(),
    )
    return choose(search, course, context)
