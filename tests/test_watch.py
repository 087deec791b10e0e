"""What about a parcel a merchant should look at: from its scans and the clock, and gone when somebody has looked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from integration.orders import Shipment, ShipmentEvent
from integration.watch import KINDS, concerns

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
