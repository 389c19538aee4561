"""Study cards over the tiny suite, runs of them, and their records."""

import json
from pathlib import Path

from bench.cli import main
from bench.config.loading import RECIPES_DIR
from bench.execution.plan import Request
from bench.papers.study import Study
from bench.records import store
from bench.records.store import Store
from bench.report import study_data
from bench.report.frame import record_frame
from support import tiny

FIGURE = '{ kind = "curves", x = "epoch", value = "nmi", lines = ["method"] }'


def write_cards(folder: Path) -> Path:
    """Write the tiny suite, and a recipe of two epochs for it."""
    tiny.write_all(folder)
    text = (RECIPES_DIR / "quick.toml").read_text(encoding="utf-8")
    changes = {"epochs        ": 2, "warmup_epochs ": 0}
    for name, value in changes.items():
        before = next(line for line in text.splitlines() if line.startswith(name.strip()))
        text = text.replace(before, f"{name.strip()} = {value}")
    (folder / "short.toml").write_text(text.replace('"auto"', '"fp32"'), encoding="utf-8")
    return folder


def study_card(folder: Path, name: str = "own", **changed: str) -> Path:
    """A study card over the tiny suite; `changed` are its lines, as TOML."""
    lines = {
        "title": '"Own"',
        "shows": '"nothing"',
        "recipe": json.dumps(str(folder / "short.toml")),
        "figure": '{ kind = "curves", x = "prompts", value = "accuracy", lines = ["method"] }',
    }
    grid = {
        "suite": json.dumps(str(folder / "tiny.toml")),
        "methods": '["vpt_deep", "spt_deep"]',
        "backbones": json.dumps([str(folder / "small.toml")]),
        "tasks": '["light"]',
        "seeds": "[0, 1]",
        "vary": "{ prompts = [2, 3] }",
    }
    grid |= {k: changed[k] for k in ("quick", "seed") if k in changed}
    top = {k: v for k, v in {**lines, **changed}.items() if k not in grid}
    below = {k: v for k, v in {**grid, **changed}.items() if k not in top}
    path = folder / f"{name}.toml"
    text = "\n".join(f"{k} = {v}" for k, v in top.items())
    path.write_text(
        text + "\n[[grid]]\n" + "\n".join(f"{k} = {v}" for k, v in below.items()), encoding="utf-8"
    )
    return path


def run_study(folder: Path, results: Path, card: Path, *more: str) -> int:
    folders = ("--data-root", str(folder / "data"), "--results", str(results))
    return main.main(
        ["run", "--study", str(card), *folders, "--device", "cpu", "--workers", "0", *more]
    )


def tiny_request(folder: Path) -> Request:
    return Request(root=folder / "data")


def cells_of(study: Study, results: Path) -> list[study_data.StudyCell]:
    """The study's cells with the records of a results folder."""
    records = study_data.records_by_cell(record_frame(store.read_valid(Store(results))[0]))
    return study_data.study_cells(study, records)
