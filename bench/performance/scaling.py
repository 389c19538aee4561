"""Scaling of time and memory with images, prompts and layers: of initialisation and of a step.

One quantity is varied at a time, and a setting that occurs twice is measured once. The network is
small, so that everything takes minutes, but it has as many tokens as ViT-B/16. The figure has a
panel for each quantity, with one line per variant.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from math import log10
from statistics import median
from typing import Any

import timm
import torch
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from timm.models import VisionTransformer

import methods
from bench.performance import training_step
from bench.performance.initialisation import (
    METHODS,
    SyntheticBatches,
    smooth_noise,
    time_forward,
    time_prepare,
)
from bench.performance.measurement import (
    MIB,
    PerformanceLine,
    PerformanceRow,
    Usage,
    group_by,
    measure_usage,
)
from bench.report.figures.pareto import SECOND_UNITS, fit_scale
from bench.report.figures.style import (
    FAINT_COLOUR,
    GRID_COLOUR,
    HEADING_SIZE,
    TEXT_COLOUR,
    FigurePanel,
    RenderedFigure,
    compose_figure,
    style_context,
)
from methods.shared.prompts import FORMS

BATCH = 8  # of images that prompts are initialised from; small against a layer's tokens
NETWORK: dict[str, Any] = {
    "model_name": "vit_tiny_patch16_224",
    "img_size": 112,
    "patch_size": 8,
    "num_classes": training_step.CLASSES,
}
NETWORK_TEXT = "ViT-Ti/8 (width 192) on images of 112 pixels: 196 tokens; random weights, fp32"
BARE_PASS = "bare"  # the forward pass that every initialisation needs
INITIALISATION, TRAINING_STEP = "initialisation", "training step"


@dataclass(frozen=True)
class ScalingSetting:
    """Sizes of the work; the images are those of an initialisation, or a step's batch."""

    images: int
    prompts: int  # with k-means, clusters
    layers: int


@dataclass(frozen=True)
class ScalingPlan:
    """A base setting, the sizes of each field to vary, and the repetitions."""

    base: ScalingSetting
    sizes: dict[str, tuple[int, ...]]
    rounds: int


PLANS = {
    INITIALISATION: ScalingPlan(
        ScalingSetting(images=128, prompts=20, layers=4),
        {"images": (32, 128, 512), "prompts": (5, 20, 80, 320), "layers": (2, 4, 8, 16)},
        rounds=3,
    ),
    TRAINING_STEP: ScalingPlan(
        ScalingSetting(images=16, prompts=20, layers=4),
        {"images": (4, 16, 64), "prompts": (5, 20, 80, 320), "layers": (2, 4, 8, 16)},
        rounds=3,
    ),
}


def measure_scaling(
    plans: dict[str, ScalingPlan], device: str, network: dict[str, Any] = NETWORK
) -> Iterator[PerformanceRow]:
    """Measure additional MiB and seconds, one row per series and size."""
    for what, plan in plans.items():
        series, acts = SERIES[what]
        for name in series:
            found: dict[ScalingSetting, Usage] = {}
            for against, size in ((a, s) for a, sizes in plan.sizes.items() for s in sizes):
                setting = replace(plan.base, **{against: size})
                if setting not in found:
                    act = acts(setting, name, device, network)
                    rounds = plan.rounds if found else plan.rounds + 1  # the first is a warm-up
                    found[setting] = measure_repeatedly(act, rounds, plan.rounds, device)
                one = found[setting]
                row = PerformanceRow(f"{what}, {name}", one.mib, one.seconds, plan.rounds, unit=MIB)
                yield replace(row, against=against, at=float(size))


def describe_base(what: str) -> str:
    """Describe a plan's base setting."""
    base = PLANS[what].base
    return f"{base.images} images, {base.prompts} prompts and {base.layers} layers"


def measure_repeatedly(act: Callable[[], object], times: int, count: int, device: str) -> Usage:
    """Measure `times` times; return the median time and peak memory of the last `count`."""
    taken = [measure_usage(act, device) for _ in range(times)][-count:]
    return Usage(median(one.seconds for one in taken), max(one.mib for one in taken))


def _make_initialisation(
    setting: ScalingSetting, strategy: str, device: str, network: dict[str, Any]
) -> Callable[[], object]:
    model = _make_network(setting, device, network).eval()
    side = model.patch_embed.img_size[0]
    shown = SyntheticBatches(smooth_noise(setting.images, side, torch.device(device)), BATCH)
    if strategy == BARE_PASS:
        return partial(time_forward, model, shown)
    method = methods.create(METHODS[strategy], prompts=setting.prompts, share=1.0)
    return partial(time_prepare, model, method, shown)


