"""A small suite with the real task cards, on fabricated archives."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

from bench.config.suite import Source, Task, load_source, load_suite
from bench.prepare.build import open_reader
from support import fake_archives, fake_array_sources, fake_photo_sources, tiny

MAKERS: dict[str, Callable[[Path], object]] = {
    **fake_archives.SOURCES,
    "cifar100": fake_array_sources.cifar100_binary,
    "svhn": fake_array_sources.svhn,
    "patch_camelyon": fake_array_sources.patch_camelyon,
    "dsprites": fake_array_sources.dsprites_hdf5,
    "smallnorb": fake_array_sources.smallnorb,
    "cub": fake_photo_sources.cub,
    "nabirds": fake_photo_sources.nabirds,
    "stanforddogs": fake_photo_sources.stanforddogs,
    "stanfordcars": fake_photo_sources.stanfordcars,
    "inat2018": fake_photo_sources.inat2018,
    "imagenet1k": fake_photo_sources.imagenet1k,
}
SUITES = ("vtab1k", "fgvc", "inat2018", "imagenet1k")
TASKS = {task.name: task for suite in SUITES for task in load_suite(suite).task}
SLICES = {"train": (0, 1), "val": (1, 2), "test": (2, 3)}  # of the records of one source split
SHARES = {"train": (0, 60), "val": (60, 100)}  # percent


def write(folder: Path, source: str, make: bool = True) -> Path:
    """The card of a suite with the real tasks of a source, whose archives are fabricated."""
    archives = folder / "data" / "archives" / source
    archives.mkdir(parents=True, exist_ok=True)
    if make:
        MAKERS[source](archives)
        _write_lists(archives, load_source(source))
    tasks = [task for task in TASKS.values() if task.source == source]
    tasks = tasks[:1] if tasks[0].shares else tasks  # the others differ in percentages alone
    (folder / f"{source}.toml").write_text(source_card(load_source(source)), encoding="utf-8")
    backbone = tiny.backbone_card(folder / "small.toml")
    path = folder / "suite.toml"
    path.write_text(
        f'name = "small"\ntitle = "Small"\nversion = 1\nrecipe = "quick"\n[default]\n'
        f'methods = ["linear"]\nbackbones = [{json.dumps(str(backbone))}]\nseeds = [0]\n'
        + "".join(f"[[task]]\n{tiny.toml(_small(task))}" for task in tasks),
        encoding="utf-8",
    )
    return path


def source_card(source: Source) -> str:
    """The real card, of files that have no published size or hash."""
    table = asdict(source)
    files = [_plain(file) for file in table.pop("file")]
    return tiny.toml(table | {"prepared_bytes": 1, "scratch_bytes": 0}) + "".join(
        f"[[file]]\n{tiny.toml(file)}" for file in files
    )


def _write_lists(archives: Path, source: Source) -> None:
    """Lists as VPT's, where the source has them: some images of each split, by their class."""
    if not any(file.name == "train.json" for file in source.file):
        return
    here = {file.name: archives / file.name for file in source.file if "json" not in file.name}
    entries = list(open_reader(source, here).entries())
    for split, (first, last) in SLICES.items():
        listed = {entry.key: entry.facts["class"] for entry in entries[first:last]}
        (archives / f"{split}.json").write_text(json.dumps(listed), encoding="utf-8")


def _plain(file: Mapping[str, object]) -> dict[str, object]:
    hand = {"bytes": 0, "sha256": "", "md5": "", "urls": [], "hub": "", "how": "put it there"}
    return {**file, **hand}


def _small(task: Task) -> dict[str, object]:
    table = asdict(task) | {"source": f"{task.source}.toml"}
    del table["draw"]
    for entry in ("counts", "keys", "present"):
        table[entry] = {}
    sources = [ranks["source"] for ranks in table["ranks"].values()]
    for split, share in table["shares"].items():
        share |= {"first": SHARES[split][0], "last": SHARES[split][1]}
    whole = 1 if task.source == "sun397" else 1000  # SUN397 has a file that is no image
    for split, ranks in table["ranks"].items():
        first, last = SLICES[split] if sources.count(ranks["source"]) > 1 else (0, whole)
        ranks |= {"first": first, "last": last, "after_percent": 0}
        ranks |= dict.fromkeys(("digest", "labels", "histogram"), "")
    return table
