"""The catalogue of faults for ``tox -e mutants``: each applies in exactly one place."""

import pytest

from mutants import catalogue
from mutants.catalogue import Fault
from mutants.copies import Result
from mutants.run import BAD, KILLED, SURVIVED, Verdict, table, verdict

FAULTS = [fault for subject in catalogue.subjects() for fault in catalogue.faults(subject)]
SUBJECTS = {
    *("trainer", "runner", "data", "views", "methods", "initialisation", "parameters"),
    *("features", "tuning", "resume", "statistics", "tables", "claims", "import", "merge"),
}


@pytest.mark.parametrize("subject", catalogue.subjects())
def test_every_fault_applies_and_its_tests_are_there(subject):
    for fault in catalogue.faults(subject):
        assert fault.applied() != (catalogue.ROOT / fault.file).read_text(encoding="utf-8")
        assert fault.tests
        assert fault.lacking() == [], fault.says


def test_there_are_faults_for_every_subject_and_a_hundred_at_the_least():
    assert set(catalogue.subjects()) >= SUBJECTS
    assert len(FAULTS) >= 100


def test_no_fault_stands_twice():
    sentences = [(fault.subject, fault.says) for fault in FAULTS]
    changes = [(fault.file, fault.find, fault.put) for fault in FAULTS]
    assert len(set(sentences)) == len(set(changes)) == len(FAULTS)


def fault(find: str, put: str = "") -> Fault:
    return Fault(
        "trainer",
        "it is wrong",
        "bench/training/trainer.py",
        find,
        put,
        ("training/test_trainer.py",),
    )


@pytest.mark.parametrize(
    ("find", "put", "says"),
    [
        ("no such text", "", "has the text 0 times, not once"),
        ("import", "", r"has the text \d+ times, not once"),
        ("def fit(", "def fit((", "cannot be parsed"),
    ],
)
def test_a_fault_that_cannot_be_put_in_says_why(find, put, says):
    with pytest.raises(ValueError, match=says):
        fault(find, put).applied()


def test_a_test_file_that_is_not_there_is_named():
    there = "training/test_trainer.py::test_a_peak_below_the_floor_stays"
    named = Fault("trainer", "", "", "", "", (there, "test_gone.py"))
    assert named.lacking() == ["test_gone.py"]


@pytest.mark.parametrize(
    ("status", "kind"), [(0, SURVIVED), (1, KILLED), (2, BAD), (4, BAD), (5, BAD), (70, BAD)]
)
def test_what_keeps_tests_from_running_is_no_kill(status, kind):
    """2: a file could not be collected; 4: bad usage; 5: no test; 70: the harness itself."""
    found = verdict(FAULTS[0], Result(status, "ImportError: no such name\n1 error", 1.0))
    assert found.kind == kind
    assert ("no test could run: ImportError" in found.why) == (kind == BAD)


def test_the_table_counts_by_subject():
    kinds = [Verdict(FAULTS[0], KILLED, 1.4), Verdict(FAULTS[0], SURVIVED, 2.0)]
    lines = [line.strip("|").split("|") for line in table(kinds).splitlines()]
    cells = [[cell.strip() for cell in line] for line in lines]
    assert cells[0] == ["subject", "faults", "killed", "survived", "seconds"]
    assert cells[2:] == [[FAULTS[0].subject, "2", "1", "1", "3"], ["all", "2", "1", "1", "3"]]
