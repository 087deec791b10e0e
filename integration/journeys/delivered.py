"""It arrived: a recap, and a way to say that something is wrong. Once per parcel."""

from datetime import timedelta

from ..customers import UTILITY
from .definition import ORDER_STANDS, Journey, Step, never_left, parcel_comes_to

DELIVERED = Journey(
    name="delivered",
    version=1,
    label="Delivered",
    says="When a parcel is delivered, the customer gets a recap and a way to say that something is wrong.",
    because="the courier delivered the parcel",
    message_class=UTILITY,
    begins=parcel_comes_to("delivered"),
    ends=never_left,
    once_per="parcel",
    steps=(
        Step(
            "tell",
            "Recaps, and asks to hear if something is wrong",
            template="delivered",
            relevance={"parcel": ["delivered"], "confirmation": ORDER_STANDS},
            fresh_for=timedelta(hours=48),
        ),
    ),
)
