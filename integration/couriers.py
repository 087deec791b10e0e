"""Telling couriers: book a parcel, cancel a booking, deliver it again or take it back.

Each is a row of the outbox with its `change`: `do` (book, cancel or advise), the `adapter`, and what that needs. As
with everything that leaves the house, "about to do attempt n" is committed first and the outcome after. A booking whose
answer was lost is looked up by its reference before it is made again; where a courier cannot be asked, a person looks.
Advice that a courier does not take becomes a task of the merchant's, with the customer's own words.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import structlog
from sqlalchemy import select
from sqlalchemy.orm import selectinload

from .access import open_account
from .checkpoints import reached
from .db import Session, inline
from .dispatch import READY
from .errors import ConfigurationError, DastakError, OutcomeUnknown, PermanentError, TransientError
from .events import ShipmentScanned
from .house import House
from .inbox import conversation_with
from .journeys import Settled, react
from .orders import Book, Order, Shipment, address_of, apply_booking, apply_scan, whole
from .outbox import Desk, Outbox, put_courier, settle_overdue
from .payments import alert
from .ports import Account, Advice, Advises, Booked, Books, FindsBookings, Parcel, Piece, offers
from .stores import Connection, Store
from .values import Money

log = structlog.get_logger(__name__)

_LEASE = timedelta(seconds=150)
"""For one instruction: a booking may take three calls of twenty seconds and a new token."""

_ATTEMPTS = 6


def put_booking(session: Session, order: Order, connection: Connection, wanted: dict[str, Any]) -> bool:
    """Have a courier take on a parcel of an order. `wanted`: city, city_code, weight (kg, text). False when a booking
    of this order is under way already.
    """
    change = {"do": "book", "adapter": connection.adapter, **wanted}
    return _put_next(session, order, f"book/{order.external_id}/", change)


def put_cancellation(session: Session, shipment: Shipment) -> bool:
    """Have a courier forget a parcel that it has not fetched."""
    change = {"do": "cancel", "adapter": shipment.adapter, "shipment_id": shipment.id}
    return _put_next(session, shipment.order, f"cancel/{shipment.token}/", change)


def _put_next(session: Session, order: Order, key: str, change: dict[str, Any]) -> bool:
    """One at a time of its kind: two taps in a row are one, and one after it failed is another."""
    session.flush()  # the tap before may be of this very transaction
    tried = select(Outbox.state).where(Outbox.order_id == order.id, Outbox.key.startswith(key))
    states = session.scalars(tried).all()
    if any(state in ("queued", "sending") for state in states):
        return False
    return put_courier(session, order, f"{key}{len(states) + 1}", change)


@dataclass(frozen=True, slots=True)
class _Job:
    """One row on its way: what is to be done, by whom, with what."""

    row_id: int
    attempt: int
    adapter: str
    connection_id: int | None
    do: str
    look_first: bool
    booked: Booked | None = None
    parcel: Parcel | None = None
    advice: Advice | None = None


def instruct(house: House, store_id: int, *, seconds: float = 20.0) -> bool:
    """Tell couriers what is due for one store, one thing after the other, for a bounded slice of time. True when more
    is waiting.
    """
    ends = time.monotonic() + seconds
    settle_overdue(house, store_id)
    while True:
        with house.db.lane(store_id) as session:
            row = _next(session)
            job = _claim(house, session, row) if row is not None else None
        reached("instruct.after_claim")
        if row is None:
            return False
        if job is None:
            continue
        outcome = _do(house, store_id, job)
        reached("instruct.before_record")
        _record(house, store_id, job, outcome)
        if time.monotonic() > ends:
            return True
        time.sleep(1 / house.settings.courier_rate)


def _next(session: Session) -> Outbox | None:
    """What is due and no courier is being told already: another worker goes on with the rest of this store."""
    in_flight = (Outbox.leased_until.is_not(None), Outbox.kind == "courier", Outbox.state == "sending")
    if session.scalar(select(Outbox.id).where(*in_flight).limit(1)) is not None:
        return None
    return session.scalars(
        select(Outbox)
        .where(Outbox.kind == "courier", Outbox.state == inline("queued"), Outbox.due_at <= session.now())
        .order_by(Outbox.due_at, Outbox.id)
        .limit(1)
        .options(selectinload(Outbox.order).selectinload(Order.items))
    ).first()


def _claim(house: House, session: Session, row: Outbox) -> _Job | None:
    """Commit "about to do attempt n"; None when it has become pointless since it was asked for."""
    change: dict[str, Any] = row.change or {}
    shipment = session.get(Shipment, change["shipment_id"]) if "shipment_id" in change else None
    if why := _pointless(session, row, change, shipment):
        row.state, row.settled_at, row.sentence = "cancelled", session.now(), why
        return None
    row.attempts += 1
    row.state, row.attempted_at = "sending", session.now()
    row.leased_until = house.clock.machine() + _LEASE
    adapter = change["adapter"] or (shipment.adapter if shipment is not None else "")
    living = select(Connection.id).where(
        Connection.room == "couriers", Connection.adapter == adapter, Connection.removed_at.is_(None)
    )
    return _Job(
        row_id=row.id,
        attempt=row.attempts,
        adapter=adapter,
        connection_id=session.scalar(living),
        do=change["do"],
        look_first=row.unknown_at is not None,
        booked=booked_of(shipment) if shipment is not None else None,
        parcel=_parcel(session, row, change) if change["do"] == "book" else None,
        advice=_advice(change["advice"]) if change["do"] == "advise" else None,
    )


def _pointless(session: Session, row: Outbox, change: dict[str, Any], shipment: Shipment | None) -> str:
    """Why nobody wants it any more. A booking in doubt is looked for all the same: it may stand at the courier."""
    if change["do"] == "book" and row.unknown_at is None:
        ready = session.scalar(select(Order.id).where(Order.id == row.order_id, READY))
        return "" if ready is not None else "the order has changed since, so it was not booked"
    if change["do"] == "advise" and shipment is not None and shipment.status in _SETTLED:
        return "the parcel has come to its end since"
    return ""


_SETTLED = frozenset({"delivered", "returned", "cancelled"})


def booked_of(shipment: Shipment) -> Booked:
    """A parcel as its courier knows it."""
    return Booked(tracking_number=shipment.tracking_number, reference=shipment.reference, label_url=shipment.label_url)


def reference_of(row: Outbox) -> str:
    """What a booking is called at the courier: the order, and which booking of it."""
    name = row.order.name.lstrip("#") if row.order is not None else ""
    return f"{name[:30]}-{row.id}"


def _parcel(session: Session, row: Outbox, change: dict[str, Any]) -> Parcel:
    order = row.order
    assert order is not None
    return Parcel(
        reference=reference_of(row),
        name=order.customer_name,
        phone=(order.contact.phone if order.contact is not None else None) or "",
        address=address_of(order),
        city=change["city"],
        city_code=change.get("city_code", ""),
        collect=_to_collect(order),
        value=order.money,
        weight=Decimal(change["weight"]),
        items=tuple(
            Piece(title=item.title, sku=item.sku, quantity=item.quantity, price=item.price or Decimal(0))
            for item in order.items
        ),
        at=session.now(),
    )


def _to_collect(order: Order) -> Money:
    """What the rider is to collect."""
    return order.due if order.payment == "cod_due" else Money(Decimal(0), order.currency)


def _advice(stored: dict[str, Any]) -> Advice:
    return Advice(**{**stored, "on": date.fromisoformat(stored["on"]) if stored.get("on") else None})


# -- the call ------------------------------------------------------------------------------------------------------


def _do(house: House, store_id: int, job: _Job) -> Booked | str | DastakError:
    adapter = house.registry.find("couriers", job.adapter)
    try:
        if adapter is None or job.connection_id is None:
            raise PermanentError("no account at this courier is connected", reason="no_account")
        account = open_account(house, store_id, job.connection_id)
        done = _CALLS[job.do](adapter, account, job)
        reached("instruct.after_call")
        return done
    except DastakError as fault:
        return fault
    except Exception as fault:  # a bug of one adapter must not hold up what else couriers are to be told
        log.error("instruct.bug", courier=job.adapter, do=job.do, fault=type(fault).__name__)
        return OutcomeUnknown(f"our own fault: {type(fault).__name__}")


def _book(adapter: Any, account: Account, job: _Job) -> Booked:
    assert job.parcel is not None
    if not offers(adapter, Books):
        raise PermanentError(f"{adapter.label} cannot be booked from here", reason="no_power")
    if job.look_first:
        if not offers(adapter, FindsBookings):
            raise PermanentError(
                f"{adapter.label} did not answer, so it may have taken the booking {job.parcel.reference}. "
                "Please look for it in their portal before you book again.",
                reason="doubt",
            )
        found: Booked | None = adapter.find(account, job.parcel.reference)
        if found is not None:
            return found
    booked: Booked = adapter.book(account, job.parcel)
    return booked


def _cancel(adapter: Any, account: Account, job: _Job) -> str:
    assert job.booked is not None
    if not offers(adapter, Books):
        raise PermanentError(f"{adapter.label} cannot be told from here", reason="no_power")
    adapter.cancel(account, job.booked)
    return "cancelled"


def _advise(adapter: Any, account: Account, job: _Job) -> str:
    assert job.booked is not None and job.advice is not None
    if not offers(adapter, Advises):
        raise PermanentError(f"{adapter.label} takes no advice by its API", reason="no_power")
    adapter.advise(account, job.booked, job.advice)
    return f"{adapter.label} was told"


_CALLS: dict[str, Callable[[Any, Account, _Job], Booked | str]] = {"book": _book, "cancel": _cancel, "advise": _advise}


# -- the outcome ---------------------------------------------------------------------------------------------------


def _record(house: House, store_id: int, job: _Job, outcome: Booked | str | DastakError) -> None:
    with house.db.lane(store_id) as session:
        row = session.get_one(Outbox, job.row_id, options=[selectinload(Outbox.order).options(*whole())])
        late = row.state != "sending" or row.attempts != job.attempt
        if row.state == "sent" or (late and not isinstance(outcome, Booked)):
            return  # its lease ran out meanwhile; a booking stands all the same, else whoever has it now looks first
        now = session.now()
        match outcome:
            case Booked():
                _booked(house, session, row, job, outcome)
            case str():
                row.settle("sent", now, by="answer", sentence=outcome)
                _told(house, session, row, job)
            case OutcomeUnknown() | TransientError():
                if row.attempts >= _ATTEMPTS:
                    _refused(session, row, job, f"gave up after {row.attempts} attempts: {outcome}", "")
                else:
                    _later(house, row, outcome)
            case ConfigurationError():
                _refused(session, row, job, str(outcome), "account")
            case _:
                _refused(session, row, job, str(outcome), getattr(outcome, "reason", ""))
        bells = set(session.bells)
    house.ring_all(bells, store_id)


def _booked(house: House, session: Session, row: Outbox, job: _Job, booked: Booked) -> None:
    assert row.order is not None
    store = session.get_one(Store, session.store_id)
    label = house.registry.get("couriers", job.adapter).label
    row.settle("sent", session.now(), by="answer", sentence=f"{label} took it as {booked.tracking_number}")
    changes = apply_booking(Book(session, store), row.order, row.id, booked, job.adapter, label)
    if job.parcel is not None and changes and job.parcel.collect.amount > _to_collect(row.order).amount:
        why = f"{label} was told to collect {job.parcel.collect.shown('en')}, and it was paid meanwhile: tell them"
        alert(session, row.order, why, session.now())
    react(session, Desk(session, store, house.registry), Settled(session, store), changes)


def _told(house: House, session: Session, row: Outbox, job: _Job) -> None:
    """What the courier took is said of the parcel as its own scans are."""
    assert job.booked is not None
    said = {"cancel": "cancelled", "reattempt": "reattempt_asked"}
    status = said.get(job.do if job.advice is None else job.advice.action)
    if status is not None:
        store = session.get_one(Store, session.store_id)
        scan = ShipmentScanned(
            tracking_number=job.booked.tracking_number,
            status=status,
            raw_text=job.advice.in_words() if job.advice is not None else row.sentence,
            occurred_at=session.now(),
        )
        desk = Desk(session, store, house.registry)
        react(session, desk, Settled(session, store), apply_scan(Book(session, store), scan))


def _later(house: House, row: Outbox, fault: DastakError) -> None:
    wait = getattr(fault, "retry_after", None) or min(5 * 3 ** (row.attempts - 1), 600)
    row.state, row.leased_until, row.sentence = "queued", None, str(fault)
    row.due_at = house.clock.now() + timedelta(seconds=wait)
    if isinstance(fault, OutcomeUnknown):
        row.unknown_at = house.clock.now()


def _refused(session: Session, row: Outbox, job: _Job, why: str, reason: str) -> None:
    """It will not happen by itself. What a customer asked for must not be forgotten, so a person does it."""
    row.settle("failed", session.now(), by="answer", sentence=why, code=reason)
    if job.advice is None or row.order is None or row.order.contact is None:
        return
    number = job.booked.tracking_number if job.booked is not None else ""
    conversation_with(session, row.order.contact).call_for_person(
        f"Please tell the courier ({number}): {job.advice.in_words()}", session.now()
    )
