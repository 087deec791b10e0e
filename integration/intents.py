"""Asking for money: what a customer was asked to pay, by which means and until when, so that every word of a gateway or
a customer can be matched to what was asked for.

An intent is one attempt to get one amount for one order. Its reference is what the money is called at the gateway or in
the transfer's note; a new attempt has a new one. What becomes of the money is derived elsewhere, see money.py and
payments.py; an intent only knows whether it is still open.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint, select, text
from sqlalchemy.orm import Mapped, mapped_column, relationship, selectinload
from sqlalchemy.orm.attributes import set_committed_value

from .db import Amount, Base, Database, Id, Instant, Session, Tenant
from .money import AWAITED, SETTLED
from .orders import Order, whole
from .stores import Policy, Store
from .values import Money

CHECKOUT, TRANSFER = "checkout", "transfer"
"""Means: a gateway's page, or a transfer by hand to an account of the merchant's."""


@dataclass(frozen=True, slots=True)
class Means:
    """How an order can be paid. `name` is the gateway's adapter, or the wallet (transactions.py) of the account."""

    kind: str
    name: str
    label: str
    connection_id: int | None = None


class PaymentIntent(Tenant, Base):
    """One attempt to be paid one amount for one order."""

    __tablename__ = "payment_intents"
    __table_args__ = (
        UniqueConstraint("store_id", "reference", name="one_intent_per_reference"),
        Index("intents_by_token", "token", unique=True),
        Index("intents_by_gateway_id", "store_id", "name", "gateway_id"),
        Index("intents_due", "store_id", "poll_at",
              sqlite_where=text("poll_at IS NOT NULL"), postgresql_where=text("poll_at IS NOT NULL")),
    )  # fmt: skip

    id: Mapped[int] = mapped_column(Id, primary_key=True, sort_order=-2)
    order_id: Mapped[int] = mapped_column(Id, ForeignKey("orders.id", ondelete="CASCADE"), index=True)
    kind: Mapped[str] = mapped_column(String(12))
    """checkout or transfer."""
    name: Mapped[str] = mapped_column(String(32))
    """The gateway's adapter, or the wallet that the money is sent to."""
    label: Mapped[str] = mapped_column(String(60), default="")
    """How people call the gateway or wallet."""
    connection_id: Mapped[int | None] = mapped_column(Id, default=None)
    reference: Mapped[str] = mapped_column(String(24))
    token: Mapped[str] = mapped_column(String(32), default=lambda: secrets.token_urlsafe(16))
    """Names it to whoever pays it: in the address of its page. Unguessable."""
    amount: Mapped[Decimal] = mapped_column(Amount)
    currency: Mapped[str] = mapped_column(String(3))
    state: Mapped[str] = mapped_column(String(12), default="open")
    """open, paid, failed, expired or closed (by us: the order was sent, cancelled or paid otherwise)."""
    sentence: Mapped[str] = mapped_column(String(200), default="")
    gateway_id: Mapped[str] = mapped_column(String(128), default="")
    """The gateway's own id of its checkout."""
    url: Mapped[str] = mapped_column(String(1000), default="")
    """Where the checkout is, of gateways whose checkout is a page to open."""
    created_at: Mapped[datetime] = mapped_column(Instant)
    opened_at: Mapped[datetime | None] = mapped_column(Instant, default=None)
    """When its checkout was first asked of the gateway, whether or not an answer came."""
    opening_at: Mapped[datetime | None] = mapped_column(Instant, default=None)
    """When it is being asked for; kept when no answer came, and then it may stand all the same."""
    expires_at: Mapped[datetime] = mapped_column(Instant)
    poll_at: Mapped[datetime | None] = mapped_column(Instant, default=None)
    """When to ask the gateway about it again."""
    withdraw: Mapped[bool] = mapped_column(default=False)
    """Its checkout is still to be closed at the gateway."""

    order: Mapped[Order] = relationship(viewonly=True)

    @property
    def money(self) -> Money:
        return Money(self.amount, self.currency)

    @property
    def means(self) -> Means:
        return Means(self.kind, self.name, self.label, self.connection_id)

    @property
    def anew(self) -> Money:
        """What a new attempt asks for: the same, or what is left of it."""
        return Money(min(self.amount, self.order.due.amount), self.currency)

    def waits(self, now: datetime) -> bool:
        """May it still be paid?"""
        return self.state == "open" and now < self.expires_at

    def close(self, why: str, now: datetime) -> None:
        """It is not wanted any more. One whose checkout stands at a gateway is withdrawn there."""
        self.state, self.sentence = "closed", why[:200]
        if self.kind == CHECKOUT and self.opened_at is not None:
            self.withdraw, self.poll_at = True, now


ASKED_FOR = timedelta(days=7)
"""How long money that was asked for may still be paid on our page, unless its gateway gives it less."""


def open_intent(
    session: Session, order: Order, means: Means, amount: Decimal, lives: timedelta = ASKED_FOR
) -> PaymentIntent:
    """Ask for an amount. What was asked for before, and not paid, gives way."""
    now = session.now()
    close_intents(session, order, "it was asked for anew")
    intent = PaymentIntent(
        store_id=order.store_id,
        kind=means.kind,
        name=means.name,
        label=means.label,
        connection_id=means.connection_id,
        reference=_reference(session, order, means.kind),
        amount=amount,
        currency=order.currency,
        created_at=now,
        expires_at=now + lives,
    )
    set_committed_value(intent, "order", order)
    order.intents.append(intent)
    session.append(intent, order_id=order)
    return intent


