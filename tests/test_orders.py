"""What an order may do, and that neither the order of arrival nor repetition can make it do anything else."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select, update

from integration.customers import EVERYTHING, REVOKED, ContactPoint, record_consent, standing
from integration.db import Session
from integration.events import (
    Item,
    OrderChanged,
    OrderRemoved,
    ParcelSeen,
    Person,
    PersonChanged,
    ShipmentScanned,
)
from integration.house import House
from integration.inbox import apply_person_changed, meet
from integration.journeys import Enrollment, Settled, react, tell_store_reason
from integration.orders import (
    AXES,
    CONFIRMATION,
    Book,
    LineItem,
    Order,
    Payment,
    Shipment,
    ShipmentEvent,
    Transition,
    apply_order,
    apply_removed,
    apply_scan,
    explain,
    find_order,
    forget_early_scans,
    is_cod,
    move,
)
from integration.outbox import Desk, Outbox, Touchpoint
from integration.rendering import order_values
from integration.stores import Policy, Store
from integration.values import Money

from . import factories
from .conftest import build, settings_for

T0 = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)


APPLY = {OrderChanged: apply_order, OrderRemoved: apply_removed, ShipmentScanned: apply_scan}


def _apply(house: House, store_id: int, *facts: Any) -> list[tuple[str, str, str]]:
    """Apply facts, each in a transaction of its own; the transitions they made."""
    made: list[tuple[str, str, str]] = []
    for fact in facts:
        with house.db.lane(store_id) as session:
            book = Book(session, session.get_one(Store, store_id))
            made += [(t.axis, t.was, t.became) for t in APPLY[type(fact)](book, fact)]
    return made


def _order(session: Session) -> Order:
    return session.scalars(select(Order)).one()


def _snapshot(house: House, store_id: int) -> tuple[Any, ...]:
    with house.db.read(store_id) as session:
        order = _order(session)
        items = tuple((i.title, i.quantity) for i in session.scalars(select(LineItem).order_by(LineItem.id)))
        return order.payment, order.fulfilment, order.total, order.cancelled_at, order.changed_at, items, order.tags


def test_the_goods_of_an_order_that_changed_twice_in_one_batch_are_the_last_ones(house: House) -> None:
    ours = factories.store(house)
    with house.db.lane(ours) as session:
        book = Book(session, session.get_one(Store, ours))
        for minute, title in enumerate(("Khussa", "Kurta", "Dupatta")):
            items = (Item(external_id="1", title=title, quantity=2),)
            apply_order(book, factories.order_fact(T0 + timedelta(minutes=minute), items=items))
    with house.db.read(ours) as session:
        assert session.scalars(select(LineItem.title)).all() == ["Dupatta"]


def test_an_order_whose_number_was_corrected_in_the_same_batch_is_the_corrected_persons(house: House) -> None:
    ours = factories.store(house)
    with house.db.lane(ours) as session:
        book = Book(session, session.get_one(Store, ours))
        for minute, phone in enumerate(("0300 1234567", "0300 7654321")):
            apply_order(book, factories.order_fact(T0 + timedelta(minutes=minute), phones=(phone,)))
    with house.db.read(ours) as session:
        order = _order(session)
        assert order.contact is not None
        assert order.contact.phone == "+923007654321"
        assert order.customer_id == order.contact.customer_id


@pytest.mark.parametrize("written", [False, True], ids=["at once", "after a flush"])
def test_a_question_planned_and_taken_back_in_one_batch_is_taken_back(house: House, written: bool) -> None:
    """An order comes in, its customer writes something (which writes what is planned), the shop cancels it. What the
    store is still to be told of another order is not touched.
    """
    ours = factories.store(house)
    with house.db.lane(ours) as session:
        tell_store_reason(session, factories.order(session), "other", session.now())
    with house.db.lane(ours) as session:
        store = session.get_one(Store, ours)
        book, desk, settled = Book(session, store), Desk(session, store, house.registry), Settled(session, store)
        react(session, desk, settled, apply_order(book, factories.order_fact(session.now())))
        if written:
            session.flush()
        later = session.now() + timedelta(seconds=9)
        cancelled = factories.order_fact(later, placed_at=session.now(), cancelled_at=later)
        react(session, desk, settled, apply_order(book, cancelled))
    with house.db.read(ours) as session:
        asked = session.scalars(select(Touchpoint).where(Touchpoint.step == "ask")).one()
        enrollment = session.get_one(Enrollment, asked.enrollment_id)
        assert (asked.state, asked.reason, enrollment.state) == ("cancelled", "superseded", "left")
        row = session.scalars(select(Outbox).where(Outbox.touchpoint_id == asked.id)).one()
        assert (row.order_id, row.contact_point_id) == (asked.order_id, asked.contact_point_id)
        assert row.state == "cancelled"
        assert session.scalars(select(Outbox.state).where(Outbox.kind == "write_back")).all() == ["queued"]


# -- the tables ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", AXES)
def test_every_move_leads_to_a_known_state_and_none_to_itself(axis: str) -> None:
    table = AXES[axis]
    for state, onward in table.items():
        assert state not in onward
        assert onward <= table.keys()


@pytest.mark.parametrize(
    ("axis", "was", "became"),
    [(axis, was, became) for axis, table in AXES.items() for was in table for became in table if was != became],
)
def test_a_move_happens_when_listed_and_is_recorded_as_refused_when_not(
    shared_house: tuple[House, int], axis: str, was: str, became: str
) -> None:
    house, store_id = shared_house
    with house.db.lane(store_id) as session:
        order = factories.order(session, **{axis: was})
        made = move(session, order, axis, became, cause="store", at=T0)
        order_id = order.id
    allowed = became in AXES[axis][was]
    assert (made is not None) == allowed
    with house.db.read(store_id) as session:
        assert getattr(session.get_one(Order, order_id), axis) == (became if allowed else was)
        [kept] = session.scalars(select(Transition).where(Transition.order_id == order_id))
        assert (kept.was, kept.became, kept.allowed) == (was, became, allowed)


@pytest.fixture(scope="module")
def shared_house(fresh_url: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterable[tuple[House, int]]:
    """One house for tests that each use an order of their own."""
    house = build(settings_for(fresh_url("sqlite"), tmp_path_factory.mktemp("house")))
    yield house, factories.store(house)
    house.close()


def test_nothing_leaves_a_no_but_a_reopening_by_the_shop() -> None:
    assert CONFIRMATION["declined"] == CONFIRMATION["cancelled"] == {"not_needed"}


# -- applying what stores say --------------------------------------------------------------------------------------


def test_a_cash_order_waits_for_its_answer(house: House) -> None:
    store_id = factories.store(house)
    assert _apply(house, store_id, factories.order_fact(T0)) == [("confirmation", "not_needed", "awaiting")]
    with house.db.read(store_id) as session:
        order = _order(session)
        assert (order.payment, order.is_cod) == ("cod_due", True)
        assert order.contact is not None
        assert order.contact.phone == "+923001234567"


def test_a_paid_order_needs_no_answer(house: House) -> None:
    store_id = factories.store(house)
    fact = factories.order_fact(T0, payment="paid", gateways=("card",))
    assert _apply(house, store_id, fact) == [("payment", "unknown", "paid")]
    with house.db.read(store_id) as session:
        assert [p.status for p in session.scalars(select(Payment))] == ["paid"]


def test_the_same_state_again_and_an_older_one_change_nothing(house: House) -> None:
    """An echo, a repeat, and a delivery that lingered a day."""
    store_id = factories.store(house)
    newer = factories.order_fact(T0 + timedelta(minutes=5), payment="paid")
    _apply(house, store_id, factories.order_fact(T0), newer)
    before = _snapshot(house, store_id)
    assert (
        _apply(house, store_id, newer, replace(newer, occurred_at=T0 + timedelta(minutes=6)), factories.order_fact(T0))
        == []
    )
    after = _snapshot(house, store_id)
    assert after[:4] == before[:4]


def test_an_id_longer_than_any_vendors_names_one_order(house: House) -> None:
    store_id = factories.store(house)
    for minute in range(2):
        parcel = ParcelSeen(external_id="9" * 90, status="booked", occurred_at=T0)
        fact = factories.order_fact(T0 + timedelta(minutes=minute), external_id="7" * 309, parcels=(parcel,))
        _apply(house, store_id, replace(fact, tags=(str(minute),)))
    with house.db.read(store_id) as session:
        assert _order(session).tags == ["1"]
        assert session.scalar(select(func.count(Shipment.id))) == 1


def test_a_state_that_returns_is_newer_than_the_one_between(house: House) -> None:
    """A, then A again, then the B that lay between them arrives late: A stands."""
    store_id = factories.store(house)
    a, b = factories.order_fact(T0), factories.order_fact(T0 + timedelta(minutes=1), tags=("b",))
    a_again = replace(a, occurred_at=T0 + timedelta(minutes=2))
    _apply(house, store_id, a, a_again, b)
    with house.db.read(store_id) as session:
        assert _order(session).tags == []


_CHANGES: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "payment": st.sampled_from(["pending", "paid", "refunded", "partially_refunded", "failed", "unknown", ""]),
        "fulfilment": st.sampled_from(["unfulfilled", "booked", "in_transit", "delivered", "unknown", ""]),
        "total": st.integers(1, 5).map(lambda n: Money.parse(str(n * 100), "PKR")),
        "cancelled_at": st.sampled_from([None, T0]),
        "tags": st.sampled_from([(), ("vip",), ("a", "b")]),
    },
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(changes=st.lists(_CHANGES, min_size=1, max_size=4), data=st.data())
def test_any_order_of_arrival_ends_in_the_newest_state(
    shared_house: tuple[House, int], changes: list[dict[str, Any]], data: st.DataObject
) -> None:
    """What the store says last (by its own clock) holds, however its messages were shuffled and doubled."""
    house, store_id = shared_house
    external_id = f"p{next(_numbers)}"
    facts = [
        factories.order_fact(T0 + timedelta(minutes=n), external_id=external_id, **change)
        for n, change in enumerate(changes)
    ]
    arrivals = data.draw(st.permutations(facts + data.draw(st.lists(st.sampled_from(facts), max_size=3))))
    _apply(house, store_id, *arrivals)
    newest = facts[-1]
    with house.db.read(store_id) as session:
        order = session.scalars(select(Order).where(Order.external_id == external_id)).one()
        assert order.total == newest.total.amount
        assert order.tags == list(newest.tags)
        assert order.cancelled_at == newest.cancelled_at
        assert order.changed_at == newest.occurred_at
        refused = session.scalars(
            select(Transition).where(Transition.order_id == order.id, Transition.allowed.is_(False))
        )
        assert all(t.became not in AXES[t.axis][t.was] for t in refused)


_numbers = itertools.count()


def test_a_cancellation_is_the_shops_and_a_reopening_asks_nothing_again(house: House) -> None:
    store_id = factories.store(house)
    minutes = [T0 + timedelta(minutes=n) for n in range(4)]
    made = _apply(
        house, store_id,
        factories.order_fact(minutes[0]),
        factories.order_fact(minutes[1], cancelled_at=minutes[1]),
        factories.order_fact(minutes[2]),
    )  # fmt: skip
    assert [m for m in made if m[0] == "confirmation"] == [
        ("confirmation", "not_needed", "awaiting"), ("confirmation", "awaiting", "cancelled"),
        ("confirmation", "cancelled", "not_needed"),
    ]  # fmt: skip


@pytest.mark.parametrize("overtaken", [False, True])
def test_within_one_second_the_cancelled_state_is_the_later(house: House, overtaken: bool) -> None:
    """Tagging and cancelling make two messages with one stamp, and the second may overtake the first."""
    store_id = factories.store(house)
    at = T0 + timedelta(minutes=1)
    _apply(house, store_id, factories.order_fact(T0))
    with house.db.lane(store_id) as session:
        move(session, _order(session), "confirmation", "declined", cause="customer", at=T0)
    tagged = factories.order_fact(at, tags=("dastak-cancelled", "vip"))
    cancelled = replace(tagged, cancelled_at=at)
    _apply(house, store_id, *([cancelled, tagged] if overtaken else [tagged, cancelled]))
    with house.db.read(store_id) as session:
        order = _order(session)
        assert (order.confirmation, order.cancelled_at, order.tags) == ("declined", at, ["dastak-cancelled", "vip"])


def test_a_customers_no_is_not_undone_by_the_store_not_having_heard_of_it(house: House) -> None:
    """Between the tap and the write-back the store still shows the order open."""
    store_id = factories.store(house)
    _apply(house, store_id, factories.order_fact(T0))
    with house.db.lane(store_id) as session:
        move(session, _order(session), "confirmation", "declined", cause="customer", at=T0)
    assert _apply(house, store_id, factories.order_fact(T0 + timedelta(minutes=1), tags=("dastak-cancelled",))) == []
    with house.db.read(store_id) as session:
        assert _order(session).confirmation == "declined"


def test_words_nobody_knows_move_nothing(house: House) -> None:
    store_id = factories.store(house)
    _apply(house, store_id, factories.order_fact(T0, payment="paid", fulfilment="in_transit"))
    unknown = factories.order_fact(T0 + timedelta(minutes=1), payment="unknown", fulfilment="unknown")
    assert _apply(house, store_id, unknown) == []


def test_a_shop_that_ships_without_waiting_ends_the_question(house: House) -> None:
    store_id = factories.store(house)
    _apply(house, store_id, factories.order_fact(T0))
    parcel = ParcelSeen(external_id="p1", status="booked", tracking_number="CN1", occurred_at=T0)
    made = _apply(house, store_id, factories.order_fact(T0 + timedelta(minutes=1), parcels=(parcel,)))
    parcel_moved = ("parcel", "unknown", "booked")
    assert made == [
        parcel_moved, ("fulfilment", "unfulfilled", "booked"), ("confirmation", "awaiting", "not_needed")
    ]  # fmt: skip


def test_a_merchant_explains_a_word_of_any_length_once_and_for_all(house: House) -> None:
    """Scans keep 64 letters of a code: the same word in full, scanned later, is still that word."""
    store_id = factories.store(house)
    parcel = ParcelSeen(external_id="p1", status="booked", tracking_number="CN1", occurred_at=T0)
    _apply(house, store_id, factories.order_fact(T0, parcels=(parcel,)))
    word = "Consignee asks for delivery at the  second gate behind the old post office near the canal"
    scan = {"tracking_number": "CN1", "status": "unknown", "raw_code": word}
    with house.db.lane(store_id) as session:
        book = Book(session, session.get_one(Store, store_id))
        apply_scan(book, ShipmentScanned(**scan, occurred_at=T0 + timedelta(hours=1)), "tcs")
    with house.db.lane(store_id) as session:
        seen = session.scalars(select(ShipmentEvent).where(ShipmentEvent.status == "unknown")).one()
        book = Book(session, session.get_one(Store, store_id))
        made = explain(book, "tcs", seen.raw_code, "out_for_delivery")
    assert [(c.axis, c.became) for c in made] == [("parcel", "out_for_delivery"), ("fulfilment", "out_for_delivery")]
    with house.db.lane(store_id) as session:
        book = Book(session, session.get_one(Store, store_id))
        apply_scan(book, ShipmentScanned(**scan, occurred_at=T0 + timedelta(hours=30)), "tcs")
        session.flush()
        assert [s.status for s in session.scalars(select(ShipmentEvent).order_by(ShipmentEvent.id))] == [
            "booked", "out_for_delivery", "out_for_delivery"
        ]  # fmt: skip


def test_a_draft_is_no_order_and_a_removed_one_falls_silent(house: House) -> None:
    store_id = factories.store(house)
    assert _apply(house, store_id, factories.order_fact(T0, draft=True)) == []
    assert _apply(house, store_id, OrderRemoved(external_id="17")) == []
    _apply(house, store_id, factories.order_fact(T0), OrderRemoved(external_id="17"))
    with house.db.read(store_id) as session:
        assert _order(session).removed_at is not None
    _apply(house, store_id, factories.order_fact(T0))  # restored, with the same content
    with house.db.read(store_id) as session:
        assert _order(session).removed_at is None


@pytest.mark.parametrize(
    ("phones", "country", "number"),
    [
        (("0300 1234567",), "PK", "+923001234567"),
        (("junk", "+92 333 7654321"), "PK", "+923337654321"),
        (("+91",), "IN", None),
        ((), "PK", None),
        (("۰۳۰۰۱۲۳۴۵۶۷",), "PK", "+923001234567"),
    ],
)
def test_the_first_phone_that_is_one_is_used(
    house: House, phones: tuple[str, ...], country: str, number: str | None
) -> None:
    store_id = factories.store(house)
    fact = factories.order_fact(T0, phones=phones)
    _apply(house, store_id, replace(fact, address=replace(fact.address, country=country)))
    with house.db.read(store_id) as session:
        contact = _order(session).contact
        assert (contact.phone if contact is not None else None) == number


def test_two_orders_of_one_person_share_the_contact(house: House) -> None:
    store_id = factories.store(house)
    _apply(
        house,
        store_id,
        factories.order_fact(T0),
        factories.order_fact(T0, external_id="18", phones=("+92 300 123 4567",)),
    )
    with house.db.read(store_id) as session:
        assert len({o.contact_point_id for o in session.scalars(select(Order))}) == 1


@pytest.mark.parametrize(
    ("gateways", "expected"),
    [
        (("Cash on Delivery (COD)",), True), (("cod",), True), (("C.O.D.",), True), (("cash_on_delivery",), True),
        (("Pago contra entrega",), True), (("Contra reembolso",), True), (("Pagamento na entrega",), True),
        (("COD - Advance paid",), True), (("نقد عند التسليم",), True),
        (("کیش آن ڈیلیوری",), True), (("कैश ऑन डिलीवरी",), True),
        (("Pay at the door",), True), (("code red wallet",), False), (("Cody Bank",), False), (("manual",), False),
        (("bacs", "Direct bank transfer"), False), (("shopify_payments",), False), ((), False), (("",), False),
        (("Haus-Zahlung",), True),
    ],
)  # fmt: skip
def test_cash_on_delivery_is_known_by_its_names_or_the_merchants(gateways: tuple[str, ...], expected: bool) -> None:
    assert is_cod(gateways, Policy(cod_gateways=("haus-zahlung",))) is expected


def test_an_order_is_found_by_what_people_call_it(house: House) -> None:
    store_id = factories.store(house)
    _apply(house, store_id, factories.order_fact(T0, external_id="6100", name="#1001"))
    with house.db.read(store_id) as session:
        for reference in ("#1001", "1001", " 1001 ", "6100", f"id:{_order(session).id}"):
            assert find_order(session, reference) is not None
        assert find_order(session, "1002") is None


# -- parcels -------------------------------------------------------------------------------------------------------


def _scan(number: str, status: str, hours: int, **said: Any) -> ShipmentScanned:
    return ShipmentScanned(
        tracking_number=number, status=status, occurred_at=T0 + timedelta(hours=hours), **{"raw_code": status, **said}
    )


def _parcel(number: str, **said: Any) -> ParcelSeen:
    return ParcelSeen(**{"external_id": "p1", "status": "booked", "tracking_number": number, "occurred_at": T0, **said})


def test_a_scan_seen_twice_is_one_row(house: House) -> None:
    """Pushed and polled, or a whole list sent again."""
    store_id = factories.store(house)
    _apply(house, store_id, factories.order_fact(T0, parcels=(_parcel(" cn 1"),)))
    for _ in range(2):
        _apply(house, store_id, _scan("CN1", "delivered", 3))
    with house.db.read(store_id) as session:
        assert _order(session).fulfilment == "delivered"
        assert session.scalars(select(Shipment)).one().status == "delivered"
        assert len(session.scalars(select(ShipmentEvent)).all()) == 2


@pytest.mark.parametrize("together", [False, True], ids=["in transactions of their own", "in one"])
def test_scans_that_come_before_the_order_has_its_parcel_are_its(house: House, together: bool) -> None:
    """The courier picks up and pushes at once; the store tells the number later. One scan came twice."""
    store_id, theirs = factories.store(house), factories.store(house)
    early = [_scan("CN1", "picked_up", 1), _scan("CN1", "in_transit", 2), _scan("CN1", "picked_up", 1)]
    numbered = factories.order_fact(T0 + timedelta(hours=3), parcels=(_parcel("CN1"),))
    facts = [factories.order_fact(T0), *early, _scan("CN9", "delivered", 2), numbered]
    _apply(house, theirs, factories.order_fact(T0), _scan("CN1", "delivered", 4))
    if together:
        with house.db.lane(store_id) as session:
            book = Book(session, session.get_one(Store, store_id))
            book.fetch(facts)
            for fact in facts:
                APPLY[type(fact)](book, fact)
    else:
        _apply(house, store_id, *facts)
    with house.db.read(store_id) as session:
        order = _order(session)
        assert order.fulfilment == "in_transit"
        assert [event.status for event in order.shipments[0].events] == ["picked_up", "in_transit", "booked"]
        assert session.scalars(select(ShipmentEvent.status).where(ShipmentEvent.shipment_id.is_(None))).all() == [
            "delivered"
        ]
    with house.db.lane(store_id) as session:
        session.execute(update(ShipmentEvent).values(seen_at=session.now() - timedelta(days=31)))
        forget_early_scans(session)
    with house.db.operator() as session:
        left = session.scalars(select(ShipmentEvent).where(ShipmentEvent.shipment_id.is_(None))).all()
        assert [event.store_id for event in left] == [theirs]


def test_two_orders_sent_in_one_parcel_both_follow_it(house: House) -> None:
    store_id = factories.store(house)
    for number in ("17", "18"):
        _apply(house, store_id, factories.order_fact(T0, external_id=number, parcels=(_parcel("CN1"),)))
    made = _apply(house, store_id, _scan("CN1", "out_for_delivery", 5))
    assert made.count(("fulfilment", "booked", "out_for_delivery")) == 2


def test_an_order_that_joins_a_parcel_on_its_way_learns_where_it_is(house: House) -> None:
    store_id = factories.store(house)
    _apply(house, store_id, factories.order_fact(T0, external_id="17", parcels=(_parcel("CN1"),)))
    _apply(house, store_id, _scan("CN1", "delivered", 5))
    late = factories.order_fact(T0 + timedelta(hours=6), external_id="18", parcels=(_parcel("CN1"),))
    assert ("fulfilment", "unfulfilled", "delivered") in _apply(house, store_id, late)


def test_a_corrected_number_is_another_parcel(house: House) -> None:
    """The store had typed the number of somebody else's parcel, which came back long ago."""
    store_id = factories.store(house)
    _apply(house, store_id, factories.order_fact(T0, parcels=(_parcel("CN1"),)))
    _apply(house, store_id, _scan("CN1", "returned", 1))
    with house.db.lane(store_id) as session:
        session.scalars(select(Shipment)).one().adapter = "tcs"
    _apply(house, store_id, factories.order_fact(T0 + timedelta(hours=2), parcels=(_parcel("CN2"),)))
    _apply(house, store_id, _scan("CN2", "out_for_delivery", 3))
    with house.db.read(store_id) as session:
        parcel = session.scalars(select(Shipment)).one()
        assert (parcel.status, parcel.place.leg, parcel.adapter) == ("out_for_delivery", "forward", "")
        assert parcel.poll_at is not None


