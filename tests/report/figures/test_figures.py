"""The leaderboard's figures, on made-up records."""

import io
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import matplotlib
import numpy as np
import pytest
from PIL import Image

from bench.report.boards import Board
from bench.report.figures import critical_difference, difference_to_full, pareto
from bench.report.figures.style import MAX_PANELS, RenderedFigure
from support.made_up_records import TASKS, boards, row

Draw = Callable[[list[Board]], RenderedFigure | None]
METHODS = ["full", "lora", "bias", "vpt_deep", "linear"]
DRAWS = {
    **{name: partial(pareto.draw, quantity=name) for name in pareto.QUANTITIES},
    "critical difference": critical_difference.draw,
    "heat map": difference_to_full.draw,
}
every = pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS.keys())


def falling(*methods: str, **changed: object) -> list[Board]:
    """One board on which each method is a point below the one before, on every task."""
    accuracies = [[70.0 - i + 2 * task for task in range(5)] for i in range(len(methods))]
    pairs = zip(methods, accuracies, strict=True)
    return boards([record for method, found in pairs for record in row(method, found, **changed)])


def svg(draw: Draw, of: list[Board]) -> str:
    drawn = draw(of)
    assert drawn is not None
    return drawn.svg().decode()


def pixels(draw: Draw, of: list[Board]) -> np.ndarray:
    drawn = draw(of)
    assert drawn is not None
    return np.asarray(Image.open(io.BytesIO(drawn.png())).convert("RGBA"))


@pytest.mark.sample(2)
@every
def test_the_same_boards_make_the_same_bytes_whatever_the_reader_s_style(draw: Draw) -> None:
    def made() -> tuple[bytes, bytes]:
        drawn = draw(falling(*METHODS))
        assert drawn is not None
        return drawn.svg(), drawn.png()

    first = made()
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "red", "text.usetex": False}):
        assert made() == first


@every
def test_names_are_text_in_the_svg(draw: Draw) -> None:
    drawn = svg(draw, falling(*METHODS))
    assert all(re.search(rf">{method}\b.*</text>", drawn) for method in METHODS)
    assert ">mini v1, vit_mini_mae</tspan>" in drawn or ">mini v1, vit_mini_mae</text>" in drawn


@every
def test_the_ground_is_white_and_opaque(draw: Draw) -> None:
    found = pixels(draw, falling(*METHODS))
    assert (found[..., 3] == 255).all()
    assert (found[[0, 0, -1, -1], [0, -1, 0, -1]] == 255).all()


@every
def test_without_complete_rows_there_is_no_figure(draw: Draw) -> None:
    assert draw([]) is None
    assert draw(boards(row("lora", ["failed"] * 5))) is None


@pytest.mark.sample(2)
@every
def test_only_the_first_panels_are_drawn(draw: Draw) -> None:
    made = [falling(*METHODS, backbone=f"vit_{i}")[0] for i in range(MAX_PANELS + 1)]
    drawn = svg(draw, made)
    assert [f"vit_{i}<" in drawn for i in range(MAX_PANELS + 1)] == [True] * MAX_PANELS + [False]


@pytest.mark.sample(2)
@every
def test_a_board_with_nothing_to_draw_is_skipped(draw: Draw) -> None:
    empty = boards(row("lora", ["failed"] * 5, backbone="vit_none"))
    assert svg(draw, empty + falling(*METHODS)) == svg(draw, falling(*METHODS))


def test_the_front_is_of_methods_that_none_beats() -> None:
    x = [0.0, 10.0, 10.0, 5.0, 20.0, 30.0, 30.0, 40.0]
    y = [50.0, 60.0, 55.0, 50.0, 60.0, 70.0, 70.0, 65.0]
    assert pareto.pareto_front(x, y) == [0, 1, 5, 6]  # equal points both; less of one alone never
    assert pareto.pareto_front(x[::-1], y[::-1]) == [7, 6, 1, 2]  # the same points


def test_the_front_of_one_method_is_that_method() -> None:
    assert pareto.pareto_front([3.0], [50.0]) == [0]
    assert pareto.pareto_front([3.0, 3.0], [50.0, 50.0]) == [0, 1]


def test_the_line_along_the_front_is_level_and_then_up() -> None:
    drawn = svg(pareto.draw, falling(*METHODS))
    assert ">Pareto front</text>" in drawn
    [line] = re.findall(r'<path d="([^"]*)"[^>]*stroke-dasharray[^>]*stroke: #8a8a8a', drawn)[:1]
    ends = np.array(re.findall(r"[ML] (\S+) (\S+)", line), dtype=float)
    assert len(ends) == 7  # linear, up to bias, lora and full; vpt_deep has more than bias
    assert (np.diff(ends, axis=0) != 0).sum(axis=1).tolist() == [1] * (len(ends) - 1)


@pytest.mark.parametrize(
    ("quantity", "texts"),
    [
        ("params", ["trainable parameters of the method", ">100k<"]),
        ("init", ["prepare", ">20 ms<", ">0<"]),
        ("train", ["training time", ">10 s<"]),
    ],
)
def test_the_axis_says_what_stands_on_it(quantity: str, texts: list[str]) -> None:
    drawn = svg(partial(pareto.draw, quantity=quantity), falling(*METHODS))
    assert [text for text in texts if text not in drawn] == []


