"""Opening checkouts for customers who want to pay, asking gateways what became of them, and closing those that nobody
should pay any more.

A gateway's webhook is the quick way to hear of a payment and polling the sure one: each open checkout is asked for at
widening intervals, and for days after its end, because banks are late. What is new in an answer goes through the door
of webhooks, so money that was pushed and polled is one payment.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import select
from sqlalchemy.orm import selectinload

from .access import open_account
from .checkpoints import reached
from .db import Session
from .errors import ConfigurationError, DastakError, NotUnderstood, OutcomeUnknown, PermanentError, TransientError
from .events import Fact, PaymentChanged
from .house import House
from .ingest import post
from .intents import CHECKOUT, PaymentIntent, current, intent_of, open_intent, payable
from .orders import Order
from .payments import ask_soon, is_news, merchant_of
from .ports import Account, Checkout, FindsCheckouts, GoesOn, PaymentAsked, WebhookRequest, Withdraws, offers
from .stores import Connection, Store, hurry
from .values import clean

log = structlog.get_logger(__name__)

CALLS = 30
"""Questions of one run: it stays far inside the chore's lease."""

_FAULTS = 3
_CLAIMED = timedelta(minutes=15)
_REFUSED = timedelta(minutes=10)
_OPENING = timedelta(seconds=30)
"""How long another request may take to open a checkout before it is taken to have died over it."""

_WHILE_OPEN = tuple(timedelta(minutes=minutes) for minutes in (1, 3, 10, 30, 120, 360))
_AFTER_END = (timedelta(minutes=1), *(timedelta(days=days) for days in (1, 2, 3)))
_AFTER_PAID = tuple(timedelta(days=days) for days in (1, 3, 7, 14, 30))
"""Refunds and reversals that a gateway tells nobody of are seen then."""


class NotAsked(DastakError):
    """Nothing is to be paid (any more), so no checkout is opened."""


def next_poll(intent: PaymentIntent, now: datetime) -> datetime | None:
    """When to ask about an intent again; None when never."""
    if intent.opened_at is None:
        return None
    begun, end = intent.opened_at, intent.expires_at
    if intent.state == "paid":
        moments = [begun + after for after in _AFTER_PAID]
    else:
        moments = [*(begun + after for after in _WHILE_OPEN), *(end + after for after in _AFTER_END)]
    return min((moment for moment in moments if moment > now), default=None)


# -- opening -------------------------------------------------------------------------------------------------------


def open_checkout(house: House, store_id: int, token: str, return_url: str) -> Checkout:
    """A checkout for what the order behind a token is asked for now: the one that stands, or a new one. Raises NotAsked
    when nothing is to be paid, TransientError and OutcomeUnknown when it is to be tried again, ConfigurationError and
    PermanentError when the gateway will not, or it was tried too often today.
    """
    with house.db.lane(store_id) as session:
        intent = _to_open(session, token)
        if not _stands(session, intent):
            raise ConfigurationError("The shop takes no payments there any more.")
        if intent.url:
            return Checkout(url=intent.url, gateway_id=intent.gateway_id)
        adapter, now = house.registry.find("payments", intent.name), session.now()
        if adapter is None:
            raise NotAsked("this gateway is not spoken to any more")
        if intent.opening_at is not None and now < intent.opening_at + _OPENING:
            raise TransientError("this payment is being opened already", retry_after=5)
        look_first = intent.opening_at is not None and offers(adapter, FindsCheckouts)
        if intent.opening_at is not None and not look_first:
            intent = _anew(session, intent)
        if intent.opened_at is None:
            intent.expires_at = min(max(intent.expires_at, now + adapter.shortest), now + adapter.longest)
        intent.opening_at, intent.opened_at = now, intent.opened_at or now
        intent.poll_at = next_poll(intent, now)
        session.flush()
        intent_id, connection_id = intent.id, intent.connection_id
        asked = _asked(session, intent, return_url)
    assert connection_id is not None
    reached("checkout.after_claim")
    try:
        account = open_account(house, store_id, connection_id)
        asked = replace(asked, notify_url=address_of_webhook(house, adapter.name, account))
        found = adapter.find_checkout(account, asked.reference) if look_first else None
        checkout: Checkout = found or adapter.checkout(account, asked)
    except OutcomeUnknown:
        raise  # it may stand at the gateway: it is looked for before another is opened
    except DastakError:
        if not look_first:  # else it is as much in doubt as before
            _opened(house, store_id, intent_id, None)
        raise
    reached("checkout.after_call")
    _opened(house, store_id, intent_id, checkout)
    return checkout


