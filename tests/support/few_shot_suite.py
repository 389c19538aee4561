"""A small few-shot suite of one data set: the real card's, on a fabricated archive and lists."""

import io
import json
import tarfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.config.suite import Task, load_source, load_suite
from bench.prepare.build import open_reader
from support import fake_archives, fake_photo_sources, small_suite, tiny

CARD = load_suite("fewshot")
DATASETS = list(dict.fromkeys(task.dataset for task in CARD.task))
MAKERS = {
    **fake_archives.SOURCES,
    "food101": fake_photo_sources.food101,
    "fgvc_aircraft": fake_photo_sources.fgvc_aircraft,
    "stanfordcars_parts": fake_photo_sources.stanfordcars_parts,
    "imagenet1k": fake_photo_sources.imagenet1k,
}
Lists = dict[str, list[str]]  # split -> lines


@dataclass(frozen=True)
class SmallSuite:
    """The card of one data set's 1-shot task by list 0, and lines of its lists."""

    card: Path
    root: Path  # of the data
    task: Task
    lines: Lists


def write(folder: Path, dataset: str, shots: int = 1) -> SmallSuite:
    """Write archives in the official layout, lists in a package, and a card of both."""
    task = CARD.find(f"{dataset}_{shots}shot_0")
    root = folder / "data"
    archives = root / "archives" / task.source
    archives.mkdir(parents=True)
    MAKERS[task.source](archives)
    source = load_source(task.source)
    files = {path.name: path for path in archives.iterdir()}
    records = list(open_reader(source, files).entries())
    lines = _lines(task, records)
    write_package(folder, task, lines)
    (folder / f"{task.source}.toml").write_text(small_suite.source_card(source), encoding="utf-8")
    card = folder / "suite.toml"
    card.write_text(_card(folder, task, lines), encoding="utf-8")
    return SmallSuite(card, root, task, lines)


def write_package(folder: Path, task: Task, lines: Mapping[str, Sequence[str]]) -> None:
    """Write the package of lists, in which the card names them."""
    path = folder / "lists" / "noah.tar.xz"
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w:xz") as file:
        for split, listed in lines.items():
            content = "".join(f"{line}\n" for line in listed).encode()
            info = tarfile.TarInfo("data/" + task.members[split].partition(":")[2])  # type: ignore[index]
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))


def _lines(task: Task, records: Sequence[Any]) -> Lists:
    """Return lists of one image a class for train, the first; of the others, val and test."""
    numbers = {n: i for i, n in enumerate(sorted({r.facts["class"] for r in records}))}
    by_class: dict[int, list[str]] = defaultdict(list)
    for record in records:
        number = numbers[record.facts["class"]]
        wnid = record.facts["class"] if task.dataset == "imagenet" else ""
        path = f"{wnid}/{record.key}" if record.split == "train" and wnid else record.key
        by_class[number].append(f"{path} {number}")
    shots = {n: found[: task.draw.shots] for n, found in by_class.items()}  # type: ignore[union-attr]
    rest = [line for n, found in by_class.items() for line in found if line not in shots[n]]
    middle = len(rest) // 2 if "val" in task.members else 0
    train = [line for found in shots.values() for line in found]
    val = {"val": rest[:middle]} if middle else {}  # the smallest archives have too few images
    return {"train": train, **val, "test": rest[middle:]}


def _card(folder: Path, task: Task, lines: Lists) -> str:
    """The data set's entry of the real card, without the counts of the real archives."""
    backbone = json.dumps(str(tiny.backbone_card(folder / "small.toml")))
    assert task.draw is not None
    classes = len({line.rpartition(" ")[2] for line in lines["train"]})
    known = {"name": task.dataset, "group": "Few-shot", "classes": classes}
    label = {"fact": "class", "ranked": True}
    members = {split: task.members[split] for split in lines}  # type: ignore[index]
    members["train"] = members["train"].replace(
        f"num_shot_{task.draw.shots}.seed_0", "num_shot_{shots}.seed_{list}"
    )
    entry = {**known, "source": f"{task.source}.toml", "label": label, "members": members}
    return (
        'name = "small"\ntitle = "Small"\nversion = 1\nrecipe = "quick"\n'
        f"[shots]\ncounts = [{task.draw.shots}]\nlists = [0]\n"
        f'[default]\nmethods = ["linear"]\nbackbones = [{backbone}]\nseeds = [0]\n'
        f"[[task]]\n{tiny.toml(entry)}"
    )
