"""What customers hear of their parcels: each word once, in order, true at the moment it is said."""

from __future__ import annotations

import itertools
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select

from integration.db import Base
from integration.inbox import Conversation
from integration.ingest import WebhookDelivery
from integration.orders import Shipment
from integration.outbox import Outbox

from ..world import Placed, World
from .test_parcels import CALLED, PUSHES, WORDS

NUMBERS = itertools.count(9_700_001)


def morning(world: World) -> None:
    """Go on to ten in the morning, where the customers are."""
    local = world.house.clock.now().astimezone(ZoneInfo("Asia/Karachi"))
    ten = local.replace(hour=10, minute=0, second=0, microsecond=0)
    ten += timedelta(days=1) if ten <= local else timedelta(0)
    world.advance(f"{int((ten - local).total_seconds()) + 60}s")


def sent(
    world: World, courier: str, *, push: bool = True, payment: str = "cod", store: str = "shopify"
) -> tuple[Placed, str]:
    """A confirmed order handed to a courier in the store's admin."""
    morning(world)
    world.connect_courier("shopify", courier, push=push and courier in PUSHES)
    placed = world.place("shopify", payment)
    if payment == "cod":
        placed.phone.tap("Confirm")
    number = f"77{next(NUMBERS)}"
    world.hand(placed, "fulfil", company=CALLED[courier], tracking_number=number)
    return placed, number


def scanned(world: World, courier: str, number: str, code: str, text: str, **more: str) -> None:
    """A scan, and its news: at once where the courier pushes, else when it is asked next."""
    world.scan(courier, number, code, text, **more)
    world.settle()
    if courier not in PUSHES:
        polled(world, number)


def polled(world: World, number: str) -> None:
    """The courier is asked after a parcel now."""
    with world.house.db.operator_writing() as session:
        for shipment in session.scalars(select(Shipment).where(Shipment.tracking_number == number)):
            shipment.poll_at = session.now()
    world.advance("2m")
    world.settle()


def templates(placed: Placed) -> list[str]:
    return [said.template.removeprefix("dastak_").removesuffix("_v1") for said in placed.phone.heard if said.template]


def about(placed: Placed, words: str) -> list[str]:
    return [said.text for said in placed.phone.heard if words in said.text]


@pytest.mark.in_turn
@pytest.mark.parametrize("courier", WORDS)
def test_dispatched_out_for_delivery_delivered_once_each_and_in_order(world: World, courier: str) -> None:
    placed, number = sent(world, courier)
    for code, text in WORDS[courier]:
        scanned(world, courier, number, code, text)
        scanned(world, courier, number, code, text)
    heard = [said.text for said in placed.phone.heard][2:]
    assert len(heard) == 3, heard
    on_its_way, at_the_door, arrived = heard
    assert "is on its way" in on_its_way
    assert "is out for delivery with" in at_the_door
    assert "delivered your order" in arrived
    for line in heard:
        assert CALLED[courier] in line
        assert number in line
        assert placed.name in line
        assert f"{world.app_url}/t/" in line
    assert "Please keep Rs" in on_its_way
    assert "Please keep Rs" in at_the_door
    world.advance("26h")
    world.settle()
    assert len(placed.phone.heard) == 5


def test_a_paid_parcel_asks_for_no_money(world: World) -> None:
    placed, _ = sent(world, "leopards", payment="prepaid")
    assert "nothing is to be paid at the door" in placed.phone.last.text


def test_out_for_delivery_is_told_once_a_day_and_again_the_next(world: World) -> None:
    placed, number = sent(world, "leopards")
    scanned(world, "leopards", number, "AC", "Out for delivery")
    world.advance("2h")
    scanned(world, "leopards", number, "AR", "Arrived at Station")
    scanned(world, "leopards", number, "AC", "Assign to Courier")
    assert len(about(placed, "is out for delivery with")) == 1
    morning(world)
    scanned(world, "leopards", number, "AC", "Out for delivery")
    assert len(about(placed, "is out for delivery with")) == 2


def test_old_scans_and_scans_from_before_the_courier_was_connected_are_told_to_nobody(world: World) -> None:
    placed, number = sent(world, "leopards")
    yesterday = (world.house.clock.now() - timedelta(hours=30)).isoformat()
    scanned(world, "leopards", number, "AC", "Out for delivery", at=yesterday)
    assert about(placed, "is out for delivery with") == []
    assert "off" in world.journeys(placed)["out_for_delivery"]
    scanned(world, "leopards", number, "DV", "Delivered")
    scanned(world, "leopards", number, "AC", "Out for delivery", at=yesterday)
    assert len(about(placed, "delivered your order")) == 1
    assert about(placed, "is out for delivery with") == []


def test_new_keys_for_a_courier_make_no_history_of_what_it_scanned_meanwhile(world: World) -> None:
    placed, number = sent(world, "tcs")
    world.advance("1h")
    a_moment_ago = (world.house.clock.now() - timedelta(minutes=10)).isoformat()
    world.scan("tcs", number, *WORDS["tcs"][1], at=a_moment_ago)
    world.connect_courier("shopify", "tcs")
    polled(world, number)
    assert len(about(placed, "is out for delivery with")) == 1


