"""Settings of datasets and of the views shown of each image."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self, get_args

from pydantic import AfterValidator, Field, model_validator

from taskdistill.configs.base import AddedLater, Path_, Seed, Settings, StageConfig
from taskdistill.configs.choices import FormName, check_labels

UNLABELLED = "unlabelled"
"""The split of images of a dataset that have no label: no stage that needs labels reads them."""

CLEAN_VIEW = 0
"""The number of the view without augmentation; the augmented ones count from 1."""

MIN_VIEWS = 4
"""Augmented views that `ViewSettings.max_total` leaves each image, however many images there are."""

FolderLayout = Literal["class", "split/class", "class/split"]
MaskLayout = Literal["folders", "voc", "ade20k", "cityscapes", "camvid"]

Resize = Literal["pillow", "torch"]

TrainViews = Literal["augmented", "clean", "both"]


class IngestConfig(StageConfig):
    """From images on disk to one image-set."""

    path: Path_ = ""
    """Folder that holds the images."""
    form: FormName = "folder"
    """folder: split/class/file, class/split/file or class/file. table: a CSV or Parquet table of path, label or mask,
    split. masks: a folder of images and one of masks, as images/split/file and masks/split/file.
    """
    table: str = ""
    """Form table: the table's path inside the folder; its path column is relative to the folder."""
    layout: Annotated[Literal["by-names", FolderLayout, MaskLayout], AddedLater] = "by-names"
    """Form folder: what the folders above the images are; form masks: where images and masks lie. by-names: found from
    their names, and refused in doubt; else as stated here.
    """
    labels: Annotated[str, AddedLater, AfterValidator(check_labels)] = ""
    """What the numbers or colours in masks mean: camvid, voc, cityscapes, cityscapes-ids, bird-parts; mmseg:NAME, a
    dataset class of mmsegmentation; a file inside the folder (classes.txt: one name a line; CSV: name, value, red,
    green, blue); found: what the masks hold. Empty: as the layout says, else found; a table's labels, if it has any.
    """
    ignored_values: Annotated[tuple[Annotated[int, Field(ge=0, le=65_535)], ...], AddedLater] = ()
    """Numbers in masks that are ignored, beside 255 where that is no class and what the labels ignore. Names without
    numbers are those of the others, in order: with [0] the first name is that of 1.
    """
    val_images: Annotated[tuple[str, ...], AddedLater] = ()
    """Patterns of paths inside the folder, such as train/0001TP_*: these images are the val split, wherever they lie. A
    star stands for any text, slashes too.
    """
    test_images: Annotated[tuple[str, ...], AddedLater] = ()
    """The same for the test split."""
    left_out_images: Annotated[tuple[str, ...], AddedLater] = ()
    """The same for images that are to be no part of the dataset."""
    labels_per_class: Annotated[int, AddedLater] = Field(default=0, ge=0)
    """Labelled training images of each class, drawn by labels_seed; the others count as images without labels. To see
    what more labels would bring. 0: all.
    """
    labels_seed: Annotated[Seed, AddedLater] = 0
    """Another seed draws other images: those that keep their labels, and those that are taken."""
    max_images: Annotated[int, AddedLater] = Field(default=0, ge=0)
    """Of each split so many images at most, drawn by labels_seed: of each class its share, rounded up, and two for
    training at least. To see whether all works before all images are decoded; their digest is taken of all. 0: all.
    """
    val_share: float = Field(default=0.1, gt=0, lt=1)
    """Share of the training images held out for validation where the dataset names none."""
    test_share: float = Field(default=0.1, gt=0, lt=1)
    """Share of the training images held out for testing where the dataset names none."""
    max_quarantined_share: float = Field(default=0.02, ge=0, le=1)
    """Unreadable images are set aside and named; a larger share of them stops the ingest."""
    contradictions: Annotated[Literal["refuse", "drop", "keep"], AddedLater] = "refuse"
    """Byte-identical images in several classes: refuse the dataset, drop all of them, or keep each with its label."""
    max_side_px: int = Field(default=16_384, ge=16, le=65_535)
    """Images wider or higher than this are set aside: most are mistakes or attacks."""
    max_megapixels: float = Field(default=80.0, gt=0)
    """Images of more pixels than this are set aside."""
    reduce_to_px: Annotated[int, AddedLater] = Field(default=0, ge=0, le=65_500)
    """Photographs whose longer side is above this are stored as copies of that size, so that they cost less to decode
    and to keep. Not below what the largest network sees, as its crops would be enlarged. 0: every file as it is.
    """
    white_level: Annotated[float, AddedLater] = Field(default=0.0)
    """Images of more than 8 bits: the value that becomes white, such as 4095 for a camera of 12 bits. 0: the least of
    8, 10, 12, 14, 16, 24 and 32 bits that holds every value in the set (floats: 1.0 where none is above it).
    """
    black_level: Annotated[float, AddedLater] = Field(default=0.0)
    """Images of more than 8 bits: the value that becomes black, and all below it; scans may have negative ones."""

    @model_validator(mode="after")
    def _table_is_named(self) -> Self:
        if (self.form == "table") != bool(self.table):
            raise ValueError(
                "form 'table' needs data.table (a file inside data.path), and other forms must not have it"
            )
        if self.form == "table" and self.layout != "by-names":
            raise ValueError("data.layout says how folders are read, and form 'table' names each image: leave it out")
        return self

    @model_validator(mode="after")
    def _masks_are_described_where_there_are_any(self) -> Self:
        foreign = {"folder": get_args(MaskLayout), "masks": get_args(FolderLayout)}
        if self.layout in foreign.get(self.form, ()):
            raise ValueError(f"data.layout {self.layout!r} is none of form {self.form!r}")
        if self.form == "masks" and self.reduce_to_px:
            raise ValueError(
                "data.reduce_to_px is for images alone: masks are learnt and scored on the grid of their own images. "
                "Leave it out"
            )
        if self.form == "masks" and self.labels_per_class:
            raise ValueError("data.labels_per_class counts images of a class, and form 'masks' has none: leave it out")
        if self.form == "folder" and (self.labels or self.ignored_values):
            raise ValueError(
                "data.labels and data.ignored_values say what masks mean, and form 'folder' has none: set data.form to "
                "'masks', or to 'table' with a column mask"
            )
        return self

    @model_validator(mode="after")
    def _white_is_above_black(self) -> Self:
        if self.white_level != 0 and self.white_level <= self.black_level:
            raise ValueError(
                f"data.white_level is {self.white_level:g} and data.black_level {self.black_level:g}: white must be "
                "the larger value"
            )
        return self


