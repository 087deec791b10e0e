"""What a customer's answer does.

A tap names its order and the state it was asked about, so an old message, a second tap or a change of mind each has
one listed outcome (`CONFIRM`, `DECLINE`, `REASON`) and a truthful reply; taps about parcels are advice.py's. Free text
is matched by whole phrases only; what is not understood goes to a person, never to a guess. STOP works at once, in
every language.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import selectinload

from . import advice, claims
from .answers import answer
from .catalogue import wording
from .customers import EVERYTHING, GRANTED, REVOKED, ContactPoint, record_consent
from .db import Session
from .inbox import Message
from .journeys import Settled, react, tell_store_reason
from .orders import Order, Shipment, move
from .outbox import DOUBLE_TAP, Desk, Outbox
from .rendering import REASONS
from .values import LANGUAGES

# -- words ---------------------------------------------------------------------------------------------------------


def normalised(said: str) -> str:
    """A message without case, accents of Latin letters, punctuation, emoji and stretched letters: `Cancel!!` is
    `cancel`.
    """
    decomposed = unicodedata.normalize("NFKD", said.casefold())
    kept = "".join(
        c
        for c in decomposed
        if c.isalnum() or c.isspace() or (unicodedata.category(c) in ("Mc", "Mn") and ord(c) > 0x36F)
    )
    return re.sub(r"\s+", " ", re.sub(r"([a-z])\1{2,}", r"\1", kept)).strip()


MEANINGS: dict[str, str] = {
    normalised(phrase): meaning
    for language in LANGUAGES
    for meaning, phrases in wording(language).phrases.items()
    for phrase in phrases
}
"""What a whole message means, by the phrases of every language's wording. `cancelar` alone cancels an order; it never
unsubscribes."""


def meaning(said: str) -> str:
    """stop, start, confirm, decline, where or nobody_came; empty for anything else."""
    return MEANINGS.get(normalised(said), "")


_EVERYBODYS = {"stop", "start"}
"""Words we tell customers of all languages to write, so they say nothing about theirs."""

_SPOKEN: dict[str, set[str]] = {}
for _language in LANGUAGES:
    for _phrases in wording(_language).phrases.values():
        for _phrase in _phrases:
            if (_normal := normalised(_phrase)) not in _EVERYBODYS:
                _SPOKEN.setdefault(_normal, set()).add(_language)

_SCRIPTS = {"DEVANAGARI": "hi", "ARABIC": "ur"}
"""Of our languages, the one written in each script that only one of them uses."""


def language_written(said: str) -> str | None:
    """The language a customer writes, where its script or a phrase of one language only leaves no doubt."""
    spoken = _SPOKEN.get(normalised(said), set())
    if len(spoken) == 1:
        return next(iter(spoken))
    letters = [unicodedata.name(c, "").split(" ")[0] for c in said if c.isalpha()]
    for script, language in _SCRIPTS.items():
        if letters and letters.count(script) > len(letters) / 2:
            return language
    return None


# -- outcomes ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one answer does. `effect` names a function below, `reply` a text of the wording, `tell` calls a person."""

    name: str
    effect: str = ""
    reply: str = ""
    tell: str = ""


def confirm_outcome(order: Order, revision: str) -> Outcome:
    """The customer says yes. Rows are tried in order."""
    if order.removed_at is not None:
        return Outcome("order_gone", reply="no_longer_there", tell="confirmed an order that the store threw away")
    if order.confirmation == "declined":
        return Outcome("confirm_after_cancel", reply="cancelled_by_you", tell="wants an order back after cancelling it")
    if order.confirmation == "cancelled":
        return Outcome(
            "confirm_after_store_cancelled",
            reply="cancelled_by_store",
            tell="confirmed an order that the shop cancelled",
        )
    if order.confirmation == "confirmed":
        return Outcome("already_confirmed", reply="already_confirmed")
    if order.dispatched:
        return Outcome("confirm_after_dispatch", reply="on_its_way")
    if order.confirmation == "not_needed":
        return Outcome("nothing_to_confirm", reply="nothing_to_confirm")
    if revision and revision != order.revision:
        return Outcome("changed_since_asked", reply="changed_since")
    if order.confirmation == "expired":
        return Outcome("confirmed_late", effect="confirm")
    return Outcome("confirmed", effect="confirm")


