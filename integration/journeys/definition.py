"""What a journey is made of. Data a merchant could read aloud; the engine beside it does the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from ..orders import Change, Order


@dataclass(frozen=True, slots=True)
class Step:
    """One contact, `after` the journey began.

    `relevance` lists, per status of the order (or `parcel`: where its parcel is), the values in which the step still
    makes sense; it is asked again at the moment of sending. After `fresh_for` beyond its time it is never sent.
    `prompt`: answers what the customer just did, so quiet hours do not hold it.
    """

    name: str
    label: str
    after: timedelta = timedelta(0)
    template: str = ""
    action: str = "message"
    relevance: Mapping[str, list[str]] = field(default_factory=dict)
    prompt: bool = False
    fresh_for: timedelta = timedelta(hours=20)
    only: Callable[[Change], bool] | None = None

    def applies(self, change: Change) -> bool:
        """Is this step for an order that came in by this change?"""
        return self.only is None or self.only(change)


@dataclass(frozen=True, slots=True)
class Journey:
    """One journey: when it begins, when it ends, what happens in between."""

    name: str
    version: int
    label: str
    says: str
    """What it does, as one sentence for the merchant."""
    because: str
    """Why a customer hears from it, completing "sent because ..."."""
    message_class: str
    begins: Callable[[Change, Order], bool]
    ends: Callable[[Order], str]
    """A sentence when the order is past this journey, else empty."""
    steps: tuple[Step, ...]
    once_per: str = "order"
    """How often it may begin: once per order, per parcel, or per day of a parcel (the shop's day)."""
    critical: bool = True
    asks_for: str = ""
    """What money it asks for: `order`, what an order waits for, or `advance`, what is due at the door. It begins only
    where there are means to pay that.
    """
    when_off: tuple[str, str] | None = None
    """(axis, value) an order takes when this journey would have begun but is switched off."""


ORDER_STANDS = ["not_needed", "awaiting", "confirmed", "expired"]
"""Confirmations of an order that nobody cancelled."""


def parcel_comes_to(*places: str) -> Callable[[Change, Order], bool]:
    """Begins when a parcel of an order that nobody cancelled comes to one of these places."""
    return lambda change, order: change.axis == "parcel" and change.became in places and not order.gone


def never_left(order: Order) -> str:
    """Of a journey that is over with its first step."""
    return ""
