"""Errors of archives: whatever a library raises is one sentence that names the archive."""

import zlib
from pathlib import Path

import pytest

from bench.prepare.archive_contents import archive_errors, parse_errors
from bench.utils.errors import UserError

ERRORS = [
    EOFError(),
    zlib.error("x\ny"),
    RecursionError("deep"),
    NotImplementedError("that"),
    UnicodeDecodeError("a", b"", 0, 1, ""),
    OverflowError("too large"),
    IndexError(),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("context", [archive_errors, parse_errors])
def test_what_a_library_raises_is_one_sentence(error, context):
    with pytest.raises(UserError, match=r"^x\.zip is [^\n]*$"), context(Path("x.zip")):
        raise error


def test_a_file_that_cannot_be_opened_is_not_called_broken():
    says = r"^x\.zip cannot be read: Permission denied$"
    with pytest.raises(UserError, match=says), archive_errors(Path("x.zip")):
        raise PermissionError(13, "Permission denied", "x.zip")
