"""Two thousand orders while everything fails; then the ledger.

    python -m bench.chaos                        both databases, one seed (`make chaos`)
    python -m bench.chaos --seeds 1 2 3          several runs in a row
    python -m bench.chaos --engine sqlite --orders 300

Before any trouble one order of each kind is played through in each store. What those phones showed and what those
stores kept is the standard: after the trouble every order must have brought the same messages, once each, and left
the same marks in its store. So nothing here repeats what the journeys say.

The trouble: web, workers and clock end by SIGKILL, at labelled points between two commits and at random; Redis is
flushed, stopped and killed; the fake Graph API throttles, fails, answers rubbish, and takes messages without ever
saying so; webhooks come twice and in the wrong order; the stores' APIs fail now and then; a courier and a gateway lose
some of what they should tell, and take calls without an answer.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import random
import re
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import func, select, update

import run
from integration.couriers import put_booking
from integration.dispatch import ServedCity, atlases
from integration.house import House
from integration.ingest import WebhookDelivery
from integration.intents import PaymentIntent
from integration.orders import Order, Payment, Shipment
from integration.outbox import Outbox
from integration.stores import Connection, connect
from integration.vault import new_token, token_hash
from sandbox.couriers import KEY, PASSWORD
from sandbox.gateways import ACCOUNTS as GATEWAYS

from .stage import ENGINES, Stage
from .system import STORES, System, World, running, until

FIRST_RETRY, EVIDENCE_WAIT, SEND_LEASE = 0.25, 25, 10
"""Seconds, all shorter than in life so that a run takes minutes. With such a first retry the fake Graph API pauses at
most 7.5 s between two attempts to deliver a webhook, so three of them fit into the wait for evidence.
"""

CHECKPOINTS = {
    "receive.before_commit": 0.002, "receive.after_commit": 0.002, "process.before_commit": 0.02,
    "process.after_commit": 0.02, "advance.after_commit": 0.03, "deliver.after_claim": 0.02,
    "deliver.after_send": 0.004, "deliver.before_record": 0.02, "deliver.after_record": 0.02,
    "writeback.after_call": 0.01, "instruct.after_claim": 0.02, "instruct.after_call": 0.01,
    "instruct.before_record": 0.02, "checkout.after_claim": 0.02, "checkout.after_call": 0.02,
}  # fmt: skip

FAULTS = (
    ("whatsapp.api", "throttle_429", 0.03), ("whatsapp.api", "error_500", 0.03), ("whatsapp.api", "garbage", 0.01),
    ("whatsapp.api", "timeout_after_accept", 0.006), ("whatsapp.webhooks", "duplicate", 0.1),
    ("whatsapp.webhooks", "reorder", 0.1), ("whatsapp.webhooks", "delay", 0.02),
    ("shopify.webhooks", "duplicate", 0.1), ("shopify.webhooks", "reorder", 0.1), ("shopify.api", "error_500", 0.02),
    ("shopify.api", "throttle_429", 0.02), ("shopify.api", "timeout_after_accept", 0.003),
    ("woocommerce.webhooks", "duplicate", 0.1), ("woocommerce.webhooks", "reorder", 0.1),
    ("woocommerce.webhooks", "drop", 0.02), ("woocommerce.api", "error_500", 0.02),
    ("woocommerce.api", "timeout_after_accept", 0.003),
    ("leopards.webhooks", "duplicate", 0.1), ("leopards.webhooks", "reorder", 0.1), ("leopards.webhooks", "drop", 0.05),
    ("leopards.api", "error_500", 0.1), ("leopards.api", "timeout_after_accept", 0.06),
    ("razorpay.webhooks", "duplicate", 0.1), ("razorpay.webhooks", "reorder", 0.1), ("razorpay.webhooks", "drop", 0.05),
    ("razorpay.api", "error_500", 0.03), ("razorpay.api", "timeout_after_accept", 0.02),
)  # fmt: skip
"""What the fake vendors do wrong, and how often. WhatsApp never drops a webhook for good: it repeats them for days.
What a courier or a gateway never pushes is found when it is asked.
"""

COURIER, GATEWAY = "leopards", "razorpay"
SHIPPED = {"shopify": {"confirms", "has paid"}, "woocommerce": {"has paid"}}
"""Whose orders are sent: Shopify's by their merchant, WooCommerce's are booked here, two a second."""

SCANS = (("SP", "Shipment Picked"), ("AC", "Out for delivery"), ("DV", "Delivered"))
COMING, ARRIVED = 1, 2
"""Places in `SCANS`, which come in any order: who hears that it arrived is not told afterwards that it is coming."""

STORM = 90.0
"""Seconds the trouble goes on after the last order, unless everybody has heard before."""

FATES = {"confirms": 0.45, "cancels": 0.15, "is silent": 0.15, "has paid": 0.1, "pays": 0.15}
"""What the customer does, and the share of customers."""

TAPS: dict[str, tuple[int, ...]] = {"confirms": (0,), "cancels": (1, 2), "is silent": (), "has paid": (), "pays": ()}
"""Which button or row of each question they tap, by position: Confirm, or Cancel and then the third reason."""


# -- customers -----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Customer:
    """One order and whoever placed it."""

    store: str
    fate: str
    phone: str
    order_id: str = ""
    name: str = ""
    number: str = ""
    """Of the parcel, once it is sent."""
    tapped: list[str] = field(default_factory=list)


class Crowd:
    """All customers of a run: they buy, and tap what their fate says when the phone shows it."""

    def __init__(self, world: World, dice: random.Random, prefix: int) -> None:
        self._world, self._dice = world, dice
        self._prefix = prefix
        self.customers: list[Customer] = []

    def invite(self, store: str, fate: str) -> Customer:
        one = Customer(store, fate, f"+92300{self._prefix:02d}{len(self.customers):05d}")
        self.customers.append(one)
        return one

    def invite_many(self, count: int) -> None:
        fates = self._dice.choices(list(FATES), list(FATES.values()), k=count)
        for number, fate in enumerate(fates):
            self.invite(STORES[number % len(STORES)], fate)

    def buy(self, one: Customer) -> None:
        placed = self._world.ask(
            "POST",
            "orders",
            {
                "store": one.store,
                "payment": {"has paid": "prepaid", "pays": GATEWAY}.get(one.fate, "cod"),
                "customer": {"name": "Ayesha Khan", "phone": one.phone, "city": "Lahore", "locale": "en"},
                "items": [{"sku": "KHS-01", "quantity": 2}],
            },
        )
        one.order_id, one.name = placed["order_id"], placed["name"]

    def look(self) -> None:
        """Everybody glances at the phone once and taps what is to be tapped."""
        shown = self._world.phones()
        for one in self.customers:
            last = (shown.get(one.phone) or {}).get("last")
            if not last or last["from"] != "business" or len(one.tapped) >= len(TAPS[one.fate]):
                continue
            choices = [*last["buttons"], *(last.get("list") or {}).get("rows", ())]
            if choices and last["id"] not in one.tapped:
                position = TAPS[one.fate][len(one.tapped)]
                one.tapped.append(last["id"])
                self._world.ask("POST", f"phones/{one.phone}/tap", {"message_id": last["id"], "button": position})

    def transcript(self, one: Customer) -> list[str]:
        """What the shop said to this customer, in order, without what differs between two orders."""
        said = self._world.ask("GET", f"phones/{one.phone}")["messages"]
        return [self._standard(one, m) for m in said if m["from"] == "business"]

    @staticmethod
    def _standard(one: Customer, message: dict[str, Any]) -> str:
        words = re.sub(r"https?://\S+", "<link>", (message["text"] or "").replace(one.name, "<order>"))
        words = words.replace(one.number, "<number>") if one.number else words
        return f"{message.get('template') or message['type']}: {' '.join(words.split())}"

    def mark(self, one: Customer) -> dict[str, Any]:
        """What the store keeps of it, without what differs between two orders."""
        told = self._world.ask("GET", f"orders/{one.order_id}")
        ours = {name: value for name, value in told["meta"].items() if "dastak" in name and not name.endswith("_at")}
        return {
            "status": told["status"],
            "payment": told["payment_status"],
            "tags": sorted(told["tags"]),
            "meta": {name: _nameless(one, str(value)) for name, value in ours.items()},
            "notes": sorted(
                _nameless(one, note["note"]) for note in told["notes"] if not note["note"].startswith(_NOT_OURS)
            ),
        }


_NOT_OURS = ("Order status", "Leopards")
"""Notes that differ from order to order: the store's own, and where the parcel was when the store was told."""


