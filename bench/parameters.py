"""The parameter ledger: each method's trainable parameters by formula, as counted, and as printed.

All on ViT-B/16: width D = 768, L = 12 blocks, C classes. Counted means: the method attached to the
model on the meta device, and what has ``requires_grad`` added up.
"""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from statistics import mean

import timm
import torch
from tabulate import tabulate

import methods
from bench.cards import ROOT, load_suite

D, L = 768, 12
PRINTED = ROOT / "bench" / "papers" / "parameters.csv"
TOLERANCE = 0.01  # million: the papers round some figures and cut off others


@dataclass(frozen=True)
class Formula:
    """The trainable parameters of a method without the linear head, in words and as a function."""

    text: str
    count: Callable[[int], int]  # of the number of classes


def _fixed(text: str, count: int) -> Formula:
    return Formula(text, lambda _: count)


def _bottleneck(width: int) -> int:
    return 2 * D * width + width + D


BIASES = 11 * L * D + 2 * D
BLOCK = 12 * D * D + 13 * D
FORMULAS: dict[str, Formula] = {
    "full": _fixed("(3·16² + 1)·D + 198·D + L·(12D² + 13D) + 2D", 967 * D + L * BLOCK + 2 * D),
    "linear": _fixed("0", 0),
    "bias": _fixed("11·L·D + 2D", BIASES),
    "ln": _fixed("4·L·D + 2D", 4 * L * D + 2 * D),
    "difffit": _fixed("biases + (2L + 1)·D + 2·L·D", BIASES + (4 * L + 1) * D),
    "partial1": _fixed("12D² + 13D + 2D", BLOCK + 2 * D),
    "mlp3": _fixed("2·(D² + 3D)", 2 * (D * D + 3 * D)),
    "sidetune": _fixed("AlexNet 2,469,696 + 9216·D + 1", 2_469_696 + 9216 * D + 1),
    "adapter": _fixed("L·(2·D·12 + 12 + D)", L * _bottleneck(12)),
    "adapter_vpt2022": _fixed("L·(2·D·12 + 12 + D)", L * _bottleneck(12)),
    "adapter_houlsby": _fixed("2·L·(2·D·8 + 8 + D)", 2 * L * _bottleneck(8)),
    "adapter_noah": _fixed("L·(2·D·8 + 8 + D)", L * _bottleneck(8)),
    "adapter_plus": _fixed("L·(2·D·8 + 8 + 2D)", L * (_bottleneck(8) + D)),
    "adaptformer": _fixed("L·(2·D·64 + 64 + D)", L * _bottleneck(64)),
    "lora": _fixed("L·8·(D + 3D)", L * 8 * 4 * D),
    "lora_noah": _fixed("L·8·(D + 3D)", L * 8 * 4 * D),
    "lora_qv": _fixed("2·L·8·2D", 2 * L * 8 * 2 * D),
    "ssf": _fixed("22·L·D + 4D", 22 * L * D + 4 * D),
    "snf": _fixed("2·L·(2D + 2D + 1)", 2 * L * (4 * D + 1)),
    "fact_tt": _fixed("2·D·16 + 12·L·16²", 2 * D * 16 + 12 * L * 16**2),
    "fact_tk": _fixed("2·D·32 + 32³ + 12·L·32", 2 * D * 32 + 32**3 + 12 * L * 32),
    "convpass": _fixed("2·L·(2·D·8 + 8 + D + 9·8² + 8)", 2 * L * (_bottleneck(8) + 584)),
    "repadapter": _fixed("2·L·(D·8 + 8 + D·8/2 + D)", 2 * L * (D * 8 + 8 + D * 4 + D)),
    "mp": Formula("512·(D + 1) + 2·128 + 162 + 2884·C", lambda c: 394_146 + 2884 * c),
    "mp_plus": Formula("mp + 3·L·D·16", lambda c: 394_146 + 2884 * c + 3 * L * D * 16),
    "vqt": Formula("L·D + L·D·C, the head's growth", lambda c: L * D + L * D * c),
    "vpt_shallow": _fixed("100·D", 100 * D),
    "vpt_deep": _fixed("L·20·D", L * 20 * D),
    "spt_shallow": _fixed("100·D", 100 * D),
    "spt_deep": _fixed("L·20·D", L * 20 * D),
    "gatevpt": _fixed("100·D + 2L - 1", 100 * D + 2 * L - 1),
    "e2vpt": _fixed("L·D·(10 + 5)", L * D * 15),
    "e2vpt_pruned": _fixed("L·D·(10 + 5), masked or not", L * D * 15),
}


@cache
def counted(name: str, classes: int) -> int:
    """The trainable parameters of a method on ViT-B/16, head included."""
    with torch.device("meta"):
        model = timm.create_model("vit_base_patch16_224", num_classes=classes)
        model.requires_grad_(False)
        model.get_classifier().requires_grad_(True)
        methods.create(name).attach(model)
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def in_millions(name: str, suite: str) -> float:
    """The papers' "Params (M)": head included, in the mean over a suite's tasks.

    Every count here grows by the same number with each class, so the mean is that of the classes.
    """
    classes = mean(task.classes for task in load_suite(suite).task)
    two, three = counted(name, 2), counted(name, 3)
    return (two + (three - two) * (classes - 2)) / 1e6


def printed() -> list[dict[str, str]]:
    """The rows of the papers: method, label, the two columns, and a remark."""
    with PRINTED.open() as file:
        return list(csv.DictReader(file))


def page() -> str:
    """The ledger as Markdown."""
    return (
        "<!-- made by `python -m bench parameters`; do not edit -->\n\n"
        "# Trainable parameters on ViT-B/16\n\n"
        "## Formula against count\n\n"
        "Without the linear head of 769·C; D = 768, L = 12, here C = 100. What has no formula is "
        "peft's, counted alone.\n\n"
        f"{_formulas()}\n\n"
        "## Count against the papers\n\n"
        "In millions, head included, in the mean over the suite's tasks (FGVC 5, VTAB-1k 19). "
        f"A printed figure agrees within {TOLERANCE}: the papers round some and cut off others.\n\n"
        f"{_papers()}\n"
    )


def _formulas() -> str:
    rows = []
    for name in methods.names():
        formula = FORMULAS.get(name)
        text = formula.text if formula else "–"
        value = f"{formula.count(100):,}" if formula else "–"
        rows.append((name, text, value, _counted(name)))
    header = ("method", "formula", "by formula", "counted")
    return tabulate(
        rows, header, "pipe", disable_numparse=True, colalign=(*["left"] * 2, *["right"] * 2)
    )


def _counted(name: str) -> str:
    """The count without the head of 100 classes; n/a where the method does not fit a ViT-B/16."""
    try:
        return f"{counted(name, 100) - 76_900:,}"
    except Exception:  # a plug-in's method may raise anything
        return "n/a"


def _papers() -> str:
    rows = []
    for row in printed():
        cells = [row["method"], row["label"]]
        for suite in ("fgvc", "vtab1k"):
            found = in_millions(row["method"], suite)
            claimed = row[suite]
            agrees = abs(found - float(claimed)) <= TOLERANCE if claimed else None
            cells += [f"{found:.3f}", claimed or "–", VERDICTS[agrees]]
        rows.append([*cells, row["remark"]])
    header = ("method", "papers' row", "FGVC", "printed", "", "VTAB-1k", "printed", "", "remark")
    return tabulate(rows, header, "pipe", disable_numparse=True)


VERDICTS = {True: "agrees", False: "differs", None: ""}
