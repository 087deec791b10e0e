"""The load: one process that speaks HTTP/1.1 over keep-alive connections and does nothing else meanwhile.

Requests are built and signed before the clock starts; a loop over epoll then only writes, reads and notes the time.
It runs as a process of its own, `python -m bench.load`, on a core of its own where there is one, and says how much of
that core it used: a generator that has none left would have measured itself.

Closed loop: each connection sends its next request when the answer to the last has come. Open loop: requests are due
at fixed times whatever the server does, and what counts is the time from when one was *due*, so a server that stalls
cannot hide it by receiving less.
"""

from __future__ import annotations

import gc
import json
import os
import select
import socket
import subprocess
import sys
import time
from array import array
from collections import Counter, deque
from dataclasses import asdict, dataclass
from typing import Any

from .machine import pin, pinned
from .orders import Shot, volley

PATIENCE = 10.0
"""Seconds without any answer after which a run gives up."""


@dataclass(frozen=True, slots=True)
class Load:
    """A run to make. `rate` in requests per second makes it an open loop."""

    port: int
    first: int
    """The number of the first order, so that no two runs send the same."""
    requests: int
    """How many are built; a closed loop that has sent them all ends early."""
    connections: int = 16
    seconds: float = 3.0
    warm: float = 0.5
    """Seconds at the beginning that are not counted."""
    rate: float = 0.0
    core: int | None = None


@dataclass(frozen=True, slots=True)
class Shots:
    """What came of it. Milliseconds, and requests per second."""

    rate: float
    p50: float
    p90: float
    p99: float
    worst: float
    counted: int
    statuses: dict[str, int]
    broken: int
    """Connections that ended before their answer."""
    late: float
    """Open loop: 99th percentile of how late the generator itself was."""
    generator: float
    """The share of a core that the generator used."""
    acknowledged: list[list[int]]
    """The orders answered 200, as first and last of unbroken rows."""