def _nameless(one: Customer, kept: str) -> str:
    """What a store keeps, without the names of one payment."""
    return re.sub(rf"pay_\w+|{re.escape(one.name.lstrip('#'))}-\w+", "<payment>", kept)


class Payers:
    """Those of a crowd who pay at a gateway, in whatever trouble, and press again when a page did not open."""

    def __init__(self, system: System, house: House) -> None:
        self._world, self._house, self._app = system.world, house, system.app

    def connect(self) -> None:
        """Both merchants have an account at the gateway, which tells both of every payment: it is one account."""
        for store in STORES:
            token = new_token()
            with self._house.db.operator_writing() as session:
                platform = session.scalars(select(Connection).where(Connection.adapter == store)).first()
                assert platform is not None
                connect(
                    session, store_id=platform.store_id, room="payments", adapter=GATEWAY, account=f"{GATEWAY}/{store}",
                    credentials={**GATEWAYS[GATEWAY], "address_token": token}, state={}, vault=self._house.vault,
                    token_hash=token_hash(token),
                )  # fmt: skip
            url = f"{self._app}/webhooks/payments/{GATEWAY}/{token}"
            self._world.ask("POST", "gateways", {"gateway": GATEWAY, "push_url": url, "shop": store})

    def pay(self, crowd: Crowd) -> None:
        """Everybody pays once, a few at a time."""
        _few_at_once([one for one in crowd.customers if one.fate == "pays"], self._pay)

    def _pay(self, one: Customer) -> None:
        """Once; and once more when no page opened. Who was told nothing may have paid all the same."""
        told = {"gateway": GATEWAY, "order_id": one.order_id, "outcome": "paid"}
        deadline = time.monotonic() + 240
        while True:
            try:
                self._world.ask("POST", "payments", told)
                return
            except RuntimeError as fault:
                if "is paid" in str(fault):
                    return
                if time.monotonic() > deadline:
                    raise
                time.sleep(2)

    def audit(self, ledger: Ledger, crowd: Crowd) -> None:
        """What the gateway holds against what we do: every payment once, over its amount, on its order."""
        taken = {
            one["reference"]: one["state"] for one in self._world.ask("GET", f"gateways?gateway={GATEWAY}")["checkouts"]
        }
        with self._house.db.operator() as session:
            of = {row.id: row for row in session.scalars(select(Order))}
            intents = {row.reference: row.order_id for row in session.scalars(select(PaymentIntent))}
            paid = Counter(
                session.scalars(select(Payment.order_id).where(Payment.status == "paid", Payment.source == GATEWAY))
            )
        wanted = {one.order_id for one in crowd.customers if one.fate == "pays"}
        for reference, state in taken.items():
            order = of.get(intents.get(reference, 0))
            if state == "paid" and order is None:
                ledger.lost.append(f"{reference}: paid at the gateway, and nobody here knows for what")
            if order is None or state != "paid" or order.external_id not in wanted:
                continue
            if not paid[order.id] or order.payment != "paid":
                ledger.lost.append(f"{order.name}: paid as {reference} at the gateway, {order.payment} here")
            if order.received != order.total:
                ledger.wrong.append(f"{order.name}: {order.received} received of {order.total}")
        ledger.payments = sum(state == "paid" for state in taken.values())
        for order_id, count in paid.items():
            if count > 1:
                ledger.doubled.append(f"{of[order_id].name}: {count} payments")
            if of[order_id].external_id in wanted and not any(
                taken.get(reference) == "paid" for reference, owner in intents.items() if owner == order_id
            ):
                ledger.wrong.append(f"{of[order_id].name}: paid here, and not at the gateway")


