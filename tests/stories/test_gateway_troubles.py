"""What else may become of a payment at a gateway: failed, expired, late, refunded, replayed, and what somebody only
pretends. What is stored of it is the same on both databases, so one plays all of it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select, update

from integration.dispatch import READY
from integration.ingest import not_understood
from integration.intents import PaymentIntent
from integration.orders import Order, Payment
from integration.payments import misfits
from tests.world import Placed, World

GATEWAYS = ("jazzcash", "easypaisa", "safepay", "razorpay", "cashfree")
TELLS_REFUNDS = ("safepay", "razorpay", "cashfree")
"""Of the others a refund is seen when they are asked."""
STATES_AMOUNTS = ("safepay", "razorpay", "cashfree")


@pytest.fixture(scope="module")
def world(lite_world: World) -> World:
    return lite_world


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


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_failed_then_paid_by_another_attempt(world: World, gateway: str) -> None:
    placed = place(world, gateway)
    world.pay(placed, gateway, "failed")
    ask_now(world, placed)
    assert payment(world, placed) in ("failed", "pending")
    assert not may_be_sent(world, placed)
    assert said(placed, "payment_received") == 0
    world.pay(placed, gateway, "paid")
    ask_now(world, placed)
    assert payment(world, placed) == "paid", world.why(placed)
    assert said(placed, "payment_received") == 1


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_expired_is_reminded_and_held(world: World, gateway: str) -> None:
    placed = place(world, gateway)
    world.pay(placed, gateway, "expired")
    for step in ("3h", "18h", "6h"):
        world.advance(step)
    order = world.order(placed)
    assert order.payment in ("pending", "failed")
    assert order.held == "not_paid", world.why(placed)
    assert (said(placed, "payment_link"), said(placed, "payment_link_reminder")) == (1, 2), world.why(placed)
    assert not may_be_sent(world, placed)


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_late_money_lands_days_later(world: World, gateway: str) -> None:
    placed = place(world, gateway)
    world.fault(f"{gateway}.webhooks", "drop")
    world.pay(placed, gateway, "late")
    assert said(placed, "payment_received") == 0
    ask_now(world, placed)
    assert payment(world, placed) == "paid", world.why(placed)
    assert said(placed, "payment_received") == 1


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_refunded(world: World, gateway: str) -> None:
    placed = place(world, gateway)
    world.pay(placed, gateway, "paid")
    ask_now(world, placed)
    world.pay(placed, gateway, "refunded")
    ask_now(world, placed)
    assert payment(world, placed) == "refunded", world.why(placed)
    assert world.order(placed).received == 0
    assert not may_be_sent(world, placed)
    assert said(placed, "payment_received") == 1


@pytest.mark.parametrize("gateway", [gateway for gateway in GATEWAYS if gateway != "easypaisa"])
def test_a_forged_notification_changes_nothing(world: World, gateway: str) -> None:
    """Easypaisa signs nothing: it is only ever a reason to ask."""
    placed = place(world, gateway)
    world.pay(placed, gateway, "paid", forged=True)
    assert payment(world, placed) == "pending"
    assert payments(world, placed) == []
    assert not may_be_sent(world, placed)


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_a_replayed_notification_changes_nothing(world: World, gateway: str) -> None:
    placed = place(world, gateway)
    world.pay(placed, gateway, "paid")
    ask_now(world, placed)
    before = len(payments(world, placed))
    world.control("POST", "/control/payments", {"gateway": gateway, "order_id": placed.order_id, "replay": True})
    world.settle()
    assert len(payments(world, placed)) == before
    assert said(placed, "payment_received") == 1


@pytest.mark.parametrize("gateway", STATES_AMOUNTS)
@pytest.mark.parametrize("wrong", [{"amount": "1.00"}, {"currency": "USD"}])
def test_the_wrong_money_changes_nothing_and_is_shown(world: World, gateway: str, wrong: dict[str, str]) -> None:
    placed = place(world, gateway)
    world.pay(placed, gateway, "paid", **wrong)
    assert payment(world, placed) == "pending", world.why(placed)
    assert not may_be_sent(world, placed)
    assert said(placed, "payment_received") == 0
    with world.looking(placed.store) as session:
        shown = [order.id for _, order in misfits(session)]
    assert world.order(placed).id in shown


@pytest.mark.parametrize("gateway", STATES_AMOUNTS)
def test_money_for_an_order_of_somebody_else_changes_nothing_and_is_shown(world: World, gateway: str) -> None:
    placed = place(world, gateway)
    world.pay(placed, gateway, "paid", reference="NOBODY-1")
    assert payment(world, placed) == "pending"
    assert payments(world, placed) == []
    with world.looking(placed.store) as session:
        shown = [row for row in not_understood(session, "payments", 20) if row.adapter == gateway]
        assert "nobody here asked for" in shown[0].sentence
