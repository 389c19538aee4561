"""HTTP downloads that resume a partial file."""

import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from time import sleep

from bench.config.suite import SourceFile
from bench.prepare.downloads.checksums import (
    CHUNK_BYTES,
    HEAD_BYTES,
    ByteProgress,
    FileMismatch,
    PartialFile,
    ThrottledProgress,
    error_page_type,
    published_hash,
    require_size,
)
from bench.utils.errors import first_line

TIMEOUT = 60.0  # seconds without a byte
RETRY_DELAYS = (1.0, 4.0, 15.0)  # seconds, after attempts that brought no byte
TRANSIENT_STATUSES = (408, 425, 429, 500, 502, 503, 504)  # HTTP statuses worth a retry
USER_AGENT = "vit-peft-bench (+urllib)"
UNKNOWN_SIZE = 2**63


class Unavailable(Exception):
    """An address does not provide the file; another may."""


class TransferInterrupted(Exception):
    """A transfer ended early; a retry may help."""


def download(part: PartialFile, url: str, progress: ByteProgress) -> None:
    """Complete `part` from `url`; raise `Unavailable`, with the bytes so far kept in `part`."""
    part.truncate(part.file.bytes or UNKNOWN_SIZE)
    if part.size == part.file.bytes > 0:
        return
    meter = ThrottledProgress(progress, part.file.name, part.size, part.file.bytes)
    fruitless = 0
    while True:
        before = part.size
        try:
            _request_once(part, url, meter)
            break
        except TransferInterrupted as error:
            fruitless = 0 if part.size > before else fruitless + 1
            if fruitless > len(RETRY_DELAYS):
                raise Unavailable(f"{error} ({fruitless} times in a row)") from None
            sleep(RETRY_DELAYS[max(fruitless - 1, 0)])
    meter.end(part.size)


def _request_once(
    part: PartialFile, url: str, meter: ThrottledProgress, whole: bool = False
) -> None:
    """Send one request, for the missing range if the server supports it, else for the file."""
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
    """Return headers that request the missing range.

    With If-Range, a server whose file has changed sends all of it. Without an ETag or a date, as
    on another mirror, the range is only requested if the card's hash can verify the result.
    """
    if not part.size:
        return {}
    headers, origin = {"Range": f"bytes={part.size}-"}, part.origin()
    etag = origin.get("etag", "")
    validator = (etag if etag.startswith('"') else "") or origin.get("modified", "")
    if validator and origin.get("url") == url:
        return {**headers, "If-Range": validator}
    return headers if published_hash(part.file)[0] else {}


def _is_same_copy(response: http.client.HTTPResponse, headers: dict[str, str]) -> bool:
    """Return whether a range is of the same file as before: some servers ignore If-Range."""
    etag = headers.get("If-Range", "")
    return bool(headers) and (etag[:1] != '"' or response.headers.get("ETag", etag) == etag)


def _write_response(
    part: PartialFile, url: str, response: http.client.HTTPResponse, meter: ThrottledProgress
) -> None:
    """Write a response to `part`; its range may overlap with the bytes already there."""
    at, total = _start_offset(response), _total_size(response)
    if at > part.size:
        raise Unavailable(f"it sent what follows byte {at:,}, when asked for {part.size:,}")
    chunks = _read_chunks(response, (total or UNKNOWN_SIZE) - at)
    first = next(chunks, b"")
    _require_plausible(part.file, total, b"" if at else first)
    meter.total = total or part.file.bytes
    validators = {
        "etag": response.headers["ETag"] or "",
        "modified": response.headers["Last-Modified"] or "",
    }
    for chunk in chain([first], chunks):
        if at + len(chunk) > (part.file.bytes or UNKNOWN_SIZE):
            raise Unavailable(f"it sent more than {part.file.bytes:,} bytes")
        part.write(at, chunk, {"url": url, **validators})
        at += len(chunk)
        meter(part.size)
    expected = total or part.file.bytes or 1
    if at < expected:
        raise TransferInterrupted(f"it ended after {at:,} of {expected:,} bytes")
    part.truncate(at)


def _require_plausible(file: SourceFile, total: int, head: bytes) -> None:
    """Raise `Unavailable` if a response cannot be `file`, before any of it is written."""
    page = error_page_type(file.name, head)
    if page and not total:
        raise Unavailable(f"it sent {page} (an error page?)")
    try:
        if total:
            require_size(file, total, head)
    except FileMismatch as error:
        raise Unavailable(str(error)) from None


def _read_chunks(response: http.client.HTTPResponse, left: int) -> Iterator[bytes]:
    """Yield bytes as they arrive, so that none are lost when the connection breaks."""
    read: Callable[[int], bytes] = response.read  # waits for the whole head, to recognise a page
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
    match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(match[1]) if match and response.status == 206 else 0


def _total_size(response: http.client.HTTPResponse) -> int:
    """Return the size of the whole file; 0 if the server does not send it."""
    if response.status == 200:
        length = response.headers.get("Content-Length", "")
        return int(length) if length.isdecimal() else 0
    match = re.search(r"/(\d+)$", response.headers.get("Content-Range", ""))
    return int(match[1]) if match else 0


class _RangeErrorAsResponse(urllib.request.HTTPErrorProcessor):
    """Handles status 416 as a response, since the partial file may be complete."""

    def http_response(self, request, response):  # type: ignore[no-untyped-def]
        return response if response.status == 416 else super().http_response(request, response)

    https_response = http_response


def _open_url(url: str, headers: dict[str, str]) -> http.client.HTTPResponse:
    """Request a URL; neither it nor redirections may use a scheme other than http and https."""
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
    """Turn network errors into `TransferInterrupted`, or `Unavailable` if a retry cannot help."""
    try:
        yield
    except urllib.error.HTTPError as error:
        with error:
            kind = TransferInterrupted if error.code in TRANSIENT_STATUSES else Unavailable
            reason = str(error.reason).partition("\n")[0]
            raise kind(f"HTTP {error.code} {reason}".strip()) from None
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
