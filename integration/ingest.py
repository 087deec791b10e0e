"""Mail comes in: stored before it is acknowledged, understood afterwards, exactly once.

`receive` is the only thing between a vendor and its 200: signature over the raw bytes, one insert that a unique key
makes idempotent, commit, ring. `process` turns stored requests into facts and facts into what the house remembers,
many per transaction; when a batch fails, each of its requests gets a transaction of its own, so one bad one holds up
nobody.
"""

from __future__ import annotations

import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast

import structlog
from sqlalchemy import (
    ForeignKey,
    Index,
    LargeBinary,
    Select,
    String,
    Table,
    UniqueConstraint,
    and_,
    bindparam,
    delete,
    func,
    or_,
    select,
    text,
    union_all,
    update,
)
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.orm import Mapped, mapped_column

from . import privacy
from .catalogue import Template
from .checkpoints import reached
from .customers import GRANTED, REVOKED, record_consent
from .db import Base, Id, Instant, Json, Session, Tenant, inline
from .errors import InvalidSignature, NotUnderstood
from .events import (
    ChannelChanged,
    Fact,
    MessageEchoed,
    MessageReceived,
    MessageStatusChanged,
    OrderChanged,
    OrderRemoved,
    PaymentChanged,
    PaymentHinted,
    PersonChanged,
    PreferenceStated,
    PrivacyRequested,
    ScopesChanged,
    ShipmentScanned,
    StoreAccessBroken,
    StoreUninstalled,
    TemplateChanged,
)
from .groupcommit import GroupCommit, insert_ignoring
from .house import House
from .inbox import apply_echo, apply_message, apply_person_changed, meet
from .intents import ask_for_the_rest, close_intents
from .journeys import Enrollment, Settled, leave_all, react
from .orders import Book, Change, apply_order, apply_removed, apply_scan
from .outbox import Desk, Outbox, Post, Touchpoint, apply_message_status
from .payments import alert, apply_payment, find_intent, hint, merchant_of
from .ports import Account, Answers, AppWide, Pings, Redacts, WebhookRequest, offers
from .replies import hear
from .stores import Connection, Store, hurry, uninstall
from .unknown import count_unknown
from .vault import token_hash

log = structlog.get_logger(__name__)

STATES = ("received", "processed", "ignored", "not_understood", "failed")


