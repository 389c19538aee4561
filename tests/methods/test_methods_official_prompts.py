"""Scores and gradients of prompt methods after SPT are those of their official code.

`golden/official/` holds numbers alone, each with the repository and commit that gave them for the
weights and images of `support.seeded_models`.
"""

import json

import pytest
import torch

import methods
from support import seeded_models
from support.paths import GOLDEN

FILES = "vfpt", "bpt", "cvpt", "vapt", "sa2vp"
CASES = {
    label: case
    for file in FILES
    for label, case in json.loads(
        (GOLDEN / "official" / f"{file}.json").read_text(encoding="utf-8")
    ).items()
}


@pytest.mark.parametrize("label", CASES)
def test_scores_and_gradients_are_those_of_the_official_code(label):
    case = CASES[label]
    method = methods.create(case["method"], **case["fields"])
    model = seeded_models.adapted(method, case.get("pooling", "token"))
    found = seeded_models.outputs(model, method)
    assert found.keys() == case["outputs"].keys()
    for name, numbers in case["outputs"].items():
        wanted = torch.tensor(numbers, dtype=torch.float64)
        near = 1e-9 * float(wanted.abs().max())
        torch.testing.assert_close(
            torch.tensor(found[name], dtype=torch.float64),
            wanted,
            rtol=0,
            atol=near,
            msg=lambda said, name=name: f"{name}: {said}",
        )
