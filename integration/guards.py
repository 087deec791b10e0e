"""The one question: may this message go now?

Asked when a touchpoint is planned and again at the moment of sending. The guards stand in a fixed order; the first that
does not pass decides, and what each one saw is kept, so that every message and every silence can be explained in a
sentence. A guard looks at records already loaded and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Protocol
from zoneinfo import ZoneInfo

import phonenumbers
from phonenumbers.timezone import time_zones_for_number

from .catalogue import Shelf, Template, languages_to_try, pick
from .customers import MARKETING, UTILITY, ContactPoint, Standing, standing
from .events import UNKNOWN
from .inbox import Conversation
from .intents import asks_by, asks_for_all
from .orders import Order, language_for
from .parcels import Place
from .stores import Connection, Policy, Store, zone

SKIP_REASONS: dict[str, str] = {
    "journey_off": "this journey is switched off",
    "not_relevant": "the order has moved on",
    "stale": "too much time has passed for this message to make sense",
    "store_uninstalled": "the app was removed from the store",
    "no_contact_point": "the order has no number that WhatsApp could reach",
    "unreachable": "the number cannot be reached on WhatsApp",
    "opted_out": "the customer asked to get no messages",
    "no_consent": "the customer never agreed to messages of this kind",
    "no_channel": "no WhatsApp number is connected",
    "template_missing": "no approved template exists for it",
    "template_rejected": "WhatsApp rejected, paused or disabled the template",
    "template_category": "WhatsApp now bills the template as marketing, and the customer did not agree to marketing",
    "window_closed": "the customer's last message is over a day old and this answer has no template",
    "frequency_cap": "the customer has had enough messages today",
    "superseded": "a newer event made it pointless",
}
"""Why a message did not go, as the merchant reads it."""

DEFER_REASONS: dict[str, str] = {
    "quiet_hours": "it is night where the customer is",
    "channel_broken": "the WhatsApp connection needs attention",
    "template_pending": "WhatsApp has not approved the template yet",
    "frequency_cap": "the customer has had many messages today",
}
"""Why a message waits."""


class Asked(Protocol):
    """What the guards need to know about a message that wants to go; a Touchpoint is one."""

    message_class: str
    template: str
    relevance: dict[str, list[str]]
    prompt: bool
    free_only: bool
    answers: bool
    due_at: datetime
    stale_at: datetime | None


@dataclass(slots=True)
class Case:
    """Everything one decision looks at."""

    now: datetime
    store: Store
    asked: Asked
    order: Order | None
    contact: ContactPoint | None
    conversation: Conversation | None
    channel: Connection | None
    templates: Shelf
    parcel: Place | None = None
    """Where the parcel is that the message speaks of."""
    sent_today: Mapping[str, int] = field(default_factory=dict)

    policy: Policy = field(init=False)
    standing: Standing = field(init=False)

    def __post_init__(self) -> None:
        self.policy = self.store.policy
        self.standing = standing(self.contact.consents if self.contact is not None else ())

    @property
    def language(self) -> str:
        if self.order is not None:
            return language_for(self.order, self.policy)
        return (self.contact.language if self.contact else None) or self.policy.language

    @property
    def window_open(self) -> bool:
        return self.conversation is not None and self.conversation.window_open(self.now)

    @property
    def candidate(self) -> Template | None:
        if not self.asked.template:
            return None
        return pick(self.templates, self.asked.template, languages_to_try(self.language, self.policy.language))


@dataclass(frozen=True, slots=True)
class Look:
    """What one guard saw. `outcome` is pass, skip or defer."""

    outcome: str
    saw: str
    reason: str = ""
    until: datetime | None = None


def passed(saw: str) -> Look:
    return Look("pass", saw)


def skip(reason: str, saw: str = "") -> Look:
    return Look("skip", saw or SKIP_REASONS[reason], reason)


def defer(reason: str, until: datetime, saw: str = "") -> Look:
    return Look("defer", saw or DEFER_REASONS[reason], reason, until)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer. `outcome` is send, skip or defer; `form` is template or free when it is send."""

    outcome: str
    guard: str
    reason: str
    sentence: str
    until: datetime | None
    form: str
    template: Template | None
    language: str
    checks: list[dict[str, Any]]


# -- the guards, in their order ------------------------------------------------------------------------------------


def relevant(case: Case) -> Look:
    """Is the order still in the state that this message speaks about?"""
    if not case.store.active:
        return skip("store_uninstalled")
    if case.asked.stale_at is not None and case.now >= case.asked.stale_at:
        return skip("stale")
    order = case.order
    if order is None:
        return passed("it answers the customer")
    if order.removed_at is not None and not case.asked.answers:
        return skip("not_relevant", "the store threw the order away")
    for axis, allowed in case.asked.relevance.items():
        if (state := _state(case, order, axis)) not in allowed:
            return skip("not_relevant", _NOT_ASKED.get(axis) or f"{axis} is {state.replace('_', ' ')}")
    seen = ", ".join(f"{axis.replace('_', ' ')} is {_shown(case, order, axis)}" for axis in case.asked.relevance)
    return passed(seen or "the order stands")


_NOT_ASKED = {
    "asked_by": "the customer is asked for its money in another way, or for none",
    "asked_for_all": "a part of it is asked for, or was paid, by now",
}


def _shown(case: Case, order: Order, axis: str) -> str:
    return _state(case, order, axis).replace("_", " ")


def _state(case: Case, order: Order, axis: str) -> str:
    if axis in _ASKED:
        return _ASKED[axis](order)
    if axis == "parcel":
        return case.parcel.status if case.parcel is not None else UNKNOWN
    state: str = getattr(order, axis)
    return state


