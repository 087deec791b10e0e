"""(a) Webhooks accepted per second, durable before each 200, beside a bare Flask and beside the usual Node stack.

All servers of a group are up together and are measured in turns, round after round, so that whatever the machine does
to one it does to all; what counts is the ratio inside a round. A group is one web process (server on one core, load on
another) or two (sharing both cores with the load).
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from redis import Redis as Client

from integration.house import House
from servers import Redis

from . import orders, peer
from .load import Load, Shots, fire
from .machine import Referee, Taken, seats
from .stage import Server, Stage, open_store, port, stored, web_command

FLOOR = "flask return 200"
NODE, NODE_STORED = "node + bullmq", "node + sqlite + bullmq"
RATE = 400
_MOST = {FLOOR: 25_000, NODE: 6_000, NODE_STORED: 6_000}
"""Requests per second for which enough are built beforehand; Dastak's is the default below."""


def dastak(engine: str) -> str:
    return f"dastak {engine}"


NO_REDIS = "dastak sqlite, redis stopped"


@dataclass(frozen=True, slots=True)
class Pace:
    """How much to measure."""

    rounds: int = 3
    seconds: float = 3.0
    open_seconds: float = 8.0


@dataclass(slots=True)
class Case:
    """One of those who are measured in turns."""

    name: str
    server: Server
    count: Callable[[list[list[int]]], dict[str, int]] | None = None
    """Counts, of the orders acknowledged, how many are kept how often."""
    between: Callable[[], None] | None = None
    """What is done after each run, uncounted."""
    runs: list[Taken[Shots]] = field(default_factory=list)
    acknowledged: list[list[int]] = field(default_factory=list)
    kept: dict[str, int] = field(default_factory=dict)


_volleys = itertools.count(1)


def measure(stage: Stage, referee: Referee, pace: Pace, *, node: bool) -> dict[str, Any]:
    """Both groups, and the open loop on the first."""
    found: dict[str, Any] = {"request_bytes": len(orders.request(1)), "body_bytes": len(orders.body(1))}
    server_core, load_core = seats()
    found["pinned"] = server_core is not None
    for processes, connections in ((1, 16), (2, 32)):
        core, from_core = (server_core, load_core) if processes == 1 else (None, None)
        with _group(stage, processes, core, node=node) as cases:
            for case in cases:
                prove(case)
            name = "one process" if processes == 1 else "two processes"
            print(f"  ingest, {name}: {', '.join(case.name for case in cases)}", flush=True)
            for case in cases:  # both kinds of server get faster over their first thousands of requests
                _run(case, referee, connections=connections, seconds=pace.seconds / 2, core=from_core)
                case.runs = []
            for _ in range(pace.rounds):
                for case in cases:
                    _run(case, referee, connections=connections, seconds=pace.seconds, core=from_core)
            found[name] = _told(cases)
            if processes == 1:
                loop = [case for case in cases if case.name not in (FLOOR, NO_REDIS)]
                print(f"  ingest, open loop at {RATE}/s: {', '.join(case.name for case in loop)}", flush=True)
                for case in loop:
                    case.runs = []
                for _ in range(pace.rounds):
                    for case in loop:
                        _run(case, referee, connections=64, seconds=pace.open_seconds, core=from_core, rate=RATE)
                found["open loop"] = _told(loop)
            found[f"kept, {name}"] = {case.name: _kept(case) for case in cases if case.name != FLOOR}
    return found


# -- who is measured -----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _group(stage: Stage, processes: int, core: int | None, *, node: bool) -> Iterator[list[Case]]:
    """Everybody up and waiting. Node and Dastak share one Redis; the Dastak without Redis had one and lost it."""
    with contextlib.ExitStack() as ends:
        shared, cases = stage.redis(), []

        def begin(name: str, command: list[str], env: dict[str, str], at: int, folder: Path | None = None) -> Server:
            where = {"folder": folder} if folder else {}
            slug = f"{name.replace(' ', '-').replace(',', '')}-{processes}"
            return ends.enter_context(stage.serving(slug, command, env, port=at, core=core, **where))

        at = port()
        cases.append(Case(FLOOR, begin(FLOOR, web_command(at, processes, "bench.floor:application"), {}, at)))
        for engine in ("sqlite", "postgresql"):
            cases.append(_dastak(stage, ends, dastak(engine), engine, shared, processes, begin))
        if processes == 1:
            lost = stage.redis()
            cases.append(_dastak(stage, ends, NO_REDIS, "sqlite", lost, processes, begin))
            lost.stop()
        if node:
            client = Client.from_url(shared.url)
            ends.callback(client.close)
            for name in (NODE, NODE_STORED) if peer.stores() else (NODE,):
                at, file = port(), stage.folder / f"node-{processes}.sqlite3"
                given = file if name == NODE_STORED else None
                env = {**stage.environment(""), **peer.ENVIRONMENT}
                case = Case(name, begin(name, peer.command(at, shared.port, processes, given), env, at, peer.FOLDER))
                case.between = _queue_counter(case, client)
                if given:
                    case.count = _rows_counter(file)
                cases.append(case)
        yield cases