class Parcels:
    """The parcels of a crowd: handed over, then scanned to the door, in whatever order and as often as it comes."""

    def __init__(self, system: System, house: House, dice: random.Random) -> None:
        self._world, self._house, self._dice, self._app = system.world, house, dice, system.app
        self._numbers = itertools.count(100_000_001)

    def connect(self) -> None:
        """Both merchants have an account at the courier, which pushes everything to both: it is one account."""
        for store in STORES:
            token = new_token()
            with self._house.db.operator_writing() as session:
                platform = session.scalars(select(Connection).where(Connection.adapter == store)).first()
                assert platform is not None
                connect(
                    session, store_id=platform.store_id, room="couriers", adapter=COURIER, account=f"{COURIER}/{store}",
                    credentials={"api_key": KEY, "api_password": PASSWORD}, state={}, vault=self._house.vault,
                    token_hash=token_hash(token),
                )  # fmt: skip
            url = f"{self._app}/webhooks/couriers/{COURIER}/{token}"
            self._world.ask("POST", "couriers", {"courier": COURIER, "push_url": url, "shop": store})
        until(lambda: self._cities() == len(STORES), "the courier's cities are known")

    def _cities(self) -> int:
        """How many stores know where their courier goes."""
        with self._house.db.operator() as session:
            return session.scalar(select(func.count(ServedCity.connection_id.distinct()))) or 0

    def hand_over(self, crowd: Crowd) -> None:
        for one in crowd.customers:
            if one.fate not in SHIPPED[one.store]:
                continue
            if one.store == "shopify":
                one.number = f"KI{next(self._numbers)}"
                told = {"store": one.store, "action": "fulfil", "company": "LCS", "tracking_number": one.number}
                self._world.ask("POST", f"orders/{one.order_id}", told)
            else:
                self._book(one)

    def _book(self, one: Customer) -> None:
        with self._house.db.operator() as looking:
            order = looking.scalars(select(Order).where(Order.external_id == one.order_id)).one()
            store_id, order_id = order.store_id, order.id
        with self._house.db.lane(store_id) as session:
            order = session.get_one(Order, order_id)
            mine = select(Connection).where(Connection.adapter == COURIER, Connection.store_id == store_id)
            courier = session.scalars(mine).one()
            city = atlases(session)[courier.id].find("Lahore")
            assert city is not None
            put_booking(session, order, courier, {"city": city.name, "city_code": city.code, "weight": "0.5"})

    def learn_numbers(self, crowd: Crowd) -> int:
        """Under which number each was booked. Returns how many are still without one."""
        with self._house.db.operator() as session:
            rows = session.execute(
                select(Order.external_id, Shipment.tracking_number).join(Shipment, Shipment.order_id == Order.id)
            )
            known = {external_id: number for external_id, number in rows if number}
        for one in crowd.customers:
            one.number = one.number or known.get(one.order_id, "")
        return sum(not one.number for one in crowd.customers if one.fate in SHIPPED[one.store])

    def scan(self, crowd: Crowd, *, wildly: bool, only: int | None = None) -> None:
        """Every parcel to the door, or its nth scan only. Wildly: shuffled, some doubled, some old and late."""
        now = self._house.clock.now()
        scans = [
            (one.number, code, text, now - timedelta(minutes=3 - place))
            for one in crowd.customers
            if one.number
            for place, (code, text) in enumerate(SCANS)
            if only in (None, place)
        ]
        if wildly:
            old = [(n, "AC", "Out for delivery", now - timedelta(days=3)) for n, code, *_ in scans if code == "SP"]
            scans += self._dice.sample(scans, len(scans) // 5) + self._dice.sample(old, len(old) // 3)
            self._dice.shuffle(scans)
        for number, code, text, at in scans:
            told = {"courier": COURIER, "tracking_number": number, "code": code, "text": text, "at": at.isoformat()}
            self._world.ask("POST", "scans", told)
        with self._house.db.operator_writing() as session:  # and the couriers are asked at the same time
            session.execute(update(Shipment).where(Shipment.poll_at.is_not(None)).values(poll_at=now))

    def doubled(self, crowd: Crowd) -> list[str]:
        """Orders that the courier took on twice."""
        booked = Counter(p["order"] for p in self._world.ask("GET", f"couriers?courier={COURIER}")["parcels"])
        return [f"{reference}: booked {count} times" for reference, count in booked.items() if reference and count > 1]


# -- trouble -------------------------------------------------------------------------------------------------------


class Hardened(run.Supervisor):
    """The supervisor of `make run`, which can also be told to arm its processes and to leave one lying for a while."""

    def __init__(self, env: dict[str, str], logs: Path) -> None:
        super().__init__(env, logs)
        self._lock = threading.RLock()
        self._lying: dict[str, float] = {}
        self.restarts: Counter[str] = Counter()

    def arm(self, spec: str) -> None:
        """From now on processes start with these checkpoints; those that run are ended for it."""
        with self._lock:
            self._env["CHAOS"] = spec
            for name in self.names():
                if name not in ("redis", "sandbox"):
                    self.kill(name)

    def kill(self, name: str, lie: float = 0.0) -> None:
        """SIGKILL to a process and its children; it is not started again for so many seconds."""
        with self._lock:
            self._lying[name] = time.monotonic() + lie
            process = self.running(name)
            for number in (process.pid, *_children(process.pid)):  # the parent first, or it starts another child
                with contextlib.suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)
            process.wait()

    def mend(self) -> list[str]:
        with self._lock:
            mended = []
            for name in list(self.names()):
                gone = self.running(name).poll() is not None
                if gone and time.monotonic() > max(self._lying.get(name, 0.0), self._started[name] + 0.3):
                    self.start(name, self._commands[name])
                    self.restarts[name] += 1
                    mended.append(name)
            return mended


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


