"""What customers say they have paid by hand, and what the merchant's own account says of it.

A claim proves nothing: an id can be typed and a picture drawn. An order moves only when the money is seen in the
merchant's account, in a statement that was read here or by the merchant's own eyes. A transaction id pays once, for
ever: given a second time, it is shown with where it was given first.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from io import BytesIO
from typing import Any

from PIL import Image
from sqlalchemy import ColumnElement, ForeignKey, Index, LargeBinary, String, UniqueConstraint, select
from sqlalchemy.orm import Mapped, mapped_column, relationship, selectinload

from . import statements
from .access import open_account
from .answers import answer
from .customers import ContactPoint
from .db import Amount, Base, Id, Instant, Session, Tenant
from .errors import ConfigurationError, OutcomeUnknown, PermanentError, TransientError
from .house import House
from .inbox import Message
from .intents import TRANSFER, PaymentIntent, accounts_of, asks_by
from .journeys import Settled, ask_again, react
from .money import AWAITED, CLAIM
from .orders import Order, append_payment, language_for, whole
from .outbox import Desk
from .payments import alert, follow
from .ports import FetchesMedia, offers
from .statements import Line
from .stores import Connection, hurry
from .transactions import dialled, ids_in, numbers
from .values import Money

MOST_PICTURE = 8 * 1024 * 1024
_RECENT = timedelta(days=60)
_PICTURE_TRIES = 8
_ALIKE = 4
"""Bits (of 64) in which two pictures may differ and still be one that was sent twice."""


class StatementLine(Tenant, Base):
    """One payment that came in, as the merchant's own statement shows it. The same line read twice is one row."""

    __tablename__ = "statement_lines"
    __table_args__ = (
        UniqueConstraint("store_id", "wallet", "key", name="one_row_per_line"),
        Index("lines_by_time", "store_id", "wallet", "seen_at"),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True, sort_order=-2)
    wallet: Mapped[str] = mapped_column(String(32))
    key: Mapped[str] = mapped_column(String(64))
    reference: Mapped[str] = mapped_column(String(64))
    amount: Mapped[Decimal] = mapped_column(Amount)
    at: Mapped[datetime | None] = mapped_column(Instant, default=None)
    sender: Mapped[str] = mapped_column(String(40), default="")
    name: Mapped[str] = mapped_column(String(120), default="")
    note: Mapped[str] = mapped_column(String(300), default="")
    number: Mapped[int] = mapped_column(default=0)
    """Its row in the file it was read from."""
    seen_at: Mapped[datetime] = mapped_column(Instant)


class Claim(Tenant, Base):
    """One thing a customer says they have paid."""

    __tablename__ = "claims"
    __table_args__ = (
        UniqueConstraint("store_id", "paid_key", name="one_payment_per_transaction"),
        Index("claims_by_key", "store_id", "key"),
        Index("claims_by_state", "store_id", "state"),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True, sort_order=-2)
    order_id: Mapped[int] = mapped_column(Id, ForeignKey("orders.id", ondelete="CASCADE"), index=True)
    intent_id: Mapped[int | None] = mapped_column(
        Id, ForeignKey("payment_intents.id", ondelete="SET NULL"), default=None
    )
    message_id: Mapped[int | None] = mapped_column(Id, default=None)
    """The message that it was made with; the newest one where it took several."""
    wallet: Mapped[str] = mapped_column(String(32))
    reference: Mapped[str] = mapped_column(String(64), default="")
    """The transaction id as it was read out of the message; empty while only a picture was sent."""
    key: Mapped[str] = mapped_column(String(64), default="")
    """The id as it is compared, of whichever wallet: ids of two wallets look alike, so nobody can tell them apart."""
    paid_key: Mapped[str | None] = mapped_column(String(64), default=None)
    """The key, once it is verified: a transaction pays once, for ever."""
    amount: Mapped[Decimal] = mapped_column(Amount)
    currency: Mapped[str] = mapped_column(String(3))
    state: Mapped[str] = mapped_column(String(12), default="open")
    """open, asked (the customer is to write the id again), verified or rejected."""
    finding: Mapped[str] = mapped_column(String(12), default="none")
    """What there is to say for or against it: exact, short, over, older, likely, used or none."""
    why: Mapped[str] = mapped_column(String(300), default="")
    line_id: Mapped[int | None] = mapped_column(Id, default=None)
    made_at: Mapped[datetime] = mapped_column(Instant)
    decided_at: Mapped[datetime | None] = mapped_column(Instant, default=None)
    decided_by: Mapped[str] = mapped_column(String(120), default="")
    note: Mapped[str] = mapped_column(String(300), default="")

    order: Mapped[Order] = relationship(viewonly=True)
    intent: Mapped[PaymentIntent | None] = relationship(viewonly=True)
    pictures: Mapped[list[Picture]] = relationship(viewonly=True, order_by="Picture.id")

    @property
    def money(self) -> Money:
        return Money(self.amount, self.currency)


