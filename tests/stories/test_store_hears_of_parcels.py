"""The store hears where parcels are, each place once, and what it repeats of that is news to nobody."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from integration.access import live_connection, open_account
from integration.errors import OutcomeUnknown
from integration.journeys import Settled, react
from integration.orders import Book, Shipment, apply_booking, find_order
from integration.outbox import Desk, Outbox, Touchpoint
from integration.ports import Booked, ParcelTold
from integration.stores import Store

from ..world import Placed, World
from .test_parcel_messages import morning, scanned

NUMBERS = itertools.count(7_790_001)
STORES = ("shopify", "woocommerce")
TRACKING = "_wc_shipment_tracking_items"


def _sent(world: World, store: str, payment: str = "cod") -> tuple[Placed, str]:
    """An order that was picked up as TCS parcel, told to the store by the merchant's own hand."""
    morning(world)
    world.connect_courier(store, "tcs")
    placed, number = world.place(store, payment), f"{next(NUMBERS)}"
    if payment == "cod":
        placed.phone.tap("Confirm")
    world.scan("tcs", number, "", "Shipment Picked Up")
    by_hand = "fulfil" if store == "shopify" else "track"
    world.hand(placed, by_hand, company="TCS", tracking_number=f"{number[:3]} {number[3:]}")
    world.advance("2h")
    return placed, number


def _brought(world: World, number: str) -> None:
    """The rider sets out and delivers."""
    scanned(world, "tcs", number, "", "Out For Delivery")
    world.advance("1h")
    scanned(world, "tcs", number, "OK", "Shipment Delivered")


def _journeys(world: World, placed: Placed) -> list[str]:
    with world.looking(placed.store) as session:
        order = find_order(session, placed.order_id)
        assert order is not None
        mine = select(Touchpoint.journey).where(Touchpoint.order_id == order.id, Touchpoint.shipment_id.is_not(None))
        return sorted(session.scalars(mine))


def _told(world: World, placed: Placed) -> list[tuple[str, str]]:
    """(place, state) of what the store was to hear of parcels."""
    with world.looking(placed.store) as session:
        order = find_order(session, placed.order_id)
        assert order is not None
        written = select(Outbox).where(Outbox.order_id == order.id, Outbox.kind == "write_back").order_by(Outbox.id)
        rows = session.scalars(written)
        return [(row.change["status"], row.state) for row in rows if row.change and "number" in row.change]


def _book(world: World, placed: Placed, number: str) -> None:
    """A parcel booked through Dastak."""
    with world.house.db.lane(world.store_id(placed.store)) as session:
        store = session.scalars(select(Store)).one()
        order = find_order(session, placed.order_id)
        assert order is not None
        moved = apply_booking(Book(session, store), order, int(number), Booked(tracking_number=number), "tcs", "TCS")
        react(session, Desk(session, store, world.house.registry), Settled(session, store), moved)
    world.settle()


def _tell(world: World, placed: Placed, number: str, status: str, **more: Any) -> str:
    """The adapter's own answer."""
    store_id = world.store_id(placed.store)
    with world.house.db.read(store_id) as session:
        connection = live_connection(session, "stores")
        assert connection is not None
        connection_id = connection.id
    told = ParcelTold(
        order_id=placed.order_id,
        number=number,
        courier="TCS",
        url=f"{world.app_url}/t/abc",
        status=status,
        at=more.pop("at", None) or world.house.clock.now().replace(second=0, microsecond=0),
        options={"completed_means": "in_transit", **more},
    )
    adapter = world.house.registry.get("stores", placed.store)
    said: str = adapter.tell_parcel(open_account(world.house, store_id, connection_id), told)
    return said


@contextmanager
def _completed_means(world: World, store: str, means: str) -> Iterator[None]:
    with world.deciding(store) as row:
        before = row.policy
        row.decide(replace(before, completed_means=means))
    yield
    with world.deciding(store) as row:
        row.decide(before)


# -- what the store shows ------------------------------------------------------------------------------------------


