"""The ledger of parameters says of each printed count whether ours agrees, to its last digit."""

import pytest

from bench.performance import parameter_counts


@pytest.mark.parametrize(("off", "said"), [(0.0, "agrees"), (0.008, "agrees"), (0.02, "differs")])
def test_a_printed_count_agrees_within_a_hundredth_of_a_million(monkeypatch, off, said):
    right = parameter_counts.mean_millions("lora", "vtab1k")
    line = {"method": "lora", "label": "LoRA", "fgvc": "", "remark": ""}
    monkeypatch.setattr(
        parameter_counts, "read_published", lambda: [{**line, "vtab1k": f"{right + off:.4f}"}]
    )
    cells = [
        cell.strip() for cell in parameter_counts._published_table().splitlines()[-1].split("|")
    ]
    assert said in cells
    assert ({"agrees", "differs"} - {said}).isdisjoint(cells)
