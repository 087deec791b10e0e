"""What may be sent, and with whom: the dispatch queue, the cities that couriers serve, and the merchant's rules.

An order is ready when its customer wants it and its money is there or due at the door; everything else waits and says
why. A courier is suggested: by the first rule of the merchant's that fits, else by how well it delivered in that city,
else because it goes there. The merchant's own choice always wins.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from rapidfuzz import fuzz, process
from sqlalchemy import ForeignKey, Index, String, and_, delete, select
from sqlalchemy.orm import Mapped, mapped_column, selectinload

from .db import Base, Id, Session, Tenant
from .money import SETTLED
from .orders import Order, Shipment
from .ports import City
from .stores import Connection, Policy

READY = and_(
    Order.fulfilment == "unfulfilled",
    Order.removed_at.is_(None),
    Order.held == "",
    Order.confirmation.in_(("confirmed", "not_needed")),
    Order.payment.in_(SETTLED),
)
"""Orders that may be sent: wanted, and paid or to be paid at the door."""

WAITING = and_(
    Order.fulfilment == "unfulfilled",
    Order.removed_at.is_(None),
    Order.confirmation.not_in(("declined", "cancelled")),
    Order.payment != "refunded",
    ~READY,
)
"""Orders that are not sent and may not be, yet."""


def why_not(order: Order) -> str:
    """Why an order is not ready to be sent."""
    if order.held == "no_answer" or order.confirmation == "expired":
        return "The customer did not answer. Call before you send it."
    if order.confirmation == "awaiting":
        return "The customer has not answered yet."
    if order.held == "not_paid":
        return "It was not paid in time. Ask the customer before you send it."
    if order.held:
        return f"It is on hold: {order.held.replace('_', ' ')}."
    return {
        "pending": "It is not paid yet.",
        "claimed": "The customer says it is paid; nobody has checked.",
        "failed": "The payment failed.",
    }.get(order.payment, "Whether it is paid is not known.")


# -- cities --------------------------------------------------------------------------------------------------------


class ServedCity(Tenant, Base):
    """A city that a connected courier delivers to, as the courier spells it."""

    __tablename__ = "served_cities"
    __table_args__ = (Index("served_cities_of_connection", "store_id", "connection_id"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True, sort_order=-2)
    connection_id: Mapped[int] = mapped_column(Id, ForeignKey("connections.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(100))
    code: Mapped[str] = mapped_column(String(64), default="")


def keep_cities(session: Session, connection_id: int, cities: Iterable[City]) -> int:
    """Take a courier's list for the present one. An empty list is a mishap and changes nothing."""
    fresh = {city.name[:100]: city.code[:64] for city in cities if city.name}
    if fresh:
        session.execute(delete(ServedCity).where(ServedCity.connection_id == connection_id))
        for name, code in fresh.items():
            session.append(ServedCity(store_id=session.store_id, connection_id=connection_id, name=name, code=code))
    return len(fresh)


def plain(city: str) -> str:
    """A city as it is compared: small letters, no accents, no punctuation."""
    letters = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", city).casefold())
    return re.sub(r"[\W_]+", " ", "".join(c for c in letters if not unicodedata.combining(c))).strip()


_ALIKE = 88
"""Likeness (of 100) from which two spellings are one city: "Karachi" and "Karachii", not "Sahiwal" and "Sialkot"."""


class Atlas:
    """The cities of one courier."""

    def __init__(self, cities: Iterable[City]) -> None:
        self.cities = {plain(city.name): city for city in cities}

    def find(self, name: str) -> City | None:
        """The city that is meant by what a customer typed; None when no spelling is near, or two are."""
        wanted = plain(name)
        if wanted in self.cities or not wanted:
            return self.cities.get(wanted)
        near = process.extract(wanted, self.cities.keys(), scorer=fuzz.ratio, score_cutoff=_ALIKE, limit=2)
        if not near or (len(near) == 2 and near[0][1] == near[1][1]):
            return None
        return self.cities[near[0][0]]

    def nearest(self, name: str) -> str:
        """The likeliest spelling, to offer to the merchant. Empty when nothing is like it."""
        found = process.extractOne(plain(name), self.cities.keys(), scorer=fuzz.WRatio, score_cutoff=60)
        return self.cities[found[0]].name if found else ""


