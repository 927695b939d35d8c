"""What the numbers and colours in masks mean: the type, and the tables of data sets that many people have.

A class may have several numbers or colours, where a file of labels repeats its name. What is ignored is named apart
from what is unknown: an unknown number in a mask is a mistake, an ignored one is not.

Sources: CamVid's 11 classes and their colours are those of SegNet (arXiv 1511.00561), VOC's colours follow the rule of
its development kit, Cityscapes' numbers are those of cityscapesscripts (helpers/labels.py).
"""

from collections.abc import Iterable
from typing import NamedTuple

Colour = tuple[int, int, int]
"""Red, green, blue, each 0..255."""

IGNORED = 255
"""The number of what is ignored in a canonical mask, and by custom in most that people have."""

MAX_CLASSES = 255
"""More would need a number that stands for what is ignored."""


class LabelTable(NamedTuple):
    """The classes of a dataset, in order, with what stands for them in its masks."""

    names: tuple[str, ...]
    values: tuple[tuple[int, ...], ...] = ()
    """Of each class, its numbers. Empty: the numbers 0, 1, 2 ... that are not ignored, in the order of the names."""
    colours: tuple[tuple[Colour, ...], ...] = ()
    """Of each class, its colours, the first to draw it with. Empty where none are known."""
    ignored: tuple[int, ...] = ()
    """Numbers that are ignored, beside 255 where that is no class."""
    ignored_colours: tuple[Colour, ...] = ()

    def with_values(self, ignored: Iterable[int] = ()) -> "LabelTable":
        """Return the same with the numbers of each class written out; `ignored` are further ones to pass over."""
        passed_over = {*self.ignored, *ignored}
        if self.values:
            kept = tuple(tuple(value for value in own if value not in passed_over) for own in self.values)
            return self._replace(values=kept, ignored=tuple(sorted(passed_over)))
        numbers = (value for value in range(len(self.names) + len(passed_over)) if value not in passed_over)
        values = tuple((value,) for _, value in zip(self.names, numbers, strict=False))
        return self._replace(values=values, ignored=tuple(sorted(passed_over)))


def _counted(names: Iterable[str], colours: Iterable[Colour]) -> LabelTable:
    """Return a table whose numbers are 0, 1, 2 ... and which gives each class one colour."""
    return LabelTable(tuple(names), (), tuple((colour,) for colour in colours))


CAMVID = _counted(
    ("sky", "building", "pole", "road", "pavement", "tree", "sign symbol", "fence", "car", "pedestrian", "bicyclist"),
    (
        (128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222), (128, 128, 0), (192, 128, 128),
        (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192),
    ),
)._replace(ignored=(11,), ignored_colours=((0, 0, 0),))  # fmt: skip
"""CamVid as SegNet grouped it: 11 classes, 11 = void."""


def _voc_colour(number: int) -> Colour:
    """Return the colour of VOC's palette: the bits of the number, dealt to red, green and blue from the highest on."""
    colour = [0, 0, 0]
    for place in range(8):
        for channel in range(3):
            colour[channel] |= ((number >> (3 * place + channel)) & 1) << (7 - place)
    return colour[0], colour[1], colour[2]


_VOC = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
VOC = _counted(_VOC, map(_voc_colour, range(len(_VOC))))._replace(ignored_colours=(_voc_colour(IGNORED),))
"""Pascal VOC 2012: background and 20 classes; the borders of things are ignored."""

_CITYSCAPES: dict[str, tuple[int, Colour]] = {
    "road": (7, (128, 64, 128)), "sidewalk": (8, (244, 35, 232)), "building": (11, (70, 70, 70)),
    "wall": (12, (102, 102, 156)), "fence": (13, (190, 153, 153)), "pole": (17, (153, 153, 153)),
    "traffic light": (19, (250, 170, 30)), "traffic sign": (20, (220, 220, 0)), "vegetation": (21, (107, 142, 35)),
    "terrain": (22, (152, 251, 152)), "sky": (23, (70, 130, 180)), "person": (24, (220, 20, 60)),
    "rider": (25, (255, 0, 0)), "car": (26, (0, 0, 142)), "truck": (27, (0, 0, 70)), "bus": (28, (0, 60, 100)),
    "train": (31, (0, 80, 100)), "motorcycle": (32, (0, 0, 230)), "bicycle": (33, (119, 11, 32)),
}  # fmt: skip
"""Name -> its id in `_labelIds`, and its colour; `_labelTrainIds` count through them."""
_CITYSCAPES_NOT_JUDGED: dict[int, Colour] = {
    0: (0, 0, 0), 1: (0, 0, 0), 2: (0, 0, 0), 3: (0, 0, 0), 4: (0, 0, 0), 5: (111, 74, 0), 6: (81, 0, 81),
    9: (250, 170, 160), 10: (230, 150, 140), 14: (180, 165, 180), 15: (150, 100, 100), 16: (150, 120, 90),
    18: (153, 153, 153), 29: (0, 0, 90), 30: (0, 0, 110),
}  # fmt: skip
_NOT_JUDGED_COLOURS = tuple(
    sorted(set(_CITYSCAPES_NOT_JUDGED.values()) - {colour for _, colour in _CITYSCAPES.values()})
)

CITYSCAPES = _counted(_CITYSCAPES, (colour for _, colour in _CITYSCAPES.values()))._replace(
    ignored_colours=_NOT_JUDGED_COLOURS
)
"""Cityscapes' 19 classes as `_labelTrainIds` number them."""
CITYSCAPES_IDS = CITYSCAPES._replace(
    values=tuple((value,) for value, _ in _CITYSCAPES.values()), ignored=tuple(_CITYSCAPES_NOT_JUDGED)
)
"""The same 19 classes as `_labelIds` number them; the other ids are not judged."""

BIRD_PARTS = LabelTable(
    ("background", "foliage", "branch", "body", "belly", "wing", "head", "beak", "tail", "legs"),
)
"""The parts that the masks of the miniature hold (tasks.miniature.world.PARTS)."""
