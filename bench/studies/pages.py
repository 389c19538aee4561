"""A study's page: its numbers with intervals, its picture, and all of them as CSV."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from bench.records import Record, write_atomically
from bench.report import footers
from bench.report.papers import layouts, paper_tables
from bench.report.text import NONE, grid, safe, table
from bench.studies import (
    chosen,
    courses,
    differences,
    frames,
    kept,
    measurements,
    printed,
    quick,
)
from bench.studies.cards import WHICH, Figure, Named, Study, load, names

if TYPE_CHECKING:
    from bench.report.pictures.common import Drawing

FOLDER, QUICK = "studies", ".quick"
COURSE, TRIALS = ".convergence", ".trials"  # pictures beside that of the figure
NOTICE = "<!-- made by `python -m bench run --study {}` from the records; do not edit -->"
STANDS_IN = (
    "**Filled from the suite `{}` and the embedded backbones, which stand in for the paper's: "
    "these numbers say nothing about the paper's.**"
)
FOOT = (
    "Mean over seeds and the half-width of its 95 % interval (Student's t); {} of {} cells have "
    "what is shown. Accuracy is top-1 percent on test after the last epoch. Every number: "
    "[CSV]({}.csv)."
)
EDGE = " \\*"  # Markdown
ACROSS = 8  # values of x at most; the CSV has all
DECIMALS = {"accuracy": 2, "validation_accuracy": 2, "test_accuracy": 2, "init_seconds": 2,
            "train_seconds": 1, "init_images": 0, "method_params": 0}  # fmt: skip
Contents = dict[str, bytes | None]


def made(named: Named, is_quick: bool, records: Sequence[Record], results: Path) -> Contents:
    """Name below the results folder -> bytes, for the files of a study.

    None: there should be no such file.
    """
    study, gone = quick.mapped(named.name, named.study) if is_quick else (named.study, [])
    stem, figure = _stem(named, is_quick), study.figure or _tabled(named.paper, study)
    frame = frames.of_value(study, records, results, figure.value)
    whole = frames.summary(frame, _coordinates(study, figure.value), figure.value)
    shown = frames.summary(frame, figure.axes(), figure.value)
    apart = differences.paired(frame, _pair(study), figure.value, study.against)
    trained, tried = courses.measured(study, records, results), chosen.by_rate(study, records)
    pictures = _pictures(stem, study, shown) | _courses(stem, study, trained)
    pictures |= _searches(stem, study, tried)
    counted = len(frame.drop_duplicates([*WHICH, *study.varied()]))
    cells = list(frames.cells(study, records))
    foot = FOOT.format(counted, len(cells), Path(stem).name)
    seen = footers.backbones(record for _, record in cells if record)
    parts = [
        *_head(named, is_quick, study, gone),
        *([f"![{study.title}]({Path(stem).name}.png)"] if pictures[f"{stem}.png"] else []),
        f"## {figure.value}",
        _table(shown, figure),
        *_differences(apart, figure.value),
        *_chosen(study, records),
        *_trials(study, tried, f"{Path(stem).name}{TRIALS}.png"),
        *_printed(study, records),
        *courses.section(trained, f"{Path(stem).name}{COURSE}.png"),
        safe(" ".join(filter(None, [foot, seen, *_differing(study, records, results)]))),
    ]
    page = "\n\n".join(parts) + "\n"
    more = {f"{stem}.differences.csv": _csv(apart)} if study.against else {}
    return {f"{stem}.md": page.encode(), f"{stem}.csv": _csv(whole), **more, **pictures}


def _csv(frame: pd.DataFrame) -> bytes:
    return frame.to_csv(index=False, lineterminator="\n").encode()


def _head(named: Named, is_quick: bool, study: Study, gone: Sequence[str]) -> list[str]:
    """What a page begins with."""
    parts = [
        NOTICE.format(named.name + (" --quick" if is_quick else "")),
        f"# {study.title}",
        *([STANDS_IN.format(quick.SUITE)] if is_quick else []),
        f"In the paper: {study.shows}",
    ]
    return parts + ([f"Left out, for want of a stand-in: {', '.join(gone)}."] if gone else [])


def path(named: Named, is_quick: bool, results: Path) -> Path:
    """Where a study's page lies."""
    return results / f"{_stem(named, is_quick)}.md"