# -- rules ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rule:
    """A merchant's rule: orders that fit go with this courier. What is empty fits every order."""

    courier: str
    cities: tuple[str, ...] = ()
    payment: str = ""
    """cod or paid."""
    weight_up_to: str = ""
    """Kilograms."""
    value_over: str = ""
    """In the store's currency."""

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Rule:
        return cls(**{**stored, "cities": tuple(stored.get("cities", ()))})

    def stored(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value}

    def fits(self, order: Order, city: str, weight: Decimal) -> bool:
        if self.cities and not any(fuzz.ratio(plain(city), plain(mine)) >= _ALIKE for mine in self.cities):
            return False
        if self.payment and self.payment != ("cod" if order.payment == "cod_due" else "paid"):
            return False
        if (most := number(self.weight_up_to)) is not None and weight > most:
            return False
        return (least := number(self.value_over)) is None or order.total > least

    def told(self, currency: str) -> str:
        """The rule as one reads it aloud, without its courier."""
        parts = [
            {"cod": "cash on delivery", "paid": "paid orders"}.get(self.payment, "all orders"),
            f"to {', '.join(self.cities)}" if self.cities else "",
            f"up to {self.weight_up_to} kg" if self.weight_up_to else "",
            f"over {currency} {self.value_over}" if self.value_over else "",
        ]
        return " ".join(part for part in parts if part)


def number(text: str) -> Decimal | None:
    """A positive number that somebody typed; None when it is none."""
    try:
        value = Decimal(text.strip())
    except InvalidOperation:
        return None
    return value if value.is_finite() and 0 < value < 10_000_000 else None


def rules_of(policy: Policy) -> list[Rule]:
    return [Rule.of(stored) for stored in policy.routes]


# -- suggesting ----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Courier:
    """A connected courier that can be booked, with its cities (empty while it has not told them) and its record."""

    connection: Connection
    label: str
    atlas: Atlas
    record: dict[str, tuple[int, int]] = field(default_factory=dict)
    """By city: parcels delivered, parcels that came to an end."""

    @property
    def name(self) -> str:
        return self.connection.adapter

    def city(self, name: str) -> City | None:
        """The city to book; what the customer typed while the courier's list is not known."""
        if not self.atlas.cities:
            return City(name, "") if name.strip() else None
        return self.atlas.find(name)


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A courier for an order, and why; no courier when none goes there."""

    courier: str
    why: str


_ENOUGH = 10
"""Parcels of a courier in a city from which its record there says something."""


def suggest(order: Order, weight: Decimal, couriers: Sequence[Courier], rules: Sequence[Rule]) -> Suggestion:
    """Who should carry an order."""
    city = str(order.address.get("city", ""))
    able = {courier.name: courier for courier in couriers if courier.city(city) is not None}
    for rule in rules:
        if rule.courier in able and rule.fits(order, city, weight):
            return Suggestion(rule.courier, f"your rule: {rule.told(order.currency)}")
    proven = []
    for courier in able.values():
        delivered, ended = courier.record.get(plain(city), (0, 0))
        if ended >= _ENOUGH:
            proven.append((delivered / ended, delivered, ended, courier))
    if proven:
        _, delivered, ended, best = max(proven, key=lambda one: one[:3])
        return Suggestion(best.name, f"delivered {delivered} of {ended} in {city}")
    if able:
        first = next(iter(able.values()))
        return Suggestion(first.name, f"goes to {city}" if first.atlas.cities else "connected")
    return Suggestion("", f"no courier of yours goes to “{city}”" if city else "the order names no city")


def records(session: Session) -> dict[str, dict[str, tuple[int, int]]]:
    """How each courier did in each city with the last parcels, of 90 days at most: (delivered, ended)."""
    ended = (
        select(Shipment.adapter, Order.address, Order.fulfilment)
        .join(Order, Order.id == Shipment.order_id)
        .where(
            Order.placed_at > session.now() - timedelta(days=90),
            Order.fulfilment.in_(("delivered", "returning", "returned", "lost")),
            Shipment.adapter != "",
        )
        .order_by(Order.id.desc())
        .limit(5_000)
    )
    found: dict[str, dict[str, tuple[int, int]]] = {}
    for adapter, address, fulfilment in session.execute(ended):
        city = plain(str((address or {}).get("city", "")))
        delivered, all_of_them = found.setdefault(adapter, {}).get(city, (0, 0))
        found[adapter][city] = (delivered + (fulfilment == "delivered"), all_of_them + 1)
    return found


def atlases(session: Session) -> dict[int, Atlas]:
    """The cities of each connection."""
    cities: dict[int, list[City]] = {}
    for row in session.scalars(select(ServedCity)):
        cities.setdefault(row.connection_id, []).append(City(row.name, row.code or row.name))
    return {connection_id: Atlas(found) for connection_id, found in cities.items()}


def to_send(session: Session, limit: int = 200) -> Sequence[Order]:
    """Ready orders, oldest first."""
    ready = select(Order).where(READY).order_by(Order.placed_at, Order.id).limit(limit)
    return session.scalars(ready.options(selectinload(Order.items), selectinload(Order.shipments))).all()


def not_yet(session: Session, limit: int = 100) -> Sequence[Order]:
    """Orders that wait for something, newest first."""
    waiting = select(Order).where(WAITING).order_by(Order.placed_at.desc(), Order.id.desc()).limit(limit)
    return session.scalars(waiting.options(selectinload(Order.items))).all()
