"""Copies of suites as people share them: a folder per task, with lists next to the images."""

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from bench.cli.main import main
from bench.data import prepared
from support import tiny

FOLDERS = {"light": "cifar", "dark": "pets"}  # task -> its folder in a copy
NATIVE = {"light": "png", "dark": "jpeg"}  # how the sources of the tasks keep their images
NOAH = {
    "train": ["train800.txt"],
    "val": ["val200.txt"],
    "trainval": ["train800val200.txt"],
    "test": ["test.txt"],
}
FGVC = {
    "train": ["train.json"],
    "val": ["val.json"],
    "trainval": ["train.json", "val.json"],
    "test": ["test.json"],
}
COUNTS = {"train": 8, "val": 4, "test": 8}
RANKS = {"train": {"source": "train", "first": 0, "last": 8, "digest": "0123456789abcdef"}}


def suite(folder: Path, lists: Mapping[str, Sequence[str]] = NOAH) -> Path:
    """A suite of two tasks with sources; `light` is native in PNG and `dark` in JPEG."""
    for task, native in NATIVE.items():
        (folder / f"{task}.toml").write_text(
            tiny.toml({"name": task, "title": task, "format": "none", "native": native})
            + tiny.toml({"licence": "none", "home": "none", "access": "open", "prepared_bytes": 1})
            + '[[file]]\nname = "archive.tar"\nhow = "put it there"\n',
            encoding="utf-8",
        )
    backbone = json.dumps(str(tiny.backbone_card(folder / "small.toml")))
    path = folder / "suite.toml"
    path.write_text(
        'name = "copied"\ntitle = "Copied"\nversion = 1\nrecipe = "quick"\nfolder = "copies"\n'
        f"[lists]\n{tiny.toml(dict(lists))}"
        f'[default]\nmethods = ["linear"]\nbackbones = [{backbone}]\nseeds = [0]\n'
        + "".join(_task(task, lists) for task in FOLDERS),
        encoding="utf-8",
    )
    return path


def _task(name: str, lists: Mapping[str, Sequence[str]]) -> str:
    images = 'images = "images"\n' if lists is FGVC else ""
    counts = {**{split: [count] for split, count in COUNTS.items()}, "trainval": [12]}
    return (
        f'[[task]]\nname = "{name}"\ngroup = "Natural"\nclasses = 2\nsource = "{name}.toml"\n'
        f'folder = "{FOLDERS[name]}"\nlabel = {{ fact = "class" }}\n{images}'
        f"{tiny.toml({'counts': counts, 'ranks': RANKS})}"
    )


def write_noah(folder: Path, tasks: Sequence[str] = ("light", "dark"), **saved: object) -> Path:
    """A copy in NOAH's layout, whose images were saved as Pillow's `saved` says."""
    for number, task in enumerate(tasks):
        of_task = folder / FOLDERS[task]
        both = ""
        for split, count in COUNTS.items():
            part = Path(NOAH[split][0]).stem
            names = _images(of_task / "images" / part, count, 3 * number, split, **saved)
            text = "".join(f"images/{part}/{name} {i % 2}\n" for i, name in enumerate(names))
            (of_task / f"{part}.txt").write_text(text, encoding="utf-8")
            both += text if split != "test" else ""
        (of_task / "train800val200.txt").write_text(both, encoding="utf-8")
    return folder


def write_fgvc(folder: Path, tasks: Sequence[str] = ("light", "dark"), **saved: object) -> Path:
    """A copy in the layout of VPT's lists: JSON of class ids, with gaps, below the images."""
    for number, task in enumerate(tasks):
        of_task = folder / FOLDERS[task]
        for split, count in COUNTS.items():
            names = _images(of_task / "images" / split, count, 3 * number, split, **saved)
            ids = {f"{split}/{name}": (7, 300)[i % 2] for i, name in enumerate(names)}
            (of_task / f"{split}.json").write_text(json.dumps(ids), encoding="utf-8")
    return folder


def _images(folder: Path, count: int, seed: int, split: str, **saved: object) -> list[str]:
    """Numbered images, called .jpg whatever they are, as those of the field's copies."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed + list(COUNTS).index(split))
    for i in range(count):
        pixels = rng.integers(0, 244, (tiny.SIDE, tiny.SIDE, 3)) + 12 * (i % 2)
        image = Image.fromarray(pixels.astype(np.uint8))
        image.save(folder / f"{i:06d}.jpg", **({"format": "JPEG"} | saved))  # type: ignore[arg-type]
    return [f"{i:06d}.jpg" for i in range(count)]


def zipped(folder: Path, path: Path, top: str = "vtab-1k/") -> Path:
    """The folder as a zip, below one top folder."""
    with zipfile.ZipFile(path, "w") as file:
        for member in sorted(folder.rglob("*")):
            if member.is_file():
                file.write(member, top + member.relative_to(folder).as_posix())
    return path


def saved(mode: str = "RGB", **how: object) -> bytes:
    """One noisy image's file, as Pillow saves it."""
    pixels = np.random.default_rng(0).integers(0, 256, (tiny.SIDE, tiny.SIDE, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(stream, **({"format": "JPEG"} | how))  # type: ignore[arg-type]
    return stream.getvalue()


def bring(folder: Path, path: Path, *more: str, root: str = "data") -> int:
    """Bring in the copy at `path`, in the suite that lies in `folder`."""
    words = ("--suite", str(folder / "suite.toml"), "--data-root", str(folder / root))
    return main(["data", "import", str(path), *words, *more])


def brought_in(folder: Path) -> list[str]:
    """The task and variant of every folder that is there to be read."""
    cards = (folder / "data" / "prepared").rglob(prepared.CARD_FILE)
    return sorted("/".join(card.parts[-3:-1]) for card in cards)