class WebhookDelivery(Tenant, Base):
    """One request as it arrived, and what became of it. Kept 14 days, failures 90."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        UniqueConstraint("adapter", "account", "key", name="one_delivery_per_key"),
        Index("deliveries_waiting", "store_id", "id", sqlite_where=text("state = 'received'"),
              postgresql_where=text("state = 'received'")),
        Index("deliveries_not_understood", "store_id", "id", sqlite_where=text("state = 'not_understood'"),
              postgresql_where=text("state = 'not_understood'")),
        Index("deliveries_by_age", "received_at"),
    )  # fmt: skip

    id: Mapped[int] = mapped_column(Id, primary_key=True, sort_order=-2)
    store_id: Mapped[int | None] = mapped_column(  # type: ignore[assignment]
        Id, ForeignKey("stores.id", ondelete="CASCADE"), nullable=True, sort_order=-1
    )
    """None for a validly signed request that names nobody readable."""
    connection_id: Mapped[int | None] = mapped_column(Id, default=None)
    room: Mapped[str] = mapped_column(String(16))
    adapter: Mapped[str] = mapped_column(String(32))
    account: Mapped[str] = mapped_column(String(255), default="")
    key: Mapped[str] = mapped_column(String(128))
    source: Mapped[str] = mapped_column(String(8), default="webhook")
    """webhook, or poll when reconciliation found it."""
    headers: Mapped[dict[str, str]] = mapped_column(Json, default=dict)
    body: Mapped[bytes] = mapped_column(LargeBinary)
    state: Mapped[str] = mapped_column(String(16), default="received")
    sentence: Mapped[str] = mapped_column(String(500), default="")
    subjects: Mapped[list[str]] = mapped_column(Json, default=list)
    """What it was about (order:17, contact:4), so that a privacy request finds it."""
    received_at: Mapped[datetime] = mapped_column(Instant)
    processed_at: Mapped[datetime | None] = mapped_column(Instant, default=None)


DELIVERIES = cast(Table, WebhookDelivery.__table__)


# -- receive -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Receipt:
    """What to answer the vendor."""

    status: int
    sentence: str = ""


class Mailroom:
    """The receiving half: lives in the web process, one per process."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._commit = GroupCommit(
            house.db,
            DELIVERIES,
            lambda: reached("receive.before_commit"),
            self._ring,
        )
        self._known: dict[tuple[str, str], tuple[float, list[_Door]]] = {}
        self.counts: Counter[str] = Counter()

    def forget(self) -> None:
        """Look every connection up anew."""
        self._known.clear()

    def receive(self, room: str, name: str, request: WebhookRequest, token: str | None = None) -> Receipt:
        """Verify, store, commit, ring. Never raises for bad input; a database that is away is a 503, nothing is
        lost.
        """
        adapter = self._house.registry.find(room, name)
        if adapter is None:
            return Receipt(404, f"There is no {room[:16]} adapter of that name.")
        name = adapter.name  # the address may call it otherwise
        if token is None and not offers(adapter, AppWide):
            return Receipt(404, "This address needs the token of a connection.")
        try:
            if token is not None:
                return self._receive_for(room, name, adapter, request, token)
            return self._receive_app_wide(room, name, adapter, request)
        except InvalidSignature as fault:
            self.counts["unauthorised"] += 1
            return Receipt(401, str(fault))
        except (DBAPIError, OSError) as fault:
            log.error("receive.not_stored", adapter=name, fault=type(fault).__name__)
            return Receipt(503, "The request could not be stored just now. Please send it again.")

    def _receive_for(self, room: str, name: str, adapter: Any, request: WebhookRequest, token: str) -> Receipt:
        doors = self._doors(name, "token", token_hash(token))
        if not doors or doors[0].room != room:
            return Receipt(404, "No connection has this address.")
        door = doors[0]
        if offers(adapter, Pings) and adapter.is_ping(request):
            return Receipt(200, "pong")
        adapter.verify(request, door.account)
        body = adapter.redacted(request.body) if offers(adapter, Redacts) else request.body
        self._store([self._row(room, name, adapter, request, door, body)])
        return Receipt(*adapter.taken(door.account)) if offers(adapter, Answers) else Receipt(200)

    def _receive_app_wide(self, room: str, name: str, adapter: Any, request: WebhookRequest) -> Receipt:
        adapter.verify(request, None)
        try:
            parts = adapter.split(request)
        except NotUnderstood as fault:
            row = self._row(room, name, adapter, request, None, request.body)
            self._store([{**row, "state": "not_understood", "sentence": str(fault)[:500]}])
            return Receipt(200)
        rows = [
            self._row(room, name, adapter, request, door, part)
            for account, part in parts
            for door in self._doors(name, "account", account)
        ]
        if not rows:
            return Receipt(404, "No store is connected under this account.")
        self._store(rows)
        return Receipt(200)

    def _row(
        self, room: str, name: str, adapter: Any, request: WebhookRequest, door: _Door | None, part: bytes
    ) -> dict[str, Any]:
        whole = part is request.body
        return delivery_row(
            room,
            name,
            adapter,
            request if whole else WebhookRequest(request.headers, part, request.query),
            store_id=door.store_id if door else None,
            connection_id=door.connection_id if door else None,
            account=door.account.name if door else "",
            source="webhook",
            at=self._house.clock.now(),
        )

    def _store(self, rows: list[dict[str, Any]]) -> None:
        self._commit.put(rows)
        self.counts["stored"] += len(rows)

    def _ring(self, rows: list[dict[str, Any]]) -> None:
        reached("receive.after_commit")
        for store_id in {row["store_id"] for row in rows if row["store_id"] is not None}:
            self._house.ring("process", store_id)

    def _doors(self, adapter: str, by: str, value: str) -> list[_Door]:
        """The connections behind a token or an account. Remembered briefly; an unknown one is looked up every time."""
        if not value:
            return []
        key = (adapter, f"{by}:{value}")
        known = self._known.get(key)
        if known is not None and known[0] > time.monotonic():
            return known[1]
        named = (
            Connection.token_hash == value
            if by == "token"
            else or_(Connection.account == value, and_(Connection.alias == value, Connection.removed_at.is_(None)))
        )
        # an erased store gets no more mail kept, but for the platform's own word that it was installed again
        kept = or_(Store.erased_at.is_(None), Connection.room == "stores")
        with self._house.db.operator() as session:
            doors = [
                _Door(c.store_id, c.id, c.room, c.opened(self._house.vault) if by == "token" else Account(c.account))
                for c in session.scalars(
                    select(Connection).join(Store).where(Connection.adapter == adapter, named, kept)
                )
            ]
        if len(self._known) > 20_000:
            self._known.clear()
        if doors:
            self._known[key] = (time.monotonic() + 5.0, doors)
        return doors


