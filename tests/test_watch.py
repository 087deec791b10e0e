"""What about a parcel a merchant should look at: from its scans and the clock, and gone when somebody has looked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from integration.db import Session
from integration.house import House
from integration.orders import Order, Shipment, ShipmentEvent
from integration.outbox import Touchpoint
from integration.watch import KINDS, concerns, untold

from . import factories

LAHORE = ZoneInfo("Asia/Karachi")
NOON = datetime(2026, 5, 4, 7, 0, tzinfo=UTC)
"""Noon in Lahore."""


def _parcel(*scans: tuple[float, str], adapter: str = "tcs", text: str = "") -> Shipment:
    """Scans as (hours before noon, word)."""
    parcel = Shipment(store_id=1, order_id=1, external_id="1", tracking_number="CN1", adapter=adapter)
    for hours, word in scans:
        at = NOON - timedelta(hours=hours)
        parcel.events.append(
            ShipmentEvent(
                store_id=1, tracking_number="CN1", status=word, occurred_at=at, seen_at=at, raw_text=text or word
            )
        )
    return parcel


@pytest.mark.parametrize(
    ("scans", "kinds"),
    [
        ([(2, "in_transit")], set()),
        ([(71, "in_transit")], set()),
        ([(73, "in_transit")], {"quiet"}),
        ([(75, "attempted"), (73, "returning"), (2, "disputed")], {"quiet", "disputed"}),  # whose word is no scan
        ([(47, "booked")], set()),
        ([(49, "booked")], {"not_fetched"}),
        ([(3, "out_for_delivery")], set()),
        ([(26, "out_for_delivery")], {"late"}),
        ([(26, "out_for_delivery"), (20, "delivered")], set()),
        ([(50, "out_for_delivery"), (48, "attempted"), (24, "attempted")], {"attempts"}),
        ([(50, "out_for_delivery"), (48, "attempted"), (24, "attempted"), (2, "delivered")], set()),
        ([(50, "in_transit"), (20, "returning")], {"untried"}),
        ([(50, "out_for_delivery"), (48, "attempted"), (20, "returning")], set()),
        ([(3, "out_for_delivery"), (2.9, "attempted")], {"suspicious"}),
        ([(15, "out_for_delivery"), (13, "attempted")], {"suspicious"}),  # eleven at night
        ([(4, "delivered"), (2, "in_transit")], {"doubted"}),
        ([(2, "lost")], {"lost"}),
        ([(4, "in_transit"), (2, "unknown")], {"unknown"}),
        ([(2, "unknown"), (2, "in_transit")], {"unknown"}),  # of one minute
        ([(4, "unknown"), (2, "in_transit")], set()),
        ([(4, "attempted"), (2, "disputed")], {"disputed"}),
        ([(90, "returned")], set()),
        ([(90, "cancelled")], set()),
    ],
)
def test_a_concern_follows_from_the_scans_and_the_clock(scans: list[tuple[float, str]], kinds: set[str]) -> None:
    found = concerns(_parcel(*scans), LAHORE, NOON)
    assert {concern.kind for concern in found} == kinds
    assert all(concern.sentence and concern.kind in KINDS and concern.at <= NOON for concern in found)


def test_who_has_looked_is_not_asked_again_until_something_new_arises() -> None:
    parcel = _parcel((100, "in_transit"))
    assert concerns(parcel, LAHORE, NOON)
    parcel.looked_at = NOON
    assert concerns(parcel, LAHORE, NOON + timedelta(hours=1)) == []
    later = NOON + timedelta(hours=2)
    parcel.events.append(
        ShipmentEvent(
            store_id=1, tracking_number="CN1", status="lost", occurred_at=later, seen_at=later, raw_text="Lost"
        )
    )
    assert [concern.kind for concern in concerns(parcel, LAHORE, later)] == ["lost"]


def test_a_parcel_of_a_courier_nobody_knows_is_asked_about_after_a_day() -> None:
    assert concerns(_parcel((23, "in_transit"), adapter=""), LAHORE, NOON) == []
    assert [c.kind for c in concerns(_parcel((25, "in_transit"), adapter=""), LAHORE, NOON)] == ["courier"]


# -- silence -------------------------------------------------------------------------------------------------------


def _touch(session: Session, order: Order, step: str, hours: float, **values: Any) -> None:
    """A touchpoint that was due some hours ago."""
    at = session.now() - timedelta(hours=hours)
    settled = at if values.get("state", "queued") != "queued" else None
    session.add(
        Touchpoint(
            store_id=order.store_id, key=f"{order.name}/{step}", order=order, journey="order_confirmation", step=step,
            due_at=at, made_at=at, settled_at=settled, **values,
        )
    )  # fmt: skip


def test_who_should_have_been_told_and_was_not_is_counted_by_the_reason(house: House) -> None:
    ours = factories.store(house)
    with house.db.lane(ours) as session:
        orders = {name: factories.order(session, name=name) for name in "ABCDEFGH"}
        _touch(session, orders["A"], "asked", 2, state="skipped", reason="template_rejected")
        _touch(session, orders["A"], "reminded", 1, state="skipped", reason="template_rejected")  # one customer
        _touch(session, orders["B"], "asked", 5, state="skipped", reason="template_rejected")
        _touch(session, orders["C"], "asked", 2, state="skipped", reason="journey_off")  # the merchant's own wish
        _touch(session, orders["D"], "asked", 80, state="skipped", reason="unreachable")  # long ago
        _touch(session, orders["E"], "asked", 2)  # nobody has sent it
        _touch(session, orders["F"], "asked", 0.5)  # under way
        _touch(session, orders["G"], "asked", 9, reason="quiet_hours")  # it is night
        _touch(session, orders["H"], "reviewed", 2, state="skipped", reason="unreachable", critical=False)
        _touch(session, orders["H"], "asked", 2, reason="channel_broken")
    with house.db.read(ours) as session:
        assert {why: {order.name for order in found} for why, found in untold(session).items()} == {
            "the WhatsApp connection needs attention": {"H"},
            "it has waited to be sent for over an hour": {"E"},
            "WhatsApp rejected, paused or disabled the template": {"A", "B"},
        }
    other = factories.store(house)
    with house.db.read(other) as session:
        assert untold(session) == {}