def _to_open(session: Session, token: str) -> PaymentIntent:
    """The intent to open a checkout for; a new attempt where the one before came to nothing. A form can be posted once,
    so whoever comes back to pay gets a new one.
    """
    named = intent_of(session, token)
    intent = current(named.order) if named is not None else None
    if intent is None or not payable(intent) or intent.kind != CHECKOUT:
        raise NotAsked("nothing is to be paid here any more")
    spent = intent.opened_at is not None and intent.opening_at is None and not intent.url
    return _anew(session, intent) if spent or not intent.waits(session.now()) else intent


def _stands(session: Session, intent: PaymentIntent) -> bool:
    """Is the account that an intent is paid to still the merchant's?"""
    connection = session.get(Connection, intent.connection_id) if intent.connection_id is not None else None
    return connection is not None and connection.removed_at is None


def _opened(house: House, store_id: int, intent_id: int, checkout: Checkout | None) -> None:
    """A checkout stands, or it certainly does not."""
    with house.db.lane(store_id) as session:
        intent = session.get_one(PaymentIntent, intent_id)
        intent.opening_at = None
        if checkout is None:
            intent.opened_at, intent.poll_at = None, None
            return
        intent.gateway_id = checkout.gateway_id[:128]
        intent.url = "" if checkout.fields else checkout.url[:1000]
        if intent.connection_id is not None:
            hurry(session, intent.connection_id, "collect", after=_WHILE_OPEN[0])


MOST_ATTEMPTS = 40
"""Checkouts of one order in a day: whoever presses on and on gets no more of them."""


def _anew(session: Session, intent: PaymentIntent) -> PaymentIntent:
    since = session.now() - timedelta(days=1)
    if sum(one.created_at > since for one in intent.order.intents) >= MOST_ATTEMPTS:
        raise PermanentError("this order was tried too often today")
    return open_intent(session, intent.order, intent.means, intent.anew.amount)


def _asked(session: Session, intent: PaymentIntent, return_url: str) -> PaymentAsked:
    order, store = intent.order, session.get_one(Store, session.store_id)
    return PaymentAsked(
        reference=intent.reference,
        amount=intent.money,
        order_name=clean(order.name, 40),
        store_name=clean(store.name, 60),
        name=clean(order.customer_name, 80),
        phone=(order.contact.phone if order.contact is not None else None) or "",
        email=order.customer.email if order.customer is not None else "",
        return_url=return_url,
        at=session.now(),
        expires_at=intent.expires_at,
    )


def address_of_webhook(house: House, adapter: str, account: Account) -> str:
    """Where a gateway tells us of this account; empty while it has no such address."""
    token = account.credentials.get("address_token", "")
    return f"{house.settings.public_url}/webhooks/payments/{adapter}/{token}" if token else ""


def came_back(house: House, store_id: int, token: str, query: Mapping[str, str], return_url: str) -> Checkout | None:
    """A customer's browser is back from a gateway. What it brings proves nothing: the gateway is asked at once. Returns
    the next step where the checkout has one.
    """
    with house.db.lane(store_id) as session:
        named = intent_of(session, token)
        if named is None:
            return None
        for intent in named.order.intents[-3:]:
            ask_soon(session, intent)
        paid = current(named.order) or named  # an older link leads to what is asked for now
        goes_on = payable(paid) and paid.waits(session.now())
        name, connection_id, bells = paid.name, paid.connection_id, set(session.bells)
    house.ring_all(bells, store_id)
    adapter = house.registry.find("payments", name)
    if adapter is None or connection_id is None or not goes_on or not offers(adapter, GoesOn):
        return None
    further: Checkout | None = adapter.go_on(open_account(house, store_id, connection_id), query, return_url)
    return further


