"""Published results as a page: sorted, with marks for caveats, next to our own rows."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import groupby

from bench.papers.known import (
    BEST_ON_TEST,
    COMPUTED,
    GROUPS,
    MEANS,
    OWN_RUN,
    READ,
    KnownResult,
)
from bench.report.boards import Board
from bench.report.markdown import MISSING, table_from_dicts
from bench.report.rows import MethodRow
from bench.utils.escaping import for_markdown

NOTICE = (
    "<!-- made by `python -m bench report` from bench/papers/known_results.csv and the records; "
    "do not edit -->"
)
HEADING = "Known results"
EXPLANATION = (
    "Numbers as printed in papers, for comparison; they are not verified here. Rows of one table "
    "differ in weights, protocol and tuning effort, as their marks show. A dash means unknown. "
    "Each table is sorted by the mean over groups. Both means are top-1 accuracies in percent: "
    "one over the three groups of VTAB-1k, one over all tasks. They differ by several points, so "
    "do not compare one kind with the other. Here: complete rows of the project's own records "
    "with the same method, suite and weights, as mean over groups / over tasks, with the recipe."
)
SUITE_TITLES = {"vtab1k": "VTAB-1k", "fgvc": "FGVC"}
AUGREG, EITHER_IN21K = "augreg_in21k", "in21k"
IN21K = ("orig_in21k", AUGREG, EITHER_IN21K)  # weights whose rows share a table
CHOSEN_ALIKE = ("", "nothing")  # of `tuned`: not known, and nothing for each task
MARKS: dict[str, tuple[str, Callable[[KnownResult], bool]]] = {
    "!": (
        "something printed elsewhere contradicts it; the remark says what",
        lambda r: r.flag != "",
    ),
    "E": ("accuracy at the epoch that is best on test", lambda r: r.selection == BEST_ON_TEST),
    "T": ("something was chosen for each task", lambda r: r.tuned not in CHOSEN_ALIKE),
    "S": ("the seed was chosen for each task, too", lambda r: "seed" in r.tuned.split("; ")),
    "1": ("one seed", lambda r: r.seeds == 1),
    "A": ("AugReg weights in place of the original ones", lambda r: r.checkpoint == AUGREG),
    "?": ("which ImageNet-21k weights is not known", lambda r: r.checkpoint == EITHER_IN21K),
    "U": ("input in [0, 1], not normalised", lambda r: r.normalisation == "none"),
    "B": ("run by others, or it is not known by whom", lambda r: r.ran_by != OWN_RUN),
    "Q": (READ["quoted"], lambda r: r.read == "quoted"),
    "N": (READ["note"], lambda r: r.read == "note"),
    "R": (
        "read in the abstract, README, files or issues of the paper or its code",
        lambda r: r.read in ("abstract", "readme", "repository", "thread"),
    ),
    "W": ("where it was read is not noted", lambda r: r.read == ""),
    "Σ": (
        "a mean that the source does not print, computed from its groups or tasks",
        lambda r: any(r.mean(kind) is not None and r.is_computed(kind) for kind in COMPUTED),
    ),
}
GROUP_HEADS = dict(zip(GROUPS, ("natural", "specialized", "structured"), strict=True))
MEAN_HEADS = dict(zip(MEANS, ("over groups", "over tasks", "unsaid mean"), strict=True))
WORDS = frozenset({"method", "weights", "epoch", "tuned", "marks", "here", "paper", "remark"})
PLACE = ("suite", "backbone")  # the columns that a section's title has already


def known_rows(results: Sequence[KnownResult], boards: Sequence[Board]) -> list[dict[str, str]]:
    """Return a row of text for each known result, in the order of the page."""
    sections = list(dict.fromkeys(map(_section, results)))
    ordered = sorted(results, key=lambda r: (sections.index(_section(r)), *_rank(r)))
    return [_row(result, boards) for result in ordered]


def render_known(rows: Iterable[Mapping[str, str]]) -> str:
    """Return the page of these `known_rows`."""
    listed = list(rows)
    parts = [NOTICE, f"# {HEADING}", EXPLANATION, _legend(listed)]
    for title, group in groupby(listed, key=_section_title):
        parts += [f"## {for_markdown(title)}", _table(list(group))]
    return "\n\n".join(parts) + "\n"


def legend(rows: Iterable[Mapping[str, str]]) -> list[tuple[str, str]]:
    """Return the marks that occur in these rows, each with its meaning."""
    used = {mark for row in rows for mark in row["marks"].split()}
    return [(mark, meaning) for mark, (meaning, _) in MARKS.items() if mark in used]


def _legend(rows: Iterable[Mapping[str, str]]) -> str:
    return "Marks: " + "; ".join(f"**{m}** {for_markdown(text)}" for m, text in legend(rows)) + "."


def _table(rows: Sequence[Mapping[str, str]]) -> str:
    """Return a section's table, without the columns that are empty in all of its rows."""
    names = [n for n in rows[0] if n not in PLACE and any(row[n] != MISSING for row in rows)]
    return table_from_dicts([{name: row[name] for name in names} for row in rows], WORDS)


