"""The bytes at an address, added to the part of a file that is had."""

import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from time import sleep

from bench.config.source import SourceFile
from bench.prepare.downloads.checksums import (
    CHUNK_BYTES,
    HEAD_BYTES,
    ByteProgress,
    FileMismatch,
    ThrottledProgress,
    error_page_type,
    published_hash,
    require_size,
)
from bench.prepare.downloads.partial_file import PartialFile
from bench.utils.errors import first_line

TIMEOUT = 60.0  # seconds without a byte
RETRY_DELAYS = (
    1.0,
    4.0,
    15.0,
)  # seconds before it is tried again, where an attempt brought nothing
TRANSIENT_STATUSES = (
    408,
    425,
    429,
    500,
    502,
    503,
    504,
)  # HTTP statuses that may be gone a moment later
USER_AGENT = "vit-peft-bench (+urllib)"
UNKNOWN_SIZE = 2**63


class Unavailable(Exception):
    """This address does not give the file; another may."""


class TransferInterrupted(Exception):
    """The transfer ended before the file did; trying again may help."""


def download(part: PartialFile, url: str, progress: ByteProgress) -> None:
    """Grow `part` to the file at `url`; raises `Refused`, with what was had still in `part`."""
    part.truncate(part.file.bytes or UNKNOWN_SIZE)
    if part.size == part.file.bytes > 0:
        return
    meter = ThrottledProgress(progress, part.file.name, part.size, part.file.bytes)
    fruitless = 0
    while True:
        had = part.size
        try:
            _request_once(part, url, meter)
            break
        except TransferInterrupted as cut:
            fruitless = 0 if part.size > had else fruitless + 1
            if fruitless > len(RETRY_DELAYS):
                raise Unavailable(f"{cut} ({fruitless} times in a row)") from None
            sleep(RETRY_DELAYS[max(fruitless - 1, 0)])
    meter.end(part.size)


def _request_once(
    part: PartialFile, url: str, meter: ThrottledProgress, whole: bool = False
) -> None:
    """One request, for what is missing where the server may give that, else for all."""
    headers = {} if whole else _range_headers(part, url)
    with _open_url(url, headers) as response:
        complete = response.status == 416 and _total_size(response) == part.size
        fits = response.status == 200 or (
            response.status == 206 and _is_same_copy(response, headers)
        )
        if fits:
            _write_response(part, url, response, meter)
    if not (fits or complete):
        if not headers:
            raise Unavailable(f"HTTP {response.status}")
        _request_once(part, url, meter, whole=True)


def _range_headers(part: PartialFile, url: str) -> dict[str, str]:
    """The headers that ask for what is missing.

    A server's mark makes it send all where its file changed. Without one, as on another mirror,
    only a hash on the card can tell whether the two ends belong together.
    """
    if not part.size:
        return {}
    asked, origin = {"Range": f"bytes={part.size}-"}, part.origin()
    etag = origin.get("etag", "")
    mark = (etag if etag.startswith('"') else "") or origin.get("modified", "")
    if mark and origin.get("url") == url:
        return {**asked, "If-Range": mark}
    return asked if published_hash(part.file)[0] else {}


def _is_same_copy(response: http.client.HTTPResponse, headers: dict[str, str]) -> bool:
    """Whether a range is of the copy that was asked for: some servers know no If-Range."""
    mark = headers.get("If-Range", "")
    return bool(headers) and (mark[:1] != '"' or response.headers.get("ETag", mark) == mark)