class Trouble:
    """Makes it, by the seed, until told to stop."""

    def __init__(self, system: System, supervisor: Hardened, dice: random.Random) -> None:
        self._system, self._supervisor, self._dice = system, supervisor, dice
        self.made: Counter[str] = Counter()
        self._deeds: dict[Callable[[], None], int] = {
            lambda: self._kill("worker1"): 3,
            lambda: self._kill("worker2"): 3,
            lambda: self._kill("worker3"): 2,
            lambda: self._kill("web"): 2,
            lambda: self._kill("clock"): 1,
            self._flush: 2,
            lambda: self._kill("redis"): 1,
            lambda: self._kill("redis", lie=4.0): 1,
        }

    @contextlib.contextmanager
    def under_way(self, dice: random.Random) -> Iterator[None]:
        """Armed processes, faults, and a strike every few seconds."""
        self._begin()
        try:
            with repeating(self._strike, lambda: dice.uniform(4.0, 8.0)):
                yield
        finally:
            self._end()

    def _begin(self) -> None:
        self._supervisor.arm(",".join(f"{label}={chance}" for label, chance in CHECKPOINTS.items()))
        for target, mode, rate in FAULTS:
            self._system.world.ask("POST", "faults", {"target": target, "mode": mode, "rate": rate})

    def _strike(self) -> None:
        self._dice.choices(list(self._deeds), list(self._deeds.values()))[0]()

    def _end(self) -> None:
        self.made.update(
            {f"{f['target']} {f['mode']}": f["struck"] for f in self._system.world.ask("GET", "faults")["faults"]}
        )
        self._system.world.ask("DELETE", "faults")
        self._supervisor.arm("")

    def _kill(self, name: str, lie: float = 0.0) -> None:
        self.made[f"kill {name}" + (" for a while" if lie else "")] += 1
        self._supervisor.kill(name, lie)

    def _flush(self) -> None:
        self.made["flush redis"] += 1
        with contextlib.suppress(RedisError), contextlib.closing(Redis.from_url(self._system.redis_url)) as client:
            client.flushall()


