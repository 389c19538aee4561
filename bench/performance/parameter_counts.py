"""Trainable parameters of each method: by formula, as counted, and as published.

All on ViT-B/16: width D = 768, L = 12 blocks, C classes. Counts are of the parameters with
``requires_grad`` after attaching the method to a model on the meta device, and bytes of the tensors
that an export of it would hold.
"""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from statistics import mean

import timm
import torch

import methods
from bench.config.suite import load_suite
from bench.models import weight_files
from bench.performance import method_traits
from bench.report.markdown import table_from_rows
from bench.utils.files import REPO_ROOT
from methods import Method
from methods.shared.base import Model

D, L = 768, 12
PUBLISHED_FILE = REPO_ROOT / "bench" / "papers" / "parameters.csv"
HERE = 100  # classes
TOLERANCE = 0.01  # million: the papers round some numbers and truncate others


@dataclass(frozen=True)
class Formula:
    """Trainable parameters of a method without its linear head, as text and as a function."""

    text: str
    count: Callable[[int], int]  # of the number of classes


def _constant(text: str, count: int) -> Formula:
    return Formula(text, lambda _: count)


def _bottleneck(width: int) -> int:
    return 2 * D * width + width + D


BIAS_PARAMETERS = 11 * L * D + 2 * D
BLOCK_PARAMETERS = 12 * D * D + 13 * D
FORMULAS: dict[str, Formula] = {
    "full": _constant(
        "(3·16² + 1)·D + 198·D + L·(12D² + 13D) + 2D", 967 * D + L * BLOCK_PARAMETERS + 2 * D
    ),
    "linear": _constant("0", 0),
    "bias": _constant("11·L·D + 2D", BIAS_PARAMETERS),
    "ln": _constant("4·L·D + 2D", 4 * L * D + 2 * D),
    "difffit": _constant("biases + (2L + 1)·D + 2·L·D", BIAS_PARAMETERS + (4 * L + 1) * D),
    "partial1": _constant("12D² + 13D + 2D", BLOCK_PARAMETERS + 2 * D),
    "mlp3": _constant("2·(D² + 3D)", 2 * (D * D + 3 * D)),
    "sidetune": _constant("AlexNet 2,469,696 + 9216·D + 1", 2_469_696 + 9216 * D + 1),
    "adapter": _constant("L·(2·D·12 + 12 + D)", L * _bottleneck(12)),
    "adapter_vpt2022": _constant("L·(2·D·12 + 12 + D)", L * _bottleneck(12)),
    "adapter_houlsby": _constant("2·L·(2·D·8 + 8 + D)", 2 * L * _bottleneck(8)),
    "adapter_noah": _constant("L·(2·D·8 + 8 + D)", L * _bottleneck(8)),
    "adapter_plus": _constant("L·(2·D·8 + 8 + 2D)", L * (_bottleneck(8) + D)),
    "adaptformer": _constant("L·(2·D·64 + 64 + D)", L * _bottleneck(64)),
    "lora": _constant("L·8·(D + 3D)", L * 8 * 4 * D),
    "lora_noah": _constant("L·8·(D + 3D)", L * 8 * 4 * D),
    "lora_qv": _constant("2·L·8·2D", 2 * L * 8 * 2 * D),
    "pace_lora": _constant("L·8·(D + 3D)", L * 8 * 4 * D),
    "lora_mul_vpt_add": _constant("L·(11·9D + 20·7D + 4·10)", L * (239 * D + 40)),
    "pace": _constant("L·(11·9D + 20·7D + 4·10)", L * (239 * D + 40)),
    "ssf": _constant("22·L·D + 4D", 22 * L * D + 4 * D),
    "snf": _constant("2·L·(2D + 2D + 1)", 2 * L * (4 * D + 1)),
    "fact_tt": _constant("2·D·16 + 12·L·16²", 2 * D * 16 + 12 * L * 16**2),
    "fact_tk": _constant("2·D·32 + 32³ + 12·L·32", 2 * D * 32 + 32**3 + 12 * L * 32),
    "convpass": _constant("2·L·(2·D·8 + 8 + D + 9·8² + 8)", 2 * L * (_bottleneck(8) + 584)),
    "repadapter": _constant("2·L·(D·8 + 8 + D·8/2 + D)", 2 * L * (D * 8 + 8 + D * 4 + D)),
    "bi_adaptformer": _constant("L·2·D·32, of one bit", L * 2 * D * 32),
    "bi_adaptformer_1": Formula(
        "L·2·D - C, of one bit: a head without bias", lambda c: L * 2 * D - c
    ),
    "bi_lora": _constant("2·L·32·2D, of one bit", 2 * L * 32 * 2 * D),
    "dtl": _constant("L·2·2·D", L * 4 * D),
    "dtl_plus": _constant("L·2·2·D + 9·D", L * 4 * D + 9 * D),
    "arc": _constant("2·(D·50 + L·(50 + D))", 2 * (D * 50 + L * (50 + D))),
    "rlrr": _constant("L·(27D + 4D) + 4D", L * 31 * D + 4 * D),
    "snell": _constant("L·8·(4·2D + 2·5D)", L * 8 * 18 * D),
    "sensitivity_lora": _constant("D, and near 400,000 with what data choose", D),
    "sensitivity_adapter": _constant("D, and near 400,000 with what data choose", D),
    "gps": _constant("2·(9·L·D + D)", 2 * (9 * L * D + D)),
    "mp": Formula("512·(D + 1) + 2·128 + 162 + 2884·C", lambda c: 394_146 + 2884 * c),
    "mp_plus": Formula("mp + 3·L·D·16", lambda c: 394_146 + 2884 * c + 3 * L * D * 16),
    "vqt": Formula("L·D + L·D·C, the head's growth", lambda c: L * D + L * D * c),
    "vpt_shallow": _constant("100·D", 100 * D),
    "vpt_pad": _constant("3·2·5·(2·224 + 2·5)", 3 * 10 * (2 * 224 + 10)),
    "vpt_deep": _constant("L·20·D", L * 20 * D),
    "da_vpt": _constant("L·20·D", L * 20 * D),
    "da_vpt_plus": _constant("L·20·D + L·2D", L * 20 * D + L * 2 * D),
    "spt_shallow": _constant("100·D", 100 * D),
    "spt_deep": _constant("L·20·D", L * 20 * D),
    "gatevpt": _constant("100·D + 2L - 1", 100 * D + 2 * L - 1),
    "e2vpt": _constant("L·D·(10 + 5)", L * D * 15),
    "e2vpt_pruned": _constant("L·D·(10 + 5), masked or not", L * D * 15),
    "vfpt": _constant("L·20·D", L * 20 * D),
    "bpt_shallow": _constant("75·(100 + D)", 75 * (100 + D)),
    "bpt_deep": _constant("L·50·(50 + D)", L * 50 * (50 + D)),
    "vipamin": _constant("100·D", 100 * D),
    "cvpt": _constant("L·10·D", L * 10 * D),
    "vapt": _constant(
        "10·D + (L - 1)·(4 + 10·(13² + 1) + 2D) + 2·8·D",
        10 * D + (L - 1) * (4 + 10 * 170 + 2 * D) + 16 * D,
    ),
    "sa2vp": _constant(
        "2D + 3·(197·16 + 17·D) + L·(35·D + 16)",
        2 * D + 3 * (197 * 16 + 17 * D) + L * (35 * D + 16),
    ),
}