class Picture(Tenant, Base):
    """A picture that a customer sent as proof. Kept and shown, never read."""

    __tablename__ = "pictures"
    __table_args__ = (
        UniqueConstraint("message_id", name="one_picture_per_message"),
        Index("pictures_by_state", "store_id", "state"),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True, sort_order=-2)
    message_id: Mapped[int] = mapped_column(Id, ForeignKey("messages.id", ondelete="CASCADE"))
    claim_id: Mapped[int | None] = mapped_column(Id, ForeignKey("claims.id", ondelete="CASCADE"), default=None)
    media_id: Mapped[str] = mapped_column(String(160))
    """The channel's name for it, for some days."""
    state: Mapped[str] = mapped_column(String(12), default="wanted")
    """wanted, kept or gone."""
    sentence: Mapped[str] = mapped_column(String(200), default="")
    kind: Mapped[str] = mapped_column(String(40), default="")
    """Its media type, read from its bytes; empty of what is no picture."""
    content: Mapped[bytes | None] = mapped_column(LargeBinary, default=None, deferred=True)
    digest: Mapped[str] = mapped_column(String(64), default="")
    likeness: Mapped[str] = mapped_column(String(16), default="")
    """64 bits of what it looks like: those of a picture that was only saved again are nearly the same."""
    attempts: Mapped[int] = mapped_column(default=0)
    seen_at: Mapped[datetime] = mapped_column(Instant)


def key_of(reference: str) -> str:
    """An id as it is compared: spreadsheets cut leading zeros off."""
    return reference.lstrip("0")


# -- hearing -------------------------------------------------------------------------------------------------------


def heard(session: Session, desk: Desk, settled: Settled, message: Message) -> bool:
    """Did a customer who was asked for a transfer write a transaction id, or send a picture? Then it is a claim."""
    orders = _asked(session, message.conversation.contact)
    if not orders:
        return False
    order = _meant(session, orders, message)
    intent = _transfer(order)
    text = message.text
    found = ids_in(
        text,
        channel=intent.name,
        not_these=_no_ids(desk, orders, message.conversation.contact),
        amounts=[one.amount for other in orders for one in other.intents],
    )
    picture = message.kind == "media" and (message.media or {}).get("type") in ("image", "document")
    if not found and not picture:
        return False
    if order.payment not in AWAITED and not (order.payment == "cod_due" and intent.waits(session.now())):
        return _settled_already(session, desk, message, order, [one.id for one in found])
    message.order_id = order.id
    if not found:
        claim = _open_claim(session, order) or _claim(session, desk, settled, message, order, intent, "")
        _keep_picture(session, desk, message, claim)
        if not claim.reference:
            _reply(session, desk, message, order, "claim_picture")
        return True
    for nth, one in enumerate(found[:3]):
        claim = _claim_id(session, desk, settled, message, order, intent, one.id, nth)
        if picture and nth == 0:
            _keep_picture(session, desk, message, claim)
    return True


def _settled_already(session: Session, desk: Desk, message: Message, order: Order, ids: Sequence[str]) -> bool:
    """The id of a payment that was decided, once more. Any other number is no claim: nothing is asked for any more."""
    known = select(Claim.id).where(Claim.order_id == order.id, Claim.key.in_([key_of(one) for one in ids]))
    if order.payment not in ("paid", "partially_refunded") or session.scalar(known.limit(1)) is None:
        return False
    message.order_id = order.id
    _reply(session, desk, message, order, "claim_paid")
    return True


