"""The order is off: say so at once. Who cancelled it is asked why, with four reasons; who did not is told by whom."""

from datetime import timedelta

from ..customers import UTILITY
from ..orders import Change, Order
from .definition import Journey, Step


def _begins(change: Change, order: Order) -> bool:
    return change.axis == "confirmation" and change.became in ("declined", "cancelled")


def _ends(order: Order) -> str:
    return "the store opened the order again" if order.confirmation not in ("declined", "cancelled") else ""


CANCELLATION = Journey(
    name="cancellation",
    version=1,
    label="Cancellation and its reason",
    says="A cancelled order is acknowledged at once, and the customer who cancelled is asked why.",
    because="the order was cancelled",
    message_class=UTILITY,
    begins=_begins,
    ends=_ends,
    steps=(
        Step(
            "ask_why",
            "Says it is cancelled and asks why",
            template="order_cancelled",
            relevance={"confirmation": ["declined"]},
            prompt=True,
            fresh_for=timedelta(hours=12),
            only=lambda change: change.became == "declined",
        ),
        Step(
            "tell",
            "Says that the shop cancelled it",
            template="order_cancelled_by_store",
            relevance={"confirmation": ["cancelled"]},
            prompt=True,
            fresh_for=timedelta(hours=12),
            only=lambda change: change.became == "cancelled",
        ),
    ),
)
