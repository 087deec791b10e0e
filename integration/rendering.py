"""An order turned into words: the variables of a template, the body of a free message, the choices under it.

Every variable has a fallback, so no message ever shows a blank; nothing is stated that a record does not hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta

from babel.dates import format_skeleton

from .catalogue import EXAMPLES, Wording, fill, wording
from .orders import Order, address_of
from .ports import Choice
from .stores import Policy, Store
from .values import RIGHT_TO_LEFT, babel_locale, clean

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
    }
    return isolated(values, language)


def isolated(values: Mapping[str, str], language: str) -> dict[str, str]:
    """Values that keep their own direction inside a right-to-left sentence: without the isolates (U+2068, U+2069)
    `#1001` is shown as `1001#` and `2 x Khussa` as `x Khussa 2`.
    """
    if language not in RIGHT_TO_LEFT:
        return dict(values)
    return {name: f"\u2068{value}\u2069" for name, value in values.items()}


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
    today = now.astimezone(store.zone).date()
    first, last = (_working_day(today, days) for days in policy.delivery_days)
    locale = babel_locale(words.language)
    start, end = (format_skeleton("MMMMd", day, locale=locale) for day in (first, last))
    return words.fallbacks["eta_on"].format(start=start, end=end)


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
    return wording(language).replies[key].format(**values)


def choices(key: str, order: Order | None, language: str) -> tuple[Choice, ...]:
    """What can be tapped under a template or reply. The ids come back and say what was meant, and of which state."""
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
    return ()


def preview(key: str, language: str, store: Store) -> tuple[str, tuple[str, ...]]:
    """A template as a customer would see it, with sample values: (text, button titles)."""
    values = {**EXAMPLES, "store": store.name, "eta": wording(language).fallbacks["eta_none"]}
    return body(key, language, isolated(values, language)), wording(language).buttons(key)
