"""The published lists in packages: all load, and none has changed."""

import hashlib
import json
from pathlib import Path

import pytest

from bench.data import published_lists
from bench.utils.errors import UserError

GOLDEN = json.loads(
    (Path(__file__).parents[1] / "golden" / "published_lists.json").read_text(encoding="utf-8")
)


def test_every_list_of_every_package_is_golden() -> None:
    packages = published_lists.package_names()
    names = [f"{package}:{path}" for package in packages for path in read(package)]
    assert sorted(names) == sorted(GOLDEN)


def read(package: str) -> dict[str, bytes]:
    return published_lists.read_package(package)


@pytest.mark.parametrize("name", GOLDEN)
def test_a_list_loads_with_its_published_lines(name: str) -> None:
    package, _, path = name.partition(":")
    entries = published_lists.read_published_list(name)
    assert {
        "images": len(entries),
        "classes": len({label for _, label, _ in entries}),
        "sha256": hashlib.sha256(read(package)[path]).hexdigest(),
    } == GOLDEN[name]


def test_a_line_says_path_label_and_where() -> None:
    name = "noah:domain-generalization/imagenet-adversarial/annotations/val_meta.list"
    path, label, origin = published_lists.read_published_list(name)[0]
    assert path == "imagenet-a/n07753592/0.003773_soap dispenser _ soap dispenser_0.28588653.jpg"
    assert (label, origin) == ("954", f"{name.replace(':', '/')}:1")


def test_each_package_has_its_licence_beside_it() -> None:
    for package in published_lists.package_names():
        licence = published_lists.LISTS_DIR / f"{package}.LICENSE"
        assert "Permission is hereby granted" in licence.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("noha:few-shot/x", "no package of lists 'noha'; did you mean noah?"),
        (
            "noah:few-shot/food102",
            "no list of noah 'few-shot/food102'; it has 107, such as domain-",
        ),
        (
            "noah:few-shot/food102/annotations/val_meta.list",
            "no list of noah 'few-shot/food102/annotations/val_meta.list'; did you mean few-",
        ),
    ],
)
def test_an_unknown_list_is_one_sentence(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message.replace("?", r"\?")):
        published_lists.read_published_list(name)