def _asked(session: Session, contact: ContactPoint) -> list[Order]:
    """The orders of a customer that were asked to be paid by hand, those still waiting first, then the newest."""
    asked = select(PaymentIntent.order_id).where(PaymentIntent.kind == TRANSFER)
    found = session.scalars(
        select(Order)
        .where(
            Order.contact_point_id == contact.id,
            Order.id.in_(asked),
            Order.placed_at > session.now() - _RECENT,
            Order.removed_at.is_(None),
        )
        .order_by(Order.placed_at.desc(), Order.id.desc())
        .limit(10)
        .options(*whole(), selectinload(Order.payments))
    ).all()
    return sorted((order for order in found if not order.gone), key=lambda order: order.payment not in AWAITED)


def _transfer(order: Order) -> PaymentIntent:
    return next(intent for intent in reversed(order.intents) if intent.kind == TRANSFER)


def _meant(session: Session, orders: Sequence[Order], message: Message) -> Order:
    """The order that a message is about: the one it names, or answers, or whose amount it states; else the first."""
    if len(orders) == 1:
        return orders[0]
    words = set(re.findall(r"\w+", message.text.casefold()))
    for order in orders:
        if order.name.lstrip("#").casefold() in words:
            return order
    if message.context:
        answered = select(Message.order_id).where(Message.vendor_id == message.context)
        order_id = session.scalar(answered)
        for order in orders:
            if order.id == order_id:
                return order
    digits = re.sub(r"(?<=\d)[,.](?=\d{3})", "", message.text)
    stated = [o for o in orders if re.search(rf"(?<!\d){_transfer(o).amount.normalize():f}(?!\d)", digits)]
    return stated[0] if len(stated) == 1 else orders[0]


def _no_ids(desk: Desk, orders: Sequence[Order], contact: ContactPoint) -> list[str]:
    """What may stand in a message and is no transaction id: everybody's numbers, orders, our own references."""
    known = [contact.phone or "", *(account.number for account in accounts_of(desk.store.policy))]
    for order in orders:
        known += [order.name, order.external_id, *(intent.reference for intent in order.intents)]
    return [one for one in known if one]


def _claim_id(
    session: Session,
    desk: Desk,
    settled: Settled,
    message: Message,
    order: Order,
    intent: PaymentIntent,
    reference: str,
    nth: int,
) -> Claim:
    reference = reference[:64]
    same = select(Claim).where(Claim.key == key_of(reference)).order_by(Claim.id)
    before = session.scalars(same.options(selectinload(Claim.order))).all()
    standing = next((c for c in before if c.order_id == order.id and c.state in ("open", "verified")), None)
    if standing is not None and standing.state == "open":
        standing.message_id = message.id
        _reply(session, desk, message, order, "claim_known", nth, transaction=reference)
        return standing
    if standing is not None:  # it paid a part, and the rest is still missing
        _reply(session, desk, message, order, "claim_short", nth, **_so_far(desk, order))
        return standing
    for asked in session.scalars(select(Claim).where(Claim.order_id == order.id, Claim.state == "asked")):
        asked.state = "rejected"  # this is the answer
    claim = _open_claim(session, order, Claim.reference == "")
    if claim is None:
        claim = _claim(session, desk, settled, message, order, intent, reference)
    claim.reference, claim.key, claim.message_id, claim.state = reference, key_of(reference), message.id, "open"
    elsewhere = next((c for c in before if c.order_id != order.id), None)
    if elsewhere is not None:
        claim.finding, claim.why = "used", f"this id was given before, for order {elsewhere.order.name}"[:300]
        alert(session, order, f"the transaction id {reference} was given before", message.at)
        _reply(session, desk, message, order, "claim_used", nth, transaction=reference)
        return claim
    session.flush()
    compare(session, desk, settled, intent.name)
    if claim.state == "open":
        _reply(session, desk, message, order, "claim_received", nth, transaction=reference)
    return claim


def _open_claim(session: Session, order: Order, *which: ColumnElement[bool]) -> Claim | None:
    """The newest claim of an order that waits for a decision."""
    session.flush()
    open_ = select(Claim).where(Claim.order_id == order.id, Claim.state == "open", *which)
    return session.scalars(open_.order_by(Claim.id.desc()).limit(1)).first()


