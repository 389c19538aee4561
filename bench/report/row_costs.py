"""Costs of the methods of a board, all on the same work: from the lines of ``cost.csv``."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from bench.report.ledger_files import WORKLOAD
from bench.report.markdown import MISSING, describe_machine

# the head of a column -> the measured value in it, and its decimals
COST_COLUMNS = {
    "step (ms)": ("train_step_ms", 1),
    "memory (MiB)": ("peak_memory_mb", 0),
    "test (ms)": ("test_batch_ms", 1),
    "merged (ms)": ("test_merged_ms", 1),
}


@dataclass(frozen=True)
class MethodCosts:
    """The measured costs of methods on one backbone, all of one batch, precision and machine."""

    by_method: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def columns(self, label: str) -> dict[str, str]:
        """Return the columns of a row: dashes for one that was not measured.

        A method with changed fields was not. Without any measured method there are no columns.
        """
        if not self.by_method:
            return {}
        line = self.by_method.get(label, {})
        return {
            head: f"{float(line[name]):.{decimals}f}" if line.get(name) else MISSING
            for head, (name, decimals) in COST_COLUMNS.items()
        }

    def sentence(self) -> str:
        """Return what the columns were measured on; empty without any."""
        for line in self.by_method.values():
            machine = describe_machine(line["device"], line["threads"])
            return (
                f"Step, memory and test: a batch of {line['batch']} in {line['precision']} on "
                f"{machine}, memory beyond what the process held before (`python -m bench cost`); "
                "merged: test with the method folded into the backbone's weights, where it can be."
            )
        return ""


def costs_on(backbone: str, lines: Iterable[Mapping[str, str]]) -> MethodCosts:
    """Return the costs on a backbone; of several workloads, those of the one of most methods."""
    workloads: dict[tuple[str, ...], dict[str, Mapping[str, str]]] = defaultdict(dict)
    for line in lines:
        if line["backbone"] == backbone:
            workloads[tuple(line[name] for name in WORKLOAD)][line["method"]] = line
    return MethodCosts(max(workloads.values(), key=len, default={}))
