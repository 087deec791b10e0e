"""What the merchant switches and sets is what happens, and each order's story says so."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import select
from sqlalchemy.orm import object_session

from integration.customers import ContactPoint
from integration.guards import SKIP_REASONS
from integration.journeys import JourneySetting
from integration.orders import Order

from ..world import World


def _change(world: World, store: str, journey: str, **change: object) -> None:
    with world.house.db.lane(world.store_id(store)) as session:
        row = session.scalar(select(JourneySetting).where(JourneySetting.journey == journey))
        if row is None:
            row = JourneySetting(store_id=session.store_id, journey=journey)
            session.add(row)
        for name, value in change.items():
            setattr(row, name, value)


def test_a_question_switched_off_is_not_asked_and_the_story_says_so(world: World) -> None:
    """`journey_off`: nobody is asked, the order waits for nobody, and it is still confirmed by nothing we did."""
    _change(world, "shopify", "cod_confirmation", enabled=False)
    try:
        placed = world.place("shopify")
    finally:
        _change(world, "shopify", "cod_confirmation", enabled=True)
    assert placed.phone.heard == []
    assert world.states(placed)[0] == "not_needed"
    silent = [m for m in world.story(placed).past if m.title == "Not sent: COD confirmation"]
    assert [m.detail for m in silent] == [SKIP_REASONS["journey_off"]]
    assert len(world.place("shopify").phone.heard) == 1


def test_what_waited_is_withdrawn_when_the_order_is_cancelled_meanwhile(world: World) -> None:
    """`superseded`: the question waited for its template; the shop cancelled first; it never goes out."""
    world.templates("woocommerce", name="dastak_cod_confirmation_v1", language="en", status="PENDING")
    try:
        placed = world.place("woocommerce")
        world.hand(placed, "cancel")
    finally:
        world.templates("woocommerce", name="dastak_cod_confirmation_v1", language="en", status="APPROVED")
    assert world.touchpoints(placed)["ask"] == "cancelled: superseded"
    assert not any("Shall we send it" in message.text for message in placed.phone.heard)


def test_a_merchants_delay_holds_for_new_orders_and_running_ones_keep_theirs(world: World) -> None:
    with world.deciding("shopify") as store:
        policy = store.policy
        store.decide(replace(policy, quiet_from=0, quiet_until=0))
    before = world.place("shopify")
    _change(world, "shopify", "cod_confirmation", delays={"remind": 1.0})
    try:
        after = world.place("shopify")
        world.advance("90m")
        assert (len(before.phone.heard), len(after.phone.heard)) == (1, 2)
        world.advance("3h")
        assert (len(before.phone.heard), len(after.phone.heard)) == (2, 2)
    finally:
        _change(world, "shopify", "cod_confirmation", delays={})
        with world.deciding("shopify") as store:
            store.decide(policy)


def test_a_cancel_is_only_noted_where_the_merchant_wants_to_cancel_by_hand(world: World) -> None:
    with world.deciding("woocommerce") as store:
        store.decide(replace(store.policy, cancel_in_store=False))
    try:
        placed = world.place("woocommerce")
        placed.phone.tap("Cancel")
    finally:
        with world.deciding("woocommerce") as store:
            store.decide(replace(store.policy, cancel_in_store=True))
    assert world.states(placed)[0] == "declined"
    seen = world.in_store(placed)
    assert seen["status"] == "processing"
    assert any("cancelled this order on WhatsApp" in note["note"] for note in seen["notes"])


def test_a_date_is_promised_only_if_the_merchant_promises_it(world: World) -> None:
    prepaid = world.place("shopify", "prepaid")
    assert "You will hear from us when it ships." in prepaid.phone.last.text
    with world.deciding("shopify") as store:
        store.decide(replace(store.policy, delivery_days=(2, 4)))
    try:
        promised = world.place("shopify", "prepaid")
    finally:
        with world.deciding("shopify") as store:
            store.decide(replace(store.policy, delivery_days=None))
    assert "Expected between " in promised.phone.last.text


@pytest.mark.parametrize(
    ("words", "answer"), [("ji haan", "Shukriya"), ("ہاں جی شکریہ", ""), ("haan bhej dein bhai", "")]
)
def test_the_customer_is_answered_in_the_language_they_write(world: World, words: str, answer: str) -> None:
    """An English order, answered in another language: from then on it is theirs; what is in doubt changes nothing."""
    placed = world.place("shopify")
    placed.phone.write(words)
    contact = world.order(placed).contact_point_id
    with world.looking("shopify") as session:
        written = session.get_one(ContactPoint, contact).language
    assert written == {"ji haan": "ur-Latn", "ہاں جی شکریہ": "ur"}.get(words)
    if answer:
        assert answer in placed.phone.last.text


def test_a_story_is_told_in_the_order_it_happened(world: World) -> None:
    """Vendors' clocks tell whole seconds; a tap still comes after the question and before what it caused."""
    placed = world.place("woocommerce")
    placed.phone.tap("Cancel")
    placed.phone.tap("Found it cheaper")
    titles = [m.title for m in world.story(placed).past]
    expected = [
        f"Order {placed.name} placed",
        "Confirmation: waiting for an answer",
        "COD confirmation: asks to confirm",
        "The customer tapped",
        "Confirmation: cancelled by the customer",
        "Cancellation and its reason: says it is cancelled and asks why",
        "The customer chose",
        "Reason: found cheaper",
        "Answered: reason thanks",
    ]
    assert [title for title in titles if title in expected] == expected


