"""The boards as Markdown: the leaderboard."""

from collections.abc import Iterator, Sequence
from typing import Any

from bench.papers.published_orders import NO_ORDERS, Orders
from bench.records import description
from bench.records.schema import Record
from bench.report.baselines import baseline_warnings, edge_warnings, machine_warning
from bench.report.boards import Board, format_rank
from bench.report.frame import format_settings
from bench.report.markdown import (
    MISSING,
    SHA_DIGITS,
    describe_input,
    format_mean_sd,
    format_number,
    table_from_dicts,
)
from bench.report.rank_agreement import agreement_sentence
from bench.report.rows import TUNED_PER_TASK, MethodRow, TaskResult
from bench.report.stated import render_stated
from bench.report.unshared_seeds import unshared_sentence
from bench.report.unstable_runs import unstable_warning
from bench.utils.escaping import for_markdown

SYNTHETIC_NOTE = (
    "Synthetic images, drawn to rehearse a job: these accuracies say nothing about a method and "
    "are not compared with published numbers."
)
LEADERBOARD_NOTICE = "<!-- made by `python -m bench report` from results/records; do not edit -->"
MOST_TASK_COLUMNS = 5  # beside the means in one table
NO_RECORDS = "There is no record yet; `python -m bench run` makes some."
FEW_SHOTS = "By data set, shots and list: [few shots](few_shots.md)."
EXPLANATION = (
    "Accuracy: top-1 on test after the last epoch, in percent, mean ± sample sd over seeds. "
    "Params: trainable parameters, including the head. Stored: the size of an export of "
    "everything that was trained, mean over tasks. Trials: tuning trials for each task before the "
    "final runs. Init: wall-clock time of the method's initialisation (prepare), mean over "
    "tasks and seeds."
)


def render_leaderboard(
    boards: Sequence[Board],
    picture: str,
    stated: Sequence[Record] = (),
    published: Orders = NO_ORDERS,
) -> str:
    """Return the leaderboard; `picture` is the Markdown that shows one, or empty.

    Records that others have `stated` are listed below the boards, and are in none of them. The
    order of a board is set beside those `published`.
    """
    sections = (_section(board, published) for board in boards)
    parts = [LEADERBOARD_NOTICE, "# Leaderboard", picture, *sections]
    if not boards:
        parts.append(NO_RECORDS)
    if stated:
        parts.append(render_stated(stated))
    return "\n\n".join(part for part in parts if part) + "\n"


def cell_text(cell: TaskResult, count: bool = False) -> str:
    """Return ``71.20 ± 0.41``; with `count`, the number of seeds behind it."""
    if not cell.accuracies:
        return "failed" if cell.failed else "n/a" if cell.unsupported else MISSING
    seeds = f" ({len(cell.accuracies)})" if count else ""
    failed = f", {cell.failed} failed" if cell.failed else ""
    return format_mean_sd(cell.mean, cell.sd) + seeds + failed


def _section(board: Board, published: Orders) -> str:
    parts = [f"## {for_markdown(board.name)}", *([SYNTHETIC_NOTE] if board.is_synthetic else [])]
    if board.rows:
        parts += _complete_tables(board)
    if board.incomplete:
        parts += ["### Incomplete", table_from_dicts(_incomplete_lines(board))]
    orders = NO_ORDERS if board.is_synthetic else published
    worth = for_markdown(agreement_sentence(board.rows, orders))
    return "\n\n".join([*parts, _footer(board), *filter(None, [worth]), _row_settings(board)])


def _complete_tables(board: Board) -> Iterator[str]:
    """Yield the table of the complete rows; many tasks have one of their own below it."""
    if len(board.tasks) <= MOST_TASK_COLUMNS:
        yield table_from_dicts(complete_lines(board))
        return
    yield table_from_dicts(complete_lines(board, with_tasks=False))
    if board.draws:
        yield FEW_SHOTS
        return
    yield "### By task"
    yield table_from_dicts([{"method": row.label, **_task_columns(row)} for row in board.rows])


def complete_lines(board: Board, with_tasks: bool = True) -> list[dict[str, str]]:
    """Return the complete rows of a board, column by column."""
    return [
        {
            "rank": format_rank(rank),
            "method": row.label,
            "params (M)": format_number(row.params_in_millions, 3),
            **_stored_column(board, row),
            **board.costs.columns(row.label),
            **(_task_columns(row) if with_tasks else {}),
            **_mean_columns(board, row),
            "trials": row.search.words,
            "seeds": str(len(row.seeds)),
            "init (s)": format_number(row.init_seconds, 2),
        }
        for rank, row in zip(board.comparison.ranks, board.rows, strict=True)
    ]


