"""An order turned into words: the variables of a template, the body of a free message, the choices under it.

Every variable has a fallback, so no message ever shows a blank; nothing is stated that a record does not hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta

from babel.dates import format_skeleton, format_time

from .catalogue import EXAMPLES, Wording, fill, wording
from .events import UNKNOWN
from .intents import account_of, current
from .orders import Order, Shipment, ShipmentEvent, address_of
from .parcels import BEFORE_PICKUP, STATUSES, Place, quiet
from .ports import Choice
from .stores import Policy, Store
from .values import RIGHT_TO_LEFT, Money, babel_locale, clean

REASONS = ("changed_mind", "found_cheaper", "wrong_item", "other")
"""Why a customer cancels: the four rows of the list, in their order."""

_ITEMS_SHOWN = 3


def order_values(order: Order | None, store: Store, language: str, now: datetime) -> dict[str, str]:
    """The variables that templates may use, in the customer's language."""
    words = wording(language)
    values = {"store": clean(store.name, 60)}
    if order is None:
        return isolated(values, language)
    first_name = clean(order.customer_name, 200).split(" ")[0][:40]
    values |= {
        "name": first_name or words.fallbacks["name"],
        "order": clean(order.name, 40),
        "items": items_line(order, words),
        "total": order.money.shown(language),
        "due": order.due.shown(language),
        "address": clean(address_of(order).one_line(), 120) or words.fallbacks["address"],
        "eta": eta_line(store.policy, order, store, words, now),
        "place": words.places[place_row(order, Place())],
    }
    return isolated(values, language)


def parcel_values(shipment: Shipment, store: Store, language: str, now: datetime, public_url: str) -> dict[str, str]:
    """What there is to say of one parcel, beside what `order_values` says of its order."""
    words, order, parcel = wording(language), shipment.order, shipment.place
    courier = clean(shipment.courier, 60) or words.fallbacks["courier"]
    reason = words.parcel_reasons.get(shipment.reason, words.parcel_reasons["other"])
    values = isolated({
        "courier": courier,
        "number": shipment.tracking_number or words.fallbacks["number"],
        "reason": reason,
        "pay": _pay_line(order, parcel, words),
        "expected": _expected_line(shipment, parcel, store, words, now),
        "place": words.places[place_row(order, parcel)].format(courier=courier, reason=reason),
        "seen": _seen_line(shipment.newest, store, words),
    }, language)  # fmt: skip
    return values | {"link": f"{public_url}/t/{shipment.token}"}  # bare: an isolate after it would be read as its end


def payment_values(order: Order, store: Store, language: str, public_url: str) -> dict[str, str]:
    """What there is to say of the money that was asked for, beside what `order_values` says of its order."""
    words, intent = wording(language), current(order)
    got = order.received if order.received >= order.owed else order.total
    values = {
        "amount": (intent.money if intent is not None else order.due).shown(language),
        "paid": Money(got, order.currency).shown(language),
        "means": (intent.label if intent is not None else "") or words.fallbacks["means"],
        "account": words.fallbacks["account"],
        "reference": intent.reference if intent is not None else clean(order.name, 40),
    }
    if intent is not None and (account := account_of(intent, store)) is not None:
        values["account"] = clean(account.one_line(), 120)
    return isolated(values, language) | {
        "link": f"{public_url}/pay/{intent.token}" if intent is not None else public_url
    }


def given_values(given: Mapping[str, str], language: str) -> dict[str, str]:
    """What the customer chose or wrote, as an answer repeats it."""
    values = dict(given)
    if "day" in values:
        values["day"] = _day(date.fromisoformat(values["day"]), "MMMMEEEEd", language)
    return isolated(values, language)


def _pay_line(order: Order, parcel: Place, words: Wording) -> str:
    """What to pay: to the rider, or at the courier's counter."""
    if order.payment == "paid":
        return words.fallbacks["pay_none"]
    line = "pay_due" if order.payment == "cod_due" else "pay_unknown"
    if parcel.status == "ready_for_pickup":
        line += "_pickup"
    return words.fallbacks[line].format(due=order.due.shown(words.language))


def _expected_line(shipment: Shipment, parcel: Place, store: Store, words: Wording, now: datetime) -> str:
    """When it comes. Of a parcel that went quiet no date is repeated: whoever waits and worries is told that the shop
    knows of it, which is so of parcels that are followed, see watch.py.
    """
    newest = shipment.newest
    if parcel.status not in COMING:
        return ""
    if shipment.poll_at is not None and newest is not None and quiet(parcel.status, newest.occurred_at, now):
        return words.fallbacks["expected_quiet"].format(store=clean(store.name, 60))
    return promise_line(shipment.order, store, words, now) or words.fallbacks["expected_none"]


def promise_line(order: Order, store: Store, words: Wording, now: datetime) -> str:
    """The days that the merchant promises, counted from the order; empty without a promise, and once it is past."""
    days = store.policy.delivery_days
    if days is None:
        return ""
    first, last = _promised(days, order.placed_at, store)
    if last < now.astimezone(store.zone).date():
        return ""
    return _between(words.fallbacks["expected_on"], first, last, words.language)


def _seen_line(newest: ShipmentEvent | None, store: Store, words: Wording) -> str:
    if newest is None:
        return ""
    local, locale = newest.occurred_at.astimezone(store.zone), babel_locale(words.language)
    when = f"{format_skeleton('MMMd', local, locale=locale)} {format_time(local, 'short', locale=locale)}"
    if not newest.location:
        return words.fallbacks["seen"].format(when=when)
    return words.fallbacks["seen_at"].format(when=when, location=clean(newest.location, 60))


