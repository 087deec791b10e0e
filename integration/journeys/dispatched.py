"""The parcel has a number or moves: who brings it, under which number, and where to follow it. Once per parcel."""

from datetime import timedelta

from ..customers import UTILITY
from ..events import UNKNOWN
from ..orders import Change, Order, ParcelMoved
from ..parcels import BEFORE_PICKUP
from .definition import ORDER_STANDS, Journey, Step, never_left

_SENT = ("booked", "pickup_scheduled", "picked_up", "in_transit", "at_destination")


def _begins(change: Change, order: Order) -> bool:
    """Its first place, or the first beyond the shop's door. A parcel that goes round again is not sent again."""
    return (
        isinstance(change, ParcelMoved)
        and change.was in (UNKNOWN, *BEFORE_PICKUP)
        and change.became in _SENT
        and not order.gone
    )


DISPATCHED = Journey(
    name="dispatched",
    version=1,
    label="Dispatched",
    says="When a parcel is handed to a courier, the customer hears who brings it and where to follow it.",
    because="the parcel was handed to the courier",
    message_class=UTILITY,
    begins=_begins,
    ends=never_left,
    once_per="parcel",
    steps=(
        Step(
            "tell",
            "Says who brings it and where to follow it",
            template="dispatched",
            relevance={
                "parcel": ["booked", "pickup_scheduled", "pickup_failed", "picked_up", "in_transit", "at_destination"],
                "confirmation": ORDER_STANDS,
            },
            fresh_for=timedelta(hours=48),
        ),
    ),
)