@dataclass(frozen=True, slots=True)
class _Door:
    store_id: int
    connection_id: int
    room: str
    account: Account = field(repr=False)


def delivery_row(
    room: str,
    name: str,
    adapter: Any,
    request: WebhookRequest,
    *,
    store_id: int | None,
    connection_id: int | None,
    account: str,
    source: str,
    at: datetime,
) -> dict[str, Any]:
    """A request as a row: only the headers its adapter keeps, the body as it came."""
    return {
        "store_id": store_id,
        "connection_id": connection_id,
        "room": room,
        "adapter": name,
        "account": account,
        "key": adapter.delivery_key(request)[:128],
        "source": source,
        "headers": {h: value[:500] for h in adapter.keeps if (value := request.headers.get(h)) is not None},
        "body": request.body,
        "state": "received",
        "sentence": "",
        "subjects": [],
        "received_at": at,
        "processed_at": None,
    }


def post(house: House, connection: Connection, answers: Sequence[WebhookRequest]) -> None:
    """What a vendor answered when it was asked goes through the door of webhooks: one path for push and pull."""
    adapter = house.registry.get(connection.room, connection.adapter)
    rows = [
        delivery_row(
            connection.room,
            adapter.name,
            adapter,
            answer,
            store_id=connection.store_id,
            connection_id=connection.id,
            account=connection.account,
            source="poll",
            at=house.clock.now(),
        )
        for answer in answers
    ]
    if rows:
        insert_ignoring(house.db, DELIVERIES, rows)
        house.ring("process", connection.store_id)


# -- process -------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Letter:
    """A stored request, read outside the lane."""

    id: int
    room: str
    connection_id: int | None
    adapter_name: str
    adapter: Any
    facts: list[Fact]
    state: str = "processed"
    sentence: str = ""


def process(house: House, store_id: int, *, seconds: float = 2.0, batch: int | None = None) -> bool:
    """Understand what is waiting for one store, for a bounded slice of time. True when more is waiting."""
    ends = time.monotonic() + seconds
    size = batch or (
        40 if house.db.is_sqlite else 100
    )  # SQLite has one writer: a shorter turn keeps webhooks waiting less
    while True:
        letters = _read(house, store_id, size)
        if not letters:
            return False
        try:
            bells = _apply(house, store_id, letters)
        except OperationalError:
            raise
        except Exception:
            log.warning("process.batch_failed", store_id=store_id, size=len(letters))
            bells = _one_by_one(house, store_id, letters)
        reached("process.after_commit")
        house.ring_all(bells, store_id)
        if len(letters) < size:
            return False
        if time.monotonic() > ends:
            return True


