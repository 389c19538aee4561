"""One attempt to reach a server, within seconds: on a machine without network, that is all."""

import http.client
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from threading import Thread
from time import monotonic

LIMIT = 4.0  # seconds; looking up a host's name may take far longer where there is no network
USER_AGENT = "vit-peft-bench (+urllib)"
NO_HEAD = (405, 501)  # statuses of servers that do not answer HEAD, and are there


class Unreachable(Exception):
    """A server did not answer, or does not have the file; the message is a clause."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirection: the headers of the first answer are the ones wanted."""

    def redirect_request(self, *_args: object) -> None:
        return None


def head(url: str) -> Mapping[str, str]:
    """Return the headers of the first answer about `url`; raise `Unreachable` within `LIMIT`."""
    answer = heads([url])[url]
    if isinstance(answer, Unreachable):
        raise answer
    return answer


def heads(urls: Iterable[str]) -> dict[str, Mapping[str, str] | Unreachable]:
    """Request all `urls` at once, within `LIMIT` in all; return headers or the errors."""
    answers: dict[str, Mapping[str, str] | Unreachable] = {}

    def ask(url: str) -> None:
        answers[url] = _ask(url)

    asking = {url: Thread(target=ask, args=(url,), daemon=True) for url in urls}
    end = monotonic() + LIMIT
    for thread in asking.values():
        thread.start()
    for thread in asking.values():
        thread.join(max(end - monotonic(), 0))
    late = Unreachable(f"no answer within {LIMIT:g} s")
    return {url: answers.get(url, late) for url in asking}


def _ask(url: str) -> Mapping[str, str] | Unreachable:
    if not url.startswith(("http://", "https://")):
        return Unreachable("only http and https are spoken")
    try:
        request = urllib.request.Request(url, method="HEAD", headers={"User-Agent": USER_AGENT})
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=LIMIT) as response:
            return dict(response.headers)
    except urllib.error.HTTPError as error:
        with error:
            is_there = error.code < 400 or error.code in NO_HEAD
            return dict(error.headers) if is_there else Unreachable(f"HTTP {error.code}")
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        text = reason.strerror if isinstance(reason, OSError) else ""
        return Unreachable(text or str(reason).partition("\n")[0] or type(reason).__name__)
