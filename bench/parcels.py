"""(d) What it takes to ask couriers after 200,000 parcels of 500 stores: calls, their pace, and memory.

All parcels are due at once, as after an outage, which is the worst there is. One pass asks after each; the courier's
own ledger then tells how many calls that took, how full they were and how fast they came from each account, and the
table of parcels tells how evenly the next pass is spread over its interval.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import func, insert, select

from integration import tracking
from integration.house import House
from integration.orders import Order, Shipment, ShipmentEvent
from integration.ports import StoreProfile
from integration.stores import connect, install

from .machine import pinned, seats
from .stage import ENGINES, Stage, port

WORKERS = 24
"""Jobs at once, as many workers' would be: a job mostly waits for its next call."""

_MOVING = datetime(2026, 11, 20, 5, 0, tzinfo=UTC)
"""What the courier says, ten in the morning in Pakistan: the house knows it already, so a pass stores nothing new."""


@dataclass(frozen=True, slots=True)
class Size:
    stores: int = 500
    parcels: int = 200_000

    @property
    def each(self) -> int:
        return self.parcels // self.stores


def measure(stage: Stage, size: Size) -> dict[str, Any]:
    """One pass over everything, on both engines."""
    found: dict[str, Any] = {"stores": size.stores, "parcels": size.parcels}
    for engine in ENGINES:
        ledger = stage.folder / f"courier-{engine}.json"
        with _instant_courier(ledger) as url:
            house = stage.house(stage.database(engine), LEOPARDS_URL=url)
            try:
                print(f"  parcels, {engine}: {size.parcels:,} of {size.stores} stores are handed over", flush=True)
                accounts = _fill(house, size)
                print(f"  parcels, {engine}: one pass", flush=True)
                found[engine] = _pass(house, accounts, size) | _calls(ledger) | _spread(house)
            finally:
                house.close()
    return found


@contextmanager
def _instant_courier(ledger: Path) -> Iterator[str]:
    at = port()
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.courier", str(at), str(ledger)], preexec_fn=pinned(seats()[1])
    )
    try:
        yield f"http://127.0.0.1:{at}"
    finally:
        process.terminate()
        process.wait()


def _fill(house: House, size: Size) -> list[tuple[int, int]]:
    """Stores with an account each, and parcels on their way. Returns (store, connection) of each."""
    accounts = []
    now = house.clock.now()
    for number in range(size.stores):
        with house.db.operator_writing() as session:
            store = install(
                session,
                adapter="shopify",
                profile=StoreProfile(f"Shop {number}", f"s{number}.myshopify.com", "Asia/Karachi", "PKR", "PK"),
                credentials={"access_token": "shpat_bench"},
                state={},
                vault=house.vault,
            )
            keys = {"api_key": f"key-{number}", "api_password": "bench"}
            courier = connect(
                session, store_id=store.id, room="couriers", adapter="leopards", account=f"leopards/{number}",
                credentials=keys, state={}, vault=house.vault,
            )  # fmt: skip
            accounts.append((store.id, courier.id))
        with house.db.lane(store.id) as session:
            orders = [
                {"store_id": store.id, "external_id": str(n), "name": f"#{n}", "placed_at": now, "changed_at": now,
                 "seen_at": now, "currency": "PKR", "total": Decimal(1000), "gateway": "cod", "is_cod": True,
                 "confirmation": "confirmed", "payment": "cod_due", "fulfilment": "in_transit"}
                for n in range(size.each)
            ]  # fmt: skip
            session.execute(insert(Order), orders)
            ids = session.scalars(select(Order.id).where(Order.store_id == store.id).order_by(Order.id)).all()
            parcels = [
                {"store_id": store.id, "order_id": order_id, "external_id": "1", "courier": "LCS",
                 "tracking_number": f"KI{number:04d}{at:05d}", "adapter": "leopards", "poll_at": now,
                 "token": f"{number}-{at}"}
                for at, order_id in enumerate(ids)
            ]  # fmt: skip
            session.execute(insert(Shipment), parcels)
            rows = session.execute(
                select(Shipment.id, Shipment.tracking_number).where(Shipment.store_id == store.id)
            ).all()
            scans = [
                {"store_id": store.id, "shipment_id": row.id, "tracking_number": row.tracking_number,
                 "status": "in_transit", "raw_code": "Dispatched", "occurred_at": _MOVING, "seen_at": now}
                for row in rows
            ]  # fmt: skip
            session.execute(insert(ShipmentEvent), scans)
    return accounts


def _pass(house: House, accounts: list[tuple[int, int]], size: Size) -> dict[str, Any]:
    waiting, lock, faults = iter(accounts), threading.Lock(), Counter[str]()
    memory = [_resident()]

    def work() -> None:
        while True:
            with lock:
                one = next(waiting, None)
                memory.append(_resident())
            if one is None:
                return
            try:
                tracking.track(house, *one)
            except Exception as fault:
                faults[type(fault).__name__] += 1

    began = time.monotonic()
    workers = [threading.Thread(target=work) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    seconds = time.monotonic() - began
    tenth = max(len(memory) // 10, 1)
    with house.db.operator() as session:
        left = session.scalar(select(func.count()).select_from(Shipment).where(Shipment.poll_at <= house.clock.now()))
    return {
        "seconds": round(seconds, 1),
        "parcels_per_second": round(size.parcels / seconds),
        "not_asked": left or 0,
        "faults": dict(faults),
        "memory_mb": {"after_a_tenth": round(memory[tenth], 1), "at_the_end": round(memory[-1], 1)},
        "memory_growth": round(memory[-1] / memory[tenth], 3),
    }


def _resident() -> float:
    """Megabytes of this process, now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def _calls(ledger: Path) -> dict[str, Any]:
    """What the courier saw."""
    time.sleep(1.0)  # it writes its ledger twice a second
    calls: list[tuple[str, float, int]] = [tuple(one) for one in orjson.loads(ledger.read_bytes())]
    by_account: dict[str, list[float]] = {}
    for account, at, _ in calls:
        by_account.setdefault(account, []).append(at)
    busiest = max(sum(at <= other < at + 1.0 for other in times) for times in by_account.values() for at in times)
    return {
        "calls": len(calls),
        "parcels_a_call": round(sum(many for *_, many in calls) / len(calls), 1),
        "most_calls_of_an_account_in_a_second": busiest,
    }


def _spread(house: House) -> dict[str, Any]:
    """How evenly the next pass lies over its interval of three hours: the fullest tenth, as a multiple of its share."""
    every = timedelta(hours=3)
    with house.db.operator() as session:
        due = [at for at in session.scalars(select(Shipment.poll_at)) if at is not None]
    first = min(due)
    tenths = Counter(min(int((at - first) / (every / 10)), 9) for at in due)
    return {"fullest_tenth": round(max(tenths.values()) / (len(due) / 10), 3)}