@contextlib.contextmanager
def repeating(what: Callable[[], object], pause: Callable[[], float]) -> Iterator[list[BaseException]]:
    """Something done over and over beside the block. What it raised is raised when the block ends."""
    ended, faults = threading.Event(), list[BaseException]()

    def turn() -> None:
        while not ended.wait(pause()):
            try:
                what()
            except BaseException as fault:
                faults.append(fault)
                return

    thread = threading.Thread(target=turn)
    thread.start()
    try:
        yield faults
    finally:
        ended.set()
        thread.join()
    if faults:
        raise faults[0]


# -- a run ---------------------------------------------------------------------------------------------------------


@dataclass
class Ledger:
    """What the trouble left behind. Zero lost, doubled, wrong and unread is a pass."""

    engine: str
    seed: int
    orders: int
    messages: int = 0
    payments: int = 0
    """What the gateway took."""
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    """The store does not keep what it should, or a message says something else."""
    unsettled: list[str] = field(default_factory=list)
    deliveries: dict[str, int] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    """Every message whose outcome was in doubt, and what settled it."""
    trouble: dict[str, int] = field(default_factory=dict)
    restarts: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def holds(self) -> bool:
        bad = self.lost or self.doubled or self.wrong or self.unsettled
        return not bad and not self.deliveries.get("failed") and not self.deliveries.get("received")


def chaos(stage: Stage, engine: str, seed: int, orders: int) -> Ledger:
    """One run. The ledger says whether it holds."""
    began, dice = time.monotonic(), random.Random(seed)
    ledger = Ledger(engine, seed, orders)
    with running(
        stage,
        f"chaos-{engine}-{seed}",
        engine=engine,
        supervisor=Hardened,
        SANDBOX_FIRST_RETRY=str(FIRST_RETRY),
        EVIDENCE_WAIT=str(EVIDENCE_WAIT),
        SEND_LEASE=str(SEND_LEASE),
        COURIER_RATE="50",  # at a courier's own pace two shops would book for five minutes
    ) as system:
        supervisor = system.supervisor
        assert isinstance(supervisor, Hardened)
        with repeating(supervisor.mend, lambda: 0.2):
            house = stage.house(system.url)
            try:
                _play(system, supervisor, house, dice, ledger)
            except RuntimeError:
                for name in supervisor.names():
                    print(f"    {name}: {supervisor.tail(name, 5)[-1500:]}")
                raise
            finally:
                house.close()
        ledger.restarts = dict(supervisor.restarts)
    ledger.seconds = round(time.monotonic() - began, 1)
    return ledger


