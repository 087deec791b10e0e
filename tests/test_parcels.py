"""Where a parcel is follows from its scans, whatever order they come in."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integration.events import UNKNOWN
from integration.orders import FULFILMENT, Shipment
from integration.parcels import REMARKS, STATUSES, Place, place
from integration.tracking import lot_of, next_poll, whose

from .contract.recorded import build

T0 = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)


def _at(*words: str) -> list[tuple[datetime, str]]:
    """One scan an hour."""
    return [(T0 + timedelta(hours=hour), word) for hour, word in enumerate(words)]


WORDS = [*STATUSES, *sorted(REMARKS)]


def test_scans_in_any_order_and_any_number_give_one_place() -> None:
    """Shuffled and doubled, a hundred thousand times: the place follows from what was scanned and when, from nothing
    else.
    """
    rng = Random(1)
    for _ in range(100_000):
        scans = [(T0 + timedelta(hours=rng.randrange(7)), rng.choice(WORDS)) for _ in range(rng.randrange(9))]
        shuffled = scans + scans[: len(scans) // 2]
        rng.shuffle(shuffled)
        found = place(shuffled)
        assert found == place(scans), scans
        scanned = {word for _, word in scans if word in STATUSES}
        assert found.status in scanned or (found.status == UNKNOWN and not scanned), scans


@pytest.mark.parametrize("word", STATUSES)
def test_every_status_says_something_of_the_order_that_an_order_may_be(word: str) -> None:
    assert STATUSES[word].fulfilment in FULFILMENT


@pytest.mark.parametrize(
    ("scans", "expected"),
    [
        (("booked", "picked_up", "in_transit", "out_for_delivery", "delivered"), Place("delivered")),
        (("out_for_delivery", "attempted", "at_destination", "out_for_delivery"), Place("out_for_delivery")),
        (("out_for_delivery", "on_hold", "unknown", "delayed"), Place("out_for_delivery")),
        (("delivered", "in_transit"), Place("delivered", doubted=True)),
        (("delivered", "delivered"), Place("delivered")),
        (("delivered", "returning", "return_in_transit", "returned"), Place("returned", "customer_return")),
        (("attempted", "returning", "in_transit"), Place("returning", "rto", doubted=True)),
        (("attempted", "returning", "return_in_transit", "returned"), Place("returned", "rto")),
        (("returned", "delivered"), Place("returned", "rto", doubted=True)),
        (("returning", "delivered"), Place("returning", "rto", doubted=True)),
        (("returning", "reattempt_asked", "out_for_delivery", "delivered"), Place("delivered")),
        (("returning", "reattempt_asked", "return_in_transit"), Place("return_in_transit", "rto")),
        (("reattempt_asked", "returning", "out_for_delivery"), Place("returning", "rto", doubted=True)),
        (("booked", "cancelled"), Place("cancelled")),
        (("cancelled", "booked"), Place("cancelled", doubted=True)),
        (("picked_up", "booked"), Place("picked_up")),
        (("out_for_delivery", "pickup_failed", "attempted"), Place("attempted")),
        (("cancelled", "picked_up"), Place("picked_up")),
        (("lost", "out_for_delivery", "delivered"), Place("delivered")),
        (("returning", "lost"), Place("lost", "rto")),
        ((), Place()),
        (("unknown",), Place()),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else "",
)
def test_a_parcels_way(scans: tuple[str, ...], expected: Place) -> None:
    found = place(_at(*scans))
    assert replace(found, since=None, attempts=0) == expected


def test_a_place_knows_since_when_and_how_often_the_door_was_tried() -> None:
    """Several scans of one failed attempt are one attempt; the next day's is another."""
    tried = [(T0, "out_for_delivery"), (T0 + timedelta(hours=2), "attempted"), (T0 + timedelta(hours=3), "attempted")]
    assert (place(tried).attempts, place(tried).since) == (1, T0 + timedelta(hours=3))
    again = [*tried, (T0 + timedelta(hours=24), "out_for_delivery"), (T0 + timedelta(hours=26), "attempted")]
    assert (place(again).attempts, place(again).since) == (2, T0 + timedelta(hours=26))
    assert place([*again, (T0 + timedelta(hours=1), "on_hold")]) == place(again)
    late = (T0 + timedelta(hours=1, seconds=30), "delivered")
    assert place([(T0, "returned"), late]).since == T0


def test_of_one_moment_the_most_significant_scan_counts() -> None:
    """Couriers stamp by the minute: refused, returned to origin and a facility scan of one minute."""
    moment = [(T0, "attempted"), (T0, "returned"), (T0, "in_transit")]
    assert place(moment).status == "returned"
    assert place([(T0, "delivered"), (T0 + timedelta(seconds=59), "out_for_delivery")]).status == "delivered"