_ASKED: dict[str, Callable[[Order], str]] = {"asked_by": asks_by, "asked_for_all": asks_for_all}


def reachable(case: Case) -> Look:
    contact = case.contact
    if contact is None or not (contact.phone or contact.user_id):
        return skip("no_contact_point")
    if contact.unreachable_at is not None:
        return skip("unreachable")
    return passed("a number is known")


def not_opted_out(case: Case) -> Look:
    out = case.standing.opted_out_at
    if out is not None and not case.asked.answers:
        return skip("opted_out", f"the customer asked to get no messages on {out:%d %b %Y}")
    return passed("the customer did not opt out")


def consented(case: Case) -> Look:
    """Utility messages need consent to order messages, marketing needs its own; answering who wrote needs none."""
    if case.asked.answers or case.asked.message_class == "service":
        return passed("it answers a message of the customer")
    if case.asked.message_class not in case.standing.granted:
        return skip("no_consent", f"no consent to {case.asked.message_class} messages is on record")
    return passed(f"consent to {case.asked.message_class} messages is on record")


def channel_ready(case: Case) -> Look:
    if case.channel is None:
        return skip("no_channel")
    if case.channel.health == "broken":
        return defer("channel_broken", case.now + timedelta(minutes=10), case.channel.sentence)
    return passed("the WhatsApp connection works")


def template_ready(case: Case) -> Look:
    """Inside the service window no template is needed; outside, one that is approved and of the class we claim. A
    number connected a moment ago, whose templates nobody has read yet, is waited for.
    """
    if case.asked.free_only:
        return passed("it needs no template")
    if case.window_open:
        return passed("the customer wrote within a day, so no template is needed")
    template = case.candidate
    if template is None and case.templates:
        return skip("template_missing")
    if template is None or template.status in ("missing", "pending"):
        return defer("template_pending", case.now + timedelta(minutes=5))
    if template.status != "approved":
        return skip("template_rejected", f"WhatsApp has the template as {template.status}")
    if (
        template.category == MARKETING
        and case.asked.message_class == UTILITY
        and MARKETING not in case.standing.granted
    ):
        return skip("template_category")
    return passed(f"template {template.name} ({template.code}) is approved as {template.category}")


def window_allows(case: Case) -> Look:
    if case.window_open:
        return passed("the service window is open: free form")
    if case.asked.free_only:
        return skip("window_closed")
    return passed("the service window is closed: template")


def not_at_night(case: Case) -> Look:
    """Quiet hours of the customer's zone. What answers the customer's own act of a moment ago does not wait."""
    fresh = case.now - case.asked.due_at < timedelta(hours=1)
    if case.asked.answers or (case.asked.prompt and fresh):
        return passed("it answers what the customer just did")
    local = case.now.astimezone(zone_of(case.contact, case.store))
    if not case.policy.is_quiet(local.time()):
        return passed(f"it is {local:%H:%M} where the customer is")
    morning = local.replace(hour=case.policy.quiet_until, minute=0, second=0, microsecond=0)
    if morning <= local:
        morning += timedelta(days=1)
    return defer("quiet_hours", morning, f"it is {local:%H:%M} where the customer is")


def under_the_cap(case: Case) -> Look:
    """A ceiling on messages per customer and day. Marketing is dropped at it, order messages wait."""
    if case.asked.answers:
        return passed("answers do not count")
    kind = MARKETING if case.asked.message_class == MARKETING else UTILITY
    cap = case.policy.marketing_cap if kind == MARKETING else case.policy.utility_cap
    sent = case.sent_today.get(kind, 0)
    if sent < cap:
        return passed(f"{sent} of {cap} {kind} messages in a day")
    if kind == MARKETING:
        return skip("frequency_cap")
    return defer("frequency_cap", case.now + timedelta(hours=1))


GUARDS: tuple[tuple[str, Callable[[Case], Look]], ...] = (
    ("relevance", relevant),
    ("contact point", reachable),
    ("opt-out", not_opted_out),
    ("consent", consented),
    ("channel", channel_ready),
    ("template", template_ready),
    ("service window", window_allows),
    ("quiet hours", not_at_night),
    ("frequency cap", under_the_cap),
)


def may_send(case: Case) -> Verdict:
    """Ask every guard in order; the first that does not pass decides."""
    checks: list[dict[str, Any]] = []
    for name, guard in GUARDS:
        look = guard(case)
        checks.append({"guard": name, "outcome": look.outcome, "saw": look.saw})
        if look.outcome != "pass":
            return Verdict(look.outcome, name, look.reason, look.saw, look.until, "", None, case.language, checks)
    template = None if case.window_open else case.candidate
    return Verdict(
        "send",
        "",
        "",
        "",
        None,
        "template" if template else "free",
        template,
        template.language if template else case.language,
        checks,
    )


# -- where a customer is -------------------------------------------------------------------------------------------


def zone_of(contact: ContactPoint | None, store: Store) -> ZoneInfo:
    """The customer's time zone: told, else by the number, else the store's."""
    if contact is not None and contact.timezone:
        return zone(contact.timezone)
    if contact is not None and contact.phone:
        zones = _zones(contact.phone)
        if zones and store.timezone not in zones:
            return zone(zones[0])
    return store.zone


@lru_cache(maxsize=4096)
def _zones(phone: str) -> tuple[str, ...]:
    """The zones a number may be in; several for the mobiles of a wide country."""
    try:
        number = phonenumbers.parse(phone, None)
    except phonenumbers.NumberParseException:
        return ()
    return tuple(name for name in time_zones_for_number(number) if name != "Etc/Unknown")