def _task_columns(row: MethodRow) -> dict[str, str]:
    return {task: cell_text(cell) for task, cell in row.cells.items()}


def _stored_column(board: Board, row: MethodRow) -> dict[str, str]:
    """Return the size of an export, on a board that knows that of any row."""
    if all(one.stored_bytes is None for one in board.rows):
        return {}
    size = row.stored_bytes
    return {"stored (kB)": format_number(None if size is None else size / 1000, 1)}


def _mean_columns(board: Board, row: MethodRow) -> dict[str, str]:
    """Return the means of a complete row; those of groups only where there are several.

    Those of few-shot tasks, whose groups are the lists of each number of shots, have their page.
    """
    if row.means is None:
        return {}
    over_tasks = {"mean over tasks": format_mean_sd(row.means.over_tasks, row.means.sd)}
    if len(row.means.by_group) == 1 or board.draws:
        return over_tasks
    groups = {f"mean {group}": f"{mean:.2f}" for group, mean in row.means.by_group.items()}
    return {**groups, **over_tasks, "mean over groups": f"{row.means.over_groups:.2f}"}


def _incomplete_lines(board: Board) -> list[dict[str, str]]:
    return [
        {
            "method": row.label,
            "params (M)": format_number(row.params_in_millions, 3),
            **{task: cell_text(cell, count=True) for task, cell in row.cells.items()},
            "tasks": f"{sum(bool(c.accuracies) for c in row.cells.values())}/{len(row.cells)}",
            "init (s)": format_number(row.init_seconds, 2),
        }
        for row in board.incomplete
    ]


def _footer(board: Board) -> str:
    recipe = board.recipe
    data = f"; data {board.variant}" if board.variant else ""
    made = (
        f"{board.title} ({board.suite}, version {board.suite_version}){data}; "
        f"backbone {board.backbone} ({describe_input(board.input, board.recipe)}), "
        f"weights sha256 {board.weights[:SHA_DIGITS] or MISSING}; "
        f"recipe {recipe.get('name')}, version {recipe.get('version')} "
        f"({description.describe_training(recipe)}); {board.records} records."
    )
    splits = f"Splits: {format_settings(board.splits)}." if board.splits else ""
    said = (
        made,
        tasks_not_run(board),
        splits,
        EXPLANATION,
        machine_warning(board.all_rows),
        board.costs.sentence(),
        _describe_tuning(recipe),
        *tuning_warnings(board),
        board.comparison.summary(),
    )
    return for_markdown(" ".join(filter(None, said)))


def tuning_warnings(board: Board) -> Iterator[str]:
    """Yield the sentences on what the search behind the complete rows leaves in doubt."""
    yield from baseline_warnings(board.rows)
    yield from edge_warnings(board.rows)
    yield unstable_warning(board.rows)


def tasks_not_run(board: Board) -> str:
    """Return the sentence on tasks of the suite without a record, empty if all have one."""
    return f"Tasks of the suite not run: {', '.join(board.not_run)}." if board.not_run else ""


def _describe_tuning(recipe: dict[str, Any]) -> str:
    """Describe how the rates of a board were chosen."""
    words = description.describe_search(recipe)
    if not words:
        return "No row was tuned: rates are the recipe's own, or set for the run."
    return f"Rates and fields chosen for each task on validation data: {words}."


def _row_settings(board: Board) -> str:
    """Return the fields and the rates of every row; the labels name only those that differ."""
    rows = sorted(board.all_rows, key=lambda row: row.label)
    fields = [f"{row.label} ({format_settings(row.fields)})" for row in rows if row.fields]
    by_rates: dict[str, list[str]] = {}
    for row in rows:
        by_rates.setdefault(format_settings(row.rates), []).append(row.label)
    rates = [
        f"{text or TUNED_PER_TASK} ({', '.join(labels)})"
        for text, labels in sorted(by_rates.items())
    ]
    remarks = [f"{row.label}: {row.remark}" for row in rows if row.remark]
    said = [
        unshared_sentence(rows),
        f"Remarks: {'; '.join(remarks)}." if remarks else "",
        f"Rates: {'; '.join(rates)}.",
        f"Fields: {'; '.join(fields)}." if fields else "",
    ]
    return for_markdown(" ".join(said))
