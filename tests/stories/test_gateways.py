"""Paid at a gateway: the link, what the customer hears, what the store keeps; and cash that is paid in advance."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select, update

from integration.dispatch import READY
from integration.intents import PaymentIntent
from integration.orders import Order, Payment
from tests.world import Placed, World

GATEWAYS = ("jazzcash", "easypaisa", "safepay", "razorpay", "cashfree")
TELLS_REFUNDS = ("safepay", "razorpay", "cashfree")
"""Of the others a refund is seen when they are asked."""
STATES_AMOUNTS = ("safepay", "razorpay", "cashfree")


@pytest.fixture(scope="module", autouse=True)
def _connected(world: World) -> None:
    for gateway in GATEWAYS:
        for store in ("shopify", "woocommerce"):
            world.connect_gateway(store, gateway)


@pytest.fixture(autouse=True)
def _by_day(world: World) -> None:
    """Every story begins at ten in the morning: at night reminders wait."""
    local = world.house.clock.now().astimezone(ZoneInfo("Asia/Karachi"))
    world.advance(f"{(34 - local.hour) * 60 - local.minute}m")


def place(world: World, gateway: str, store: str = "woocommerce", **more: Any) -> Placed:
    currency = "INR" if gateway in ("razorpay", "cashfree") else "PKR"
    return world.place(store, gateway, currency=currency, **more)


def payment(world: World, placed: Placed) -> str:
    return world.states(placed)[1]


def may_be_sent(world: World, placed: Placed) -> bool:
    with world.looking(placed.store) as session:
        return session.scalar(select(Order.id).where(READY, Order.id == world.order(placed).id)) is not None


def said(placed: Placed, template: str) -> int:
    return len([m for m in placed.phone.heard if m.template == f"dastak_{template}_v1"])


def payments(world: World, placed: Placed) -> list[Payment]:
    with world.looking(placed.store) as session:
        rows = select(Payment).where(Payment.order_id == world.order(placed).id).order_by(Payment.id)
        found = list(session.scalars(rows))
        session.expunge_all()
        return found


def ask_now(world: World, placed: Placed) -> None:
    """The time has come to ask the gateway about this payment."""
    with world.house.db.operator_writing() as session:
        due = world.house.clock.now() - timedelta(minutes=1)
        mine = PaymentIntent.order_id == world.order(placed).id
        session.execute(update(PaymentIntent).where(mine, PaymentIntent.opened_at.is_not(None)).values(poll_at=due))
    world.advance("2m")


WHERE = [(gateway, store) for gateway in GATEWAYS for store in ("shopify", "woocommerce")]
WHERE.remove(("cashfree", "shopify"))  # it takes rupees of India, and that shop keeps its books in Pakistan's


@pytest.mark.in_turn
@pytest.mark.parametrize(("gateway", "store"), WHERE)
def test_paid(world: World, gateway: str, store: str) -> None:
    placed = place(world, gateway, store)
    assert said(placed, "payment_link") == 1, world.why(placed)
    assert not may_be_sent(world, placed)
    world.pay(placed, gateway, "paid")
    if payment(world, placed) != "paid":
        ask_now(world, placed)
    assert payment(world, placed) == "paid", world.why(placed)
    assert may_be_sent(world, placed)
    assert (said(placed, "payment_received"), said(placed, "order_confirmation")) == (1, 0)
    assert world.in_store(placed)["payment_status"] == "paid"
    ask_now(world, placed)  # pushed and polled is one payment
    world.advance("26h")
    assert [p.status for p in payments(world, placed) if p.status == "paid" and p.source == gateway] == ["paid"]
    assert (said(placed, "payment_received"), said(placed, "payment_link_reminder")) == (1, 0)
    order = world.order(placed)
    assert (order.received, order.held) == (order.total, "")


def test_cash_may_be_paid_in_advance_on_the_same_order(world: World) -> None:
    with world.deciding("shopify") as merchant:
        merchant.decide(replace(merchant.policy, prepaid_with="safepay"))
    try:
        placed = world.place("shopify")
        placed.phone.tap("Confirm")
        world.advance("61m")
        assert "/pay/" in placed.phone.last.text, world.why(placed)
        world.pay(placed, "safepay", "paid")
        assert world.states(placed) == ("confirmed", "paid", "unfulfilled"), world.why(placed)
        assert world.in_store(placed)["payment_status"] == "paid"
        assert "has arrived" in placed.phone.last.text
        count = len(placed.phone.heard)
        world.advance("20h")
        assert len(placed.phone.heard) == count
    finally:
        with world.deciding("shopify") as merchant:
            merchant.decide(replace(merchant.policy, prepaid_with=""))
