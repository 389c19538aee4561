"""Cases of methods, of which only some are run where the long tests are not."""

from collections.abc import Sequence
from typing import Any

import pytest

OF_EACH_KIND = {
    *("adaptformer", "bi_lora", "da_vpt", "full", "gatevpt", "gps", "linear", "lora", "mlp3"),
    *("pace_lora", "peft_adalora", "sidetune", "spt_deep_kmeans", "ssf", "vpt_deep", "vqt"),
}


def one_of_each_kind(names: Sequence[str]) -> list[Any]:
    """The names as cases; those that represent no kind of method are long."""
    return [
        name if name in OF_EACH_KIND else pytest.param(name, marks=pytest.mark.long)
        for name in names
    ]
