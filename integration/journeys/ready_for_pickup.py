"""It waits at the courier's counter. Once per parcel."""

from datetime import timedelta

from ..customers import UTILITY
from .definition import ORDER_STANDS, Journey, Step, never_left, parcel_comes_to

READY_FOR_PICKUP = Journey(
    name="ready_for_pickup",
    version=1,
    label="Ready for pickup",
    says="When a parcel waits at the courier, the customer hears where to fetch it.",
    because="the parcel waits at the courier",
    message_class=UTILITY,
    begins=parcel_comes_to("ready_for_pickup"),
    ends=never_left,
    once_per="parcel",
    steps=(
        Step(
            "tell",
            "Says that it waits at the courier",
            template="ready_for_pickup",
            relevance={"parcel": ["ready_for_pickup"], "confirmation": ORDER_STANDS},
            fresh_for=timedelta(hours=48),
        ),
    ),
)
