"""Planning: which changes give a cell another digest, and which do not."""

import hashlib
import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bench.cli import main
from bench.execution import plan, selection
from bench.execution.request import Request
from bench.records.schema import Settings
from bench.records.store import Store
from methods.shared import registry, source_hash
from support import paths, tiny

pytestmark = pytest.mark.usefixtures("no_figures")
PLUGIN = '''
"""Scale tuning."""
from dataclasses import dataclass
from methods import Method, register
{imports}

@dataclass(frozen=True)
class Scale(Method):
    def attach(self, model):
        {body}

register("scale", Scale())
'''


@pytest.fixture
def here(cards: Path, tmp_path: Path) -> Path:
    """The cards of the small suite, to be changed."""
    shutil.copytree(cards, tmp_path / "cards")
    card = tmp_path / "cards" / "tiny.toml"
    card.write_text(
        card.read_text(encoding="utf-8").replace(str(cards), str(tmp_path / "cards")),
        encoding="utf-8",
    )
    return tmp_path


def run(here: Path, methods: str = "linear", *more: str) -> int:
    return main.main(tiny.command("run", here / "cards", here / "results", methods, *more))


def records(here: Path) -> list[dict[str, Any]]:
    return [
        json.loads(path.read_text(encoding="utf-8")) for path in Store(here / "results").files()
    ]


def change(path: Path, before: str, after: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert before in text
    path.write_text(text.replace(before, after), encoding="utf-8")


def test_another_number_of_classes_is_another_cell(here, capsys):
    run(here)
    change(here / "cards" / "tiny.toml", "classes = 2", "classes = 7")
    capsys.readouterr()
    assert run(here) == 0
    assert "1 cells to run, 0 done before" in capsys.readouterr().err
    assert sorted(r["outcome"]["head_params"] for r in records(here)) == [130, 455]


def test_other_numbers_of_classes_never_share_a_row_or_a_board(here):
    run(here, "linear", "--seeds", "0,1")
    change(here / "cards" / "tiny.toml", "classes = 2", "classes = 7")
    run(here, "linear", "--seeds", "0,1")
    text = (here / "results" / "leaderboard.md").read_text(encoding="utf-8")
    boards = text.split("\n## ")[1:]
    assert len(boards) == 2
    assert ["of 2 classes" in board for board in boards] == [True, False]
    assert ["of 7 classes" in board for board in boards] == [False, True]


def load(path: Path, body: str = "model.norm.requires_grad_(True)", imports: str = "") -> str:
    """The code of the method of a plug-in with that body."""
    path.write_text(PLUGIN.format(body=body, imports=imports), encoding="utf-8")
    registry._methods.pop("scale", None)
    assert selection.load_plugins([path]) == []
    return registry.code("scale")


def test_a_plug_ins_code_is_the_sha256_of_its_file(tmp_path):
    code = load(tmp_path / "mine.py")
    assert code == hashlib.sha256((tmp_path / "mine.py").read_bytes()).hexdigest()
    assert registry.code("linear") == ""


def test_a_plug_in_that_is_moved_is_the_same(tmp_path):
    (tmp_path / "other").mkdir()
    assert load(tmp_path / "mine.py") == load(tmp_path / "other" / "yours.py")


@pytest.mark.parametrize(
    "imports",
    ["import helper_x", "from helper_x import value", ""],
    ids=["import", "from", "in a function"],
)
@pytest.mark.parametrize("package", [False, True])
def test_what_a_plug_in_imports_of_a_users_own_is_part_of_its_code(
    tmp_path, imports, package, monkeypatch
):
    monkeypatch.syspath_prepend(tmp_path)
    lazily = "import helper_x.deep" if package else "import helper_x"
    body = "pass" if imports else lazily
    helper = tmp_path / "helper_x" / "__init__.py" if package else tmp_path / "helper_x.py"
    helper.parent.mkdir(exist_ok=True)
    helper.write_text("value = 1", encoding="utf-8")
    deep = helper.with_name("deep.py") if package else helper
    codes = set()
    for text in ("value = 1", "value = 2", "value = 2\nmore = 3"):
        deep.write_text(text, encoding="utf-8")
        codes.add(load(tmp_path / "mine.py", body, imports))
        sys.modules.pop("helper_x", None)
    assert len(codes) == 3


def test_libraries_and_the_project_itself_are_not_part_of_it(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "import torch, json, os\nfrom methods import Method\nimport bench.utils.errors\n",
        encoding="utf-8",
    )
    assert source_hash._transitive_sources(path) == {path}


@pytest.mark.parametrize("folder", ["site-packages", "dist-packages"])
def test_a_library_is_one_wherever_its_folder_and_whatever_it_links_to(
    tmp_path, monkeypatch, folder
):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "linked_x.py").write_text("value = 1", encoding="utf-8")
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "linked_x.py").symlink_to(tmp_path / "cache" / "linked_x.py")
    (tmp_path / folder / "user_x.py").write_text("value = 1", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path / folder)
    path = tmp_path / "mine.py"
    path.write_text("import linked_x, user_x", encoding="utf-8")
    assert source_hash._transitive_sources(path) == {path}


