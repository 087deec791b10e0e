"""Outgoing webhooks: a queue per vendor, with the vendor's own idea of threads, time-outs, success and retries.

A queue holds payloads (plain records, so what is undelivered survives a restart). The vendor's `prepare` turns one or
several of them into an HTTP request at the moment of delivery, and hears what became of it through `settled`.
"""

from __future__ import annotations

import heapq
import http.client
import ipaddress
import re
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sandbox.faults import WEBHOOKS

if TYPE_CHECKING:
    from sandbox.world import Record, World


@dataclass(frozen=True)
class Policy:
    """How one vendor delivers."""

    vendor: str
    threads: int
    timeout: float
    accepted: range  # the statuses that count as delivered
    retries: int | None  # None = until accepted
    first_retry: float
    longest_wait: float
    keep_alive: bool = True
    batch: int = 1  # how many waiting payloads may travel together

    def wait_before(self, attempt: int) -> float | None:
        """Seconds before attempt number `attempt` (the first retry is 2), None when the vendor gives up."""
        if self.retries is not None and attempt > self.retries + 1:
            return None
        return min(self.first_retry * 2.0 ** min(attempt - 2, 30), self.longest_wait)


@dataclass(frozen=True)
class Outgoing:
    """One HTTP request that leaves the sandbox. Header order and spelling are kept as given."""

    url: str
    headers: Sequence[tuple[str, str]]
    body: bytes
    what: str
    method: str = "POST"


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes


class Unreachable(Exception):
    """No answer: refused, timed out, or not an address the sandbox calls."""


LOCAL_NAMES = frozenset({"localhost", "localhost.localdomain"})


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() in LOCAL_NAMES


class Caller:
    """HTTP out, keep-alive, for one thread. Calls nothing but this machine and the app it was told about."""

    def __init__(self, app_url: str) -> None:
        self._app_host = urlsplit(app_url).hostname
        self._connections: dict[tuple[str, str, int], http.client.HTTPConnection] = {}

    def send(self, outgoing: Outgoing, timeout: float, keep_alive: bool = True) -> Answer:
        try:
            address = urlsplit(outgoing.url)
            host, port = address.hostname or "", address.port or (443 if address.scheme == "https" else 80)
        except ValueError as error:
            raise Unreachable(f"not an address: {error}") from None
        if address.scheme not in ("http", "https") or not (is_loopback(host) or host == self._app_host):
            raise Unreachable(f"the sandbox calls only this machine, not {host or outgoing.url!r}")
        key = (address.scheme, host, port)
        target = (address.path or "/") + (f"?{address.query}" if address.query else "")
        while True:
            reused = key in self._connections
            connection = self._connection(key, timeout)
            try:
                answer = self._exchange(connection, outgoing, target, address.netloc)
            except (http.client.BadStatusLine, ConnectionResetError, BrokenPipeError) as error:
                self._forget(key)
                if reused:  # an idle connection the other side had closed: ask again on a fresh one
                    continue
                raise Unreachable(type(error).__name__) from None
            except (OSError, http.client.HTTPException, ValueError) as error:
                self._forget(key)
                raise Unreachable("timed out" if isinstance(error, TimeoutError) else str(error)) from None
            if not keep_alive:
                self._forget(key)
            return answer

    def close(self) -> None:
        for key in list(self._connections):
            self._forget(key)

    def _connection(self, key: tuple[str, str, int], timeout: float) -> http.client.HTTPConnection:
        scheme, host, port = key
        if key not in self._connections:
            kind = http.client.HTTPSConnection if scheme == "https" else http.client.HTTPConnection
            self._connections[key] = kind(host, port, timeout=timeout)
        return self._connections[key]

    def _exchange(self, connection: http.client.HTTPConnection, outgoing: Outgoing, target: str, netloc: str) -> Answer:
        connection.putrequest(outgoing.method, target, skip_host=True, skip_accept_encoding=True)
        names = {name.lower() for name, _ in outgoing.headers}
        if "host" not in names:
            connection.putheader("Host", netloc)
        for name, value in outgoing.headers:
            connection.putheader(name, value)
        if "content-length" not in names and outgoing.method != "GET":
            connection.putheader("Content-Length", str(len(outgoing.body)))
        connection.endheaders(outgoing.body or None)
        response = connection.getresponse()
        body = response.read(1_000_000)
        if response.will_close or not response.isclosed():
            connection.close()
        return Answer(response.status, body)

    def _forget(self, key: tuple[str, str, int]) -> None:
        connection = self._connections.pop(key, None)
        if connection is not None:
            connection.close()


@dataclass(order=True)
class _Job:
    due: float
    number: int
    payload: Record = field(compare=False)
    attempt: int = field(compare=False, default=1)
    key: str | None = field(compare=False, default=None)


