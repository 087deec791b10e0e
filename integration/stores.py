"""Stores and their connections: who our tenants are, what opens their accounts, what they have decided.

A `Store` is the tenant. A `Connection` is one store at one adapter, with sealed credentials and a health that people
can read. `Policy` is what the merchant decided, over sensible defaults. A `Chore` is a due time for upkeep of a
connection.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, time, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import orjson
from sqlalchemy import ForeignKey, Index, LargeBinary, String, UniqueConstraint, delete, select
from sqlalchemy.orm import Mapped, mapped_column, relationship

from .branding import picture
from .db import Base, Id, Instant, Json, Session, Tenant, TenantItself
from .errors import ConfigurationError
from .ports import Account, StoreProfile
from .values import LANGUAGES, language_of
from .vault import Vault

# -- what a merchant decides ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Policy:
    """A merchant's decisions. Hours are local clock hours, durations are hours, caps are messages per 24 h."""

    language: str = "en"
    quiet_from: int = 22
    quiet_until: int = 8
    cod_gateways: tuple[str, ...] = ()
    """Payment methods the merchant says are cash on delivery, beyond those recognised by name."""
    confirmation_hours: int = 24
    """How long a cash order waits for an answer before it is put on hold."""
    cancel_in_store: bool = True
    """Does a customer's Cancel cancel the order in the store, or only leave a note there?"""
    delivery_days: tuple[int, int] | None = None
    """Working days from confirmation to the door, as the merchant promises them. None: no date is ever stated."""
    utility_cap: int = 40
    marketing_cap: int = 1
    consent_at_checkout: bool = True
    """Is a number given at the checkout consent to messages about that order?"""
    completed_means: str = "in_transit"
    """What the store's "completed" says about the goods: in_transit or delivered."""
    routes: tuple[Mapping[str, Any], ...] = ()
    """Which courier carries which orders, first fit: see dispatch.Rule."""
    parcel_weight: str = "0.5"
    """Kilograms, of a parcel of which nobody says otherwise."""
    transfers: tuple[Mapping[str, Any], ...] = ()
    """The accounts that customers send money to by hand: see intents.TransferAccount."""
    payment_hours: int = 24
    """How long an order waits for its money before it is put on hold."""
    prepaid_with: str = ""
    """The means (a gateway or a wallet) by which cash orders may be paid in advance; empty offers nothing."""
    statement_columns: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Which column of the merchant's statements is where, by the statement's kind: see statements.py."""
    confirmed_status: str = ""
    """Status a confirmed order is moved to in stores that have statuses; empty leaves it where it is."""
    brand_colour: str = ""
    """The shop's own, as `#rrggbb`, on the page where customers follow a parcel; empty leaves ours there."""

    @classmethod
    def of(cls, stored: Mapping[str, Any] | None) -> Policy:
        known = {spec.name for spec in fields(cls)}
        values = {name: value for name, value in (stored or {}).items() if name in known}
        for name in ("cod_gateways", "delivery_days", "routes", "transfers"):
            if values.get(name) is not None:
                values[name] = tuple(values[name])
        return cls(**values)

    def stored(self) -> dict[str, Any]:
        """Only what differs from the default, so that a better default reaches everybody."""
        default = asdict(Policy())
        return {name: value for name, value in asdict(self).items() if value != default[name]}

    def is_quiet(self, local: time) -> bool:
        if self.quiet_from == self.quiet_until:
            return False
        if self.quiet_from < self.quiet_until:
            return self.quiet_from <= local.hour < self.quiet_until
        return local.hour >= self.quiet_from or local.hour < self.quiet_until


@lru_cache(maxsize=4096)
def _policy(stored: bytes) -> Policy:
    return Policy.of(orjson.loads(stored))


class Store(TenantItself, Base):
    """A merchant's shop: the tenant everything else belongs to."""

    __tablename__ = "stores"

    name: Mapped[str] = mapped_column(String(200))
    timezone: Mapped[str] = mapped_column(String(64), default="UTC")
    currency: Mapped[str] = mapped_column(String(3), default="")
    country: Mapped[str] = mapped_column(String(2), default="")
    email: Mapped[str] = mapped_column(String(254), default="")
    decisions: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    installed_at: Mapped[datetime] = mapped_column(Instant)
    uninstalled_at: Mapped[datetime | None] = mapped_column(Instant, default=None)
    erased_at: Mapped[datetime | None] = mapped_column(Instant, default=None)

    connections: Mapped[list[Connection]] = relationship(
        back_populates="store", lazy="selectin", order_by="Connection.id"
    )

    @property
    def policy(self) -> Policy:
        return _policy(orjson.dumps(self.decisions, option=orjson.OPT_SORT_KEYS))

    def decide(self, policy: Policy) -> None:
        self.decisions = policy.stored()

    @property
    def zone(self) -> ZoneInfo:
        return zone(self.timezone)

    @property
    def active(self) -> bool:
        return self.uninstalled_at is None

    def connection(self, room: str) -> Connection | None:
        """The live connection of a room, or None."""
        return next((c for c in self.connections if c.room == room and c.removed_at is None), None)


