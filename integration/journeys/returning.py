"""The courier takes it back undelivered: the customer hears it before it is too late. Once per parcel."""

from datetime import timedelta

from ..customers import UTILITY
from ..orders import Change, Order, ParcelMoved
from .definition import ORDER_STANDS, Journey, Step, never_left

_BACK = ("returning", "return_in_transit")


def _begins(change: Change, order: Order) -> bool:
    """Undelivered: what a customer sends back after a delivery is theirs to know of."""
    returns = isinstance(change, ParcelMoved) and change.became in _BACK and change.shipment.place.leg == "rto"
    return returns and not order.gone


RETURNING = Journey(
    name="returning",
    version=1,
    label="Coming back",
    says="When a courier takes a parcel back, the customer hears of it and can still say that they want it.",
    because="the courier is taking the parcel back",
    message_class=UTILITY,
    begins=_begins,
    ends=never_left,
    once_per="parcel",
    steps=(
        Step(
            "tell",
            "Says that it goes back to the shop",
            template="parcel_returning",
            relevance={"parcel": ["returning", "return_in_transit"], "confirmation": ORDER_STANDS},
            fresh_for=timedelta(hours=48),
        ),
    ),
)
