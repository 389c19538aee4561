"""The bytes at an address, added to the part of a file that is had."""

import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from time import sleep

from bench.errors import first_line
from bench.prepare.downloads.part import Part
from bench.prepare.downloads.verifying import (
    CHUNK,
    HEAD,
    Meter,
    Progress,
    Wrong,
    page_type,
    published,
    require_size,
)
from bench.sources import File

STALL = 60.0  # seconds without a byte
DELAYS = (1.0, 4.0, 15.0)  # seconds before it is tried again, where an attempt brought nothing
PASSING = (408, 425, 429, 500, 502, 503, 504)  # HTTP statuses that may be gone a moment later
AGENT = "vit-peft-bench (+urllib)"
UNKNOWN = 2**63


class Refused(Exception):
    """This address does not give the file; another may."""


class Cut(Exception):
    """The transfer ended before the file did; trying again may help."""


def fill(part: Part, url: str, progress: Progress) -> None:
    """Grow `part` to the file at `url`; raises `Refused`, with what was had still in `part`."""
    part.cut(part.file.bytes or UNKNOWN)
    if part.size == part.file.bytes > 0:
        return
    meter = Meter(progress, part.file.name, part.size, part.file.bytes)
    fruitless = 0
    while True:
        had = part.size
        try:
            _attempt(part, url, meter)
            break
        except Cut as cut:
            fruitless = 0 if part.size > had else fruitless + 1
            if fruitless > len(DELAYS):
                raise Refused(f"{cut} ({fruitless} times in a row)") from None
            sleep(DELAYS[max(fruitless - 1, 0)])
    meter.end(part.size)


def _attempt(part: Part, url: str, meter: Meter, whole: bool = False) -> None:
    """One request, for what is missing where the server may give that, else for all."""
    headers = {} if whole else _range(part, url)
    with _asked(url, headers) as response:
        complete = response.status == 416 and _total(response) == part.size
        fits = response.status == 200 or (response.status == 206 and _same(response, headers))
        if fits:
            _pour(part, url, response, meter)
    if not (fits or complete):
        if not headers:
            raise Refused(f"HTTP {response.status}")
        _attempt(part, url, meter, whole=True)


def _range(part: Part, url: str) -> dict[str, str]:
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
    return asked if published(part.file)[0] else {}


def _same(response: http.client.HTTPResponse, headers: dict[str, str]) -> bool:
    """Whether a range is of the copy that was asked for: some servers know no If-Range."""
    mark = headers.get("If-Range", "")
    return bool(headers) and (mark[:1] != '"' or response.headers.get("ETag", mark) == mark)


def _pour(part: Part, url: str, response: http.client.HTTPResponse, meter: Meter) -> None:
    """Write what a response brings; it may begin before the end of what is had."""
    at, total = _start(response), _total(response)
    if at > part.size:
        raise Refused(f"it sent what follows byte {at:,}, when asked for {part.size:,}")
    chunks = _chunks(response, (total or UNKNOWN) - at)
    first = next(chunks, b"")
    _require_likely(part.file, total, b"" if at else first)
    meter.total = total or part.file.bytes
    marks = {
        "etag": response.headers["ETag"] or "",
        "modified": response.headers["Last-Modified"] or "",
    }
    for chunk in chain([first], chunks):
        if at + len(chunk) > (part.file.bytes or UNKNOWN):
            raise Refused(f"it sent more than {part.file.bytes:,} bytes")
        part.write(at, chunk, {"url": url, **marks})
        at += len(chunk)
        meter(part.size)
    wanted = total or part.file.bytes or 1
    if at < wanted:
        raise Cut(f"it ended after {at:,} of {wanted:,} bytes")
    part.cut(at)


def _require_likely(file: File, total: int, begins: bytes) -> None:
    """Raise `Refused` where what is to come cannot be `file`: before any of it is kept."""
    page = page_type(file.name, begins)
    if page and not total:
        raise Refused(f"it sent {page} (an error page?)")
    try:
        if total:
            require_size(file, total, begins)
    except Wrong as error:
        raise Refused(str(error)) from None


def _chunks(response: http.client.HTTPResponse, left: int) -> Iterator[bytes]:
    """What arrives, as it arrives: what came before a break is not lost with it."""
    read: Callable[[int], bytes] = response.read  # the first are waited for: they tell a page
    size = HEAD
    while left > 0:
        with _network():
            chunk = read(min(size, left))
        if not chunk:
            return
        yield chunk
        left -= len(chunk)
        read, size = response.read1, CHUNK


def _start(response: http.client.HTTPResponse) -> int:
    found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(found[1]) if found and response.status == 206 else 0


def _total(response: http.client.HTTPResponse) -> int:
    """The size of the whole file, or 0 where the server does not say."""
    if response.status == 200:
        length = response.headers.get("Content-Length", "")
        return int(length) if length.isdecimal() else 0
    found = re.search(r"/(\d+)$", response.headers.get("Content-Range", ""))
    return int(found[1]) if found else 0


class _Statuses(urllib.request.HTTPErrorProcessor):
    """416 is an answer like another: what is had may be all."""

    def http_response(self, request, response):  # type: ignore[no-untyped-def]
        return response if response.status == 416 else super().http_response(request, response)

    https_response = http_response


def _asked(url: str, headers: dict[str, str]) -> http.client.HTTPResponse:
    """The response to a request; neither it nor a redirection leaves http and https."""
    if not url.startswith(("http://", "https://")):
        raise Refused("only http and https are spoken")
    director = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.UnknownHandler,
        _Statuses,
    ):
        director.add_handler(handler())
    with _network():
        request = urllib.request.Request(url, headers={"User-Agent": AGENT, **headers})
        response: http.client.HTTPResponse = director.open(request, timeout=STALL)
    return response


@contextmanager
def _network() -> Iterator[None]:
    """What a network's failures mean for the transfer."""
    try:
        yield
    except urllib.error.HTTPError as error:
        with error:
            kind = Cut if error.code in PASSING else Refused
            said = str(error.reason).partition("\n")[0]
            raise kind(f"HTTP {error.code} {said}".strip()) from None
    except (http.client.HTTPException, OSError) as error:
        raise Cut(_said(error)) from None
    except ValueError as error:
        raise Refused(f"no address: {first_line(error)}") from None


def _said(error: Exception) -> str:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, TimeoutError):
        return f"no byte for {STALL:g} s"
    if isinstance(reason, http.client.IncompleteRead):
        return "it ended early"
    text = reason.strerror if isinstance(reason, OSError) else ""
    return text or str(reason).partition("\n")[0] or type(reason).__name__
