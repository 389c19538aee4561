"""The results in other programs' formats."""

import io
from collections.abc import Callable, Sequence

from tabulate import tabulate

from bench.errors import UserError
from bench.records import Record
from bench.report.leaderboard import Board
from bench.report.tables import complete, long_csv


def as_csv(records: Sequence[Record], _: Sequence[Board]) -> bytes:
    """One line a record, as in ``leaderboard.csv``."""
    return long_csv(records).encode()


def as_parquet(records: Sequence[Record], _: Sequence[Board]) -> bytes:
    """The same lines; needs the extra ``parquet``."""
    import pandas as pd  # slow to import, and no other format needs it

    stream = io.BytesIO()
    try:
        pd.read_csv(io.StringIO(long_csv(records))).to_parquet(stream, index=False)
    except ImportError:
        raise UserError("parquet needs pyarrow: pip install -e '.[parquet]'") from None
    return stream.getvalue()


def as_latex(_: Sequence[Record], boards: Sequence[Board]) -> bytes:
    """A ``booktabs`` table for each board's complete rows, with its name as a comment."""
    tables = [f"% {board.name}\n{_latex(board)}" for board in boards if board.rows]
    return ("\n\n".join(tables) + "\n").encode()


def _latex(board: Board) -> str:
    table = tabulate(complete(board), "keys", "latex_booktabs", disable_numparse=True)
    return table.replace("±", "$\\pm$").replace("–", "--")


FORMATS: dict[str, tuple[str, Callable[[Sequence[Record], Sequence[Board]], bytes]]] = {
    "csv": ("csv", as_csv),
    "parquet": ("parquet", as_parquet),
    "latex": ("tex", as_latex),
}
