"""The ledger of cost: what methods take on the same work."""

from collections.abc import Mapping, Sequence
from typing import Any

from bench.report.ledger_files import WORKLOAD
from bench.report.markdown import describe_machine, format_number

NOTE = (
    "Measured by `python -m bench cost`: medians over rounds in which the methods take turns, on "
    "one batch of noise. Memory is measured in a separate process, beyond what that process held "
    "before. Stored: the size of an `export` with a head of 10 classes. Compare times only within "
    "one machine."
)


def method_costs(measured: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Return a line per method, with images per second and times relative to the cheapest step."""
    import pandas as pd

    if not measured:
        return []
    table = pd.DataFrame(measured)
    table["step"] = table["train_step_ms"].astype(float)
    table["cheapest"] = table.groupby(list(WORKLOAD))["step"].transform("min")
    ordered = table.sort_values([*WORKLOAD, "step"], kind="stable")
    return [_cost_columns(line) for line in ordered.to_dict("records")]


def _cost_columns(line: Mapping[Any, Any]) -> dict[str, str]:
    machine, merged = describe_machine(line["device"], line["threads"]), line.get("test_merged_ms")
    return {
        "backbone": line["backbone"],
        "machine": f"{machine}, {line['precision']}",
        "method": line["method"],
        "batch": line["batch"],
        "step (ms)": f"{line['step']:.1f}",
        "to the cheapest": f"{line['step'] / line['cheapest']:.2f}",
        "images/s, training": _images_per_second(line, "train_step_ms"),
        "images/s, test": _images_per_second(line, "test_batch_ms"),
        "test, merged (ms)": format_number(float(merged) if merged else None, 1),
        "peak memory (MiB)": f"{float(line['peak_memory_mb']):.0f}",
        "stored (bytes)": f"{int(line['stored_bytes']):,}",
    }


def _images_per_second(line: Mapping[Any, Any], name: str) -> str:
    return f"{1000 * int(line['batch']) / float(line[name]):.0f}"