class DeliveryQueue:
    def __init__(
        self,
        world: World,
        policy: Policy,
        prepare: Callable[[list[Record]], Outgoing | None],
        settled: Callable[[list[Record], bool, Answer | None], None] | None = None,
        taken: Callable[[Answer], bool] = lambda answer: True,
    ) -> None:
        """`taken`: whether an answer of an accepted status also says what the vendor wants to read."""
        self._world = world
        self._policy = policy
        self._prepare = prepare
        self._settled = settled
        self._taken = taken
        self._condition = threading.Condition(world.lock)  # vendors queue webhooks while they hold the world
        self._heap: list[_Job] = []
        self._keys: set[str] = set()
        self._in_flight = 0
        self._number = 0
        self._stopped = False
        self._shelf = world.shelf(f"deliveries:{policy.vendor}")
        self._resume()
        self._threads = [
            threading.Thread(target=self._run, name=f"{policy.vendor}-webhooks-{n}", daemon=True)
            for n in range(policy.threads)
        ]
        for thread in self._threads:
            thread.start()

    def put(self, payload: Record, after: float = 0.0, key: str | None = None) -> None:
        """Queue a webhook. While one with the same key still waits, this one is merged into it."""
        times = 1
        fault = self._world.faults.draw(self._policy.vendor, WEBHOOKS)
        if fault is not None:
            if fault.mode == "drop":
                self._world.log.add(self._policy.vendor, "webhook", payload.get("what", "webhook"), "fault: dropped")
                return
            times = 2 if fault.mode == "duplicate" else 1
            after += {"delay": (2.0, 5.0), "reorder": (0.3, 1.2)}.get(fault.mode, (0.0, 0.0))[0]
            if fault.mode in ("delay", "reorder"):
                after += self._world.dice.random() * (3.0 if fault.mode == "delay" else 0.9)
        with self._condition:
            if key is not None and key in self._keys:
                return
            for _ in range(times):
                self._push(payload, after, key=key)
                key = None
            self._condition.notify(times)

    def waiting(self) -> int:
        with self._condition:
            return len(self._heap) + self._in_flight

    def clear(self) -> None:
        with self._condition:
            self._heap.clear()
            self._keys.clear()
            self._shelf.clear()

    def stop(self) -> None:
        with self._condition:
            self._stopped = True
            self._condition.notify_all()
        for thread in self._threads:
            thread.join(timeout=self._policy.timeout if self._policy.timeout < 2 else 2)

    def _push(self, payload: Record, after: float, attempt: int = 1, key: str | None = None) -> None:
        self._number += 1
        heapq.heappush(self._heap, _Job(time.monotonic() + after, self._number, payload, attempt, key))
        if key is not None:
            self._keys.add(key)
        self._shelf.put(str(self._number), {"payload": payload, "attempt": attempt, "key": key})

    def _resume(self) -> None:
        left = self._shelf.values()
        self._shelf.clear()
        for record in left:
            self._push(record["payload"], 0.0, record["attempt"], record["key"])

    def _run(self) -> None:
        caller = Caller(self._world.settings.app_url)
        while jobs := self._take():
            try:
                self._deliver(jobs, caller)
            except Exception:  # a fault of ours must not silence a vendor for good
                traceback.print_exc()
            finally:
                with self._condition:
                    self._in_flight -= len(jobs)
                    for job in jobs:
                        self._shelf.drop(str(job.number))
        caller.close()

    def _take(self) -> list[_Job]:
        with self._condition:
            while not self._stopped and (not self._heap or self._heap[0].due > time.monotonic()):
                self._condition.wait(self._heap[0].due - time.monotonic() if self._heap else None)
            if self._stopped:
                return []
            jobs = [heapq.heappop(self._heap)]
            now = time.monotonic()
            while self._heap and len(jobs) < self._policy.batch and self._heap[0].due <= now:
                jobs.append(heapq.heappop(self._heap))
            self._in_flight += len(jobs)
            for job in jobs:
                if job.key is not None:
                    self._keys.discard(job.key)
            return jobs

    def _deliver(self, jobs: list[_Job], caller: Caller) -> None:
        policy = self._policy
        payloads = [job.payload for job in jobs]
        outgoing = self._prepare(payloads)
        if outgoing is None:
            return
        started = time.perf_counter()
        answer, outcome = None, ""
        try:
            answer = caller.send(outgoing, policy.timeout, policy.keep_alive)
            accepted = answer.status in policy.accepted and self._taken(answer)
            outcome = "delivered" if accepted else "refused"
        except Unreachable as error:
            accepted, outcome = False, f"unreachable: {error}"
        if not accepted:
            waits = {policy.wait_before(job.attempt + 1) for job in jobs}
            outcome += "; given up" if waits == {None} else "; will be sent again"
            with self._condition:
                for job in jobs:
                    wait = policy.wait_before(job.attempt + 1)
                    if wait is not None:
                        self._push(job.payload, wait, job.attempt + 1)
                self._condition.notify(len(jobs))
        self._world.log.add(
            policy.vendor,
            "webhook",
            outgoing.what,
            outcome,
            to=shown_address(outgoing.url),
            status=answer.status if answer else None,
            attempt=max(job.attempt for job in jobs),
            ms=round((time.perf_counter() - started) * 1000, 1),
            body=outgoing.body,
            content_type="application/json",
        )
        if self._settled is not None:
            self._settled(payloads, accepted, answer)


def shown_address(url: str) -> str:
    """The address without what may be secret in it: a long token in the path."""
    return re.sub(r"/[A-Za-z0-9_-]{20,}(?=[/?]|$)", "/***", url)