def _read(house: House, store_id: int, size: int) -> list[_Letter]:
    """The oldest waiting requests, parsed. Parsing is pure, so it needs no lock."""
    with house.db.read(store_id) as session:
        rows = session.scalars(
            select(WebhookDelivery)
            .where(WebhookDelivery.state == inline("received"))
            .order_by(WebhookDelivery.id)
            .limit(size)
        ).all()
    return [_parse(house, row) for row in rows]


def _parse(house: House, row: WebhookDelivery) -> _Letter:
    adapter = house.registry.find(row.room, row.adapter)
    letter = _Letter(row.id, row.room, row.connection_id, row.adapter, adapter, [])
    if adapter is None:
        letter.state, letter.sentence = "not_understood", f"there is no adapter called {row.adapter} any more"
        return letter
    try:
        letter.facts = adapter.parse(WebhookRequest(row.headers, row.body))
        if not letter.facts:
            letter.state = "ignored"
    except NotUnderstood as fault:
        letter.facts = list(fault.facts)
        letter.state, letter.sentence = "not_understood", str(fault)
    except Exception as fault:
        letter.state, letter.sentence = "failed", place_of(fault)
        log.error("parse.bug", adapter=row.adapter, delivery_id=row.id, fault=letter.sentence)
    return letter


def _apply(house: House, store_id: int, letters: Sequence[_Letter]) -> set[str]:
    """Facts become records, transitions, messages to send: one transaction. Returns the doors to ring."""
    with house.db.lane(store_id) as session:
        waiting = select(WebhookDelivery.id, WebhookDelivery.subjects).where(
            WebhookDelivery.id.in_([letter.id for letter in letters]), WebhookDelivery.state == inline("received")
        )
        known_subjects: dict[int, list[str]] = {row.id: row.subjects for row in session.execute(waiting)}
        alive = [letter for letter in letters if letter.id in known_subjects]
        work = Work(house, session, store_id)
        work.fetch([fact for letter in alive for fact in letter.facts])
        outcomes = []
        for letter in alive:
            subjects = set(known_subjects[letter.id])
            for fact in letter.facts:
                APPLY[type(fact)](work, fact, letter, subjects)
                count_unknown(session, letter.adapter_name, fact)
            outcomes.append(
                {
                    "id": letter.id,
                    "state": letter.state,
                    "sentence": letter.sentence[:500],
                    "subjects": sorted(subjects),
                    "processed_at": session.now(),
                }
            )
        session.amend(WebhookDelivery, outcomes)
        reached("process.before_commit")
        return set(session.bells)


def _one_by_one(house: House, store_id: int, letters: Sequence[_Letter]) -> set[str]:
    bells: set[str] = set()
    for letter in letters:
        try:
            bells |= _apply(house, store_id, [letter])
        except OperationalError:
            raise
        except NotUnderstood as fault:
            _set_aside(house, store_id, letter.id, "not_understood", str(fault))
        except Exception as fault:
            log.error("apply.bug", delivery_id=letter.id, fault=place_of(fault))
            _set_aside(house, store_id, letter.id, "failed", place_of(fault))
    return bells


def _set_aside(house: House, store_id: int, delivery_id: int, state: str, sentence: str) -> None:
    with house.db.lane(store_id) as session:
        row = session.get_one(WebhookDelivery, delivery_id)
        row.state, row.sentence, row.processed_at = state, sentence[:500], session.now()


def place_of(fault: BaseException) -> str:
    """A fault's type and place. Not its message: that may quote a customer's data."""
    frame = traceback.extract_tb(fault.__traceback__)[-1]
    return f"{type(fault).__name__} in {frame.name} (line {frame.lineno})"


