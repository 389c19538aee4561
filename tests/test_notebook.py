"""The notebook runs as it is committed; its outputs are those of an execution.

After a change: ``jupyter execute --inplace docs/how_to/first_comparison.ipynb``.
"""

from importlib.util import find_spec
from pathlib import Path

import pytest

from bench.utils.files import REPO_ROOT

if not all(map(find_spec, ("nbclient", "nbformat", "ipykernel"))):
    pytest.skip("nbclient is missing: pip install -e '.[dev]'", allow_module_level=True)

import nbformat
from nbclient import NotebookClient

PATH = REPO_ROOT / "docs" / "how_to" / "first_comparison.ipynb"


def kinds_of_outputs(notebook: nbformat.NotebookNode) -> list[list[str]]:
    """Of each cell of code, whether it printed text or showed a value."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [[output.output_type for output in cell.outputs] for cell in cells]


@pytest.mark.long
def test_the_notebook_runs_and_was_committed_after_a_run(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PYTHONPATH", str(REPO_ROOT))
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")  # progress bars warn without widgets
    committed = nbformat.read(PATH, as_version=4)
    fresh = nbformat.read(PATH, as_version=4)
    folder = {"metadata": {"path": str(PATH.parent)}}
    NotebookClient(fresh, timeout=600, kernel_name="python3", resources=folder).execute()
    assert kinds_of_outputs(fresh) == kinds_of_outputs(committed)
    counts = [cell.execution_count for cell in committed.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))


def test_the_notebook_names_no_folder_of_a_machine():
    text = Path(PATH).read_text(encoding="utf-8")
    assert not any(f"/{name}/" in text for name in ("work", "tmp", "root", "home"))
