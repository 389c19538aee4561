"""The known results: names exist, means follow from their groups, and bad lines are refused."""

import csv
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

import methods
from bench.config.suite import load_suite
from bench.papers.claims import MEAN_OVER_TASKS, Claim, load_claims, paper_names
from bench.papers.known import COMPUTED, GROUPS, KNOWN_FILE, KnownResult, load_known, read_known
from bench.utils.errors import UserError

RESULTS = load_known()
NAMES = [f"{r.suite} {r.method} {r.paper} {r.checkpoint} {r.selection}" for r in RESULTS]
every_result = pytest.mark.parametrize("result", RESULTS, ids=NAMES)


def half_unit(printed: Decimal) -> Decimal:
    """Half a unit of the last printed digit."""
    return Decimal((0, (5,), int(printed.as_tuple().exponent) - 1))


@every_result
def test_a_printed_mean_follows_from_the_printed_groups_to_rounding(result: KnownResult) -> None:
    for kind in COMPUTED.keys() & result.means.keys():
        expected = result.from_groups(kind)
        if expected is None:
            continue
        printed = result.means[kind]
        digits = max(half_unit(group) for group in result.groups.values())
        slack = half_unit(printed) + digits + half_unit(expected)
        assert abs(printed - expected) <= slack, (kind, printed, expected)


def test_the_means_of_many_rows_are_checked() -> None:
    checked = [r for r in RESULTS for kind in COMPUTED if kind in r.means and r.from_groups(kind)]
    assert len(checked) > 40


def test_the_groups_have_the_suite_s_numbers_of_tasks() -> None:
    sizes = Counter(task.group for task in load_suite("vtab1k").task)
    assert {group.lower(): size for group, size in sizes.items()} == GROUPS


def test_the_registered_methods_are_registered() -> None:
    assert {r.registered for r in RESULTS if r.registered} <= set(methods.names())


def test_a_mean_of_both_kinds_is_larger_over_groups() -> None:
    for result in RESULTS:
        both = [result.mean(kind) for kind in COMPUTED]
        if all(both):
            assert 1 < both[0] - both[1] < 5, result


def claimed(result: KnownResult, claim: Claim) -> bool:
    """Whether a claim is of the same row, under the papers' own names."""
    entry = claim.entry
    return (
        claim.provenance == "own"
        and entry.metric == "accuracy"
        and claim.label == result.method
        and (entry.method, entry.suite) == (result.registered, result.suite)
        and entry.backbone == f"{result.backbone}.{result.checkpoint}"
        and claim.paper.rstrip("0123456789") in PAPERS_OF.get(result.paper.split(" ")[0], ())
    )


PAPERS_OF = {
    **{name: [name.lower()] for name in ("SNELL", "PACE", "RLRR", "ARC", "GPS", "SA2VP", "VFPT")},
    **{name: [name.lower()] for name in ("VPT", "SPT", "E2VPT", "GateVPT")},
    "SPT-LoRA": ["sensitivity"],
    "DA-VPT": ["davpt"],
}
ON = {"natural": "Natural", "specialized": "Specialized", "structured": "Structured"}
MEAN_ON = {"over_tasks": MEAN_OVER_TASKS, "over_groups": "mean over groups"}


def test_what_the_claims_have_of_a_row_is_the_same_number() -> None:
    claims = [claim for paper in paper_names() for claim in load_claims(paper)]
    compared = 0
    for result in RESULTS:
        numbers = {ON[group]: number for group, number in result.groups.items()}
        numbers |= {MEAN_ON[kind]: n for kind, n in result.means.items() if kind in MEAN_ON}
        for claim in claims:
            if claim.entry.on in numbers and claimed(result, claim):
                rounded = max(half_unit(numbers[claim.entry.on]), half_unit(Decimal(claim.value)))
                difference = abs(numbers[claim.entry.on] - Decimal(claim.value))
                assert difference <= rounded, (result, claim)
                compared += 1
    assert compared > 150


def change(**changed: str) -> Callable[[dict[str, str]], dict[str, str]]:
    return lambda line: {**line, **changed}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (change(over_groups="about 77"), "over_groups 'about 77' is no number from 0 to 100"),
        (change(over_groups="770"), "over_groups '770' is no number from 0 to 100"),
        (change(over_groups="-1"), "is no number from 0 to 100"),
        (change(over_groups="", over_tasks=""), "has no mean, nor all the groups"),
        (change(seeds="0"), "'0' is no number of seeds"),
        (change(params="tiny"), "params 'tiny' is not a number of millions"),
        (change(selection="best on val"), "no selection 'best on val'"),
        (change(read="memory"), "no read 'memory'"),
        (change(read="quoted"), "should say where it was read if it is quoted"),
        (change(read_in="a blog"), "should say where it was read if it is quoted"),
        (change(computed="tasks"), "computed 'tasks' names a mean that the row lacks"),
        (change(paper=""), "has no paper"),
        (change(suite="cifar"), "no suite 'cifar'"),
    ],
)
def test_a_line_that_cannot_be_used_is_refused_with_its_number(
    tmp_path: Path, changed: Callable[[dict[str, str]], dict[str, str]], message: str
) -> None:
    with KNOWN_FILE.open(newline="", encoding="utf-8") as file:
        line = next(csv.DictReader(file))  # PACE: a mean over groups alone
    path = write(tmp_path, [changed(line)])
    with pytest.raises(UserError, match="line 2") as refused:
        read_known(path)
    assert message in str(refused.value)


def test_a_second_row_of_the_same_place_is_refused(tmp_path: Path) -> None:
    with KNOWN_FILE.open(newline="", encoding="utf-8") as file:
        line = next(csv.DictReader(file))
    with pytest.raises(UserError, match="line 3 is a second row of PACE"):
        read_known(write(tmp_path, [line, {**line, "over_groups": "78.0"}]))


def test_other_columns_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "known.csv"
    path.write_text("method,paper\n", encoding="utf-8")
    with pytest.raises(UserError, match="should begin with the line suite,method"):
        read_known(path)


def test_a_mean_that_is_not_printed_follows_from_the_groups() -> None:
    (full,) = [
        r
        for r in RESULTS
        if (r.suite, r.method, r.checkpoint) == ("vtab1k", "Full", "orig_in21k")
        and r.paper.startswith("VPT ")
    ]
    assert full.means.keys() == {"over_tasks"}
    assert full.mean("over_groups") == Decimal("68.96")
    assert full.is_computed("over_groups")


def write(folder: Path, lines: list[dict[str, str]]) -> Path:
    path = folder / "known.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, lines[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
    return path
