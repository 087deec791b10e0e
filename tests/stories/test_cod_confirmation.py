"""A cash on delivery order, told by what the customer's phone shows and what the store and the merchant see."""

from __future__ import annotations

import pytest

from ..world import World

STORES = ("shopify", "woocommerce")


@pytest.mark.parametrize("store", STORES)
def test_a_cash_order_is_confirmed_by_a_tap(world: World, store: str) -> None:
    """The phone asks, the customer taps Confirm, the order stands in Dastak and in the store, and the phone says so
    once.
    """
    placed = world.place(store)
    asked = placed.phone.last
    assert asked.buttons == ("Confirm", "Cancel")
    assert placed.name in asked.text
    assert "2 x Khussa Leather Shoes" in asked.text
    assert "Rs 7,248" in asked.text
    assert world.states(placed) == ("awaiting", "cod_due", "unfulfilled")

    placed.phone.tap("Confirm")

    assert world.states(placed) == ("confirmed", "cod_due", "unfulfilled")
    assert [m.text.split(",")[0] for m in placed.phone.heard[1:]] == ["Thank you Ayesha"]
    seen = world.in_store(placed)
    if store == "shopify":
        assert "dastak-confirmed" in seen["tags"]
    else:
        assert seen["meta"]["_dastak_confirmation"] == "confirmed"
        assert "The customer confirmed this order on WhatsApp." in [n["note"] for n in seen["notes"]]


@pytest.mark.parametrize("store", STORES)
def test_a_cash_order_is_cancelled_by_a_tap_and_the_reason_is_asked(world: World, store: str) -> None:
    """Cancel cancels at once, in the store too; then four reasons are offered, and the choice is kept and written
    back.
    """
    placed = world.place(store)
    placed.phone.tap("Cancel")

    assert world.states(placed)[0] == "declined"
    assert world.in_store(placed)["status"] == "cancelled"
    asked = placed.phone.last
    assert "is cancelled, as you asked" in asked.text
    assert asked.rows == ("I changed my mind", "Found it cheaper", "Wrong item", "Another reason")

    placed.phone.tap("Found it cheaper")

    assert world.order(placed).cancel_reason == "found_cheaper"
    assert placed.phone.last.text == f"Thank you for telling us. Your order {placed.name} stays cancelled."
    seen = world.in_store(placed)
    if store == "shopify":
        assert {"dastak-cancelled", "dastak-reason-found-cheaper"} <= set(seen["tags"])
    else:
        assert seen["meta"]["_dastak_cancel_reason"] == "found_cheaper"


@pytest.mark.parametrize("store", STORES)
def test_a_prepaid_order_is_confirmed_at_once(world: World, store: str) -> None:
    """Nobody is asked; the confirmation holds number, items, total and address."""
    placed = world.place(store, "prepaid")
    assert world.states(placed) == ("not_needed", "paid", "unfulfilled")
    [said] = placed.phone.heard
    assert said.buttons == ()
    for part in (placed.name, "2 x Khussa Leather Shoes", "Rs 7,248", "12 Mall Road, Lahore"):
        assert part in said.text


@pytest.mark.parametrize("payment", ["jazzcash", "easypaisa", "razorpay"])
def test_an_unpaid_wallet_order_is_left_alone_until_it_is_paid(world: World, payment: str) -> None:
    """It is neither cash on delivery nor paid, so nothing true could be said about it yet."""
    placed = world.place("woocommerce", payment)
    assert world.states(placed)[:2] == ("not_needed", "pending")
    assert placed.phone.heard == []
    world.hand(placed, "pay")
    assert world.states(placed)[1] == "paid"
    assert len(placed.phone.heard) == 1


def test_the_customer_is_reminded_twice_and_then_the_order_is_put_on_hold(world: World) -> None:
    """+4 h, +20 h, hold at +24 h; never cancelled silently; reminders wait for the morning."""
    with world.deciding("shopify") as store:
        store.decide(store.policy.__class__(quiet_from=0, quiet_until=0))
    placed = world.place("shopify")
    assert len(placed.phone.heard) == 1
    world.advance("4h")
    assert len(placed.phone.heard) == 2
    assert "is waiting for your answer" in placed.phone.last.text
    assert placed.phone.last.buttons == ("Confirm", "Cancel")
    world.advance("16h")
    assert len(placed.phone.heard) == 3
    world.advance("4h")
    assert len(placed.phone.heard) == 3
    assert world.states(placed)[0] == "expired"
    assert world.order(placed).held == "no_answer"
    assert world.in_store(placed)["status"] == "open"
    assert "dastak-no-answer" in world.in_store(placed)["tags"]

    placed.phone.tap("Confirm")  # better late than never

    assert world.states(placed)[0] == "confirmed"
    assert world.order(placed).held == ""
    tags = world.in_store(placed)["tags"]
    assert "dastak-confirmed" in tags
    assert "dastak-no-answer" not in tags


def test_an_answer_ends_the_reminders(world: World) -> None:
    placed = world.place("woocommerce")
    placed.phone.tap("Confirm")
    before = len(placed.phone.heard)
    world.advance("30h")
    assert len(placed.phone.heard) == before
    assert world.story(placed).planned == []


def test_payment_ends_the_question(world: World) -> None:
    """A cash order that is paid meanwhile needs no answer any more."""
    placed = world.place("shopify")
    world.hand(placed, "pay")
    assert world.states(placed)[:2] == ("not_needed", "paid")
    before = len(placed.phone.heard)
    world.advance("30h")
    assert len(placed.phone.heard) == before


def test_a_cancellation_by_the_shop_ends_the_question_and_is_told(world: World) -> None:
    placed = world.place("woocommerce")
    world.hand(placed, "cancel")
    assert world.states(placed)[0] == "cancelled"
    assert "was cancelled by the shop" in placed.phone.last.text
    before = len(placed.phone.heard)
    world.advance("30h")
    assert len(placed.phone.heard) == before


def test_an_order_thrown_away_falls_silent(world: World) -> None:
    """Trash says nothing about the goods, so the customer is told nothing, and nothing more is asked."""
    placed = world.place("woocommerce")
    world.hand(placed, "trash")
    assert world.order(placed).removed_at is not None
    world.advance("30h")
    assert len(placed.phone.heard) == 1


def test_an_order_taken_out_of_the_trash_waits_for_no_answer(world: World) -> None:
    """Its question ended when it was thrown away. The story says so; it does not wait for ever."""
    placed = world.place("woocommerce")
    world.hand(placed, "trash")
    world.hand(placed, "restore")
    assert world.order(placed).removed_at is None
    assert world.states(placed)[0] == "not_needed"