def ask_for_the_rest(session: Session, order: Order, was_due: Decimal) -> None:
    """What an order's customer owes has changed, because a part came or the order is another: whoever was asked for all
    of it is asked for what is due now, by the same means. Who was asked for a part still is, unless less is due by now.
    """
    asked, due = current(order), order.due.amount
    if asked is None or due == was_due or (asked.amount != was_due and asked.amount <= due):
        return
    if payable(asked) or (asked.state == "paid" and order.payment in AWAITED):
        open_intent(session, order, asked.means, due)


def close_intents(session: Session, order: Order, why: str) -> None:
    """Nothing more is to be paid by what was asked for so far."""
    for intent in order.intents:
        if intent.state in ("open", "failed"):
            intent.close(why, session.now())


def _reference(session: Session, order: Order, kind: str) -> str:
    """`1001-1`, the order's name and the attempt, in the letters that every gateway takes: people write it as a note.
    At a gateway `1001-1X7` is the store's own too, because two stores may share an account there. Of two orders whose
    names differ only in other letters the later one has our own number for it.
    """
    plain = re.sub(r"[^A-Za-z0-9]", "", order.name)[:11]
    attempt = f"{len(order.intents) + 1}" + (f"X{_short(order.store_id)}" if kind == CHECKOUT else "")
    wanted = f"{plain}-{attempt}"
    session.flush()  # one of this very batch may have it
    if plain and session.scalar(select(PaymentIntent.id).where(PaymentIntent.reference == wanted)) is None:
        return wanted
    return f"X{_short(order.id)}-{attempt}"


def _short(number: int) -> str:
    """A number in the 36 digits and letters."""
    digits = ""
    while number or not digits:
        number, digit = divmod(number, 36)
        digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"[digit] + digits
    return digits


def payable(intent: PaymentIntent) -> bool:
    """Is the money still wanted that an intent asks for? One that failed or expired may be asked for anew."""
    order = intent.order
    if order.gone or order.removed_at is not None or order.erased_at is not None or order.dispatched:
        return False
    if order.payment in SETTLED - {"cod_due"}:
        return False
    return intent.state in ("open", "failed", "expired")


_TOKEN = re.compile(r"[A-Za-z0-9_-]{22}")


def store_of(db: Database, token: str) -> int | None:
    """Which store an intent's token belongs to, as long as that store is with us. The token alone admits, as a parcel's
    does: it has 128 random bits and is found through an index.
    """
    if not _TOKEN.fullmatch(token):
        return None
    with db.operator() as session:
        query = select(PaymentIntent.store_id).join(Store, Store.id == PaymentIntent.store_id)
        living = (Store.uninstalled_at.is_(None), Store.erased_at.is_(None))
        return session.scalar(query.where(PaymentIntent.token == token, *living))


def intent_of(session: Session, token: str) -> PaymentIntent | None:
    """The intent behind a token, with its order and all that was asked for it."""
    found = select(PaymentIntent).where(PaymentIntent.token == token)
    return session.scalars(found.options(selectinload(PaymentIntent.order).options(*whole()))).first()


def asks_by(order: Order) -> str:
    """By what an order's customer is asked for money now: transfer or checkout; empty when for nothing."""
    asked = current(order)
    return asked.kind if asked is not None and payable(asked) else ""


def asks_for_all(order: Order) -> str:
    """Is all that is due asked for now? yes or no."""
    asked = current(order)
    return "yes" if asked is not None and payable(asked) and asked.amount == order.due.amount else "no"


def current(order: Order) -> PaymentIntent | None:
    """What an order's customer is asked for now: the newest of its intents."""
    return order.intents[-1] if order.intents else None


def called(names: Iterable[str], gateways: str) -> bool:
    """Is one of an order's payment methods, as its store names them, one of these names? Compared whole, word by word
    in small letters.
    """
    wanted = {plain_words(name) for name in names}
    return any(plain_words(method) in wanted for method in gateways.split(","))


def plain_words(name: str) -> str:
    return " ".join(re.split(r"[\W_]+", name.casefold())).strip()


@dataclass(frozen=True, slots=True)
class TransferAccount:
    """An account of the merchant's that customers send money to by hand. `names` are what the store calls payment to
    it, beside what its wallet is usually called.
    """

    wallet: str
    title: str
    number: str
    bank: str = ""
    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> TransferAccount:
        return cls(**{**stored, "names": tuple(stored.get("names", ()))})

    def stored(self) -> dict[str, Any]:
        kept = {"wallet": self.wallet, "title": self.title, "number": self.number}
        if self.bank:
            kept["bank"] = self.bank
        return kept | ({"names": list(self.names)} if self.names else {})

    def one_line(self) -> str:
        return ", ".join(part for part in (self.bank, self.number, self.title) if part)


def account_of(intent: PaymentIntent, store: Store) -> TransferAccount | None:
    """The account that the money of an intent is to be sent to; None of a checkout, or when the merchant took it
    away.
    """
    if intent.kind != TRANSFER:
        return None
    return next((account for account in accounts_of(store.policy) if account.wallet == intent.name), None)


def accounts_of(policy: Policy) -> list[TransferAccount]:
    return [TransferAccount.of(stored) for stored in policy.transfers]