def test_shopify_shows_where_a_parcel_is_and_nobody_hears_anything_twice(world: World) -> None:
    """Each event comes back as a webhook of the fulfilment, of the event and of the order."""
    placed, number = _sent(world, "shopify")
    _brought(world, number)
    shown = world.in_store(placed)["tracking"]
    assert [one["events"] for one in shown] == [["carrier_picked_up", "out_for_delivery", "delivered"]]
    assert shown[0]["status"] == "delivered"
    told = [(place, "sent") for place in ("picked_up", "out_for_delivery", "delivered")]
    assert _told(world, placed) == told
    assert _journeys(world, placed) == ["delivered", "dispatched", "out_for_delivery"]
    heard = len(placed.phone.heard)
    world.advance("26h")
    assert world.in_store(placed)["tracking"] == shown
    assert _told(world, placed) == told
    assert len(placed.phone.heard) == heard
    with world.looking("shopify") as session:
        parcel = session.scalars(select(Shipment).where(Shipment.tracking_number == number)).one()
        assert [event.status for event in parcel.events if not event.tracking_number] == ["booked"]


def test_what_a_store_repeats_the_next_morning_is_no_second_message(world: World) -> None:
    """The rider set out before midnight and the courier was asked after it: the store's echo is of another day."""
    placed, number = _sent(world, "shopify")
    now = world.house.clock.now()
    late = now.replace(hour=18, minute=50, second=0, microsecond=0)  # ten to midnight in Karachi
    world.advance(f"{(late - now).total_seconds():.0f}s")
    world.scan("tcs", number, "", "Out For Delivery")
    world.advance("14h")
    assert world.in_store(placed)["tracking"][0]["events"] == ["carrier_picked_up", "out_for_delivery"]
    assert _journeys(world, placed) == ["dispatched", "out_for_delivery"]
    assert sum("is out for delivery" in message.text for message in placed.phone.heard) == 1


def test_woocommerce_notes_each_place_once_and_a_cash_order_is_completed_at_the_door(world: World) -> None:
    """Completing dates the payment, and who owes the rider money must not read that there is nothing to pay."""
    placed, number = _sent(world, "woocommerce")
    assert world.in_store(placed)["status"] == "processing"
    scanned(world, "tcs", number, "", "Out For Delivery")
    assert world.states(placed)[1:] == ("cod_due", "out_for_delivery")
    assert "nothing is to be paid" not in placed.phone.last.text
    world.advance("1h")
    scanned(world, "tcs", number, "OK", "Shipment Delivered")
    seen = world.in_store(placed)
    assert seen["status"] == "completed"
    notes = [note["note"] for note in seen["notes"] if number in note["note"]]
    assert notes == [f"TCS {number}: {place}" for place in ("picked up", "out for delivery", "delivered")]
    assert not any(note["customer_note"] for note in seen["notes"])
    assert len(seen["tracking"]) == 1
    assert _journeys(world, placed) == ["delivered", "dispatched", "out_for_delivery"]
    heard = len(placed.phone.heard)
    world.advance("26h")
    assert world.in_store(placed) == seen
    assert len(placed.phone.heard) == heard


@pytest.mark.parametrize(("means", "completed_at"), [("in_transit", "picked_up"), ("delivered", "delivered")])
def test_a_paid_order_is_completed_when_the_merchants_completed_says_so(
    lite_world: World, means: str, completed_at: str
) -> None:
    with _completed_means(lite_world, "woocommerce", means):
        placed, number = _sent(lite_world, "woocommerce", "prepaid")
        after_pickup = lite_world.in_store(placed)["status"]
        _brought(lite_world, number)
    assert after_pickup == ("completed" if completed_at == "picked_up" else "processing")
    assert lite_world.in_store(placed)["status"] == "completed"


# -- a parcel that was booked here ---------------------------------------------------------------------------------


@pytest.mark.parametrize("store", STORES)
def test_a_parcel_that_was_booked_here_reaches_the_store_and_comes_back_as_the_same(world: World, store: str) -> None:
    morning(world)
    world.connect_courier(store, "tcs")
    placed, number = world.place(store), f"{next(NUMBERS)}"
    placed.phone.tap("Confirm")
    world.advance("5m")
    _book(world, placed, number)
    shown = world.in_store(placed)["tracking"]
    assert [(one["company"], one["number"]) for one in shown] == [("TCS", number)]
    assert shown[0]["url"].startswith(f"{world.app_url}/t/")
    if store == "shopify":
        assert world.in_store(placed)["fulfillment_status"] == "fulfilled"
        assert shown[0]["events"] == ["confirmed"]
    with world.looking(store) as session:
        parcel = session.scalars(select(Shipment).where(Shipment.tracking_number == number)).one()
        assert not parcel.external_id.startswith("dastak:")
    world.advance("1h")
    scanned(world, "tcs", number, "", "Shipment Picked Up")
    world.advance("1h")
    _brought(world, number)
    assert [place for place, _ in _told(world, placed)] == ["booked", "picked_up", "out_for_delivery", "delivered"]
    assert len(world.in_store(placed)["tracking"]) == 1
    assert _journeys(world, placed) == ["delivered", "dispatched", "out_for_delivery"]


