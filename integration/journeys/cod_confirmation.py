"""Cash on delivery: ask at once, remind twice, then put the order on hold. Never cancel silently."""

from datetime import timedelta

from ..customers import UTILITY
from ..orders import Change, Order
from .definition import Journey, Step

_STILL_ASKING = {"confirmation": ["awaiting"], "fulfilment": ["unfulfilled"]}


def _begins(change: Change, order: Order) -> bool:
    return change.axis == "confirmation" and change.became == "awaiting"


def _ends(order: Order) -> str:
    if order.removed_at is not None:
        return "the store threw the order away"
    return {
        "confirmed": "the customer confirmed",
        "declined": "the customer cancelled",
        "cancelled": "the order was cancelled",
        "not_needed": "an answer is no longer needed",
    }.get(order.confirmation, "")


COD_CONFIRMATION = Journey(
    name="cod_confirmation",
    version=1,
    label="COD confirmation",
    says="A cash on delivery order is confirmed by the customer before anybody packs it.",
    because="the order is cash on delivery and waits for the customer's yes",
    message_class=UTILITY,
    begins=_begins,
    ends=_ends,
    when_off=("confirmation", "not_needed"),
    steps=(
        Step("ask", "Asks to confirm", template="cod_confirmation", relevance=_STILL_ASKING, prompt=True),
        Step("remind", "First reminder", timedelta(hours=4), "cod_reminder", relevance=_STILL_ASKING),
        Step("remind_again", "Second reminder", timedelta(hours=20), "cod_reminder", relevance=_STILL_ASKING),
        Step("expire", "Puts the order on hold", timedelta(hours=24), action="expire", relevance=_STILL_ASKING),
    ),
)
