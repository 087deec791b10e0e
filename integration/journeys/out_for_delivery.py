"""The rider has it: what to pay, and to keep the phone near. Once per day of a parcel."""

from datetime import timedelta

from ..customers import UTILITY
from .definition import ORDER_STANDS, Journey, Step, never_left, parcel_comes_to

OUT_FOR_DELIVERY = Journey(
    name="out_for_delivery",
    version=1,
    label="Out for delivery",
    says="On the day the rider sets out, the customer hears of it, with the amount to pay.",
    because="the courier set out with the parcel",
    message_class=UTILITY,
    begins=parcel_comes_to("out_for_delivery"),
    ends=never_left,
    once_per="day",
    steps=(
        Step(
            "tell",
            "Says that the rider is coming",
            template="out_for_delivery",
            relevance={"parcel": ["out_for_delivery"], "confirmation": ORDER_STANDS},
            fresh_for=timedelta(hours=12),
        ),
    ),
)
