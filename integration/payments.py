"""Hearing of money: what a gateway says, what a merchant saw, and what follows from it.

Every word is matched to what was asked for. One that fits counts; one that does not (another amount, another currency,
paid to somebody else) is kept with the reason, moves nothing, and is shown. What all words come to is derived
(money.py), so that words may come twice, late and in any order.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import selectinload

from .db import Session
from .errors import NotUnderstood
from .events import UNKNOWN, PaymentChanged, PaymentHinted
from .inbox import conversation_with
from .intents import PaymentIntent, ask_for_the_rest
from .money import SAID, Standing, becomes, standing
from .orders import Book, Change, Moves, Order, Payment, append_payment, let_go, whole, words_of
from .outbox import put_write_back
from .ports import PaymentTold
from .stores import Connection, hurry
from .values import Money

_STATES = {"paid": "paid", "failed": "failed", "expired": "expired", "cancelled": "failed"}
"""What a gateway's word makes of an intent that is not paid. One that failed may be tried anew, and be paid yet; so may
one whose customer pressed Cancel there.
"""


_A_MOMENT = timedelta(seconds=1)


def find_intent(session: Session, gateway: str, reference: str, gateway_id: str = "") -> PaymentIntent | None:
    """What was asked for under this reference of ours, or under the gateway's own id of its checkout."""
    session.flush()  # it may be of this very transaction
    asked = select(PaymentIntent).where(PaymentIntent.name == gateway).limit(1)
    asked = asked.options(selectinload(PaymentIntent.order).options(*whole(), selectinload(Order.payments)))
    if reference:  # what names somebody else's is not ours, whatever else it says
        return session.scalars(asked.where(PaymentIntent.reference == reference[:24])).first()
    return session.scalars(asked.where(PaymentIntent.gateway_id == gateway_id[:128])).first() if gateway_id else None


def apply_payment(
    book: Book,
    fact: PaymentChanged,
    gateway: str,
    *,
    merchant: str = "",
    label: str = "",
    delivery_id: int | None = None,
) -> list[Change]:
    """A gateway spoke about money. `merchant` is who the merchant is there, `label` how people call the gateway. Raises
    NotUnderstood when nobody here asked for it.
    """
    session = book.session
    intent = find_intent(session, gateway, fact.order_ref, fact.checkout_ref)
    if intent is None:
        raise NotUnderstood(f"a payment that nobody here asked for ({fact.order_ref[:24] or 'without a reference'})")
    order = intent.order
    source, status, reference, amount, raw = _said(intent, fact)
    misfit = _misfit(intent, fact, amount, merchant)
    if _heard(intent, fact, misfit):
        return []
    if fact.status == "paid" and intent.gateway_id and not fact.checkout_ref:
        ask_soon(session, intent)  # what names no checkout may name us by what its payer typed: the checkout is asked
        return []
    append_payment(
        session,
        order,
        source=source,
        status=status,
        raw_status=raw,
        reference=reference,
        amount=amount.amount if amount is not None else None,
        currency=amount.currency if amount is not None else "",
        at=fact.occurred_at,
        delivery_id=delivery_id,
        intent_id=intent.id,
        sentence=misfit[:200],
    )
    if misfit:
        alert(session, order, f"{label or gateway}: {misfit}", fact.occurred_at)
        return []
    if fact.status == UNKNOWN or fact.status not in SAID:
        return []
    became = _STATES.get(fact.status)
    if became == "paid" or (became is not None and intent.state in ("open", "failed")):
        intent.state, intent.sentence = became, ""
    return follow(session, order, "gateway", fact.occurred_at, reference, label or gateway, delivery_id=delivery_id)


def merchant_of(connection: Connection | None) -> str:
    """Who the merchant is in what a gateway tells, where that is known: see ports.PaymentAdapter.merchant_field."""
    return str(connection.state.get("merchant", "")) if connection is not None else ""


def is_news(intent: PaymentIntent, fact: PaymentChanged, merchant: str = "") -> bool:
    """Would applying this change anything? Polling asks before it posts what it was told."""
    return not _heard(intent, fact, _misfit(intent, fact, _said(intent, fact)[3], merchant))


def _said(intent: PaymentIntent, fact: PaymentChanged) -> tuple[str, str, str, Money | None, str]:
    """A word as it is kept: source, status, reference, amount, and how it was said."""
    amount = fact.amount
    if amount is None and fact.status in ("paid", "refunded"):
        amount = intent.money  # the gateway states none: what was asked for under this reference is what it speaks of
    reference = (fact.attempt_ref or fact.checkout_ref or intent.reference)[:128]
    return intent.name, fact.status[:24], reference, amount, fact.raw_status[:64]


def _heard(intent: PaymentIntent, fact: PaymentChanged, misfit: str) -> bool:
    """Was just this said before? A webhook and an answer may say one thing in two ways, so how it was said counts only
    for what has no amount.
    """
    source, status, reference, amount, raw = _said(intent, fact)
    how = (amount.amount, amount.currency) if amount is not None else (None, raw)
    return any(
        (p.source, p.status, p.reference) == (source, status, reference)
        and how == ((p.amount, p.currency) if p.amount is not None else (None, p.raw_status))
        and bool(p.sentence) == bool(misfit)
        for p in intent.order.payments
    )


