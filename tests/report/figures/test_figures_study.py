"""The figures of studies, on made-up values."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from bench.papers.study import StudyFigure
from bench.report.figures import draw_study, study_curves
from bench.report.figures.style import RenderedFigure

TASKS = ("digits", "photo_crops", "sprites_orientation")
CROSSED = StudyFigure("heat map", "task", "accuracy", "prompts_from", normalised=True)
ALIGNED = StudyFigure(
    "heat map", "token_layer", "cka", "layer", panels=["backbone", "method", "epoch"]
)
SIZES = StudyFigure("bars", "backbone", "accuracy", lines=["method"], panels=["task"])
LENGTHS = StudyFigure("curves", "prompts", "accuracy", lines=["method"])
SPT = ("spt_deep", "spt_deep_unscaled", "spt_deep_shuffled", "spt_deep_gaussian")


def summary(
    figure: StudyFigure, values: dict[tuple[Any, ...], float], half: float = 1.0
) -> pd.DataFrame:
    """A frame as `summarise_over_seeds` returns it: a row per combination of the figure's axes."""
    return pd.DataFrame(
        [
            {**dict(zip(figure.axes(), place, strict=True)), "mean": mean, "low": mean - half,
             "high": mean + half, "seeds": 3}
            for place, mean in values.items()
        ]
    )  # fmt: skip


def crossed(**changed: float) -> dict[tuple[Any, ...], float]:
    """Accuracies by source and task: 10 and 90 in each column's ends, unless changed."""
    found = dict.fromkeys(product(TASKS, TASKS), 50.0)
    for task in TASKS:
        found[TASKS[0], task], found[TASKS[-1], task] = 10.0, 90.0
    return found | {("digits", task): value for task, value in changed.items()}


def aligned(least: float) -> dict[tuple[Any, ...], float]:
    """Two methods of two layers: 0.9 on the diagonal, and beside it `least` for one of them."""
    return {
        ("vit", method, 10, layer, token): 0.9 if layer == token else beside
        for method, beside in (("vpt_deep", least), ("spt_deep", 0.5))
        for layer, token in product(range(2), range(2))
    }


def sizes(methods: Sequence[str] = ("vpt_deep", *SPT)) -> dict[tuple[Any, ...], float]:
    backbones = ("vit_base_patch16_224.mae", "vit_large_patch16_224.mae")
    return {
        ("digits", method, backbone): 60.0 + i
        for i, (method, backbone) in enumerate(product(methods, backbones))
    }


def drawn(figure: StudyFigure, values: dict[tuple[Any, ...], float]) -> RenderedFigure:
    found = draw_study(figure, summary(figure, values))
    assert found is not None
    return found