def _make_training_step(
    setting: ScalingSetting, form: str, device: str, network: dict[str, Any]
) -> Callable[[], object]:
    model = _make_network(setting, device, network).requires_grad_(False)
    model.get_classifier().requires_grad_(True)
    methods.create("vpt_deep", prompts=setting.prompts, form=form).attach(model)
    side = model.patch_embed.img_size[0]
    return training_step.make_step(
        model.to(device), torch.randn(setting.images, 3, side, side, device=device)
    )


def _make_network(
    setting: ScalingSetting, device: str, network: dict[str, Any]
) -> VisionTransformer:
    torch.manual_seed(0)
    return timm.create_model(**network, depth=setting.layers).to(device)


SERIES = {
    INITIALISATION: ((BARE_PASS, *METHODS), _make_initialisation),
    TRAINING_STEP: (FORMS, _make_training_step),
}

SECTION = "growth"
COLUMNS, WIDTH, HEIGHT = 3, 2.8, 2.0  # panels per row; inches of one panel
MARGINS = (0.62, 0.42, 0.1, 0.25)  # inches around the axes: left, bottom, right, top
MIB_UNITS = {0: " MiB"}
SERIES_STYLES = {  # label, colour, marker; colours of Okabe and Ito: https://jfly.uni-koeln.de/color/
    "bare": ("bare pass", FAINT_COLOUR, "o"),
    "random": ("random", "#56B4E9", "s"),
    "mean": ("mean", "#009E73", "^"),
    "max": ("max", "#E69F00", "v"),
    "kmeans": ("k-means", "#D55E00", "D"),
    "keys_and_values": ("keys and values", "#0072B2", "P"),
    "concatenation": ("concatenation", "#CC79A7", "X"),
}


@dataclass(frozen=True)
class VerticalAxis:
    """The quantity on the vertical axis."""

    name: str
    units: Mapping[int, str]
    row_field: str  # field of `PerformanceRow`


VERTICAL_AXES = (
    VerticalAxis("time", SECOND_UNITS, "seconds"),
    VerticalAxis("memory", MIB_UNITS, "value"),
)


def draw(lines: Sequence[PerformanceLine]) -> RenderedFigure | None:
    """Draw the latest measurement of growth, a column per varied quantity; None without one."""
    grown = [line for line in lines if line.section == SECTION]
    if not grown:
        return None
    last = max((line.machine for line in grown), key=lambda machine: machine.started)
    rows = [line.row for line in grown if line.machine == last]
    with style_context():
        return compose_figure(_panels(rows), _legend(rows), COLUMNS)


def _panels(rows: Sequence[PerformanceRow]) -> list[FigurePanel]:
    """Lay out the panels: time and memory of each kind of work, against each varied quantity."""
    done = group_by(rows, lambda row: row.name.split(", ")[0])
    return [
        FigurePanel(
            WIDTH, HEIGHT, partial(_draw_panel, what=what, measure=measure, own=own), MARGINS
        )
        for (what, found), measure in product(done.items(), VERTICAL_AXES)
        for own in group_by(found, lambda row: row.against).values()
    ]


def _draw_panel(
    axes: Axes, what: str, measure: VerticalAxis, own: Sequence[PerformanceRow]
) -> None:
    scale = fit_scale([getattr(row, measure.row_field) for row in own], measure.units)
    for series, found in group_by(own, _series).items():
        _, colour, marker = SERIES_STYLES[series]
        x = [log10(row.at or 1) for row in found]
        y = [scale.at(getattr(row, measure.row_field)) for row in found]
        axes.plot(x, y, color=colour, marker=marker, markersize=4, linewidth=1.2, alpha=0.85)
    sizes = sorted({row.at for row in own if row.at})
    axes.set_xticks([log10(size) for size in sizes], [f"{size:g}" for size in sizes])
    axes.set_ylim(scale.low, scale.high)
    axes.set_yticks(list(scale.ticks()), list(scale.ticks().values()))
    axes.set_xlabel(_x_label(what, own[0].against), labelpad=1)
    axes.set_title(f"{what}: {measure.name}", fontsize=HEADING_SIZE, loc="left", color=TEXT_COLOUR)
    axes.grid(color=GRID_COLOUR, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(length=2.5, color=FAINT_COLOUR)


def _x_label(what: str, name: str) -> str:
    """Label of the horizontal axis: the varied quantity, as this kind of work calls it."""
    return {
        (INITIALISATION, "prompts"): "prompts (k-means: clusters)",
        (TRAINING_STEP, "images"): "images in the batch",
    }.get((what, name), name)


def _series(row: PerformanceRow) -> str:
    return row.name.split(", ")[1]


def _legend(rows: Sequence[PerformanceRow]) -> list[Line2D]:
    looks = (SERIES_STYLES[name] for name in dict.fromkeys(map(_series, rows)))
    return [Line2D([], [], label=label, color=colour, marker=kind) for label, colour, kind in looks]
