"""The ledger of parameters says of each printed count whether ours agrees, to its last digit."""

import pytest

from bench import parameters


@pytest.mark.parametrize(("off", "said"), [(0.0, "agrees"), (0.008, "agrees"), (0.02, "differs")])
def test_a_printed_count_agrees_within_a_hundredth_of_a_million(monkeypatch, off, said):
    right = parameters.in_millions("lora", "vtab1k")
    line = {"method": "lora", "label": "LoRA", "fgvc": "", "remark": ""}
    monkeypatch.setattr(parameters, "printed", lambda: [{**line, "vtab1k": f"{right + off:.4f}"}])
    cells = [cell.strip() for cell in parameters._papers().splitlines()[-1].split("|")]
    assert said in cells
    assert ({"agrees", "differs"} - {said}).isdisjoint(cells)
