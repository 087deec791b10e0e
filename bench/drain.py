"""(c) How fast one worker process drains a backlog, and whether a longer backlog costs more per delivery.

Deliveries are stored as `receive` stores them; `ingest.process` then works them off in the slices a worker's job takes.
Each measurement is a process of its own, `python -m bench.drain`: what is measured is a worker, not the remains of
what was measured before. Another process fills the queue, for a hundred thousand requests made in the measured one
leave its memory so scattered that everything after them takes a quarter longer. With so many waiting, the first of
them are drained and the queue is filled up again, so that every depth is measured at that depth and with the same
history in the tables.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from statistics import median
from typing import Any

from sqlalchemy import func, select

import worker
from integration import ingest, outbox
from integration.db import inline
from integration.groupcommit import insert_ignoring
from integration.house import House
from integration.ingest import DELIVERIES, WebhookDelivery, delivery_row
from integration.logs import set_up_logs
from integration.outbox import Outbox
from integration.ports import WebhookRequest
from integration.stores import Connection

from . import orders
from .machine import Referee, Taken, pinned, seats
from .orders import SHOP
from .stage import ENGINES, Stage, build_house, open_store, port

DEPTHS = (1_000, 10_000, 100_000)
_WARM = 300
"""Deliveries drained before the clock starts: a worker lives for hours, its first second is not its speed."""


@dataclass(frozen=True, slots=True)
class Drained:
    """What one process did. Milliseconds are per delivery, or per message sent."""

    processed: int
    seconds: float
    per_second: float
    cost: float
    cpu: float
    """Milliseconds of this process's own CPU time."""
    failed: int
    sent: int = 0
    sent_per_second: float = 0.0


def measure(stage: Stage, referee: Referee, *, depths: tuple[int, ...], drained: int, rounds: int) -> dict[str, Any]:
    """Every depth on both engines, in turns."""
    found: dict[str, Any] = {"drained": drained}
    redis = stage.redis().url
    with _instant_channel(stage) as graph:
        for engine in ENGINES:
            runs: dict[int, list[Taken[Drained]]] = {depth: [] for depth in depths}
            environments = {}
            for depth in depths:
                url = stage.database(engine)
                environments[depth] = stage.environment(
                    url, REDIS_URL=redis, WHATSAPP_GRAPH_URL=f"http://127.0.0.1:{graph}"
                )
                stage.noon()
                house = stage.house(url)
                open_store(house)
                house.close()
            for number in range(rounds):
                for depth in depths:
                    print(f"  drain, {engine}, {depth:,} waiting, round {number + 1}", flush=True)
                    ask = {"env": environments[depth], "depth": depth, "drained": drained, "send": depth == depths[0]}
                    runs[depth].append(referee.measure(partial(_in_process, ask)))
            found[engine] = _told(runs)
    return found


def _told(runs: dict[int, list[Taken[Drained]]]) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for depth, taken in runs.items():
        fair = [one.result for one in taken if not one.disturbance.disturbed] or [one.result for one in taken]
        told[str(depth)] = {
            **{name: round(median(getattr(one, name) for one in fair), 3) for name in ("per_second", "cost", "cpu")},
            "failed": sum(one.result.failed for one in taken),
            "disturbed": sum(one.disturbance.disturbed for one in taken),
            "runs": [
                {**asdict(one.result), "steal": one.disturbance.steal, "others": one.disturbance.others}
                for one in taken
            ],
        }
    sent = [one.result.sent_per_second for taken in runs.values() for one in taken if one.result.sent]
    depths = list(runs)
    growth = [
        deep.result.cost / shallow.result.cost for deep, shallow in zip(runs[depths[-1]], runs[depths[0]], strict=True)
    ]
    return told | {
        "sent_per_second": round(median(sent), 1) if sent else 0.0,
        "growth": {"median": round(median(growth), 3), "least": round(min(growth), 3), "most": round(max(growth), 3)},
    }


@contextmanager
def _instant_channel(stage: Stage) -> Iterator[int]:
    """The Graph API that takes everything at once, on the core the worker does not need."""
    at = port()
    process = subprocess.Popen([sys.executable, "-m", "bench.graph", str(at)], preexec_fn=pinned(seats()[1]))
    try:
        yield at
    finally:
        process.terminate()
        process.wait(5)


def _in_process(ask: dict[str, Any]) -> Drained:
    return Drained(**json.loads(_run(ask)))


