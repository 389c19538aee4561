"""ImageNet-V2, -Sketch, -A and -R: from archives in the official layouts to a score of a run."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from bench.cli.main import main
from bench.config.suite import Suite, load_source, load_suite
from bench.data import published_lists, shifts
from bench.prepare.readers import READERS
from bench.records.store import load_records
from support import fake_shift_sources, tiny
from support.fake_archives import picture

SETS = list(fake_shift_sources.LISTS)
HAND = {"bytes": 0, "sha256": "", "md5": "", "urls": [], "hub": "", "how": "put it there"}


@pytest.mark.parametrize("name", SETS)
def test_a_reader_lists_the_images_of_the_published_list(name: str, tmp_path: Path) -> None:
    classes = fake_shift_sources.write(name, tmp_path)
    source = load_source(name)
    archive = fake_shift_sources.ARCHIVES[name]
    reader = READERS[source.format]({archive: tmp_path / archive}, **source.options)
    assert {entry.key for entry in reader.entries()} == set(classes)
    wanted = [("train", path) for path in classes][::2]
    assert dict(reader.images(wanted)) == {key: picture(key[1]) for key in wanted}


@pytest.mark.parametrize("suite", ["imagenet_shift", "imagenet1k_shift"])
def test_a_mask_is_the_classes_of_the_published_list(suite: str) -> None:
    for shift in load_suite(suite).shift:
        lines = published_lists.read_published_list(shift.members)
        labels = {int(label) for _, label, _ in lines}
        assert shift.counts == [len(lines)]
        assert labels == set(shift.classes or range(1000))
        assert (shift.classes is None) == (shift.name in ("imagenet_v2", "imagenet_sketch"))


def test_folders_are_numbered_as_imagenet_s_own() -> None:
    """The class of a folder is its rank among ImageNet's, which the task's label is."""
    training = "noah:few-shot/imagenet/annotations/train_meta.list.num_shot_1.seed_0"
    lines = published_lists.read_published_list(training)
    wnids = sorted({path.split("/")[0] for path, _, _ in lines})
    for name in ("imagenet_sketch", "imagenet_a", "imagenet_r"):
        for path, label, _ in published_lists.read_published_list(
            f"noah:{fake_shift_sources.LISTS[name]}"
        ):
            assert wnids[int(label)] == path.split("/")[1], path


@pytest.fixture
def short_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    """The published lists, with the lines of the fabricated archives alone."""
    lists = {path: fake_shift_sources.shortened(name) for name, path in
             fake_shift_sources.LISTS.items()}  # fmt: skip
    package = {path: "\n".join(lines).encode() for path, lines in lists.items()}
    monkeypatch.setattr(published_lists, "read_package", lambda _: package)


def write_suite(folder: Path, name: str, classes: dict[str, int]) -> Path:
    """A suite whose task is as found and has 1,000 classes, with the real card's shift."""
    source = asdict(load_source(name))
    files = [{**file, **HAND} for file in source.pop("file")]
    text = tiny.toml(source | {"prepared_bytes": 1}) + f"[[file]]\n{tiny.toml(files[0])}"
    (folder / f"{name}.toml").write_text(text, encoding="utf-8")
    tiny.write_task(folder / "data" / "light", train=36)
    card = tiny.suite_card(folder / "tiny.toml", tiny.backbone_card(folder / "small.toml"))
    shift = asdict(next(one for one in load_suite("imagenet_shift").shift if one.name == name))
    label = {"fact": shift["label"]["fact"], "listed": shift["label"]["listed"]}
    kept = {key: shift[key] for key in ("name", "members")} | {"source": f"{name}.toml"}
    mask = {"classes": sorted(set(classes.values()))} if shift["classes"] else {}
    plain = card.read_text(encoding="utf-8").replace("classes = 2", "classes = 1000")
    table = tiny.toml({**kept, **mask, "label": label})
    card.write_text(f"{plain}shifts = {json.dumps([name])}\n[[shift]]\n{table}", encoding="utf-8")
    return card


@pytest.mark.sample(1)
@pytest.mark.usefixtures("short_lists")
@pytest.mark.parametrize("name", SETS)
def test_a_set_is_prepared_checked_and_scored(name: str, tmp_path: Path) -> None:
    archives = tmp_path / "data" / "archives" / name
    archives.mkdir(parents=True)
    classes = fake_shift_sources.write(name, archives)
    card = write_suite(tmp_path, name, classes)
    where = ["--suite", str(card), "--data-root", str(tmp_path / "data")]
    assert main(["data", "prepare", *where]) == 0
    assert main(["data", "check", "--deep", *where, "--tasks", name]) == 0
    suite: Suite = load_suite(str(card))
    [shift] = suite.shifts_of(suite.task[0])
    examples = shifts.load_shift(suite, suite.task[0], shift, tmp_path / "data")
    found = dict(zip(examples.names, examples.labels.tolist(), strict=True))
    assert found == {f"train/{path}": label for path, label in classes.items()}
    words = tiny.command("run", tmp_path, tmp_path / "results", "linear", "--no-tune")
    assert main(words) == 0
    [record] = load_records(tmp_path / "results")
    assert record.outcome
    assert record.settings.shifts[name].startswith("lossless:")
    assert record.outcome.shifts[name].images == len(classes)
    assert (record.outcome.shifts[name].masked_accuracy is None) == (shift.classes is None)
