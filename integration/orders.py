"""Orders: the records, and what an order may do.

Three statuses are kept apart and each is derived from what happened and when, never from what arrived last:
*confirmation* (did the customer say yes), *payment* (is there money) and *fulfilment* (where are the goods). A move
that the tables below do not list is refused and recorded as refused. `apply_*` takes a fact and returns the
transitions it caused; the same fact twice, or an older one late, causes none.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import ForeignKey, Index, Select, String, UniqueConstraint, delete, inspect, or_, select, text
from sqlalchemy.orm import Mapped, joinedload, mapped_column, relationship, selectinload
from sqlalchemy.orm.attributes import set_committed_value

from .customers import (
    ContactPoint,
    Customer,
    contact_for_phone,
    contact_once_at,
    imply_consent,
    new_contact,
    record_consent,
)
from .db import Amount, Base, Id, Instant, Json, Session, Tenant
from .events import UNKNOWN, OrderChanged, OrderRemoved, ParcelSeen, Person, ShipmentScanned
from .money import AWAITED, STORE, Word, becomes, standing
from .parcels import NOT_SCANNED, STATUSES, Place, minute, place, same_scan, tracking_number
from .ports import Booked
from .stores import Policy, Store
from .values import Address, Money, language_of, phone, phone_variants

if TYPE_CHECKING:
    from .intents import PaymentIntent
    from .journeys import Enrollment

# -- what an order may do ------------------------------------------------------------------------------------------

CONFIRMATION: dict[str, frozenset[str]] = {
    "not_needed": frozenset({"awaiting", "cancelled"}),
    "awaiting": frozenset({"confirmed", "declined", "expired", "cancelled", "not_needed"}),
    "confirmed": frozenset({"declined", "cancelled"}),
    "expired": frozenset({"confirmed", "declined", "cancelled", "not_needed"}),
    "declined": frozenset({"not_needed"}),
    "cancelled": frozenset({"not_needed"}),
}
"""Did the customer say yes. `declined` is the customer's no, `cancelled` the shop's; either ends but for a reopening
by the shop, after which the question is not asked again (`not_needed`)."""

PAYMENT: dict[str, frozenset[str]] = {
    UNKNOWN: frozenset({"cod_due", "pending", "claimed", "paid", "failed", "refunded", "partially_refunded"}),
    "cod_due": frozenset({"pending", "paid", "refunded", "partially_refunded"}),
    "pending": frozenset({"cod_due", "claimed", "paid", "failed", "refunded", "partially_refunded"}),
    "claimed": frozenset({"cod_due", "pending", "paid", "failed", "refunded", "partially_refunded"}),
    "failed": frozenset({"cod_due", "pending", "claimed", "paid", "refunded", "partially_refunded"}),
    "paid": frozenset({"refunded", "partially_refunded"}),
    "partially_refunded": frozenset({"refunded"}),
    "refunded": frozenset(),
}
"""Is there money. A late payment after a failure is real (failed to paid); a payment never un-happens (paid to
failed).
"""

_MOVING = frozenset({"in_transit", "out_for_delivery", "attempted", "ready_for_pickup"})
_ENDS = frozenset({"delivered", "returning", "returned", "lost"})

FULFILMENT: dict[str, frozenset[str]] = {
    UNKNOWN: frozenset({"unfulfilled", "booked"}) | _MOVING | _ENDS,
    "unfulfilled": frozenset({"booked"}) | _MOVING | _ENDS,
    "booked": frozenset({"unfulfilled"}) | _MOVING | _ENDS,
    "in_transit": (_MOVING | _ENDS) - {"in_transit"},
    "out_for_delivery": (_MOVING | _ENDS) - {"out_for_delivery"},
    "attempted": (_MOVING | _ENDS) - {"attempted"},
    "ready_for_pickup": (_MOVING | _ENDS) - {"ready_for_pickup"},
    "delivered": frozenset({"returning", "returned"}),
    "returning": frozenset({"returned", "out_for_delivery", "delivered", "lost"}),
    "lost": frozenset({"returning", "returned", "delivered"}) | _MOVING,
    "returned": frozenset(),
}
"""Where the goods are. Attempts loop (hub, out for delivery, hub); a return after delivery is a new leg."""

AXES = {"confirmation": CONFIRMATION, "payment": PAYMENT, "fulfilment": FULFILMENT}

DISPATCHED = frozenset({"booked"}) | _MOVING | _ENDS
"""Goods are with a courier, or were: too late to cancel by a tap."""

COD_NAMES = re.compile(
    r"(?<![a-z])(c\.?o\.?d\.?|cash[ _-]?on[ _-]?delivery|"
    r"(cash|pay(ment)?)[ _-]?(on|at)[ _-]?(the[ _-])?(delivery|door)|"
    r"contra[ -]?entrega|contra[ -]?reembolso|pagamento na entrega|pago (en|contra) (la )?entrega)(?![a-z])"
    r"|نقد عند التسليم|کیش آن ڈیلیوری|कैश ऑन डिलीवरी",
    re.IGNORECASE,
)
"""Names under which shops offer cash on delivery. A merchant's own list is added by policy."""

# -- records -------------------------------------------------------------------------------------------------------