class Work:
    """What applying a batch of facts needs, built once per transaction."""

    def __init__(self, house: House, session: Session, store_id: int) -> None:
        self.house, self.session = house, session
        self.store = session.get_one(Store, store_id)
        self.book = Book(session, self.store)
        self.post = Post(session)
        self._desk: Desk | None = None
        self._settled: Settled | None = None

    def fetch(self, facts: Sequence[Fact]) -> None:
        self.book.fetch(facts)
        self.post.fetch(facts)

    @property
    def desk(self) -> Desk:
        if self._desk is None:
            self._desk = Desk(self.session, self.store, self.house.registry)
        return self._desk

    @property
    def settled(self) -> Settled:
        if self._settled is None:
            self._settled = Settled(self.session, self.store)
        return self._settled

    def react(self, changes: Sequence[Change]) -> None:
        if changes:
            react(self.session, self.desk, self.settled, changes)


# -- what each fact does -------------------------------------------------------------------------------------------


def _order_changed(work: Work, fact: OrderChanged, letter: _Letter, subjects: set[str]) -> None:
    subjects.add(f"order:{fact.external_id}")
    connection = work.store.connection("stores")
    origin = connection.state.get("origin") if connection is not None else None
    if fact.origin and origin and fact.origin != origin:
        raise NotUnderstood("this order belongs to another shop: the request was replayed under a false name")
    known = work.book.order(fact.external_id)
    due = known.due.amount if known is not None and known.intents else None
    work.react(apply_order(work.book, fact, delivery_id=letter.id))
    if known is not None and due is not None:
        ask_for_the_rest(work.session, known, due)
        if known.payment == "paid" and due == 0 < known.due.amount:
            missing = f"{known.due.shown('en')} is missing since it was changed after it was paid"
            alert(work.session, known, missing, fact.occurred_at)


def _order_removed(work: Work, fact: OrderRemoved, letter: _Letter, subjects: set[str]) -> None:
    subjects.add(f"order:{fact.external_id}")
    apply_removed(work.book, fact, delivery_id=letter.id)
    if (order := work.book.order(fact.external_id)) is not None:
        leave_all(work.session, order)
        close_intents(work.session, order, "the store threw the order away")


def _payment_changed(work: Work, fact: PaymentChanged, letter: _Letter, subjects: set[str]) -> None:
    connection = work.session.get(Connection, letter.connection_id) if letter.connection_id is not None else None
    changes = apply_payment(
        work.book,
        fact,
        letter.adapter_name,
        merchant=merchant_of(connection),
        label=letter.adapter.label,
        delivery_id=letter.id,
    )
    if (intent := find_intent(work.session, letter.adapter_name, fact.order_ref, fact.checkout_ref)) is not None:
        subjects.add(f"order:{intent.order.external_id}")
    work.react(changes)


def _payment_hinted(work: Work, fact: PaymentHinted, letter: _Letter, subjects: set[str]) -> None:
    if not hint(work.session, fact, letter.adapter_name):
        raise NotUnderstood("a hint about a payment that nobody here asked for")


def _shipment_scanned(work: Work, fact: ShipmentScanned, letter: _Letter, subjects: set[str]) -> None:
    work.react(apply_scan(work.book, fact, letter.adapter_name, delivery_id=letter.id))
    parcels = work.book.parcels(fact.tracking_number)
    subjects.update(f"order:{parcel.order.external_id}" for parcel in parcels)
    if not parcels:
        letter.sentence = "scans of a parcel that no order here has yet are kept until one does"


def _message_received(work: Work, fact: MessageReceived, letter: _Letter, subjects: set[str]) -> None:
    message = apply_message(work.session, fact)
    work.book.look_again(fact.person)
    if message is not None:
        subjects.add(f"contact:{message.conversation.contact_point_id}")
        hear(work.session, work.desk, work.settled, message)


def _message_echoed(work: Work, fact: MessageEchoed, letter: _Letter, subjects: set[str]) -> None:
    apply_echo(work.session, fact)
    work.book.look_again(fact.person)


def _message_status(work: Work, fact: MessageStatusChanged, letter: _Letter, subjects: set[str]) -> None:
    apply_message_status(work.house, work.session, work.post, fact, letter.adapter.failure)