@cache
def count_parameters(name: str, classes: int) -> int:
    """Count the trainable parameters of a method on ViT-B/16, including the head."""
    _, model, _ = _attach(name, classes)
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def stored_bytes(name: str, classes: int) -> int:
    """Return the bytes of the tensors in an export of a method on ViT-B/16, including the head."""
    method, model, own = _attach(name, classes)
    with torch.device("meta"):
        return weight_files.num_bytes(weight_files.stored_tensors(method, model, own))


@lru_cache(maxsize=1)  # a method is asked for its count, then for its bytes
def _attach(name: str, classes: int) -> tuple[Method, Model, set[int]]:
    """Return a method, the model on the meta device that has it, and the backbone's tensors."""
    method = methods.create(name)
    with torch.device("meta"):
        model = timm.create_model("vit_base_patch16_224", num_classes=classes)
        own = weight_files.tensor_ids(model)
        model.requires_grad_(False)
        model.get_classifier().requires_grad_(True)
        method.attach(model)
    return method, model, own


def mean_millions(name: str, suite: str) -> float:
    """Compute the papers' "Params (M)": including the head, averaged over a suite's tasks.

    Every count is linear in the number of classes, so the mean count is that of the mean number.
    """
    classes = mean(task.classes for task in load_suite(suite).task)
    two, three = count_parameters(name, 2), count_parameters(name, 3)
    return (two + (three - two) * (classes - 2)) / 1e6


