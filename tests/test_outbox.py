"""The one door out: what a late report does to what is under way."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from integration.db import Session
from integration.events import MessageStatusChanged
from integration.house import House
from integration.inbox import Message, conversation_with
from integration.orders import Order
from integration.outbox import Outbox, Post, Touchpoint, apply_message_status, put_message

from . import factories


def _sent(session: Session, order: Order) -> Outbox:
    """A question about the order that the channel took as its first attempt."""
    touch = Touchpoint(
        store_id=session.store_id, key=f"ask/{order.id}", journey="cod_confirmation", step="ask",
        template="cod_confirmation", due_at=session.now(), made_at=session.now(),
    )  # fmt: skip
    touch.order, touch.contact = order, order.contact
    session.add(touch)
    put_message(session, touch)
    session.flush()
    row = session.scalars(select(Outbox).where(Outbox.touchpoint_id == touch.id)).one()
    row.attempts, row.attempted_at = 1, session.now()
    row.settle("sent", session.now(), by="answer")
    message = Message(
        store_id=session.store_id, order_id=order.id, touchpoint_id=touch.id, outbox_id=row.id, sender="us",
        kind="template", at=session.now(), seen_at=session.now(), vendor_id="wamid.1",
    )  # fmt: skip
    message.conversation = conversation_with(session, order.contact)
    session.add(message)
    session.flush()
    return row


def _told(house: House, session: Session, row: Outbox, status: str, *, attempt: int = 1, code: str = "") -> None:
    """WhatsApp reports what became of an attempt."""
    fact = MessageStatusChanged(
        vendor_id=f"wamid.{attempt}", reference=f"dk:{row.id}:{attempt}", status=status, error_code=code,
        occurred_at=session.now(),
    )  # fmt: skip
    apply_message_status(house, session, Post(session), fact, house.registry.get("channels", "whatsapp").failure)
    session.flush()


@pytest.fixture
def store_id(house: House) -> int:
    return factories.store(house)


@pytest.mark.parametrize("code", ["131000", "131047", "132015"])
def test_a_late_word_about_a_failed_attempt_does_not_stop_the_next(house: House, store_id: int, code: str) -> None:
    """The failure is told first and `sent` of the same attempt after it: the message still goes once more, and what is
    told of the second attempt is heard.
    """
    with house.db.lane(store_id) as session:
        row = _sent(session, factories.order(session, contact=factories.contact(session)))
        _told(house, session, row, "failed", code=code)
        assert (row.state, row.refused_attempt) == ("queued", 1)
        _told(house, session, row, "sent")
        _told(house, session, row, "failed", code=code)
        assert row.state == "queued"

        row.attempts, row.state = 2, "sending"
        _told(house, session, row, "delivered", attempt=2)
        [message] = session.scalars(select(Message).where(Message.outbox_id == row.id))
        assert (row.state, row.sentence, message.vendor_id) == ("sent", "", "wamid.2")
        assert message.delivered_at is not None