def test_bars_join_the_methods_that_nemenyi_does_not_tell_apart() -> None:
    [board] = falling(*METHODS)
    shape = critical_difference.rank_diagram(board)
    assert shape.ranks.tolist() == [1, 2, 3, 4, 5]
    assert shape.difference == pytest.approx(2.728, abs=1e-3)
    assert shape.bars == [(1, 3), (2, 4), (3, 5)]
    assert len(shape.lanes) == 3  # each bar overlaps the next
    assert shape.names[0] == "full  1.00"


def test_each_bar_is_drawn_and_named_by_the_critical_difference() -> None:
    drawn = svg(critical_difference.draw, falling(*METHODS))
    assert len(re.findall(r"stroke-width: 2\.6\b", drawn)) == 3
    assert ">critical difference 2.73 (Nemenyi, 5 %)</text>" in drawn


def test_bars_that_are_apart_share_a_lane() -> None:
    shape = critical_difference.rank_diagram(falling(*METHODS)[0])
    apart = [(1.0, 2.0), (1.5, 3.5), (3.0, 5.0)]
    assert [len(lane) for lane in replace(shape, bars=apart).lanes] == [2, 1]


def test_ranks_need_three_methods_and_two_tasks() -> None:
    assert critical_difference.draw(falling("full", "lora")) is None
    lonely = [r for method in METHODS for r in row(method, [60.0])]
    assert critical_difference.draw(boards(lonely)) is None


def test_more_methods_make_the_figures_taller() -> None:
    many = falling(*(f"adapter_{i}" for i in range(40)), "full")
    for draw in (pareto.draw, critical_difference.draw, difference_to_full.draw):
        few = pixels(draw, falling(*METHODS)).shape[0]
        assert pixels(draw, many).shape[0] > few + 100


def test_the_heat_map_holds_the_differences_to_full_and_their_mean() -> None:
    records = [*row("full", [60, 50, 40]), *row("full", [62, 50, 40], seed=1)]
    records += [*row("lora", [63, 49, 40]), *row("bias", [61, 40, 38.5])]
    shape = difference_to_full.difference_map(boards(records)[0])
    assert shape.names == ["lora", "bias"]
    assert shape.differences == pytest.approx(
        np.array([[2, -1, 0, 1 / 3], [0, -10, -1.5, -11.5 / 3]])
    )
    assert shape.accuracies == pytest.approx([61, 50, 40, 151 / 3])
    assert shape.tasks == [*TASKS[:3], "mean"]


def test_the_numbers_of_the_heat_map_are_written() -> None:
    drawn = svg(
        difference_to_full.draw, boards(row("full", [60.0, 50.0]) + row("lora", [61.25, 49.97]))
    )
    assert [text for text in (">+1.2<", ">0.0<", ">+0.6<", ">60.0<") if text not in drawn] == []
    assert ">full (%)</text>" in drawn


def test_the_best_mean_stands_first_and_groups_stand_apart() -> None:
    shape = difference_to_full.difference_map(falling("linear", "full", "lora", "bias")[0])
    assert shape.names == ["linear", "lora", "bias"]
    steps = np.diff(shape.columns).round(6)
    assert [step > difference_to_full.CELL_SIZE[0] for step in steps] == [
        False,
        True,
        False,
        False,
        True,
    ]


def test_without_a_complete_row_of_full_there_is_no_heat_map() -> None:
    assert difference_to_full.draw(falling("lora", "bias")) is None
    assert difference_to_full.draw(falling("full")) is None
    failed = row("full", ["failed", 60.0]) + row("lora", [60.0, 61.0])
    assert difference_to_full.draw(boards(failed)) is None


def test_every_number_contrasts_with_its_cell() -> None:
    cells = difference_to_full.difference_colours(np.linspace(-30, 30, 601), 30.0)
    on = {difference_to_full.DARK: 0.0, difference_to_full.LIGHT: 1.0}
    linear = np.where(cells <= 0.04045, cells / 12.92, ((cells + 0.055) / 1.055) ** 2.4)
    light = linear[:, :3] @ [0.2126, 0.7152, 0.0722] + 0.05
    ink = np.array([on[difference_to_full.contrasting_colour(cell)] + 0.05 for cell in cells])
    assert (np.maximum(light, ink) / np.minimum(light, ink)).min() >= 4.5  # WCAG's level AA


def test_colours_are_those_of_the_sign_and_grow_with_the_difference() -> None:
    red, _, blue, _ = difference_to_full.difference_colours(np.array([-10.0, 0.0, 10.0]), 10.0).T
    assert red[0] > blue[0]
    assert blue[2] > red[2]
    assert red[1] == pytest.approx(blue[1], abs=0.02)


@pytest.mark.parametrize(
    ("difference", "text"), [(1.25, "+1.2"), (-0.4, "−0.4"), (-0.04, "0.0"), (0.0, "0.0")]
)
def test_differences_have_their_sign(difference: float, text: str) -> None:
    assert difference_to_full.format_signed(difference) == text