def _person_changed(work: Work, fact: PersonChanged, letter: _Letter, subjects: set[str]) -> None:
    apply_person_changed(work.session, fact)
    work.book.look_again(fact.old)
    work.book.look_again(fact.new)


def _preference_stated(work: Work, fact: PreferenceStated, letter: _Letter, subjects: set[str]) -> None:
    contact = meet(work.session, fact.person)
    work.session.flush()
    work.book.look_again(fact.person)
    state = GRANTED if fact.granted else REVOKED
    record_consent(
        work.session,
        contact,
        fact.purpose,
        state,
        source="channel",
        evidence="the customer's own setting",
        at=fact.occurred_at,
    )


def _template_changed(work: Work, fact: TemplateChanged, letter: _Letter, subjects: set[str]) -> None:
    """The newest word holds. Two words of one second say nothing about their order, and the third may be taken for a
    repeat of the first; so the channel is asked again when that second is over.
    """
    query = select(Template).where(Template.name == fact.name, Template.code == fact.language)
    for template in work.session.scalars(query):
        if template.changed_at is not None and fact.occurred_at < template.changed_at.replace(microsecond=0):
            continue
        if template.changed_at is not None and fact.occurred_at == template.changed_at.replace(microsecond=0):
            hurry(work.session, template.connection_id, "templates", after=timedelta(seconds=2))
        template.vendor_id = fact.vendor_id or template.vendor_id
        template.status = fact.status or template.status
        template.category = fact.category or template.category
        template.quality = fact.quality or template.quality
        template.reason = fact.reason[:300] or template.reason
        template.changed_at = fact.occurred_at
        if fact.status == "approved":
            hurry_waiting(work.session)


def hurry_waiting(session: Session) -> None:
    """A template was approved: whoever waited for one need not wait longer."""
    its = select(Touchpoint.id).where(Touchpoint.id == Outbox.touchpoint_id, Touchpoint.store_id == session.store_id)
    waiting = its.where(Touchpoint.reason == "template_pending", Touchpoint.state == "queued").exists()
    session.execute(
        update(Outbox)
        .where(Outbox.state == inline("queued"), Outbox.kind == "message", waiting)
        .values(due_at=session.now())
        .execution_options(synchronize_session=False)
    )
    session.bells.add("deliver")


def _channel_changed(work: Work, fact: ChannelChanged, letter: _Letter, subjects: set[str]) -> None:
    """News of the number in use. Not of one used before, nor from before this one was connected. (1970 is undated.)"""
    channel = work.desk.channel
    if channel is None or letter.connection_id not in (None, channel.id):
        return
    if fact.occurred_at.year > 1970 and fact.occurred_at < channel.connected_at.replace(microsecond=0):
        return
    channel.remember(**fact.details)
    if fact.healthy is False:
        channel.broke(fact.sentence)
    elif fact.healthy is True:
        channel.mended(fact.sentence)


def _store_uninstalled(work: Work, fact: StoreUninstalled, letter: _Letter, subjects: set[str]) -> None:
    uninstall(work.store, fact.occurred_at)


def _store_access_broken(work: Work, fact: StoreAccessBroken, letter: _Letter, subjects: set[str]) -> None:
    if (connection := work.store.connection("stores")) is not None:
        connection.broke(fact.sentence)


def _scopes_changed(work: Work, fact: ScopesChanged, letter: _Letter, subjects: set[str]) -> None:
    if (connection := work.store.connection("stores")) is not None:
        connection.remember(scopes=list(fact.scopes))


def _privacy_requested(work: Work, fact: PrivacyRequested, letter: _Letter, subjects: set[str]) -> None:
    privacy.record(work.session, fact)
    work.session.bells.add("chores")


