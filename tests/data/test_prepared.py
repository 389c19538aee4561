"""Prepared folders of strangers: their cards, manifests and lists are held to what is written."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.config.suite import load_suite
from bench.data import prepared, splits
from bench.data.prepared import CARD_FILE, MANIFEST_FILE
from bench.utils import files
from bench.utils.errors import UserError
from support import suite_copies
from support.time_limits import in_time

LIST = "light.test.tsv"


@pytest.fixture(scope="module")
def brought(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small suite brought in from a copy, not to be changed."""
    folder = tmp_path_factory.mktemp("brought")
    suite_copies.suite(folder)
    copy = suite_copies.write_noah(folder / "vtab-1k", ["light"])
    assert suite_copies.bring(folder, copy) == 0
    return folder


@pytest.fixture
def folder(brought: Path, tmp_path: Path) -> Path:
    """Its prepared folder, copied to be changed; `root` is three levels above."""
    target = tmp_path / "data" / "prepared" / "copied" / "light" / "jpeg75"
    target.mkdir(parents=True)
    for path in (brought / "data/prepared/copied/light/jpeg75").iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


def sign(folder: Path) -> None:
    """Write a manifest of what is there."""
    paths = [path for path in sorted(folder.iterdir()) if path.name != MANIFEST_FILE]
    lines = [f"{files.sha256_of_file(path)}  {path.name}\n" for path in paths]
    (folder / MANIFEST_FILE).write_text("".join(lines), encoding="utf-8")


def load(brought: Path, folder: Path) -> splits.Examples:
    suite = load_suite(str(brought / "suite.toml"))
    root = folder.parents[3]
    return in_time(lambda: splits.load_split(suite, suite.task[0], "test", root, "jpeg75"))


def with_card(change: Callable[[dict], object]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        card = json.loads((folder / CARD_FILE).read_text(encoding="utf-8"))
        change(card)
        (folder / CARD_FILE).write_text(json.dumps(card), encoding="utf-8")

    return edit


def with_line(change: Callable[[list[str]], object]) -> Callable[[Path], None]:
    """A change of the fields of the first line of a list."""

    def edit(folder: Path) -> None:
        first, *others = (folder / LIST).read_text(encoding="utf-8").splitlines()
        fields = first.split("\t")
        change(fields)
        (folder / LIST).write_text("\n".join(["\t".join(fields), *others, ""]), encoding="utf-8")

    return edit


def field(number: int, value: str) -> Callable[[Path], None]:
    return with_line(lambda fields: fields.__setitem__(number, value))


def repeated_key(folder: Path) -> None:
    text = (folder / CARD_FILE).read_text(encoding="utf-8")
    (folder / CARD_FILE).write_text('{"format": 2, ' + text.lstrip("{ \n"), encoding="utf-8")


CHANGES = {
    "a tar in another folder": (
        with_card(lambda card: card["tars"].update({"../../x.tar": 0})), "does not say its tars"),
    "a tar of negative size": (
        with_card(lambda card: card["tars"].update({"images-000.tar": -1})), "its tars"),
    "a tar of a size in words": (
        with_card(lambda card: card["tars"].update({"images-000.tar": "1"})), "its tars"),
    "certificates in a list": (
        with_card(lambda card: card.update(certificates=[1])), "does not say its certificates"),
    "warnings that are no list": (
        with_card(lambda card: card.update(warnings={"a": 1})), "does not say its warnings"),
    "warnings that are no text": (
        with_card(lambda card: card.update(warnings=[[1]])), "does not say its warnings"),
    "a number without end": (
        with_card(lambda card: card.update(x=float("inf"))), "is not JSON: Infinity is no"),
    "half a character in a name": (
        with_card(lambda card: card.update({"\ud800": 1})), "does not say its entries: card: "),
    "half a character in a tar's name": (
        with_card(lambda card: card["tars"].update({"\ud800": 1})), "does not say its tars"),
    "a format of thousands of letters": (
        with_card(lambda card: card.update(format="x" * 5000)), "... (5,002 characters)"),
    "a key twice": (repeated_key, "is not JSON: the entry 'format' is listed twice"),
    "a label below 0": (field(0, "-1"), f"{LIST}:1: not a line of a list"),
    "a label beyond the classes": (field(0, "2"), "has label 2; expected 0 to 1"),
    "a label of 400 digits": (field(0, "1" * 400), f"{LIST}:1: not a line of a list"),
    "a label of 5000 digits": (field(0, "1" * 5000), f"{LIST}:1: not a line of a list"),
    "a label in other digits": (field(0, "\u0661"), f"{LIST}:1: not a line of a list"),
    "another folder's tar": (field(3, "../images-000.tar"), f"{LIST}:1: not a line"),
    "an absolute path": (field(3, "/etc/passwd"), f"{LIST}:1: not a line"),
    "a negative offset": (field(4, "-512"), f"{LIST}:1: not a line"),
    "a size of gigabytes": (field(5, str(2**40)), f"{LIST}:1: not a line"),
    "a hash that is none": (field(6, "x"), f"{LIST}:1: not a line"),
    "a field too many": (with_line(lambda fields: fields.append("x")), f"{LIST}:1: not a line"),
}  # fmt: skip


@pytest.mark.parametrize("kind", CHANGES)
def test_what_no_writer_writes_is_one_sentence(brought, folder, kind):
    change, says = CHANGES[kind]
    change(folder)
    sign(folder)
    with pytest.raises(UserError) as caught:
        load(brought, folder)
    assert says in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("line", ["x", "0" * 64 + "  ../x", "0" * 64 + "  ..", "0" * 63 + "  x"])
def test_a_manifest_names_files_of_its_folder(brought, folder, line):
    with (folder / MANIFEST_FILE).open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    with pytest.raises(UserError, match=r"MANIFEST.sha256:\d+: expected a SHA-256 and a file's"):
        load(brought, folder)


@pytest.mark.parametrize("name", [CARD_FILE, MANIFEST_FILE, "images-000.tar"])
@pytest.mark.parametrize("kind", ["a FIFO", "endless zeros"])
def test_only_regular_files_are_read(brought, folder, name, kind):
    (folder / name).unlink()
    if kind == "a FIFO":
        os.mkfifo(folder / name)
    else:
        (folder / name).symlink_to("/dev/zero")
    with pytest.raises(UserError, match=f"E-MANIFEST {folder / name} (cannot be read|has 0 bytes)"):
        load(brought, folder)


def test_an_offset_behind_the_end_is_an_image_that_cannot_be_decoded(brought, folder):
    field(4, str(10**12))(folder)
    sign(folder)
    with pytest.raises(UserError, match="it is empty; expected one of"):
        splits.require_images(load(brought, folder))


def test_a_key_may_hold_what_is_no_end_of_a_line(brought, folder):
    field(2, "a\u2028b\x0cc\x85.png")(folder)
    sign(folder)
    assert load(brought, folder).names[0].endswith("/a\u2028b\x0cc\x85.png")
    assert len(load(brought, folder)) == 8


def test_links_to_the_files_of_a_prepared_folder_are_followed(brought, folder, tmp_path):
    for path in list(folder.iterdir()):
        path.rename(tmp_path / path.name)
        path.symlink_to(tmp_path / path.name)
    assert len(load(brought, folder)) == 8
    assert prepared.require_complete(folder)["variant"] == "jpeg75"
