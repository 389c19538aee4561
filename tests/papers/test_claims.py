"""The papers' printed numbers: names exist, means add up, and the layouts contain them."""

import csv
import tomllib
from collections import Counter
from decimal import Decimal

import pytest

import methods
from bench.config.suite import load_suite
from bench.papers.claims import canonical_fields
from bench.utils.files import REPO_ROOT

FOLDER = REPO_ROOT / "bench" / "papers"
PAPERS = [path.parent.name for path in sorted(FOLDER.glob("*/claims.csv"))]
SUITES = {name: load_suite(name) for name in ("fgvc", "vtab1k", "fewshot")}
MEAN, MEAN_OF_GROUPS = "mean over tasks", "mean over groups"
HEADER = "table,label,method,fields,backbone,suite,on,metric,value,unit,provenance,gain"
READMES = {f"{paper} (README)" for paper in ("biadapter2023", "vipamin2025")}  # of their code
SOURCES = {*PAPERS, *READMES, "own", "quoted", "ssf2022", "snf2023", "mp2023", "noah2022"}
UNITS = {"accuracy": {"%"}, "params": {"M"}, "init_seconds": {"s", "d"}, "total_params": {"x"}}
SIZES = Counter(task.group for task in SUITES["vtab1k"].task)
NO_LAYOUT = {"page", "demo"}
MAE, ORIG = "vit_base_patch16_224.mae", "vit_base_patch16_224.orig_in21k"

# where a mean is printed, and where the tasks it is the mean of are printed
MEANS = [
    ("spt2024", "table2", "table2"),
    ("spt2024", "table2", "tableS3"),
    ("spt2024", "table3", "table3"),
    ("spt2024", "tableS4", "table3"),
    ("spt2024", "tableS4", "tableS3"),
    ("vpt2022", "table1", "table1_fgvc"),
    ("vpt2022", "table1", "table1_vtab"),
    ("gatevpt2023", "fgvc", "fgvc"),
    ("e2vpt2023", "fgvc", "fgvc"),
    ("e2vpt2023", "vtab", "vtab_per_task"),
]
# (paper, table, method, backbone, on): printed, recomputed from the printed tasks
WRONG_MEANS: dict = {}  # none: all are within the rounding of the printed tasks
# (table, method, backbone, on): printed gain, value minus the first row's
WRONG_GAINS = {
    ("table4a", "spt_deep_kmeans_frozen", MAE, "cub"): ("+13.8", "+13.9"),
}
# (paper, table, method, backbone, on): printed, what the lender prints
BORROWED_OTHERWISE = {
    ("spt2024", "table2", "full", MAE, "Natural"): ("59.31", "59.29"),
    ("spt2024", "tableS4", "vpt_shallow", ORIG, "Specialized"): ("79.68", "79.66"),
}