def texts(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def colours(axes: Axes) -> list[str]:
    """Of a heat map's cells, row by row."""
    return [to_hex(colour) for colour in np.asarray(axes.collections[0].get_facecolor())]


EVERY = [
    (CROSSED, crossed()),
    (ALIGNED, aligned(0.1)),
    (SIZES, sizes()),
    (LENGTHS, {(method, n): 50.0 + n for method, n in product(SPT, (5, 10))}),
]


@pytest.mark.parametrize(("figure", "values"), EVERY, ids=lambda one: getattr(one, "kind", ""))
def test_no_word_is_outside_the_figure_or_on_another(
    figure: StudyFigure, values: dict[tuple[Any, ...], float]
) -> None:
    canvas = FigureCanvasAgg(drawn(figure, values).figure)
    canvas.draw()
    words = [*(t for axes in canvas.figure.axes for t in axes.texts)]
    words += [t for legend in canvas.figure.legends for t in legend.get_texts()]
    for axes in canvas.figure.axes:
        if axes.axison:
            low, high = axes.get_xlim()
            ticks = zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
            words += [axes.xaxis.label, axes.yaxis.label]
            words += [label for tick, label in ticks if low <= tick <= high]
    boxes = [one.get_window_extent() for one in words if one.get_text()]
    width, height = canvas.get_width_height()
    for i, box in enumerate(boxes):
        assert min(box.x0, box.y0) >= 0
        assert box.x1 <= width
        assert box.y1 <= height
        assert not any(box.overlaps(other) for other in boxes[:i])


def test_a_normalised_map_has_each_columns_worst_palest_and_best_darkest() -> None:
    [axes] = drawn(CROSSED, crossed(photo_crops=70.0)).figure.axes
    found = np.array(colours(axes)).reshape(3, 3)
    pale, dark = found[0, 0], found[2, 0]
    assert pale != dark
    assert found[1, 1] == pale, "70, 50, 90: the second is the worst of that column"
    assert list(found[2]) == [dark] * 3


def test_a_normalised_map_says_both_numbers() -> None:
    [axes] = drawn(CROSSED, crossed(photo_crops=70.0)).figure.axes
    assert {"0.00\n(10.0)", "0.50\n(50.0)", "1.00\n(90.0)", "0.50\n(70.0)"} <= set(texts(axes))


def test_other_maps_have_one_scale_for_all_panels() -> None:
    first, second = drawn(ALIGNED, aligned(0.1)).figure.axes
    assert colours(first)[0] == colours(second)[0], "0.9 in both"
    assert colours(first)[1] != colours(second)[1], "0.1 and 0.5: each panel's least"
    assert texts(first)[0] == "vit, vpt_deep, epoch 10"


def test_rows_stand_in_the_order_of_columns_and_what_is_both_is_framed() -> None:
    values = dict(reversed(crossed().items()))
    [axes] = drawn(CROSSED, {**{k: v for k, v in values.items() if k[0] == "digits"}, **values})\
        .figure.axes  # fmt: skip
    frames = [one.get_xy() for one in axes.patches if isinstance(one, Rectangle)]
    assert len(frames) == len(TASKS)
    assert [x for x, _ in frames] == sorted(x for x, _ in frames)
    assert [y for _, y in frames] == sorted(y for _, y in frames)


def test_a_place_without_a_value_is_a_dash() -> None:
    values = crossed()
    del values["photo_crops", "digits"]
    [axes] = drawn(CROSSED, values).figure.axes
    assert "–" in texts(axes)


def test_bars_have_their_height_interval_and_number() -> None:
    [axes] = drawn(SIZES, sizes(("vpt_deep",))).figure.axes
    assert [bar.get_height() for bar in axes.patches] == [60.0, 61.0]
    assert [list(map(float, line.get_ydata())) for line in axes.lines] == [[59, 61], [60, 62]]
    assert texts(axes) == ["60.0", "61.0"]


def test_one_seed_has_a_bar_without_an_interval() -> None:
    made = draw_study(SIZES, summary(SIZES, sizes(("vpt_deep",)), half=float("nan")))
    assert made is not None
    assert not made.figure.axes[0].lines


def test_members_of_a_family_look_different() -> None:
    [axes] = drawn(SIZES, sizes(SPT)).figure.axes
    looks = [(to_hex(bar.get_facecolor()), bar.get_hatch()) for bar in axes.patches]
    assert len(set(looks)) == len(SPT)


@pytest.mark.parametrize(("figure", "values"), EVERY, ids=lambda one: getattr(one, "kind", ""))
def test_without_values_there_is_no_figure(
    figure: StudyFigure, values: dict[tuple[Any, ...], float]
) -> None:
    assert draw_study(figure, summary(figure, values)[:0]) is None


def test_only_the_columns_of_a_heat_map_are_normalised() -> None:
    with pytest.raises(ValueError, match="normalised says of a heat map's columns"):
        StudyFigure("bars", "task", "accuracy", normalised=True)


def course(values: dict[str, list[float]]) -> pd.DataFrame:
    """Each method's value after each epoch, of two seconds each."""
    rows = [
        {"task": "digits", "method": method, "epoch": epoch, "seconds": 2.0 * epoch + 1,
         "mean": mean, "low": mean - 1, "high": mean + 1}
        for method, means in values.items()
        for epoch, mean in enumerate(means, start=1)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_each_value_of_a_training_is_drawn_by_epoch_and_by_second() -> None:
    accuracy = course({"vpt_deep": [50, 60], "spt_deep": [55, 65]})
    loss = course({"vpt_deep": [2, 1], "spt_deep": [1.5, 0.5]})
    made = study_curves.draw_training_curves(
        {"validation_accuracy": accuracy, "loss": loss}, ["task"]
    )
    shown = [(axes.get_ylabel(), axes.get_xlabel()) for axes in made.figure.axes]
    assert shown == [
        ("validation accuracy", "epoch"), ("validation accuracy", "seconds"),
        ("loss", "epoch"), ("loss", "seconds"),
    ]  # fmt: skip
    by_second = made.figure.axes[1].lines[1]
    assert list(by_second.get_xdata()) == [3.0, 5.0]
    assert list(by_second.get_ydata()) == [55, 65]


def test_trials_are_drawn_at_the_rates_that_were_tried_each_method_with_a_look_of_its_own() -> None:
    rates, methods = (0.001, 0.02, 0.5), (*SPT, "spt_deep_diagonal", "vpt_deep")
    rows = [
        {"task": "digits", "method": method, "lr": lr, "accuracy": 50.0 + i}
        for method in methods
        for i, lr in enumerate(rates)
    ]
    [axes] = study_curves.draw_trial_curves(pd.DataFrame(rows), ["task"]).figure.axes
    assert axes.get_xscale() == "log"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.001", "0.02", "0.5"]
    looks = {(to_hex(li.get_color()), li.get_linestyle(), li.get_marker()) for li in axes.lines}
    assert len(looks) == len(methods)
    assert {tuple(line.get_ydata()) for line in axes.lines} == {(50.0, 51.0, 52.0)}