@pytest.mark.parametrize("store", STORES)
def test_told_twice_is_told_once(lite_world: World, store: str) -> None:
    placed, number = lite_world.place(store, "prepaid"), f"{next(NUMBERS)}"
    lite_world.advance("5s")
    for status in ("booked", "picked_up", "out_for_delivery", "attempted", "delivered"):
        at = lite_world.house.clock.now()
        _tell(lite_world, placed, number, status, at=at)
        lite_world.settle()
        once = lite_world.in_store(placed)
        lite_world.advance("5m")
        _tell(lite_world, placed, number, status, at=at)
        lite_world.settle()
        assert lite_world.in_store(placed) == once


@pytest.mark.parametrize("store", STORES)
def test_a_rider_who_comes_again_is_told_again(lite_world: World, store: str) -> None:
    placed, number = lite_world.place(store, "prepaid"), f"{next(NUMBERS)}"
    for status in ("out_for_delivery", "attempted", "out_for_delivery"):
        lite_world.advance("12h")
        _tell(lite_world, placed, number, status)
    seen = lite_world.in_store(placed)
    if store == "shopify":
        assert seen["tracking"][0]["events"] == ["out_for_delivery", "attempted_delivery", "out_for_delivery"]
    else:
        assert sum("out for delivery" in note["note"] for note in seen["notes"]) == 2


@pytest.mark.parametrize("store", STORES)
def test_a_booking_that_was_taken_back_is_taken_back_in_the_store(lite_world: World, store: str) -> None:
    placed, number = lite_world.place(store, "prepaid"), f"{next(NUMBERS)}"
    kept = f"{next(NUMBERS)}"
    if store == "woocommerce":
        lite_world.hand(placed, "track", company="Leopards", tracking_number=kept)
    _tell(lite_world, placed, number, "booked")
    for _ in range(2):
        _tell(lite_world, placed, number, "cancelled")
        lite_world.settle()
        seen = lite_world.in_store(placed)
        if store == "shopify":
            assert [one["state"] for one in seen["tracking"]] == ["cancelled"]
            assert seen["fulfillment_status"] == "unfulfilled"
        else:
            assert [one["number"] for one in seen["tracking"]] == [kept]
            assert sum(note["note"] == f"TCS {number}: booking cancelled" for note in seen["notes"]) == 1
    again = f"{next(NUMBERS)}"
    _tell(lite_world, placed, again, "booked")
    assert again in [one["number"] for one in lite_world.in_store(placed)["tracking"]]


# -- Shopify's own ways --------------------------------------------------------------------------------------------