APPLY: Mapping[type, Callable[[Work, Any, _Letter, set[str]], None]] = {
    OrderChanged: _order_changed,
    OrderRemoved: _order_removed,
    PaymentChanged: _payment_changed,
    PaymentHinted: _payment_hinted,
    ShipmentScanned: _shipment_scanned,
    MessageReceived: _message_received,
    MessageEchoed: _message_echoed,
    MessageStatusChanged: _message_status,
    PersonChanged: _person_changed,
    PreferenceStated: _preference_stated,
    TemplateChanged: _template_changed,
    ChannelChanged: _channel_changed,
    StoreUninstalled: _store_uninstalled,
    StoreAccessBroken: _store_access_broken,
    ScopesChanged: _scopes_changed,
    PrivacyRequested: _privacy_requested,
}


# -- replay and sweep ----------------------------------------------------------------------------------------------


def replay(house: House, store_id: int, delivery_id: int) -> str:
    """Understand a stored request again, say after its adapter learned. Applying twice is harmless. Returns its new
    state.
    """
    with house.db.lane(store_id) as session:
        row = session.get(WebhookDelivery, delivery_id)
        if row is None:
            raise LookupError(f"there is no delivery {delivery_id}")
        row.state, row.sentence = "received", ""
    with house.db.read(store_id) as session:
        letter = _parse(house, session.get_one(WebhookDelivery, delivery_id))
    house.ring_all(_one_by_one(house, store_id, [letter]), store_id)
    with house.db.read(store_id) as session:
        return session.get_one(WebhookDelivery, delivery_id).state


_NOW, _MACHINE = bindparam("now", type_=Instant), bindparam("machine", type_=Instant)


def _queued(kind: str) -> Select[int]:
    mine = (Outbox.kind == kind, Outbox.state == inline("queued"), Outbox.due_at <= _NOW)
    return select(Outbox.store_id).where(*mine).distinct()


_WAITING = union_all(*(query.add_columns(inline(door)) for door, query in {
    "process": select(WebhookDelivery.store_id).where(WebhookDelivery.state == inline("received")).distinct(),
    "advance": select(Enrollment.store_id).where(Enrollment.next_due_at <= _NOW).distinct(),
    "deliver": _queued("message"),
    "write": _queued("write_back"),
    "courier": _queued("courier"),
    # not DISTINCT: SQLite would then walk every row by store instead of the few in flight by time
    "settle": select(Outbox.store_id).where(Outbox.leased_until < _MACHINE),
}.items()))  # fmt: skip
"""(store, door) of everything that waits, in one question: it is asked every second, and mostly finds nothing."""


def sweep(house: House) -> Iterator[tuple[str, int]]:
    """(door, store) for everything that waits and has perhaps not been rung for: a lost bell costs seconds."""
    at = {"now": house.clock.now(), "machine": house.clock.machine()}
    with house.db.operator() as session:
        for store_id, door in {tuple(row) for row in session.execute(_WAITING, at)}:
            if store_id is not None:
                yield "deliver" if door == "settle" else door, store_id


def not_understood(session: Session, room: str, limit: int) -> Sequence[WebhookDelivery]:
    """What came from the vendors of a room and fits nothing here, the newest first."""
    strange = select(WebhookDelivery).where(
        WebhookDelivery.state == inline("not_understood"), WebhookDelivery.room == room
    )
    return session.scalars(strange.order_by(WebhookDelivery.id.desc()).limit(limit)).all()


def waiting(session: Session) -> dict[str, int]:
    """How many requests are in which state."""
    counted = session.execute(select(WebhookDelivery.state, func.count()).group_by(WebhookDelivery.state))
    return {row[0]: row[1] for row in counted}


def prune(session: Session) -> int:
    """Forget requests that are done with: 14 days, failures 90."""
    now = session.now()
    done = ("processed", "ignored")
    gone = 0
    for states, days in ((done, 14), (("not_understood", "failed"), 90)):
        query = select(WebhookDelivery.id).where(
            WebhookDelivery.state.in_(states), WebhookDelivery.received_at < now - timedelta(days=days)
        )
        ids = session.scalars(query.limit(5000)).all()
        session.execute(delete(WebhookDelivery).where(WebhookDelivery.id.in_(ids)))
        gone += len(ids)
    return gone
