"""Check whether this machine can run what is selected, and estimate how long it takes."""

import argparse
from collections.abc import Iterator
from pathlib import Path

from bench.cli import options, requests
from bench.cli.common import BAD_INPUT, print_error, print_lines
from bench.cli.parsing import Parser
from bench.config import search_space
from bench.execution import plan, readiness, request, resolution, workload
from bench.models import backbones
from bench.performance import first_steps
from bench.utils import errors, text

EXAMPLES = (
    "doctor",
    "doctor --suite vtab1k --tasks svhn,dtd --methods lora,vpt_deep",
    "doctor --suite my.toml --data-root /data --no-steps",
)


def add_options(parser: Parser) -> None:
    options.add_selection(parser)
    options.add_results(parser)
    options.add_tuning(parser)
    options.add_plugins(parser)
    parser.add_argument(
        "--no-steps",
        action="store_true",
        help="skip the training steps, and with them the estimate of hours",
    )


def run(args: argparse.Namespace) -> int:
    asked = requests.request_of(args)
    resolved = resolution.resolve_names(asked)
    is_tuned = plan.wants_tuning(asked)
    failed: list[str] = []
    here: dict[str, backbones.Backbone] = {}
    print_lines(_count_failed(_machine(resolved, is_tuned, args.results, here), failed))
    if not args.no_steps:
        print_lines(_count_failed(_steps(resolved, is_tuned, here), failed))
    if failed:
        return print_error(f"not ready: {', '.join(failed)}", BAD_INPUT)
    return 0


def _count_failed(findings: "Iterator[readiness.Finding]", failed: list[str]) -> Iterator[str]:
    """Yield a line for each finding; the subjects of failures are appended to `failed`."""
    for found in findings:
        if found.level == "fail":
            failed.append(found.subject)
        yield f"{found.level:5} {found.subject}: {found.text}"


def _machine(
    resolved: "resolution.ResolvedRequest",
    is_tuned: bool,
    results: Path,
    here: "dict[str, backbones.Backbone]",
) -> "Iterator[readiness.Finding]":
    """Yield what this machine provides; the backbones found are added to `here`."""
    pairs = [*([request.TRIAL_SPLITS] if is_tuned else []), request.FINAL_SPLITS]
    yield from readiness.check_versions()
    yield from readiness.check_device(resolved)
    trials = search_space.trial_budget(resolved.recipe) if is_tuned else 0
    yield from readiness.check_results(results, resolved.num_cells() * (1 + trials))
    yield from readiness.check_weights(resolved, here)
    yield from readiness.check_data(resolved, pairs)


def _steps(
    resolved: "resolution.ResolvedRequest", is_tuned: bool, here: "dict[str, backbones.Backbone]"
) -> "Iterator[readiness.Finding]":
    """Yield the cost of a step of each method, and the time of all its runs."""
    classes, total = max(task.classes for task in resolved.tasks), 0.0
    for name, backbone in sorted(here.items()):
        for method in resolved.methods:
            built, lr = resolved.build_method(method), resolved.recipe.rates(method)["lr"]
            cost = first_steps.measure(
                backbone, built, resolved.recipe, lr, classes, resolved.request.device
            )
            subject = f"{method} on {name}"
            if isinstance(cost, str):
                is_refusal = cost.startswith(first_steps.NOT_APPLICABLE)
                yield readiness.Finding("note" if is_refusal else "fail", subject, cost)
                continue
            try:
                work = workload.workload(resolved, method, is_tuned)
            except errors.UserError:  # the check of data has named it
                yield readiness.Finding("ok", subject, f"{cost}; without data no hours")
                continue
            seconds = cost.seconds_of(work.train_steps, work.test_batches)
            total += seconds
            runs = f"{work.trials:,} trials and " if is_tuned else ""
            line = f"{cost}; {runs}{work.finals:,} runs in {text.format_duration(seconds)}"
            yield readiness.Finding("ok", subject, line)
    if total:
        line = f"about {text.format_duration(total)}, one run at a time; reading images and"
        yield readiness.Finding("ok", "all", f"{line} initialisation come on top")
