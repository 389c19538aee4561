"""A copy of a suite that somebody already has becomes prepared folders, one a task.

It is a folder or a zip in a layout that the field shares: a folder a task, with list files beside
the images (the suite's card names both).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from bench import lists, stores
from bench.cards import Suite
from bench.errors import UserError
from bench.prepare import archives, rules, variants, writing
from bench.prepare.archives import Archive
from bench.prepare.building import Progress, certificates, counted, made_with
from bench.prepare.formats.base import Name, Picture
from bench.sources import load_source
from bench.stores import Row
from bench.tasks import Split, Task

SAMPLE = 64  # images by which a copy's variant is told
SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True)
class Copy:
    """One task of a copy: its archive, and the folder in it that holds the lists."""

    suite: Suite
    task: Task
    archive: Archive
    path: Path  # of the archive, for messages
    folder: str  # in the archive; empty, or ends with a slash

    @property
    def where(self) -> str:
        """The folder, for messages."""
        return f"{self.path}: {self.folder}".rstrip("/ :")

    def content(self, name: str) -> bytes:
        """A file of the folder."""
        return dict(self.archive.read([self.folder + name]))[self.folder + name]


def found(suite: Suite, path: Path) -> list[Copy]:
    """The tasks of the suite that a folder or zip holds; raises `UserError` where it holds none."""
    if not path.exists():
        raise UserError(f"no folder or zip of a copy at {path}")
    archive = archives.opened(path)
    test = suite.lists["test"][0]
    holding = [name.removesuffix(test) for name in archive.names() if _is_called(name, test)]
    copies = [
        Copy(suite, task, archive, path, folder)
        for task in suite.task
        for folder in holding
        if _belongs(folder, task, path)
    ]
    if not copies:
        wanted = ", ".join(f"{task.folder or task.name}/{test}" for task in suite.task[:3])
        raise UserError(f"{path} holds no task of {suite.name}: looked for {wanted} and so on")
    return copies


def _is_called(name: str, test: str) -> bool:
    return PurePosixPath(name).name == test


def _belongs(folder: str, task: Task, path: Path) -> bool:
    """Whether a folder of the archive, or the archive itself, is called as the task's is."""
    return (PurePosixPath(folder).name or path.name) == (task.folder or task.name)


def bring(copy: Copy, root: Path, variant: str | None, progress: Progress) -> tuple[str, list[str]]:
    """Prepare one task of a copy; its variant, and the warnings.

    Without a `variant`, the images themselves tell it. Raises `UserError` for the first rule that
    the copy breaks.
    """
    splits = {split: _lines(copy, split) for split in SPLITS}
    classes = _classes(copy, splits)
    told = _variant(copy, splits, variant)
    with writing.published(stores.home(root, copy.suite.name, copy.task.name, told)) as folder:
        count = sum(map(len, splits.values()))
        pictures = counted(_images(copy, splits), copy.task.title, count, progress)
        spans = writing.write_images(folder, pictures)
        rows = {
            split: [
                Row(classes[split, path], split, path, s.tar, s.offset, s.size, s.sha256)
                for path, s in ((line[0], spans[split, line[0]]) for line in found)
            ]
            for split, found in splits.items()
        }
        said = _vouched(copy, told, folder, rows)
        named = {copy.task.name: rows}
        writing.write_lists(folder, named)
        facts = {"suite": copy.suite.name, "variant": told, "warnings": said, **made_with()}
        proof = {"certificates": certificates(folder, named), "imported": copy.path.name}
        writing.write_card(folder, {**facts, **proof, "source": copy.task.source})
    return told, said


def _lines(copy: Copy, split: Split) -> list[lists.Line]:
    names = copy.suite.lists[split]
    return [line for name in names for line in lists.lines(copy.where, name, copy.content)]


def _classes(copy: Copy, splits: dict[Split, list[lists.Line]]) -> dict[Name, int]:
    """The class of each image, by its split and path."""
    classes: dict[Name, int] = {}
    for split, found in splits.items():
        numbers = lists.class_numbers(copy.suite, copy.task, copy.where, copy.content, found)
        classes |= {(split, line[0]): n for line, n in zip(found, numbers, strict=True)}
        if len({line[0] for line in found}) < len(found):
            raise UserError(f"E-OVERLAP {copy.task.name}: images stand twice in its {split} list")
    return classes


def _images(copy: Copy, splits: dict[Split, list[lists.Line]]) -> Iterator[tuple[Name, Picture]]:
    of_path: dict[str, Name] = {}
    for split, found in splits.items():
        of_path |= {_member(copy, path): (split, path) for path, _, _ in found}
    for member, content in copy.archive.read(of_path):
        yield of_path[member], content


def _member(copy: Copy, path: str) -> str:
    return copy.folder + (PurePosixPath(copy.task.images) / path).as_posix()


def _variant(copy: Copy, splits: dict[Split, list[lists.Line]], wanted: str | None) -> str:
    """The variant that the images show; raises `UserError` where another was claimed."""
    some = [line[0] for line in splits["train"]][:SAMPLE]
    contents = (content for _, content in copy.archive.read([_member(copy, p) for p in some]))
    told = variants.guessed(contents, _native(copy))
    if wanted == stores.LOSSLESS and told != wanted:
        raise UserError(
            f"E-VARIANT {copy.task.name}: the images of {copy.where} were compressed anew as JPEG "
            f"of quality 75, so they are not {wanted}: leave --variant out"
        )
    return wanted or told


def _native(copy: Copy) -> str:
    return load_source(copy.task.source).native if copy.task.source else "jpeg"


def _vouched(copy: Copy, variant: str, folder: Path, rows: dict[Split, list[Row]]) -> list[str]:
    """Hold what was written to the rules, but those of the source's keys; the warnings."""
    task = replace(copy.task, ranks={})  # a copy names its images anew
    for problem in rules.problems(task, rows, repeats=_repeats(copy)):
        raise UserError(problem)
    variants.require(_native(copy), variant, folder, task, rows)
    return list(rules.warnings(task, rows))


def _repeats(copy: Copy) -> bool:
    return bool(copy.task.source) and load_source(copy.task.source).repeats
