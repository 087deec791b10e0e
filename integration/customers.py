"""Customers, the points where they can be reached, and what they agreed to.

A contact point is one person on one messenger: a phone in E.164, a business-scoped user id, or both. Either alone
finds it; inbox.py merges two when a message shows that they are the same person. Consent is a ledger: rows are only
ever added, and the newest word for a purpose holds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint, event, select, text
from sqlalchemy.orm import Mapped, Mapper, mapped_column, relationship
from sqlalchemy.orm.attributes import set_committed_value

from .db import Base, Id, Instant, Session, Tenant
from .values import phone_variants

UTILITY, MARKETING, EVERYTHING = "utility", "marketing", "everything"
"""Purposes a person agrees to. `everything` is what STOP takes back and START gives again."""

GRANTED, REVOKED = "granted", "revoked"


class Customer(Tenant, Base):
    """A person who buys from one store."""

    __tablename__ = "customers"
    __table_args__ = (Index("customers_by_external", "store_id", "external_id"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True, sort_order=-2)
    external_id: Mapped[str] = mapped_column(String(64), default="")
    name: Mapped[str] = mapped_column(String(200), default="")
    email: Mapped[str] = mapped_column(String(254), default="")
    country: Mapped[str] = mapped_column(String(2), default="")
    created_at: Mapped[datetime] = mapped_column(Instant)
    redacted_at: Mapped[datetime | None] = mapped_column(Instant, default=None)


class ContactPoint(Tenant, Base):
    """Where a customer can be reached on the messenger."""

    __tablename__ = "contact_points"
    __table_args__ = (
        UniqueConstraint("store_id", "phone", name="one_contact_per_phone"),
        UniqueConstraint("store_id", "user_id", name="one_contact_per_user"),
        Index("contacts_by_former_phone", "store_id", "former_phone",
              sqlite_where=text("former_phone IS NOT NULL"), postgresql_where=text("former_phone IS NOT NULL")),
    )  # fmt: skip

    id: Mapped[int] = mapped_column(Id, primary_key=True, sort_order=-2)
    customer_id: Mapped[int] = mapped_column(Id, ForeignKey("customers.id", ondelete="CASCADE"), index=True)
    phone: Mapped[str | None] = mapped_column(String(20), default=None)
    former_phone: Mapped[str | None] = mapped_column(String(20), default=None)
    """The number before this person changed it. Orders may go on stating it; who writes from it is somebody else."""
    user_id: Mapped[str | None] = mapped_column(String(160), default=None)
    channel_id: Mapped[str | None] = mapped_column(String(40), default=None)
    """What the channel calls the phone; differs from ours where it rewrites digits."""
    language: Mapped[str | None] = mapped_column(String(8), default=None)
    """The language this person writes in, once they wrote."""
    timezone: Mapped[str] = mapped_column(String(64), default="")
    unreachable_at: Mapped[datetime | None] = mapped_column(Instant, default=None)
    next_send_at: Mapped[datetime | None] = mapped_column(Instant, default=None)
    """Machine time bookkeeping of the channel's limit per person."""

    customer: Mapped[Customer] = relationship(lazy="joined")
    consents: Mapped[list[Consent]] = relationship(viewonly=True, order_by="(Consent.at, Consent.id)")


class Consent(Tenant, Base):
    """One word about one purpose, with its source and proof. Never changed, never deleted but by a privacy request."""

    __tablename__ = "consents"

    id: Mapped[int] = mapped_column(Id, primary_key=True, sort_order=-2)
    contact_point_id: Mapped[int] = mapped_column(Id, ForeignKey("contact_points.id", ondelete="CASCADE"), index=True)
    purpose: Mapped[str] = mapped_column(String(16))
    state: Mapped[str] = mapped_column(String(16))
    source: Mapped[str] = mapped_column(String(40))
    evidence: Mapped[str] = mapped_column(String(500), default="")
    at: Mapped[datetime] = mapped_column(Instant)


@event.listens_for(Consent, "before_update")
def _append_only(_mapper: Mapper[Consent], _connection: object, row: Consent) -> None:
    raise RuntimeError(f"the consent ledger is append-only (row {row.id})")


@dataclass(frozen=True, slots=True)
class Standing:
    """What the ledger says today: has the person opted out of all, and which purposes stand granted."""

    opted_out_at: datetime | None
    granted: frozenset[str]


def standing(ledger: Iterable[Consent]) -> Standing:
    """Fold the ledger in time order. STOP silences every purpose until START, or a newer grant of a purpose."""
    out: datetime | None = None
    granted: set[str] = set()
    for word in sorted(ledger, key=lambda row: (row.at, row.id or 0)):
        if word.purpose == EVERYTHING and word.state == REVOKED:
            out = word.at
            granted.clear()
        elif word.purpose == EVERYTHING:
            out = None
            granted.add(UTILITY)
        elif word.state == GRANTED:
            out = None
            granted.add(word.purpose)
        else:
            granted.discard(word.purpose)
    return Standing(out, frozenset(granted))


def record_consent(
    session: Session, contact: ContactPoint, purpose: str, state: str, *, source: str, evidence: str, at: datetime
) -> bool:
    """Add a word to the ledger unless it already says so. True when it was news."""
    now = standing(contact.consents)
    stands = (now.opted_out_at is None) if purpose == EVERYTHING else (purpose in now.granted)
    if stands == (state == GRANTED) and any(word.purpose == purpose for word in contact.consents):
        return False
    word = Consent(
        store_id=contact.store_id, purpose=purpose, state=state, source=source, evidence=evidence[:500], at=at
    )
    session.append(word, contact_point_id=contact)
    contact.consents.append(word)
    return True


def imply_consent(session: Session, contact: ContactPoint, *, source: str, evidence: str, at: datetime) -> bool:
    """Consent to order messages that comes with giving a number at the checkout. Never undoes a STOP."""
    now = standing(contact.consents)
    if now.opted_out_at is not None or any(word.purpose == UTILITY for word in contact.consents):
        return False
    return record_consent(session, contact, UTILITY, GRANTED, source=source, evidence=evidence, at=at)


def contact_for_phone(session: Session, phone: str) -> ContactPoint | None:
    """The contact point of an E.164 number, under whichever spelling a messenger knows it; or None."""
    found = session.scalars(select(ContactPoint).where(ContactPoint.phone.in_(phone_variants(phone)))).all()
    return next((c for c in found if c.phone == phone), found[0] if found else None)


def contact_once_at(session: Session, phone: str) -> ContactPoint | None:
    """The contact point that had a number before its person changed it; or None."""
    query = select(ContactPoint).where(ContactPoint.former_phone.in_(phone_variants(phone)))
    return session.scalars(query.order_by(ContactPoint.id).limit(1)).first()


def new_contact(
    session: Session,
    *,
    phone: str | None = None,
    user_id: str | None = None,
    name: str = "",
    email: str = "",
    country: str = "",
    external_id: str = "",
) -> ContactPoint:
    """A new customer with one contact point."""
    customer = Customer(
        store_id=session.store_id,
        name=name[:200],
        email=email[:254],
        country=country,
        external_id=external_id[:64],
        created_at=session.now(),
    )
    contact = ContactPoint(store_id=session.store_id, phone=phone, user_id=user_id)
    set_committed_value(contact, "customer", customer)
    set_committed_value(contact, "consents", [])
    session.append(customer)
    session.append(contact, customer_id=customer)
    return contact
