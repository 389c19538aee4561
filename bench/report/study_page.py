"""A study's files: its page, its figures, and its numbers as CSV."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

from bench.papers import layouts
from bench.papers.study import (
    CELL_COLUMNS,
    STAND_IN_SUITE,
    NamedStudy,
    Study,
    StudyFigure,
    load_study,
    study_names,
    with_stand_ins,
)
from bench.records import measurements, store
from bench.records.store import Store
from bench.report import markdown, paper_tables, study_data, study_numbers
from bench.report.frame import record_frame
from bench.report.markdown import (
    MISSING,
    format_axis_value,
    table_from_dicts,
    table_from_rows,
)
from bench.report.study_data import RecordsByCell, StudyCell
from bench.utils.escaping import for_csv, for_link, for_markdown
from bench.utils.files import FileContents, write_files

STUDIES_FOLDER, QUICK_SUFFIX = "studies", ".quick"
CONVERGENCE_SUFFIX, TRIALS_SUFFIX = ".convergence", ".trials"  # of further figures
NOTICE = "<!-- made by `python -m bench run --study {}` from the records; do not edit -->"
STAND_IN_NOTICE = (
    "**Filled from the suite `{}` and the built-in backbones in place of the paper's: these "
    "numbers say nothing about the paper's.**"
)
FOOTER = (
    "Mean over seeds ± the half-width of its 95 % interval (Student's t); {} of {} cells are "
    "available. Accuracy is top-1 on test after the last epoch, in percent. Every number: "
    "[CSV]({}.csv)."
)
MAX_X_VALUES = 8  # values of x at most; the CSV has all
DECIMALS = {"accuracy": 2, "validation_accuracy": 2, "test_accuracy": 2, "init_seconds": 2,
            "train_seconds": 1, "init_images": 0, "method_params": 0}  # fmt: skip


def render_files(
    named: NamedStudy, is_quick: bool, records: RecordsByCell, results: Path
) -> FileContents:
    """Return the files of a study by their names below the results folder.

    None: there should be no such file.
    """
    study, gone = with_stand_ins(named.name, named.study) if is_quick else (named.study, [])
    stem, figure = _file_stem(named, is_quick), study.figure or _table_figure(named.paper, study)
    cells = study_data.study_cells(study, records)
    frame = study_data.value_frame(study, cells, results, figure.value)
    whole = study_data.summarise_over_seeds(frame, _cell_columns(study, figure.value), figure.value)
    shown = study_data.summarise_over_seeds(frame, figure.axes(), figure.value)
    apart = study_numbers.paired_differences(
        frame, _pair_columns(study), figure.value, study.against
    )
    trained = study_numbers.training_frame(study, cells, results)
    tried = study_data.best_by_learning_rate(study, cells)
    drawn = _figure_files(stem, study, shown, trained, tried)
    name = Path(stem).name
    picture = for_link(f"{name}.png")
    parts = [
        *_page_header(named, is_quick, study, gone),
        *([f"![{for_markdown(study.title)}]({picture})"] if drawn[f"{stem}.png"] else []),
        f"## {for_markdown(figure.value)}",
        _values_table(shown, figure),
        *_differences_section(apart, figure.value),
        *study_numbers.chosen_section(study, cells),
        *study_numbers.trials_section(study, tried, for_link(f"{name}{TRIALS_SUFFIX}.png")),
        *_printed_section(study, cells),
        *study_numbers.convergence_section(trained, for_link(f"{name}{CONVERGENCE_SUFFIX}.png")),
        _footer(study, cells, frame, name, results),
    ]
    page = "\n\n".join(parts) + "\n"
    more = {f"{stem}.differences.csv": _to_csv(apart)} if study.against else {}
    return {f"{stem}.md": page.encode(), f"{stem}.csv": _to_csv(whole), **more, **drawn}


def _to_csv(frame: pd.DataFrame) -> bytes:
    shown = frame.map(for_csv).rename(columns=for_csv)
    return shown.to_csv(index=False, lineterminator="\n").encode()


def _page_header(named: NamedStudy, is_quick: bool, study: Study, gone: Sequence[str]) -> list[str]:
    """Return the head of a page."""
    parts = [
        NOTICE.format(for_markdown(named.name) + (" --quick" if is_quick else "")),
        f"# {for_markdown(study.title)}",
        *([STAND_IN_NOTICE.format(STAND_IN_SUITE)] if is_quick else []),
        f"In the paper: {for_markdown(study.shows)}",
    ]
    left_out = f"Left out, for want of a stand-in: {for_markdown(', '.join(gone))}."
    return [*parts, left_out] if gone else parts


def _file_stem(named: NamedStudy, is_quick: bool) -> str:
    return f"{STUDIES_FOLDER}/{named.stem}{QUICK_SUFFIX if is_quick else ''}"


def write_study_by_name(name: str, is_quick: bool, results: Path) -> None:
    """Write the files of a study from the records, and the paper's table that it fills."""
    frame = record_frame(store.read_valid(Store(results))[0])
    named = load_study(name)
    contents = render_files(named, is_quick, study_data.records_by_cell(frame), results)
    contents |= paper_tables.output_files(_paper_table_files(named, is_quick, frame))
    write_files(results, contents)


