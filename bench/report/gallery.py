"""All pictures of a results folder: what each is called, and where it is shown."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from bench.report.leaderboard import Board

if TYPE_CHECKING:
    from bench.report.pictures.common import Drawing

SHOWN = "[![{caption}]({name}.png)]({name}.svg)"
CUT = "\n\nThe picture shows the first {} of {} tables."
MORE = (
    "More: [what is beyond chance](statistics.md); [selection, tuning, initialisation and "
    "cost](ledgers.md); every number as [CSV](leaderboard.csv){others}."
)


@dataclass(frozen=True)
class Picture:
    """A picture of boards, as its module draws it."""

    name: str  # of its files below the results folder, without the ending
    caption: str
    shown: Callable[[Sequence[Board]], list[Board]]  # the boards that it can draw
    draw: Callable[[Sequence[Board]], "Drawing | None"]


@dataclass(frozen=True)
class Gallery:
    """The pictures of some boards."""

    boards: Sequence[Board]
    made: list[tuple[Picture, bytes | None]]  # as SVG; None: there is nothing to draw
    front: bytes | None  # the first as PNG, for where an SVG is not shown

    def files(self) -> dict[str, bytes | None]:
        """Name -> bytes; None: there should be no such file."""
        found: dict[str, bytes | None] = {f"{one.name}.svg": svg for one, svg in self.made}
        front = {f"{one.name}.png": self.front for one, _ in self.made[:1]}
        return {**found, **front}

    def markdown(self) -> str:
        """The first picture, and links to the others; empty without a picture."""
        from bench.report.pictures.common import PANELS

        names = [picture for picture, svg in self.made if svg]
        if not names:
            return ""
        first, *rest = names
        count = len(first.shown(self.boards))
        cut = CUT.format(PANELS, count) if count > PANELS else ""
        others = "".join(f"; [{one.caption.lower()}]({one.name}.svg)" for one in rest)
        picture = SHOWN.format(caption=first.caption, name=first.name)
        return f"{picture}{cut}\n\n{MORE.format(others=others)}"

    def inline(self) -> dict[str, str]:
        """SVG by caption."""
        return {picture.caption: svg.decode() for picture, svg in self.made if svg}


def hang(boards: Sequence[Board]) -> Gallery:
    """Draw every picture of the boards."""
    drawn = [(picture, picture.draw(boards)) for picture in _pictures()]
    made = [(picture, one.svg() if one else None) for picture, one in drawn]
    front = [one.png() for _, one in drawn[:1] if one]
    return Gallery(boards, made, front[0] if front else None)


def _pictures() -> list[Picture]:
    """All pictures; their modules are imported here, since matplotlib is slow to import."""
    from bench.report.pictures import critical_difference, heat_map, scatter

    def against(quantity: str, name: str, caption: str) -> Picture:
        shown = partial(scatter.shown, quantity=quantity)
        return Picture(name, caption, shown, partial(scatter.draw, quantity=quantity))

    return [
        against("params", "leaderboard", "Accuracy against trainable parameters"),
        against("init", "pictures/init_seconds", "Accuracy against time to initialise"),
        against("train", "pictures/train_seconds", "Accuracy against training time"),
        Picture(
            "pictures/critical_difference",
            "Average ranks and the critical difference",
            critical_difference.shown,
            critical_difference.draw,
        ),
        Picture(
            "pictures/difference_to_full",
            "Difference to full fine-tuning, task by task",
            heat_map.shown,
            heat_map.draw,
        ),
    ]
