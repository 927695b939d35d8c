"""Whether networks see pictures of the shape that views have: a view is drawn once for all of them."""

from collections.abc import Mapping
from typing import Protocol

from taskdistill.configs.data import ViewSettings

TOLERANCE = 0.02
"""By so much the shape of a network's pictures may differ from that of the views, as a share: sides are multiples of
patches and strides, which seldom give the very same ratio.
"""


class Network(Protocol):
    """How a network sees images: a backbone, or one that was trained elsewhere."""

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width in pixels."""

    @property
    def clean_view(self) -> str:
        """What it sees of an image when nothing is augmented."""


def check_shapes(views: ViewSettings, networks: Mapping[str, Network]) -> None:
    """Raise ValueError where a network, named by its setting, would see views in another shape than they have."""
    wrong = {setting: network for setting, network in networks.items() if not _fits(network, views.width_to_height)}
    if not wrong:
        return
    setting, network = next(iter(wrong.items()))
    height, width = network.input_size
    ratios = [network.input_size[1] / network.input_size[0] for network in networks.values()]
    # Where all networks agree with each other it is the views that are to be set.
    own = f"set views.width_to_height to {ratios[0]:.4g}, which all networks have, or "
    raise ValueError(
        f"{setting} sees pictures {height} px high and {width} px wide, {width / height:.4g} times as wide as high, "
        f"but views are {views.width_to_height:g} times as wide as high (views.width_to_height), and one view is for "
        f"all networks: {own if max(ratios) <= min(ratios) * (1 + TOLERANCE) else ''}"
        f"set {setting}.input_width_px to {_width(height, views.width_to_height)}"
    )


def _fits(network: Network, width_to_height: float) -> bool:
    height, width = network.input_size
    return abs(width / (height * width_to_height) - 1) <= TOLERANCE


def _width(height: int, width_to_height: float) -> str:
    """Return what input_width_px may be."""
    if width_to_height == 1:
        return "0"
    exact, spare = round(height * width_to_height), int(height * width_to_height * TOLERANCE)
    return f"{exact} (from {exact - spare} to {exact + spare})" if spare else f"{exact}"
