"""The request and the run options that a command's parsed options make."""

import argparse

from bench.execution import request
from bench.training import devices


def request_of(args: argparse.Namespace) -> "request.Request":
    """Return the request that the options make, of `add_selection`, `add_study`, `add_tuning`."""
    return request.Request(
        suite=args.suite,
        methods=args.methods,
        backbones=args.backbones,
        tasks=args.tasks,
        seeds=args.seeds,
        recipe=args.recipe,
        changes=dict(args.changes) | ({"tuning.halving": True} if args.halving else {}),
        root=args.data_root,
        variant=args.variant,
        device=_device(args.device, getattr(args, "executor", "local")),
        tune=getattr(args, "tune", None),
        plugins=list(map(str, args.plugins)),
        study=getattr(args, "study", None),
        quick=getattr(args, "quick", False),
    )


def _device(name: str | None, executor: str) -> str:
    """Return a device of this machine, unless it is named for the machines of a cluster."""
    return name if name and executor in ("ray", "slurm") else devices.resolve_device(name)


def run_options_of(args: argparse.Namespace) -> "request.RunOptions":
    """Return what the options of `add_run_options` say."""
    return request.RunOptions(
        executor=args.executor,
        workers=args.workers,
        per_gpu=args.per_gpu,
        processes=args.processes,
        trials_per_pass=args.trials_per_pass,
        timeout=args.timeout,
        checkpoint_every=args.checkpoint_every,
        retries=args.retry,
        fail_fast=args.fail_fast,
        force=args.force,
        only=args.only,
        limit_cells=args.limit_cells,
        deterministic=args.deterministic,
        tensorboard=args.tensorboard,
        address=args.address,
        slurm=dict(args.slurm),
        plugins=args.plugins,
    )
