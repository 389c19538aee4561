"""`check-method`, for registered methods and for those of plug-ins."""

import pytest

from bench.cli.main import main
from bench.models import method_checks
from support.tiny import command


@pytest.mark.long
def test_check_method_names_each_promise(capsys):
    assert main(["check-method", "linear"]) == 0
    said = capsys.readouterr().out
    assert len(said.splitlines()) == len(method_checks.CHECKS)
    assert "kept   The head learns." in said


def test_check_method_shows_what_a_method_breaks(capsys):
    assert main(["check-method", "adapter_vpt2022"]) == 1
    assert "broken Frozen weights stay and every trainable one moves" in capsys.readouterr().out


def test_check_method_names_near_ones(capsys):
    assert main(["check-method", "lroa"]) == 2
    assert "did you mean" in capsys.readouterr().err


PLUGIN = '''
"""A method of a user's own."""
from dataclasses import dataclass
from methods import Method, register

@dataclass(frozen=True)
class Norms(Method):
    blocks: int = 1

    def attach(self, model):
        for block in model.blocks[-self.blocks:]:
            block.norm1.requires_grad_(True)

register("{name}", Norms())
'''


def test_a_plug_in_s_method_is_run_and_checked_like_any(cards, tmp_path, capsys):
    file = tmp_path / "norms.py"
    file.write_text(PLUGIN.format(name="my_norms"), encoding="utf-8")
    assert main(["check-method", "my_norms", "--plugin", str(file)]) == 0


def test_a_plug_in_s_method_gets_a_record(cards, tmp_path):
    file = tmp_path / "norms.py"
    file.write_text(PLUGIN.format(name="other_norms"), encoding="utf-8")
    words = command("run", cards, tmp_path / "results", "other_norms", "--plugin", str(file))
    assert main(words) == 0
    assert list((tmp_path / "results").rglob("other_norms-seed0-*.json"))


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("def broken(:\n", "SyntaxError"),
        (PLUGIN.format(name="linear"), "'linear' is taken"),
        ("x = 1\n", "registers no method"),
        (None, "is not a Python file that is there"),
    ],
)
def test_a_broken_plug_in_is_named_and_the_rest_works(content, sentence, tmp_path, capsys):
    file = tmp_path / "broken.py"
    if content:
        file.write_text(content, encoding="utf-8")
    assert main(["check-method", "linear", "--plugin", str(file)]) == 0
    assert sentence in capsys.readouterr().err
