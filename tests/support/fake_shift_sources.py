"""Tiny archives of ImageNet-V2, -Sketch, -A and -R in the official layouts, and shortened lists.

The images are those of the first lines of the published lists.
"""

from collections.abc import Iterable
from pathlib import Path

from bench.data import published_lists
from support.fake_archives import picture, tarred, zipped
from support.fake_array_sources import tar

LISTS = {
    "imagenet_v2": "domain-generalization/imagenetv2/annotations/val_meta.list",
    "imagenet_sketch": "domain-generalization/imagenet-sketch/annotations/val_meta.list",
    "imagenet_a": "domain-generalization/imagenet-adversarial/annotations/val_meta.list",
    "imagenet_r": "domain-generalization/imagenet-rendition/annotations/val_meta.list",
}
ARCHIVES = {
    "imagenet_v2": "imagenetv2-matched-frequency.tar.gz",
    "imagenet_sketch": "ImageNet-Sketch.zip",
    "imagenet_a": "imagenet-a.tar",
    "imagenet_r": "imagenet-r.tar",
}
COUNT = 4  # images of each of the classes
CLASSES = 3


def shortened(name: str) -> list[str]:
    """Some lines of a published list: of the first classes in it, and of every file name's end."""
    lines = published_lists.read_package("noah")[LISTS[name]].decode().splitlines()
    labels = list(dict.fromkeys(line.rsplit(maxsplit=1)[1] for line in lines))[:CLASSES]
    chosen = [line for label in labels for line in _of_class(lines, label)[:COUNT]]
    ends = {Path(line.rsplit(maxsplit=1)[0]).suffix: line for line in lines}
    return list(dict.fromkeys([*chosen, *ends.values()]))


def _of_class(lines: Iterable[str], label: str) -> list[str]:
    return [line for line in lines if line.rsplit(maxsplit=1)[1] == label]


def paths(lines: Iterable[str]) -> list[str]:
    return [line.rsplit(maxsplit=1)[0] for line in lines]


def write(name: str, folder: Path) -> dict[str, int]:
    """Write the archive of a set; return the class of each image by its path in the list."""
    lines = shortened(name)
    members = {_in_archive(name, path): picture(path) for path in paths(lines)}
    path = folder / ARCHIVES[name]
    if name == "imagenet_sketch":
        zipped(path, members)
    elif name == "imagenet_v2":
        tar(path, members, "w")  # not compressed, whatever its name says
    else:
        tarred(path, {f"{name.replace('_', '-')}/README.txt": b"about", **members})
    labels = [int(line.rsplit(maxsplit=1)[1]) for line in lines]
    return dict(zip(paths(lines), labels, strict=True))


def _in_archive(name: str, path: str) -> str:
    """Return the path of an image in the archive: published lists call Sketch's folder images."""
    return path.replace("images/", "sketch/", 1) if name == "imagenet_sketch" else path
