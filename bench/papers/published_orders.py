"""The published VTAB-1k means by which our orders are judged, from ``known_results.csv``."""

import csv
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean, median
from types import MappingProxyType

from bench.papers.claims import PAPERS_FOLDER
from bench.utils import files
from bench.utils.errors import UserError, first_line
from bench.utils.text import NotText, decode_utf8

KNOWN_RESULTS = PAPERS_FOLDER / "known_results.csv"
MAX_BYTES = 2**24
SUITE, BACKBONE = "vtab1k", "vit_base_patch16_224"
GROUPS, OVER_GROUPS = ("natural", "specialized", "structured"), "over_groups"
COLUMNS = ("suite", "registered", "backbone", "checkpoint", *GROUPS, OVER_GROUPS)
PRETRAININGS = {  # checkpoint -> whose order it is of; those of one order differ by less
    "orig_in21k": "supervised",
    "augreg_in21k": "supervised",
    "in21k": "supervised",  # not said which
    "mae": "MAE",
    "mocov3": "MoCo-v3",
}
Orders = Mapping[str, Mapping[str, float]]  # pretraining -> registered method -> published mean
NO_ORDERS: Orders = MappingProxyType({})


def published_orders(path: Path = KNOWN_RESULTS) -> Orders:
    """Return each method's published mean over groups on VTAB-1k with ViT-B/16, by pretraining.

    The file is CSV with at least `COLUMNS`: the suite, the name under which the method is
    registered here (empty: it is not), timm's name of the backbone, a checkpoint, of those in
    `PRETRAININGS`, and in percent the means of VTAB's groups and over these (empty: not printed).
    A mean over groups that is not printed is that of the three groups. Of several numbers of one
    method the median counts. Without the file there is no order; raises `UserError` for one that
    cannot be read.
    """
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for line in _lines(path) if path.is_file() else ():
        order = PRETRAININGS.get(line["checkpoint"])
        is_ours = (line["suite"], line["backbone"]) == (SUITE, BACKBONE) and line["registered"]
        mean = _mean_over_groups(path, line) if order and is_ours else None
        if order and mean is not None:
            found[order][line["registered"]].append(mean)
    return {
        order: {method: median(values) for method, values in sorted(found[order].items())}
        for order in dict.fromkeys(PRETRAININGS.values())
        if order in found
    }


def _lines(path: Path) -> list[dict[str, str]]:
    """Return the lines of the file, each with all `COLUMNS`."""
    try:
        text = decode_utf8(files.read_regular_file(path, MAX_BYTES))
        lines = list(csv.DictReader(text.splitlines(), strict=True))
    except (OSError, NotText, csv.Error) as error:
        raise UserError(f"{path} cannot be read: {first_line(error)}") from None
    for line in lines:
        absent = [name for name in COLUMNS if line.get(name) is None]
        if absent:
            raise UserError(f"{path} cannot be read: a line has no {absent[0]}")
    return lines


def _mean_over_groups(path: Path, line: Mapping[str, str]) -> float | None:
    """Return the printed mean over groups, or that of the printed groups; None: neither."""
    if line[OVER_GROUPS]:
        return _percent(path, line, OVER_GROUPS)
    if not all(line[group] for group in GROUPS):
        return None
    return fmean(_percent(path, line, group) for group in GROUPS)


def _percent(path: Path, line: Mapping[str, str], name: str) -> float:
    try:
        value = float(line[name])
    except ValueError:
        value = -1.0
    if not 0 <= value <= 100:  # nan, too
        raise UserError(f"{path}: {name} of {line['registered']!r} is no percentage")
    return value