def test_a_parcel_delivered_before_its_news_could_go_is_told_as_delivered_only(world: World) -> None:
    """Several scans come in one answer: only what is still true is said."""
    placed, number = sent(world, "tcs")
    for code, text in WORDS["tcs"][:2]:
        world.scan("tcs", number, code, text)
    scanned(world, "tcs", number, *WORDS["tcs"][2])
    assert about(placed, "is out for delivery with") == []
    assert len(about(placed, "delivered your order")) == 1


# -- a delivery fails ----------------------------------------------------------------------------------------------


def failed(world: World, courier: str = "tcs") -> tuple[Placed, str]:
    placed, number = sent(world, courier)
    code, text = WORDS[courier][1]
    scanned(world, courier, number, code, text)
    world.advance("1h")
    scanned(world, courier, number, "", "Consignee Not Home")
    return placed, number


def called(world: World, placed: Placed) -> str:
    with world.looking(placed.store) as session:
        contact = world.order(placed).contact_point_id
        found = session.scalars(select(Conversation).where(Conversation.contact_point_id == contact)).one()
        return found.needs_person


def test_a_failed_delivery_asks_what_shall_happen_and_a_day_can_be_chosen(world: World) -> None:
    """TCS takes no advice by its API: the merchant is told what to tell them, in the customer's words."""
    placed, number = failed(world)
    assert "could not deliver" in placed.phone.last.text
    assert "nobody was there" in placed.phone.last.text
    assert placed.phone.last.buttons == ("Deliver again", "Change address", "Send it back")
    placed.phone.tap("Deliver again")
    assert "When shall TCS bring" in placed.phone.last.text
    assert len(placed.phone.last.buttons) == 3
    day = placed.phone.last.buttons[0]
    placed.phone.tap(day)
    assert "We are asking TCS to bring your order" in placed.phone.last.text
    world.settle()
    told = called(world, placed)
    assert f"Please tell the courier ({number}): Customer asks on WhatsApp for another day; deliver on " in told
    heard = len(placed.phone.heard)
    placed.phone.tap(day, next(said for said in placed.phone.heard if day in said.buttons))
    assert len(placed.phone.heard) == heard  # the same tap twice is one


def test_a_new_address_is_written_read_back_and_only_then_counts(world: World) -> None:
    placed, _ = failed(world)
    placed.phone.tap("Change address")
    assert "write the full new address" in placed.phone.last.text
    placed.phone.write("House 7")
    assert "write the full new address" in placed.phone.last.text
    placed.phone.write("House 7, Street 12, Gulberg III, Lahore")
    assert "House 7, Street 12, Gulberg III, Lahore. Is that right?" in placed.phone.last.text
    placed.phone.tap("Write it again")
    placed.phone.write("House 8, Street 12, Gulberg III, Lahore")
    assert "House 8, Street 12" in placed.phone.last.text
    placed.phone.tap("Yes, deliver there")
    assert "to House 8, Street 12, Gulberg III, Lahore." in placed.phone.last.text
    heard = len(placed.phone.heard)
    placed.phone.tap(
        "Yes, deliver there", next(m for m in placed.phone.heard[::-1] if "Yes, deliver there" in m.buttons)
    )
    assert len(placed.phone.heard) == heard  # the same tap twice is one
    world.settle()
    assert "House 8, Street 12" in called(world, placed)
    placed.phone.write("thank you so much")
    assert "Is that right?" not in placed.phone.last.text


def test_an_address_that_was_read_back_is_confirmed_by_a_yes_in_words_and_not_replaced_by_small_talk(
    world: World,
) -> None:
    placed, _ = failed(world)
    placed.phone.tap("Change address")
    placed.phone.write("House 9, Street 12, Gulberg III, Lahore")
    placed.phone.write("please be quick this time")
    assert "House 9, Street 12" in placed.phone.last.text
    placed.phone.write("haan")
    world.settle()
    assert "new address: House 9, Street 12, Gulberg III, Lahore" in called(world, placed)


def test_an_address_written_to_us_is_forgotten_with_its_customer(world: World) -> None:
    placed, _ = failed(world)
    placed.phone.tap("Change address")
    placed.phone.write("House 93, Street 12, Gulberg III, Lahore")
    placed.phone.tap("Yes, deliver there")
    placed.phone.write("koi nahi aya")
    world.settle()
    asked = {"store": "shopify", "action": "privacy", "topic": "customers/redact", "order_id": placed.order_id}
    world.control("POST", "/control/stores", asked)
    world.settle()
    with world.house.db.operator() as session:
        for table in Base.metadata.sorted_tables:
            for row in session.connection().execute(select(table)):
                assert "House 93" not in str(row), table.name


