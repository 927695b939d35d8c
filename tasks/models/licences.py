"""Under which licence a pretrained network may be used, and what that demands: timm's tags, in words.

A summary for whoever reads a card, no advice: the licence itself decides. What is not known is said to be so.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

Commercial = Literal["allowed", "forbidden", "unknown"]


class Terms(NamedTuple):
    """What a licence says, in a few words."""

    commercial: Commercial
    demands: str


_NOTICE = "pass the licence and its copyright notice on"
KNOWN: dict[str, Terms] = {
    "apache-2.0": Terms("allowed", f"{_NOTICE}, and say what was changed"),
    "mit": Terms("allowed", _NOTICE),
    "bsd-3-clause": Terms("allowed", f"{_NOTICE}; do not advertise with the authors' names"),
    "cc-by-4.0": Terms("allowed", "name the authors and say what was changed"),
    "cc-by-nc-4.0": Terms("forbidden", "no commercial use; name the authors and say what was changed"),
    "fair-noncommercial-research-license": Terms("forbidden", "research that is not commercial alone"),
    "apple-amlr": Terms("forbidden", "research alone"),
    "creativeml-openrail-m": Terms(
        "allowed", "its restrictions of use (attachment A) hold for all that is made with it, and must be passed on"
    ),
}
OWN_TERMS = Terms("unknown", "it has terms of its own: read it before you use or pass on what was made with it")
UNKNOWN = Terms("unknown", "nobody has said: ask whoever made the weights")
OURS = "apache-2.0"
_SHIPPED = "miniature/weights/"
"""Where the weights lie that come with this program."""


class Licence(NamedTuple):
    """The licence of one thing that a model was made from."""

    what: str
    """What it did, such as "student"."""
    name: str
    tag: str
    """As hubs call the licence; empty: unknown."""

    @property
    def terms(self) -> Terms:
        return KNOWN.get(self.tag, OWN_TERMS if self.tag else UNKNOWN)

    def sentence(self) -> str:
        return f"{self.what}: {self.name}, licence {self.tag or 'unknown'}: {self.terms.demands}"

    def warning(self) -> str:
        """Say what stands against commercial use; empty where nothing does."""
        match self.terms.commercial:
            case "forbidden":
                return f"the {self.what} {self.name} is under {self.tag}, which forbids commercial use"
            case "unknown":
                return (
                    f"whether the {self.what} {self.name} may be used commercially is not known (licence "
                    f"{self.tag or 'unknown'})"
                )
        return ""


def of_backbone(what: str, backbone: Mapping[str, Any], file: str = "") -> Licence:
    """Return the licence of a pretrained network's weights; `file` is where they came from, where that is known."""
    name = str(backbone.get("name", ""))
    match backbone.get("weights"):
        case "random":
            return Licence(what, f"{name} (not pretrained)", OURS)
        case "file":
            is_shipped = _SHIPPED in file
            return Licence(
                what,
                f"{name} (weights {'of this program' if is_shipped else 'from a file'})",
                OURS if is_shipped else "",
            )
    import timm  # seconds, and only where there is something to ask

    found = timm.get_pretrained_cfg(name)
    tag = (found.license or "") if found is not None else ""
    return Licence(what, name, "" if tag == "unknown" else tag)


def of_generator(folder: str = "") -> Licence:
    """Return that of the model that painted blends."""
    if _SHIPPED in folder:
        return Licence("generator", "the image mixer of this program's demonstration", OURS)
    return Licence("generator", "Image Mixer (a finetuned Stable Diffusion)", "creativeml-openrail-m")
