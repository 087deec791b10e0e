"""Parcels: what the scans of a courier say of where a parcel is.

Couriers push and are polled, resend whole lists, correct themselves and stamp by the minute. So a parcel's place is
never stored but derived from all its scans, and the derivation does not depend on the order in which they came or on
how often: the scans are gone through by time, and within one moment by rank, and a scan that could not follow what was
before it (a hub scan after the delivery) changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from .events import UNKNOWN


@dataclass(frozen=True, slots=True)
class Status:
    """A word for where a parcel is. `rank` decides between scans of one moment; `fulfilment` is what it says of the
    order.
    """

    rank: int
    fulfilment: str


STATUSES: dict[str, Status] = {
    "booked": Status(10, "booked"),
    "pickup_scheduled": Status(15, "booked"),
    "pickup_failed": Status(16, "booked"),
    "picked_up": Status(20, "in_transit"),
    "in_transit": Status(30, "in_transit"),
    "at_destination": Status(40, "in_transit"),
    "out_for_delivery": Status(50, "out_for_delivery"),
    "attempted": Status(55, "attempted"),
    "ready_for_pickup": Status(56, "ready_for_pickup"),
    "returning": Status(70, "returning"),
    "return_in_transit": Status(80, "returning"),
    "damaged": Status(94, "lost"),
    "lost": Status(95, "lost"),
    "delivered": Status(100, "delivered"),
    "cancelled": Status(105, "unfulfilled"),
    "returned": Status(110, "returned"),
}
"""Words that say where a parcel is."""

REMARKS = frozenset({"on_hold", "delayed", "reattempt_asked", "disputed", UNKNOWN})
"""Words that are said of a parcel and leave it where it was. `reattempt_asked` is our own instruction to the courier:
without it a parcel on its way back does not set out for the customer again. `disputed` is the customer's own: nobody
came.
"""

NOT_SCANNED = frozenset({"reattempt_asked", "disputed"})
"""Remarks that are no scan of a courier's: no sign of life of the parcel."""

REASONS = frozenset({
    "consignee_unavailable", "phone_unreachable", "refused", "did_not_order", "cod_not_ready", "address_incomplete",
    "address_wrong", "out_of_area", "premises_closed", "access_restricted", "reschedule_requested",
    "wants_self_collection", "open_delivery_demanded", "otp_failed", "not_attempted", "weather_or_security", "misroute",
    "other",
})  # fmt: skip
"""Why a delivery failed or a parcel stands still. `other` keeps the courier's own words beside it."""

BEFORE_PICKUP = frozenset({"booked", "pickup_scheduled", "pickup_failed"})
"""Said before the courier has the parcel; said later, it is late news of no consequence."""

QUIET_FOR = timedelta(days=3)
"""A parcel that moves is scanned at least that often."""

_MOVING = frozenset({"picked_up", "in_transit", "at_destination", "return_in_transit", "returning", "ready_for_pickup"})

_ONE_ATTEMPT = timedelta(hours=6)
"""Couriers tell one failed attempt in several scans: the failure, then its reason, then that the depot looked at it."""

_BACK = frozenset({"returning", "return_in_transit", "returned"})
_ANYWHERE = frozenset(STATUSES)

_FOLLOWS: dict[str, frozenset[str]] = {
    "delivered": _BACK,  # a new leg; whatever else is scanned later is late or wrong
    "returning": _BACK | {"lost", "damaged"},
    "return_in_transit": _BACK | {"lost", "damaged"},
    "returned": frozenset(),
    "cancelled": frozenset(STATUSES) - BEFORE_PICKUP,  # it was scanned: it goes
}
"""What may be believed after a status; anything where a status is not listed."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a parcel is. `leg` is forward, rto (it comes back undelivered) or customer_return (after delivery).
    `doubted` tells that a later scan contradicts it and was not believed: a person should look. `since` is the minute
    of the newest scan that says so, `attempts` how often the door was tried.
    """

    status: str = UNKNOWN
    leg: str = "forward"
    doubted: bool = False
    since: datetime | None = None
    attempts: int = 0


def quiet(status: str, newest: datetime, now: datetime) -> bool:
    """Has a parcel that should be moving, last scanned at `newest`, not been heard of for too long?"""
    return status in _MOVING and now > newest + QUIET_FOR


def place(scans: Iterable[tuple[datetime, str]]) -> Place:
    """Derive a parcel's place from its scans as (moment, word), in any order, doubled or not. Words that are no
    status change nothing. A moment is a minute: that is how finely couriers stamp.
    """
    status, leg, doubted, asked_again = UNKNOWN, "forward", False, False
    since: datetime | None = None
    tried: list[datetime] = []
    for at, _, word in sorted({(minute(at), _rank(word), word) for at, word in scans}):
        if word == "reattempt_asked":
            asked_again = status in ("returning", "return_in_transit") and leg == "rto"
            continue
        if word not in STATUSES or (word in BEFORE_PICKUP and status not in BEFORE_PICKUP | {UNKNOWN, "cancelled"}):
            continue
        may_follow = _ANYWHERE if asked_again else _FOLLOWS.get(status, _ANYWHERE)
        if word not in may_follow:
            doubted = doubted or word != status
            continue
        if word in _BACK and leg == "forward":
            leg = "customer_return" if status == "delivered" else "rto"
        elif word not in _BACK and asked_again:
            leg, asked_again = "forward", False
        if word == "attempted" and (not tried or at > tried[-1] + _ONE_ATTEMPT):
            tried.append(at)
        status, doubted, since = word, False, at
    return Place(status, leg, doubted, since, len(tried))


def minute(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0)


def same_scan(at: datetime, status: str, raw_code: str) -> tuple[datetime, str, str]:
    """What two reports of one scan share. A push may call it by a code and a poll by a phrase, with other seconds; what
    it means and the minute are the same. Of a word nobody knows, the word.
    """
    return minute(at), status, raw_code[:64] if status == UNKNOWN else ""


def tracking_number(raw: str) -> str:
    """A parcel's number as it is compared: people and stores type it with blanks and in small letters."""
    return "".join(letter for letter in raw if letter.isprintable() and not letter.isspace()).upper()[:64]


def _rank(word: str) -> int:
    return STATUSES[word].rank if word in STATUSES else 0