def test_an_order_that_the_courier_has_is_not_asked_about_any_more(house: House) -> None:
    store_id = factories.store(house)
    _apply(house, store_id, factories.order_fact(T0))
    with house.db.lane(store_id) as session:
        order = _order(session)
        assert order.confirmation == "awaiting"
        session.add(Shipment(store_id=store_id, order_id=order.id, external_id="p", tracking_number="CN1"))
    made = _apply(house, store_id, _scan("CN1", "picked_up", 1))
    assert ("confirmation", "awaiting", "not_needed") in made


def test_an_order_is_as_far_as_its_last_parcel(house: House) -> None:
    store_id = factories.store(house)
    parcels = (
        ParcelSeen(external_id="1", status="delivered", tracking_number="A", occurred_at=T0),
        ParcelSeen(external_id="2", status="in_transit", tracking_number="B", occurred_at=T0),
        ParcelSeen(external_id="3", status="cancelled", tracking_number="C", occurred_at=T0),
    )
    _apply(house, store_id, factories.order_fact(T0, parcels=parcels))
    with house.db.read(store_id) as session:
        assert _order(session).fulfilment == "in_transit"


@pytest.mark.parametrize(
    ("outstanding", "due"),
    [
        (None, "7248"),
        (Money.parse("6248", "PKR"), "6248"),
        (Money.parse("0", "PKR"), "7248"),
        (Money.parse("22", "USD"), "7248"),
    ],
)
def test_at_the_door_only_what_was_not_paid_in_advance_is_due(
    house: House, outstanding: Money | None, due: str
) -> None:
    """'COD - Advance paid': the customer is asked to pay the rest; a part in another currency says nothing."""
    store_id = factories.store(house)
    _apply(house, store_id, factories.order_fact(T0))
    with house.db.read(store_id) as session:
        asked = _order(session).revision
    _apply(house, store_id, factories.order_fact(T0 + timedelta(minutes=1), outstanding=outstanding))
    with house.db.read(store_id) as session:
        order = _order(session)
        assert order.due == Money.parse(due, "PKR")
        assert (order.revision == asked) == (due == "7248")
        values = order_values(order, session.get_one(Store, store_id), "en", T0)
        assert values["due"] == order.due.shown("en")


