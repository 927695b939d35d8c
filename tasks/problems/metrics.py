"""What a metric is to those who show it: plain data, so that a table of scores is printed without torch.

A problem declares its metrics in a module that imports nothing else (`configs.choices.METRICS`). They are looked up by
the name of the problem and do not stand in evaluations: so those made by earlier versions are shown as today's are, and
a heading is changed in one place.
"""

from typing import NamedTuple

from taskdistill.configs.choices import METRICS, load

PERCENT = "%"


class Metric(NamedTuple):
    """One metric of a problem, and how it is written."""

    name: str
    """Its key in artifacts and in JSON."""
    heading: str
    """What stands above its column."""
    unit: str = ""
    """'%': a share, 0..1, that is shown times 100; '': shown as it is."""
    is_shown: bool = True
    """Whether it has a column in the table of scores; the rows for programs hold every metric."""
    shows_error: bool = True
    """Whether the table shows its standard error too, where it has one."""
    noun: str = "score"
    """What one value of it is called in a sentence."""
    is_agreement: bool = False
    """Whether it says how far a model agrees with its teacher."""
    of_classes: str = ""
    """Name of the column in the table of classes whose mean it is; '': it is no mean over classes that is shown."""
    about: str = ""
    """What it is, for people who have not met it: the end of a sentence."""

    @property
    def scale(self) -> float:
        return 100 if self.unit == PERCENT else 1

    @property
    def digits(self) -> int:
        """Digits after the point."""
        return 1 if self.unit == PERCENT else 3

    def number(self, value: float) -> str:
        """Write a value, or a standard error, without its unit."""
        return f"{value * self.scale:.{self.digits}f}"

    def in_words(self, value: float) -> str:
        """Write a value with its unit."""
        return f"{self.number(value)} {self.unit}".rstrip()

    def signed(self, difference: float) -> str:
        """Write how far one value lies above another; of no difference the sign is plus."""
        return f"{round(difference * self.scale, self.digits) + 0.0:+.{self.digits}f}"  # -0.0 + 0.0 is 0.0


def metrics_of(name: str) -> tuple[Metric, ...]:
    """Return the declared metrics of a problem, the one that chooses a model first; none where it declares none, or is
    not known here.
    """
    declared: tuple[Metric, ...] = load(METRICS, name) if name in METRICS else ()
    return declared


def undeclared(name: str) -> Metric:
    """Return how a metric is shown of which nothing but its name is known."""
    return Metric(name, name)
