"""Asking couriers where parcels are: of those that push nothing always, of those that push in case a push was lost.

Each shipment has a time at which it is asked about again, near when the door is near and far when nothing can have
happened. A chore of the courier's connection asks about those that are due, many in one call where the courier takes
many, never faster than `COURIER_RATE`. What is new in the answer goes through the door of webhooks, so a scan that was
pushed and polled is one scan.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from sqlalchemy import select, update
from sqlalchemy.orm import selectinload

from .access import open_account
from .db import Session
from .errors import NotUnderstood, TransientError
from .events import Fact, ShipmentScanned
from .house import House
from .ingest import post
from .orders import Shipment
from .parcels import BEFORE_PICKUP, STATUSES, Place, place, same_scan
from .ports import Tracks, WebhookRequest
from .stores import Connection, Store, hurry

CALLS = 20
"""Calls of one run: it stays far inside the chore's lease."""

_FAULTS = 3
"""Calls of one run that may fail before the courier is taken to be away."""

_CLAIMED = timedelta(minutes=15)
_REFUSED = timedelta(minutes=20)
_WORKING_HOURS = range(8, 22)
_TERMINAL = frozenset({"delivered", "returned", "cancelled"})
_NEAR = frozenset({"out_for_delivery", "attempted"})


def next_poll(
    parcel: Place, newest: datetime | None, since: datetime, now: datetime, zone: ZoneInfo, lot: float = 0.0
) -> datetime | None:
    """When to ask about a parcel again; None when never. `newest` is its newest scan, `since` when we met it.

    Every half hour while it is at somebody's door in working hours, every three hours while it moves, every twelve
    before it was picked up. Three days after its end, or 45 days after its last sign of life, it is left alone. `lot`
    is its account's share of each interval, see `_turn`.
    """
    last = newest or since
    if now - last > timedelta(days=45) or (parcel.status in _TERMINAL and now - last > timedelta(days=3)):
        return None
    if parcel.status in _TERMINAL:
        return _turn(now, timedelta(hours=24), lot)
    if parcel.status in _NEAR:
        soon = _turn(now, timedelta(minutes=30), lot)
        local = soon.astimezone(zone)
        if local.hour in _WORKING_HOURS:
            return soon
        opens = local.replace(hour=_WORKING_HOURS.start, minute=0, second=0, microsecond=0)
        opens = (opens if opens > local else opens + timedelta(days=1)).astimezone(UTC)
        return opens + lot * timedelta(minutes=30)
    if parcel.status not in STATUSES or parcel.status in BEFORE_PICKUP:
        return _turn(now, timedelta(hours=12), lot)
    return _turn(now, timedelta(hours=3), lot)


_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


def _turn(now: datetime, every: timedelta, lot: float) -> datetime:
    """The next of the moments, `every` apart, that an account has its lot at; not within a tenth of that.

    So the parcels of one account come due together, which fills the calls of couriers that take many at once, and the
    accounts of all stores are spread evenly over the interval, however they began: after an outage everything is due.
    """
    soonest = now + every / 10
    rounds = (soonest - _EPOCH - every * lot) // every
    return _EPOCH + every * (rounds + 1 + lot)


def lot_of(connection_id: int) -> float:
    """An account's place in every interval, from 0 to 1: by the golden ratio, so that any number of accounts are spread
    evenly.
    """
    return connection_id * 0.618_033_988_75 % 1.0


def track(house: House, store_id: int, connection_id: int) -> str:
    """Ask one courier about the parcels of one store that are due. Raises what the courier's adapter raises."""
    with house.db.read(store_id) as session:
        name = session.get_one(Connection, connection_id).adapter
    adapter = house.registry.get("couriers", name)
    assert isinstance(adapter, Tracks)
    numbers = _claim(house, store_id, name, CALLS * adapter.most_at_once)
    if not numbers:
        return "no parcel is due"
    account = open_account(house, store_id, connection_id)
    news, faults = 0, []
    for first in range(0, len(numbers), adapter.most_at_once):
        if first:
            time.sleep(1 / house.settings.courier_rate)
        some = numbers[first : first + adapter.most_at_once]
        try:
            news += _hear(house, store_id, connection_id, adapter, some, adapter.track(account, some))
        except TransientError as fault:  # perhaps of these parcels alone: the others must not wait behind them
            faults.append(fault)
            _put_off(house, store_id, some)
            if fault.retry_after or len(faults) >= _FAULTS:
                raise
    if faults:
        raise faults[0]
    with house.db.lane(store_id) as session:
        connection = session.get_one(Connection, connection_id)
        if connection.health == "broken":
            connection.mended()
        if len(numbers) == CALLS * adapter.most_at_once:
            hurry(session, connection_id, "track", after=timedelta(seconds=10))
    return f"{len(numbers)} parcels asked about, {news} answers with something new"


