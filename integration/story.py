"""An order's whole story in the order it happened: every event, decision, message and silence, each with its reason.

The order page and `flask why` both read from here, so that they cannot tell two stories.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select

from .db import Session
from .events import UNKNOWN
from .inbox import Message
from .journeys import JOURNEYS, Enrollment, due_at
from .money import CLAIM
from .orders import Order, Payment, Shipment, Transition
from .outbox import Outbox, Touchpoint
from .stores import Store
from .values import Money

STATUS_WORDS = {
    "not_needed": "not needed", "awaiting": "waiting for an answer", "confirmed": "confirmed",
    "declined": "cancelled by the customer", "expired": "no answer", "cancelled": "cancelled",
    "cod_due": "cash on delivery", "pending": "not paid yet", "claimed": "payment claimed", "paid": "paid",
    "failed": "payment failed", "refunded": "refunded", "partially_refunded": "partly refunded",
    "unfulfilled": "not sent yet", "booked": "booked", "in_transit": "on its way",
    "out_for_delivery": "out for delivery", "attempted": "delivery attempted", "ready_for_pickup": "ready for pickup",
    "delivered": "delivered", "returning": "coming back", "returned": "returned", "lost": "lost", "unknown": "unknown",
    "pickup_scheduled": "pickup planned", "pickup_failed": "pickup failed", "picked_up": "picked up",
    "at_destination": "in the customer's city", "return_in_transit": "on its way back", "damaged": "damaged",
    "on_hold": "on hold", "delayed": "delayed", "reattempt_asked": "another attempt asked for",
    "disputed": "the customer says otherwise",
}  # fmt: skip
"""Statuses as people read them."""

REASON_WORDS = {
    "consignee_unavailable": "nobody was there", "phone_unreachable": "the phone was not answered",
    "refused": "the customer refused it", "did_not_order": "the customer says they did not order",
    "cod_not_ready": "the cash was not ready", "address_incomplete": "the address is incomplete",
    "address_wrong": "the address is wrong", "out_of_area": "the courier does not go there",
    "premises_closed": "the place was closed", "access_restricted": "the rider was not let in",
    "reschedule_requested": "the customer asked for another day",
    "wants_self_collection": "the customer wants to collect it",
    "open_delivery_demanded": "the customer wanted to open it first", "otp_failed": "the code was not given",
    "not_attempted": "the rider did not try", "weather_or_security": "weather or security",
    "misroute": "it was sent the wrong way", "other": "another reason",
}  # fmt: skip
"""Why a delivery failed, as people read it."""

_WHO = {
    "store": "the store", "customer": "the customer", "merchant": "you", "clock": "Dastak", "courier": "the courier",
    "gateway": "the payment gateway",
}  # fmt: skip

_MONEY_WORDS = {
    "expired": "expired", "disputed": "disputed", "verified": "verified", "rejected": "not found",
    "cancelled": "cancelled", "pending": "not paid yet",
}  # fmt: skip
"""What is said of money, where the same word says something else of an order."""

_SPEAKERS = {"statement": "Your statement", "merchant": "The shop", CLAIM: "The customer"}
"""Who spoke of money, where it was no vendor."""

_AXES = {"confirmation": "Confirmation", "payment": "Payment", "fulfilment": "Delivery", "held": "Hold",
         "cancel_reason": "Reason"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Moment:
    """One line of a story. `kind` picks the picture: order, status, message, answer, silence, plan, store, parcel,
    money.
    """

    at: datetime
    kind: str
    title: str
    detail: str = ""
    tone: str = ""
    """good, bad, wait or empty."""
    words: str = ""
    """What was said, as it was said."""
    choices: tuple[str, ...] = ()
    checks: tuple[dict[str, Any], ...] = ()
    language: str = ""
    planned: bool = False
    seen: datetime | None = None
    """When Dastak learned of it, where that can be later than `at`."""

    @property
    def order(self) -> datetime:
        """Where the moment stands in its story: vendors tell whole seconds, so within that second our own clock tells
        what came first.
        """
        if self.seen is None or self.at.microsecond:
            return self.at
        return min(max(self.at, self.seen), self.at + timedelta(seconds=1))


@dataclass(slots=True)
class Story:
    """An order with its past and what is planned for it."""

    order: Order
    past: list[Moment] = field(default_factory=list)
    planned: list[Moment] = field(default_factory=list)


def tell(session: Session, order: Order) -> Story:
    """The story of one order."""
    story = Story(order)
    messages = session.scalars(select(Message).where(Message.order_id == order.id).order_by(Message.id)).all()
    moments = [_placed(order)]
    moments += [_inbound(message) for message in messages if message.sender == "customer"]
    moments += _transitions(session, order)
    moments += [said_of_money(said, order) for said in order.payments]
    moments += _parcels(session, order)
    touches = session.scalars(select(Touchpoint).where(Touchpoint.order_id == order.id).order_by(Touchpoint.id)).all()
    by_touch = {message.touchpoint_id: message for message in messages if message.touchpoint_id is not None}
    rows = session.scalars(select(Outbox).where(Outbox.order_id == order.id)).all()
    due = {row.touchpoint_id: row.due_at for row in rows}
    for touch in touches:
        moment = _touchpoint(touch, by_touch.get(touch.id), due.get(touch.id, touch.due_at))
        (story.planned if moment.planned else moments).append(moment)
    for enrollment in session.scalars(select(Enrollment).where(Enrollment.order_id == order.id)):
        moments += _not_begun(enrollment)
        story.planned += _planned(enrollment)
    moments += [_write_back(row) for row in rows if row.kind == "write_back"]
    moments += [_instruction(row) for row in rows if row.kind == "courier"]
    story.past = sorted(moments, key=lambda moment: moment.order)
    story.planned.sort(key=lambda moment: moment.at)
    return story


def why(session: Session, order: Order, store: Store) -> list[str]:
    """The story as sentences."""
    told = tell(session, order)
    lines = [f"{order.name}: {summary(order)}"]
    for moment in (*told.past, *told.planned):
        when = moment.at.astimezone(store.zone).strftime("%d %b %H:%M")
        said = f"{moment.title}: {moment.detail}" if moment.detail else moment.title
        lines.append(f"{when}  {'(planned) ' if moment.planned else ''}{said}")
    return lines


def summary(order: Order) -> str:
    """An order's three statuses in one line."""
    parts = [
        STATUS_WORDS.get(getattr(order, axis), getattr(order, axis))
        for axis in ("confirmation", "payment", "fulfilment")
    ]
    return f"confirmation {parts[0]}, {parts[1]}, {parts[2]}" + (
        f", on hold: {order.held.replace('_', ' ')}" if order.held else ""
    )


