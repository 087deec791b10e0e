"""Nobody opened, or another reason: the customer says what shall happen next. Once per day of a parcel: couriers tell
one failed attempt in several scans, and try once a day.
"""

from datetime import timedelta

from ..customers import UTILITY
from .definition import ORDER_STANDS, Journey, Step, never_left, parcel_comes_to

DELIVERY_ATTEMPTED = Journey(
    name="delivery_attempted",
    version=1,
    label="Delivery attempted",
    says="When a delivery fails, the customer chooses at once: another day, another address, or back to the shop.",
    because="the courier could not deliver the parcel",
    message_class=UTILITY,
    begins=parcel_comes_to("attempted"),
    ends=never_left,
    once_per="day",
    steps=(
        Step(
            "ask",
            "Asks what shall happen next",
            template="delivery_attempted",
            relevance={"parcel": ["attempted"], "confirmation": ORDER_STANDS},
            fresh_for=timedelta(hours=24),
        ),
    ),
)