def _write_response(
    part: PartialFile, url: str, response: http.client.HTTPResponse, meter: ThrottledProgress
) -> None:
    """Write what a response brings; it may begin before the end of what is had."""
    at, total = _start_offset(response), _total_size(response)
    if at > part.size:
        raise Unavailable(f"it sent what follows byte {at:,}, when asked for {part.size:,}")
    chunks = _read_chunks(response, (total or UNKNOWN_SIZE) - at)
    first = next(chunks, b"")
    _require_plausible(part.file, total, b"" if at else first)
    meter.total = total or part.file.bytes
    marks = {
        "etag": response.headers["ETag"] or "",
        "modified": response.headers["Last-Modified"] or "",
    }
    for chunk in chain([first], chunks):
        if at + len(chunk) > (part.file.bytes or UNKNOWN_SIZE):
            raise Unavailable(f"it sent more than {part.file.bytes:,} bytes")
        part.write(at, chunk, {"url": url, **marks})
        at += len(chunk)
        meter(part.size)
    wanted = total or part.file.bytes or 1
    if at < wanted:
        raise TransferInterrupted(f"it ended after {at:,} of {wanted:,} bytes")
    part.truncate(at)


def _require_plausible(file: SourceFile, total: int, begins: bytes) -> None:
    """Raise `Refused` where what is to come cannot be `file`: before any of it is kept."""
    page = error_page_type(file.name, begins)
    if page and not total:
        raise Unavailable(f"it sent {page} (an error page?)")
    try:
        if total:
            require_size(file, total, begins)
    except FileMismatch as error:
        raise Unavailable(str(error)) from None


def _read_chunks(response: http.client.HTTPResponse, left: int) -> Iterator[bytes]:
    """What arrives, as it arrives: what came before a break is not lost with it."""
    read: Callable[[int], bytes] = response.read  # the first are waited for: they tell a page
    size = HEAD_BYTES
    while left > 0:
        with _network_errors():
            chunk = read(min(size, left))
        if not chunk:
            return
        yield chunk
        left -= len(chunk)
        read, size = response.read1, CHUNK_BYTES


def _start_offset(response: http.client.HTTPResponse) -> int:
    found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(found[1]) if found and response.status == 206 else 0


def _total_size(response: http.client.HTTPResponse) -> int:
    """The size of the whole file, or 0 where the server does not say."""
    if response.status == 200:
        length = response.headers.get("Content-Length", "")
        return int(length) if length.isdecimal() else 0
    found = re.search(r"/(\d+)$", response.headers.get("Content-Range", ""))
    return int(found[1]) if found else 0


class _RangeErrorAsResponse(urllib.request.HTTPErrorProcessor):
    """416 is an answer like another: what is had may be all."""

    def http_response(self, request, response):  # type: ignore[no-untyped-def]
        return response if response.status == 416 else super().http_response(request, response)

    https_response = http_response


def _open_url(url: str, headers: dict[str, str]) -> http.client.HTTPResponse:
    """The response to a request; neither it nor a redirection leaves http and https."""
    if not url.startswith(("http://", "https://")):
        raise Unavailable("only http and https are spoken")
    director = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.UnknownHandler,
        _RangeErrorAsResponse,
    ):
        director.add_handler(handler())
    with _network_errors():
        request = urllib.request.Request(url, headers={"User-Agent": USER_AGENT, **headers})
        response: http.client.HTTPResponse = director.open(request, timeout=TIMEOUT)
    return response


@contextmanager
def _network_errors() -> Iterator[None]:
    """What a network's failures mean for the transfer."""
    try:
        yield
    except urllib.error.HTTPError as error:
        with error:
            kind = TransferInterrupted if error.code in TRANSIENT_STATUSES else Unavailable
            said = str(error.reason).partition("\n")[0]
            raise kind(f"HTTP {error.code} {said}".strip()) from None
    except (http.client.HTTPException, OSError) as error:
        raise TransferInterrupted(_describe_error(error)) from None
    except ValueError as error:
        raise Unavailable(f"no address: {first_line(error)}") from None


def _describe_error(error: Exception) -> str:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, TimeoutError):
        return f"no byte for {TIMEOUT:g} s"
    if isinstance(reason, http.client.IncompleteRead):
        return "it ended early"
    text = reason.strerror if isinstance(reason, OSError) else ""
    return text or str(reason).partition("\n")[0] or type(reason).__name__
