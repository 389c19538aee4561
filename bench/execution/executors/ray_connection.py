"""The connection to a Ray cluster: who listens at an address, and what the nodes offer."""

import os
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from bench.utils import parallel
from bench.utils.errors import UserError, first_line

PROBE_SECONDS = 8.0  # for a listener at the address to answer
HTTP2_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
FRAME_TYPE, SETTINGS_FRAME = 3, b"\x04"  # where an HTTP/2 server's answer has it, and its first one
RAY_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_task_oom_retries": "0",  # a cell that needs too much memory would need it again
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # what Ray 3 does; set here, Ray does not warn of it
}
LOOPBACK_ENVIRONMENT = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # or Ray seeks another address


@dataclass(frozen=True)
class Target:
    """The cluster to connect to, and the resources that a job needs there."""

    address: str | None  # None: one of this machine, started for the run
    workers: int | None
    gpu: bool
    per_gpu: int

    @property
    def place(self) -> str:
        """Where the cluster is, in words."""
        return self.address or "this machine"


@dataclass(frozen=True)
class JobResources:
    """Requirements of a job on its node, and how many jobs the cluster can hold at once."""

    cpus: float
    gpus: float
    max_jobs: int


def connect(target: Target) -> Any:
    """Return Ray, connected to the cluster, or to a private one started here.

    Raises `UserError` where that fails.
    """
    address = target.address
    here = not address or address.startswith(("127.", "localhost:"))
    os.environ.update(
        (RAY_ENVIRONMENT | LOOPBACK_ENVIRONMENT if here else RAY_ENVIRONMENT) | os.environ
    )
    import ray  # reads the environment

    cpus = max(parallel.available_cores(), target.workers or 0)
    own = {"address": "local", "_node_ip_address": "127.0.0.1", "num_cpus": cpus}
    where = {"address": address} if address else own | {"include_dashboard": False}
    try:
        ray.init(**where, log_to_driver=False, logging_level="ERROR")
    except Exception as error:  # of whatever kind
        raise UserError(f"no Ray cluster at {target.place}: {first_line(error)}") from None
    return ray


def require_listener(address: str) -> None:
    """Raise `UserError` where no head listens at an address: Ray itself would wait for long."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():  # "auto", or a client's address
        return
    found = SimpleQueue[str]()

    def greet() -> None:
        found.put(_listener_problem(host.strip("[]"), int(port)))

    Thread(target=greet, daemon=True).start()  # to look a name up may take for ever
    try:
        why = found.get(timeout=PROBE_SECONDS)
    except Empty:
        why = _silence()
    if why:
        raise UserError(f"no Ray cluster at {address}: {why}")


def _listener_problem(host: str, port: int) -> str:
    """Say why whoever listens there, if anybody, is no head; empty if it may be one."""
    try:
        answer = _greet(host, port)
    except TimeoutError:
        return _silence()
    except (OSError, OverflowError, UnicodeError) as error:
        return first_line(error)
    uses_tls = os.environ.get("RAY_USE_TLS", "0") not in ("", "0")  # then it says nothing to us
    is_head = uses_tls or answer[FRAME_TYPE : FRAME_TYPE + 1] == SETTINGS_FRAME
    return "" if is_head else "what answers there is no Ray head"


def _silence() -> str:
    return f"no answer within {PROBE_SECONDS:g} s"


def _greet(host: str, port: int) -> bytes:
    """Return the beginning of a listener's answer to a greeting in HTTP/2, which Ray speaks."""
    answer = b""
    with socket.create_connection((host, port), timeout=PROBE_SECONDS) as connection:
        connection.sendall(HTTP2_GREETING)
        while len(answer) <= FRAME_TYPE and (more := connection.recv(64)):
            answer += more
    return answer


def offered_resources(ray: Any, target: Target) -> JobResources:
    """Return what the cluster's nodes offer now."""
    return job_resources(_living_nodes(ray), target.gpu, target.per_gpu)


def require_resources(ray: Any, target: Target) -> JobResources:
    """Return what the cluster's nodes offer; raises `UserError` for nothing."""
    found = offered_resources(ray, target)
    if not found.max_jobs:
        device, unit = ("cuda", "GPU") if target.gpu else ("cpu", "CPU")
        nodes = _living_nodes(ray)
        has = "; ".join(f"CPU {n.get('CPU', 0):g}, GPU {n.get('GPU', 0):g}" for n in nodes)
        raise UserError(
            f"--device {device} needs a {unit}, and no node of the Ray cluster offers "
            f"one: they have {has or 'nothing'}"
        )
    return found


def _living_nodes(ray: Any) -> list[Mapping[str, float]]:
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def job_resources(nodes: Iterable[Mapping[str, float]], gpu: bool, per_gpu: int) -> JobResources:
    """Give a job one core; on GPUs, `per_gpu` jobs share each GPU and divide its node's cores."""
    if not gpu:
        return JobResources(1, 0, sum(int(node.get("CPU", 0)) for node in nodes))
    fit = [node for node in nodes if node.get("GPU", 0) >= 1]
    count = sum(int(node["GPU"]) * per_gpu for node in fit)
    cpus = min((node.get("CPU", 0) / (int(node["GPU"]) * per_gpu) for node in fit), default=0)
    return JobResources(int(cpus) or round(cpus, 2), 1 / per_gpu, count)
