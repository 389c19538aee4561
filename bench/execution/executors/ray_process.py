"""The process that talks to a Ray cluster, as this process sees it: its start, pipe and end."""

from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path
from tempfile import NamedTemporaryFile

from bench.execution.executors.ray_connection import Target, require_listener
from bench.execution.executors.ray_driver import (
    DriverReply,
    DriverRequest,
    Heartbeat,
    Refused,
    Started,
    drive,
)
from bench.execution.jobs import failure_from_exit_status
from bench.utils import interrupts
from bench.utils.errors import UserError

START_ATTEMPTS = 4  # of the process that talks to the cluster, where it is killed meanwhile
START_SECONDS = 120.0  # for that process to begin
CONNECT_SECONDS = 20.0  # for a head to let this process in
OWN_CLUSTER_SECONDS = 90.0  # for a cluster of the run's own to start
CLOSE_SECONDS = 10.0  # to take leave of the cluster
LOG_TAIL = 2000  # characters of what Ray said


class DriverProcess:
    """The process that talks to the cluster, and the pipe to it."""

    def __init__(self, target: Target):
        context = get_context("spawn")  # a fork would take over threads
        self.pipe, theirs = context.Pipe()
        self.log = NamedTemporaryFile(prefix="bench-ray-")  # noqa: SIM115
        args = (theirs, target, self.log.name)
        self.process = context.Process(target=drive, args=args, daemon=True)
        try:
            with interrupts.kept_from_children():
                self.process.start()
        finally:
            theirs.close()  # or the process's end would not show

    def connect(self, seconds: float) -> None:
        """Wait for the connection; raises `TimeoutError` or, of a process that ends, `EOFError`."""
        reply = self._receive(START_SECONDS)
        while isinstance(reply, Started):
            reply = self._receive(seconds)
        if isinstance(reply, Refused):
            raise UserError(reply.message)
        assert isinstance(reply, Heartbeat)
        self.resources = reply.resources

    def send(self, request: DriverRequest) -> None:
        """Send a request; that nobody takes it shows in `how_it_ended`."""
        try:
            self.pipe.send(request)
        except OSError:
            return

    def replies(self, seconds: float) -> Iterator[DriverReply]:
        """Yield all replies that there are; wait for the first one, so long at most."""
        try:
            while self.pipe.poll(seconds):
                yield self.pipe.recv()
                seconds = 0.0
        except (EOFError, OSError):
            self.process.join(CLOSE_SECONDS)

    def how_it_ended(self) -> str:
        """Say how the process has ended; empty while it runs."""
        status = self.process.exitcode
        if status is None:
            return ""
        return failure_from_exit_status("the process connected to it", status).message

    def log_tail(self) -> str:
        """Return the end of what Ray has said."""
        return Path(self.log.name).read_text(encoding="utf-8", errors="replace")[-LOG_TAIL:]

    def close(self, takes_leave: bool) -> None:
        """End the process; let it take leave of the cluster first, where that answers."""
        self.pipe.close()
        self.process.join(CLOSE_SECONDS if takes_leave else 0)
        self.process.kill()
        self.process.join()
        self.log.close()

    def _receive(self, seconds: float) -> DriverReply:
        if not self.pipe.poll(seconds):
            raise TimeoutError(f"no answer within {seconds:g} s")
        reply: DriverReply = self.pipe.recv()
        return reply


def connected_driver(target: Target) -> DriverProcess:
    """Start the process and let it connect; one that is killed meanwhile is started again."""
    seconds = CONNECT_SECONDS if target.address else OWN_CLUSTER_SECONDS
    if target.address:
        require_listener(target.address)
    for _ in range(START_ATTEMPTS):
        driver, is_connected = DriverProcess(target), False
        try:
            driver.connect(seconds)
            is_connected = True
        except TimeoutError as error:
            raise UserError(f"no Ray cluster at {target.place}: {error}") from None
        except (EOFError, ConnectionError):
            driver.process.join(CLOSE_SECONDS)
            why = driver.how_it_ended()
        finally:
            if not is_connected:
                driver.close(takes_leave=False)
        if is_connected:
            return driver
    raise UserError(f"no Ray cluster at {target.place}: {why}")