class Order(Tenant, Base):
    """One order of one store, as the store describes it and as it fares with us."""

    __tablename__ = "orders"
    __table_args__ = (
        UniqueConstraint("store_id", "external_id", name="one_order_per_external_id"),
        Index("orders_newest", "store_id", "placed_at"),
        Index("orders_by_name", "store_id", "name"),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True, sort_order=-2)
    external_id: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(64))
    customer_id: Mapped[int | None] = mapped_column(
        Id, ForeignKey("customers.id", ondelete="SET NULL"), index=True, default=None
    )
    contact_point_id: Mapped[int | None] = mapped_column(
        Id, ForeignKey("contact_points.id", ondelete="SET NULL"), index=True, default=None
    )
    placed_at: Mapped[datetime] = mapped_column(Instant)
    changed_at: Mapped[datetime] = mapped_column(Instant)
    """The vendor's own modification time of the newest state applied."""
    seen_at: Mapped[datetime] = mapped_column(Instant)
    currency: Mapped[str] = mapped_column(String(3))
    total: Mapped[Decimal] = mapped_column(Amount)
    outstanding: Mapped[Decimal | None] = mapped_column(Amount, default=None)
    received: Mapped[Decimal] = mapped_column(Amount, default=Decimal(0))
    """What was proven to us of its money, less what was paid back; of money that only the store knows of, nothing."""
    elsewhere: Mapped[Decimal] = mapped_column(Amount, default=Decimal(0))
    """What of it the store had before anything was proven to us: a deposit, a gift card."""
    gateway: Mapped[str] = mapped_column(String(200), default="")
    is_cod: Mapped[bool] = mapped_column(default=False)
    confirmation: Mapped[str] = mapped_column(String(16), default="not_needed")
    payment: Mapped[str] = mapped_column(String(24), default=UNKNOWN)
    fulfilment: Mapped[str] = mapped_column(String(24), default="unfulfilled")
    held: Mapped[str] = mapped_column(String(40), default="")
    """Why nobody should pack it: no_answer or not_paid. Empty when nothing holds it."""
    cancelled_at: Mapped[datetime | None] = mapped_column(Instant, default=None)
    removed_at: Mapped[datetime | None] = mapped_column(Instant, default=None)
    erased_at: Mapped[datetime | None] = mapped_column(Instant, default=None)
    """When its customer was forgotten, as privacy law has it. What the store says of a person is passed over since."""
    cancel_reason: Mapped[str] = mapped_column(String(40), default="")
    """The customer's own reason, once given."""
    test: Mapped[bool] = mapped_column(default=False)
    tags: Mapped[list[str]] = mapped_column(Json, default=list)
    locale: Mapped[str] = mapped_column(String(16), default="")
    customer_name: Mapped[str] = mapped_column(String(200), default="")
    address: Mapped[dict[str, str]] = mapped_column(Json, default=dict)
    content: Mapped[str] = mapped_column(String(32), default="")
    """Fingerprint of the newest state applied: an echo of our own write, or a repeat, is recognised by it."""

    customer: Mapped[Customer | None] = relationship(lazy="joined", cascade="none")
    contact: Mapped[ContactPoint | None] = relationship(lazy="joined", cascade="none")
    items: Mapped[list[LineItem]] = relationship(viewonly=True, order_by="LineItem.id")
    payments: Mapped[list[Payment]] = relationship(viewonly=True, order_by="Payment.id")
    intents: Mapped[list[PaymentIntent]] = relationship(viewonly=True, order_by="PaymentIntent.id")
    shipments: Mapped[list[Shipment]] = relationship(viewonly=True, order_by="Shipment.id")
    enrollments: Mapped[list[Enrollment]] = relationship(viewonly=True, order_by="Enrollment.id")

    @property
    def money(self) -> Money:
        return Money(self.total, self.currency)

    @property
    def gone(self) -> bool:
        """Cancelled, declined or thrown away: nothing more is promised about it."""
        return self.removed_at is not None or self.confirmation in ("declined", "cancelled")

    @property
    def dispatched(self) -> bool:
        return self.fulfilment in DISPATCHED

    @property
    def due(self) -> Money:
        """What is still to be paid: all of it, unless a part was paid in advance, by what the store says or by what was
        proven to us; since something was proven to us they may speak of the same part.
        """
        part = self.outstanding
        rest = part if part is not None and 0 < part < self.total else self.total
        return Money(max(min(rest, self.owed - self.received), Decimal(0)), self.currency)

    @property
    def owed(self) -> Decimal:
        """What of it is to be proven to us: all but what the store had before."""
        return self.total - self.elsewhere

    @property
    def revision(self) -> str:
        """Changes when what the customer was asked to confirm changes: the amount or the goods."""
        goods = "|".join(f"{i.external_id}x{i.quantity}" for i in sorted(self.items, key=lambda i: i.external_id))
        return hashlib.blake2s(
            f"{self.due.amount.normalize()}{self.currency}{goods}".encode(), digest_size=4
        ).hexdigest()


class LineItem(Tenant, Base):
    """One line of an order."""

    __tablename__ = "line_items"

    id: Mapped[int] = mapped_column(Id, primary_key=True, sort_order=-2)
    order_id: Mapped[int] = mapped_column(Id, ForeignKey("orders.id", ondelete="CASCADE"), index=True)
    external_id: Mapped[str] = mapped_column(String(64), default="")
    title: Mapped[str] = mapped_column(String(300))
    variant: Mapped[str] = mapped_column(String(200), default="")
    sku: Mapped[str] = mapped_column(String(100), default="")
    quantity: Mapped[int] = mapped_column(default=1)
    price: Mapped[Decimal | None] = mapped_column(Amount, default=None)


class Payment(Tenant, Base):
    """One thing that was said about money for an order. Append-only; what all of it comes to is money.py's."""

    __tablename__ = "payments"

    id: Mapped[int] = mapped_column(Id, primary_key=True, sort_order=-2)
    order_id: Mapped[int] = mapped_column(Id, ForeignKey("orders.id", ondelete="CASCADE"), index=True)
    source: Mapped[str] = mapped_column(String(32))
    status: Mapped[str] = mapped_column(String(24))
    raw_status: Mapped[str] = mapped_column(String(64), default="")
    reference: Mapped[str] = mapped_column(String(128), default="")
    amount: Mapped[Decimal | None] = mapped_column(Amount, default=None)
    currency: Mapped[str] = mapped_column(String(3), default="")
    at: Mapped[datetime] = mapped_column(Instant)
    seen_at: Mapped[datetime] = mapped_column(Instant)
    delivery_id: Mapped[int | None] = mapped_column(Id, default=None)
    intent_id: Mapped[int | None] = mapped_column(Id, default=None)
    sentence: Mapped[str] = mapped_column(String(200), default="")
    """Why it changes nothing, where it does not fit what was asked for. Empty where it counts."""