def _claim(
    session: Session,
    desk: Desk,
    settled: Settled,
    message: Message,
    order: Order,
    intent: PaymentIntent,
    reference: str,
) -> Claim:
    claim = Claim(
        store_id=order.store_id,
        order_id=order.id,
        intent_id=intent.id,
        message_id=message.id,
        wallet=intent.name,
        reference=reference,
        key=key_of(reference),
        amount=min(intent.amount, order.due.amount) if order.received else intent.amount,
        currency=intent.currency,
        made_at=session.now(),
    )
    session.add(claim)
    session.flush()
    note = f"the customer says it is paid ({reference or 'a picture'})"
    _word(session, claim, order, "claimed", message.at)
    react(session, desk, settled, follow(session, order, "customer", message.at, "", intent.label, note=note))
    return claim


def _word(session: Session, claim: Claim, order: Order, status: str, at: datetime) -> None:
    append_payment(
        session,
        order,
        source=CLAIM,
        status=status,
        raw_status=claim.reference,
        reference=f"claim:{claim.id}",
        amount=claim.amount,
        currency=claim.currency,
        at=at,
        intent_id=claim.intent_id,
    )


def _reply(
    session: Session, desk: Desk, message: Message, order: Order, reply: str, nth: int = 0, **given: str
) -> None:
    answer(session, desk, message, reply, order=order, because="the customer says it is paid", given=given, nth=nth)


# -- comparing -----------------------------------------------------------------------------------------------------


def take_in(session: Session, desk: Desk, settled: Settled, wallet: str, lines: Sequence[Line]) -> tuple[int, int]:
    """Lines of a statement: kept, and compared with what customers claim. (new lines, claims they proved)."""
    keys = {_key(line): line for line in lines}
    known = set(
        session.scalars(
            select(StatementLine.key).where(StatementLine.wallet == wallet, StatementLine.key.in_(list(keys)))
        )
    )
    for key, line in keys.items():
        if key not in known:
            row = StatementLine(
                store_id=session.store_id,
                wallet=wallet,
                key=key,
                reference=line.transaction[:64],
                amount=line.amount,
                at=line.at,
                sender=line.sender[:40],
                name=line.name[:120],
                note=line.note[:300],
                number=line.number,
                seen_at=session.now(),
            )
            session.append(row)
    session.flush()
    return len(keys) - len(known), compare(session, desk, settled, wallet)


def _key(line: Line) -> str:
    said = "|".join(
        (line.transaction, f"{line.amount.normalize():f}", line.at.isoformat() if line.at else "", line.raw)
    )
    return hashlib.sha256(said.encode()).hexdigest()


def compare(session: Session, desk: Desk, settled: Settled, wallet: str) -> int:
    """Hold open claims against the statement: what fits exactly is proven, of the rest is noted what is the matter.
    Returns how many were proven.
    """
    open_ = select(Claim).where(Claim.state.in_(("open", "asked")), Claim.wallet == wallet, Claim.finding != "used")
    recent = open_.where(Claim.made_at > session.now() - _RECENT)
    claims = session.scalars(recent.order_by(Claim.id).options(*_with_order()).limit(_COMPARED)).all()
    rows, spent = _unspent(session, wallet) if claims else ([], set())
    for claim in claims:
        if claim.key and claim.key in spent:
            claim.finding, claim.why = "used", "this payment of your statement has proven another order"
    claims = [claim for claim in claims if claim.finding != "used"]
    if not rows or not claims:
        return 0
    lines = [Line(r.reference, r.amount, r.at, r.sender, r.name, "", r.number, r.note) for r in rows]
    of = {id(line): row for line, row in zip(lines, rows, strict=True)}
    proven = 0
    for claim, found in zip(claims, statements.match([_claimed(claim) for claim in claims], lines), strict=True):
        row = of[id(found.line)] if found.line is not None else None
        claim.finding, claim.why = found.verdict, found.why[:300]
        claim.line_id = row.id if row is not None else None
        if found.verdict == "exact" and row is not None:
            try:
                verify(session, desk, settled, claim, row.amount, by="the statement")
            except Undecidable as fault:  # by hand, it has paid another order before
                claim.finding, claim.why = "used", str(fault)[:300]
            else:
                proven += 1
    return proven