def _fill_in_process(env: dict[str, str], depth: int) -> None:
    _run({"env": env, "fill": depth})


def _run(ask: dict[str, Any]) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "bench.drain", json.dumps(ask)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        preexec_fn=pinned(None),
    )
    if done.returncode:
        raise RuntimeError(f"the drain failed: {done.stderr[-2000:]}")
    return done.stdout


# -- in the process ------------------------------------------------------------------------------------------------


class Backlog:
    """The deliveries waiting for the one store."""

    def __init__(self, house: House) -> None:
        self._house = house
        with house.db.operator() as session:
            connection = session.scalars(select(Connection).where(Connection.adapter == "shopify")).one()
            self.store_id, self._connection_id = connection.store_id, connection.id
            self._stored = session.scalar(select(func.count(WebhookDelivery.id))) or 0

    def waiting(self) -> int:
        with self._house.db.operator() as session:
            query = select(func.count()).where(
                WebhookDelivery.store_id == self.store_id, WebhookDelivery.state == inline("received")
            )
            return session.scalar(query) or 0

    def not_processed(self) -> int:
        """How many were looked at and did not become an order."""
        with self._house.db.operator() as session:
            query = select(func.count()).where(WebhookDelivery.state.not_in(("received", "processed")))
            return session.scalar(query) or 0

    def fill(self, depth: int) -> None:
        """Store orders, as `receive` does, until so many wait."""
        adapter, now = self._house.registry.get("stores", "shopify"), self._house.clock.now()
        at = now.isoformat(timespec="seconds")
        missing = depth - self.waiting()
        for batch in range(0, missing, 1000):
            rows = []
            for _ in range(min(missing - batch, 1000)):
                self._stored += 1
                headers = {
                    "x-shopify-topic": "orders/create",
                    "x-shopify-shop-domain": SHOP,
                    "x-shopify-webhook-id": orders.webhook_id(self._stored),
                }
                rows.append(
                    delivery_row(
                        "stores",
                        "shopify",
                        adapter,
                        WebhookRequest(headers, orders.body(self._stored, at)),
                        store_id=self.store_id,
                        connection_id=self._connection_id,
                        account=SHOP,
                        source="webhook",
                        at=now,
                    )
                )
            insert_ignoring(self._house.db, DELIVERIES, rows)


def drain(ask: dict[str, Any]) -> Drained:
    """Warm up, then fill to the depth and drain for as long as a worker's job may, until enough are done."""
    house = build_house(ask["env"])
    house.ring = worker.bell(house.settings.redis_url).ring
    worker.spare_the_collector()
    backlog = Backlog(house)
    _fill_in_process(ask["env"], _WARM)
    ingest.process(house, backlog.store_id)
    processed, seconds, cpu = 0, 0.0, 0.0
    while processed < ask["drained"]:
        _fill_in_process(ask["env"], ask["depth"])
        began, began_cpu = time.perf_counter(), time.process_time()
        ingest.process(house, backlog.store_id)
        seconds += time.perf_counter() - began
        cpu += time.process_time() - began_cpu
        done = ask["depth"] - backlog.waiting()
        if not done:
            raise RuntimeError("nothing was drained")
        processed += done
    sent, sending = _send(house, backlog.store_id) if ask["send"] else (0, 1.0)
    failed = backlog.not_processed()
    house.close()
    return Drained(
        processed=processed,
        seconds=round(seconds, 3),
        per_second=round(processed / seconds, 1),
        cost=round(seconds / processed * 1000, 4),
        cpu=round(cpu / processed * 1000, 4),
        failed=failed,
        sent=sent,
        sent_per_second=round(sent / sending, 1),
    )


def _send(house: House, store_id: int) -> tuple[int, float]:
    """Send what the drained orders asked for. Returns how many, and the seconds."""
    before, began = _sent(house), time.perf_counter()
    while outbox.deliver(house, store_id):
        pass
    took = time.perf_counter() - began
    return _sent(house) - before, took


def _sent(house: House) -> int:
    with house.db.operator() as session:
        return session.scalar(select(func.count()).where(Outbox.state == "sent")) or 0


def _fill(ask: dict[str, Any]) -> None:
    house = build_house(ask["env"])
    Backlog(house).fill(ask["fill"])
    house.close()


def main(ask: dict[str, Any]) -> None:
    set_up_logs("warning")
    if "fill" in ask:
        _fill(ask)
    else:
        print(json.dumps(asdict(drain(ask))))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
