"""Parcels are followed: the store says which courier and number, the courier says where it is."""

from __future__ import annotations

import itertools

import pytest
from sqlalchemy import func, select

from integration.ingest import WebhookDelivery
from integration.orders import Shipment
from integration.stores import Connection
from tests.world import World

WORDS = {
    "tcs": (("", "Shipment Picked Up"), ("", "Out For Delivery"), ("OK", "Shipment Delivered")),
    "leopards": (("SP", "Shipment Picked"), ("AC", "Out for delivery"), ("DV", "Delivered")),
    "postex": (("0003", "At PostEx Warehouse"), ("0004", "Package on Route"), ("0005", "Delivered")),
    "trax": (("", "Rider Picked"), ("", "Out for Delivery"), ("", "Delivered")),
    "shiprocket": (("42", "Picked Up"), ("17", "Out For Delivery"), ("7", "Delivered")),
}
CALLED = {"tcs": "TCS", "leopards": "Leopards Courier", "postex": "PostEx", "trax": "Trax", "shiprocket": "Shiprocket"}
NUMBERS = itertools.count(9_400_001)
PUSHES = ("leopards", "trax", "shiprocket")


@pytest.mark.in_turn
@pytest.mark.parametrize("courier", WORDS)
def test_a_parcel_is_asked_after_until_it_is_delivered(world: World, courier: str) -> None:
    """No push comes. Half a day until the pickup is noticed, three hours on its way, until morning at the door."""
    world.connect_courier("shopify", courier)
    placed = world.place("shopify")
    placed.phone.tap("Confirm")
    number = f"77{next(NUMBERS)}"
    world.hand(placed, "fulfil", company=CALLED[courier], tracking_number=f" {number[:3]} {number[3:]} ")
    assert world.states(placed)[2] == "in_transit" or world.states(placed)[2] == "booked"
    seen = []
    for (code, text), wait in zip(WORDS[courier], ("13h", "4h", "12h"), strict=True):
        world.scan(courier, number, code, text)
        world.advance(wait)
        world.settle()
        seen.append(world.states(placed)[2])
    assert seen[1:] == ["out_for_delivery", "delivered"]
    with world.looking("shopify") as session:
        parcel = session.scalars(select(Shipment).where(Shipment.tracking_number == number)).one()
        assert parcel.adapter == courier
        by_time = sorted(parcel.events, key=lambda event: event.occurred_at)
        told = [event.status for event in by_time if event.status != "booked"]  # the store said that
        assert told == ["picked_up", "out_for_delivery", "delivered"]
        news = (WebhookDelivery.source == "poll", WebhookDelivery.adapter == courier)
        assert session.scalar(select(func.count()).where(*news)) == 3
    world.advance("30h")
    world.settle()
    world.advance("80h")
    world.settle()
    with world.looking("shopify") as session:
        assert session.get_one(Shipment, parcel.id).poll_at is None
        assert session.scalars(select(Connection.health).where(Connection.adapter == courier)).one() == "ok"


@pytest.mark.in_turn
@pytest.mark.parametrize("courier", PUSHES)
def test_a_push_moves_the_order_at_once_and_the_poll_adds_nothing(world: World, courier: str) -> None:
    world.connect_courier("shopify", courier, push=True)
    placed = world.place("shopify")
    placed.phone.tap("Confirm")
    number = f"77{next(NUMBERS)}"
    for step, (code, text) in enumerate(WORDS[courier][:2]):  # the courier is quicker than the store
        world.scan(courier, number, code, text)
        world.settle()
        world.advance("1h")
        if step == 0:
            world.hand(placed, "fulfil", company=CALLED[courier], tracking_number=number)
    assert world.states(placed)[2] == "out_for_delivery"
    world.scan(courier, number, *WORDS[courier][2])
    world.settle()
    assert world.states(placed)[2] == "delivered"
    world.advance("25h")
    world.settle()
    with world.looking("shopify") as session:
        parcel = session.scalars(select(Shipment).where(Shipment.tracking_number == number)).one()
        told = [event.status for event in parcel.events if event.raw_code not in ("", "success")]
        assert told.count("picked_up") == told.count("out_for_delivery") == told.count("delivered") == 1
        states = session.scalars(select(WebhookDelivery.state).where(WebhookDelivery.adapter == courier)).all()
        assert set(states) == {"processed"}


def test_a_courier_that_no_longer_takes_our_keys_is_shown_and_one_that_is_away_is_asked_again(world: World) -> None:
    world.connect_courier("shopify", "leopards")
    placed = world.place("shopify")
    world.hand(placed, "fulfil", company="LCS", tracking_number="KI779400003")
    world.scan("leopards", "KI779400003", "", "Out for delivery")
    world.fault("leopards.api", "error_500", count=1)
    world.advance("13h")
    world.settle()
    assert world.states(placed)[2] != "out_for_delivery"
    world.advance("25m")
    world.settle()
    assert world.states(placed)[2] == "out_for_delivery"
    world.connect_courier("shopify", "leopards", wrong=True)
    world.advance("13h")
    world.settle()
    with world.looking("shopify") as session:
        connection = session.scalars(select(Connection).where(Connection.adapter == "leopards")).one()
        assert connection.health == "broken"
        assert "Leopards" in connection.sentence


def test_a_parcel_that_the_courier_will_not_tell_about_holds_up_no_other(world: World) -> None:
    world.connect_courier("shopify", "trax")
    numbers = [f"77{next(NUMBERS)}" for _ in range(3)]
    placed = [world.place("shopify", "prepaid") for _ in numbers]
    for order, number in zip(placed, numbers, strict=True):
        world.hand(order, "fulfil", company="Trax", tracking_number=number)
        world.scan("trax", number, "", "Rider Picked")
    world.fault("trax.api", "error_500", count=1)
    world.advance("13h")
    world.settle()
    assert sorted(world.states(order)[2] for order in placed) == ["booked", "in_transit", "in_transit"]
    world.advance("70m")
    world.settle()
    assert [world.states(order)[2] for order in placed] == ["in_transit"] * 3