def claims(paper):
    with (FOLDER / paper / "claims.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


CLAIMS = [(paper, claim) for paper in PAPERS for claim in claims(paper)]


def table(paper, name):
    return [claim for claim in claims(paper) if claim["table"] == name]


def half_unit(printed):
    """Half a unit of the last printed digit."""
    return Decimal((0, (5,), Decimal(printed).as_tuple().exponent - 1))


def where(claim):
    return claim["table"], claim["method"], claim["backbone"], claim["on"]


def tasks_of(suite, on):
    """The names of the tasks that the mean or group `on` is of; of anything else, none."""
    tasks = [task for name in suite.split("+") for task in SUITES[name].task]
    return [task.name for task in tasks if on in (MEAN, task.group)]


def values_of(claim, rows):
    """The values that `rows` print for the tasks of the mean `claim`."""
    row = {r["on"]: r["value"] for r in rows if same_row(r, claim)}
    return [row.get(task) for task in tasks_of(claim["suite"], claim["on"])]


def same_row(one, other):
    return all(one[k] == other[k] for k in ("method", "backbone", "suite", "metric"))


def means_of_tasks(paper, means, tasks):
    """Each mean that all its tasks are printed for, with what they give and the margin."""
    rows = table(paper, tasks)
    for claim in table(paper, means):
        values = values_of(claim, rows)
        if values and None not in values:
            recomputed = sum(map(Decimal, values)) / len(values)
            yield claim, recomputed, half_unit(claim["value"]) + max(map(half_unit, values))


def wrong(printed, recomputed, margin):
    return abs(Decimal(printed) - recomputed) > margin


def written(recomputed):
    return str(recomputed.quantize(Decimal("0.01")))


@pytest.mark.parametrize("paper", PAPERS)
def test_a_file_has_the_header(paper):
    assert (FOLDER / paper / "claims.csv").read_text(encoding="utf-8").splitlines()[0] == HEADER


@pytest.mark.parametrize("paper", PAPERS)
def test_no_claim_stands_twice(paper):
    seen = Counter(tuple(list(c.values())[:8]) for c in claims(paper))
    assert [key for key, count in seen.items() if count > 1] == []


def test_suites_tasks_and_groups_are_the_cards():
    for _, claim in CLAIMS:
        if claim["metric"] == "total_params":
            assert set(claim["suite"].split("+")) <= set(SUITES)
            assert claim["on"] == "all tasks"
        else:
            suite = SUITES[claim["suite"]]
            known = {MEAN, MEAN_OF_GROUPS, *suite.groups(), *(task.name for task in suite.task)}
            assert claim["on"] in known


def test_every_method_is_registered():
    assert {claim["method"] for _, claim in CLAIMS} <= set(methods.names())


def test_every_provenance_is_known():
    for paper, claim in CLAIMS:
        assert claim["provenance"] in SOURCES - {paper}


def test_every_value_is_a_number_in_a_unit_of_its_metric():
    for _, claim in CLAIMS:
        assert Decimal(claim["value"]) > 0
        assert claim["unit"] in UNITS[claim["metric"]]
        assert not claim["gain"] or claim["gain"][0] in "+-"


def test_the_page_repeats_table_2():
    key = ("method", "backbone", "suite", "on", "metric")
    printed = {tuple(c[k] for k in key): Decimal(c["value"]) for c in table("spt2024", "table2")}
    page = table("spt2024", "page")
    assert len(page) == 16
    for claim in page:
        assert Decimal(claim["value"]) == printed[tuple(claim[k] for k in key)]


def test_means_are_those_of_the_tasks_but_for_the_named():
    found = {
        (paper, *where(claim)): (claim["value"], written(recomputed))
        for paper, means, tasks in MEANS
        for claim, recomputed, margin in means_of_tasks(paper, means, tasks)
        if wrong(claim["value"], recomputed, margin)
    }
    assert found == WRONG_MEANS


@pytest.mark.parametrize("trio", MEANS, ids=lambda trio: "-".join(trio))
def test_there_is_a_mean_to_recompute(trio):
    assert list(means_of_tasks(*trio))


def means_of_groups():
    """Each mean of VTAB-1k that all groups are printed beside, with what they give."""
    for paper, claim in CLAIMS:
        if claim["on"] in (MEAN, MEAN_OF_GROUPS):
            row = [c for c in table(paper, claim["table"]) if same_row(c, claim)]
            groups = {c["on"]: Decimal(c["value"]) for c in row if c["fields"] == claim["fields"]}
            if set(SIZES) <= set(groups):
                weights = SIZES if claim["on"] == MEAN else dict.fromkeys(SIZES, 1)
                total = sum(weights[group] * groups[group] for group in SIZES)
                yield claim, total / sum(weights.values())


def test_a_mean_beside_its_groups_is_theirs():
    for claim, recomputed in means_of_groups():
        digit = 2 * half_unit(claim["value"])  # of the groups, and of the mean, cut off or rounded
        assert not wrong(claim["value"], recomputed, digit), claim


def test_there_are_means_beside_their_groups():
    labels = {claim["label"] for claim, _ in means_of_groups()}
    assert {"GateVPT", "VFPT", "DA-VPT+", "VIPAMIN", "SNELL-8"} <= labels


# (borrower, lender, method): a mean on MAE as borrowed, and as the lender's groups give it
FLAGGED = {
    ("davpt2025", "vpt2022", "vpt_deep"): ("41.73", "41.07"),
    ("davpt2025", "gatevpt2023", "gatevpt"): ("53.09", "53.76"),
}


@pytest.mark.parametrize(("borrower", "lender", "method"), FLAGGED)
def test_a_mean_that_was_borrowed_wrongly_is_flagged_and_no_claim(borrower, lender, method):
    printed, right = FLAGGED[borrower, lender, method]
    row = [c for c in claims(lender) if (c["method"], c["backbone"]) == (method, MAE)]
    groups = [Decimal(c["value"]) for c in row if c["on"] in SIZES]
    assert written(sum(groups) / len(SIZES)) == right
    footers = " ".join(layout["footer"] for layout in layouts(borrower))
    assert f"{printed}, where" in footers
    assert right in footers
    assert printed not in {claim["value"] for claim in claims(borrower)}


def test_gains_are_over_the_first_row_but_for_the_named():
    found = {}
    for name in ("table4a", "table4b", "tableS2"):
        rows = table("spt2024", name)
        columns = len([c for c in rows if not c["gain"]])
        for at, claim in enumerate(rows[columns:]):
            difference = Decimal(claim["value"]) - Decimal(rows[at % columns]["value"])
            if wrong(claim["gain"], difference, Decimal("0.05")):
                found[where(claim)] = (claim["gain"], f"{difference:+}")
    assert found == WRONG_GAINS


def test_what_was_borrowed_is_what_the_lender_prints():
    differing = {}
    lent = {(p, *identity(c)): c["value"] for p, c in CLAIMS if c["provenance"] == "own"}
    for paper, claim in CLAIMS:
        printed = lent.get((claim["provenance"], *identity(claim)))
        if printed and wrong(claim["value"], Decimal(printed), half_unit(claim["value"])):
            differing[(paper, *where(claim))] = (claim["value"], printed)
    assert differing == BORROWED_OTHERWISE


def identity(claim):
    return tuple(claim[k] for k in ("method", "fields", "backbone", "suite", "on", "metric"))


def spelt_out(column):
    """The full names behind `tasks` and `groups`."""
    suite = SUITES.get(column["suite"])
    if column["on"] == "tasks":
        return [task.name for task in suite.task]
    return suite.groups() if column["on"] == "groups" else [column["on"]]


def columns_of(layout):
    return [{**column, "on": on} for column in layout["columns"] for on in spelt_out(column)]


def cell(row, column, section):
    backbone = row.get("backbone") or column.get("backbone") or section.get("backbone")
    return {
        "label": row["label"],
        "method": row.get("method") or row["methods"][column["variant"]],
        "fields": canonical_fields({**row.get("fields", {}), **column.get("fields", {})}),
        "backbone": row.get("backbones", {}).get(backbone, backbone),
        "suite": column["suite"],
        "on": column["on"],
        "metric": column.get("metric", "accuracy"),
    }


def cells(layout):
    for section in layout["section"]:
        for row in section["rows"]:
            for column in columns_of(layout):
                yield tuple(cell(row, column, section).values())


def layouts(paper):
    return tomllib.loads((FOLDER / paper / "layouts.toml").read_text(encoding="utf-8"))["table"]


@pytest.mark.parametrize("paper", PAPERS)
def test_every_claim_falls_on_one_cell_and_in_the_order_of_the_layouts(paper):
    laid_out = [(layout["id"], *key) for layout in layouts(paper) for key in cells(layout)]
    keys = ("table", "label", "method", "fields", "backbone", "suite", "on", "metric")
    made = [
        tuple(claim[k] for k in keys) for claim in claims(paper) if claim["table"] not in NO_LAYOUT
    ]
    assert len(set(laid_out)) == len(laid_out)
    assert made == [key for key in laid_out if key in set(made)]
