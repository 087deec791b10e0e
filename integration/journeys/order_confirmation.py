"""The order stands: number, items, total, address and what to expect, once, merged with the thank-you."""

from datetime import timedelta

from ..customers import UTILITY
from ..orders import Change, Order
from .definition import Journey, Step


def _begins(change: Change, order: Order) -> bool:
    """A prepaid order was paid, or a cash order was confirmed."""
    if order.gone or order.dispatched:
        return False
    if change.axis == "payment":  # of money that was asked for here, payment_received speaks
        return change.became == "paid" and not order.is_cod and not order.intents
    return change.axis == "confirmation" and change.became == "confirmed"


def _ends(order: Order) -> str:
    if order.removed_at is not None:
        return "the store threw the order away"
    return "the order was cancelled" if order.confirmation in ("declined", "cancelled") else ""


ORDER_CONFIRMATION = Journey(
    name="order_confirmation",
    version=1,
    label="Order confirmation",
    says="A paid or confirmed order is acknowledged with everything the customer wants to know.",
    because="the order is paid or confirmed",
    message_class=UTILITY,
    begins=_begins,
    ends=_ends,
    steps=(
        Step(
            "confirm",
            "Confirms the order",
            template="order_confirmation",
            relevance={"confirmation": ["confirmed", "not_needed"], "fulfilment": ["unfulfilled", "booked"]},
            prompt=True,
            fresh_for=timedelta(hours=24),
        ),
    ),
)
