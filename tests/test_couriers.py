"""Telling couriers when things go wrong between the call and its record."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import select

from integration.couriers import _Job, _record, instruct, put_booking
from integration.house import House
from integration.orders import Order, Shipment
from integration.outbox import Outbox
from integration.ports import Booked, Registry
from integration.stores import Connection

from . import factories
from .test_orders import T0, _apply


def _order_to_book(house: House) -> int:
    """A store with an order that is asked to be booked. Returns the store."""
    store_id = factories.store(house)
    _apply(house, store_id, factories.order_fact(T0, gateways=("card",), payment="paid"))
    with house.db.lane(store_id) as session:
        order = session.scalars(select(Order)).one()
        connection = Connection(
            store_id=store_id, room="couriers", adapter="broken", account="b", connected_at=session.now()
        )
        connection.sealed = house.vault.seal({})
        session.add(connection)
        session.flush()
        assert put_booking(session, order, connection, {"city": "Lahore", "weight": "1"})
        assert not put_booking(session, order, connection, {"city": "Lahore", "weight": "1"})
    return store_id


def _row(house: House, store_id: int) -> Outbox:
    with house.db.read(store_id) as session:
        row = session.scalars(select(Outbox).where(Outbox.kind == "courier")).one()
        session.expunge_all()
        return row


class Broken:
    """A courier whose adapter has a bug."""

    name, label = "broken", "Broken"
    most_labels = 1

    def book(self, account: Any, parcel: Any) -> Any:
        raise ZeroDivisionError

    def cancel(self, account: Any, booked: Any) -> None: ...

    def labels(self, account: Any, booked: Any) -> bytes:
        return b""

    def cities(self, account: Any) -> Any:
        return ()


def test_a_bug_of_an_adapter_is_a_doubt_that_a_person_settles_and_no_loop(house: House) -> None:
    store_id = _order_to_book(house)
    house.registry = Registry({"couriers": {"broken": Broken()}})
    instruct(house, store_id)
    assert _row(house, store_id).state == "queued"
    with house.db.lane(store_id) as session:
        session.scalars(select(Outbox).where(Outbox.kind == "courier")).one().due_at = session.now()
    instruct(house, store_id)
    row = _row(house, store_id)
    assert (row.state, row.attempts) == ("failed", 2)
    assert "may have taken" in row.sentence


def test_a_number_that_comes_after_its_lease_is_kept_once(house: House) -> None:
    """The lease of a slow booking ran out, so it waits to be looked up; then its answer comes, and comes again."""
    store_id = _order_to_book(house)
    house.registry = Registry({"couriers": {"broken": Broken()}})
    with house.db.lane(store_id) as session:
        row = session.scalars(select(Outbox).where(Outbox.kind == "courier")).one()
        row.attempts, row.unknown_at, row.due_at = 1, session.now(), session.now() + timedelta(hours=1)
        job = _Job(row.id, 1, "broken", None, "book", False)
    for _ in range(2):
        _record(house, store_id, job, Booked(tracking_number="CN77"))
    assert _row(house, store_id).state == "sent"
    with house.db.read(store_id) as session:
        assert [s.tracking_number for s in session.scalars(select(Shipment))] == ["CN77"]


def test_an_order_that_changed_before_its_turn_is_not_booked(house: House) -> None:
    store_id = _order_to_book(house)
    _apply(
        house,
        store_id,
        factories.order_fact(
            T0 + timedelta(minutes=1), gateways=("card",), payment="paid", cancelled_at=T0 + timedelta(minutes=1)
        ),
    )
    house.registry = Registry({"couriers": {"broken": Broken()}})
    instruct(house, store_id)
    row = _row(house, store_id)
    assert (row.state, row.attempts) == ("cancelled", 0)
    assert "changed since" in row.sentence
