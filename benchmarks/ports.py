"""Measure what listens where while a run on one machine is on: python -m benchmarks.ports

docs/security.md has its output. Linux only: it reads /proc.
"""

import ipaddress
import sys
from collections import Counter
from dataclasses import dataclass
from typing import Any

import psutil
import ray

from pipeline.execution.ray.start import start


@dataclass(frozen=True, order=True)
class Listener:
    """Name a process and the address that it listens on."""

    process: str
    address: str

    @property
    def local(self) -> bool:
        """Return whether only this machine can reach it."""
        address = ipaddress.ip_address(self.address)
        mapped = getattr(address, "ipv4_mapped", None)
        return (mapped or address).is_loopback


def listeners(process: psutil.Process) -> Counter[Listener]:
    """Return what a process and all that it started listen on, TCP, with the number of ports."""
    found = Counter[Listener]()
    for one in (process, *process.children(recursive=True)):
        try:
            sockets, name = one.net_connections("tcp"), one.name().partition("(")[0].strip()
        except psutil.NoSuchProcess:
            continue
        found.update(Listener(name, socket.laddr.ip) for socket in sockets if socket.status == psutil.CONN_LISTEN)
    return found


def measured() -> Counter[Listener]:
    """Start the Ray of a run with one actor, and return what listens then. Ends that Ray."""

    class Idle:
        """Do nothing, in the place of a worker."""

        def ready(self) -> bool:
            """Return True once the actor has started."""
            return True

    started = start(ray, None)
    try:
        actor: Any = ray.remote(Idle).remote()
        assert ray.get(actor.ready.remote())
        return listeners(psutil.Process())
    finally:
        started.end()


def main() -> None:
    """Print a line a process; exit code 1 if another machine could reach any."""
    found = measured()
    for listener, ports in sorted(found.items()):
        print(f"| {listener.process} | {listener.address} | {ports} | {'this machine' if listener.local else 'ANY MACHINE'} |")
    sys.exit(not all(listener.local for listener in found))


if __name__ == "__main__":
    main()