def _play(system: System, supervisor: Hardened, house: House, dice: random.Random, ledger: Ledger) -> None:
    world = system.world
    payers = Payers(system, house)
    payers.connect()
    parcels = Parcels(system, house, dice)
    parcels.connect()
    _advance(world, "10m")  # scans are minutes old, and those from before an account was connected are history
    standard = Crowd(world, dice, 10)
    for store in STORES:
        for fate in FATES:
            standard.buy(standard.invite(store, fate))
    with repeating(standard.look, lambda: 0.3):
        until(lambda: all(len(one.tapped) == len(TAPS[one.fate]) for one in standard.customers), "they have tapped")
    _settle(world, house)
    first = {(one.store, one.fate): len(standard.transcript(one)) for one in standard.customers}
    payers.pay(standard)
    _settle(world, house)
    bought = {(one.store, one.fate): len(standard.transcript(one)) for one in standard.customers}
    parcels.hand_over(standard)
    _settle(world, house)
    if parcels.learn_numbers(standard):
        raise RuntimeError("not every parcel of the standard was sent")
    sent = {(one.store, one.fate): len(standard.transcript(one)) for one in standard.customers}
    said: list[dict[tuple[str, str], set[str]]] = []
    for place in range(len(SCANS)):
        before = {(one.store, one.fate): Counter(standard.transcript(one)) for one in standard.customers}
        parcels.scan(standard, wildly=False, only=place)
        _settle(world, house)
        after = {(one.store, one.fate): Counter(standard.transcript(one)) for one in standard.customers}
        said.append({key: set(after[key] - before[key]) for key in after})
    for store, fates in SHIPPED.items():
        if not all(said[place][store, fate] for place in (COMING, ARRIVED) for fate in fates):
            raise RuntimeError(f"the standard of {store} does not hear of its parcel")

    calm = _pushed(house)
    crowd, trouble = Crowd(world, dice, 11), Trouble(system, supervisor, dice)
    crowd.invite_many(ledger.orders)
    with repeating(crowd.look, lambda: 1.0):
        _say("trouble begins")
        with trouble.under_way(dice):
            _buy(crowd)
            _say(f"{ledger.orders:,} orders are placed")
            _advance(world, "6m")  # reconciliation comes due: WooCommerce tells a thing once and never again
            _wait(lambda: _heard(world, crowd, first), STORM)
        _say("trouble pauses")
        _advance(world, "6m")  # for what was lost since
        until(lambda: _heard(world, crowd, first), "every customer has heard", 600)
        _say("every customer has heard; who pays, pays in trouble")
        with trouble.under_way(dice):
            payers.pay(crowd)
            for _ in range(3):  # what the gateway tells nobody is asked for after one, three and ten minutes
                _advance(world, "4m")
                _wait(lambda: _heard(world, crowd, bought), STORM / 6)
        _advance(world, "30m")  # who was asked about in vain is asked about again
        until(lambda: _heard(world, crowd, bought), "every payment is acknowledged", 600)
        _say("every payment is acknowledged; four hours pass in trouble")
        silent = {key: count + 1 if key[1] == "is silent" else count for key, count in sent.items()}
        with trouble.under_way(dice):
            parcels.hand_over(crowd)
            _advance(world, "4h")
            _wait(lambda: _heard(world, crowd, silent), STORM / 2)
        until(lambda: _heard(world, crowd, silent), "the silent are reminded, parcels are on their way", 600)
        parcels.learn_numbers(crowd)
        _say("parcels are scanned to the door in trouble")
        arrived = {(store, fate): count + (fate in SHIPPED[store]) for (store, fate), count in silent.items()}
        with trouble.under_way(dice):
            parcels.scan(crowd, wildly=True)
            _advance(world, "3m")
            _wait(lambda: _heard(world, crowd, arrived), STORM / 2)
    _say("trouble ends; a day passes")
    _settle(world, house)
    for step in ("16h", "4h", "6m", "6m"):
        _advance(world, step)
        _settle(world, house)
    with repeating(crowd.look, lambda: 1.0):  # between two calls to a courier nothing waits, and yet something comes
        _wait(lambda: _heard(world, crowd, arrived), STORM * 2)
    _settle(world, house)
    ledger.trouble = dict(sorted(trouble.made.items()))
    ledger.unsettled += [f"nothing that {name} pushed arrived" for name in calm if _pushed(house)[name] <= calm[name]]
    for target in sorted({target for target, *_ in FAULTS}):
        if not any(count for what, count in trouble.made.items() if what.startswith(f"{target} ")):
            ledger.unsettled.append(f"nothing went wrong at {target}")
    _write(ledger, world, house, standard, crowd, parcels, said)
    payers.audit(ledger, crowd)