class Connection(Tenant, Base):
    """One store at one adapter. `account` is the store's name there, unique among the living in all tenants."""

    __tablename__ = "connections"
    __table_args__ = (
        UniqueConstraint("adapter", "account", name="one_store_per_account"),
        Index("connections_by_token", "token_hash", unique=True),
        Index("connections_by_alias", "adapter", "alias"),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True, sort_order=-2)
    room: Mapped[str] = mapped_column(String(16))
    adapter: Mapped[str] = mapped_column(String(32))
    account: Mapped[str] = mapped_column(String(255))
    alias: Mapped[str | None] = mapped_column(String(255), default=None)
    """Another name under which the vendor speaks of it, perhaps shared by several (a business account of many
    numbers).
    """
    token_hash: Mapped[str | None] = mapped_column(String(64), default=None)
    sealed: Mapped[bytes | None] = mapped_column(LargeBinary, default=None)
    state: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    """What the adapter wants remembered: expiries, scopes, webhook ids, rates. Never a secret."""
    health: Mapped[str] = mapped_column(String(16), default="ok")
    """ok, degraded (works, needs a look) or broken (nothing goes through until somebody acts)."""
    sentence: Mapped[str] = mapped_column(String(500), default="")
    cursor: Mapped[datetime | None] = mapped_column(Instant, default=None)
    """Up to where the vendor's own modification times were reconciled."""
    next_send_at: Mapped[datetime | None] = mapped_column(Instant, default=None)
    """Machine time of the next free sending slot (the number's throughput)."""
    refreshing_until: Mapped[datetime | None] = mapped_column(Instant, default=None)
    """Machine time until which one process may replace the credentials."""
    connected_at: Mapped[datetime] = mapped_column(Instant)
    removed_at: Mapped[datetime | None] = mapped_column(Instant, default=None)

    store: Mapped[Store] = relationship(back_populates="connections", lazy="joined")

    def opened(self, vault: Vault) -> Account:
        """The account with its secrets. Raises ConfigurationError."""
        return Account(self.account, vault.open(self.sealed), self.state)

    def remember(self, **facts: Any) -> None:
        self.state = {**self.state, **facts}

    def broke(self, sentence: str) -> None:
        self.health, self.sentence = "broken", sentence[:500]

    def mended(self, sentence: str = "") -> None:
        self.health, self.sentence = "ok", sentence[:500]