def _unspent(session: Session, wallet: str) -> tuple[list[StatementLine], set[str]]:
    """The lines of a statement that have proven nothing yet, and every name of those that have: a payment may be listed
    twice, and has an id and perhaps numbers in its description, by each of which it can be claimed. A number in the
    descriptions of several payments, an account or a phone, names none of them.
    """
    since = session.now() - _RECENT
    of_wallet = select(StatementLine).where(StatementLine.wallet == wallet)
    rows = session.scalars(of_wallet.where(StatementLine.seen_at > since).order_by(StatementLine.id)).all()
    proved = select(Claim.paid_key, Claim.line_id).where(Claim.state == "verified", Claim.decided_at > since - _RECENT)
    decided = session.execute(proved).all()
    lines, keys = {line_id for _, line_id in decided}, {key for key, _ in decided if key}
    keys |= {key_of(row.reference) for row in rows if row.id in lines and row.reference}
    holders: dict[str, set[str]] = {}
    for row in rows:
        for name in (row.reference, *numbers(row.note)):
            if name == row.reference or not dialled(name):
                holders.setdefault(key_of(name), set()).add(key_of(row.reference) or row.note)
    sole = {key for key, payments in holders.items() if key and len(payments) == 1}
    named = [(row, {key_of(name) for name in (row.reference, *numbers(row.note))} & sole) for row in rows]
    spent = [names for row, names in named if row.id in lines or names & keys]
    unspent = [row for row, names in named if row.id not in lines and not names & keys]
    return unspent, set().union(*spent) if spent else set()


_COMPARED = 2_000
"""Claims that are compared with a statement at once."""


def _claimed(claim: Claim) -> statements.Claim:
    contact = claim.order.contact
    return statements.Claim(
        id=claim.reference,
        amount=claim.amount,
        asked_at=claim.order.placed_at,
        phones=(contact.phone,) if contact is not None and contact.phone else (),
    )


def _with_order() -> tuple[Any, ...]:
    return (selectinload(Claim.order).options(*whole(), selectinload(Order.payments)), selectinload(Claim.intent))


# -- deciding ------------------------------------------------------------------------------------------------------


class Undecidable(Exception):
    """A decision that cannot stand; says why, to the merchant."""


def open_claims(session: Session, limit: int = 100) -> Sequence[Claim]:
    """What waits for a decision, the oldest first."""
    waiting = select(Claim).where(Claim.state == "open").order_by(Claim.id).limit(limit)
    return session.scalars(waiting.options(*_with_order(), selectinload(Claim.pictures))).all()


def claim_of(session: Session, claim_id: int) -> Claim | None:
    return session.get(Claim, claim_id, options=_with_order()) if claim_id < 2**62 else None


def verify(
    session: Session,
    desk: Desk,
    settled: Settled,
    claim: Claim,
    amount: Decimal,
    *,
    by: str,
    reference: str = "",
    note: str = "",
) -> None:
    """The money was seen in the merchant's account. `reference` is the id that the merchant saw there, where it differs
    from what the customer wrote. Raises Undecidable.
    """
    order, now = claim.order, session.now()
    reference = (reference or claim.reference)[:64]
    if not reference:
        raise Undecidable("Enter the transaction id as your own statement shows it.")
    if claim.state == "verified":
        raise Undecidable("This payment is verified already.")
    paid = select(Claim).where(Claim.key == key_of(reference), Claim.state == "verified")
    other = session.scalars(paid.options(selectinload(Claim.order)).limit(1)).first()
    if other is not None:
        raise Undecidable(f"This transaction has already paid order {other.order.name}.")
    claim.reference, claim.key, claim.state = reference, key_of(reference), "verified"
    claim.paid_key = claim.key
    claim.decided_at, claim.decided_by, claim.note = now, by[:120], note[:300]
    line = session.get(StatementLine, claim.line_id) if claim.line_id is not None else None
    if line is not None and claim.key not in {key_of(name) for name in (line.reference, *numbers(line.note))}:
        claim.line_id = None  # the merchant saw another payment than the one that was suggested
    _word(session, claim, order, "verified", now)
    append_payment(
        session,
        order,
        source="statement" if by == "the statement" else "merchant",
        status="paid",
        reference=f"{claim.wallet}:{reference}",
        amount=amount,
        currency=claim.currency,
        at=now,
        intent_id=claim.intent_id,
    )
    if claim.intent is not None and amount >= claim.intent.amount:
        claim.intent.state = "paid"
    label = claim.intent.label if claim.intent is not None else claim.wallet
    said = f"{Money(amount, claim.currency).shown('en')} by {label} ({reference}), seen by {by}"
    changes = follow(session, order, "merchant", now, f"{claim.wallet}:{reference}", label, note=said)
    react(session, desk, settled, changes)
    if order.payment in AWAITED:
        _tell(session, desk, claim, "claim_short", **_so_far(desk, order))
    elif order.payment == "cod_due":
        _tell(session, desk, claim, "advance_received", **_so_far(desk, order))
    elif order.payment == "paid":
        _settle_others(session, claim, now)