def _section_title(row: Mapping[str, str]) -> str:
    return f"{row['suite']}, {row['backbone']}, {_pretraining(row['weights'])}"


def _pretraining(checkpoint: str) -> str:
    """Return what the weights of one section share."""
    return EITHER_IN21K if checkpoint in IN21K else checkpoint


def _section(result: KnownResult) -> tuple[str, str, str]:
    return result.suite, result.backbone, _pretraining(result.checkpoint)


def _rank(result: KnownResult) -> tuple[object, ...]:
    """Return the key that puts the best row of a section first."""
    means = tuple(-(result.mean(kind) or Decimal(-1)) for kind in MEANS)
    return *means, result.method, result.paper, result.selection


def _row(result: KnownResult, boards: Sequence[Board]) -> dict[str, str]:
    texts = {
        "suite": SUITE_TITLES[result.suite],
        "backbone": result.backbone,
        "weights": result.checkpoint,
        "method": result.method,
        **{head: _text(result.mean(kind)) for kind, head in MEAN_HEADS.items()},
        "marks": " ".join(mark for mark, (_, applies) in MARKS.items() if applies(result)),
        "here": "; ".join(_own_rows(result, boards)),
        **{head: _text(result.groups.get(group)) for group, head in GROUP_HEADS.items()},
        "params (M)": _params(result),
        "seeds": str(result.seeds or ""),
        "epoch": result.selection,
        "tuned": result.tuned,
        "paper": _source(result),
        "remark": "; ".join(filter(None, (result.flag, result.remark))),
    }
    return {name: text or MISSING for name, text in texts.items()}


def _text(number: Decimal | None) -> str:
    return "" if number is None else str(number)


def _params(result: KnownResult) -> str:
    return f"{result.params} {result.head} head" if result.head else result.params


def _source(result: KnownResult) -> str:
    table = f"table {result.table}" if result.table[-1:].isdigit() else result.table
    where = f"in {result.read_in}" if result.read_in else ""
    return ", ".join(filter(None, (result.paper, table, where)))


def _own_rows(result: KnownResult, boards: Sequence[Board]) -> Iterator[str]:
    """Yield the means of the complete rows here of the same method, suite and weights."""
    backbone = f"{result.backbone}.{result.checkpoint}"
    for board in boards:
        if (board.suite, board.backbone) == (result.suite, backbone):
            for row in board.rows:
                if row.label == result.registered:
                    yield f"{_own_means(row)} ({board.recipe_name})"


def _own_means(row: MethodRow) -> str:
    return f"{row.means.over_groups:.2f} / {row.means.over_tasks:.2f}" if row.means else MISSING
