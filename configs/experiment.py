"""An experiment: the settings of all stages together, and every check that looks at more than one of them."""

from typing import Literal, Self

from pydantic import Field, model_validator

from taskdistill.configs.base import Seed, Settings
from taskdistill.configs.choices import ProblemName
from taskdistill.configs.data import IngestConfig, TrainViews, UnlabelledConfig, ViewSettings, check_crop
from taskdistill.configs.evaluation import WindowSettings
from taskdistill.configs.folds import Calibration, TrainLogits, check_features_for_folds, check_teacher_logits
from taskdistill.configs.foreign import ForeignTeacher, PrecomputeForeignConfig, check_foreign
from taskdistill.configs.generation import (
    BlendSettings,
    EmbedConfig,
    GenerateConfig,
    GeneratorModel,
    SelectConfig,
    SelectSettings,
)
from taskdistill.configs.joining import check_joined
from taskdistill.configs.models import Backbone, Student, Teacher
from taskdistill.configs.problem_options import blocks_of, check_options
from taskdistill.configs.runtime import RuntimeConfig
from taskdistill.configs.shapes import Network, check_shapes
from taskdistill.configs.short_names import ShortName
from taskdistill.configs.stages import (
    CombineConfig,
    DistillConfig,
    EvaluateConfig,
    ExtractConfig,
    FinetuneConfig,
    MeanOf,
    PrecomputeConfig,
    PrecomputeImagesConfig,
    PrecomputeProbedConfig,
    ProbeConfig,
    ProbeImagesConfig,
    ProbeSettings,
    StoredLogits,
)
from taskdistill.configs.training import (
    DistillSettings,
    TeacherFinetuning,
    TrainingSettings,
    check_batches_are_shared,
    check_distillable,
    check_synthetic_images_teach,
)
from taskdistill.configs.tuning import TuneDistillConfig, TuneFinetuneConfig, TuningSettings
from taskdistill.configs.whole_images import check_whole_images