def _settle_others(session: Session, claim: Claim, now: datetime) -> None:
    """What else was claimed for an order that is paid waits for no decision any more."""
    session.flush()
    others = select(Claim).where(Claim.order_id == claim.order_id, Claim.state.in_(("open", "asked")))
    for other in session.scalars(others):
        if other is not claim:
            other.state, other.decided_at, other.note = "rejected", now, "the order was paid by another payment"


def _so_far(desk: Desk, order: Order) -> dict[str, str]:
    """What came and what is missing, in the customer's language."""
    language = language_for(order, desk.store.policy)
    received = Money(order.received, order.currency)
    return {"received": received.shown(language), "missing": order.due.shown(language)}


def reject(session: Session, desk: Desk, settled: Settled, claim: Claim, *, by: str, note: str = "") -> None:
    """The money is not there. The customer is told so, and may write another id. Raises Undecidable."""
    _send_back(session, desk, settled, claim, "rejected", by, note)
    if claim.reference:
        _tell(session, desk, claim, "claim_rejected", transaction=claim.reference)
    else:
        _tell(session, desk, claim, "claim_again")


def ask_for_id(session: Session, desk: Desk, settled: Settled, claim: Claim, *, by: str, note: str = "") -> None:
    """The id cannot be read or found: the customer is asked to write it once more. Raises Undecidable."""
    _send_back(session, desk, settled, claim, "asked", by, note)
    _tell(session, desk, claim, "claim_again")


def _send_back(session: Session, desk: Desk, settled: Settled, claim: Claim, state: str, by: str, note: str) -> None:
    if claim.state not in ("open", "asked"):
        raise Undecidable("This was decided already.")
    now = session.now()
    claim.state, claim.decided_at, claim.decided_by, claim.note = state, now, by[:120], note[:300]
    _word(session, claim, claim.order, "rejected", now)
    said = f"{claim.reference or 'the picture'} {'was not found' if state == 'rejected' else 'is asked for again'}"
    changes = follow(session, claim.order, "merchant", now, "", claim.wallet, note=f"{said}, says {by}")
    react(session, desk, settled, changes)


def _tell(session: Session, desk: Desk, claim: Claim, reply: str, **given: str) -> None:
    """Freely within a day of the customer's last message; after that by the template that says how to pay. Whose order
    is paid or called off meanwhile is not told to pay it.
    """
    order, found = claim.order, reply in ("claim_short", "advance_received")
    wanted = order.payment in AWAITED or (order.payment == "cod_due" and (found or asks_by(order)))
    if order.gone or not wanted:
        return
    message = session.get(Message, claim.message_id) if claim.message_id is not None else None
    now = session.now()
    if message is not None and message.conversation.window_open(now) and now < message.at + timedelta(hours=23):
        because = "the payment was checked"
        nth = int(f"{claim.id}{now:%H%M%S}")  # several claims may be of one message, and one be decided twice
        answer(session, desk, message, reply, order=order, given=given, because=because, nth=nth)
        return
    why = "a part of it came, and the rest is missing" if found else "the payment that was named was not found"
    ask_again(session, desk, order, why)