def _stem(named: Named, is_quick: bool) -> str:
    return f"{FOLDER}/{named.stem}{QUICK if is_quick else ''}"


def write(named: Named, is_quick: bool, records: Sequence[Record], results: Path) -> None:
    """Write the study's files, and the paper's table that it fills."""
    contents = made(named, is_quick, records, results)
    for name, text in _paper_table(named, is_quick, records).items():
        contents[f"{paper_tables.FOLDER}/{name}"] = text.encode()
    for name, content in contents.items():
        if content is None:
            (results / name).unlink(missing_ok=True)
        else:
            write_atomically(results / name, content)


def present(results: Path, records: Sequence[Record]) -> Contents:
    """The files of all studies of papers that have a page there."""
    found: Contents = {}
    for name in names():
        for is_quick in (False, True):
            if (results / FOLDER / f"{name}{QUICK if is_quick else ''}.md").is_file():
                found |= made(load(name), is_quick, records, results)
    return found


def _paper_table(named: Named, is_quick: bool, records: Sequence[Record]) -> dict[str, str]:
    table = named.study.table
    if not table:
        return {}
    suite = quick.SUITE if is_quick else None
    whole = paper_tables.write_all(named.paper, records, suite)
    return {name: text for name, text in whole.items() if Path(name).stem == table}


def _tabled(paper: str, study: Study) -> Figure:
    """What a study that fills a table shows: the table's value, a line a method."""
    table = next(t for t in layouts.load(paper).table if t.id == study.table)
    value = table.columns[0].metric
    axes = ["backbone", "task", *study.varied()]
    return Figure("bars", axes[-1], value, lines=["method"], panels=axes[:-1])


def _coordinates(study: Study, value: str) -> list[str]:
    source = study.source(value)
    places = measurements.find(source).places if source else ()
    return [*(name for name in WHICH if name != "seed"), *study.varied(), *places]


def _pair(study: Study) -> list[str]:
    """What two cells share that differ in the method alone."""
    return [*(name for name in WHICH if name != "method"), *study.varied()]


def _pictures(stem: str, study: Study, shown: pd.DataFrame) -> Contents:
    from bench.studies import pictures  # matplotlib, which takes its time

    return _written(stem, pictures.draw(study.figure, shown) if study.figure else None)


def _courses(stem: str, study: Study, trained: pd.DataFrame) -> Contents:
    from bench.studies.pictures import courses as drawn

    found = courses.summaries(study, trained)
    return _written(stem + COURSE, drawn.draw(found, courses.rows(study)) if found else None)


def _searches(stem: str, study: Study, tried: pd.DataFrame) -> Contents:
    from bench.studies.pictures import trials

    drawing = trials.draw(tried, courses.rows(study)) if len(tried) else None
    return _written(stem + TRIALS, drawing)


def _written(stem: str, drawing: "Drawing | None") -> Contents:
    if drawing is None:
        return {f"{stem}.svg": None, f"{stem}.png": None}
    return {f"{stem}.svg": drawing.svg(), f"{stem}.png": drawing.png()}


def _table(shown: pd.DataFrame, figure: Figure) -> str:
    """Rows for lines and panels, columns for some values of x; of many names each has a row."""
    columns, axes = list(dict.fromkeys(shown[figure.x])), figure.axes()
    if len(columns) > ACROSS and any(isinstance(x, str) for x in columns):
        return _listed(shown, axes, figure.value)
    down = [name for name in axes if name != figure.x]
    across = _spread(columns)
    rows: dict[tuple[str, ...], dict[object, str]] = {}
    for line in shown.to_dict("records"):
        key = tuple(_word(line[name]) for name in down)
        rows.setdefault(key, {})[line[figure.x]] = _number(line, figure.value)
    heads = [*down, *(f"{figure.x} {_word(x)}" for x in across)]
    cells = [[*key, *(found.get(x, NONE) for x in across)] for key, found in rows.items()]
    return grid(heads, cells, frozenset(down)) if cells else "No cell has a result yet."


