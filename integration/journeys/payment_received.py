"""The money that was asked for is there: say so once, with all that an order confirmation says."""

from datetime import timedelta

from ..customers import UTILITY
from ..orders import Change, Order
from .definition import ORDER_STANDS, Journey, Step, never_left


def _begins(change: Change, order: Order) -> bool:
    """Of money that nobody here asked for, the order confirmation speaks."""
    return change.axis == "payment" and change.became == "paid" and bool(order.intents) and not order.gone


PAYMENT_RECEIVED = Journey(
    name="payment_received",
    version=1,
    label="Payment received",
    says="A payment that was asked for is acknowledged once it is proven, and the order confirmed with it.",
    because="the payment was received",
    message_class=UTILITY,
    begins=_begins,
    ends=never_left,
    steps=(
        Step(
            "received",
            "Says that the payment is there",
            template="payment_received",
            relevance={
                "payment": ["paid"],
                "confirmation": ORDER_STANDS,
                "fulfilment": ["unfulfilled", "booked"],  # it says that the customer will hear when it ships
            },
            prompt=True,
            fresh_for=timedelta(hours=24),
        ),
    ),
)