class Experiment(Settings):
    """All that one run of the pipeline is told. `runtime` alone is no part of any artifact's identity."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    """Version of this form; presets carry it so that old files can be recognised."""
    name: ShortName = "distillation"
    """A short name for titles and labels."""
    problem: ProblemName = "classification"
    """What is learnt."""
    data: IngestConfig = IngestConfig()
    teacher: Teacher = Teacher()
    student: Student = Student()
    teacher_training: Literal["probed", "finetuned", "foreign"] = "probed"
    """Which teacher teaches: the frozen encoder with its probe, the whole network finetuned, or a network that was
    trained elsewhere and answers as it is (foreign_teacher).
    """
    foreign_teacher: ForeignTeacher = ForeignTeacher()
    more_teachers: tuple[Teacher, ...] = ()
    """Further teachers, each probed as the first is; what they say is averaged, and the mean teaches."""
    teachers_mean: MeanOf = "log-probabilities"
    """What is averaged where there are several teachers. log-probabilities: high where all agree. probabilities: high
    where one is sure.
    """
    teacher_cache: Literal["features", "logits"] = "features"
    """What is kept of the frozen encoders. features: other heads cost seconds. logits: for features that are too large,
    such as maps; heads are trained from the images, and each view is shown once more for its logits.
    """
    teacher_logits: TrainLogits = "in-sample"
    """What the probed teacher says of training images. in-sample: its head was trained on them, and is surer than of
    others; out-of-fold: of each image a head that has not seen it (needs probe.folds, such as 5).
    """
    teacher_calibration: Calibration = "none"
    """temperature: the probed teacher's logits are divided by the one number that fits the validation images best."""
    logits: StoredLogits = "fp16"
    """How the teacher's logits are kept. int8: in half the bytes, with a scale and an offset for those of each view;
    what that loses is far less than what a student makes of them.
    """
    synthetic_images: Literal["none", "blends", "unlabelled"] = "none"
    """A third student is distilled on the labelled images and on others that the teacher alone speaks for. blends: made
    from pairs of training images. unlabelled: photographs of your own without labels.
    """
    unlabelled: UnlabelledConfig = UnlabelledConfig()
    generator: GeneratorModel = GeneratorModel()
    blends: BlendSettings = BlendSettings()
    select: SelectSettings = SelectSettings()
    views: ViewSettings = ViewSettings()
    precision: Literal["fp32", "bf16"] = "fp32"
    """Precision of the frozen encoders."""
    probe: ProbeSettings = ProbeSettings()
    student_probe: ProbeSettings = ProbeSettings()
    training: TrainingSettings = TrainingSettings()
    teacher_finetuning: TeacherFinetuning = TeacherFinetuning()
    distill: DistillSettings = DistillSettings()
    tuning: TuningSettings = TuningSettings()
    windows: WindowSettings = WindowSettings()
    """How models are shown the images they are scored on; of teachers that are foreign or several, always their clean
    view, which is cached.
    """
    seeds: tuple[Seed, ...] = Field(default=(0,), min_length=1)
    """Each seed trains one finetuned and one distilled student, and one with synthetic images where there are any."""
    license: Literal["any", "commercial"] = "any"
    """What the models are for. commercial: a licence of a pretrained network that forbids it, or is not known, is a
    warning.
    """
    runtime: RuntimeConfig = RuntimeConfig()

    @model_validator(mode="after")
    def _sections_fit_each_other(self) -> Self:
        check_distillable(self.views, self.training, self.distill)
        trainings = {"training": self.training, "teacher_finetuning": self.teacher_finetuning}
        probes = {"probe": self.probe, "student_probe": self.student_probe}
        check_options(self.problem, windows=self.windows, **probes, **trainings)
        check_batches_are_shared(self.runtime.ranks, **trainings)
        check_crop(self.views)
        check_shapes(self.views, self._networks)
        check_whole_images(self.problem, self.data, self.teacher_cache, self._networks, **probes)
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds has a repeated value: {list(self.seeds)}; each seed is one student")
        if self.synthetic_images == "blends" and not self.generator.folder:
            raise ValueError(
                "synthetic_images 'blends' needs generator.folder, a diffusers folder of safetensors: make one with "
                "'taskdistill convert-image-mixer'"
            )
        if self.synthetic_images != "none":
            check_synthetic_images_teach(self.distill, self.training)
        if self.synthetic_images == "unlabelled":
            self.select.check_is_known("the set of unlabelled images")
        return self

    @model_validator(mode="after")
    def _the_teacher_can_say_what_is_asked(self) -> Self:
        if self.teacher_cache == "logits":
            check_features_for_folds(self.probe.folds, "probe")
            check_features_for_folds(self.student_probe.folds, "student_probe")
        teacher = self.teacher_training, self.teacher_cache
        check_teacher_logits(self.teacher_logits, self.teacher_calibration, teacher, self.probe.folds)
        if self.teacher_training == "foreign":
            check_foreign(self.foreign_teacher)
        check_joined(self.teachers, self.teacher_training)
        return self

    @property
    def teachers(self) -> dict[str, Backbone]:
        """Every teacher by the name of its setting, such as more_teachers[0]; the first is `teacher`."""
        more = {f"more_teachers[{entry}]": teacher for entry, teacher in enumerate(self.more_teachers)}
        return {"teacher": self.teacher, **more}

    @property
    def _networks(self) -> dict[str, Network]:
        """Every network in use by the name of its setting."""
        if self.teacher_training == "foreign":
            return {"foreign_teacher": self.foreign_teacher, "student": self.student}
        return {**self.teachers, "student": self.student}

    def setting_of(self, backbone: Backbone | None) -> str:
        """Return which setting names a network, for messages, where there are several teachers and it is one."""
        several = self.teachers if self.more_teachers else {}
        return next((setting for setting, teacher in several.items() if teacher == backbone), "")

    def combine_config(self) -> CombineConfig:
        return CombineConfig(mean_of=self.teachers_mean, logits=self.logits)

    def embed_config(self) -> EmbedConfig:
        return EmbedConfig(model=self.generator)

    def generate_config(self) -> GenerateConfig:
        return GenerateConfig(model=self.generator, blends=self.blends)

    def select_config(self) -> SelectConfig:
        return SelectConfig(problem=self.problem, select=self.select)

    def extract_config(self, backbone: Backbone, probe: ProbeSettings, train_views: TrainViews) -> ExtractConfig:
        shown = {"views": self.views, "train_views": train_views}
        return ExtractConfig(backbone=backbone, precision=self.precision, blocks=blocks_of(probe.inputs), **shown)

    def train_views(self, role: Literal["teacher", "student"]) -> TrainViews:
        """Return which views of training images somebody reads: that network's probe, and students of a probed teacher,
        whom it teaches on the augmented ones.
        """
        train_on = {"teacher": self.probe, "student": self.student_probe}[role].train_on
        teaches = role == "teacher" and self.teacher_training == "probed"
        return "both" if teaches and train_on == "clean" else train_on

    def starting_probe(self) -> ProbeSettings:
        """Return the settings of the probe that students start from: with a head for each fold where their settings
        are chosen on folds, which needs cached features.
        """
        probe = self.student_probe
        if self.tuning.search == "none" or self.teacher_cache == "logits" or probe.folds:
            return probe
        return probe.model_copy(update={"folds": self.tuning.folds})

    def probe_config(self, probe: ProbeSettings) -> ProbeConfig:
        return ProbeConfig(problem=self.problem, probe=probe)

    def probe_images_config(self, backbone: Backbone, probe: ProbeSettings) -> ProbeImagesConfig:
        return ProbeImagesConfig(
            problem=self.problem, backbone=backbone, views=self.views, precision=self.precision, probe=probe
        )

    def precompute_probed_config(
        self, backbone: Backbone, train_views: TrainViews, logits: StoredLogits
    ) -> PrecomputeProbedConfig:
        return PrecomputeProbedConfig(
            backbone=backbone, views=self.views, precision=self.precision, train_views=train_views, logits=logits
        )

    def precompute_config(self) -> PrecomputeConfig:
        """Of a probed teacher, on the images that its probe was trained on."""
        return PrecomputeConfig(
            train_logits=self.teacher_logits, calibration=self.teacher_calibration, logits=self.logits
        )

    def precompute_synthetic_config(self) -> PrecomputeConfig:
        """The same on synthetic images, of which none is in a fold, as no head was trained on any."""
        return PrecomputeConfig(calibration=self.teacher_calibration, logits=self.logits)

    def precompute_images_config(self, train_views: TrainViews = "augmented") -> PrecomputeImagesConfig:
        return PrecomputeImagesConfig(
            views=self.views, precision=self.precision, train_views=train_views, logits=self.logits
        )

    def precompute_foreign_config(self, train_views: TrainViews = "augmented") -> PrecomputeForeignConfig:
        return PrecomputeForeignConfig(
            problem=self.problem, model=self.foreign_teacher, views=self.views, precision=self.precision,
            train_views=train_views, logits=self.logits,
        )  # fmt: skip

    def is_location_used(self, name: str) -> bool:
        """Return whether a run reads the place of this setting: others may name what is not there."""
        used = {
            "generator": self.synthetic_images == "blends",
            "unlabelled": self.synthetic_images == "unlabelled",
            "foreign_teacher": self.teacher_training == "foreign",
        }
        return used.get(name.partition(".")[0], not name.startswith("runtime."))  # where is written, not read

    def control_training(self) -> TrainingSettings:
        """Return how the finetuned student trains: on mixtures of views where the distilled one does, or what mixing
        alone is worth would count for the teacher.
        """
        if self.distill.mix_views == "none":
            return self.training
        return self.training.model_copy(update={self.distill.mix_views: self.distill.mix_beta})

    def finetune_config(self, seed: int) -> FinetuneConfig:
        return FinetuneConfig(
            problem=self.problem, backbone=self.student, views=self.views, training=self.control_training(), seed=seed
        )

    def finetune_teacher_config(self) -> FinetuneConfig:
        return FinetuneConfig(
            problem=self.problem, backbone=self.teacher, views=self.views, training=self.teacher_finetuning,
            seed=self.seeds[0],
        )  # fmt: skip

    def distill_config(self, seed: int) -> DistillConfig:
        return DistillConfig(
            problem=self.problem,
            backbone=self.student,
            views=self.views,
            training=self.training,
            distill=self.distill,
            seed=seed,
        )

    def tune_finetune_config(self) -> TuneFinetuneConfig:
        return TuneFinetuneConfig(
            problem=self.problem, backbone=self.student, views=self.views, training=self.control_training(),
            tuning=self.tuning,
        )  # fmt: skip

    def tune_distill_config(self) -> TuneDistillConfig:
        return TuneDistillConfig(
            problem=self.problem, backbone=self.student, views=self.views, training=self.training,
            distill=self.distill, tuning=self.tuning,
        )  # fmt: skip

    def evaluate_config(self) -> EvaluateConfig:
        return EvaluateConfig(problem=self.problem, windows=self.windows)

    def evaluate_cached_config(self) -> EvaluateConfig:
        """Of cached logits: they are of the clean view, however models are shown the images."""
        return EvaluateConfig(problem=self.problem)
