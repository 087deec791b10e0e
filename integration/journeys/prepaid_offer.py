"""Cash on delivery may be paid in advance, on the same order: offered twice, and cash stays as good. Off until the
merchant chooses by which means.
"""

from datetime import timedelta

from ..customers import UTILITY
from ..orders import Change, Order
from .definition import Journey, Step

_STILL_CASH = {
    "payment": ["cod_due"], "confirmation": ["confirmed"], "fulfilment": ["unfulfilled"], "asked_for_all": ["yes"],
}  # fmt: skip


def _begins(change: Change, order: Order) -> bool:
    asked = change.axis == "confirmation" and change.became == "confirmed"
    return asked and order.payment == "cod_due" and order.fulfilment == "unfulfilled" and not order.gone


def _ends(order: Order) -> str:
    if order.gone or order.removed_at is not None:
        return "the order was cancelled"
    if order.payment != "cod_due":
        return "it is paid"
    return "it was sent" if order.fulfilment != "unfulfilled" else ""


PREPAID_OFFER = Journey(
    name="prepaid_offer",
    version=1,
    label="Pay in advance instead of cash",
    says="A confirmed cash order is offered to be paid in advance; who does not want that pays the rider.",
    because="the order is cash on delivery and may be paid in advance",
    message_class=UTILITY,
    begins=_begins,
    ends=_ends,
    critical=False,
    asks_for="advance",
    steps=(
        Step("offer", "Offers to pay in advance", timedelta(hours=1), "prepaid_offer", relevance=_STILL_CASH),
        Step("offer_again", "Offers it once more", timedelta(hours=14), "prepaid_offer", relevance=_STILL_CASH),
    ),
)
