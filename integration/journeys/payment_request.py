"""An order waits for its money: say how to pay, once by each means, remind twice, then put it on hold."""

from collections.abc import Callable
from datetime import timedelta

from ..customers import UTILITY
from ..intents import CHECKOUT, TRANSFER, current
from ..money import AWAITED
from ..orders import Change, Order
from .definition import ORDER_STANDS, Journey, Step

_STILL_UNPAID = {"payment": ["pending", "failed"], "confirmation": ORDER_STANDS, "fulfilment": ["unfulfilled"]}


def _begins(change: Change, order: Order) -> bool:
    if order.gone or order.is_cod or order.fulfilment != "unfulfilled":
        return False
    return change.axis == "payment" and change.became in ("pending", "failed")


def _ends(order: Order) -> str:
    if order.removed_at is not None:
        return "the store threw the order away"
    if order.gone:
        return "the order was cancelled"
    return "" if order.payment in AWAITED else "it is paid"


def _by(kind: str) -> Callable[[Change], bool]:
    def asked(change: Change) -> bool:
        intent = current(change.order)
        return intent is not None and intent.kind == kind

    return asked


def _steps(kind: str, template: str, reminder: str) -> tuple[Step, ...]:
    still = _STILL_UNPAID | {"asked_by": [kind]}
    return (
        Step(f"{kind}_ask", "Says how to pay", template=template, relevance=still, prompt=True, only=_by(kind)),
        Step(f"{kind}_remind", "First reminder", timedelta(hours=2), reminder, relevance=still, only=_by(kind)),
        Step(f"{kind}_remind_again", "Second reminder", timedelta(hours=20), reminder, relevance=still, only=_by(kind)),
    )


PAYMENT_REQUEST = Journey(
    name="payment_request",
    version=1,
    label="Payment instructions",
    says="An order that waits for its money hears where to pay, and is put on hold when it is not paid in time.",
    because="the order waits for its payment",
    message_class=UTILITY,
    begins=_begins,
    ends=_ends,
    asks_for="order",
    steps=(
        *_steps(TRANSFER, "payment_transfer", "payment_transfer_reminder"),
        *_steps(CHECKOUT, "payment_link", "payment_link_reminder"),
        Step("hold", "Puts the order on hold", timedelta(hours=24), action="hold", relevance=_STILL_UNPAID),
    ),
)