@pytest.mark.long
def test_an_edited_plug_in_makes_its_cells_others_and_their_numbers_stand_apart(here):
    plugin = here / "mine.py"
    for body in ("model.norm.requires_grad_(True)", "model.blocks[0].requires_grad_(True)"):
        plugin.write_text(PLUGIN.format(body=body, imports=""), encoding="utf-8")
        words = tiny.command("run", here / "cards", here / "results", "scale,linear")
        done = subprocess.run(
            [sys.executable, "-m", "bench", *words, "--plugin", str(plugin)],
            capture_output=True,
            text=True,
            cwd=paths.REPO_ROOT,
        )
        assert done.returncode == 0, done.stderr
    assert "1 cells to run, 1 done before" in done.stderr
    codes = {r["settings"].get("code", "") for r in records(here)}
    assert len(codes) == 3
    text = (here / "results" / "leaderboard.md").read_text(encoding="utf-8")
    labels = [f"scale[code={code[:12]}]" for code in codes if code]
    assert len(labels) == 2
    assert all(f"| {label} " in text for label in labels)


def test_show_prints_a_command_that_names_the_plug_in_and_the_data(here, capsys):
    plugin = here / "my methods.py"
    plugin.write_text(
        PLUGIN.format(body="model.norm.requires_grad_(True)", imports=""), encoding="utf-8"
    )
    run(here, "scale", "--plugin", str(plugin))
    (record,) = records(here)
    capsys.readouterr()
    main.main(["show", record["cell"], "--results", str(here / "results")])
    again = capsys.readouterr().out.splitlines()[-1]
    assert f"--plugin '{plugin}'" in again
    assert f"--data-root {here / 'cards' / 'data'}" in again


def test_the_command_that_show_prints_asks_for_the_same_cell(here, capsys, monkeypatch):
    plugin = here / "mine.py"
    plugin.write_text(
        PLUGIN.format(body="model.norm.requires_grad_(True)", imports=""), encoding="utf-8"
    )
    run(here, "scale", "--plugin", str(plugin))
    (record,) = records(here)
    capsys.readouterr()
    main.main(["show", record["cell"], "--results", str(here / "results")])
    words = shlex.split(capsys.readouterr().out.splitlines()[-1].removeprefix("again:"))
    monkeypatch.chdir(here)
    registry._methods.pop("scale")
    assert main.main([*words[3:], "--workers", "0", "--device", "cpu"]) == 0
    again = [json.loads(path.read_text(encoding="utf-8")) for path in Store(here / "again").files()]
    assert [r["cell"] for r in again] == [record["cell"]]


class Entry:
    """An entry point as `importlib.metadata` gives it."""

    def __init__(self, module: str, version: str):
        self.module = module
        self.dist = type("Dist", (), {"name": "my-methods", "version": version})()


def test_a_packages_code_is_its_sources_name_and_version(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    package = tmp_path / "my_methods"
    package.mkdir()
    (package / "__init__.py").write_text("", encoding="utf-8")
    (package / "scale.py").write_text("a = 1", encoding="utf-8")
    first = source_hash.hash_entry_point(Entry("my_methods.scale", "1.0"))
    assert first.endswith(" my-methods 1.0")
    assert source_hash.hash_entry_point(Entry("my_methods.scale", "1.1")) != first
    (package / "scale.py").write_text(
        "a = 2", encoding="utf-8"
    )  # an editable install keeps its version
    assert source_hash.hash_entry_point(Entry("my_methods.scale", "1.0")) != first


@pytest.fixture
def folder(cards, tmp_path) -> Path:
    """A copy of the data and cards that may be changed."""
    return Path(shutil.copytree(cards, tmp_path / "own"))


def cell(folder: Path, **changes: Any) -> Settings:
    """The settings of the one cell that is asked for."""
    [found] = plan.plan_cells(
        Request(
            suite=str(folder / "tiny.toml"),
            methods=["linear"],
            backbones=[str(folder / "small.toml")],
            tasks=["light"],
            changes={"epochs": 1, "warmup_epochs": 0, "precision": "fp32", **changes},
            root=folder / "data",
        )
    )
    return found.settings


def turned(path: Path) -> None:
    with Image.open(path) as image:
        image.transpose(Image.Transpose.ROTATE_180).save(path)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_other_images_in_any_split_are_another_cell(folder, split):
    before = cell(folder)
    for path in (folder / "data" / "light" / "images" / split).iterdir():
        turned(path)
    assert cell(folder).split != before.split


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_another_label_of_any_split_is_another_cell(folder, split):
    before = cell(folder)
    path = folder / "data" / "light" / f"{split}.txt"
    first, *rest = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([first[:-1] + "1", *rest]) + "\n", encoding="utf-8")
    assert cell(folder).split != before.split


@pytest.mark.parametrize(
    "change",
    [
        *({"lr": 0.1}, {"weight_decay": 0.1}, {"head_weight_decay": 0.1}, {"batch": 8}),
        *({"epochs": 2}, {"min_lr": 0.001}, {"optimiser": "sgd"}, {"lr_per_batch": 64}),
        *({"normalisation": "imagenet"}, {"head_init": "vpt2022"}, {"pooled_norm": "fresh"}),
        {"head_init": "linear_probe"},
        *({"train_share": 0.5}, {"precision": "bf16"}, {"test_evaluations": 7}),
        {"views.default.train": "random_crop_flip"},
        {"views.default.test": "squash256_crop"},
        {"views.default.interpolation": "bilinear"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_whatever_changes_the_training_changes_the_name(folder, change):
    assert cell(folder, **change).digest() != cell(folder).digest()


@pytest.mark.parametrize(
    "change", [{"pooling": "avg"}, {"mean": [0.1] * 3}, {"std": [0.1] * 3}], ids=str
)
def test_another_input_of_the_backbone_is_another_cell(folder, change):
    before = cell(folder)
    tiny.backbone_card(folder / "small.toml", **change)
    assert cell(folder).input != before.input
