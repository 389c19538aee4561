"""The suite `tiny` with further test sets on disk: `far`, and `half` with images of one class."""

from pathlib import Path

from support import tiny

FAR = {"name": "far", "folder": "far"}
HALF = {"name": "half", "folder": "half", "classes": [0]}
SEED = 40  # of the images of `far`; others than those of the task


def write(folder: Path, *shifts: dict[str, object], names: tuple[str, ...] = ()) -> Path:
    """Data and a card of the task `light`, whose shifts are `names` or all; returns the card."""
    chosen = shifts or (FAR, HALF)
    tiny.write_task(folder / "data" / "light", train=36)
    write_set(folder / "data" / "far", [0, 1] * 8)
    write_set(folder / "data" / "half", [0] * 6)
    card = tiny.suite_card(folder / "tiny.toml", tiny.backbone_card(folder / "small.toml"))
    named = names or tuple(dict.fromkeys(str(shift["name"]) for shift in chosen))
    tables = "".join(f"[[shift]]\n{tiny.toml(shift)}" for shift in chosen)
    text = card.read_text(encoding="utf-8") + tiny.toml({"shifts": list(named)})
    card.write_text(text + tables, encoding="utf-8")
    return card


def write_set(folder: Path, labels: list[int]) -> None:
    """A test set as found: a list beside its images, whose brightness is of other classes."""
    names = tiny.write_images(folder / "images", len(labels), SEED + len(labels))
    pairs = zip(names, labels, strict=True)
    lines = [f"images/{name} {label}" for name, label in pairs]
    (folder / "test.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
