"""A suite that is rehearsed on synthetic images: VTAB-1k's cards, with few images of each split."""

import json
from collections.abc import Sequence
from pathlib import Path

from bench.config.suite import load_suite
from support import tiny

COUNTS = {"train": [24], "val": [8], "trainval": [32], "test": [40]}
TASKS = ("svhn", "eurosat", "dsprites_loc")  # of small images
QUICK = [word for change in tiny.QUICK for word in ("--set", change)]
SYNTHETIC = ("--data-root", "synthetic", "--device", "cpu", *QUICK)


def small_vtab1k(folder: Path, tasks: Sequence[str] = TASKS) -> Path:
    """Write a user's card of these tasks, with true classes and sizes; no data are written."""
    backbone = tiny.backbone_card(folder / "small.toml")
    chosen = [load_suite("vtab1k").find(name) for name in tasks]
    path = folder / "small_vtab1k.toml"
    path.write_text(
        'name = "small_vtab1k"\ntitle = "Small"\nversion = 1\nrecipe = "quick"\n'
        f"[lists]\n{tiny.toml(tiny.LISTS)}"
        f'[default]\nmethods = ["linear", "bias"]\nbackbones = [{json.dumps(str(backbone))}]\n'
        "seeds = [0]\n"
        + "".join(
            "[[task]]\n"
            + tiny.toml(
                {
                    **{n: getattr(task, n) for n in ("name", "group", "classes", "pixels")},
                    "counts": COUNTS,
                }
            )
            for task in chosen
        ),
        encoding="utf-8",
    )
    return path


def words(act: str, suite: str | Path, results: Path, *more: str) -> list[str]:
    """The words of a command on synthetic images."""
    return [act, "--suite", str(suite), "--results", str(results), *SYNTHETIC, *more]