def _placed(order: Order) -> Moment:
    how = order.gateway or ("cash on delivery" if order.is_cod else "payment method not named")
    terms = f"{order.money.shown('en')}, {how}"
    return Moment(order.placed_at, "order", f"Order {order.name} placed", terms, seen=order.seen_at)


def _transitions(session: Session, order: Order) -> list[Moment]:
    rows = session.scalars(select(Transition).where(Transition.order_id == order.id).order_by(Transition.id))
    return [_transition(row) for row in rows]


def _transition(row: Transition) -> Moment:
    became = STATUS_WORDS.get(row.became, row.became.replace("_", " "))
    axis = _AXES.get(row.axis, row.axis)
    who = _WHO.get(row.cause, row.cause)
    detail = f"by {who}" + (f": {row.note}" if row.note else "")
    if not row.allowed:
        return Moment(
            row.at,
            "status",
            f"{axis} stays {STATUS_WORDS.get(row.was, row.was)}",
            f"“{became}” was refused, it cannot follow; {detail}",
            "bad",
            seen=row.seen_at,
        )
    if row.axis == "held":
        title = "Put on hold: " + row.became.replace("_", " ") if row.became else "No longer on hold"
        return Moment(row.at, "status", title, detail, "bad" if row.became else "good", seen=row.seen_at)
    tone = {
        "confirmed": "good",
        "paid": "good",
        "delivered": "good",
        "declined": "bad",
        "cancelled": "bad",
        "expired": "bad",
        "failed": "bad",
        "awaiting": "wait",
    }.get(row.became, "")
    return Moment(row.at, "status", f"{axis}: {became}", detail, tone, seen=row.seen_at)


def said_of_money(said: Payment, order: Order) -> Moment:
    """One thing that was said of an order's money. What does not count says why."""
    intent = next((one for one in order.intents if one.id == said.intent_id), None)
    gateway = intent.label if intent is not None and said.source == intent.name else ""
    status = _MONEY_WORDS.get(said.status, STATUS_WORDS.get(said.status, said.status))
    title = f"{gateway or _SPEAKERS.get(said.source, said.source.capitalize())} says: {status}"
    if said.source == CLAIM and said.status != "claimed":
        title = "The claim was verified" if said.status == "verified" else "The claim was not accepted"
    claimed = said.raw_status if said.source == CLAIM else ""
    named = claimed or (intent.reference if intent is not None else "")
    detail = [
        Money(said.amount, said.currency).shown("en") if said.amount is not None and said.currency else "",
        f"reference {named}" if named else "",
        "" if said.source == CLAIM else said.raw_status,
    ]
    told = ", ".join(part for part in detail if part)
    if said.sentence:
        told = f"does not count: {said.sentence}" + (f" ({told})" if told else "")
    return Moment(said.at, "money", title, told, "bad" if said.sentence else "", seen=said.seen_at)


def _scanned(status: str) -> str:
    return "a word that Dastak does not know yet" if status == UNKNOWN else STATUS_WORDS.get(status, status)


def _parcels(session: Session, order: Order) -> list[Moment]:
    rows = session.scalars(select(Shipment).where(Shipment.order_id == order.id))
    return [
        Moment(
            scan.occurred_at,
            "parcel",
            f"Parcel {s.tracking_number or s.external_id}: {_scanned(scan.status)}",
            ", ".join(
                filter(
                    None,
                    (s.courier, REASON_WORDS.get(scan.reason, ""), scan.raw_text or scan.raw_code, scan.location),
                )
            ),
            seen=scan.seen_at,
        )
        for s in rows
        for scan in s.events
    ]