def _claim(house: House, store_id: int, courier: str, most: int) -> list[str]:
    """The numbers to ask about now, put off so that nobody else asks meanwhile and a failure asks again soon."""
    with house.db.lane(store_id) as session:
        _recognise(house, session)
        due = session.scalars(
            select(Shipment)
            .where(Shipment.poll_at <= session.now(), Shipment.adapter == courier)
            .order_by(Shipment.poll_at, Shipment.id)
            .limit(most)
        ).all()
        for shipment in due:
            shipment.poll_at = session.now() + _CLAIMED
        return list(dict.fromkeys(shipment.tracking_number for shipment in due))


def _recognise(house: House, session: Session) -> None:
    """Whose parcels are those whose courier nobody looked up yet? Of this store's couriers, the one that the order's
    store named, or whose page it links; when it named none, the only one that the merchant works with, or the only one
    whose numbers look like that. Else they are not followed, and the merchant is asked, see watch.py.
    """
    living = select(Connection.adapter).where(Connection.room == "couriers", Connection.removed_at.is_(None))
    couriers = list(dict.fromkeys(session.scalars(living)))
    nameless = session.scalars(
        select(Shipment).where(Shipment.poll_at <= session.now(), Shipment.adapter.not_in(couriers)).limit(500)
    ).all()
    if not nameless:
        return
    known = [one for name in couriers if isinstance(one := house.registry.find("couriers", name), Tracks)]
    for shipment in nameless:
        found = whose(shipment, known)
        if found:
            shipment.adapter = found
        else:
            shipment.poll_at = session.now() + timedelta(days=1)  # perhaps its courier is connected by then
    session.flush()


def whose(shipment: Shipment, couriers: Sequence[Any]) -> str:
    """The name of the courier, of these, that carries a parcel; empty when that is not plain."""
    said = _plain(shipment.courier)
    for courier in couriers:
        if said in {_plain(word) for word in (courier.name, courier.label, *courier.known_as)}:
            return str(courier.name)
    host = (urlsplit(shipment.tracking_url).hostname or "").casefold()
    for courier in couriers:
        if any(host == own or host.endswith(f".{own}") for own in courier.hosts):
            return str(courier.name)
    if said:
        return ""
    if len(couriers) == 1:
        return str(couriers[0].name)
    alike = [c for c in couriers if c.numbers and re.fullmatch(c.numbers, shipment.tracking_number)]
    return str(alike[0].name) if len(alike) == 1 else ""


def _plain(word: str) -> str:
    return " ".join(word.split()).casefold()


def _hear(
    house: House, store_id: int, connection_id: int, adapter: Any, numbers: Sequence[str], answer: WebhookRequest | None
) -> int:
    """Post an answer to ourselves if it says anything new, and set when to ask again. 1 when it did."""
    new = False
    facts: Sequence[Fact] = ()
    try:
        facts = adapter.parse(answer) if answer is not None else ()
    except NotUnderstood as fault:
        new, facts = True, fault.facts  # posted all the same, and shown as such
    scans = [fact for fact in facts if isinstance(fact, ShipmentScanned)]
    plans: dict[int, datetime | None] = {}
    with house.db.read(store_id) as session:
        zone = session.get_one(Store, store_id).zone
        connection = session.get_one(Connection, connection_id)
        for shipment in session.scalars(
            select(Shipment).where(Shipment.tracking_number.in_(numbers)).options(selectinload(Shipment.events))
        ):
            have = {event.key for event in shipment.scans}
            told = {
                same_scan(scan.occurred_at, scan.status, scan.raw_code)
                for scan in scans
                if scan.tracking_number == shipment.tracking_number
            }
            new = new or bool(told - have)
            all_of_it = [(at, status) for at, status, _ in have | told]
            newest = max((at for at, _ in all_of_it), default=None)
            met = min((event.seen_at for event in shipment.scans), default=session.now())
            plans[shipment.id] = next_poll(place(all_of_it), newest, met, session.now(), zone, lot_of(connection_id))
    if new and answer is not None:  # before it is noted that they were asked about: nothing is lost in between
        post(house, connection, [answer])
    with house.db.lane(store_id) as session:
        session.amend(Shipment, [{"id": number, "poll_at": at} for number, at in plans.items()])
    return int(new)


def _put_off(house: House, store_id: int, numbers: Sequence[str]) -> None:
    with house.db.lane(store_id) as session:
        refused = update(Shipment).where(Shipment.tracking_number.in_(numbers), Shipment.poll_at.is_not(None))
        session.execute(refused.values(poll_at=session.now() + _REFUSED).execution_options(synchronize_session=False))
