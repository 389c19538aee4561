"""Paths of the checkout that tests read."""

from bench.utils.files import REPO_ROOT

TESTS = REPO_ROOT / "tests"
GOLDEN = TESTS / "golden"
FAULTY_METHODS = TESTS / "support" / "faulty_methods.py"