def study_path_by_name(name: str, is_quick: bool, results: Path) -> Path:
    """Return the path of a study's page."""
    return results / f"{_file_stem(load_study(name), is_quick)}.md"


def render_existing(results: Path, frame: pd.DataFrame) -> FileContents:
    """Return the files of all papers' studies that have a page in the results folder."""
    records = study_data.records_by_cell(frame)
    files: FileContents = {}
    for name, is_quick in product(study_names(), (False, True)):
        page = results / STUDIES_FOLDER / f"{name}{QUICK_SUFFIX if is_quick else ''}.md"
        if page.is_file():
            files |= render_files(load_study(name), is_quick, records, results)
    return files


def _paper_table_files(named: NamedStudy, is_quick: bool, frame: pd.DataFrame) -> dict[str, str]:
    table = named.study.table
    if not table:
        return {}
    suite = STAND_IN_SUITE if is_quick else None
    whole = paper_tables.render_tables(named.paper, frame, suite)
    return {name: text for name, text in whole.items() if Path(name).stem == table}


def _table_figure(paper: str, study: Study) -> StudyFigure:
    """Return the figure of a study that fills a table: the table's value, a line per method."""
    table = next(t for t in layouts.load_layouts(paper).table if t.id == study.table)
    value = table.columns[0].metric
    axes = ["backbone", "task", *study.varied()]
    return StudyFigure("bars", axes[-1], value, lines=["method"], panels=axes[:-1])


def _cell_columns(study: Study, value: str) -> list[str]:
    source = study.measurement_for(value)
    places = measurements.find_measurement(source).index_columns if source else ()
    return [*(name for name in CELL_COLUMNS if name != "seed"), *study.varied(), *places]


def _pair_columns(study: Study) -> list[str]:
    """Return the columns that two cells share which differ in the method alone."""
    return [*(name for name in CELL_COLUMNS if name != "method"), *study.varied()]


def _figure_files(
    stem: str, study: Study, shown: pd.DataFrame, trained: pd.DataFrame, tried: pd.DataFrame
) -> FileContents:
    """Return the study's figure, and its curves of training and of trials."""
    from bench.report.figures import draw_study, study_curves

    rows = study_numbers.panel_row_columns(study)
    curves = study_numbers.training_curves(study, trained)
    drawn = {
        stem: draw_study(study.figure, shown) if study.figure else None,
        stem + CONVERGENCE_SUFFIX: study_curves.draw_training_curves(curves, rows)
        if curves
        else None,
        stem + TRIALS_SUFFIX: study_curves.draw_trial_curves(tried, rows) if len(tried) else None,
    }
    files: FileContents = {}
    for name, figure in drawn.items():
        files[f"{name}.svg"] = figure.svg() if figure else None
        files[f"{name}.png"] = figure.png() if figure else None
    return files


