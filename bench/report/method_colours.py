"""The families of methods, with their colours and markers in figures.

The colours are those of Okabe and Ito, which colour-blind readers tell apart, but for their yellow,
which is too pale on white: https://jfly.uni-koeln.de/color/.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """A family of methods that work alike."""

    name: str
    colour: str
    marker: str  # as matplotlib names it
    members: frozenset[str]  # the part of a method's name before the first underscore


def _make_family(name: str, colour: str, marker: str, members: str) -> Family:
    return Family(name, colour, marker, frozenset(members.split()))


FAMILIES = (
    _make_family("full", "#000000", "s", "full partial1"),
    _make_family("linear", "#6e6e6e", "o", "linear mlp3 mp"),
    _make_family("bias", "#E69F00", "D", "bias ln difffit ssf snf rlrr gps"),
    _make_family("adapter", "#56B4E9", "P", "adapter adaptformer convpass sidetune"),
    _make_family("lora", "#009E73", "^", "lora fact repadapter arc snell pace"),
    _make_family("vpt", "#0072B2", "v", "vpt gatevpt e2vpt vqt vfpt bpt cvpt vapt sa2vp da"),
    _make_family("spt", "#D55E00", "*", "spt vipamin"),
)
OTHER_FAMILY = _make_family("other", "#CC79A7", "X", "")


def method_family(method: str) -> Family:
    """Return the family of the method of that name."""
    first = method.split("_")[0]
    return next((known for known in FAMILIES if first in known.members), OTHER_FAMILY)