def decline_outcome(order: Order, revision: str) -> Outcome:
    """The customer says no. Before dispatch that cancels, even after a yes; afterwards it goes to a person."""
    if order.removed_at is not None:
        return Outcome("order_gone", reply="no_longer_there", tell="cancelled an order that the store threw away")
    if order.confirmation in ("declined", "cancelled"):
        return Outcome("already_cancelled", reply="already_cancelled")
    if order.fulfilment in ("delivered", "returning", "returned"):
        return Outcome("cancel_after_delivery", reply="already_delivered", tell="wants to cancel a delivered order")
    if order.dispatched:
        return Outcome(
            "cancel_after_dispatch", reply="too_late_to_cancel", tell="wants to cancel an order that is on its way"
        )
    if order.confirmation == "not_needed":
        return Outcome("cancel_needs_person", tell="wants to cancel an order that needs no confirmation")
    if order.confirmation == "confirmed":
        return Outcome("cancelled_after_confirm", effect="decline")
    if order.confirmation == "expired":
        return Outcome("cancelled_late", effect="decline")
    return Outcome("cancelled", effect="decline")


def reason_outcome(order: Order, code: str) -> Outcome:
    """The customer says why. The first reason is thanked for, a later one replaces it quietly."""
    if code not in REASONS or order.confirmation != "declined":
        return Outcome("reason_out_of_place", tell="gave a reason for an order that is not cancelled")
    if order.cancel_reason == code:
        return Outcome("reason_repeated")
    if order.cancel_reason:
        return Outcome("reason_changed", effect="reason")
    return Outcome("reason_given", effect="reason", reply="reason_thanks")


DECISIONS: dict[str, Callable[[Order, str], Outcome]] = {
    "confirm": confirm_outcome,
    "decline": decline_outcome,
    "reason": reason_outcome,
}

_PAYLOAD = re.compile(r"(\w{1,12}):(\d{1,18}):(\w{1,40})")


# -- hearing -------------------------------------------------------------------------------------------------------


def hear(session: Session, desk: Desk, settled: Settled, message: Message) -> None:
    """Decide what an inbound message means and do it. Part of the transaction that stored it."""
    contact = message.conversation.contact
    if message.kind == "reaction":
        return
    if found := _PAYLOAD.fullmatch(message.payload):
        verb, number, detail = found[1], int(found[2]), found[3]
        if verb in DECISIONS:
            _tapped(session, desk, settled, message, contact, verb, number, detail)
            return
        if verb in advice.VERBS:
            advice.tapped(session, desk, message, verb, number, detail)
            return
    if message.kind == "text":
        contact.language = language_written(message.text) or contact.language
    said = meaning(message.text) if message.kind in ("text", "button") else ""
    if said in ("stop", "start"):
        _opt(session, desk, message, contact, said)
    elif said == "confirm" and advice.said_yes(session, desk, message):
        pass
    elif said in ("confirm", "decline"):
        _said(session, desk, settled, message, contact, said)
    elif said == "where":
        _where(session, desk, message, contact)
    elif said == "nobody_came":
        advice.nobody_came(session, desk, message)
    elif (message.kind == "text" and advice.wrote_address(session, desk, message)) or (
        message.kind in ("text", "media") and claims.heard(session, desk, settled, message)
    ):
        pass
    else:
        what = {"text": "wrote", "media": "sent a file", "unsupported": "sent something WhatsApp does not pass on"}
        message.conversation.call_for_person(
            f"the customer {what.get(message.kind, 'sent a ' + message.kind)}", message.at
        )


def _tapped(
    session: Session,
    desk: Desk,
    settled: Settled,
    message: Message,
    contact: ContactPoint,
    verb: str,
    order_id: int,
    detail: str,
) -> None:
    order = session.get(
        Order, order_id, options=[selectinload(Order.items), selectinload(Order.enrollments)], populate_existing=False
    )
    if order is None or order.contact_point_id != contact.id:
        message.conversation.call_for_person("the customer tapped a button of an order that is not theirs", message.at)
        return
    message.order_id = order.id
    _carry_out(session, desk, settled, message, order, DECISIONS[verb](order, detail), detail)


def _said(session: Session, desk: Desk, settled: Settled, message: Message, contact: ContactPoint, verb: str) -> None:
    """Yes or no in words counts only while exactly one order of this person waits for an answer."""
    waiting = session.scalars(
        select(Order)
        .where(Order.contact_point_id == contact.id, Order.confirmation == "awaiting", Order.removed_at.is_(None))
        .options(selectinload(Order.items), selectinload(Order.enrollments))
        .limit(2)
    ).all()
    if len(waiting) != 1:
        why = "no order" if not waiting else "several orders"
        message.conversation.call_for_person(
            f"the customer answered in words, but {why} waits for an answer", message.at
        )
        return
    order = waiting[0]
    message.order_id = order.id
    _carry_out(session, desk, settled, message, order, DECISIONS[verb](order, _asked(session, message, order)), "")