def test_a_return_is_asked_twice(world: World) -> None:
    placed, _ = failed(world)
    placed.phone.tap("Send it back")
    assert placed.phone.last.buttons == ("Yes, send it back", "Deliver again")
    placed.phone.tap("Yes, send it back")
    assert "back to" in placed.phone.last.text
    world.settle()
    assert "please return it to the shipper" in called(world, placed)


@pytest.mark.in_turn
@pytest.mark.parametrize(
    ("code", "text", "said", "told"),
    [
        ("", "Out For Delivery", "already out for delivery again", ""),
        ("OK", "Shipment Delivered", "shows as delivered", "has an instruction for a parcel that shows as delivered"),
        ("", "Return In Process", "already on its way back", "still wants a parcel that is coming back"),
        ("", "Arrived at TCS Facility", "has moved on since we asked", "has moved on"),
    ],
)
def test_an_answer_after_the_parcel_moved_on_gets_a_truthful_reply(
    world: World, code: str, text: str, said: str, told: str
) -> None:
    placed, number = failed(world)
    question = placed.phone.last
    world.advance("1h")
    scanned(world, "tcs", number, code, text)
    placed.phone.tap("Deliver again", question)
    assert said in placed.phone.last.text
    if told:
        assert told in called(world, placed)
    with world.looking("shopify") as session:
        told = select(Outbox).where(Outbox.kind == "courier", Outbox.order_id == world.order(placed).id)
        assert session.scalars(told).all() == []


def test_a_customer_to_whom_nobody_came_is_believed_and_shown(world: World) -> None:
    placed, _ = failed(world)
    placed.phone.write("koi nahi aya")
    assert "nobody came" in placed.phone.last.text or "koi nahi aaya" in placed.phone.last.text
    assert "nobody came" in called(world, placed) or "Please tell the courier" in called(world, placed)
    with world.looking("shopify") as session:
        parcel = session.scalars(select(Shipment).order_by(Shipment.id.desc()).limit(1)).one()
        assert [event.raw_text for event in parcel.events if event.status == "disputed"] == ["koi nahi aya"]
        assert parcel.status == "attempted"


def test_something_wrong_with_what_arrived_calls_a_person(world: World) -> None:
    placed, number = sent(world, "leopards")
    scanned(world, "leopards", number, "DV", "Delivered")
    placed.phone.tap("Something is wrong")
    assert "We are sorry" in placed.phone.last.text
    assert "something is wrong" in called(world, placed)


# -- where is my order ---------------------------------------------------------------------------------------------


@pytest.mark.in_turn
@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("where is my order?", "it is out for delivery with Leopards Courier"),
        ("Mera order kahan hai", "Leopards Courier"),
        ("میرا آرڈر کہاں ہے", "Leopards Courier"),
        ("मेरा ऑर्डर कहाँ है", "Leopards Courier"),
        ("¿Dónde está mi pedido?", "Leopards Courier"),
        ("onde está meu pedido", "Leopards Courier"),
    ],
)
def test_where_is_my_order_is_answered_with_the_newest_scan_and_the_link(
    world: World, asked: str, answered: str
) -> None:
    placed, number = sent(world, "leopards")
    scanned(world, "leopards", number, "AC", "Out for delivery")
    placed.phone.write(asked)
    assert answered in placed.phone.last.text
    assert placed.name in placed.phone.last.text
    assert f"{world.app_url}/t/" in placed.phone.last.text


def test_where_is_my_order_with_several_orders_with_none_and_before_it_is_sent(world: World) -> None:
    first = world.place("shopify")
    second = world.place("shopify", phone=first.phone)
    before = len(first.phone.heard)
    first.phone.write("where is my order")
    told = [said.text for said in first.phone.heard[before:]]
    assert [first.name in line or second.name in line for line in told] == [True, True]
    assert all("waits for your confirmation" in line for line in told)
    first.phone.tap("Confirm", first.phone.heard[0])
    first.phone.tap("Cancel", first.phone.heard[1])
    before = len(first.phone.heard)
    first.phone.write("where is my order")
    assert ["the shop is preparing it" in said.text for said in first.phone.heard[before:]] == [True]


def test_a_list_with_one_place_scanned_twice_a_day_is_read_like_any_other(world: World) -> None:
    """Hub after hub, all of them "on its way": the store hears it once a day, and nothing falls apart."""
    placed, number = sent(world, "tcs")
    now = world.house.clock.now()
    for minutes in (50, 40, 30):
        at = (now + timedelta(minutes=minutes)).isoformat()
        world.scan("tcs", number, "", "Departed From Origin", at=at)
    world.advance("1h")
    scanned(world, "tcs", number, "", "Out For Delivery")
    assert world.states(placed)[2] == "out_for_delivery"
    with world.looking("shopify") as session:
        states = session.scalars(select(WebhookDelivery.state).where(WebhookDelivery.adapter == "tcs")).all()
        assert "failed" not in states
        told = select(Outbox.key).where(Outbox.order_id == world.order(placed).id, Outbox.key.contains("/in_transit/"))
        assert len(session.scalars(told).all()) == 1