class Chore(Tenant, Base):
    """Upkeep of a connection that is due at a time; see upkeep.py for what each does."""

    __tablename__ = "chores"
    __table_args__ = (
        UniqueConstraint("store_id", "connection_id", "name", name="one_chore_of_a_kind"),
        Index("chores_due", "due_at"),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True, sort_order=-2)
    connection_id: Mapped[int] = mapped_column(Id, ForeignKey("connections.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(32))
    due_at: Mapped[datetime] = mapped_column(Instant)
    leased_until: Mapped[datetime | None] = mapped_column(Instant, default=None)
    failures: Mapped[int] = mapped_column(default=0)
    last_run_at: Mapped[datetime | None] = mapped_column(Instant, default=None)
    last_sentence: Mapped[str] = mapped_column(String(500), default="")


class Logo(Tenant, Base):
    """The picture a shop shows its customers. Kept here, because their page loads nothing from anywhere else."""

    __tablename__ = "logos"
    __table_args__ = (UniqueConstraint("store_id", name="one_logo_per_store"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True, sort_order=-2)
    kind: Mapped[str] = mapped_column(String(16))
    """Its media type, read from its bytes."""
    width: Mapped[int]
    height: Mapped[int]
    content: Mapped[bytes] = mapped_column(LargeBinary)
    digest: Mapped[str] = mapped_column(String(16))
    """Of the content: another picture has another address."""


def change_logo(session: Session, content: bytes) -> None:
    """A new logo, or none where there is no content. Raises ValueError with a sentence for the merchant."""
    seen = picture(content) if content else None
    session.execute(delete(Logo))
    if seen is not None:
        digest = hashlib.blake2s(content, digest_size=8).hexdigest()
        session.add(Logo(kind=seen.kind, width=seen.width, height=seen.height, content=content, digest=digest))


def zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # a folder of zones, or a name too long for a file
        return ZoneInfo("UTC")


def valid_zone(name: str) -> str:
    """The name when it is a zone we know, else UTC."""
    return zone(name).key


# -- install and uninstall -----------------------------------------------------------------------------------------


def install(
    session: Session,
    *,
    adapter: str,
    profile: StoreProfile,
    credentials: Mapping[str, str],
    state: Mapping[str, Any],
    vault: Vault,
    token_hash: str | None = None,
) -> Store:
    """Install a store, or bring one back: same account, same store, fresh credentials. Needs the operator's session."""
    now = session.now()
    connection = session.scalar(
        select(Connection).where(Connection.adapter == adapter, Connection.account == profile.account)
    )
    if connection is None:
        language = language_of(profile.language) or "en"
        store = Store(name=profile.name or profile.account, installed_at=now)
        store.decide(Policy(language=language if language in LANGUAGES else "en"))
        session.add(store)
        session.flush()
        connection = Connection(
            store_id=store.id, room="stores", adapter=adapter, account=profile.account, connected_at=now
        )
        connection.store = store
        session.add(connection)
    store = connection.store
    if not store.active or store.erased_at is not None:
        store.installed_at = now
    store.uninstalled_at = store.erased_at = None
    store.name = profile.name or store.name
    store.timezone = valid_zone(profile.timezone)
    store.currency = profile.currency or store.currency
    store.country = profile.country or store.country
    store.email = profile.email or store.email
    _reconnect(connection, credentials, {**profile.facts, **state}, vault, now)
    if token_hash is not None:
        connection.token_hash = token_hash
    session.flush()
    plan_chores(session, connection, STORE_CHORES)
    return store


def connect(
    session: Session,
    *,
    store_id: int,
    room: str,
    adapter: str,
    account: str,
    credentials: Mapping[str, str],
    state: Mapping[str, Any],
    vault: Vault,
    alias: str | None = None,
    token_hash: str | None = None,
) -> Connection:
    """Connect a channel, courier or gateway to a store. Needs the operator's session: accounts are unique over tenants.

    Raises ConfigurationError when the account already belongs to another living store.
    """
    now = session.now()
    taken = session.scalar(select(Connection).where(Connection.adapter == adapter, Connection.account == account))
    if taken is not None and taken.store_id != store_id and taken.removed_at is None and taken.store.active:
        raise ConfigurationError(
            "This account is already connected to another store in Dastak. Disconnect it there first, "
            "or connect a different one here."
        )
    if taken is not None and taken.store_id != store_id:
        taken.account = f"{taken.account}#left-{taken.id}"  # it moved: the old store keeps its history, not the account
        session.flush()
        taken = None
    if taken is None:
        taken = Connection(store_id=store_id, room=room, adapter=adapter, account=account, connected_at=now)
        session.add(taken)
    for other in session.scalars(select(Connection).where(Connection.store_id == store_id, Connection.room == room)):
        if other is not taken and room == "channels" and other.removed_at is None:
            other.removed_at = now  # a store speaks with one number at a time
    taken.alias = alias
    taken.token_hash = token_hash or taken.token_hash
    _reconnect(taken, credentials, state, vault, now)
    session.flush()
    plan_chores(session, taken, _CHORES_OF.get(room, {}))
    return taken


def _reconnect(
    connection: Connection, credentials: Mapping[str, str], state: Mapping[str, Any], vault: Vault, now: datetime
) -> None:
    connection.sealed = vault.seal(credentials)
    connection.state = {**connection.state, **state}
    if connection.room != "couriers" or connection.removed_at is not None:
        connection.connected_at = now  # new keys for a courier that stands make no history of what it told meanwhile
    connection.removed_at = None
    connection.mended()


def uninstall(store: Store, at: datetime) -> bool:
    """The merchant removed the app at `at`. False when the store was connected again since: a late notice changes
    nothing.
    """
    connection = store.connection("stores")
    if max(store.installed_at, connection.connected_at if connection is not None else store.installed_at) > at:
        return False
    store.uninstalled_at = at
    for connection in store.connections:
        if connection.room == "stores":
            connection.sealed = None
            connection.broke("The app was removed from the store.")
    return True


# -- chores --------------------------------------------------------------------------------------------------------

STORE_CHORES = {
    "webhooks": timedelta(hours=1),
    "reconcile": timedelta(minutes=5),
    "absent": timedelta(hours=24),
    "prune": timedelta(hours=24),
}
"""Upkeep of a store's connection and how often it comes due, in the order of their first run: with the
webhooks in place before the first reconciliation, no order falls between the two."""

CHANNEL_CHORES = {
    "templates": timedelta(hours=1),
    "profile": timedelta(hours=6),
    "pictures": timedelta(minutes=30),
}

COURIER_CHORES = {"track": timedelta(minutes=2), "cities": timedelta(hours=24)}

PAYMENT_CHORES = {"collect": timedelta(minutes=1)}

EVERY = {**STORE_CHORES, **CHANNEL_CHORES, **COURIER_CHORES, **PAYMENT_CHORES}


_CHORES_OF = {"channels": CHANNEL_CHORES, "couriers": COURIER_CHORES, "payments": PAYMENT_CHORES}


def plan_chores(session: Session, connection: Connection, chores: Mapping[str, timedelta]) -> None:
    """Give a connection its chores, the first of each due at once."""
    have = {chore.name: chore for chore in session.scalars(select(Chore).where(Chore.connection_id == connection.id))}
    for name in chores:
        if name in have:
            have[name].due_at, have[name].failures, have[name].leased_until = session.now(), 0, None
        else:
            session.add(
                Chore(store_id=connection.store_id, connection_id=connection.id, name=name, due_at=session.now())
            )


def hurry(session: Session, connection_id: int, name: str, *, after: timedelta = timedelta(0)) -> None:
    """Make one chore due now, or in a moment."""
    for chore in session.scalars(select(Chore).where(Chore.connection_id == connection_id, Chore.name == name)):
        chore.due_at = session.now() + after
    session.bells.add("chores")