def _listed(shown: pd.DataFrame, axes: Sequence[str], value: str) -> str:
    """A row a value."""
    rows = [
        [*(_word(line[name]) for name in axes), _number(line, value)]
        for line in shown.to_dict("records")
    ]
    return grid([*axes, value], rows, frozenset(axes))


def _spread(values: list[object]) -> list[object]:
    """At most `ACROSS` of them, evenly spaced, the first and the last among them."""
    if len(values) <= ACROSS:
        return values
    return [values[round(i * (len(values) - 1) / (ACROSS - 1))] for i in range(ACROSS)]


def _word(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _number(line: dict[Any, float], value: str, sign: str = "") -> str:
    decimals = DECIMALS.get(value, 4)
    half = line["high"] - line["mean"]
    spread = "" if pd.isna(half) else f" ± {half:.{decimals}f}"
    return f"{line['mean']:{sign}.{decimals}f}{spread}"


def _differences(apart: pd.DataFrame, value: str) -> list[str]:
    """Each method's mean difference to each of those that all are compared with."""
    if not len(apart):
        return []
    lines: dict[str, dict[str, str]] = {}
    for row in apart.to_dict("records"):
        cells = lines.setdefault(row["method"], {"method": row["method"]})
        cells[f"to {row['against']}"] = f"{_number(row, value, '+')} ({row['pairs']} pairs)"
    said = "Pairs differ in the method alone; the interval takes them as independent of each other."
    return ["## Differences", table(list(lines.values())), said]


def _chosen(study: Study, records: Iterable[Record]) -> list[str]:
    """What trials chose for each method on each task."""
    found = chosen.points(study, records)
    if not len(found):
        return []
    lines: dict[tuple[str, ...], dict[str, str]] = {}
    known = ["backbone", "method", *study.varied()]
    open_ = [name for name in found if name not in (*chosen.PLACE, *known, "ends")]
    for row in found.to_dict("records"):
        place = {name: _word(row[name]) for name in known}
        cells = lines.setdefault(tuple(place.values()), place)
        words = ", ".join(f"{name} {_word(row[name])}" for name in open_ if not pd.isna(row[name]))
        cells[row["task"]] = words + (EDGE if row["ends"] else "")
    said = f"By trials on validation data, as many for every method;{EDGE}: an end of those tried."
    return ["## Chosen rates", table(list(lines.values()), frozenset(known)), said]


def _trials(study: Study, tried: pd.DataFrame, picture: str) -> list[str]:
    """What trials found at each learning rate."""
    if not len(tried):
        return []
    known = ["task", "backbone", "method", *study.varied()]
    lines: dict[tuple[str, ...], dict[str, str]] = {}
    for row in tried.sort_values("lr", kind="stable").to_dict("records"):
        place = {name: _word(row[name]) for name in known}
        cells = lines.setdefault(tuple(place.values()), place)
        cells[f"lr {_word(row['lr'])}"] = f"{row['accuracy']:.2f}"
    return [
        "## Trials",
        f"![Validation accuracy by learning rate]({picture})",
        table(list(lines.values()), frozenset(known)),
        "Validation accuracy, one seed: the best of the trials at that rate.",
    ]


def _printed(study: Study, records: Sequence[Record]) -> list[str]:
    if not study.printed:
        return []
    rows = [
        [one.what, f"{one.value:g} {one.unit}", printed.here(one, study, records) or NONE]
        for one in study.printed
    ]
    return [
        "## Printed in the paper",
        grid(["of what", "printed", "here"], rows, frozenset(["of what"])),
    ]


def _differing(study: Study, records: Iterable[Record], results: Path) -> list[str]:
    """How far the runs that were measured ended from the records that were there before."""
    final = measurements.of_training(study.measure, "final")
    apart = [
        abs(found.accuracy - record.outcome.accuracy)
        for _, record in frames.cells(study, records)
        for name in final[:1]
        if record and record.outcome and (found := kept.read(results, record.cell, name))
    ]
    other = [difference for difference in apart if difference]
    if not other:
        return []
    return [
        f"{len(other)} of {len(apart)} measured runs ended at another accuracy than their record, "
        f"which other versions had made: by {max(other):.2f} at most."
    ]
