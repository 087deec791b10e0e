"""(b) From order to message: a burst of cash orders in both stores, everything running as `make run` starts it.

Orders are placed through the sandbox; each customer has a phone of their own; the fake Graph API notes when it took
the confirmation. App, workers, Redis and the three fake vendors share the machine's cores. A number's throughput is
WhatsApp's own rule: at 80 messages a second two numbers cannot send 2,000 in less than 12.5 s, whatever we do, so the
same burst is also measured with 1,000 a second.
"""

from __future__ import annotations

import itertools
import threading
import time
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from statistics import median
from typing import Any

from .machine import Referee, Taken
from .stage import Stage
from .system import STORES, World, running, until

_PLACERS = 4
_phones = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Burst:
    """What became of one burst. Seconds."""

    orders: int
    placing: float
    """How long it took to place them all."""
    p50: float
    p99: float
    last: float
    """Of the time from placing an order to the fake Graph API's receipt of its message."""
    all_out: float
    """From the first order placed to the last message received."""
    per_second: float
    missing: int
    doubled: int


def measure(stage: Stage, referee: Referee, *, orders: int, rounds: int) -> dict[str, Any]:
    """Bursts with each throughput, on a system started for it."""
    found: dict[str, Any] = {"orders": orders}
    for throughput in (80, 1000):
        print(f"  burst of {orders:,} orders, {throughput} messages a second a number", flush=True)
        with running(stage, f"burst-{throughput}", throughput=throughput) as system:
            world = system.world
            if burst(world, 2 * len(STORES)).missing:
                raise RuntimeError("the first orders brought no message; see the logs of the system")
            taken = [referee.measure(partial(burst, world, orders)) for _ in range(rounds)]
        found[f"{throughput} per second"] = _told(taken)
    return found


def _told(taken: list[Taken[Burst]]) -> dict[str, Any]:
    fair = [one.result for one in taken if not one.disturbance.disturbed] or [one.result for one in taken]
    figures = ("placing", "p50", "p99", "last", "all_out", "per_second")
    return {
        **{name: round(median(getattr(one, name) for one in fair), 2) for name in figures},
        "missing": sum(one.result.missing for one in taken),
        "doubled": sum(one.result.doubled for one in taken),
        "disturbed": sum(one.disturbance.disturbed for one in taken),
        "runs": [
            {
                **{name: getattr(one.result, name) for name in (*figures, "missing", "doubled")},
                "steal": one.disturbance.steal,
                "others": one.disturbance.others,
                "attempts": one.attempts,
            }
            for one in taken
        ],
    }


# -- the burst -----------------------------------------------------------------------------------------------------


def burst(world: World, orders: int, patience: float = 120.0) -> Burst:
    """Place so many orders, alternately in both stores, as fast as the sandbox takes them; wait for their messages."""
    until(world.idle, "the sandbox is idle")
    before = int(world.ask("GET", "health")["messages"])
    phones = [f"+92300{next(_phones):07d}" for _ in range(orders)]
    placed: dict[str, float] = {}
    offset = world.offset()
    began = time.time()
    _place(world, phones, placed)
    placing = time.time() - began
    deadline = time.monotonic() + patience
    while int(world.ask("GET", "health")["messages"]) - before < orders and time.monotonic() < deadline:
        time.sleep(0.2)
    until(world.idle, "the sandbox is idle")
    time.sleep(0.5)  # whoever sends twice has had the time for it
    shown = world.phones()
    heard = {phone: shown[phone] for phone in phones if shown.get(phone, {}).get("messages")}
    received = {phone: datetime.fromisoformat(one["last"]["at"]).timestamp() - offset for phone, one in heard.items()}
    waits = sorted(received[phone] - placed[phone] for phone in received)
    all_out = max(received.values(), default=began) - began
    return Burst(
        orders=orders,
        placing=round(placing, 3),
        p50=round(waits[len(waits) // 2], 3) if waits else 0.0,
        p99=round(waits[int(len(waits) * 0.99)], 3) if waits else 0.0,
        last=round(waits[-1], 3) if waits else 0.0,
        all_out=round(all_out, 3),
        per_second=round(len(waits) / all_out, 1) if all_out > 0 else 0.0,
        missing=orders - len(heard),
        doubled=sum(1 for one in heard.values() if one["messages"] > 1),
    )


def _place(world: World, phones: list[str], placed: dict[str, float]) -> None:
    """A few shoppers at once. The time that counts is when the order is sent off, before the store has it."""
    faults: list[BaseException] = []

    def shop(part: int) -> None:
        line = world.line()
        try:
            for number in range(part, len(phones), _PLACERS):
                order = {
                    "store": STORES[number % len(STORES)],
                    "payment": "cod",
                    "customer": {"name": "Ayesha Khan", "phone": phones[number], "city": "Lahore", "locale": "en"},
                    "items": [{"sku": "KHS-01", "quantity": 2}],
                }
                placed[phones[number]] = time.time()
                world.ask("POST", "orders", order, line)
        except BaseException as fault:
            faults.append(fault)
        finally:
            line.close()

    shoppers = [threading.Thread(target=shop, args=(part,)) for part in range(_PLACERS)]
    for shopper in shoppers:
        shopper.start()
    for shopper in shoppers:
        shopper.join()
    if faults:
        raise faults[0]
