"""Watchdogs: parcels that a merchant should look at before their customers complain, and customers who were not told.

A concern is derived from a parcel's scans and the clock, never kept: it is there while its evidence is, and gone when
the parcel moves on or somebody has looked since it arose.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import selectinload

from .db import Session
from .events import UNKNOWN
from .guards import DEFER_REASONS, SKIP_REASONS
from .orders import Order, Shipment, ShipmentEvent
from .outbox import Touchpoint
from .parcels import BEFORE_PICKUP, QUIET_FOR, Place, minute, quiet
from .stores import Store

NOT_FETCHED = timedelta(days=2)
UNRECOGNISED = timedelta(days=1)
WORKING_HOURS = range(8, 22)
TOO_SOON = timedelta(minutes=10)
"""A rider who fails within that of setting out did not go."""

_WATCHED = 2_000


@dataclass(frozen=True, slots=True)
class Concern:
    """Something about a parcel that a person should look at. `at` is when it arose."""

    kind: str
    sentence: str
    at: datetime


KINDS = {
    "quiet": "No news", "not_fetched": "Not fetched", "late": "Not delivered today", "attempts": "Tried twice",
    "untried": "Returned untried", "suspicious": "Suspicious attempt", "doubted": "Scans contradict",
    "unknown": "Unknown word", "lost": "Lost or damaged", "disputed": "Customer disagrees", "courier": "Which courier?",
}  # fmt: skip


def concerns(shipment: Shipment, zone: ZoneInfo, now: datetime) -> list[Concern]:
    """What is the matter with one parcel, gravest first."""
    parcel = shipment.place
    scans = sorted(shipment.scans, key=lambda scan: (scan.occurred_at, scan.id or 0))
    newest = shipment.newest
    if newest is None or parcel.status in ("returned", "cancelled"):
        return []
    found = [
        *_contradictions(parcel, scans, newest),
        *_attempts(parcel, scans, zone),
        *_silence(parcel, newest.occurred_at, zone, now),
    ]
    met = min(scan.seen_at for scan in scans)
    if shipment.tracking_number and not shipment.adapter and parcel.status != "delivered" and now > met + UNRECOGNISED:
        named = f"“{shipment.courier}”" if shipment.courier else "no courier"
        found.append(
            Concern("courier", f"The store names {named}, so nobody is asked where it is. Say who carries it.", met)
        )
    seen = shipment.looked_at
    return [concern for concern in found if seen is None or concern.at > seen]


def _contradictions(parcel: Place, scans: Sequence[ShipmentEvent], newest: ShipmentEvent) -> Iterator[Concern]:
    if parcel.status in ("lost", "damaged"):
        yield Concern("lost", f"The courier reports it as {parcel.status}.", newest.occurred_at)
    for scan in scans:
        if scan.status == "disputed":
            yield Concern("disputed", f"The customer wrote: {scan.raw_text}", scan.occurred_at)
    if parcel.doubted:
        yield Concern("doubted", f"After “{parcel.status.replace('_', ' ')}” came {_said(newest)}.", newest.occurred_at)
    if (word := unexplained(scans)) is not None:
        yield Concern("unknown", f"{_said(word)} is a word that Dastak does not know.", word.occurred_at)


def unexplained(scans: Sequence[ShipmentEvent]) -> ShipmentEvent | None:
    """The scan of the newest minute whose word nobody knows; couriers stamp by the minute, so several may be newest."""
    if not scans:
        return None
    newest = max(minute(scan.occurred_at) for scan in scans)
    words = (s for s in scans if s.status == UNKNOWN and (s.raw_code or s.raw_text))
    return next((scan for scan in words if minute(scan.occurred_at) == newest), None)


def _attempts(parcel: Place, scans: Sequence[ShipmentEvent], zone: ZoneInfo) -> Iterator[Concern]:
    if parcel.leg == "rto" and parcel.attempts == 0:
        began = min(scan.occurred_at for scan in scans if scan.status in ("returning", "return_in_transit"))
        yield Concern("untried", "It is being returned, and nobody tried to deliver it.", began)
    if parcel.status == "delivered":
        return
    if parcel.attempts >= 2:
        last = max(scan.occurred_at for scan in scans if scan.status == "attempted")
        yield Concern("attempts", f"The courier tried {parcel.attempts} times without success.", last)
    for at, scan in enumerate(scans):
        if scan.status != "attempted":
            continue
        local = scan.occurred_at.astimezone(zone)
        if local.hour not in WORKING_HOURS:
            yield Concern("suspicious", f"An attempt was reported at {local:%H:%M}, {_said(scan)}.", scan.occurred_at)
        out = [s.occurred_at for s in scans[:at] if s.status == "out_for_delivery"]
        if out and scan.occurred_at - max(out) < TOO_SOON:
            minutes = int((scan.occurred_at - max(out)).total_seconds() // 60)
            yield Concern(
                "suspicious",
                f"An attempt was reported {minutes} minutes after the rider set out, {_said(scan)}.",
                scan.occurred_at,
            )


def _silence(parcel: Place, newest: datetime, zone: ZoneInfo, now: datetime) -> Iterator[Concern]:
    if parcel.status in BEFORE_PICKUP and now > newest + NOT_FETCHED:
        yield Concern("not_fetched", "It was booked, and the courier has not fetched it.", newest + NOT_FETCHED)
    if quiet(parcel.status, newest, now):
        yield Concern("quiet", f"Nobody has scanned it for {(now - newest).days} days.", newest + QUIET_FOR)
    if parcel.status == "out_for_delivery" and parcel.since is not None:
        night = parcel.since.astimezone(zone).replace(hour=WORKING_HOURS.stop, minute=0, second=0, microsecond=0)
        if now > night:
            yield Concern("late", "It went out for delivery, and by night it was not delivered.", night)


def _said(scan: ShipmentEvent) -> str:
    return f"“{scan.raw_text or scan.raw_code or scan.status.replace('_', ' ')}”"


def watched(session: Session, store: Store) -> list[tuple[Shipment, list[Concern]]]:
    """The store's parcels that need a look, the newest concern first."""
    now = session.now()
    rows = session.scalars(
        select(Shipment)
        .where(Shipment.poll_at.is_not(None))
        .order_by(Shipment.id.desc())
        .limit(_WATCHED)
        .options(selectinload(Shipment.order))
    )
    found = [(row, said) for row in rows if not row.order.gone and (said := concerns(row, store.zone, now))]
    return sorted(found, key=lambda one: max(concern.at for concern in one[1]), reverse=True)


