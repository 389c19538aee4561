"""The papers that the methods' files cite, read without importing them."""

import subprocess
import sys

import methods
from bench.papers.method_sources import source_of
from support import paths


def test_every_method_of_the_project_has_a_source() -> None:
    missing = [name for name in methods.names() if source_of(name) is None]
    assert [name for name in missing if not methods.code(name)] == []


def test_a_name_made_at_import_has_the_source_of_its_file() -> None:
    found = source_of("spt_deep_mean")
    assert found
    assert list(found.papers) == ["https://arxiv.org/abs/2402.02382"]
    assert "https" not in found.text


def test_a_family_of_several_papers_names_them_all() -> None:
    found = source_of("adaptformer")
    assert found
    assert {"https://arxiv.org/abs/1902.00751", "https://arxiv.org/abs/2205.13535"} <= set(
        found.papers
    )


def test_a_method_without_a_paper_has_a_text_alone() -> None:
    found = source_of("full")
    assert found
    assert found.text.startswith("Full fine-tuning")
    assert found.papers == {}


def test_a_strangers_method_has_none() -> None:
    assert source_of("mine") is None


def test_torch_stays_out() -> None:
    code = (
        "import sys; from bench.papers.method_sources import source_of; source_of('lora');"
        "assert not {'torch', 'methods', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=paths.REPO_ROOT)