def fire(load: Load) -> Shots:
    """Make the run in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.load", json.dumps(asdict(load))],
        capture_output=True,
        text=True,
        timeout=load.seconds + load.warm + 60,
        check=False,
        preexec_fn=pinned(load.core),
    )
    if done.returncode:
        raise RuntimeError(f"the load generator failed: {done.stderr[-2000:]}")
    return Shots(**json.loads(done.stdout))


class _Line:
    """A connection and the request it waits for."""

    __slots__ = ("due", "left", "shot", "socket")

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.shot: Shot | None = None
        self.due = 0.0
        self.left = b""


class Gun:
    def __init__(self, load: Load, shots: list[Shot]) -> None:
        self._load = load
        self._shots = iter(shots)
        self._lines = {line.socket.fileno(): line for line in (_Line(load.port) for _ in range(load.connections))}
        self._poll = select.epoll()
        for number in self._lines:
            self._poll.register(number, select.EPOLLIN)
        self._times = array("d")
        self._late = array("d")
        self._statuses: Counter[str] = Counter()
        self._acknowledged: set[int] = set()
        self._broken = 0
        self._waiting = 0
        self._count_from = 0.0

    def closed(self) -> Shots:
        began = time.perf_counter()
        self._count_from = began + self._load.warm
        ends = self._count_from + self._load.seconds
        for line in self._lines.values():
            self._send(line, time.perf_counter())
        busy, last = time.process_time(), began
        while self._waiting:
            ready = self._poll.poll(PATIENCE)
            if not ready:
                break
            for number, _ in ready:
                line = self._lines[number]
                if self._answered(line):
                    now = time.perf_counter()
                    if now < ends:
                        last = now
                        self._send(line, now)
        return self._result(last - self._count_from, (time.process_time() - busy) / max(last - began, 1e-9))

    def open(self) -> Shots:
        """At most one request is due at a time; those that find no free connection wait, and their wait counts."""
        began = time.perf_counter()
        self._count_from = began + self._load.warm
        total = int((self._load.warm + self._load.seconds) * self._load.rate)
        free, due, sent, busy = deque(self._lines.values()), deque[float](), 0, time.process_time()
        last_answer = began
        while sent < total or due or self._waiting:
            now = time.perf_counter()
            while sent < total and began + sent / self._load.rate <= now:
                due.append(began + sent / self._load.rate)
                sent += 1
            while due and free:
                at = due.popleft()
                self._late.append(time.perf_counter() - at)
                if not self._send(free.popleft(), at):
                    due.clear()
                    sent = total
            pause = began + sent / self._load.rate - time.perf_counter() if sent < total else 0.1
            # select, because it waits by the microsecond where epoll counts in milliseconds
            if pause > 0:
                select.select([self._poll.fileno()], [], [], pause)
            for number, _ in self._poll.poll(0):
                line = self._lines[number]
                if self._answered(line):
                    last_answer = time.perf_counter()
                    free.append(line)
            if time.perf_counter() - last_answer > PATIENCE:
                break
        took = time.perf_counter() - began
        return self._result(last_answer - self._count_from, (time.process_time() - busy) / took)

    def _send(self, line: _Line, at: float) -> bool:
        """Write the next request. False when there is none left."""
        shot = next(self._shots, None)
        if shot is None:
            return False
        line.shot, line.due = shot, at
        self._waiting += 1
        wire = shot.wire
        sent = line.socket.send(wire)
        while sent < len(wire):  # the kernel's buffer is larger than any request of ours; be safe all the same
            select.select([], [line.socket], [])
            sent += line.socket.send(wire[sent:])
        return True

    def _answered(self, line: _Line) -> bool:
        """Read what came. True when that completes an answer."""
        try:
            came = line.socket.recv(65536)
        except BlockingIOError:
            return False
        except OSError:
            came = b""
        now = time.perf_counter()
        if not came:
            self._lost(line)
            return False
        data = line.left + came if line.left else came
        if not _complete(data):
            line.left = data
            return False
        line.left = b""
        shot, line.shot = line.shot, None
        if shot is None:
            return False
        self._waiting -= 1
        status = data[9:12].decode()
        if status == "200":
            self._acknowledged.add(shot.number)
        if now >= self._count_from:
            self._statuses[status] += 1
            self._times.append(now - line.due)
        return True

    def _lost(self, line: _Line) -> None:
        self._broken += 1
        self._poll.unregister(line.socket.fileno())
        if line.shot is not None:
            self._waiting -= 1

    def _result(self, seconds: float, generator: float) -> Shots:
        times, late = sorted(self._times), sorted(self._late)
        return Shots(
            rate=round(len(times) / seconds, 1) if seconds > 0 else 0.0,
            p50=_at(times, 0.5),
            p90=_at(times, 0.9),
            p99=_at(times, 0.99),
            worst=_at(times, 1.0),
            counted=len(times),
            statuses=dict(self._statuses),
            broken=self._broken,
            late=_at(late, 0.99),
            generator=round(generator, 3),
            acknowledged=_rows(sorted(self._acknowledged)),
        )


def _complete(data: bytes) -> bool:
    """Is this a whole answer? Answers here are short: by length, or chunked to the last chunk."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return False
    head = data[:end].lower()
    at = head.find(b"content-length:")
    if at >= 0:
        stop = head.find(b"\r\n", at)
        length = int(head[at + 15 : stop if stop >= 0 else end])
        return len(data) >= end + 4 + length
    return b"chunked" not in head or data.endswith(b"0\r\n\r\n")


def _at(ordered: list[float], share: float) -> float:
    """That percentile, in milliseconds."""
    if not ordered:
        return 0.0
    return round(ordered[min(int(len(ordered) * share), len(ordered) - 1)] * 1000, 3)


def _rows(numbers: list[int]) -> list[list[int]]:
    rows: list[list[int]] = []
    for number in numbers:
        if rows and rows[-1][1] == number - 1:
            rows[-1][1] = number
        else:
            rows.append([number, number])
    return rows


def main(given: dict[str, Any]) -> None:
    load = Load(**given)
    pin(load.core)
    shots = list(volley(load.first, load.requests))
    gun = Gun(load, shots)
    gc.collect()
    gc.disable()
    print(json.dumps(asdict(gun.open() if load.rate else gun.closed())))
    sys.stdout.flush()
    os._exit(0)  # freeing a hundred thousand requests takes longer than some runs


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