def _buy(crowd: Crowd) -> None:
    """A few shoppers at once, some sixty orders a second."""
    _few_at_once(crowd.customers, crowd.buy)


def _few_at_once(customers: list[Customer], does: Callable[[Customer], None]) -> None:
    waiting, lock = iter(customers), threading.Lock()
    faults: list[BaseException] = []

    def shop() -> None:
        while not faults:
            with lock:
                one = next(waiting, None)
            if one is None:
                return
            try:
                does(one)
            except BaseException as fault:
                faults.append(fault)
            time.sleep(0.05)

    shoppers = [threading.Thread(target=shop) for _ in range(4)]
    for shopper in shoppers:
        shopper.start()
    for shopper in shoppers:
        shopper.join()
    if faults:
        raise faults[0]


def _advance(world: World, how_far: str) -> None:
    world.ask("POST", "clock", {"advance": how_far})


def _heard(world: World, crowd: Crowd, due: dict[tuple[str, str], int]) -> bool:
    """Does every phone show as many messages as it should by now, the customer's own among them?"""
    shown = world.phones()
    missing = sum(
        1
        for one in crowd.customers
        if (shown.get(one.phone) or {}).get("messages", 0) < due[one.store, one.fate] + len(TAPS[one.fate])
    )
    _progress(len(crowd.customers) - missing, len(crowd.customers))
    time.sleep(0.8)
    return not missing


