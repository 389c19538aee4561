"""List files of a split: a line `path label` an image, or JSON that maps images to class ids.

They are UTF-8 text, with or without a mark before it, of lines that end as on any system. A label
is what follows the last space or tab of a line, so that paths may hold spaces; blank lines may only
stand at the end, for one among the others may be an image that was lost.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from bench import encodings
from bench.cards import Suite
from bench.errors import UserError
from bench.tasks import Task

Line = tuple[str, str, str]  # an image's path, its label as written, and where that stands
Reader = Callable[[str], bytes]  # a list file's content, by its name
ENDS = re.compile(r"\r\n|\n|\r")  # of lines; what else `splitlines` takes for one may be in a path


class Pairs(list[tuple[str, object]]):
    """The entries of a JSON object, each of those that stand twice as well."""


def lines(where: str, name: str, read: Reader) -> list[Line]:
    """The entries of a list file; `where` it lies is for messages."""
    place = f"{where}/{name}"
    try:
        text = encodings.text(read(name))
        entries = json.loads(text, object_pairs_hook=Pairs) if name.endswith(".json") else None
    except OSError as error:
        raise UserError(f"the list file {place} cannot be read: {error.strerror}") from None
    except (encodings.NotText, json.JSONDecodeError) as error:
        raise UserError(f"the list file {place} cannot be read: {error}") from None
    if entries is None:
        found = ENDS.split(text.rstrip()) if text.strip() else []
        return [_line(f"{place}:{n}", line) for n, line in enumerate(found, start=1)]
    if not isinstance(entries, Pairs):
        raise UserError(
            f"the list file {place} holds a {type(entries).__name__}, not classes by image"
        )
    return [(image, str(raw), f"{place}: {image}") for image, raw in entries]


def _line(origin: str, line: str) -> Line:
    parts = line.strip().rsplit(maxsplit=1)
    if len(parts) < 2:
        raise UserError(f"{origin}: expected a path and a label, got {line!r}")
    return parts[0], parts[1], origin


def class_numbers(
    suite: Suite, task: Task, where: str, read: Reader, chosen: Sequence[Line]
) -> list[int]:
    """The class of each entry; ids in JSON may have gaps, so the lists of trainval number them.

    The lists of test are not read for it: trials, which may not, have the same numbers.
    """
    names = sorted(set(suite.lists["trainval"]))
    given = [_label(raw, origin) for _, raw, origin in chosen]
    if not all(name.endswith(".json") for name in names):
        for label, (_, _, origin) in zip(given, chosen, strict=True):
            if label >= task.classes:
                raise UserError(f"{origin}: label {label}; expected 0 to {task.classes - 1}")
        return given
    ids = set(_ids(where, names, read))
    if len(ids) != task.classes:
        raise UserError(f"{where}: {len(ids)} classes in its lists; there must be {task.classes}")
    numbers = {label: number for number, label in enumerate(sorted(ids))}
    for label, (_, _, origin) in zip(given, chosen, strict=True):
        if label not in numbers:
            raise UserError(f"{origin}: no image of trainval has class {label}")
    return [numbers[label] for label in given]


def _ids(where: str, names: Iterable[str], read: Reader) -> Iterator[int]:
    for name in names:
        yield from (_label(raw, origin) for _, raw, origin in lines(where, name, read))


def _label(raw: str, origin: str) -> int:
    if not raw.isdecimal():
        raise UserError(f"{origin}: label {raw!r}; expected a whole number")
    return int(raw)