def read_published() -> list[dict[str, str]]:
    """Read the published rows: method, label, the two columns, and a remark."""
    with PUBLISHED_FILE.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def markdown_page() -> str:
    """Render the page of parameters as Markdown."""
    return (
        "<!-- made by `python -m bench parameters`; do not edit -->\n\n"
        "# Trainable parameters on ViT-B/16\n\n"
        "## Formula against count\n\n"
        "Without the linear head of 769·C; D = 768, L = 12, here C = 100. What has no formula is "
        "peft's, counted alone. Bytes are of what `export` writes, the head included.\n\n"
        f"{_formula_table()}\n\n"
        "## What else is to be known of a method\n\n"
        "Identity: it changes no score before training. Merging is tried on a small network. The "
        "rule is that of prefix tokens and the grid of patches, where these are not all alike.\n\n"
        f"{_traits_table()}\n\n"
        "## Count against the papers\n\n"
        "In millions, head included, in the mean over the suite's tasks (FGVC 5, VTAB-1k 19). "
        f"A printed figure agrees within {TOLERANCE}: the papers round some and cut off others.\n\n"
        f"{_published_table()}\n"
    )


def _formula_table() -> str:
    rows = []
    for name in methods.names():
        formula = FORMULAS.get(name)
        text = formula.text if formula else "–"
        value = f"{formula.count(HERE):,}" if formula else "–"
        counted = _format_count(count_parameters, name, 769 * HERE)
        stored = _format_count(stored_bytes, name, 0)
        rows.append((name, text, value, counted, stored))
    header = ("method", "formula", "by formula", "counted", "stored (bytes)")
    return table_from_rows(header, rows, frozenset(header[:2]))


def _format_count(count: Callable[[str, int], int], name: str, head: int) -> str:
    """Count, less the head; n/a if the method does not support ViT-B/16."""
    try:
        return f"{count(name, HERE) - head:,}"
    except Exception:  # a plug-in's method may raise anything
        return "n/a"


def _traits_table() -> str:
    rows = [(name, *_traits_cells(name)) for name in methods.names()]
    header = ("method", *method_traits.HEADER)
    return table_from_rows(header, rows, frozenset(header))


def _traits_cells(name: str) -> list[str]:
    """Return the traits of a method; n/a for one that a small network cannot have."""
    try:
        return method_traits.traits_of(name).to_cells()
    except Exception:  # a plug-in's method may raise anything
        return ["n/a"] * len(method_traits.HEADER)


def _published_table() -> str:
    rows = []
    for row in read_published():
        cells = [row["method"], row["label"]]
        for suite in ("fgvc", "vtab1k"):
            found = mean_millions(row["method"], suite)
            claimed = row[suite]
            agrees = abs(found - float(claimed)) <= TOLERANCE if claimed else None
            cells += [f"{found:.3f}", claimed or "–", AGREEMENT_WORDS[agrees]]
        rows.append([*cells, row["remark"]])
    header = ("method", "papers' row", "FGVC", "printed", "", "VTAB-1k", "printed", "", "remark")
    return table_from_rows(header, rows, frozenset(header))


AGREEMENT_WORDS = {True: "agrees", False: "differs", None: ""}
