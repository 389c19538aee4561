"""A benchmark of parameter-efficient fine-tuning methods for Vision Transformers.

The functions that the command line calls, for use from Python (docs/how_to/python.md):

    >>> request = bench.Request(suite="mini", methods=["vpt_deep"], tasks=["digits"])
    >>> bench.run(request, results="demo", options=bench.RunOptions(workers=0))
    >>> [record.outcome.accuracy for record in bench.load_records("demo")]

Names are loaded at their first use: importing `bench` imports neither torch nor pandas.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.execution.fitting import FittedModel, fit
    from bench.execution.progress import Reporter
    from bench.execution.request import Request, RunOptions
    from bench.execution.session import plan, run, tune
    from bench.execution.session_state import SessionPlan, SessionResult
    from bench.records.store import load_records
    from bench.report.data_frames import claims, leaderboard, load_results
    from bench.report.generate import regenerate as write_report

__all__ = [
    "FittedModel",
    "Reporter",
    "Request",
    "RunOptions",
    "SessionPlan",
    "SessionResult",
    "claims",
    "fit",
    "leaderboard",
    "load_records",
    "load_results",
    "plan",
    "run",
    "tune",
    "write_report",
]

_SOURCES = {  # name -> its module, and its name there
    "FittedModel": ("bench.execution.fitting", "FittedModel"),
    "Reporter": ("bench.execution.progress", "Reporter"),
    "Request": ("bench.execution.request", "Request"),
    "RunOptions": ("bench.execution.request", "RunOptions"),
    "SessionPlan": ("bench.execution.session_state", "SessionPlan"),
    "SessionResult": ("bench.execution.session_state", "SessionResult"),
    "claims": ("bench.report.data_frames", "claims"),
    "fit": ("bench.execution.fitting", "fit"),
    "leaderboard": ("bench.report.data_frames", "leaderboard"),
    "load_records": ("bench.records.store", "load_records"),
    "load_results": ("bench.report.data_frames", "load_results"),
    "plan": ("bench.execution.session", "plan"),
    "run": ("bench.execution.session", "run"),
    "tune": ("bench.execution.session", "tune"),
    "write_report": ("bench.report.generate", "regenerate"),
}


def __getattr__(name: str) -> Any:
    """Load a name of the API (PEP 562)."""
    if name not in _SOURCES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, own_name = _SOURCES[name]
    return getattr(import_module(module), own_name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
