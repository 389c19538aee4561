"""One attempt to reach a server, within seconds: on a machine without network, that is all."""

import http.client
import urllib.error
import urllib.request
from collections.abc import Mapping
from threading import Thread

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
    answers: list[Mapping[str, str] | Unreachable] = []
    asking = Thread(target=lambda: answers.append(_ask(url)), daemon=True)
    asking.start()
    asking.join(LIMIT)
    answer = answers[0] if answers else Unreachable(f"no answer within {LIMIT:g} s")
    if isinstance(answer, Unreachable):
        raise answer
    return answer


def _ask(url: str) -> Mapping[str, str] | Unreachable:
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