def _values_table(shown: pd.DataFrame, figure: StudyFigure) -> str:
    """Return rows for lines and panels, columns for some values of x; a row each for many names."""
    columns, axes = list(dict.fromkeys(shown[figure.x])), figure.axes()
    if len(columns) > MAX_X_VALUES and any(isinstance(x, str) for x in columns):
        return _long_table(shown, axes, figure.value)
    down = [name for name in axes if name != figure.x]
    across = _evenly_spaced(columns)
    rows: dict[tuple[str, ...], dict[object, str]] = {}
    for line in shown.to_dict("records"):
        key = tuple(format_axis_value(line[name]) for name in down)
        rows.setdefault(key, {})[line[figure.x]] = _format_mean(line, figure.value)
    heads = [*down, *(f"{figure.x} {format_axis_value(x)}" for x in across)]
    cells = [[*key, *(found.get(x, MISSING) for x in across)] for key, found in rows.items()]
    return table_from_rows(heads, cells, frozenset(down)) if cells else "No cell has a result yet."


def _long_table(shown: pd.DataFrame, axes: Sequence[str], value: str) -> str:
    """Return a row per value."""
    rows = [
        [*(format_axis_value(line[name]) for name in axes), _format_mean(line, value)]
        for line in shown.to_dict("records")
    ]
    return table_from_rows([*axes, value], rows, frozenset(axes))


def _evenly_spaced(values: list[object]) -> list[object]:
    """Return at most `MAX_X_VALUES` values, evenly spaced, the first and the last among them."""
    if len(values) <= MAX_X_VALUES:
        return values
    return [values[round(i * (len(values) - 1) / (MAX_X_VALUES - 1))] for i in range(MAX_X_VALUES)]


def _format_mean(line: dict[Any, float], value: str, sign: str = "") -> str:
    decimals = DECIMALS.get(value, 4)
    half = line["high"] - line["mean"]
    spread = "" if pd.isna(half) else f" ± {half:.{decimals}f}"
    return f"{line['mean']:{sign}.{decimals}f}{spread}"


def _differences_section(apart: pd.DataFrame, value: str) -> list[str]:
    """Return the section on each method's mean difference to those all are compared with."""
    if not len(apart):
        return []
    lines: dict[str, dict[str, str]] = {}
    for row in apart.to_dict("records"):
        cells = lines.setdefault(row["method"], {"method": row["method"]})
        cells[f"to {row['against']}"] = f"{_format_mean(row, value, '+')} ({row['pairs']} pairs)"
    said = "Pairs differ in the method alone; the interval takes them as independent of each other."
    return ["## Differences", table_from_dicts(list(lines.values())), said]


def _printed_section(study: Study, cells: Sequence[StudyCell]) -> list[str]:
    if not study.printed:
        return []
    rows = [
        [
            one.what,
            f"{one.value:g} {one.unit}",
            study_numbers.our_value(one, study, cells) or MISSING,
        ]
        for one in study.printed
    ]
    return [
        "## Printed in the paper",
        table_from_rows(["of what", "printed", "here"], rows, frozenset(["of what"])),
    ]


def _footer(
    study: Study, cells: Sequence[StudyCell], frame: pd.DataFrame, name: str, results: Path
) -> str:
    counted = len(frame.drop_duplicates([*CELL_COLUMNS, *study.varied()]))
    parts = [
        markdown.backbones_sentence(record for _, record in cells if record),
        _accuracy_drift_note(study, cells, results),
    ]
    said = for_markdown(" ".join(filter(None, parts)))
    return " ".join(filter(None, (FOOTER.format(counted, len(cells), for_link(name)), said)))


def _accuracy_drift_note(study: Study, cells: Sequence[StudyCell], results: Path) -> str:
    """Report how far measured runs ended from the records made by other versions."""
    final = measurements.filter_by_training(study.measure, "final")
    differences = [
        abs(found.accuracy - record.outcome.accuracy)
        for _, record in cells
        for name in final[:1]
        if record
        and record.outcome
        and (found := measurements.find_measured(results, record.cell, name))
    ]
    apart = [difference for difference in differences if difference]
    if not apart:
        return ""
    return (
        f"{len(apart)} of {len(differences)} measured runs ended at another accuracy than their "
        f"record, which other versions had made: by {max(apart):.2f} at most."
    )