def test_a_question_that_waits_goes_to_the_number_the_merchant_corrected(world: World) -> None:
    """The template is in review; meanwhile the merchant mends the number. The stranger hears nothing."""
    known = world.place("woocommerce")
    world.templates("woocommerce", name="dastak_cod_confirmation_v1", language="en", status="PENDING")
    placed = world.place("woocommerce")
    heard = len(known.phone.heard)
    with world.deciding("woocommerce") as store:
        session = object_session(store)
        right = session.scalars(select(Order).where(Order.name == known.name)).one().contact
        session.scalars(select(Order).where(Order.name == placed.name)).one().contact = right
    world.templates("woocommerce", name="dastak_cod_confirmation_v1", language="en", status="APPROVED")
    assert placed.phone.heard == []
    assert placed.name in known.phone.heard[heard].text


@pytest.mark.parametrize("store", ["shopify", "woocommerce"])
def test_a_store_that_was_away_hears_only_the_answer_that_stands(world: World, store: str) -> None:
    """Confirmed, then cancelled while the store's API asked to be left alone: it never hears the first."""
    placed = world.place(store)
    question = placed.phone.last
    world.fault(f"{store}.api", "throttle_429")
    placed.phone.tap_quietly("Confirm", question)
    world.settle()
    placed.phone.tap("Cancel", question)
    world.calm()
    for _ in range(3):
        world.advance("10m")
    assert world.states(placed)[0] == "declined"
    kept = world.in_store(placed)
    assert "dastak-confirmed" not in kept["tags"]
    assert "confirmed" not in kept["meta"].values()
    assert not any("confirmed this order" in note["note"] for note in kept["notes"])
    assert kept["status"] == "cancelled"


def test_an_order_nobody_could_be_asked_about_is_not_said_to_be_unanswered(world: World) -> None:
    """The number has no WhatsApp: the store is told to call, not that the customer did not answer."""
    phone = world.phone()
    world.whatsapp("fail_next", phone=phone.number, code=131026, when="send")
    placed = world.place("woocommerce", phone=phone)
    for _ in range(4):
        world.advance("8h")
    [note] = [n["note"] for n in world.in_store(placed)["notes"] if "WhatsApp" in n["note"]]
    assert note == "The customer could not be asked on WhatsApp. Please call before sending."