class UnlabelledConfig(StageConfig):
    """From images without labels, of a folder and of the dataset itself, to an image-set that a teacher speaks for."""

    path: Path_ = ""
    """A folder of images without labels, at any depth; none: those of the dataset that have no label."""
    max_images: Annotated[int, AddedLater] = Field(default=0, ge=0)
    """So many images of the folder at most, the same each time. 0: all."""
    max_quarantined_share: float = Field(default=0.02, ge=0, le=1)
    """Unreadable images are set aside and named; a larger share of them stops the work."""
    max_side_px: int = Field(default=16_384, ge=16, le=65_535)
    """Images wider or higher than this are set aside."""
    max_megapixels: float = Field(default=80.0, gt=0)
    """Images of more pixels than this are set aside."""
    reduce_to_px: Annotated[int, AddedLater] = Field(default=0, ge=0, le=65_500)
    """Photographs whose longer side is above this are stored as copies of that size. 0: every file as it is."""

    @model_validator(mode="after")
    def _images_are_counted_in_a_folder(self) -> Self:
        if self.max_images and not self.path:
            raise ValueError(
                "unlabelled.max_images counts images of unlabelled.path, which is not set: set it, or leave this out "
                "(data.max_images bounds those of the dataset)"
            )
        return self


class ViewSettings(Settings):
    """The augmented views of each image, drawn once, stored, and shown to teacher and student alike."""

    num_views: int = Field(default=8, ge=0, le=1024)
    """Augmented views of each image; epoch e trains on view e modulo this number. 0: the clean view only."""
    max_total: Annotated[int, AddedLater] = Field(default=0, ge=0)
    """Augmented views of all training images of one set together, at most: the fewer images, the more views each has,
    up to `num_views`. Each image has 4 all the same, where num_views is not less. 0: no limit.
    """
    crop: Annotated[Literal["resized", "scaled"], AddedLater] = "resized"
    """How a view is cut. resized: a random share of the image, by `min_area` and `max_aspect`. scaled: the image at a
    random scale, by `min_scale` and `max_scale`, and of it a crop of the networks' own shape; where it leaves the image
    it is padded, and nothing is taught there. What is common for segmentation.
    """
    min_scale: Annotated[float, AddedLater] = Field(default=0.5, gt=0, le=100)
    """Crop scaled: smallest scale; 1 is where the crop just fits in the image, and below it there is padding."""
    max_scale: Annotated[float, AddedLater] = Field(default=2.0, gt=0, le=100)
    """Crop scaled: largest scale; at 2 a crop shows half of the height and width that fit in the image."""
    width_to_height: Annotated[float, AddedLater] = Field(default=1.0, ge=0.05, le=20)
    """Width of what the networks see, as a multiple of its height (see input_width_px); for all networks alike."""
    min_area: float = Field(default=0.3, gt=0, le=1)
    """Smallest share of the image's area that a crop may keep."""
    max_aspect: float = Field(default=1.333, ge=1, le=1e6)
    """Widest aspect ratio of a crop, as a multiple of `width_to_height`; the narrowest is its inverse."""
    flip: float = Field(default=0.5, ge=0, le=1)
    """Probability of a horizontal flip."""
    brightness: float = Field(default=0.2, ge=0, lt=1)
    """Brightness is multiplied by a factor from 1 - this to 1 + this."""
    contrast: float = Field(default=0.2, ge=0, lt=1)
    """Contrast is multiplied by a factor from 1 - this to 1 + this."""
    saturation: float = Field(default=0.2, ge=0, lt=1)
    """Saturation is multiplied by a factor from 1 - this to 1 + this."""
    resize: Annotated[Resize, AddedLater] = "pillow"
    """What resizes augmented views. torch: in a quarter of the time, by 0.04 grey levels of 255 otherwise on average,
    and perhaps in other bits on another processor. Clean views, which networks are judged by and exported with, are
    Pillow's either way.
    """
    seed: Seed = 0
    """Another seed draws other views."""

    @model_validator(mode="after")
    def _scales_are_a_range(self) -> Self:
        if self.min_scale > self.max_scale:
            raise ValueError(
                f"min_scale {self.min_scale:g} is above max_scale {self.max_scale:g}: the smaller one comes first"
            )
        return self

    def num_augmented(self, num_train: int) -> int:
        """Return how many augmented views each training image has in a set of `num_train` of them.

        Counted, not timed: a clock may not decide what an artifact is.
        """
        if not self.max_total or not num_train:
            return self.num_views
        return min(self.num_views, max(MIN_VIEWS, self.max_total // num_train))


OF_CROPS = {"resized": ("min_area", "max_aspect"), "scaled": ("min_scale", "max_scale")}
"""Value of views.crop -> settings that no other value reads."""


def check_crop(views: ViewSettings) -> None:
    """Raise ValueError where a setting was given that the way of cropping does not read.

    Not by the type of the settings: recipes of artifacts that exist may name what was never read.
    """
    idle = [
        (name, crop)
        for crop, names in OF_CROPS.items()
        for name in names
        if crop != views.crop and getattr(views, name) != ViewSettings.model_fields[name].default
    ]
    if idle:
        crop = idle[0][1]
        is_set = " and ".join(f"views.{name}" for name, _ in idle)
        raise ValueError(
            f"{is_set} would change nothing: read where views.crop is {crop!r}, and it is {views.crop!r}. Set "
            f"views.crop to {crop!r}, or leave {is_set} at "
            f"{' and '.join(f'{ViewSettings.model_fields[name].default:g}' for name, _ in idle)}"
        )


def views_of_train(settings: ViewSettings, train_views: TrainViews, splits: Mapping[str, int]) -> range:
    """Return the numbers of the views that each training image is shown, of a set with so many images in each split.

    A set without any other image can teach but train no probe: its images are synthetic ones, to be chosen among.
    """
    num_train = splits.get("train", 0)
    num_augmented = settings.num_augmented(num_train)
    if train_views == "clean" or not num_augmented:
        return range(CLEAN_VIEW, CLEAN_VIEW + 1)
    with_clean = train_views == "both" or num_train == sum(splits.values())
    return range(CLEAN_VIEW if with_clean else CLEAN_VIEW + 1, num_augmented + 1)