def _wait(true: Callable[[], bool], seconds: float) -> None:
    """Until something is so, or the time is over."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not true():
        pass


def _settle(world: World, house: House, seconds: float = 8.0 * EVIDENCE_WAIT) -> None:
    """Until nothing waits anywhere: no webhook, no unread delivery, no message or write-back."""
    calm = 0

    def quiet() -> bool:
        nonlocal calm
        calm = calm + 1 if world.idle() and not _waiting(house) else 0
        time.sleep(0.5)
        return calm >= 4

    until(quiet, f"everything is settled ({_waiting(house)})", seconds)


def _pushed(house: House) -> dict[str, int]:
    """How much the courier and the gateway have pushed here so far."""
    with house.db.operator() as session:
        count = select(func.count()).select_from(WebhookDelivery).where(WebhookDelivery.source == "webhook")
        return {name: session.scalar(count.where(WebhookDelivery.adapter == name)) or 0 for name in (COURIER, GATEWAY)}


def _waiting(house: House) -> dict[str, int]:
    """What is still under way."""
    now = house.clock.now()
    with house.db.operator() as session:
        due = (Outbox.state != "queued") | (Outbox.due_at <= now)
        open_ = select(Outbox.state, func.count()).where(Outbox.state.in_(("queued", "sending", "unknown")), due)
        found = {str(state): int(count) for state, count in session.execute(open_.group_by(Outbox.state))}
        unread = select(func.count()).select_from(WebhookDelivery).where(WebhookDelivery.state == "received")
        if count := session.scalar(unread):
            found["unread"] = count
    return found


# -- the ledger ----------------------------------------------------------------------------------------------------


def _in_time(said: list[str], coming: set[str], arrived: set[str]) -> bool:
    last = max((at for at, text in enumerate(said) if text in coming), default=-1)
    return last < min((at for at, text in enumerate(said) if text in arrived), default=len(said))


def _write(
    ledger: Ledger,
    world: World,
    house: House,
    standard: Crowd,
    crowd: Crowd,
    parcels: Parcels,
    scanned: list[dict[tuple[str, str], set[str]]],
) -> None:
    """`scanned`: what each of `SCANS` makes the shop say."""
    words = {(one.store, one.fate): standard.transcript(one) for one in standard.customers}
    marks = {(one.store, one.fate): standard.mark(one) for one in standard.customers}
    for one in crowd.customers:
        key, said = (one.store, one.fate), crowd.transcript(one)
        ledger.messages += len(said)
        who = f"{one.store} {one.name} ({one.fate})"
        due, shown = Counter(words[key]), Counter(said)
        for text, count in (due - shown).items():
            if text not in scanned[COMING][key]:
                ledger.lost.append(f"{who}: {count} x {text[:100]}")
        if not _in_time(said, scanned[COMING][key], scanned[ARRIVED][key]):
            ledger.wrong.append(f"{who}: heard that the rider is coming after it was delivered")
        for text, count in (shown - due).items():
            (ledger.doubled if text in due else ledger.wrong).append(f"{who}: {count} x {text[:100]}")
        if (mark := crowd.mark(one)) != marks[key]:
            ledger.wrong.append(f"{who}: the store keeps {mark}, not {marks[key]}")
    ledger.doubled += parcels.doubled(crowd)
    ledger.unsettled += [f"{state}: {count}" for state, count in _waiting(house).items()]
    with house.db.operator() as session:
        counted = session.execute(select(WebhookDelivery.state, func.count()).group_by(WebhookDelivery.state))
        ledger.deliveries = {str(state): int(count) for state, count in counted}
        doubtful = select(Outbox, Order.name).join(Order, Order.id == Outbox.order_id, isouter=True)
        doubtful = doubtful.where(Outbox.unknown_at.is_not(None), Outbox.kind == "message").order_by(Outbox.id)
        for row, name in session.execute(doubtful):
            step = row.key.rsplit("/", 1)[-1]
            settled = {
                "status": "a status webhook proved it taken",
                "answer": f"no proof came, attempt {row.attempts} was taken",
                "rule": "given up by its class",
            }.get(row.settled_by, "not settled")
            ledger.unknown.append(f"{name or 'no order'} {step}: {settled}")
    if len(crowd.customers) != ledger.orders or not all(words.values()):
        ledger.unsettled.append("the standard itself brought no messages")


def _say(words: str) -> None:
    print(f"\r  {time.strftime('%H:%M:%S')} {words:<60}", flush=True)


def _progress(done: int, of: int) -> None:
    if sys.stdout.isatty():
        print(f"\r    {done:,} of {of:,}", end="", flush=True)


def show(ledger: Ledger) -> None:
    """The ledger, for people."""
    verdict = "HOLDS" if ledger.holds else "DOES NOT HOLD"
    print(f"\n  {ledger.engine}, seed {ledger.seed}: {verdict}, in {ledger.seconds:.0f} s")
    print(
        f"    orders {ledger.orders:,}, messages on the phones {ledger.messages:,}, payments at the gateway "
        f"{ledger.payments:,}"
    )
    for name in ("lost", "doubled", "wrong", "unsettled"):
        found = getattr(ledger, name)
        print(f"    {name:<10}{len(found)}")
        for line in found[:10]:
            print(f"      {line}")
    ways = Counter(line.split(": ", 1)[1] for line in ledger.unknown)
    print(f"    in doubt  {len(ledger.unknown)}: " + ("; ".join(f"{n} {way}" for way, n in ways.items()) or "none"))
    for line in ledger.unknown[:8]:
        print(f"      {line}")
    if len(ledger.unknown) > 8:
        print("      … all of them are in the JSON")
    print("    mail      " + ", ".join(f"{count:,} {state}" for state, count in sorted(ledger.deliveries.items())))
    print("    trouble   " + ", ".join(f"{count} x {what}" for what, count in ledger.trouble.items()))
    print("    started again after a kill: " + ", ".join(f"{name} {n}" for name, n in sorted(ledger.restarts.items())))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.chaos", description=__doc__.split("\n")[0])
    parser.add_argument("--orders", type=int, default=2000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[random.SystemRandom().randrange(1_000_000)])
    parser.add_argument("--engine", choices=ENGINES, action="append", help="default: both")
    given = parser.parse_args()
    ledgers: list[Ledger] = []
    with Stage.begin() as stage:
        for seed in given.seeds:
            for engine in given.engine or ENGINES:
                print(f"\n  {given.orders:,} orders on {engine}, seed {seed}", flush=True)
                ledgers.append(chaos(stage, engine, seed, given.orders))
                show(ledgers[-1])
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    (results / "chaos.json").write_text(json.dumps([asdict(one) | {"holds": one.holds} for one in ledgers], indent=1))
    print(
        f"\n  {sum(one.holds for one in ledgers)} of {len(ledgers)} runs hold; all of it is in bench/results/chaos.json"
    )
    sys.exit(0 if all(one.holds for one in ledgers) else 1)


if __name__ == "__main__":
    main()
