"""What was said: conversations, their messages, and the service window.

A message's status is derived from which moments are known (accepted, sent, delivered, read, failed): setting a moment
twice or out of order changes nothing, so duplicates and disorder in a channel's status webhooks are non-events.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint, select, update
from sqlalchemy.orm import Mapped, mapped_column, relationship
from sqlalchemy.orm.attributes import set_committed_value

from .customers import ContactPoint, Customer, contact_for_phone, new_contact
from .db import Base, Id, Instant, Json, Session, Tenant
from .events import MessageEchoed, MessageReceived, MessageStatusChanged, Person, PersonChanged

SERVICE_WINDOW = timedelta(hours=24)
"""How long after a customer's last message a business may answer freely. Outside it only approved templates go."""

MOMENTS = ("accepted", "sent", "delivered", "read")
"""A message's moments in rank order. `failed` stands beside them and counts only while nothing was delivered."""


class Conversation(Tenant, Base):
    """All that was said with one contact point."""

    __tablename__ = "conversations"
    __table_args__ = (Index("conversations_waiting", "store_id", "needs_person"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True, sort_order=-2)
    contact_point_id: Mapped[int] = mapped_column(Id, ForeignKey("contact_points.id", ondelete="CASCADE"), unique=True)
    last_inbound_at: Mapped[datetime | None] = mapped_column(Instant, default=None)
    needs_person: Mapped[str] = mapped_column(String(200), default="")
    """Why a person should look, in a sentence. Empty when nobody has to."""
    needs_person_since: Mapped[datetime | None] = mapped_column(Instant, default=None)
    referral: Mapped[dict[str, Any] | None] = mapped_column(Json, default=None)
    awaits: Mapped[dict[str, Any] | None] = mapped_column(Json, default=None)
    """What the next free text answers, where we asked for one: see replies.py."""

    contact: Mapped[ContactPoint] = relationship(lazy="joined", cascade="none")
    messages: Mapped[list[Message]] = relationship(back_populates="conversation", lazy="select")

    def window_open(self, now: datetime) -> bool:
        return self.last_inbound_at is not None and now < self.last_inbound_at + SERVICE_WINDOW

    def call_for_person(self, why: str, at: datetime) -> None:
        if not self.needs_person:
            self.needs_person_since = at
        self.needs_person = why[:200]


class Message(Tenant, Base):
    """One message, in or out. Outgoing ones carry the words as they were sent."""

    __tablename__ = "messages"
    __table_args__ = (
        UniqueConstraint("store_id", "vendor_id", name="one_message_per_vendor_id"),
        Index("messages_of_conversation", "conversation_id", "at"),
        Index("messages_of_order", "order_id"),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True, sort_order=-2)
    conversation_id: Mapped[int] = mapped_column(Id, ForeignKey("conversations.id", ondelete="CASCADE"))
    order_id: Mapped[int | None] = mapped_column(Id, ForeignKey("orders.id", ondelete="SET NULL"), default=None)
    touchpoint_id: Mapped[int | None] = mapped_column(Id, default=None)
    outbox_id: Mapped[int | None] = mapped_column(Id, index=True, default=None)
    attempt: Mapped[int] = mapped_column(default=0)
    sender: Mapped[str] = mapped_column(String(8))
    """customer, us, or owner (written by the merchant in the phone app)."""
    kind: Mapped[str] = mapped_column(String(16))
    text: Mapped[str] = mapped_column(Text, default="")
    choices: Mapped[list[str]] = mapped_column(Json, default=list)
    template: Mapped[str] = mapped_column(String(128), default="")
    language: Mapped[str] = mapped_column(String(8), default="")
    payload: Mapped[str] = mapped_column(String(256), default="")
    context: Mapped[str] = mapped_column(String(160), default="")
    media: Mapped[dict[str, Any] | None] = mapped_column(Json, default=None)
    vendor_id: Mapped[str | None] = mapped_column(String(160), default=None)
    at: Mapped[datetime] = mapped_column(Instant)
    seen_at: Mapped[datetime] = mapped_column(Instant)
    """When Dastak learned of it. Vendors' clocks tell whole seconds, too coarse to order a tap and what it caused."""
    accepted_at: Mapped[datetime | None] = mapped_column(Instant, default=None)
    sent_at: Mapped[datetime | None] = mapped_column(Instant, default=None)
    delivered_at: Mapped[datetime | None] = mapped_column(Instant, default=None)
    read_at: Mapped[datetime | None] = mapped_column(Instant, default=None)
    failed_at: Mapped[datetime | None] = mapped_column(Instant, default=None)
    error_code: Mapped[str] = mapped_column(String(24), default="")
    error_text: Mapped[str] = mapped_column(String(300), default="")
    held: Mapped[bool] = mapped_column(default=False)

    conversation: Mapped[Conversation] = relationship(back_populates="messages")

    @property
    def status(self) -> str:
        if self.read_at:
            return "read"
        if self.delivered_at:
            return "delivered"
        if self.failed_at:
            return "failed"
        if self.sent_at:
            return "sent"
        return "accepted" if self.accepted_at else "sending"

    def note(self, status: str, at: datetime) -> None:
        """Record a moment. The first word for a moment holds; a later moment implies nothing about an earlier one."""
        if status == "played":
            status = "read"
        field = f"{status}_at"
        if status in (*MOMENTS, "failed") and getattr(self, field) is None:
            setattr(self, field, at)


# -- people --------------------------------------------------------------------------------------------------------


def find_contact(session: Session, person: Person) -> ContactPoint | None:
    """The contact point of a person, by user id or by any spelling of the phone; or None.

    When the two ids point at two contact points they are one person, and are merged.
    """
    by_user = by_phone = None
    if person.user_id:
        by_user = session.scalar(select(ContactPoint).where(ContactPoint.user_id == person.user_id))
    if person.phone:
        by_phone = contact_for_phone(session, person.phone)
    if by_user is not None and by_phone is not None and by_user is not by_phone:
        return _merge(session, keep=by_phone, lose=by_user)
    return by_user or by_phone


def meet(session: Session, person: Person) -> ContactPoint:
    """The contact point of a person who wrote, made when they are new."""
    session.flush()  # an order of this very batch may have brought the person in
    contact = find_contact(session, person)
    if contact is None:
        contact = new_contact(session, phone=person.phone, user_id=person.user_id, name=person.name)
    contact.phone = contact.phone or person.phone
    contact.user_id = person.user_id or contact.user_id
    contact.channel_id = person.channel_id or contact.channel_id
    if person.name and not contact.customer.name:
        contact.customer.name = person.name[:200]
    contact.unreachable_at = None
    return contact


def apply_person_changed(session: Session, fact: PersonChanged) -> None:
    """A number or user id changed by the person's own doing. Consent and history stay with the person."""
    contact = find_contact(session, fact.old)
    if contact is None:
        return
    other = find_contact(session, fact.new)
    if other is not None and other is not contact:
        contact = _merge(session, keep=contact, lose=other)
    if fact.new.phone and fact.new.phone != contact.phone:
        contact.phone, contact.former_phone = fact.new.phone, contact.phone
    contact.user_id = fact.new.user_id or contact.user_id
    contact.channel_id = fact.new.channel_id or contact.channel_id
    session.flush()  # who writes from the old number next is a stranger


def _merge(session: Session, *, keep: ContactPoint, lose: ContactPoint) -> ContactPoint:
    """Two contact points turned out to be one person: everything of `lose` becomes `keep`'s."""
    session.flush()
    mine, theirs = _conversation_of(session, keep), _conversation_of(session, lose)
    if mine is not None and theirs is not None:
        _repoint(session, "conversation_id", theirs.id, mine.id)
        mine.last_inbound_at = max(filter(None, (mine.last_inbound_at, theirs.last_inbound_at)), default=None)
        mine.needs_person = mine.needs_person or theirs.needs_person
        session.expunge(theirs)
        session.delete(session.get_one(Conversation, theirs.id))
        session.flush()
    elif theirs is not None:
        session.expire(theirs, ["contact"])  # somebody may hold it; it is read again once it is `keep`'s
    lost_customer, kept_customer = lose.customer_id, keep.customer_id
    keep.language = keep.language or lose.language
    keep.former_phone = keep.former_phone or lose.former_phone
    found = lose.user_id, lose.phone, lose.channel_id
    lose.user_id = lose.phone = None  # both are unique
    session.flush()
    keep.user_id, keep.phone, keep.channel_id = (
        mine_id or their_id
        for mine_id, their_id in zip((keep.user_id, keep.phone, keep.channel_id), found, strict=True)
    )
    _repoint(session, "contact_point_id", lose.id, keep.id)
    if lost_customer != kept_customer:
        _repoint(session, "customer_id", lost_customer, kept_customer)
    session.expunge(lose)
    session.delete(session.get_one(ContactPoint, lose.id))
    if lost_customer != kept_customer:
        session.delete(session.get_one(Customer, lost_customer, populate_existing=True))
    session.flush()
    session.expire(keep, ["consents"])
    return keep


def _repoint(session: Session, column: str, lose: int, keep: int) -> None:
    """Every row of every table that names `lose` in this column names `keep` from now on."""
    for mapper in Base.registry.mappers:
        if column in mapper.columns:
            table = mapper.class_
            session.execute(
                update(table)
                .where(getattr(table, column) == lose)
                .values({column: keep})
                .execution_options(synchronize_session="fetch")
            )


# -- conversations -------------------------------------------------------------------------------------------------


def _conversation_of(session: Session, contact: ContactPoint) -> Conversation | None:
    if contact.id is None:
        return None
    return session.scalar(select(Conversation).where(Conversation.contact_point_id == contact.id))


def conversation_with(session: Session, contact: ContactPoint) -> Conversation:
    """The conversation with a contact point, begun when there is none."""
    conversation = _conversation_of(session, contact)
    if conversation is None:
        if contact.id is None:
            session.flush()
        conversation = begin_conversation(session, contact)
        session.flush()
    return conversation


def begin_conversation(session: Session, contact: ContactPoint) -> Conversation:
    """The first conversation with a contact point of whom it is known that there is none."""
    conversation = Conversation(store_id=session.store_id, contact_point_id=contact.id)
    set_committed_value(conversation, "contact", contact)
    session.append(conversation)
    return conversation


def apply_message(session: Session, fact: MessageReceived) -> Message | None:
    """Store what a customer said. None when it is already here. Every inbound message opens the service window."""
    if session.scalar(select(Message.id).where(Message.vendor_id == fact.vendor_id)) is not None:
        return None
    conversation = conversation_with(session, meet(session, fact.person))
    latest = conversation.last_inbound_at
    conversation.last_inbound_at = max(latest, fact.occurred_at) if latest else fact.occurred_at
    if fact.referral and conversation.referral is None:
        conversation.referral = dict(fact.referral)
    message = Message(
        store_id=session.store_id,
        sender="customer",
        kind=fact.kind[:16],
        text=fact.text[:4096],
        payload=fact.payload[:256],
        context=fact.context[:160],
        media=dict(fact.media) if fact.media else None,
        vendor_id=fact.vendor_id[:160],
        at=fact.occurred_at,
        seen_at=session.now(),
    )
    message.conversation = conversation
    session.add(message)
    if fact.context:
        answered = session.scalar(select(Message).where(Message.vendor_id == fact.context))
        if answered is not None:
            message.order_id = answered.order_id
            answered.note("read", fact.occurred_at)  # who answers has read it, receipts or not
    session.flush()
    return message


def apply_echo(session: Session, fact: MessageEchoed) -> None:
    """The merchant answered from the phone app: part of the conversation, and the person has been looked after."""
    if session.scalar(select(Message.id).where(Message.vendor_id == fact.vendor_id)) is not None:
        return
    conversation = conversation_with(session, meet(session, fact.person))
    message = Message(
        store_id=session.store_id,
        sender="owner",
        kind=fact.kind[:16],
        text=fact.text[:4096],
        vendor_id=fact.vendor_id[:160],
        at=fact.occurred_at,
        seen_at=session.now(),
        sent_at=fact.occurred_at,
    )
    message.conversation = conversation
    session.add(message)
    conversation.needs_person, conversation.needs_person_since = "", None


def apply_status(
    session: Session, fact: MessageStatusChanged, message: Message | None, known_users: set[str] | None
) -> None:
    """Record what became of a message of ours. `known_users`: the user ids that are some contact point's already, so
    that nobody is looked up for a new one; None when that is not known.
    """
    if message is None:
        return  # sent from the app or another system: not ours to track
    message.note(fact.status, fact.occurred_at)
    if message.vendor_id is None and fact.vendor_id:
        message.vendor_id = fact.vendor_id[:160]
    if fact.status == "failed":
        message.error_code, message.error_text = fact.error_code[:24], fact.error_text[:300]
    person = fact.person
    if person is not None and fact.status != "failed":
        contact = message.conversation.contact
        contact.channel_id = person.channel_id or contact.channel_id
        if person.user_id and contact.user_id != person.user_id:
            if known_users is None or person.user_id in known_users:
                session.flush()
                contact = find_contact(session, Person(phone=contact.phone, user_id=person.user_id)) or contact
            contact.user_id = person.user_id
            if known_users is None:
                session.flush()  # the next fact may be a message of the same person
            else:
                known_users.add(person.user_id)