def _asked(session: Session, message: Message, order: Order) -> str:
    """The state of the order that the newest question about it stated; empty when none has reached the customer."""
    question = session.scalar(
        select(Message.payload)
        .where(
            Message.conversation_id == message.conversation_id,
            Message.sender == "us",
            Message.payload.startswith(f"confirm:{order.id}:"),
            Message.failed_at.is_(None),
        )
        .order_by(Message.id.desc())
        .limit(1)
    )
    return question.rpartition(":")[2] if question else ""


def _carry_out(
    session: Session, desk: Desk, settled: Settled, message: Message, order: Order, outcome: Outcome, detail: str
) -> None:
    at = message.at
    note = f"{outcome.name.replace('_', ' ')}: “{message.text[:80]}”"
    if outcome.effect in ("confirm", "decline"):
        became = "confirmed" if outcome.effect == "confirm" else "declined"
        moved = [
            move(session, order, "confirmation", became, cause="customer", at=at, note=note),
            move(session, order, "held", "", cause="customer", at=at) if order.held == "no_answer" else None,
        ]
        react(session, desk, settled, [t for t in moved if t is not None])
    elif outcome.effect == "reason":
        move(session, order, "cancel_reason", detail, cause="customer", at=at, note=note)
        tell_store_reason(session, order, detail, at)
    if outcome.tell:
        message.conversation.call_for_person(f"the customer {outcome.tell} ({order.name})", at)
    if outcome.reply and not _answered_already(session, order, message, outcome):
        because = f"of the customer’s answer: {outcome.name.replace('_', ' ')}"
        answer(session, desk, message, outcome.reply, order=order, because=because)


def _answered_already(session: Session, order: Order, message: Message, outcome: Outcome) -> bool:
    if not outcome.name.startswith("already_"):
        return False
    since = message.at - DOUBLE_TAP
    recent = session.scalar(
        select(Outbox.id)
        .where(Outbox.order_id == order.id, Outbox.created_at > since, Outbox.kind == "message")
        .limit(1)
    )
    return recent is not None


_OPEN_FOR = timedelta(days=30)
_ENDED_FOR = timedelta(days=3)


def _where(session: Session, desk: Desk, message: Message, contact: ContactPoint) -> None:
    """Where is my order: an answer for each that is open, or that came to its end a few days ago; newest first."""
    recent = session.scalars(
        select(Order)
        .where(
            Order.contact_point_id == contact.id,
            Order.placed_at > message.at - _OPEN_FOR,
            Order.removed_at.is_(None),
        )
        .order_by(Order.placed_at.desc(), Order.id.desc())
        .options(selectinload(Order.items), selectinload(Order.shipments))
        .limit(10)
    ).all()
    found = [order for order in recent if not _over(order, message.at)]
    because = "the customer asked where the order is"
    if not found:
        message.conversation.call_for_person("the customer asks for an order, and none is open", message.at)
        answer(session, desk, message, "where_none", because=because)
        return
    message.order_id = found[0].id
    told: list[tuple[Order, Shipment | None]] = [
        (order, shipment) for order in found for shipment in _parcels(order) or (None,)
    ]
    for nth, (order, shipment) in enumerate(told[:_SHOWN]):
        unsent = not order.gone and order.fulfilment == "unfulfilled"
        reply = "where_is" if shipment is not None else "where_is_unsent" if unsent else "where_is_plain"
        answer(session, desk, message, reply, order=order, shipment=shipment, because=because, nth=nth)


_SHOWN = 3


def _parcels(order: Order) -> Sequence[Shipment | None]:
    return [shipment for shipment in order.shipments if shipment.status != "cancelled"]


def _over(order: Order, now: datetime) -> bool:
    ends = [shipment.place for shipment in order.shipments]
    ended = [place.since for place in ends if place.status in ("delivered", "returned", "cancelled") and place.since]
    if ends and len(ended) == len(ends):
        return max(ended) < now - _ENDED_FOR
    return order.gone and not ends


def _opt(session: Session, desk: Desk, message: Message, contact: ContactPoint, said: str) -> None:
    state = REVOKED if said == "stop" else GRANTED
    news = record_consent(
        session, contact, EVERYTHING, state, source="message", evidence=f"wrote “{message.text[:100]}”", at=message.at
    )
    if news:
        answer(
            session, desk, message, "opted_out" if said == "stop" else "opted_in", because=f"the customer wrote {said}"
        )