class Shipment(Tenant, Base):
    """One parcel of an order. Its status is derived from its events."""

    __tablename__ = "shipments"
    __table_args__ = (
        UniqueConstraint("store_id", "order_id", "external_id", name="one_shipment_per_external_id"),
        Index("shipments_by_number", "store_id", "tracking_number"),
        Index("shipments_by_token", "token", unique=True),
        Index("shipments_due", "store_id", "poll_at",
              sqlite_where=text("poll_at IS NOT NULL"), postgresql_where=text("poll_at IS NOT NULL")),
    )  # fmt: skip

    id: Mapped[int] = mapped_column(Id, primary_key=True, sort_order=-2)
    order_id: Mapped[int] = mapped_column(Id, ForeignKey("orders.id", ondelete="CASCADE"), index=True)
    external_id: Mapped[str] = mapped_column(String(64), default="")
    courier: Mapped[str] = mapped_column(String(100), default="")
    tracking_number: Mapped[str] = mapped_column(String(64), default="")
    tracking_url: Mapped[str] = mapped_column(String(500), default="")
    adapter: Mapped[str] = mapped_column(String(32), default="")
    """The courier's adapter, once it is recognised by what the store calls it."""
    poll_at: Mapped[datetime | None] = mapped_column(Instant, default=None)
    """When to ask the courier about it again."""
    token: Mapped[str] = mapped_column(String(32), default=lambda: secrets.token_urlsafe(16))
    """Names it to whoever follows it: in the address of its tracking page. Unguessable."""
    reference: Mapped[str] = mapped_column(String(64), default="")
    """The courier's own id of a booking that we made."""
    label_url: Mapped[str] = mapped_column(String(500), default="")
    booked_at: Mapped[datetime | None] = mapped_column(Instant, default=None)
    """When it was booked from here; None of what was booked elsewhere."""
    looked_at: Mapped[datetime | None] = mapped_column(Instant, default=None)
    """When the merchant last looked at what was the matter with it."""

    order: Mapped[Order] = relationship(viewonly=True)
    events: Mapped[list[ShipmentEvent]] = relationship(viewonly=True, lazy="selectin", order_by="ShipmentEvent.id")

    @property
    def scans(self) -> list[ShipmentEvent]:
        """What the store says, and the courier of the parcel that it is now: a number may have been corrected."""
        return [event for event in self.events if event.tracking_number in ("", self.tracking_number)]

    @property
    def newest(self) -> ShipmentEvent | None:
        """The last sign of life of it: not what a customer said of it, or what we asked for."""
        return max((s for s in self.scans if s.status not in NOT_SCANNED), key=lambda s: s.occurred_at, default=None)

    @property
    def place(self) -> Place:
        return place((event.occurred_at, event.status) for event in self.scans)

    @property
    def status(self) -> str:
        return self.place.status

    @property
    def reason(self) -> str:
        """Why the newest attempt failed; the most telling of what several scans of it say. Empty when none says."""
        said = [event for event in self.scans if event.status == "attempted" and event.reason]
        said.sort(key=lambda event: (minute(event.occurred_at), event.reason != "other"))
        return said[-1].reason if said else ""


@dataclass(frozen=True, slots=True)
class ParcelMoved:
    """A scan moved a parcel, or said once more where it is. Like a transition of its order, but derived, so never kept:
    `at` is the scan's own time.
    """

    order: Order
    shipment: Shipment
    was: str
    became: str
    at: datetime
    cause: str
    """store or courier: who said so."""
    axis: str = "parcel"


class ShipmentEvent(Tenant, Base):
    """One scan. Append-only; the same scan seen twice (push and poll) is one row.

    Couriers may know a parcel before the store says which order it is of: such a scan has a number and no shipment, and
    is given to the shipment that gets this number.
    """

    __tablename__ = "shipment_events"
    __table_args__ = (
        UniqueConstraint("shipment_id", "occurred_at", "status", "raw_code", name="one_row_per_scan"),
        Index("scans_without_shipment", "store_id", "tracking_number",
              sqlite_where=text("shipment_id IS NULL"), postgresql_where=text("shipment_id IS NULL")),
    )  # fmt: skip

    id: Mapped[int] = mapped_column(Id, primary_key=True, sort_order=-2)
    shipment_id: Mapped[int | None] = mapped_column(Id, ForeignKey("shipments.id", ondelete="CASCADE"), default=None)
    tracking_number: Mapped[str] = mapped_column(String(64), default="")
    status: Mapped[str] = mapped_column(String(24))
    reason: Mapped[str] = mapped_column(String(40), default="")
    raw_code: Mapped[str] = mapped_column(String(64), default="")
    raw_text: Mapped[str] = mapped_column(String(300), default="")
    location: Mapped[str] = mapped_column(String(120), default="")
    occurred_at: Mapped[datetime] = mapped_column(Instant)
    seen_at: Mapped[datetime] = mapped_column(Instant)

    @property
    def key(self) -> tuple[datetime, str, str]:
        """What another report of the same scan shares with it."""
        return same_scan(self.occurred_at, self.status, self.raw_code)


