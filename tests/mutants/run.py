"""Put the faults into a copy of the code one at a time, and say which of them no test notices.

``tox -e mutants``, or ``tox -e mutants -- trainer views`` for subjects whose names contain a word.
"""

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tabulate import tabulate

from mutants import catalogue
from mutants.catalogue import Fault
from mutants.copies import FAILED, PASSED, Job, Result, copied, done, preload

KILLED, SURVIVED, BAD = "killed", "survived", "bad"
PATIENCE, LEAST = 5, 120.0  # a run is ended after so many times the unchanged one; seconds
HOUR = 3600.0


@dataclass(frozen=True)
class Verdict:
    """The result of a fault: whether a test noticed it."""

    fault: Fault
    kind: str  # KILLED, SURVIVED or BAD
    seconds: float
    why: str = ""  # of a bad one


def judged(chosen: Sequence[Fault]) -> Iterator[Verdict]:
    """The verdict on each fault, as they come; first every test named must pass without any."""
    fitting = []
    for fault in chosen:
        try:
            fitting.append((fault, fault.applied()))
        except ValueError as error:
            yield Verdict(fault, BAD, 0.0, f"does not apply: {error}")
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copies = [copied(Path(folder, str(number), "checkout")) for number in range(cores())]
        preload()
        usual = unchanged(copies, {test for fault, _ in fitting for test in fault.tests})
        sound = [one for one in fitting if usual.keys() >= set(one[0].tests)]
        for fault in (fault for fault, _ in fitting if not usual.keys() >= set(fault.tests)):
            yield Verdict(fault, BAD, 0.0, "its tests fail without it")
        jobs = [_job(fault, faulty, usual) for fault, faulty in sound]
        for number, result in done(jobs, copies):
            yield verdict(sound[number][0], result)


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2


def unchanged(copies: Sequence[Path], tests: set[str]) -> dict[str, float]:
    """The seconds of each test file without any fault; says which fail, and leaves them out."""
    jobs = [Job((test,), HOUR) for test in sorted(tests)]
    usual = {}
    for number, result in done(jobs, copies):
        (test,) = jobs[number].tests
        if result.status != PASSED:
            print(f"{test} fails without any fault:\n{result.said}", flush=True)
            continue
        usual[test] = result.seconds
        print(f"unchanged{result.seconds:6.1f} s  {test}", flush=True)
    return usual


def _job(fault: Fault, faulty: str, usual: Mapping[str, float]) -> Job:
    limit = max(LEAST, PATIENCE * sum(usual[test] for test in fault.tests))
    return Job(fault.tests, limit, fault.file, faulty)


def verdict(fault: Fault, result: Result) -> Verdict:
    """The verdict on a fault after a run of its tests."""
    kind = {PASSED: SURVIVED, FAILED: KILLED}.get(result.status, BAD)
    last = " / ".join(result.said.strip().splitlines()[-3:])
    return Verdict(fault, kind, result.seconds, f"no test could run: {last}" if kind == BAD else "")


def table(verdicts: Sequence[Verdict]) -> str:
    """A line a subject, and one for all."""
    names = dict.fromkeys(sorted(verdict.fault.subject for verdict in verdicts))
    parts = {name: [v for v in verdicts if v.fault.subject == name] for name in names}
    lines = [_line(name, part) for name, part in [*parts.items(), ("all", verdicts)]]
    return tabulate(lines, ("subject", "faults", "killed", "survived", "seconds"), "pipe")


def _line(name: str, part: Sequence[Verdict]) -> list[object]:
    kinds = [verdict.kind for verdict in part]
    seconds = round(sum(verdict.seconds for verdict in part))
    return [name, len(part), kinds.count(KILLED), kinds.count(SURVIVED), seconds]


def main(words: Sequence[str]) -> int:
    """Judge the faults of the subjects that contain one of the words; of all, without any."""
    known = catalogue.subjects()
    names = [name for name in known if not words or any(word in name for word in words)]
    if not names:
        raise SystemExit(f"no subject is called like that; there are {', '.join(known)}")
    found = []
    for one in judged([fault for name in names for fault in catalogue.faults(name)]):
        found.append(one)
        print(f"{one.kind:9}{one.seconds:6.1f} s  {_named(one)}", flush=True)
    print(f"\n{table(found)}\n")
    wrong = [one for one in found if one.kind != KILLED]
    for one in wrong:
        print(f"{one.kind}: {_named(one)}. {one.why}".rstrip())
    return 1 if wrong else 0


def _named(one: Verdict) -> str:
    return f"{one.fault.subject}: {one.fault.says}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
