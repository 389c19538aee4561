"""A suite, its images and a backbone so small that a cell takes a fraction of a second."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 32
ARCHITECTURE = {"img_size": SIDE, "patch_size": 8, "embed_dim": 64, "depth": 2, "num_heads": 4}
QUICK = ("epochs=1", "warmup_epochs=0", "test_evaluations=1", "precision=fp32")
LISTS = {
    "train": ["train.txt"],
    "val": ["val.txt"],
    "trainval": ["train.txt", "val.txt"],
    "test": ["test.txt"],
}


def write_images(folder: Path, count: int, seed: int = 0, size: tuple[int, int] = (SIDE, SIDE)):
    """Images whose brightness tells class 0 from class 1, as ``0.png`` and so on; their names."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    width, height = size
    for i in range(count):
        pixels = rng.integers(0, 244, (height, width, 3)) + 12 * (i % 2)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i}.png")
    return [f"{i}.png" for i in range(count)]


def write_task(folder: Path, train: int = 12, val: int = 4, test: int = 16, seed: int = 0) -> None:
    """A task as NOAH lays it out: lists of paths and labels beside the images."""
    for split, count in (("train", train), ("val", val), ("test", test)):
        seed += 1
        names = write_images(folder / "images" / split, count, seed)
        lines = [f"images/{split}/{name} {i % 2}" for i, name in enumerate(names)]
        (folder / f"{split}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def suite_card(
    path: Path, backbone: Path, tasks: Sequence[str] = ("light",), lists: dict | None = None
) -> Path:
    """A card of a suite with two classes a task."""
    path.write_text(
        'name = "tiny"\ntitle = "Tiny"\nversion = 1\nrecipe = "quick"\n'
        f"[lists]\n{toml(lists or LISTS)}\n"
        f'[default]\nmethods = ["linear"]\nbackbones = [{json.dumps(str(backbone))}]\nseeds = [0]\n'
        + "".join(f'[[task]]\nname = "{t}"\ngroup = "Natural"\nclasses = 2\n' for t in tasks),
        encoding="utf-8",
    )
    return path


def backbone_card(path: Path, **changed: object) -> Path:
    """A card of a backbone of two blocks without weights; `changed` are lines of it."""
    plain = {
        "name": path.stem,
        "timm": "vit_tiny_patch16_224",
        "weights": "random",
        "input_size": SIDE,
        "pooling": "token",
        "architecture": ARCHITECTURE,
    }
    path.write_text(toml({**plain, **changed}), encoding="utf-8")
    return path


def write_all(folder: Path) -> Path:
    """Data, the suite `tiny.toml` with the tasks `light` and `dark`, and the backbone `small`."""
    write_task(folder / "data" / "light", train=36)
    write_task(folder / "data" / "dark", seed=10)
    suite_card(folder / "tiny.toml", backbone_card(folder / "small.toml"), ("light", "dark"))
    return folder


def command(act: str, folder: Path, results: Path, methods: str, *more: str) -> list[str]:
    """The words of a command on what `write_all` wrote: the task `light`, one epoch."""
    changes = [word for change in QUICK for word in ("--set", change)]
    suite = ("--suite", str(folder / "tiny.toml"), "--data-root", str(folder / "data"))
    chosen = ("--device", "cpu", "--tasks", "light", "--methods", methods)
    here = ("--workers", "0") if act in ("run", "tune") else ()  # no process to start
    return [act, *suite, "--results", str(results), *chosen, *changes, *here, *more]


def toml(table: dict) -> str:
    return "".join(f"{key} = {_value(value)}\n" for key, value in table.items())


def _value(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {_value(v)}" for k, v in value.items()) + " }"
    return json.dumps(value)