# -- silence -------------------------------------------------------------------------------------------------------

_SILENCES = (
    "no_contact_point", "unreachable", "no_channel", "template_missing", "template_rejected", "template_category",
    "stale",
)  # fmt: skip
"""Reasons for which an order-critical message did not go, though neither the customer nor the merchant wished it so."""

_GOOD_REASONS_TO_WAIT = ("quiet_hours", "frequency_cap")
_OVERDUE = timedelta(hours=1)
_RECENT = timedelta(days=3)
_COUNTED = 1_000


def untold(session: Session) -> Mapping[str, Sequence[Order]]:
    """Orders of the last days whose customer should have been told something and was not, by the reason in words, the
    newest first: silence is how such a product fails, and nobody complains of a message they never expected. A message
    that failed on its way is no silence: its own row says so.
    """
    now = session.now()
    withheld = and_(
        Touchpoint.state == "skipped", Touchpoint.reason.in_(_SILENCES), Touchpoint.settled_at > now - _RECENT
    )
    overdue = and_(
        Touchpoint.state == "queued",
        Touchpoint.reason.not_in(_GOOD_REASONS_TO_WAIT),
        Touchpoint.due_at.between(now - _RECENT, now - _OVERDUE),
    )
    due = select(Touchpoint.reason, Order).join(Order, Order.id == Touchpoint.order_id)
    critical = (Touchpoint.critical, Touchpoint.answers.is_(False), or_(withheld, overdue))
    found: dict[str, dict[int, Order]] = {}
    for reason, order in session.execute(due.where(*critical).order_by(Touchpoint.id.desc()).limit(_COUNTED)):
        why = SKIP_REASONS.get(reason) or DEFER_REASONS.get(reason) or "it has waited to be sent for over an hour"
        found.setdefault(why, {}).setdefault(order.id, order)
    return {why: list(orders.values()) for why, orders in found.items()}
