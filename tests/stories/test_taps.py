"""Late, double and conflicting taps: each has one outcome and a truthful reply."""

from __future__ import annotations

from sqlalchemy import select

from integration.inbox import Conversation
from integration.orders import find_order

from ..world import Placed, World


def _called(world: World, placed: Placed) -> str:
    """Why a person was called, if one was."""
    order = world.order(placed)
    with world.looking(placed.store) as session:
        found = session.scalar(select(Conversation).where(Conversation.contact_point_id == order.contact_point_id))
        return found.needs_person if found is not None else ""


def test_a_double_tap_is_one_confirmation(world: World) -> None:
    """Two taps in a row: one confirmation, no second answer."""
    placed = world.place("shopify")
    placed.phone.tap_quietly("Confirm")
    placed.phone.tap_quietly("Confirm")
    world.settle()
    placed.phone.tap("Confirm")
    assert world.states(placed)[0] == "confirmed"
    assert len(placed.phone.heard) == 2


def test_a_second_yes_much_later_is_told_that_all_is_well(world: World) -> None:
    placed = world.place("shopify")
    placed.phone.tap("Confirm")
    world.advance("2h")
    placed.phone.tap("Confirm", placed.phone.heard[0])
    assert placed.phone.last.text == f"Your order {placed.name} is already confirmed. Nothing more to do."


def test_a_yes_after_a_no_is_told_the_truth_and_calls_a_person(world: World) -> None:
    """The store has cancelled for good; the customer hears so, and the merchant hears that they want it back."""
    placed = world.place("shopify")
    ask = placed.phone.heard[0]
    placed.phone.tap("Cancel", ask)
    placed.phone.tap("Confirm", ask)
    assert world.states(placed)[0] == "declined"
    assert "was cancelled when you tapped Cancel" in placed.phone.last.text
    assert "wants an order back" in _called(world, placed)


def test_a_no_after_a_yes_still_counts_before_dispatch(world: World) -> None:
    placed = world.place("woocommerce")
    ask = placed.phone.heard[0]
    placed.phone.tap("Confirm", ask)
    placed.phone.tap("Cancel", ask)
    assert world.states(placed)[0] == "declined"
    assert world.in_store(placed)["status"] == "cancelled"


def test_a_no_after_dispatch_cancels_nothing_and_calls_a_person(world: World) -> None:
    placed = world.place("shopify")
    ask = placed.phone.heard[0]
    placed.phone.tap("Confirm", ask)
    world.hand(placed, "fulfil")
    assert world.states(placed)[2] == "booked"
    placed.phone.tap("Cancel", ask)
    assert world.states(placed)[0] == "confirmed"
    assert "has already been handed over for delivery, so it can no longer be cancelled" in placed.phone.last.text
    assert "wants to cancel an order that is on its way" in _called(world, placed)


def test_a_yes_to_an_order_the_shop_cancelled_is_told_so(world: World) -> None:
    placed = world.place("woocommerce")
    ask = placed.phone.heard[0]
    world.hand(placed, "cancel")
    placed.phone.tap("Confirm", ask)
    assert world.states(placed)[0] == "cancelled"
    assert "was cancelled by the shop, so it can no longer be confirmed" in placed.phone.last.text


def test_a_tap_on_an_old_message_answers_for_its_own_order(world: World) -> None:
    """Two orders wait; the button of the first message confirms the first order, whatever came later."""
    first = world.place("shopify")
    second = world.place("shopify", phone=first.phone, items=[{"sku": "KRT-M", "quantity": 1}])
    asks = [m for m in first.phone.heard if "Confirm" in m.buttons]
    first.phone.tap("Confirm", asks[0])
    assert world.states(first)[0] == "confirmed"
    assert world.states(second)[0] == "awaiting"


def test_a_tap_on_a_trashed_order_is_told_so(world: World) -> None:
    placed = world.place("woocommerce")
    world.hand(placed, "trash")
    placed.phone.tap("Confirm")
    assert "no longer in the shop's system" in placed.phone.last.text
    assert "the store threw away" in _called(world, placed)


def test_a_cancel_after_a_cancel_says_that_it_is(world: World) -> None:
    placed = world.place("shopify")
    ask = placed.phone.heard[0]
    placed.phone.tap("Cancel", ask)
    world.advance("1h")
    placed.phone.tap("Cancel", ask)
    assert placed.phone.last.text == f"Your order {placed.name} is already cancelled. Nothing will be sent."


def test_a_reason_is_kept_once_and_may_be_changed(world: World) -> None:
    placed = world.place("shopify")
    placed.phone.tap("Cancel")
    placed.phone.tap("Wrong item")
    said = len(placed.phone.heard)
    placed.phone.tap("Another reason")
    placed.phone.tap("Another reason")
    assert world.order(placed).cancel_reason == "other"
    assert len(placed.phone.heard) == said


def test_yes_in_words_counts_while_exactly_one_order_waits(world: World) -> None:
    """Roman Urdu, with noise; with two orders waiting nobody guesses."""
    placed = world.place("woocommerce")
    placed.phone.write("Haan, confirm kar dein!! 🙂")
    assert world.states(placed)[0] == "confirmed"

    one = world.place("woocommerce")
    two = world.place("woocommerce", phone=one.phone)
    one.phone.write("confirm")
    assert world.states(one)[0] == world.states(two)[0] == "awaiting"
    assert "several orders" in _called(world, two)


def test_no_in_words_cancels_and_a_negated_yes_is_a_no(world: World) -> None:
    placed = world.place("shopify")
    placed.phone.write("confirm na karein")
    assert world.states(placed)[0] == "declined"


def test_what_is_not_understood_goes_to_a_person(world: World) -> None:
    placed = world.place("shopify")
    before = len(placed.phone.heard)
    placed.phone.write("can you make it size 42?")
    assert len(placed.phone.heard) == before
    assert _called(world, placed) == "the customer wrote"
    assert world.states(placed)[0] == "awaiting"


def test_an_order_changed_since_the_question_is_asked_again(world: World) -> None:
    """A yes to one amount is no yes to another."""
    placed = world.place("shopify")
    ask = placed.phone.heard[0]
    with world.house.db.lane(world.store_id("shopify")) as session:
        order = find_order(session, placed.order_id)
        assert order is not None
        order.total, order.outstanding = order.total + 500, None
    placed.phone.tap("Confirm", ask)
    assert world.states(placed)[0] == "awaiting"
    again = placed.phone.last
    assert "has changed since we asked" in again.text
    assert "Rs 7,748" in again.text
    placed.phone.tap("Confirm", again)
    assert world.states(placed)[0] == "confirmed"


def test_a_yes_in_words_is_a_yes_to_what_was_asked(world: World) -> None:
    """As by the button: an order that changed since is asked about again, and only then confirmed."""
    placed = world.place("shopify")
    with world.house.db.lane(world.store_id("shopify")) as session:
        order = find_order(session, placed.order_id)
        assert order is not None
        order.total, order.outstanding = order.total + 500, None
    placed.phone.write("yes")
    assert world.states(placed)[0] == "awaiting"
    assert "Rs 7,748" in placed.phone.last.text
    placed.phone.write("yes")
    assert world.states(placed)[0] == "confirmed"