def _touchpoint(touch: Touchpoint, message: Message | None, due: datetime) -> Moment:
    label = _label(touch)
    checks = tuple(touch.checks)
    at = (message.at if message is not None else None) or touch.settled_at or touch.due_at
    because = f"because {touch.because}" if touch.because else ""
    words = message.text if message is not None else ""
    choices = tuple(message.choices) if message is not None else ()
    language = message.language if message is not None else ""
    if touch.state == "queued":
        waits = f"waits: {touch.sentence}" if touch.reason else because
        return Moment(due, "plan", label, waits, "wait", checks=checks, planned=True)
    if touch.state in ("skipped", "cancelled"):
        return Moment(
            touch.settled_at or touch.due_at, "silence", f"Not sent: {label}", touch.sentence, "", checks=checks
        )
    if touch.state == "failed":
        return Moment(at, "message", f"Failed: {label}", touch.sentence, "bad", words, choices, checks, language)
    if touch.state == "unknown":
        return Moment(
            at, "message", f"Outcome unknown: {label}", touch.sentence, "wait", words, choices, checks, language
        )
    status = message.status if message is not None else "sent"
    form = f"template {message.template}" if message is not None and message.template else "free form"
    return Moment(
        at,
        "message",
        label,
        ", ".join(filter(None, (status, form, because, touch.sentence))),
        "good" if status in ("delivered", "read") else "",
        words,
        choices,
        checks,
        language,
    )


def _label(touch: Touchpoint) -> str:
    journey = JOURNEYS.get(touch.journey)
    if journey is not None:
        step = next((s.label for s in journey.steps if s.name == touch.step), touch.step)
        return f"{journey.label}: {step[0].lower()}{step[1:]}"
    return f"Answered: {touch.step.replace('_', ' ')}"


def _inbound(message: Message) -> Moment:
    verb = {"button": "tapped", "list": "chose", "text": "wrote"}.get(message.kind, f"sent a {message.kind}")
    return Moment(message.at, "answer", f"The customer {verb}", words=message.text, seen=message.seen_at)


def _not_begun(enrollment: Enrollment) -> list[Moment]:
    if enrollment.state != "off":
        return []
    at = enrollment.ended_at or enrollment.began_at
    return [Moment(at, "silence", f"Not sent: {_journey_label(enrollment.journey)}", enrollment.sentence)]


def _planned(enrollment: Enrollment) -> list[Moment]:
    label = _journey_label(enrollment.journey)
    return [
        Moment(
            due_at(step), "plan", f"{label}: {step['label'][0].lower()}{step['label'][1:]}", tone="wait", planned=True
        )
        for step in enrollment.plan
    ]


def _journey_label(name: str) -> str:
    return JOURNEYS[name].label if name in JOURNEYS else name


_INSTRUCTIONS = {
    "advise": ("The courier is to be told", "The courier was told", "The courier could not be told"),
    "book": ("Is to be booked with the courier", "Booked with the courier", "Not booked with the courier"),
    "cancel": ("The booking is to be cancelled", "The booking was cancelled", "The booking could not be cancelled"),
    "reattempt": (
        "The courier is to be asked to come again", "The courier was asked to come again",
        "The courier could not be asked to come again",
    ),
    "return": (
        "The courier is to be asked to return it", "The courier was asked to return it",
        "The courier could not be asked to return it",
    ),
}  # fmt: skip
"""What a courier was to do: (planned, done, not done)."""


def _instruction(row: Outbox) -> Moment:
    change = row.change or {}
    planned, done, undone = _INSTRUCTIONS[(change.get("advice") or {}).get("action") or change["do"]]
    at = row.settled_at or row.created_at
    if row.state == "sent":
        return Moment(at, "parcel", done, row.sentence, "good")
    if row.state == "failed":
        return Moment(at, "parcel", undone, row.sentence, "bad")
    if row.state == "cancelled":
        return Moment(at, "silence", "The courier was not told", row.sentence)
    return Moment(row.due_at, "parcel", planned, row.sentence, "wait")


def _write_back(row: Outbox) -> Moment:
    change = row.change or {}
    if "whole" in change:
        outcome = "paid" if change["whole"] else "a part is paid"
    elif "number" in change:
        outcome = f"parcel {change['number']} {STATUS_WORDS.get(change['status'], change['status'])}"
    else:
        outcome = str(change["outcome"])
    outcome = "the reason for cancelling" if outcome == "reason" else STATUS_WORDS.get(outcome, outcome)
    if row.state == "sent":
        return Moment(row.settled_at or row.created_at, "store", f"The store was told: {outcome}", row.sentence, "good")
    if row.state == "failed":
        return Moment(
            row.settled_at or row.created_at, "store", f"The store could not be told: {outcome}", row.sentence, "bad"
        )
    return Moment(row.due_at, "store", f"The store will be told: {outcome}", row.sentence, "wait")