# -- when to ask again ---------------------------------------------------------------------------------------------

LAHORE = ZoneInfo("Asia/Karachi")
NOON = datetime(2026, 5, 4, 7, 0, tzinfo=UTC)
"""Twelve in Lahore."""


@pytest.mark.parametrize(
    ("status", "last", "now", "after"),
    [
        ("unknown", 0, NOON, timedelta(hours=12)),
        ("booked", 0, NOON, timedelta(hours=12)),
        ("pickup_failed", 0, NOON, timedelta(hours=12)),
        ("in_transit", 2, NOON, timedelta(hours=3)),
        ("returning", 2, NOON, timedelta(hours=3)),
        ("out_for_delivery", 2, NOON, timedelta(minutes=30)),
        ("attempted", 2, NOON, timedelta(minutes=30)),
        ("out_for_delivery", 2, NOON + timedelta(hours=10), timedelta(hours=10)),  # ten at night: at eight
        ("out_for_delivery", 2, NOON - timedelta(hours=7), timedelta(hours=3)),  # five in the morning
        ("delivered", 2, NOON, timedelta(hours=24)),
        ("delivered", 73, NOON, None),
        ("returned", 73, NOON, None),
        ("in_transit", 73, NOON, timedelta(hours=3)),
        ("in_transit", 46 * 24, NOON, None),
    ],
)
def test_a_parcel_is_asked_after_the_more_often_the_nearer_the_door_is(
    status: str, last: int, now: datetime, after: timedelta | None
) -> None:
    newest = now - timedelta(hours=last)
    asked = next_poll(Place(status), newest, newest, now, LAHORE)
    if after is None:
        assert asked is None
    elif now != NOON:  # when the day begins
        assert asked == now + after
    else:
        assert asked is not None
        assert now + after / 10 < asked <= now + after * 1.1
        again = next_poll(Place(status), asked, asked, asked, LAHORE)
        assert again == asked + after


@given(
    st.integers(2, 600),
    st.integers(0, 10_000),
    st.integers(0, 525_600).map(lambda minutes: T0 + timedelta(minutes=minutes)),
)
def test_accounts_are_asked_for_evenly_spread_over_the_interval_however_they_began(
    many: int, first: int, now: datetime
) -> None:
    """After an outage everything is due at once. From then on no tenth of the interval has twice its share."""
    every = timedelta(hours=3)
    due = sorted(
        next_poll(Place("in_transit"), now, now, now, LAHORE, lot_of(first + account)) or now for account in range(many)
    )
    assert now < due[0]
    assert due[-1] <= now + every * 1.1
    for tenth in range(10):
        begins = now + every * (tenth + 1) / 10
        assert sum(begins < at <= begins + every / 10 for at in due) <= many / 5 + 2


def _couriers(*names: str) -> list[Any]:
    made = []
    for name in names:
        courier, _ = build("couriers", name)
        made.append(courier)
    return made


@pytest.mark.parametrize(
    ("said", "url", "number", "connected", "found"),
    [
        ("TCS Express", "", "77", ("tcs", "leopards"), "tcs"),
        ("leopards  COURIER", "", "77", ("tcs", "leopards"), "leopards"),
        ("", "https://www.tcsexpress.com/track/77", "77", ("tcs", "leopards"), "tcs"),
        ("Our van", "https://sonic.pk/tracking?tracking_number=1", "1", ("tcs", "trax"), "trax"),
        ("", "https://tcsexpress.com.evil.example/77", "77", ("tcs", "leopards"), ""),
        ("", "not an address", "KI123456789", ("tcs", "leopards"), "leopards"),
        ("", "", "779412345678", ("tcs", "leopards"), "tcs"),
        ("", "", "779412345678", ("tcs", "trax"), ""),  # either's, so the merchant is asked
        ("", "", "anything", ("tcs",), "tcs"),
        ("BlueEX", "", "779412345678", ("tcs",), ""),
    ],
)
def test_a_parcel_is_its_couriers_by_name_by_page_or_by_number_and_never_by_guess(
    said: str, url: str, number: str, connected: tuple[str, ...], found: str
) -> None:
    parcel = Shipment(store_id=1, courier=said, tracking_url=url, tracking_number=number)
    assert whose(parcel, _couriers(*connected)) == found


def test_a_parcel_that_was_never_scanned_is_given_up_after_45_days() -> None:
    assert next_poll(Place(), None, NOON - timedelta(days=44), NOON, LAHORE) is not None
    assert next_poll(Place(), None, NOON - timedelta(days=46), NOON, LAHORE) is None