def place_row(order: Order, parcel: Place) -> str:
    """The row of the wording's places that is true of an order and, where it has one, its parcel."""
    if order.confirmation in ("declined", "cancelled") and parcel.status in (UNKNOWN, *BEFORE_PICKUP, "cancelled"):
        return "cancelled"
    if parcel.status in STATUSES and parcel.status != "cancelled":
        return _PLACES.get(parcel.status, parcel.status)
    if order.confirmation == "awaiting":
        return "awaiting"
    return "sent" if order.fulfilment not in ("unfulfilled", "booked", UNKNOWN) else "preparing"


COMING = BEFORE_PICKUP | {UNKNOWN, "picked_up", "in_transit", "at_destination"}
"""Where a parcel is while a date may be promised."""

_PLACES = {
    "pickup_scheduled": "booked", "pickup_failed": "booked", "return_in_transit": "returning", "damaged": "lost",
}  # fmt: skip
"""Places that customers need not tell apart."""


def isolated(values: Mapping[str, str], language: str) -> dict[str, str]:
    """Values that keep their own direction inside a right-to-left sentence: without the isolates (U+2068, U+2069)
    `#1001` is shown as `1001#` and `2 x Khussa` as `x Khussa 2`.
    """
    if language not in RIGHT_TO_LEFT:
        return dict(values)
    return {name: f"\u2068{value}\u2069" if value else "" for name, value in values.items()}


def items_line(order: Order, words: Wording) -> str:
    """`2 x Khussa, 1 x Kurta - M, and 2 more`."""
    shown = [f"{item.quantity} x {clean(item.title, 60)}" for item in order.items[:_ITEMS_SHOWN]]
    if len(order.items) > _ITEMS_SHOWN:
        shown.append(words.fallbacks["more"].format(count=len(order.items) - _ITEMS_SHOWN))
    return ", ".join(shown) or words.fallbacks["items"]


def eta_line(policy: Policy, order: Order, store: Store, words: Wording, now: datetime) -> str:
    """When it should arrive, only if the merchant promises it; else that we will say so when it ships."""
    if policy.delivery_days is None or order.dispatched:
        return words.fallbacks["eta_none"]
    return _between(words.fallbacks["eta_on"], *_promised(policy.delivery_days, now, store), words.language)


def _promised(days: tuple[int, int], since: datetime, store: Store) -> tuple[date, date]:
    start = since.astimezone(store.zone).date()
    return _working_day(start, days[0]), _working_day(start, days[1])


def _between(text: str, first: date, last: date, language: str) -> str:
    return text.format(start=_day(first, "MMMMd", language), end=_day(last, "MMMMd", language))


def _day(day: date, skeleton: str, language: str) -> str:
    shown: str = format_skeleton(skeleton, day, locale=babel_locale(language))
    return shown


def _working_day(start: date, days: int) -> date:
    """`days` working days after `start`; Sunday is no working day for couriers."""
    day = start
    while days > 0:
        day += timedelta(days=1)
        days -= day.weekday() != 6
    return day


def body(key: str, language: str, values: Mapping[str, str]) -> str:
    return fill(wording(language).body(key), dict(values))


def reply_text(key: str, language: str, values: Mapping[str, str]) -> str:
    """A reply with its values; where one is empty no gap is left."""
    return re.sub(" {2,}", " ", wording(language).replies[key].format(**values)).strip()


def choices(
    key: str, order: Order | None, language: str, shipment: Shipment | None = None, days: Iterable[date] = ()
) -> tuple[Choice, ...]:
    """What can be tapped under a template or reply. The ids come back and say what was meant, and of which state.
    `days` are those on which a parcel may come again.
    """
    if order is None:
        return ()
    words = wording(language)
    if key in ("cod_confirmation", "cod_reminder", "changed_since"):
        yes, no = words.buttons("cod_confirmation")
        return (
            Choice(f"confirm:{order.id}:{order.revision}", yes),
            Choice(f"decline:{order.id}:{order.revision}", no),
        )
    if key == "order_cancelled":
        return tuple(Choice(f"reason:{order.id}:{code}", words.reasons[code]) for code in REASONS)
    if shipment is None:
        return ()
    if key == "delivery_attempted":
        again, elsewhere, back = words.buttons(key)
        return (
            Choice(f"again:{shipment.id}:ask", again),
            Choice(f"address:{shipment.id}:ask", elsewhere),
            Choice(f"return:{shipment.id}:ask", back),
        )
    if key == "delivered":
        return (Choice(f"issue:{shipment.id}:delivered", words.buttons(key)[0]),)
    if key == "which_day":
        return tuple(Choice(f"again:{shipment.id}:{day:%Y%m%d}", _day(day, "MMMEd", language)) for day in days)
    under = words.choices
    if key == "address_read_back":
        return (
            Choice(f"address:{shipment.id}:right", under["address_right"]),
            Choice(f"address:{shipment.id}:ask", under["address_wrong"]),
        )
    if key == "return_sure":
        return (
            Choice(f"return:{shipment.id}:sure", under["return_sure"]),
            Choice(f"again:{shipment.id}:ask", under["deliver_again"]),
        )
    return ()


def days_to_choose(store: Store, now: datetime) -> list[date]:
    """The next three days on which couriers deliver."""
    today = now.astimezone(store.zone).date()
    return [_working_day(today, days) for days in (1, 2, 3)]


def preview(key: str, language: str, store: Store) -> tuple[str, tuple[str, ...]]:
    """A template as a customer would see it, with sample values: (text, button titles)."""
    values = {**EXAMPLES, "store": store.name, "eta": wording(language).fallbacks["eta_none"]}
    return body(key, language, isolated(values, language)), wording(language).buttons(key)