# -- asking --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Due:
    intent_id: int
    until: datetime
    """For how long nobody else asks about it."""
    reference: str
    gateway_id: str
    withdraw: bool


def collect(house: House, store_id: int, connection_id: int) -> str:
    """Ask one gateway about the intents of one store that are due, and close there what nobody should pay any more.
    Raises what the gateway's adapter raises.
    """
    due = _claim(house, store_id, connection_id)
    if not due:
        return "no payment is due to be asked about"
    account = open_account(house, store_id, connection_id)
    with house.db.read(store_id) as session:
        connection = session.get_one(Connection, connection_id)
    adapter = house.registry.get("payments", connection.adapter)
    news, faults = 0, []
    for nth, one in enumerate(due):
        if nth:
            time.sleep(1 / house.settings.courier_rate)
        try:
            if one.withdraw and offers(adapter, Withdraws):
                adapter.withdraw(account, one.reference, one.gateway_id)
            answer = adapter.inquire(account, one.reference, one.gateway_id)
        except (TransientError, OutcomeUnknown) as fault:
            faults.append(fault)
            _put_off(house, store_id, one)
            if len(faults) >= _FAULTS:
                raise
            continue
        except PermanentError as fault:  # of this one alone: it is not asked for ever
            log.warning("collect.refused", gateway=adapter.name, intent_id=one.intent_id, reason=fault.reason)
            answer = None
        news += _hear(house, connection, adapter, one, answer)
    if faults:
        raise faults[0]
    with house.db.lane(store_id) as session:
        connection = session.get_one(Connection, connection_id)
        if connection.health == "broken":
            connection.mended()
        if len(due) == CALLS:
            hurry(session, connection_id, "collect", after=timedelta(seconds=5))
    return f"{len(due)} payments asked about, {news} answers with something new"


def _claim(house: House, store_id: int, connection_id: int) -> list[_Due]:
    """What to ask about now, put off so that nobody else asks meanwhile."""
    with house.db.lane(store_id) as session:
        due = session.scalars(
            select(PaymentIntent)
            .where(PaymentIntent.poll_at <= session.now(), PaymentIntent.connection_id == connection_id)
            .order_by(PaymentIntent.poll_at, PaymentIntent.id)
            .limit(CALLS)
        ).all()
        until = session.now() + _CLAIMED
        for intent in due:
            intent.poll_at = until
        return [_Due(intent.id, until, intent.reference, intent.gateway_id, intent.withdraw) for intent in due]


def _hear(house: House, connection: Connection, adapter: Any, one: _Due, answer: WebhookRequest | None) -> int:
    """Post an answer to ourselves if it says anything new, and set when to ask again. 1 when it did."""
    new = _says_anything_new(house, connection, adapter, one, answer)
    if new and answer is not None:  # before it is noted that it was asked about: nothing is lost in between
        post(house, connection, [answer])
    with house.db.lane(connection.store_id) as session:
        intent = session.get_one(PaymentIntent, one.intent_id)
        if intent.poll_at == one.until:  # else somebody wished for it meanwhile
            intent.poll_at = next_poll(intent, session.now())
        if one.withdraw:
            intent.withdraw = False
    return int(new)


def _says_anything_new(
    house: House, connection: Connection, adapter: Any, one: _Due, answer: WebhookRequest | None
) -> bool:
    if answer is None:
        return False
    try:
        facts: Sequence[Fact] = adapter.parse(answer)
    except NotUnderstood:
        return True  # posted all the same, and shown as such
    said = [fact for fact in facts if isinstance(fact, PaymentChanged)]
    merchant = merchant_of(connection)
    with house.db.read(connection.store_id) as session:
        intent = session.get_one(
            PaymentIntent, one.intent_id, options=[selectinload(PaymentIntent.order).selectinload(Order.payments)]
        )
        return any(is_news(intent, fact, merchant) for fact in said)


def _put_off(house: House, store_id: int, one: _Due) -> None:
    with house.db.lane(store_id) as session:
        intent = session.get_one(PaymentIntent, one.intent_id)
        if intent.poll_at == one.until:
            intent.poll_at = session.now() + _REFUSED
