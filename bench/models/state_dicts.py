"""State dicts of a checkpoint: where in the file backbones are, and which of several is taken.

A checkpoint is a tree of tables, in which training scripts have wrapped the weights: by keys
(``state_dict``, ``teacher``) and by prefixes (``module.``, ``base_encoder.``). Both are parts of a
tensor's dotted name here. A backbone is wherever a name ends with that of its first convolution.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor

from bench.utils.errors import UserError, unknown_name
from bench.utils.names import shorten

MAX_DEPTH, MAX_PLACES = 6, 4  # of tables in tables, and of one table
WRAPPERS = ("module", "_orig_mod")  # of torch's, which say nothing
# taken first, where a file has several; the averages of the weights as in timm
PREFERRED = (
    "state_dict_ema",
    "model_ema",
    "ema",
    "teacher",
    "base_encoder",
    "encoder_q",
    "encoder",
    "state_dict",
    "model",
)


def flatten(content: Mapping[Any, Any]) -> dict[Any, Tensor]:
    """Return the tensors of a tree of tables by dotted names.

    Of a table that is in many places, or in itself, only some are looked at.
    """
    found: dict[Any, Tensor] = {}
    waiting: list[tuple[str, int, Mapping[Any, Any]]] = [("", 0, content)]
    seen = Counter[int]()
    while waiting:
        above, depth, table = waiting.pop(0)
        for name, value in table.items():
            if isinstance(value, Tensor) and (isinstance(name, str) or not above):
                found[above + name if above else name] = value
                continue
            is_table = isinstance(value, Mapping) and seen[id(value)] < MAX_PLACES
            if is_table and isinstance(name, str) and depth < MAX_DEPTH:
                seen[id(value)] += 1
                waiting.append((f"{above}{name}.", depth + 1, value))
    return found


def choose(
    tensors: Mapping[str, Tensor], anchors: Sequence[str], wanted: str, origin: str
) -> tuple[dict[str, Tensor], str, str]:
    """Return the state dict of a backbone in a checkpoint, its name in the file, and a note.

    The backbone is where one of the `anchors` is, the first that is anywhere. Of several, the one
    that is `wanted` is taken, or the first of `PREFERRED`. Raises `UserError` for one that is not
    there.
    """
    prefixes = next(filter(None, (_prefixes(tensors, anchor) for anchor in anchors)), [""])
    labels = dict(zip(_distinct_labels(prefixes), prefixes, strict=True))
    label = _find_wanted(labels, wanted, origin) if wanted else min(labels, key=_rank)
    note = _say_taken(label, labels, wanted, origin) if len(labels) > 1 else ""
    prefix = labels[label]
    own = {n.removeprefix(prefix): value for n, value in tensors.items() if n.startswith(prefix)}
    return own, prefix.rstrip("."), note


def block_count(names: Iterable[str], number: re.Pattern[str]) -> int:
    """Return the number of blocks among tensors' names, where `number` finds a block's, from 0."""
    numbers = [int(found[1]) for name in names if (found := number.search(name))]
    return max(numbers, default=-1) + 1


def _prefixes(names: Collection[str], anchor: str) -> list[str]:
    """List what stands before the anchor in names that end with it, without what is inside others.

    A ResNet's ``conv1.weight`` is the end of ``layer1.0.conv1.weight``, too.
    """
    found = [n.removesuffix(anchor) for n in names if n == anchor or n.endswith(f".{anchor}")]
    return [p for p in found if not any(p != other and p.startswith(other) for other in found)]


def _distinct_labels(prefixes: Sequence[str]) -> list[str]:
    """Return the prefixes without torch's wrappers, and without the parts that all share."""
    parts = [[p for p in prefix.split(".") if p and p not in WRAPPERS] for prefix in prefixes]
    if len(parts) > 1:
        for end in (0, -1):
            while all(len(p) > 1 for p in parts) and len({p[end] for p in parts}) == 1:
                for p in parts:
                    p.pop(end)
    labels = [".".join(p) for p in parts]
    return labels if len(set(labels)) == len(labels) else [p.rstrip(".") for p in prefixes]


def _rank(label: str) -> int:
    parts = label.split(".")
    return next((i for i, name in enumerate(PREFERRED) if name in parts), len(PREFERRED))


def _find_wanted(labels: Collection[str], wanted: str, origin: str) -> str:
    """Return the label that is `wanted`, or the only one of which it is a part."""
    parts = [label for label in labels if wanted in label.split(".")]
    matching = [wanted] if wanted in labels else parts
    if len(matching) == 1:
        return matching[0]
    if len(labels) == 1:
        raise UserError(f"{origin} holds one state dict, and {shorten(wanted)} was asked for")
    raise unknown_name(f"state dict of {origin}", wanted, labels)


def _say_taken(label: str, labels: Collection[str], wanted: str, origin: str) -> str:
    named = " and ".join(sorted(labels, key=lambda one: one != label))
    other = next(one for one in labels if one != label)
    why = "as asked for" if wanted else f"--set backbone.state_dict={other} takes another"
    return f"{origin} holds {named}: {label} is taken ({why})"
