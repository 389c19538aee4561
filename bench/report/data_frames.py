"""Results, boards and claims as pandas data frames with plain columns."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.papers.claims import paper_names
from bench.records.schema import Record
from bench.records.store import Store, load_records
from bench.report import paper_values
from bench.report.boards import Board
from bench.report.frame import canonical_json, record_frame
from bench.report.generate import read_boards
from bench.report.rows import MethodRow
from bench.utils.errors import unknown_name

if TYPE_CHECKING:
    import pandas as pd

RESULT_COLUMNS: Mapping[str, str] = {
    "cell": "ID of the cell, by which `show` and `diff` find it",
    "suite": "name of the suite",
    "suite_version": "version of the suite's card",
    "group": "group of the task within the suite",
    "task": "name of the task",
    "classes": "number of classes",
    "shots": "images per class of a few-shot task; missing otherwise",
    "variant": "variant of prepared data, or synthetic; empty if built in, or read as found",
    "backbone": "name of the backbone",
    "weights": "sha256 of the backbone's weights",
    "method": "name of the method",
    "fields": "fields of the method, as JSON",
    "lr": "learning rate",
    "weight_decay": "weight decay",
    "recipe": "name of the recipe",
    "recipe_version": "version of the recipe",
    "precision": "fp32, tf32 or bf16",
    "seed": "seed of the cell",
    "trials": "trials that chose the rates; 0 if none did",
    "status": "ok, unsupported or failed",
    "accuracy": "top-1 percent on test after the last epoch; missing without a result",
    "best_epoch_accuracy": "top-1 percent on test after its best epoch: an oracle",
    "method_params": "trainable parameters, without the head",
    "head_params": "parameters of the head",
    "init_seconds": "seconds of the method's initialisation",
    "train_seconds": "seconds of training",
    "test_seconds": "seconds of evaluation",
    "peak_memory_mb": "peak memory in MiB: allocated on a GPU, resident on a CPU",
    "stored_bytes": "bytes of an export; missing in early records",
    "device": "cpu or cuda",
    "device_name": "name of the processor or GPU",
    "started": "time at which the cell started, in UTC",
}
_OUTCOME_COLUMNS = (
    *("accuracy", "best_epoch_accuracy", "method_params", "head_params", "init_seconds"),
    *("train_seconds", "test_seconds", "peak_memory_mb", "stored_bytes"),
)


def load_results(results: Path | str) -> "pd.DataFrame":
    """Return the records of a results folder, one row each, with the columns `RESULT_COLUMNS`.

    Records that others only state are left out. Raises `UserError` without such a folder.
    """
    import pandas as pd  # slow to import

    rows = [_result_row(record) for record in load_records(_existing(results))]
    return pd.DataFrame(rows, columns=list(RESULT_COLUMNS))


def _result_row(record: Record) -> dict[str, Any]:
    s, about = record.settings, record.environment
    return {
        **{name: getattr(s, name, None) for name in RESULT_COLUMNS},
        "cell": record.cell,
        "suite": s.shown_suite,
        "group": record.group,
        "shots": (s.few_shot or {}).get("shots", math.nan),
        "fields": canonical_json(s.fields),
        **{name: s.rates.get(name, math.nan) for name in ("lr", "weight_decay")},
        "recipe": s.recipe.get("name"),
        "recipe_version": s.recipe.get("version"),
        "precision": s.recipe.get("precision"),
        "trials": len(record.tuned.trials) if record.tuned else 0,
        "status": record.failure.kind if record.failure else "ok",
        **{name: getattr(record.outcome, name, math.nan) for name in _OUTCOME_COLUMNS},
        **{name: about.get(name, "") for name in ("device", "device_name", "started")},
    }


def leaderboard(results: Path | str) -> "pd.DataFrame":
    """Return every row of every board of a results folder.

    Columns: `board`, `suite`, `backbone`, `recipe`, `rank` and `worst_rank` (the ranks that the row
    may hold; missing if it is incomplete), `method`, `params` (with the head), `tasks` and
    `tasks_done`, `mean` and `sd` over tasks in percent, `mean_over_groups`, `seeds`,
    `init_seconds`, `train_seconds`, and the mean of each task as `task: NAME`.
    """
    import pandas as pd  # slow to import

    boards, _ = read_boards(_existing(results))
    return pd.DataFrame([row for board in boards for row in _board_rows(board)])


def _board_rows(board: Board) -> Iterator[dict[str, Any]]:
    for ranks, row in zip(board.comparison.ranks, board.rows, strict=True):
        yield _board_row(board, row, ranks)
    for row in board.incomplete:
        yield _board_row(board, row, (math.nan, math.nan))


def _board_row(board: Board, row: MethodRow, ranks: Sequence[float]) -> dict[str, Any]:
    means, millions = row.means, row.params_in_millions
    done = {task: cell for task, cell in row.cells.items() if cell.accuracies}
    return {
        "board": board.name,
        "suite": board.suite,
        "backbone": board.backbone,
        "recipe": board.recipe_name,
        "rank": ranks[0],
        "worst_rank": ranks[1],
        "method": row.label,
        "params": math.nan if millions is None else 1e6 * millions,
        "tasks": len(row.cells),
        "tasks_done": len(done),
        "mean": means.over_tasks if means else math.nan,
        "sd": math.nan if means is None or means.sd is None else means.sd,
        "mean_over_groups": means.over_groups if means else math.nan,
        "seeds": len(row.seeds),
        "init_seconds": row.init_seconds,
        "train_seconds": row.train_seconds,
        **{f"task: {task}": cell.mean for task, cell in done.items()},
    }


def claims(results: Path | str, papers: Sequence[str] = ()) -> "pd.DataFrame":
    """Return the claims of one or more papers, or of all, next to this project's numbers.

    Columns: `paper`, `table`, `dataset`, `model`, `metric`, `claimed`, `measured`, `difference`
    (measured minus claimed), `margin`, and `status`: verified, above, below, incomplete or not run.
    Raises `UserError` for an unknown paper.
    """
    import pandas as pd  # slow to import

    for name in papers:
        if name not in paper_names():
            raise unknown_name("paper", name, paper_names())
    checks = paper_values.check_papers(record_frame(load_records(_existing(results))), papers)
    return pd.DataFrame([_claim_row(check) for check in checks])


def _claim_row(check: "paper_values.ClaimCheck") -> dict[str, Any]:
    shown, measured = check.to_row(), check.measured
    names = ("paper", "table", "dataset", "model", "metric")
    return {
        **{name: shown[name] for name in names},
        "claimed": check.claim.number,
        "measured": measured.mean if measured.values else math.nan,
        "difference": math.nan if check.difference is None else check.difference,
        "margin": math.nan if check.margin is None else check.margin,
        "status": check.status,
    }


def _existing(results: Path | str) -> Path:
    folder = Path(results)
    Store(folder).require_existing()
    return folder
