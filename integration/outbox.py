"""The one door out: what is meant to leave the house, why, and what became of it.

A `Touchpoint` is one contact made or withheld, with the step's data copied in, so that an enrollment in flight keeps
the version it began with. An `Outbox` row is one intent, message or store write-back. `deliver` commits "about to
send attempt n" before it calls the vendor and the outcome after; a crash in between leaves `unknown`, which is
settled by evidence (the channel's status webhook carries our reference back), or after a bounded wait by the class of
the message.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint, func, or_, select, text, update
from sqlalchemy.orm import Mapped, mapped_column, relationship, selectinload

from .access import live_connection, open_account
from .catalogue import Shelf, Template, shelve, wording
from .checkpoints import reached
from .customers import MARKETING, REVOKED, UTILITY, ContactPoint, record_consent
from .db import Base, Id, Instant, Json, Session, Tenant, inline
from .errors import ConfigurationError, OutcomeUnknown, PermanentError, PermissionMissing, TransientError
from .events import MessageStatusChanged, OrderChanged
from .guards import Case, Verdict, may_send
from .house import House
from .inbox import Conversation, Message, apply_status, begin_conversation, conversation_with
from .intents import CHECKOUT, TRANSFER, Means, accounts_of, called
from .orders import Order, Shipment
from .ports import Accepted, Account, Advice, Failure, Outgoing, ParcelTold, PaymentTold, Registry, StoreChange
from .rendering import (
    body,
    choices,
    days_to_choose,
    given_values,
    order_values,
    parcel_values,
    payment_values,
    reply_text,
)
from .stores import Connection, Store
from .transactions import channels_of, wallets

log = structlog.get_logger(__name__)

MAX_ATTEMPTS = 6
DOUBLE_TAP = timedelta(minutes=10)
"""A second tap that soon is the same tap to the customer: what follows the first one is answer enough."""

_BATCH = 64
_AHEAD = timedelta(seconds=2)
_BURST = 20
"""Messages to one person that may go at once; under the vendor's own burst, and the interval is the vendor's."""


class Touchpoint(Tenant, Base):
    """One contact made or withheld: a step of a journey whose time has come, or an answer to a customer."""

    __tablename__ = "touchpoints"
    __table_args__ = (
        UniqueConstraint("store_id", "key", name="one_touchpoint_per_key"),
        Index("touchpoints_of_order", "order_id"),
    )  # fmt: skip

    id: Mapped[int] = mapped_column(Id, primary_key=True, sort_order=-2)
    key: Mapped[str] = mapped_column(String(160))
    enrollment_id: Mapped[int | None] = mapped_column(
        Id, ForeignKey("enrollments.id", ondelete="CASCADE"), index=True, default=None
    )
    order_id: Mapped[int | None] = mapped_column(Id, ForeignKey("orders.id", ondelete="CASCADE"), default=None)
    contact_point_id: Mapped[int | None] = mapped_column(
        Id, ForeignKey("contact_points.id", ondelete="SET NULL"), default=None
    )
    journey: Mapped[str] = mapped_column(String(40))
    step: Mapped[str] = mapped_column(String(40))
    template: Mapped[str] = mapped_column(String(64), default="")
    reply: Mapped[str] = mapped_column(String(64), default="")
    message_class: Mapped[str] = mapped_column(String(16), default=UTILITY)
    critical: Mapped[bool] = mapped_column(default=True)
    """Order-critical: without evidence it is sent once more rather than not at all."""
    prompt: Mapped[bool] = mapped_column(default=False)
    free_only: Mapped[bool] = mapped_column(default=False)
    answers: Mapped[bool] = mapped_column(default=False)
    """It answers something the customer just wrote or tapped."""
    relevance: Mapped[dict[str, list[str]]] = mapped_column(Json, default=dict)
    shipment_id: Mapped[int | None] = mapped_column(Id, ForeignKey("shipments.id", ondelete="CASCADE"), default=None)
    given: Mapped[dict[str, str]] = mapped_column(Json, default=dict)
    """Values of an answer that no record holds: the day that was chosen, the address that was written."""
    because: Mapped[str] = mapped_column(String(200), default="")
    due_at: Mapped[datetime] = mapped_column(Instant)
    stale_at: Mapped[datetime | None] = mapped_column(Instant, default=None)
    state: Mapped[str] = mapped_column(String(16), default="queued")
    """queued, sent, skipped, cancelled, failed or unknown."""
    reason: Mapped[str] = mapped_column(String(40), default="")
    sentence: Mapped[str] = mapped_column(String(300), default="")
    checks: Mapped[list[dict[str, Any]]] = mapped_column(Json, default=list)
    made_at: Mapped[datetime] = mapped_column(Instant)
    settled_at: Mapped[datetime | None] = mapped_column(Instant, default=None)

    # "none": a row added here must not have the session walk the whole order again
    order: Mapped[Order | None] = relationship(cascade="none")
    contact: Mapped[ContactPoint | None] = relationship(cascade="none")
    shipment: Mapped[Shipment | None] = relationship(cascade="none")

    def settle(self, state: str, at: datetime, reason: str = "", sentence: str = "") -> None:
        self.state, self.settled_at = state, at
        self.reason, self.sentence = reason, sentence[:300]


class Outbox(Tenant, Base):
    """One thing that is to leave the house, and its fate."""

    __tablename__ = "outbox"
    __table_args__ = (
        UniqueConstraint("store_id", "key", name="one_intent_per_key"),
        Index("outbox_due", "store_id", "kind", "due_at", sqlite_where=text("state = 'queued'"),
              postgresql_where=text("state = 'queued'")),
        Index("outbox_in_flight", "leased_until", sqlite_where=text("leased_until IS NOT NULL"),
              postgresql_where=text("leased_until IS NOT NULL")),
        Index("outbox_of_order", "order_id"),
        Index("outbox_of_contact", "contact_point_id", "attempted_at"),
    )  # fmt: skip

    id: Mapped[int] = mapped_column(Id, primary_key=True, sort_order=-2)
    key: Mapped[str] = mapped_column(String(160))
    kind: Mapped[str] = mapped_column(String(12))
    """message, write_back or courier."""
    touchpoint_id: Mapped[int | None] = mapped_column(
        Id, ForeignKey("touchpoints.id", ondelete="CASCADE"), index=True, default=None
    )
    order_id: Mapped[int | None] = mapped_column(Id, ForeignKey("orders.id", ondelete="CASCADE"), default=None)
    contact_point_id: Mapped[int | None] = mapped_column(
        Id, ForeignKey("contact_points.id", ondelete="SET NULL"), default=None
    )
    change: Mapped[dict[str, Any] | None] = mapped_column(Json, default=None)
    """What the store (ports.StoreChange) or a courier (couriers.py) is told. A message is rendered when it is sent."""
    counts_as: Mapped[str] = mapped_column(String(16), default="")
    state: Mapped[str] = mapped_column(String(16), default="queued")
    """queued, sending, sent, failed, unknown or cancelled."""
    attempts: Mapped[int] = mapped_column(default=0)
    due_at: Mapped[datetime] = mapped_column(Instant)
    attempted_at: Mapped[datetime | None] = mapped_column(Instant, default=None)
    leased_until: Mapped[datetime | None] = mapped_column(Instant, default=None)
    """Machine time: until when a send in flight, or the wait for evidence, is given."""
    unknown_at: Mapped[datetime | None] = mapped_column(Instant, default=None)
    """When it was last in doubt whether the channel took it; kept when that is settled."""
    proof_until: Mapped[int | None] = mapped_column(Id, default=None)
    """The newest stored request when the wait for proof was over: up to here the proof may still lie unread."""
    refused_attempt: Mapped[int] = mapped_column(default=0)
    """The last attempt that the channel took and later reported as failed."""
    error_code: Mapped[str] = mapped_column(String(24), default="")
    sentence: Mapped[str] = mapped_column(Text, default="")
    settled_by: Mapped[str] = mapped_column(String(24), default="")
    """answer (the vendor's reply), status (its status webhook) or rule (the class of the message)."""
    created_at: Mapped[datetime] = mapped_column(Instant)
    settled_at: Mapped[datetime | None] = mapped_column(Instant, default=None)

    touchpoint: Mapped[Touchpoint | None] = relationship(cascade="none")
    order: Mapped[Order | None] = relationship(cascade="none")
    contact: Mapped[ContactPoint | None] = relationship(cascade="none")

    @property
    def reference(self) -> str:
        return f"dk:{self.id}:{self.attempts}"

    def settle(self, state: str, at: datetime, *, by: str, sentence: str = "", code: str = "") -> None:
        self.state, self.settled_at, self.settled_by, self.leased_until = state, at, by, None
        self.sentence, self.error_code = sentence, code[:24]
        if self.touchpoint is not None:
            self.touchpoint.settle(state, at, code or state if state != "sent" else "", sentence)


# -- putting in ----------------------------------------------------------------------------------------------------


def put_message(session: Session, touch: Touchpoint, *, due_at: datetime | None = None) -> None:
    """A touchpoint that may go, now or later, goes into the outbox."""
    row = Outbox(
        store_id=session.store_id,
        key=f"touch/{touch.key}",
        kind="message",
        due_at=due_at or session.now(),
        created_at=session.now(),
        counts_as="" if touch.answers else (MARKETING if touch.message_class == MARKETING else UTILITY),
    )
    session.append(row, touchpoint_id=touch, order_id=touch.order, contact_point_id=touch.contact)
    session.bells.add("deliver")


def put_write_back(session: Session, order: Order, key: str, change: StoreChange | ParcelTold | PaymentTold) -> None:
    """Something the store should know about an order. The key makes it once."""
    full_key = f"write/{order.external_id}/{key}"
    if not _is_new(session, full_key):
        return
    row = Outbox(
        store_id=session.store_id,
        key=full_key,
        kind="write_back",
        due_at=session.now(),
        change=asdict(change),
        created_at=session.now(),
    )
    session.append(row, order_id=order)
    session.bells.add("write")


def put_instruction(session: Session, shipment: Shipment, said: object, advice: Advice) -> None:
    """What a courier shall do with a parcel. `said` names what asked for it, a message or a merchant's tap; what was
    asked for before, and not told yet, gives way.
    """
    for row in instructions(session, shipment):
        if row.state == "queued":
            row.state, row.settled_at = "cancelled", session.now()
            row.sentence = "something else was asked for since"
    change = {"do": "advise", "adapter": shipment.adapter, "shipment_id": shipment.id, "advice": stated(advice)}
    put_courier(session, shipment.order, f"advice/{shipment.token}/{said}", change)


def stated(advice: Advice) -> dict[str, str]:
    """Advice as an instruction keeps it."""
    return {**asdict(advice), "on": advice.on.isoformat() if advice.on else ""}


def instructions(session: Session, shipment: Shipment) -> list[Outbox]:
    """What was asked for a parcel, the oldest first."""
    session.flush()  # it may be of this very transaction
    asked = select(Outbox).where(Outbox.order_id == shipment.order_id, Outbox.kind == "courier").order_by(Outbox.id)
    about = {"do": "advise", "shipment_id": shipment.id}
    return [row for row in session.scalars(asked) if about.items() <= (row.change or {}).items()]


def put_courier(session: Session, order: Order, key: str, change: dict[str, Any]) -> bool:
    """Something a courier is to do, see couriers.py. The key makes it once; false when it is there already."""
    if not _is_new(session, key):
        return False
    row = Outbox(
        store_id=session.store_id,
        key=key,
        kind="courier",
        due_at=session.now(),
        change=change,
        created_at=session.now(),
    )
    session.append(row, order_id=order)
    session.bells.add("courier")
    return True


def _is_new(session: Session, key: str) -> bool:
    """Has nobody put this key in, neither before nor in this very transaction, whose rows are still to be written?"""
    put: set[str] = session.info.setdefault("outbox_keys", set())
    if key in put or session.scalar(select(Outbox.id).where(Outbox.key == key)) is not None:
        return False
    put.add(key)
    return True


def cancel_touchpoint(session: Session, touch: Touchpoint, reason: str, sentence: str) -> None:
    """A queued touchpoint has become pointless. One in flight can no longer be stopped."""
    if touch.id is None:
        session.flush()  # it and its outbox row are of this very transaction
    row = session.scalar(select(Outbox).where(Outbox.touchpoint_id == touch.id))
    if row is not None and row.state != "queued":
        return
    if row is not None:
        row.state, row.settled_at, row.sentence = "cancelled", session.now(), sentence
    touch.settle("cancelled", session.now(), reason, sentence)


# -- deciding ------------------------------------------------------------------------------------------------------


class Desk:
    """What deciding about a batch of touchpoints needs, looked up once per transaction."""

    def __init__(self, session: Session, store: Store, registry: Registry) -> None:
        self.session = session
        self.store = store
        self._registry = registry
        self._gateways: list[tuple[Any, Connection]] | None = None
        self.channel = live_connection(session, "channels")
        held = select(Template).where(Template.connection_id == (self.channel.id if self.channel is not None else 0))
        self.templates: Shelf = shelve(session.scalars(held))
        self._couriers: dict[str, datetime] | None = None
        self._sent: dict[int, dict[str, int]] = {}
        self._conversations: dict[int, Conversation | None] = {}

    def courier_since(self, adapter: str) -> datetime | None:
        """Since when the merchant's account at a courier is connected; None when it is not."""
        if self._couriers is None:
            living = select(Connection).where(Connection.room == "couriers", Connection.removed_at.is_(None))
            self._couriers = {c.adapter: c.connected_at for c in self.session.scalars(living)}
        return self._couriers.get(adapter)

    def means(self, order: Order, wanted: str = "") -> Means | None:
        """How an order's customer can pay it: by what they chose in the store, or by the means that the merchant wants
        (a gateway's name, or a wallet's). A gateway goes before a transfer by hand: it proves itself.
        """
        if self._gateways is None:
            living = select(Connection).where(Connection.room == "payments", Connection.removed_at.is_(None))
            known = [(self._registry.find("payments", c.adapter), c) for c in self.session.scalars(living)]
            self._gateways = [(adapter, connection) for adapter, connection in known if adapter is not None]
        for adapter, connection in self._gateways:
            names = (adapter.name, adapter.label, *adapter.known_as)
            takes = not adapter.currencies or order.currency in adapter.currencies
            if takes and (wanted == adapter.name if wanted else called(names, order.gateway)):
                return Means(CHECKOUT, adapter.name, adapter.label, connection.id)
        chosen = {channel for method in order.gateway.split(",") for channel in channels_of(method)}
        for account in accounts_of(self.store.policy):
            named = account.wallet in chosen or called(account.names, order.gateway)
            if account.wallet in wallets() and (wanted == account.wallet if wanted else named):
                return Means(TRANSFER, account.wallet, wallets()[account.wallet].label)
        return None

    def gather(self, contact_ids: Iterable[int | None]) -> None:
        wanted = {i for i in contact_ids if i is not None} - self._conversations.keys()
        if not wanted:
            return
        self._conversations |= dict.fromkeys(wanted)
        for conversation in self.session.scalars(select(Conversation).where(Conversation.contact_point_id.in_(wanted))):
            self._conversations[conversation.contact_point_id] = conversation
        counted = self.session.execute(
            select(Outbox.contact_point_id, Outbox.counts_as, func.count())
            .where(
                Outbox.contact_point_id.in_(wanted),
                Outbox.counts_as != "",
                Outbox.state.in_(("sending", "sent", "unknown")),
                Outbox.attempted_at > self.session.now() - timedelta(days=1),
            )
            .group_by(Outbox.contact_point_id, Outbox.counts_as)
        )
        for contact_id, kind, count in counted:
            if contact_id is not None:
                self._sent.setdefault(contact_id, {})[kind] = count

    def conversation(self, contact: ContactPoint) -> Conversation:
        self.gather([contact.id])
        known = self._conversations[contact.id]
        if known is None:
            known = self._conversations[contact.id] = begin_conversation(self.session, contact)
        return known

    def case(self, touch: Touchpoint) -> Case:
        contact = touch.contact
        conversation = None
        if touch.answers and contact is not None:
            self._conversations.pop(contact.id, None)  # what is answered may have begun the conversation just now
        if contact is not None and contact.id is not None:
            self.gather([contact.id])
            conversation = self._conversations[contact.id]
        return Case(
            now=self.session.now(),
            store=self.store,
            asked=touch,
            order=touch.order,
            parcel=touch.shipment.place if touch.shipment is not None else None,
            contact=contact,
            conversation=conversation,
            channel=self.channel,
            templates=self.templates,
            sent_today=self._sent.get(contact.id, {}) if contact is not None and contact.id else {},
        )

    def consider(self, touch: Touchpoint) -> Verdict:
        """Ask the guards and write down what they saw."""
        verdict = may_send(self.case(touch))
        touch.checks = verdict.checks
        if verdict.outcome == "skip":
            touch.settle("skipped", self.session.now(), verdict.reason, verdict.sentence)
        else:
            touch.reason, touch.sentence = verdict.reason, verdict.sentence
        return verdict


# -- delivering messages -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Send:
    outbox_id: int
    attempt: int
    contact_id: int
    message: Outgoing
    not_before: datetime


@dataclass(frozen=True, slots=True)
class _Outcome:
    outbox_id: int
    attempt: int
    result: Accepted | str | Exception


def deliver(house: House, store_id: int, *, seconds: float = 3.0) -> bool:
    """Send what is due for one store, for a bounded slice of time. True when more is waiting."""
    ends = time.monotonic() + seconds
    settle_overdue(house, store_id)
    pump = _Pump(house, store_id)
    more = True
    while True:
        # while a slow call holds the slice open, its time is used
        if more and pump.in_flight < _BATCH and (time.monotonic() < ends or pump.waits_since(ends)):
            more = _claim_messages(house, store_id, pump)
            reached("deliver.after_claim")
        if not pump.in_flight:
            return more
        pump.turn()


class _Pump:
    """Calls under way. Their outcomes are recorded in small groups, so that a crash forgets few of them."""

    def __init__(self, house: House, store_id: int) -> None:
        self._house, self._store_id = house, store_id
        self._open: dict[Future[Any], tuple[int, int, float]] = {}
        self._group: list[_Outcome] = []
        self._recorded = time.monotonic()
        self.failure: Callable[[str], Failure] | None = None

    @property
    def in_flight(self) -> int:
        return len(self._open)

    def waits_since(self, moment: float) -> bool:
        """Is a call still open that was begun before then?"""
        return any(begun < moment for _, _, begun in self._open.values())

    def call(self, outbox_id: int, attempt: int, work: Callable[[], Any]) -> None:
        self._open[self._house.hands.submit(work)] = (outbox_id, attempt, time.monotonic())

    def turn(self) -> None:
        """Wait a moment for answers; write down what came."""
        done, _ = wait(self._open, timeout=0.1, return_when=FIRST_COMPLETED)
        for future in done:
            outbox_id, attempt, _ = self._open.pop(future)
            fault = future.exception()
            if fault is not None and not isinstance(fault, Exception):
                raise fault
            self._group.append(_Outcome(outbox_id, attempt, fault or future.result()))
        due = not self._open or len(self._group) >= 20 or time.monotonic() - self._recorded > 0.25
        if self._group and due:
            reached("deliver.before_record")
            _record(self._house, self._store_id, self._group, self.failure)
            reached("deliver.after_record")
            self._group, self._recorded = [], time.monotonic()


def _claim_messages(house: House, store_id: int, pump: _Pump) -> bool:
    """Commit "about to send attempt n" for a batch and start the sends. True when it is worth coming back at once."""
    sends: list[_Send] = []
    with house.db.lane(store_id) as session:
        rows = _due(session, "message")
        if not rows:
            return False
        desk = Desk(session, session.get_one(Store, store_id), house.registry)
        desk.gather(row.contact_point_id for row in rows)
        machine = house.clock.machine()
        adapter = house.registry.get("channels", desk.channel.adapter) if desk.channel is not None else None
        busy = set(
            session.scalars(
                select(Outbox.contact_point_id).where(
                    Outbox.contact_point_id.in_({row.contact_point_id for row in rows if row.contact_point_id}),
                    Outbox.state == "sending",
                    Outbox.kind == "message",
                )
            )
        )
        left = 0
        for row in rows:
            if row.contact_point_id is not None and row.contact_point_id in busy:
                left += 1  # one at a time to a person, so that they read in the order we wrote
                continue
            touch = _touchpoint(row)
            if touch.order is not None and not touch.answers and touch.order.contact_point_id != row.contact_point_id:
                row.contact = touch.contact = touch.order.contact  # the merchant has corrected the number meanwhile
            verdict = desk.consider(touch)
            if verdict.outcome == "skip":
                row.state, row.settled_at, row.sentence = "cancelled", session.now(), verdict.sentence
            elif verdict.outcome == "defer":
                row.due_at = verdict.until or session.now()
            else:
                assert row.contact is not None and desk.channel is not None and adapter is not None
                slot = _slot(desk.channel, row.contact, adapter, machine)
                if slot is None:
                    row.due_at = session.now() + timedelta(seconds=adapter.pair_interval)
                elif slot > machine + _AHEAD:
                    left += 1  # the number's throughput is spoken for
                else:
                    busy.add(row.contact.id)
                    sends.append(_commit_to(session, desk, row, verdict, slot, house))
        account = desk.channel.opened(house.vault) if desk.channel is not None and sends else Account("")
    if adapter is not None:
        pump.failure = adapter.failure
    for send in sends:
        pump.call(send.outbox_id, send.attempt, _sender(house, adapter, account, send))
    return (left > 0 or len(rows) == _BATCH) and (bool(sends) or left < len(rows))


def _touchpoint(row: Outbox) -> Touchpoint:
    assert row.touchpoint is not None
    return row.touchpoint


def _due(session: Session, kind: str) -> Sequence[Outbox]:
    return session.scalars(
        select(Outbox)
        .where(Outbox.kind == kind, Outbox.state == inline("queued"), Outbox.due_at <= session.now())
        .order_by(Outbox.due_at, Outbox.id)
        .limit(_BATCH)
        .options(
            selectinload(Outbox.touchpoint).selectinload(Touchpoint.shipment),
            selectinload(Outbox.order).options(selectinload(Order.items), selectinload(Order.intents)),
            selectinload(Outbox.contact).selectinload(ContactPoint.consents),
        )
    ).all()


def _slot(channel: Connection, contact: ContactPoint, adapter: Any, machine: datetime) -> datetime | None:
    """The moment this send may go by the number's throughput; None when the person has had a burst already."""
    interval = timedelta(seconds=adapter.pair_interval)
    owed = max(contact.next_send_at or machine, machine)
    if owed - machine > interval * _BURST:
        return None
    rate = int(channel.state.get("rate") or 80)
    slot = max(channel.next_send_at or machine, machine)
    if slot <= machine + _AHEAD:
        channel.next_send_at = slot + timedelta(seconds=1 / rate)
        contact.next_send_at = owed + interval
    return slot


def _commit_to(session: Session, desk: Desk, row: Outbox, verdict: Verdict, slot: datetime, house: House) -> _Send:
    """Render the words and record that this attempt is about to be made."""
    touch, contact = row.touchpoint, row.contact
    assert touch is not None and contact is not None
    row.attempts += 1
    row.state, row.attempted_at = "sending", session.now()
    row.leased_until = slot + timedelta(seconds=house.settings.send_lease)
    outgoing = _render(desk, row, touch, contact, verdict, house.settings.public_url)
    message = session.scalar(select(Message).where(Message.outbox_id == row.id)) if row.attempts > 1 else None
    if message is None:
        message = Message(
            store_id=row.store_id,
            order_id=row.order_id,
            touchpoint_id=touch.id,
            outbox_id=row.id,
            sender="us",
            kind=outgoing.kind,
            at=session.now(),
            seen_at=session.now(),
        )
        session.append(message, conversation_id=desk.conversation(contact))
    message.attempt, message.kind, message.text = row.attempts, outgoing.kind, outgoing.text
    message.choices = [choice.title for choice in outgoing.buttons]
    message.payload = outgoing.buttons[0].id if outgoing.buttons else ""
    message.template, message.language = outgoing.template, verdict.language
    message.failed_at, message.error_code, message.error_text = None, "", ""
    return _Send(row.id, row.attempts, contact.id, outgoing, slot)


def _render(
    desk: Desk, row: Outbox, touch: Touchpoint, contact: ContactPoint, verdict: Verdict, public_url: str
) -> Outgoing:
    language, now = verdict.language, desk.session.now()
    values = order_values(touch.order, desk.store, language, now)
    if touch.shipment is not None:
        values |= parcel_values(touch.shipment, desk.store, language, now, public_url)
    elif touch.order is not None and touch.order.intents:
        values |= payment_values(touch.order, desk.store, language, public_url)
    values |= given_values(touch.given, language)
    key = touch.reply or touch.template
    text_ = reply_text(touch.reply, language, values) if touch.reply else body(touch.template, language, values)
    buttons = choices(key, touch.order, language, touch.shipment, days_to_choose(desk.store, now))
    kind = "template" if verdict.template else ("text" if not buttons else "buttons" if len(buttons) <= 3 else "list")
    words = wording(language)
    return Outgoing(
        kind=kind,
        phone=contact.phone,
        user_id=contact.user_id,
        reference=row.reference,
        text=text_,
        buttons=buttons,
        list_label=words.lists["reasons"] if kind == "list" else "",
        template=verdict.template.name if verdict.template else "",
        language=verdict.template.code if verdict.template else "",
        parameters=tuple((name, values[name]) for name in words.variables(touch.template)) if verdict.template else (),
    )


def _sender(house: House, adapter: Any, account: Account, send: _Send) -> Callable[[], Accepted]:
    latest = send.not_before + timedelta(seconds=house.settings.send_lease / 2)

    def call() -> Accepted:
        ahead = (send.not_before - house.clock.machine()).total_seconds()
        if ahead > 0:
            time.sleep(ahead)  # the number's throughput, see _slot
        if house.clock.machine() > latest:
            raise TransientError("the process was held up, so this attempt was never begun")
        accepted: Accepted = adapter.send(account, send.message)
        reached("deliver.after_send")
        return accepted

    return call


def _record(house: House, store_id: int, group: Sequence[_Outcome], failure: Any) -> None:
    with house.db.lane(store_id) as session:
        outcomes = {outcome.outbox_id: outcome for outcome in group}
        rows = session.scalars(
            select(Outbox)
            .where(Outbox.id.in_(outcomes))
            .options(selectinload(Outbox.touchpoint), selectinload(Outbox.contact))
        ).all()
        messages = {
            message.outbox_id: message
            for message in session.scalars(select(Message).where(Message.outbox_id.in_(outcomes)))
        }
        for row in rows:
            _record_one(house, session, row, messages.get(row.id), outcomes[row.id], failure)


def _record_one(
    house: House, session: Session, row: Outbox, message: Message | None, outcome: _Outcome, failure: Any
) -> None:
    now, result = session.now(), outcome.result
    if isinstance(result, Accepted):
        if message is not None:
            message.vendor_id = message.vendor_id or result.vendor_id
            message.note("accepted", now)
            message.held = result.held
        if row.contact is not None and result.channel_id:
            row.contact.channel_id = result.channel_id
        if row.state != "sent":
            row.settle("sent", now, by="answer")
        return
    if isinstance(result, str):
        row.settle("sent", now, by="answer", sentence=result)
        return
    if row.state == "sent" or row.attempts != outcome.attempt:
        return  # a status webhook has settled it meanwhile, or this answer is of an older attempt
    match result:
        case OutcomeUnknown():
            _to_unknown(house, row, str(result))
        case TransientError():
            _again(house, session, row, message, str(result), result.retry_after, result.code or "")
        case PermissionMissing():
            row.state, row.due_at, row.leased_until = "queued", now + timedelta(hours=1), None
            row.sentence = str(result)
        case ConfigurationError():
            connection = live_connection(session, "channels" if row.kind == "message" else "stores")
            if connection is not None:
                connection.broke(str(result))
            row.state, row.due_at, row.leased_until = "queued", now + timedelta(minutes=10), None
            row.sentence = str(result)
        case PermanentError():
            verdict: Failure | None = failure(result.code or "") if failure is not None else None
            _give_up(house, session, row, message, verdict, str(result), result.code or result.reason)
        case _:
            log.error("outbox.bug", outbox_id=row.id, fault=repr(result))
            _to_unknown(house, row, f"our own fault: {type(result).__name__}")


def _to_unknown(house: House, row: Outbox, why: str) -> None:
    """It may have happened. Wait for evidence; write-backs and instructions to couriers look first, so they may simply
    be done again.
    """
    if row.kind != "message":
        row.state, row.leased_until, row.sentence, row.unknown_at = "queued", None, why, house.clock.now()
        row.due_at = house.clock.now() + timedelta(seconds=_backoff(row.attempts))
        return
    row.state, row.sentence, row.unknown_at, row.proof_until = "unknown", why, house.clock.now(), None
    row.leased_until = house.clock.machine() + timedelta(seconds=house.settings.evidence_wait)
    if row.touchpoint is not None:
        row.touchpoint.state, row.touchpoint.sentence = (
            "unknown",
            f"WhatsApp has not said whether it took it ({why})"[:300],
        )


def _again(
    house: House, session: Session, row: Outbox, message: Message | None, why: str, retry_after: float | None, code: str
) -> None:
    """It did not happen. Try later, with growing patience, a bounded number of times."""
    if row.attempts >= MAX_ATTEMPTS:
        _mark_failed(row, message, session.now(), f"gave up after {row.attempts} attempts: {why}", code)
        return
    row.state, row.leased_until, row.sentence, row.error_code = "queued", None, why, code[:24]
    row.due_at = house.clock.now() + timedelta(seconds=retry_after or _backoff(row.attempts))
    if row.touchpoint is not None:
        row.touchpoint.state, row.touchpoint.reason, row.touchpoint.sentence = "queued", "retrying", why[:300]


def _backoff(attempts: int) -> float:
    return float(min(2 * 4 ** max(attempts - 1, 0), 900))


def _mark_failed(row: Outbox, message: Message | None, at: datetime, sentence: str, code: str) -> None:
    row.settle("failed", at, by="answer", sentence=sentence, code=code)
    if message is not None:
        message.note("failed", at)
        message.error_code, message.error_text = code[:24], sentence[:300]


def _give_up(
    house: House, session: Session, row: Outbox, message: Message | None, failure: Failure | None, said: str, code: str
) -> None:
    """The channel said no for good. What the code means decides what else follows."""
    action = failure.action if failure is not None else "give_up"
    sentence = failure.sentence if failure is not None else said
    now, contact = session.now(), row.contact
    if action == "unreachable" and contact is not None:
        contact.unreachable_at = now
    elif action == "stop_marketing" and contact is not None:
        record_consent(session, contact, MARKETING, REVOKED, source="channel", evidence=f"error {code}", at=now)
    elif action == "channel_broken":
        connection = live_connection(session, "channels")
        if connection is not None:
            connection.broke(sentence)
        row.state, row.due_at, row.leased_until, row.sentence = "queued", now + timedelta(minutes=10), None, sentence
        return
    elif action == "window_closed" and contact is not None and row.attempts < 2:
        conversation_with(session, contact).last_inbound_at = None  # we were wrong about the window: use the template
        row.state, row.due_at, row.leased_until, row.sentence = "queued", now, None, sentence
        session.bells.add("deliver")
        return
    elif action == "template_gone":
        _distrust_template(session, message)
        if row.attempts < 3:
            row.state, row.due_at, row.leased_until, row.sentence = "queued", now, None, sentence
            return
    elif action in ("retry", "slow_down", "retry_later"):
        _again(house, session, row, message, sentence, failure.retry_after if failure else None, code)
        return
    _mark_failed(row, message, now, sentence, code)


def _distrust_template(session: Session, message: Message | None) -> None:
    """The channel no longer knows a template as approved: the next attempt picks another, the next sync finds out
    why.
    """
    if message is not None and message.template:
        session.execute(
            update(Template)
            .where(Template.name == message.template, Template.language == message.language)
            .values(status="unknown", reason="the channel refused to send it")
            .execution_options(synchronize_session=False)
        )


# -- evidence ------------------------------------------------------------------------------------------------------

_REFERENCE = re.compile(r"dk:(\d{1,18}):(\d{1,4})")


def referenced(fact: MessageStatusChanged) -> tuple[int, int] | None:
    """(outbox id, attempt) that a status speaks of, by the reference we sent along."""
    found = _REFERENCE.fullmatch(fact.reference)
    return (int(found[1]), int(found[2])) if found else None


class Post:
    """Our messages that a batch of statuses speaks of, looked up at once."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._rows: dict[int, Outbox] = {}
        self._messages: dict[int, Message] = {}
        self._asked: set[str] = set()
        self.known_users: set[str] | None = set()
        """Of the user ids that the statuses tell, those that are some contact point's already. None when the batch has
        other facts too, which may bring in any.
        """

    def fetch(self, facts: Iterable[Any]) -> None:
        facts = list(facts)
        statuses = [fact for fact in facts if isinstance(fact, MessageStatusChanged)]
        if not all(isinstance(fact, MessageStatusChanged | OrderChanged) for fact in facts):
            self.known_users = None
        users = {f.person.user_id for f in statuses if f.person is not None and f.person.user_id} - self._asked
        if users and self.known_users is not None:
            self._asked |= users
            known = select(ContactPoint.user_id).where(ContactPoint.user_id.in_(users))
            self.known_users.update(user for user in self._session.scalars(known) if user is not None)
        ids = {r[0] for fact in statuses if (r := referenced(fact))} - self._rows.keys()
        if not ids:
            return
        query = select(Outbox).where(Outbox.id.in_(ids)).options(selectinload(Outbox.touchpoint))
        self._rows |= {row.id: row for row in self._session.scalars(query)}
        said = select(Message).where(Message.outbox_id.in_(ids)).options(selectinload(Message.conversation))
        self._messages |= {m.outbox_id: m for m in self._session.scalars(said) if m.outbox_id is not None}

    def find(self, fact: MessageStatusChanged) -> tuple[Outbox | None, Message | None, int]:
        """(outbox row, message, attempt) of a status; nothing when it is about no message of ours."""
        if (named := referenced(fact)) is not None:
            self.fetch([fact])
            return self._rows.get(named[0]), self._messages.get(named[0]), named[1]
        return None, self._session.scalar(select(Message).where(Message.vendor_id == fact.vendor_id)), 0


def apply_message_status(
    house: House, session: Session, post: Post, fact: MessageStatusChanged, failure: Callable[[str], Failure]
) -> None:
    """A status webhook: moments of the message, and proof for a send whose outcome was unknown."""
    row, message, attempt = post.find(fact)
    if message is not None and message.vendor_id not in (None, fact.vendor_id):
        if row is not None:
            row.sentence = "sent twice: proof of an earlier attempt came after the second had gone"
        return
    if row is not None and 0 < attempt <= row.refused_attempt and fact.status not in ("delivered", "read"):
        return  # reported as failed already; statuses come in any order, and this one is older
    if fact.status == "failed":
        _failed_later(house, session, row, message, fact, attempt, failure)
        return
    apply_status(session, fact, message, post.known_users)
    if row is not None and row.state != "sent" and (row.state != "failed" or row.settled_by == "rule"):
        doubt = "its outcome was in doubt until the channel reported it" if row.unknown_at is not None else ""
        row.settle("sent", session.now(), by="status", sentence=doubt)


def _failed_later(
    house: House,
    session: Session,
    row: Outbox | None,
    message: Message | None,
    fact: MessageStatusChanged,
    attempt: int,
    failure: Callable[[str], Failure],
) -> None:
    if message is not None and message.delivered_at is not None:
        return  # a failure after delivery is noise
    apply_status(session, fact, message, None)
    if row is None or row.attempts != attempt or row.state == "failed":
        return
    meaning: Failure = failure(fact.error_code)
    row.error_code, row.refused_attempt = fact.error_code[:24], attempt
    _give_up(house, session, row, message, meaning, fact.error_text, fact.error_code)
    if row.state == "queued":
        if message is not None:
            message.vendor_id = None  # the next attempt gets an id of its own
        if row.touchpoint is not None:
            row.touchpoint.state = "queued"


def settle_overdue(house: House, store_id: int) -> None:
    """Sends whose process died become unknown; unknowns whose wait is over are settled by their class."""
    machine = house.clock.machine()
    with house.db.read(store_id) as session:
        overdue = session.scalar(select(func.count()).select_from(Outbox).where(Outbox.leased_until < machine))
    if not overdue:
        return
    with house.db.lane(store_id) as session:
        rows = session.scalars(
            select(Outbox).where(Outbox.leased_until < machine).options(selectinload(Outbox.touchpoint)).limit(500)
        ).all()
        oldest_unread, newest = _mail(session)
        reports = _Reports(session, rows, timedelta(seconds=house.settings.evidence_wait))
        for row in rows:
            if row.state == "sending":
                _to_unknown(house, row, "the process that was sending it ended")
                continue
            if row.proof_until is None:
                row.proof_until = newest
            unread = oldest_unread is not None and oldest_unread <= row.proof_until
            if unread or reports.are_behind(row):
                row.leased_until = machine + timedelta(seconds=1)
            elif row.touchpoint is not None and row.touchpoint.critical and row.attempts < MAX_ATTEMPTS:
                row.state, row.due_at, row.leased_until = "queued", session.now(), None
                row.sentence = "no proof came that it was taken, so it is sent once more"
                row.touchpoint.state = "queued"
            else:
                why = "WhatsApp never said whether it took it"
                row.settle("failed", session.now(), by="rule", sentence=why, code="outcome_unknown")


class _Reports:
    """How far the channel's reports have come: it may be behind, and then silence about one message proves nothing."""

    def __init__(self, session: Session, rows: Sequence[Outbox], wait: timedelta) -> None:
        self._now, self._wait = session.now(), wait
        doubted = select(func.min(Message.id)).where(Message.outbox_id.in_([row.id for row in rows]))
        oldest = session.scalar(doubted) or 0
        said = or_(Message.sent_at.is_not(None), Message.delivered_at.is_not(None), Message.failed_at.is_not(None))
        taken = select(func.max(Message.accepted_at)).where(Message.id > oldest, Message.sender == "us")
        self._taken: datetime | None = session.scalar(taken) if oldest else None
        self._told: datetime | None = session.scalar(taken.where(said)) if oldest else None
        """The newest message that the channel took, and the newest of those that it reported on."""

    def are_behind(self, row: Outbox) -> bool:
        """Reports overtake each other, so those on what was taken right after this one say little: half the usual wait
        later is late enough, or the last there is. Believed for four times the wait.
        """
        since = row.attempted_at
        if since is None or self._taken is None or self._taken <= since:
            return False
        if self._now > (row.unknown_at or since) + 4 * self._wait:
            return False
        told = self._told or since
        return told < self._taken and told < since + self._wait / 2


def _mail(session: Session) -> tuple[int | None, int]:
    """The oldest request of this store that nobody has read yet, and the newest of all, whoever's, read or not.
    ingest.py owns the table and imports this module.
    """
    table = Base.metadata.tables["webhook_deliveries"]
    waits = (table.c.store_id == session.store_id, table.c.state == inline("received"))
    connection = session.connection()
    unread = connection.scalar(select(func.min(table.c.id)).where(*waits))
    return unread, connection.scalar(select(func.max(table.c.id))) or 0


# -- write-backs ---------------------------------------------------------------------------------------------------


def write(house: House, store_id: int, *, seconds: float = 5.0) -> bool:
    """Tell the store what is due, for a bounded slice of time. True when more is waiting."""
    ends = time.monotonic() + seconds
    settle_overdue(house, store_id)
    while True:
        with house.db.lane(store_id) as session:
            connection = live_connection(session, "stores")
            rows = _to_write(session)
            if not rows or connection is None:
                return False
            machine = house.clock.machine()
            for row in rows:
                row.attempts += 1
                row.state, row.attempted_at = "sending", session.now()
                row.leased_until = machine + timedelta(seconds=house.settings.send_lease * 2)
            work = [(row.id, row.attempts, _thawed(row.change, house.settings.public_url)) for row in rows]
            connection_id, adapter = connection.id, house.registry.get("stores", connection.adapter)
        reached("deliver.after_claim")
        try:
            account = open_account(house, store_id, connection_id)
        except (ConfigurationError, TransientError) as fault:
            _record(house, store_id, [_Outcome(i, attempt, fault) for i, attempt, _ in work], None)
            return False
        pump = _Pump(house, store_id)
        for outbox_id, attempt, change in work:
            while pump.in_flight >= adapter.concurrency:
                pump.turn()
            pump.call(outbox_id, attempt, _writer(adapter, account, change))
        while pump.in_flight:
            pump.turn()
        if time.monotonic() > ends:
            return True


def _to_write(session: Session) -> list[Outbox]:
    """Write-backs to make now: one of an order at a time, so that the store hears them in the order in which things
    happened, and none whose answer has been replaced by another since.
    """
    due = sorted(_due(session, "write_back"), key=lambda row: row.id)
    under_way = select(Outbox.order_id).where(
        Outbox.order_id.in_({row.order_id for row in due}), Outbox.kind == "write_back", Outbox.state == "sending"
    )
    busy = set(session.scalars(under_way))
    chosen: list[Outbox] = []
    for row in due:
        stands = _STANDS.get(str((row.change or {}).get("outcome")))
        if stands is not None and row.order is not None and row.order.confirmation != stands:
            row.state, row.settled_at = "cancelled", session.now()
            row.sentence = "the order has changed since, so the store was not told"
        elif row.order_id not in busy and len(chosen) < _WRITES:
            busy.add(row.order_id)
            chosen.append(row)
    return chosen


_STANDS = {"confirmed": "confirmed", "declined": "declined", "no_answer": "expired"}
"""The confirmation of an order for which each outcome may still be told to the store."""

_WRITES = 16
"""Write-backs claimed at once."""


_TELLS = {ParcelTold: "tell_parcel", PaymentTold: "tell_payment", StoreChange: "write_back"}


def _writer(adapter: Any, account: Account, change: StoreChange | ParcelTold | PaymentTold) -> Callable[[], str]:
    tell = getattr(adapter, _TELLS[type(change)])

    def call() -> str:
        sentence: str = tell(account, change)
        reached("writeback.after_call")
        return sentence

    return call


def _thawed(change: dict[str, Any] | None, public_url: str) -> StoreChange | ParcelTold | PaymentTold:
    """A write-back as it was put in. Addresses of ours are kept without where we live, which may change."""
    assert change is not None
    at = datetime.fromisoformat(change["at"])
    if "number" in change:
        return ParcelTold(**{**change, "at": at, "url": public_url + change["url"]})
    if "whole" in change:
        return PaymentTold(**{**change, "at": at})
    return StoreChange(**{**change, "at": at, "tags": tuple(change["tags"])})
