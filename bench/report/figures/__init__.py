"""The figures of boards and studies, as SVG and PNG; each kind's module is imported when drawn."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from bench.report.boards import Board
from bench.report.few_shots import PICTURES, FewShotBoard, curve_lines

if TYPE_CHECKING:
    import pandas as pd

    from bench.papers.study import StudyFigure
    from bench.report.figures.style import RenderedFigure
    from bench.report.shifts import ShiftTable

THUMBNAIL = "[![{caption}]({name}.png)]({name}.svg)"
TRUNCATION_NOTE = "\n\nThe picture shows the first {} of {} tables."
MORE_LINKS = (
    "More: [significance](statistics.md); [selection, tuning, initialisation and "
    "cost](ledgers.md); every number as [CSV](leaderboard.csv){others}."
)


@dataclass(frozen=True)
class FigureSpec:
    """One kind of figure of boards."""

    name: str  # of its files below the results folder, without the ending
    caption: str
    drawable: Callable[[Sequence[Board]], list[Board]]  # the boards that it can draw
    draw: Callable[[Sequence[Board]], "RenderedFigure | None"]


@dataclass(frozen=True)
class Figures:
    """The pictures of some boards."""

    boards: Sequence[Board]
    drawn: list[tuple[FigureSpec, bytes | None]]  # as SVG; None: there is nothing to draw
    preview_png: bytes | None  # the first as PNG, for where an SVG is not shown

    def files(self) -> dict[str, bytes | None]:
        """Return the files by name; None: there should be no such file."""
        found: dict[str, bytes | None] = {f"{one.name}.svg": svg for one, svg in self.drawn}
        front = {f"{one.name}.png": self.preview_png for one, _ in self.drawn[:1]}
        return {**found, **front}

    def markdown(self) -> str:
        """Return the first picture, and links to the others; empty without a picture."""
        from bench.report.figures.style import MAX_PANELS

        names = [picture for picture, svg in self.drawn if svg]
        if not names:
            return ""
        first, *rest = names
        count = len(first.drawable(self.boards))
        cut = TRUNCATION_NOTE.format(MAX_PANELS, count) if count > MAX_PANELS else ""
        others = "".join(f"; [{one.caption.lower()}]({one.name}.svg)" for one in rest)
        picture = THUMBNAIL.format(caption=first.caption, name=first.name)
        return f"{picture}{cut}\n\n{MORE_LINKS.format(others=others)}"

    def svg_by_caption(self) -> dict[str, str]:
        """Return the figures as SVG, by caption."""
        return {picture.caption: svg.decode() for picture, svg in self.drawn if svg}


def draw_all(boards: Sequence[Board]) -> Figures:
    """Draw every picture of the boards."""
    drawn = [(picture, picture.draw(boards)) for picture in _figure_specs()]
    made = [(picture, one.svg() if one else None) for picture, one in drawn]
    front = [one.png() for _, one in drawn[:1] if one]
    return Figures(boards, made, front[0] if front else None)


def _figure_specs() -> list[FigureSpec]:
    """Return all pictures; their modules are imported here, since matplotlib is slow to import."""
    from bench.report.figures import critical_difference, difference_to_full, pareto

    def against(quantity: str, name: str, caption: str) -> FigureSpec:
        shown = partial(pareto.drawable_boards, quantity=quantity)
        return FigureSpec(name, caption, shown, partial(pareto.draw, quantity=quantity))

    return [
        against("params", "leaderboard", "Accuracy against trainable parameters"),
        against("init", "pictures/init_seconds", "Accuracy against time to initialise"),
        against("train", "pictures/train_seconds", "Accuracy against training time"),
        FigureSpec(
            "pictures/critical_difference",
            "Average ranks and the critical difference",
            critical_difference.drawable_boards,
            critical_difference.draw,
        ),
        FigureSpec(
            "pictures/difference_to_full",
            "Difference to full fine-tuning, task by task",
            difference_to_full.drawable_boards,
            difference_to_full.draw,
        ),
    ]


def draw_shifts(tables: Sequence["ShiftTable"]) -> bytes:
    """Draw the accuracies on further test sets, as SVG."""
    from bench.report.figures import shift_curves

    return shift_curves.draw(tables).svg()


def draw_few_shots(found: FewShotBoard) -> dict[str, bytes | None]:
    """Return the curves of a few-shot board as files; None: no method has a value to draw."""
    from bench.report.figures import few_shot_curves

    points = curve_lines(found)
    if not points:
        return dict.fromkeys(PICTURES.values())
    drawn = few_shot_curves.draw_few_shots(points, found.columns)
    return {PICTURES["svg"]: drawn.svg(), PICTURES["png"]: drawn.png()}


def draw_study(figure: "StudyFigure", summary: "pd.DataFrame") -> "RenderedFigure | None":
    """Draw a study's `summary`, as `summarise_over_seeds` gives it by the figure's axes.

    None: there is nothing to draw.
    """
    from bench.report.figures import study_bars, study_curves, study_heat_map

    kinds = {"curves": study_curves, "bars": study_bars, "heat map": study_heat_map}
    return kinds[figure.kind].draw(figure, summary) if len(summary) else None