def _dastak(
    stage: Stage,
    ends: contextlib.ExitStack,
    name: str,
    engine: str,
    redis: Redis,
    processes: int,
    begin: Callable[..., Server],
) -> Case:
    """The real app with its real connection row; no worker runs, so that taking webhooks alone is measured."""
    url, at = stage.database(engine), port()
    house = stage.house(url)
    ends.callback(house.close)
    open_store(house)
    env = stage.environment(url, PORT=str(at), REDIS_URL=redis.url)
    return Case(name, begin(name, web_command(at, processes), env, at), _house_counter(house))


def _house_counter(house: House) -> Callable[[list[list[int]]], dict[str, int]]:
    return lambda rows: _compare(rows, stored(house))


def _rows_counter(file: Path) -> Callable[[list[list[int]]], dict[str, int]]:
    def count(rows: list[list[int]]) -> dict[str, int]:
        with contextlib.closing(sqlite3.connect(file)) as connection:
            counts = dict(connection.execute("SELECT webhook_id, count(*) FROM deliveries GROUP BY webhook_id"))
        return _compare(rows, counts)

    return count


def _compare(rows: list[list[int]], counts: dict[str, int]) -> dict[str, int]:
    asked = [orders.webhook_id(number) for first, last in rows for number in range(first, last + 1)]
    return {
        "acknowledged": len(asked),
        "missing": sum(1 for name in asked if name not in counts),
        "twice": sum(1 for count in counts.values() if count > 1),
    }


def _queue_counter(case: Case, client: Client) -> Callable[[], None]:
    """Jobs nobody works on pile up in Redis: count them against what was acknowledged, then clear them away."""

    def between() -> None:
        jobs = client.llen("bull:orders:wait")
        fresh = _size(case.runs[-1].result.acknowledged) if case.runs else 0
        if jobs < fresh:
            case.kept["jobs missing"] = case.kept.get("jobs missing", 0) + fresh - jobs
        client.flushall()
        with contextlib.suppress(Exception):  # one may be under way already
            client.bgrewriteaof()
        while client.info("persistence")["aof_rewrite_in_progress"]:
            pass

    return between


# -- measuring -----------------------------------------------------------------------------------------------------


def prove(case: Case) -> None:
    """Does it answer a right signature with 200 and a wrong one with 401? Who does not check would win unfairly."""
    if case.name == FLOOR:
        return
    for secret, wanted in ((orders.SECRET, 200), (b"not the secret", 401)):
        status = _status(case.server.port, orders.request(0, secret))
        if status != wanted:
            raise RuntimeError(f"{case.name} answered {status} where {wanted} was due")


def _status(at: int, wire: bytes) -> int:
    with socket.create_connection(("127.0.0.1", at), timeout=10) as line:
        line.sendall(wire)
        return int(line.recv(65536).split(b" ", 2)[1])


def _run(
    case: Case, referee: Referee, *, connections: int, seconds: float, core: int | None, rate: float = 0.0
) -> None:
    warm = min(0.5, seconds / 2)
    most = (rate or _MOST.get(case.name, 15_000)) * (seconds + warm)

    def take() -> Shots:
        shots = fire(
            Load(
                port=case.server.port,
                first=1_000_000 * next(_volleys),
                requests=int(most * 1.02) + connections,
                connections=connections,
                seconds=seconds,
                warm=warm,
                rate=rate,
                core=core,
            )
        )
        case.acknowledged += shots.acknowledged
        return shots

    case.runs.append(referee.measure(take))
    if case.between is not None:
        case.between()


def _told(cases: list[Case]) -> dict[str, Any]:
    """Medians over the rounds, every run, and for each case the ratio to each other one, round by round."""
    told: dict[str, Any] = {}
    for case in cases:
        told[case.name] = {
            **{name: median(getattr(run.result, name) for run in _fair(case)) for name in _FIGURES},
            "disturbed": sum(run.disturbance.disturbed for run in case.runs),
            "refused": _refused(case),
            "runs": [
                {
                    **{
                        name: getattr(run.result, name)
                        for name in (*_FIGURES, "counted", "broken", "late", "generator")
                    },
                    "statuses": run.result.statuses,
                    "steal": run.disturbance.steal,
                    "others": run.disturbance.others,
                    "attempts": run.attempts,
                }
                for run in case.runs
            ],
        }
    told["ratios"] = {
        case.name: {
            other.name: _ratio([a.result.rate / b.result.rate for a, b in zip(case.runs, other.runs) if b.result.rate])
            for other in cases
            if other is not case
        }
        for case in cases
        if case.name.startswith("dastak")
    }
    return told


_FIGURES = ("rate", "p50", "p90", "p99", "worst")


def _fair(case: Case) -> list[Taken[Shots]]:
    """The runs nobody disturbed, or all when there are none."""
    return [run for run in case.runs if not run.disturbance.disturbed] or case.runs


def _ratio(values: list[float]) -> dict[str, float]:
    if not values:
        return {}
    return {"median": round(median(values), 2), "least": round(min(values), 2), "most": round(max(values), 2)}


def _refused(case: Case) -> int:
    return sum(count for run in case.runs for status, count in run.result.statuses.items() if status != "200") + sum(
        run.result.broken for run in case.runs
    )


def _kept(case: Case) -> dict[str, int]:
    return {**case.kept, **(case.count(case.acknowledged) if case.count else {})}


def _size(rows: list[list[int]]) -> int:
    return sum(last - first + 1 for first, last in rows)
