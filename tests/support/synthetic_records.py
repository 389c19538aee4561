"""Invented records, about 550, to hold the papers' tables to; never for a results folder.

``python tests/support/synthetic_records.py`` rewrites the golden tables of the tests.
"""

import random
from collections.abc import Iterator
from itertools import product
from typing import Any

from bench.config.recipe import load_recipe
from bench.config.suite import Suite, Task, load_suite
from bench.papers import claims
from bench.records.schema import Failure, Outcome, Record, Settings
from bench.report import paper_tables, paper_values
from bench.report.frame import record_frame
from bench.utils.files import REPO_ROOT

GOLDEN = REPO_ROOT / "tests" / "golden" / "papers"
MAE, MOCO = "vit_base_patch16_224.mae", "vit_base_patch16_224.mocov3"
SUP, ORIGINAL = "vit_base_patch16_224.augreg_in21k", "vit_base_patch16_224.orig_in21k"
SUITES = {name: load_suite(name) for name in ("fgvc", "vtab1k")}
MAIN = ("full", "vpt_shallow", "vpt_deep", "gatevpt", "spt_shallow", "spt_deep")
ABLATIONS = (
    *("vpt_deep_frozen", "spt_deep_frozen", "spt_deep_kmeans_frozen", "spt_deep_mean_frozen"),
    *("spt_deep_max_frozen", "spt_deep_kmeans", "spt_deep_mean", "spt_deep_max"),
    *("spt_deep_first", "spt_deep_last", "spt_shallow_last"),
)
PARAMS = {"full": 85_798_656, "linear": 0, "vpt_shallow": 76_800, "spt_shallow": 76_800}


def record(
    method: str,
    backbone: str,
    suite: Suite,
    task: Task,
    seed: int = 0,
    recipe: str = "spt2024",
    failure: Failure | None = None,
    **fields: Any,
) -> Record:
    """One invented record."""
    settings = Settings(
        suite=suite.name,
        suite_version=suite.version,
        task=task.name,
        classes=task.classes,
        split="5" * 32,
        method=method,
        fields=fields,
        backbone=backbone,
        weights="0123456789abcdef" * 4,
        input={"size": 224, "pooling": "token"},
        recipe=load_recipe(recipe).protocol(suite.name, "fp32"),
        rates={"lr": 0.001, "weight_decay": 0.01},
        seed=seed,
    )
    outcome = None if failure else _outcome(settings, task)
    return Record(
        settings,
        task.group,
        outcome,
        failure,
        environment={"synthetic": True, "dirty": False},
        request={
            "suite": suite.name,
            "method": method,
            "backbone": backbone,
            "task": task.name,
            "seed": seed,
            "recipe": recipe,
            "changes": fields,
        },
        cell=settings.digest(),
    )


def _outcome(s: Settings, task: Task) -> Outcome:
    draw = random.Random(f"{s.method} {s.backbone} {s.task} {s.seed} {sorted(s.fields.items())}")
    last = round(draw.uniform(30, 95), 2)
    best = round(last + draw.uniform(0, 1.5), 2)
    return Outcome(
        accuracy=last,
        best_epoch_accuracy=best,
        best_epoch=90,
        test_images=5_000,
        method_params=PARAMS.get(s.method, 184_320),
        head_params=769 * task.classes,
        init_seconds=round(draw.uniform(0.01, 40), 2),
        init_images=32,
        train_seconds=draw.uniform(100, 200),
        test_seconds=20.0,
        peak_memory_mb=2_000.0,
        losses=[2.0, 1.0] * 50,
        test_accuracies={"90": best, "100": last},
    )


def records() -> list[Record]:
    """All of them: complete rows, one of 17 tasks of 19, one that failed, one not possible."""
    return [*_main(), *_ablations(), *_vpt()]


def _main() -> Iterator[Record]:
    for method, backbone, suite in product(MAIN, (MAE, MOCO, SUP), SUITES.values()):
        seeds = range(3) if method in ("spt_deep", "full") and suite.name == "fgvc" else range(1)
        for task, seed in product(suite.task, seeds):
            if (method, backbone, task.name) == ("gatevpt", SUP, "cub"):
                no = Failure("unsupported", "Unsupported", "it cannot")
                yield record(method, backbone, suite, task, failure=no)
            elif (method, task.name) not in (("vpt_deep", "kitti"), ("vpt_deep", "dmlab")):
                yield record(method, backbone, suite, task, seed)


def _ablations() -> Iterator[Record]:
    for method, backbone in product(ABLATIONS, (MAE, SUP)):
        yield record(method, backbone, SUITES["fgvc"], SUITES["fgvc"].find("cub"))
        yield record(method, backbone, SUITES["vtab1k"], SUITES["vtab1k"].find("caltech101"))
    strategies = ("spt_deep", "spt_deep_mean", "spt_deep_max", "spt_deep_kmeans")
    for method, share in product(strategies, (0.1, 0.3, 0.5, 0.7, 1.0)):
        yield record(method, MAE, SUITES["fgvc"], SUITES["fgvc"].find("cub"), share=share)


def _vpt() -> Iterator[Record]:
    """Under VPT's recipe, whose rows other papers print too; one of them lacks two tasks."""
    for method, suite in product(("full", "linear", "vpt_deep"), SUITES.values()):
        for task in suite.task:
            if method != "vpt_deep" or task.name not in ("kitti", "sun397"):
                yield record(method, ORIGINAL, suite, task, recipe="vpt2022")
    failed = Failure("failed", "Diverged", "the loss was nan at step 3")
    yield record("bias", ORIGINAL, SUITES["fgvc"], SUITES["fgvc"].task[0], 0, "vpt2022", failed)


def tables() -> dict[str, str]:
    """Name below the golden folder -> text, of every table of every paper, and the claims page."""
    invented = record_frame(records())
    made: dict[str, str] = {}
    for paper in claims.paper_names():
        made |= paper_tables.render_tables(paper, invented, against=True)
    return {**made, **paper_tables.claims_files(paper_values.check_papers(invented))}


if __name__ == "__main__":
    for name, text in tables().items():
        path = GOLDEN / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