def test_a_fulfilment_whose_answer_was_lost_is_not_made_twice(
    lite_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No idempotency key exists: it is looked for before it is made."""
    placed, number = lite_world.place("shopify", "prepaid"), f"{next(NUMBERS)}"
    adapter = type(lite_world.house.registry.get("stores", "shopify"))
    really, lost = adapter._post, []

    def post(self: Any, account: Any, query: str, variables: Any) -> Any:
        answer = really(self, account, query, variables)
        for mutation in ("fulfillmentCreate(", "fulfillmentEventCreate("):
            if mutation in query and mutation not in lost:
                lost.append(mutation)
                raise OutcomeUnknown("the answer was lost")
        return answer

    monkeypatch.setattr(adapter, "_post", post)
    at = lite_world.house.clock.now()
    for _ in range(2):
        with pytest.raises(OutcomeUnknown):
            _tell(lite_world, placed, number, "picked_up", at=at)
    assert _tell(lite_world, placed, number, "picked_up", at=at) == "the store says so already"
    assert len(lost) == 2
    assert [one["events"] for one in lite_world.in_store(placed)["tracking"]] == [["carrier_picked_up"]]


def test_late_news_does_not_take_the_status_page_back(lite_world: World) -> None:
    placed, number = lite_world.place("shopify", "prepaid"), f"{next(NUMBERS)}"
    now = lite_world.house.clock.now()
    _tell(lite_world, placed, number, "delivered", at=now)
    said = _tell(lite_world, placed, number, "out_for_delivery", at=now - timedelta(hours=3))
    assert said == "the store has later news of it"
    assert lite_world.in_store(placed)["tracking"][0]["status"] == "delivered"


def test_an_order_that_the_merchant_fulfilled_or_cancelled_is_left_as_it_is(lite_world: World) -> None:
    placed, number = lite_world.place("shopify", "prepaid"), f"{next(NUMBERS)}"
    lite_world.hand(placed, "fulfil")
    assert _tell(lite_world, placed, number, "booked") == "nothing is left to fulfil in the store"
    assert [one["number"] for one in lite_world.in_store(placed)["tracking"]] == [None]
    other, number = lite_world.place("shopify"), f"{next(NUMBERS)}"
    lite_world.hand(other, "cancel")
    assert _tell(lite_world, other, number, "booked") == "nothing is left to fulfil in the store"


def test_a_parcel_leaves_from_one_location(lite_world: World) -> None:
    items = [{"sku": "KHS-01"}, {"sku": "DUP-01"}]
    placed, number = lite_world.place("shopify", "prepaid", items=items), f"{next(NUMBERS)}"
    lite_world.hand(placed, "split")
    said = _tell(lite_world, placed, number, "booked")
    assert "what lies elsewhere is left open" in said
    seen = lite_world.in_store(placed)
    assert seen["fulfillment_status"] == "partial"
    assert [one["number"] for one in seen["tracking"]] == [number]


def test_a_permission_that_is_not_given_yet_holds_up_parcels_and_nothing_else(world: World) -> None:
    """Stores that installed Dastak earlier are asked for it when they next open the app."""
    shops = world.control("GET", "/control/stores")["shopify"]
    given = next(shop["scopes"] for shop in shops if shop["installed"])
    world.control(
        "POST",
        "/control/stores",
        {"store": "shopify", "action": "scopes", "scopes": [one for one in given if "write_fulfillments" not in one]},
    )
    world.settle()
    try:
        placed, _ = _sent(world, "shopify")
        assert _told(world, placed) == [("picked_up", "queued")]
        assert "dastak-confirmed" in world.in_store(placed)["tags"]
        story = world.story(placed)
        assert "approve it" in " ".join(moment.detail for moment in [*story.past, *story.planned])
        with world.looking("shopify") as session:
            connection = live_connection(session, "stores")
            assert connection is not None
            assert connection.health == "ok"
    finally:
        world.control("POST", "/control/stores", {"store": "shopify", "action": "scopes", "scopes": given})
    world.advance("61m")
    assert _told(world, placed) == [("picked_up", "sent")]
    assert world.in_store(placed)["tracking"][0]["events"] == ["carrier_picked_up"]


# -- WooCommerce's own ways ----------------------------------------------------------------------------------------


def test_an_order_that_moved_on_keeps_its_status(lite_world: World) -> None:
    placed, number = lite_world.place("woocommerce", "prepaid"), f"{next(NUMBERS)}"
    lite_world.advance("5s")
    lite_world.hand(placed, "refund")
    _tell(lite_world, placed, number, "delivered")
    seen = lite_world.in_store(placed)
    assert seen["status"] == "refunded"
    assert [one["number"] for one in seen["tracking"]] == [number]
    lite_world.hand(placed, "trash")
    assert _tell(lite_world, placed, number, "delivered") == "the order is no longer in the store"


def test_what_plugins_wrote_beside_ours_stays(lite_world: World) -> None:
    """The entry of a parcel that the store has already, typed with blanks, is not doubled either."""
    placed = lite_world.place("woocommerce", "prepaid")
    first, second = f"{next(NUMBERS)}", f"{next(NUMBERS)}"
    lite_world.hand(placed, "track", company="Leopards", tracking_number=f" {first[:4]} {first[4:]}")
    before = lite_world.in_store(placed)["meta"][TRACKING]
    _tell(lite_world, placed, first, "picked_up")
    assert lite_world.in_store(placed)["meta"][TRACKING] == before
    at = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
    _tell(lite_world, placed, second, "picked_up", at=at)
    kept, added = lite_world.in_store(placed)["meta"][TRACKING]
    assert [kept] == before
    assert added["tracking_number"] == second
    assert (added["tracking_provider"], added["custom_tracking_provider"]) == ("", "TCS")
    assert added["date_shipped"] == f"{at.timestamp():.0f}"
    assert len(added["tracking_id"]) == 32
