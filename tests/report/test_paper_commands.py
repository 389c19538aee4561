"""The commands of the papers' tables: they run what fills them, and no more."""

import shlex
from collections.abc import Iterator
from itertools import product

import pytest

from bench.cli import requests
from bench.cli.parsing import Parser
from bench.cli.run import add_options
from bench.execution.request import Request
from bench.papers.claims import PaperEntry, cached_suite, canonical_fields, load_claims, paper_names
from bench.papers.layouts import expand_table, load_layouts, load_stand_ins
from bench.report.paper_commands import run_commands

Cell = tuple[str, str, str, str, str]  # suite, task, fields, backbone, method


def request(command: str) -> Request:
    parser = Parser()
    add_options(parser)
    start = ["python", "-m", "bench", "run"]
    words = shlex.split(command)
    assert words[: len(start)] == start
    return requests.request_of(parser.parse_args(words[len(start) :]))


def cells_of_command(command: str) -> Iterator[Cell]:
    asked = request(command)
    tasks = asked.tasks or [task.name for task in cached_suite(asked.suite).task]
    for task, backbone, method in product(tasks, asked.backbones, asked.methods):
        yield asked.suite, task, canonical_fields(asked.changes), backbone, method


def cells_of_entry(entry: PaperEntry) -> Iterator[Cell]:
    for suite, tasks in entry.tasks.items():
        for task in tasks:
            yield suite, task.name, entry.fields, entry.backbone, entry.method


@pytest.mark.parametrize("stand_in", [None, "mini"])
@pytest.mark.parametrize("paper", paper_names())
def test_a_table_s_commands_run_its_cells_and_no_others(paper: str, stand_in: str | None) -> None:
    instead = load_stand_ins(stand_in) if stand_in else None
    for table in load_layouts(paper).table:
        laid = expand_table(table, instead)
        if laid:
            commands = run_commands(laid.entries(), "vpt2022")
            ran = [cell for command in commands for cell in cells_of_command(command)]
            wanted = {cell for entry in laid.entries() for cell in cells_of_entry(entry)}
            assert set(ran) == wanted
            assert len(ran) == len(set(ran)), "no cell is run by two commands"
            assert {request(command).recipe for command in commands} == {"vpt2022"}


@pytest.mark.parametrize("paper", paper_names())
def test_every_claim_is_in_a_table_and_so_has_a_command(paper: str) -> None:
    laid = [expand_table(table) for table in load_layouts(paper).table]
    shown = {entry for table in laid if table for entry in table.entries()}
    assert {claim.entry for claim in load_claims(paper)} <= shown


def test_backbones_with_the_same_methods_share_a_command() -> None:
    laid = expand_table(next(t for t in load_layouts("vpt2022").table if t.id == "table5"))
    assert laid is not None
    (command,) = run_commands(laid.entries(), "vpt2022")
    assert "--backbones convnext_base.fb_in22k,resnet50.tv_in1k --methods full,linear," in command


def test_fields_that_are_words_reach_the_method() -> None:
    entry = PaperEntry("spt_deep", "layers='own'; share=0.5", "a", "fgvc", "cub", "accuracy")
    (command,) = run_commands([entry], "spt2024")
    assert request(command).changes == {"layers": "own", "share": 0.5}