def _misfit(intent: PaymentIntent, fact: PaymentChanged, amount: Money | None, merchant: str) -> str:
    """Why a word does not count; empty when it fits what was asked for."""
    if intent.gateway_id and fact.checkout_ref and fact.checkout_ref != intent.gateway_id:
        return "it is of another checkout than the one that was opened for this order"
    if merchant and fact.merchant and fact.merchant != merchant:
        return "it was paid to another account than yours"
    if amount is None:
        return ""
    if amount.currency != intent.currency:
        return f"{amount.shown('en')} came, in another currency than the {intent.money.shown('en')} asked for"
    if amount.amount <= 0:
        return "an amount of nothing"
    if fact.status == "paid" and amount.amount != intent.amount:
        return f"{amount.shown('en')} came where {intent.money.shown('en')} was asked for"
    return ""


def hint(session: Session, fact: PaymentHinted, gateway: str) -> bool:
    """Somebody says, without proof, that something became of a payment: the gateway is asked at once."""
    intent = find_intent(session, gateway, fact.order_ref)
    if intent is None:
        return False
    ask_soon(session, intent)
    return True


def ask_soon(session: Session, intent: PaymentIntent) -> None:
    """Have the gateway asked what became of an intent, unless it is to be asked in a moment anyway: whoever has the
    address of a payment's page can wish for this as often as they like.
    """
    now = session.now()
    if intent.opened_at is None or intent.connection_id is None:
        return
    if intent.poll_at is None or intent.poll_at > now + 5 * _A_MOMENT:
        intent.poll_at = now + _A_MOMENT
        hurry(session, intent.connection_id, "collect", after=_A_MOMENT)


def follow(
    session: Session,
    order: Order,
    cause: str,
    at: datetime,
    reference: str,
    means: str,
    *,
    note: str = "",
    delivery_id: int | None = None,
) -> list[Change]:
    """What follows from all that was said of an order's money, after a word more."""
    was, stands = order.received, standing(words_of(order), order.owed, is_cod=order.is_cod)
    moves = Moves(session, order, cause, at, delivery_id)
    due_before, paid_in_store = order.due, order.payment == "paid" and order.received < order.owed
    order.received = stands.received
    moves.to("payment", becomes(order.payment, stands), note=note or f"{means} {reference}")
    if order.payment in ("paid", "partially_refunded", "refunded") and order.confirmation in ("awaiting", "expired"):
        moves.to("confirmation", "not_needed", note="it was paid before an answer came")
    let_go(order, moves)
    ask_for_the_rest(session, order, due_before.amount)
    if stands.received > was:
        gained = Money(stands.received - was, order.currency)
        _tell_store(session, order, gained, reference, means, at)
        if paid_in_store:
            came = gained.shown("en")
            alert(session, order, f"{came} came here, and the store says it was paid there: perhaps twice", at)
        _look_closely(session, order, stands, gained, due_before, at)
    if stands.disputed and any(p.status == "disputed" and p.at == at for p in order.payments):
        alert(session, order, "the payment is disputed: answer the gateway in time", at)
    return moves.made


def _look_closely(
    session: Session, order: Order, stands: Standing, gained: Money, due_before: Money, at: datetime
) -> None:
    """Money that came where none is expected any more is the merchant's to give back, or to tell the rider of."""
    came = gained.shown("en")
    if order.gone:
        alert(session, order, f"{came} was paid for an order that is cancelled: please pay it back", at)
    elif stands.received + stands.refunded > order.owed:
        over = Money(stands.received + stands.refunded - order.owed, order.currency)
        alert(session, order, f"{over.shown('en')} more was paid than the order costs", at)
    elif order.dispatched and order.is_cod and due_before.amount > 0:
        alert(session, order, f"{came} was paid while the parcel is on its way: tell the courier what to collect", at)
    elif order.payment == "refunded":
        alert(session, order, f"{came} was paid for an order that was refunded", at)


def _tell_store(session: Session, order: Order, gained: Money, reference: str, means: str, at: datetime) -> None:
    whole_ = order.payment == "paid"
    amount = gained.shown("en")
    told = PaymentTold(
        order_id=order.external_id,
        reference=reference,
        means=means,
        amount=format(gained.amount, "f"),
        currency=gained.currency,
        whole=whole_,
        note=f"{amount} received by {means} ({reference})."
        if whole_
        else f"{amount} of it received by {means} ({reference}).",
        at=at,
    )
    put_write_back(session, order, f"paid/{reference[:48]}/{gained.amount.normalize():f}", told)


def alert(session: Session, order: Order, why: str, at: datetime) -> None:
    """Something about an order's money is for a person to look at."""
    if order.contact is not None:
        conversation_with(session, order.contact).call_for_person(f"{order.name}: {why}", at)


def misfits(session: Session, limit: int = 50) -> list[tuple[Payment, Order]]:
    """Words that do not fit what was asked for, the newest first."""
    query = select(Payment, Order).join(Order, Order.id == Payment.order_id).where(Payment.sentence != "")
    return [(row[0], row[1]) for row in session.execute(query.order_by(Payment.id.desc()).limit(limit))]
