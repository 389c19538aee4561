"""A local HTTP server that answers each request as a test scripts it."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread


@dataclass(frozen=True)
class Step:
    """How one request is answered; by default, correctly."""

    content: bytes = b""
    status: int = 200
    stop: int | None = None  # so many bytes of the body are sent at most
    stalls: bool = False  # then, the connection stays open
    ranges: bool = True  # whether it knows what is asked with Range
    checks: bool = True  # whether it knows what is asked with If-Range
    etag: str = '"one"'
    modified: str = ""
    length: bool = True
    chunked: bool = False
    moved: str = ""
    media: str = "application/octet-stream"


@dataclass
class Server:
    """Its script; each request takes a step, and the last is taken again and again."""

    url: str = ""
    script: list[Step] = field(default_factory=list)
    asked: list[dict[str, str]] = field(default_factory=list)  # headers, and the path
    sent: int = 0  # bytes of bodies
    closing: Event = field(default_factory=Event)

    def does(self, *steps: Step) -> str:
        """Take this script from now on; returns an address."""
        self.script = list(steps)
        return f"{self.url}/file"

    @property
    def ranges(self) -> list[str]:
        """The Range header of each request."""
        return [headers.get("Range", "") for headers in self.asked]

    def next_step(self) -> Step:
        return self.script.pop(0) if len(self.script) > 1 else self.script[0]


def handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            server.asked.append({**dict(self.headers), "path": self.path})
            step = server.next_step()
            self.close_connection = True
            start = self.start(step)
            status = step.status if start is None else 206
            if start is not None and start >= len(step.content):
                status = 416
            self.begin(step, status, start or 0)
            body = b"" if status == 416 or step.moved else step.content[start or 0 :]
            with suppress(ConnectionError):
                self.send(body[: step.stop], step)
            if step.stalls:
                server.closing.wait(20)

        def start(self, step: Step) -> int | None:
            """Where the range begins that this request is given, if it is given one."""
            asked = self.headers.get("Range", "")
            mark = self.headers.get("If-Range", "")
            same = not (mark and step.checks) or mark in (step.etag, step.modified)
            if not (asked and step.ranges and same and step.status == 200):
                return None
            return int(asked.removeprefix("bytes=").removesuffix("-"))

        def begin(self, step: Step, status: int, start: int) -> None:
            whole = len(step.content)
            self.send_response(status)
            headers = {"Content-Type": step.media, "ETag": step.etag, "Location": step.moved}
            headers["Last-Modified"] = step.modified
            if status == 206:
                headers["Content-Range"] = f"bytes {start}-{whole - 1}/{whole}"
            if status == 416:
                headers["Content-Range"] = f"bytes */{whole}"
            if step.chunked:
                headers["Transfer-Encoding"] = "chunked"
            elif step.length:
                headers["Content-Length"] = (
                    "0" if status == 416 or step.moved else f"{whole - start}"
                )
            for name, value in headers.items():
                if value:
                    self.send_header(name, value)
            self.end_headers()

        def send(self, body: bytes, step: Step) -> None:
            for at in range(0, len(body), 2**16):
                piece = body[at : at + 2**16]
                frame = b"%x\r\n%s\r\n" % (len(piece), piece) if step.chunked else piece
                self.wfile.write(frame)
                server.sent += len(piece)
            if step.chunked and step.stop is None:
                self.wfile.write(b"0\r\n\r\n")

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@contextmanager
def serving() -> Iterator[Server]:
    """A server on the loopback interface, until it is left."""
    server = Server()
    with ThreadingHTTPServer(("127.0.0.1", 0), handler(server)) as http:
        http.daemon_threads = False
        server.url = f"http://127.0.0.1:{http.server_address[1]}"
        thread = Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            http.shutdown()
            thread.join()