# -- pictures ------------------------------------------------------------------------------------------------------


def _keep_picture(session: Session, desk: Desk, message: Message, claim: Claim) -> None:
    media_id = str((message.media or {}).get("id", ""))
    if not media_id or desk.channel is None:
        return
    session.flush()
    session.add(
        Picture(
            store_id=session.store_id,
            message_id=message.id,
            claim_id=claim.id,
            media_id=media_id[:160],
            seen_at=session.now(),
        )
    )
    session.flush()
    hurry(session, desk.channel.id, "pictures")


def fetch_pictures(house: House, store_id: int, connection_id: int) -> str:
    """Get the pictures that customers sent from the channel, which keeps them for some days only."""
    with house.db.read(store_id) as session:
        connection = session.get_one(Connection, connection_id)
        adapter = house.registry.get(connection.room, connection.adapter)
        wanted = session.execute(
            select(Picture.id, Picture.media_id).where(Picture.state == "wanted").order_by(Picture.id).limit(20)
        ).all()
    if not wanted or not offers(adapter, FetchesMedia):
        return "no picture is waiting"
    account = open_account(house, store_id, connection_id)
    kept = 0
    for picture_id, media_id in wanted:
        fault, content = "", b""
        try:
            content = adapter.media(account, media_id, MOST_PICTURE)
        except PermanentError as refused:
            fault = str(refused)
        except (TransientError, OutcomeUnknown, ConfigurationError) as away:
            _try_later(house, store_id, picture_id, str(away))
            continue
        kept += _keep(house, store_id, picture_id, content, fault)
    return f"{kept} of {len(wanted)} pictures kept"


def _try_later(house: House, store_id: int, picture_id: int, why: str) -> None:
    with house.db.lane(store_id) as session:
        picture = session.get_one(Picture, picture_id)
        picture.attempts, picture.sentence = picture.attempts + 1, why[:200]
        if picture.attempts >= _PICTURE_TRIES:
            picture.state = "gone"


def _keep(house: House, store_id: int, picture_id: int, content: bytes, fault: str) -> bool:
    kind, likeness = ("", "") if fault else look_at(content)
    with house.db.lane(store_id) as session:
        picture = session.get_one(Picture, picture_id)
        if fault or not kind:
            picture.state, picture.sentence = "gone", (fault or "it is no picture that can be shown")[:200]
            return False
        picture.state, picture.kind, picture.content = "kept", kind, content
        picture.digest, picture.likeness = hashlib.sha256(content).hexdigest(), likeness
        return True


_KINDS = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp", "GIF": "image/gif"}


def look_at(content: bytes) -> tuple[str, str]:
    """(media type, likeness) of a picture; nothing of what is none, or is too large to be looked at."""
    try:
        with Image.open(BytesIO(content), formats=tuple(_KINDS)) as image:
            kind = _KINDS.get(image.format or "", "")
            if not kind or image.width * image.height > 50_000_000:
                return "", ""
            small = image.convert("L").resize((9, 8))
    except Exception:  # whatever a file makes of its reader, it is no picture
        return "", ""
    shades = small.tobytes()
    bits = 0
    for row in range(8):
        for column in range(8):
            bits = bits << 1 | (shades[row * 9 + column] > shades[row * 9 + column + 1])
    return kind, f"{bits:016x}"


def seen_before(session: Session, picture: Picture) -> list[str]:
    """The other orders for which the same picture was sent, or one that looks like it."""
    others = session.execute(
        select(Order.name, Picture.digest, Picture.likeness)
        .join(Claim, Claim.id == Picture.claim_id)
        .join(Order, Order.id == Claim.order_id)
        .where(Picture.id != picture.id, Picture.digest != "", Picture.claim_id != picture.claim_id)
        .order_by(Picture.id.desc())
        .limit(5_000)
    )
    return list(
        dict.fromkeys(n for n, digest, like in others if digest == picture.digest or _alike(like, picture.likeness))
    )


def _alike(one: str, other: str) -> bool:
    return bool(one and other) and (int(one, 16) ^ int(other, 16)).bit_count() <= _ALIKE