def test_an_order_that_states_a_number_its_customer_gave_up_is_still_theirs(house: House) -> None:
    """Their STOP holds, and no stranger who has the number now is written to."""
    store_id = factories.store(house)
    _apply(house, store_id, factories.order_fact(T0))
    with house.db.lane(store_id) as session:
        contact = _order(session).contact
        assert contact is not None
        record_consent(session, contact, EVERYTHING, REVOKED, source="message", evidence="STOP", at=T0)
        changed = {"old": Person(phone=contact.phone), "new": Person(phone="+923007777777")}
        apply_person_changed(session, PersonChanged(**changed, occurred_at=T0))
    with house.db.lane(store_id) as session:
        book = Book(session, session.get_one(Store, store_id))
        later = factories.order_fact(T0 + timedelta(hours=1), tags=("vip",))
        book.fetch([later])
        apply_order(book, later)
    _apply(house, store_id, factories.order_fact(T0 + timedelta(hours=2), tags=("vip", "new")))
    with house.db.lane(store_id) as session:
        [kept] = session.scalars(select(ContactPoint))
        assert (kept.phone, standing(kept.consents).opted_out_at) == ("+923007777777", T0)
        assert _order(session).contact is kept
        assert meet(session, Person(phone="+923001234567")) is not kept


def test_an_order_that_comes_with_the_news_of_its_customers_new_number_has_its_customer(house: House) -> None:
    """One batch: two contact points turn out to be one person, and an order states the number."""
    ours = factories.store(house)
    with house.db.lane(ours) as session:
        moved = factories.contact(session, "+923001234567").id
        factories.contact(session, "+923007777777")
    fact = factories.order_fact(T0, phones=("+923007777777",), gateways=("stripe",), payment="paid")
    with house.db.lane(ours) as session:
        book = Book(session, session.get_one(Store, ours))
        book.fetch([fact])
        old, new = Person(phone="+923001234567"), Person(phone="+923007777777")
        apply_person_changed(session, PersonChanged(old=old, new=new, occurred_at=T0))
        apply_order(book, fact)
    with house.db.read(ours) as session:
        order = _order(session)
        assert order.contact_point_id == moved
        assert order.customer_id == session.get_one(ContactPoint, moved).customer_id