class CourierWord(Tenant, Base):
    """What a word of a courier means that Dastak does not know, as the merchant says."""

    __tablename__ = "courier_words"
    __table_args__ = (UniqueConstraint("store_id", "adapter", "word", name="one_meaning_per_word"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True, sort_order=-2)
    adapter: Mapped[str] = mapped_column(String(32))
    word: Mapped[str] = mapped_column(String(300))
    """In small letters, whole: see `courier_word`."""
    status: Mapped[str] = mapped_column(String(24))
    reason: Mapped[str] = mapped_column(String(40), default="")


class Transition(Tenant, Base):
    """One move of one status of an order, or one that was refused: the spine of its timeline."""

    __tablename__ = "transitions"

    id: Mapped[int] = mapped_column(Id, primary_key=True, sort_order=-2)
    order_id: Mapped[int] = mapped_column(Id, ForeignKey("orders.id", ondelete="CASCADE"), index=True)
    axis: Mapped[str] = mapped_column(String(16))
    was: Mapped[str] = mapped_column(String(40))
    became: Mapped[str] = mapped_column(String(40))
    allowed: Mapped[bool] = mapped_column(default=True)
    cause: Mapped[str] = mapped_column(String(16))
    """store, customer, merchant, clock, courier or gateway."""
    note: Mapped[str] = mapped_column(String(300), default="")
    delivery_id: Mapped[int | None] = mapped_column(Id, default=None)
    at: Mapped[datetime] = mapped_column(Instant)
    seen_at: Mapped[datetime] = mapped_column(Instant)

    order: Mapped[Order] = relationship(viewonly=True)


Change = Transition | ParcelMoved
"""What journeys react to."""


def move(
    session: Session,
    order: Order,
    axis: str,
    became: str,
    *,
    cause: str,
    at: datetime,
    note: str = "",
    delivery_id: int | None = None,
) -> Transition | None:
    """Move one status if its table lists the move. Returns the transition when it happened; a refusal is recorded."""
    was = getattr(order, axis)
    if was == became:
        return None
    allowed = axis not in AXES or became in AXES[axis].get(was, frozenset())
    transition = Transition(
        store_id=order.store_id,
        axis=axis,
        was=was,
        became=became,
        allowed=allowed,
        cause=cause,
        note=note[:300],
        delivery_id=delivery_id,
        at=at,
        seen_at=session.now(),
    )
    set_committed_value(transition, "order", order)
    session.append(transition, order_id=order)
    if not allowed:
        return None
    setattr(order, axis, became)
    return transition


# -- looking up ----------------------------------------------------------------------------------------------------


class Book:
    """What one transaction has looked up, so that a batch of facts costs a few queries and not a few each."""

    def __init__(self, session: Session, store: Store) -> None:
        self.session = session
        self.store = store
        self.policy: Policy = store.policy
        self._orders: dict[str, Order | None] = {}
        self._contacts: dict[str, ContactPoint | None] = {}
        self._numbers: dict[tuple[tuple[str, ...], str], str | None] = {}
        self._parcels: dict[str, list[Shipment]] = {}
        self._words: dict[tuple[str, str], CourierWord] | None = None
        self.early: set[str] = set()
        """Numbers of parcels that no order has yet, of which this transaction kept scans."""

    def fetch(self, facts: Iterable[Any]) -> None:
        """Look up at once what these facts are about."""
        orders = {fact.external_id[:64] for fact in facts if isinstance(fact, OrderChanged | OrderRemoved)}
        numbers = {n for fact in facts if isinstance(fact, OrderChanged) if (n := self.number_of(fact))}
        missing = orders - self._orders.keys()
        if missing:
            self._orders |= dict.fromkeys(missing)
            for order in self.session.scalars(_orders().where(Order.external_id.in_(missing))):
                self._orders[order.external_id] = order
        missing = numbers - self._contacts.keys()
        if missing:
            self._contacts |= dict.fromkeys(missing)
            spellings = {spelling: n for n in missing for spelling in phone_variants(n)}
            query = select(ContactPoint).options(selectinload(ContactPoint.consents)).order_by(ContactPoint.id)
            for contact in self.session.scalars(query.where(ContactPoint.phone.in_(spellings))):
                number = spellings[contact.phone or ""]
                if self._contacts[number] is None or contact.phone == number:
                    self._contacts[number] = contact
            for contact in self.session.scalars(query.where(ContactPoint.former_phone.in_(spellings))):
                number = spellings[contact.former_phone or ""]
                self._contacts[number] = self._contacts[number] or contact

        missing = {fact.tracking_number for fact in facts if isinstance(fact, ShipmentScanned)} - self._parcels.keys()
        if missing:
            self._parcels |= {number: [] for number in missing}
            for shipment in self.session.scalars(_shipments().where(Shipment.tracking_number.in_(missing))):
                self._parcels[shipment.tracking_number].append(shipment)

    def parcels(self, tracking_number: str) -> list[Shipment]:
        """The shipments under a number. Two orders sent in one parcel share it."""
        if tracking_number not in self._parcels:
            self.session.flush()  # an order of this very batch may have brought it in
            found = self.session.scalars(_shipments().where(Shipment.tracking_number == tracking_number))
            self._parcels[tracking_number] = list(found)
        return self._parcels[tracking_number]

    def meaning(self, adapter: str, word: str) -> CourierWord | None:
        """What the merchant says a courier's word means, where Dastak does not know it."""
        if self._words is None:
            self._words = {(row.adapter, row.word): row for row in self.session.scalars(select(CourierWord))}
        return self._words.get((adapter, courier_word(word)))

    def numbered(self, tracking_number: str) -> None:
        """A shipment got this number."""
        self._parcels.pop(tracking_number, None)

    def order(self, external_id: str) -> Order | None:
        external_id = external_id[:64]  # as it is stored
        if external_id not in self._orders:
            self._orders[external_id] = self.session.scalar(_orders().where(Order.external_id == external_id))
        return self._orders[external_id]

    def add(self, order: Order) -> None:
        self.session.append(order, customer_id=order.customer, contact_point_id=order.contact)
        self._orders[order.external_id] = order

    def number_of(self, fact: OrderChanged) -> str | None:
        """The first of the order's phones that is a reachable number."""
        key = (fact.phones, fact.address.country or self.store.country)
        if key not in self._numbers:
            self._numbers[key] = next((number for raw in key[0] if (number := phone(raw, key[1]))), None)
        return self._numbers[key]

    def contact(self, number: str) -> ContactPoint | None:
        known = self._contacts.get(number)
        merged_into_another = known is not None and inspect(known).detached
        if number not in self._contacts or merged_into_another:
            found = contact_for_phone(self.session, number)
            self._contacts[number] = found or contact_once_at(self.session, number)
        return self._contacts[number]

    def look_again(self, person: Person) -> None:
        """Who wrote may have come in, or changed, since these facts were looked up."""
        if person.phone:
            for spelling in phone_variants(person.phone):
                self._contacts.pop(spelling, None)

    def know(self, number: str, contact: ContactPoint) -> None:
        self._contacts[number] = contact


def whole() -> tuple[Any, ...]:
    """What of an order is loaded with it wherever something may happen to it: journeys look at all of this."""
    return (
        selectinload(Order.items),
        selectinload(Order.intents),
        selectinload(Order.shipments),
        selectinload(Order.enrollments),
        joinedload(Order.contact).selectinload(ContactPoint.consents),
    )


def _orders() -> Any:
    return select(Order).options(*whole(), selectinload(Order.payments))


def _shipments() -> Any:
    return select(Shipment).order_by(Shipment.id).options(selectinload(Shipment.order).options(*whole()))


def find_order(session: Session, reference: str) -> Order | None:
    """An order by what people call it (`#1001`, `1001`), by the store's id or by ours (`id:17`)."""
    reference = reference.strip()
    if reference.startswith("id:") and reference[3:].isdecimal():
        return session.get(Order, int(reference[3:]))
    names = {reference, f"#{reference.lstrip('#')}", reference.lstrip("#")}
    return session.scalars(
        select(Order)
        .where(or_(Order.name.in_(names), Order.external_id == reference))
        .order_by(Order.placed_at.desc())
        .limit(1)
    ).first()


# -- applying facts ------------------------------------------------------------------------------------------------


def apply_order(book: Book, fact: OrderChanged, *, delivery_id: int | None = None) -> list[Change]:
    """A store described an order. Upserts it from whichever message came first and derives its statuses."""
    session, policy = book.session, book.policy
    if fact.draft:
        return []  # a checkout in progress is no order
    content = _fingerprint(fact)
    order = book.order(fact.external_id)
    if order is not None and _is_late(order, fact):
        return []
    if order is not None and content == order.content and order.removed_at is None:
        order.changed_at = fact.occurred_at  # a repeat, or the echo of our own write
        return []
    erased = order is not None and order.erased_at is not None
    said = _said(fact) | ({} if erased else _whose(fact))
    said |= {"content": content, "changed_at": fact.occurred_at, "removed_at": None}
    was_cancelled = order is not None and order.cancelled_at is not None
    was_removed = order is not None and order.removed_at is not None
    is_new = order is None
    if order is None:
        order = Order(
            store_id=session.store_id,
            external_id=fact.external_id[:64],
            placed_at=fact.placed_at,
            seen_at=session.now(),
            is_cod=is_cod(fact.gateways, policy),
            **said,
        )
        for records in ("items", "payments", "intents", "shipments", "enrollments"):
            set_committed_value(order, records, [])
        set_committed_value(order, "contact", None)
        set_committed_value(order, "customer", None)
    else:
        if order.id is None:
            session.flush()  # it is of this very batch, and from now on a record like any other
        for name, value in said.items():
            if getattr(order, name) != value:
                setattr(order, name, value)
        order.is_cod = order.is_cod or is_cod(fact.gateways, policy)
    if order.received == 0:
        part = order.outstanding
        order.elsewhere = order.total - part if part is not None and 0 < part < order.total else Decimal(0)
    _describe_items(session, order, fact)
    if not erased:
        _describe_contact(book, order, fact)
    if is_new:
        book.add(order)
    moves = Moves(session, order, "store", fact.occurred_at, delivery_id)

    payment = _payment(order, fact)
    if is_new and payment == "cod_due":
        order.payment = payment  # where an order begins is no event
    elif payment is not None:
        _note_payment(session, order, fact, payment, delivery_id)
        moves.to("payment", payment_of(order, payment), note=fact.raw_payment)
    for parcel in fact.parcels:
        _note_parcel(book, order, parcel, moves)
    fulfilment = _fulfilment(order, fact, policy)
    if fulfilment is not None:
        moves.to("fulfilment", fulfilment, note=fact.raw_fulfilment)

    if order.cancelled_at is not None and order.confirmation != "declined":
        moves.to("confirmation", "cancelled", note=fact.cancel_reason)
    elif was_cancelled and order.cancelled_at is None and order.confirmation in ("cancelled", "declined"):
        moves.to("confirmation", "not_needed", note="the store opened the order again")
    elif order.confirmation in ("awaiting", "expired") and order.payment in ("paid", "partially_refunded", "refunded"):
        moves.to("confirmation", "not_needed", note="it was paid before an answer came")
    elif _sent_unasked(order):
        moves.to("confirmation", "not_needed", note=SENT_UNASKED)
    elif order.confirmation == "awaiting" and was_removed:
        moves.to("confirmation", "not_needed", note="the store took the order out of the trash, its question had ended")
    elif _needs_asking(order):
        moves.to("confirmation", "awaiting")
    let_go(order, moves)
    return moves.made


def let_go(order: Order, moves: Moves) -> None:
    """An order is no longer held for what is not so any more."""
    over = {"no_answer": order.confirmation != "expired", "not_paid": order.payment not in AWAITED}
    if over.get(order.held):
        moves.to("held", "")


def is_news(book: Book, fact: OrderChanged) -> bool:
    """Would applying this state change anything? Reconciliation asks before it posts what it found."""
    order = book.order(fact.external_id)
    if order is None:
        return not fact.draft
    return not _is_late(order, fact) and (_fingerprint(fact) != order.content or order.removed_at is not None)


def _is_late(order: Order, fact: OrderChanged) -> bool:
    """Is this an older state than the one we have? Vendors stamp by the second. Of two states within one, the cancelled
    one is the later: a cancellation changes several things at once, and nobody reopens an order in the same second.
    """
    if fact.occurred_at == order.changed_at:
        return order.cancelled_at is not None and fact.cancelled_at is None
    return fact.occurred_at < order.changed_at


def apply_removed(book: Book, fact: OrderRemoved, *, delivery_id: int | None = None) -> list[Change]:
    """The store threw an order away. Its journeys end; nobody is told anything, for nothing is known about the
    goods.
    """
    order = book.order(fact.external_id)
    if order is None:
        return []
    if order.removed_at is None:
        order.removed_at = fact.occurred_at or book.session.now()
    return []


def apply_scan(book: Book, fact: ShipmentScanned, courier: str = "", *, delivery_id: int | None = None) -> list[Change]:
    """A courier scanned a parcel. The order's fulfilment follows from all scans of all its parcels. The scan of a
    parcel that no order has yet is kept until one does. `courier` is the adapter that said so: whose parcel it is needs
    no guess any more.
    """
    session = book.session
    words = {name: getattr(fact, name) for name in ("reason", "raw_code", "raw_text", "location")}
    status = fact.status
    if status == UNKNOWN and (said := book.meaning(courier, fact.raw_code or fact.raw_text)) is not None:
        status, words["reason"] = said.status, said.reason or fact.reason
    parcels = book.parcels(fact.tracking_number)
    if not parcels:
        _keep_for_later(book, fact, status, words)
    made: list[Change] = []
    for shipment in parcels:
        order = shipment.order
        moves = Moves(session, order, "courier", fact.occurred_at, delivery_id)
        if courier and not shipment.adapter:
            shipment.adapter = courier
        with moves.of(shipment):
            _note_scan(session, shipment, status, fact.occurred_at, words, fact.tracking_number)
        if (fulfilment := fulfilment_of(order.shipments)) is not None:
            moves.to("fulfilment", fulfilment, note=fact.raw_text or fact.raw_code)
        if _sent_unasked(order):
            moves.to("confirmation", "not_needed", note=SENT_UNASKED)
        let_go(order, moves)
        made += moves.made
    return made


def apply_booking(book: Book, order: Order, booking_id: int, booked: Booked, courier: str, label: str) -> list[Change]:
    """A courier took on a parcel of an order. `booking_id` is ours, `courier` its adapter, `label` how it is called.
    Twice is once.
    """
    session, now = book.session, book.session.now()
    external_id = f"{OURS}{booking_id}"
    if any(shipment.external_id == external_id for shipment in order.shipments):
        return []
    moves = Moves(session, order, "courier", now, None)
    shipment = add_shipment(
        session,
        order,
        external_id,
        courier=(booked.carrier or label)[:100],
        adapter=courier,
        tracking_number=tracking_number(booked.tracking_number),
        reference=booked.reference[:64],
        label_url=booked.label_url[:500],
        booked_at=now,
        poll_at=now + timedelta(hours=1),
    )
    with moves.of(shipment):
        book.numbered(shipment.tracking_number)
        _take_up(book, shipment)
        _note_scan(session, shipment, "booked", now, {"raw_text": f"Booked with {label}"})
    if (status := fulfilment_of(order.shipments)) is not None:
        moves.to("fulfilment", status, note=f"booked with {label}")
    return moves.made


def courier_word(word: str) -> str:
    """A courier's word as merchants' meanings are kept and looked up: in small letters, as much of it as a scan keeps
    of its code.
    """
    return " ".join(word[:64].split()).casefold()


def explain(book: Book, adapter: str, word: str, status: str, reason: str = "") -> list[Change]:
    """The merchant says what a courier's word means: from now on, and where it was scanned before."""
    session, wanted = book.session, courier_word(word)
    meaning = session.scalars(
        select(CourierWord).where(CourierWord.adapter == adapter, CourierWord.word == wanted)
    ).first()
    if meaning is None:
        meaning = CourierWord(store_id=session.store_id, adapter=adapter, word=wanted)
        session.add(meaning)
    meaning.status, meaning.reason = status, reason
    made: list[Change] = []
    unknown = select(ShipmentEvent.shipment_id).where(ShipmentEvent.status == UNKNOWN)
    for shipment in session.scalars(_shipments().where(Shipment.adapter == adapter, Shipment.id.in_(unknown))):
        moves = Moves(session, shipment.order, "courier", session.now(), None)
        with moves.of(shipment):
            for event in shipment.events:
                if event.status == UNKNOWN and courier_word(event.raw_code or event.raw_text) == wanted:
                    event.status, event.reason = status, reason or event.reason
        if (fulfilment := fulfilment_of(shipment.order.shipments)) is not None:
            moves.to("fulfilment", fulfilment, note=f"“{word[:100]}” was explained")
        made += moves.made
    return made


def dispute(session: Session, shipment: Shipment, words: str, at: datetime) -> None:
    """A customer contradicts a parcel's scans. It moves nothing and is evidence."""
    _note_scan(session, shipment, "disputed", at, {"raw_text": words})


def is_cod(gateways: Iterable[str], policy: Policy) -> bool:
    """Is one of these payment method names cash on delivery, by the merchant's list or by what shops call it?"""
    named = {name.casefold().strip() for name in policy.cod_gateways}
    return any(name.casefold().strip() in named or COD_NAMES.search(name) for name in gateways)


def fulfilment_of(shipments: Sequence[Shipment]) -> str | None:
    """An order is as far as the parcel that is least far; cancelled parcels do not count. None when nothing is
    known.
    """
    known = [STATUSES[status] for s in shipments if (status := s.status) in STATUSES]
    living = [status for status in known if status is not STATUSES["cancelled"]]
    if living:
        return min(living, key=lambda status: status.rank).fulfilment
    return "unfulfilled" if known else None


SENT_UNASKED = "it was sent without waiting for an answer"


def _sent_unasked(order: Order) -> bool:
    return order.confirmation in ("awaiting", "expired") and order.dispatched


class Moves:
    """The transitions one fact made."""

    def __init__(self, session: Session, order: Order, cause: str, at: datetime, delivery_id: int | None) -> None:
        self.session, self.order, self.cause, self.at, self.delivery_id = session, order, cause, at, delivery_id
        self.made: list[Change] = []

    @contextmanager
    def of(self, shipment: Shipment) -> Iterator[None]:
        """Scans that are added within move their parcel, perhaps."""
        was = shipment.place
        yield
        now = shipment.place
        if now.since is not None and (now.status, now.since) != (was.status, was.since):
            self.made.append(ParcelMoved(self.order, shipment, was.status, now.status, now.since, self.cause))

    def to(self, axis: str, became: str, note: str = "") -> None:
        made = move(
            self.session,
            self.order,
            axis,
            became,
            cause=self.cause,
            at=self.at,
            note=note,
            delivery_id=self.delivery_id,
        )
        if made is not None:
            self.made.append(made)


def _in_its_currency(part: Money | None, whole: Money) -> Decimal | None:
    """The amount of a part, where it is stated in the currency of the whole."""
    return part.amount if part is not None and part.currency == whole.currency else None


def _said(fact: OrderChanged) -> dict[str, Any]:
    """What a store says of an order, as columns."""
    return {
        "name": fact.name[:64],
        "total": fact.total.amount,
        "currency": fact.total.currency,
        "outstanding": _in_its_currency(fact.outstanding, fact.total),
        "gateway": ", ".join({name.casefold(): name for name in fact.gateways if name}.values())[:200],
        "cancelled_at": fact.cancelled_at,
        "test": fact.test,
        "tags": list(fact.tags),
        "locale": fact.locale[:16],
    }


def _whose(fact: OrderChanged) -> dict[str, Any]:
    """What it says of the person."""
    return {"customer_name": fact.customer_name[:200], "address": _address(fact.address)}


def _describe_contact(book: Book, order: Order, fact: OrderChanged) -> None:
    number = book.number_of(fact)
    if number is None:
        return
    contact = book.contact(number)
    if contact is None:
        contact = new_contact(
            book.session,
            phone=number,
            name=fact.customer_name,
            email=fact.email,
            country=fact.address.country,
            external_id=fact.customer_id,
        )
        book.know(number, contact)
    else:  # who wrote before they ordered was known by the number alone
        person = contact.customer
        person.name = person.name or fact.customer_name[:200]
        person.email = person.email or fact.email[:254]
        person.external_id = person.external_id or fact.customer_id[:64]
    if order.contact is not contact:
        if order.id is not None:
            book.session.flush()  # the contact may be of this very batch
            order.contact, order.customer = contact, contact.customer
        else:
            set_committed_value(order, "contact", contact)
            set_committed_value(order, "customer", contact.customer)
    for purpose, state, wording in fact.consents:
        record_consent(book.session, contact, purpose, state, source="checkout", evidence=wording, at=fact.placed_at)
    if book.policy.consent_at_checkout:
        evidence = f"number given for order {fact.name}"
        imply_consent(book.session, contact, source="checkout", evidence=evidence, at=fact.placed_at)


def _describe_items(session: Session, order: Order, fact: OrderChanged) -> None:
    wanted = [(i.external_id, i.title, i.variant, i.sku, i.quantity) for i in fact.items]
    have = [(i.external_id, i.title, i.variant, i.sku, i.quantity) for i in order.items]
    if wanted == have:
        return
    if have:
        session.flush()  # they may be of this very batch
        session.execute(delete(LineItem).where(LineItem.order_id == order.id))
    items = [
        LineItem(
            store_id=session.store_id,
            external_id=item.external_id[:64],
            title=item.title[:300],
            variant=item.variant[:200],
            sku=item.sku[:100],
            quantity=item.quantity,
            price=item.price.amount if item.price else None,
        )
        for item in fact.items
    ]
    for item in items:
        session.append(item, order_id=order)
    set_committed_value(order, "items", items)


def _address(address: Address) -> dict[str, str]:
    return {part: value for part in Address.__dataclass_fields__ if (value := getattr(address, part))}


def address_of(order: Order) -> Address:
    return Address(**order.address)


def language_for(order: Order, policy: Policy) -> str:
    """What the customer writes in; else what the checkout was in, if we speak it; else the shop's language."""
    written = order.contact.language if order.contact else None
    return written or language_of(order.locale) or policy.language


def _payment(order: Order, fact: OrderChanged) -> str | None:
    if fact.payment in ("", UNKNOWN):
        return None
    return "cod_due" if order.is_cod and fact.payment == "pending" else fact.payment


def _note_payment(session: Session, order: Order, fact: OrderChanged, status: str, delivery_id: int | None) -> None:
    last = next((said for said in reversed(order.payments) if said.source == STORE), None)
    if last is None and status in ("cod_due", "pending"):
        return  # nothing has happened to any money yet
    if last is not None and (last.status, last.amount) == (status, fact.total.amount):
        return
    append_payment(
        session,
        order,
        source=STORE,
        status=status,
        raw_status=fact.raw_payment[:64],
        amount=fact.total.amount,
        currency=fact.total.currency,
        at=fact.occurred_at,
        delivery_id=delivery_id,
    )


def append_payment(session: Session, order: Order, **values: Any) -> Payment:
    payment = Payment(store_id=session.store_id, seen_at=session.now(), **values)
    session.append(payment, order_id=order)
    order.payments.append(payment)
    return payment


def words_of(order: Order) -> list[Word]:
    """What was said of an order's money and counts."""
    return [Word(p.source, p.status, p.reference, p.amount, p.at) for p in order.payments if not p.sentence]


def payment_of(order: Order, in_store: str) -> str:
    """How an order's money stands when its store says `in_store`: with money that was proven to us the store may be
    behind, and of what customers claim it knows nothing.
    """
    if in_store not in ("pending", "cod_due", "failed") or all(p.source == STORE for p in order.payments):
        return in_store
    return becomes(order.payment, standing(words_of(order), order.owed, is_cod=order.is_cod))


def _note_parcel(book: Book, order: Order, parcel: ParcelSeen, moves: Moves) -> None:
    session, number = book.session, tracking_number(parcel.tracking_number)
    external_id = parcel.external_id[:64]
    shipment = next((s for s in order.shipments if s.external_id == external_id), None)
    if shipment is None:  # one that we booked comes back with the id that the store gave it
        shipment = next((s for s in order.shipments if ours(s) and number and s.tracking_number == number), None)
        if shipment is not None:
            session.flush()
            shipment.external_id = external_id
    if shipment is None:
        shipment = add_shipment(session, order, external_id)
    shipment.courier = parcel.courier[:100] or shipment.courier
    with moves.of(shipment):
        if number and number != shipment.tracking_number:
            shipment.tracking_number, shipment.adapter, shipment.poll_at = number, "", session.now()
            book.numbered(number)
            _take_up(book, shipment)
        # What its courier has said, a store only repeats, perhaps from us: at the store's time it would be a scan anew.
        if all(event.status != parcel.status for event in shipment.scans if event.tracking_number):
            at = parcel.occurred_at or order.changed_at
            _note_scan(session, shipment, parcel.status, at, {"raw_code": parcel.raw_status})
    if not parcel.tracking_url.endswith(f"/t/{shipment.token}"):  # else it is our own page, come back
        shipment.tracking_url = parcel.tracking_url[:500] or shipment.tracking_url


def add_shipment(session: Session, order: Order, external_id: str, **known: Any) -> Shipment:
    """A parcel of an order, with no scan yet."""
    shipment = Shipment(store_id=order.store_id, external_id=external_id, **known)
    set_committed_value(shipment, "order", order)
    set_committed_value(shipment, "events", [])
    order.shipments.append(shipment)
    session.append(shipment, order_id=order)
    return shipment


OURS = "dastak:"
"""How the id of a parcel begins that was booked here and that the store has not named yet."""


def ours(shipment: Shipment) -> bool:
    return shipment.external_id.startswith(OURS)


def _keep_for_later(book: Book, fact: ShipmentScanned, status: str, words: dict[str, str]) -> None:
    session = book.session
    if fact.tracking_number in book.early:
        session.flush()
    book.early.add(fact.tracking_number)
    key = same_scan(fact.occurred_at, status, fact.raw_code)
    if all(event.key != key for event in session.scalars(_without_shipment(fact.tracking_number))):
        session.append(_scan(session, status, fact.occurred_at, words, tracking_number=fact.tracking_number))


def _take_up(book: Book, shipment: Shipment) -> None:
    """Give a shipment that just got its number the scans that came before, and those that another order's shipment
    under this number has.
    """
    session = book.session
    if shipment.tracking_number in book.early:
        session.flush()
    early = session.scalars(_without_shipment(shipment.tracking_number)).all()
    same_number = session.scalars(select(Shipment).where(Shipment.tracking_number == shipment.tracking_number))
    others = [other for other in same_number if other is not shipment]
    if not early and not others:
        return
    session.flush()  # the shipment may be of this very batch
    have = {event.key for event in shipment.events}
    for event in early:
        if event.key in have:
            session.delete(event)
        else:
            event.shipment_id = shipment.id
            shipment.events.append(event)
    for event in [event for other in others for event in other.events if event.tracking_number]:
        words = {name: getattr(event, name) for name in ("reason", "raw_code", "raw_text", "location")}
        _note_scan(session, shipment, event.status, event.occurred_at, words, shipment.tracking_number)


def forget_early_scans(session: Session) -> None:
    """A parcel that no order got within a month was of another shop under the same courier account."""
    month = session.now() - timedelta(days=30)
    session.execute(delete(ShipmentEvent).where(ShipmentEvent.shipment_id.is_(None), ShipmentEvent.seen_at < month))


def _without_shipment(number: str) -> Select[ShipmentEvent]:
    return select(ShipmentEvent).where(ShipmentEvent.shipment_id.is_(None), ShipmentEvent.tracking_number == number)


def _note_scan(
    session: Session, shipment: Shipment, status: str, at: datetime, words: dict[str, str], number: str = ""
) -> None:
    """`number` is the parcel's where its courier says so, empty where the store does."""
    key = same_scan(at, status, words.get("raw_code", ""))
    if any(event.key == key for event in shipment.scans):
        return
    event = _scan(session, status, at, words, tracking_number=number)
    shipment.events.append(event)
    session.append(event, shipment_id=shipment)


def _scan(session: Session, status: str, at: datetime, words: dict[str, str], **more: str) -> ShipmentEvent:
    words = {"raw_code": "", **words}
    limits = {"reason": 40, "raw_code": 64, "raw_text": 300, "location": 120}
    return ShipmentEvent(
        store_id=session.store_id,
        status=status[:24],
        occurred_at=at,
        seen_at=session.now(),
        **{name: value[: limits[name]] for name, value in words.items()},
        **more,
    )


def _fulfilment(order: Order, fact: OrderChanged, policy: Policy) -> str | None:
    if (derived := fulfilment_of(order.shipments)) is not None:
        return derived
    if fact.fulfilment == "completed":
        return policy.completed_means
    return None if fact.fulfilment in ("", UNKNOWN) else fact.fulfilment


def _needs_asking(order: Order) -> bool:
    return (
        order.confirmation == "not_needed"
        and order.is_cod
        and order.payment == "cod_due"
        and order.fulfilment == "unfulfilled"
        and order.cancelled_at is None
        and not any(e.journey == "cod_confirmation" for e in order.enrollments)
    )


def _fingerprint(fact: OrderChanged) -> str:
    """Everything a fact says but when it was said."""
    said = tuple(getattr(fact, name) for name in fact.__dataclass_fields__ if name != "occurred_at")
    return hashlib.blake2s(repr(said).encode(), digest_size=16).hexdigest()
