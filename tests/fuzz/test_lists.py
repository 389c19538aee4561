"""Lists of images and image files: what cannot be learned from is a sentence, before compute."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support import tiny
from support.fuzzing import cards, commands, counts, lists, odd
from support.fuzzing.profiles import examples
from support.fuzzing.sandbox import Sandbox

COMMANDS = (("run", *cards.DRY), ("data", "check", *cards.ON_DISK), ("data", "check", "--deep"))


def check(sandbox: Sandbox, words: tuple[str, ...]) -> None:
    """Run a command on a data folder, whose lists and links may name images anywhere."""
    where = () if "--data-root" in words else cards.ON_DISK
    options = (*where, *cards.tiny_options())
    commands.run(sandbox, *words, *options, named=[sandbox.results], names_paths=True)


@pytest.mark.parametrize("kind", ["text", "json"])
@given(st.data(), st.sampled_from(COMMANDS))
@examples(short=15, long=600)
def test_a_list_with_anything_in_it_is_read_or_refused(sandboxes, template, kind, data, words):
    lines = cards.tiny_images()
    strategy = lists.odd_lines(lines) if kind == "text" else lists.odd_json(lines)
    content = data.draw(st.one_of(strategy, odd.file_kinds) if words[0] else strategy)
    counts.add("lists")
    with cards.sandbox_of(template, sandboxes) as sandbox:
        if kind == "json":
            write_json_suite(sandbox)
        ending = "txt" if kind == "text" else "json"
        odd.put(sandbox.cards / "data" / "light" / f"train.{ending}", content, sandbox.outside)
        check(sandbox, words)


def write_json_suite(sandbox: Sandbox) -> None:
    """The tiny suite again, with lists of JSON."""
    names = {split: [f"{split}.json"] for split in ("train", "val", "test")}
    (sandbox.cards / "tiny.toml").unlink()
    tiny.suite_card(
        sandbox.cards / "tiny.toml",
        sandbox.cards / "small.toml",
        lists={**names, "trainval": ["train.json", "val.json"]},
    )
    for split in names:
        folder = sandbox.cards / "data" / "light"
        lines = (folder / f"{split}.txt").read_text(encoding="utf-8").splitlines()
        (folder / f"{split}.json").write_bytes(lists.as_json(lines))


@given(st.data(), st.integers(0, 35), st.sampled_from(COMMANDS))
@examples(short=25, long=1_000)
def test_an_image_file_with_anything_in_it_is_read_or_refused(
    sandboxes, template, data, number, words
):
    with cards.sandbox_of(template, sandboxes) as sandbox:
        path = cards.image_path(sandbox, number)
        content = data.draw(lists.odd_images(odd.Content(path.read_bytes())))
        counts.add("images")
        odd.put(path, content, sandbox.outside)
        check(sandbox, words)
