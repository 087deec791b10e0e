"""The one door out: what a late report does to what is under way."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from sqlalchemy import select

from integration.db import Session
from integration.events import MessageStatusChanged
from integration.house import House
from integration.inbox import Message, conversation_with
from integration.orders import Order
from integration.outbox import (
    Outbox,
    Post,
    Touchpoint,
    apply_message_status,
    put_courier,
    put_message,
    settle_overdue,
)  # fmt: skip

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


def _doubtful(house: House, store_id: int, *, for_: timedelta = timedelta(0)) -> int:
    """A question of which the channel never said whether it took it; the wait for proof is over. The id of its row."""
    with house.db.lane(store_id) as session:
        row = _sent(session, factories.order(session, contact_point_id=factories.contact(session).id))
        row.state, row.settled_at = "unknown", None
        row.attempted_at = row.unknown_at = session.now() - timedelta(seconds=30) - for_
        row.leased_until = house.clock.machine() - timedelta(seconds=1)
        session.scalars(select(Message)).one().vendor_id = None
        return row.id


def _sent_later(house: House, store_id: int, *, ago: timedelta = timedelta(0), **moments: datetime) -> None:
    with house.db.lane(store_id) as session:
        first = session.scalars(select(Message).order_by(Message.id)).first()
        assert first is not None
        session.add(
            Message(
                store_id=store_id, conversation_id=first.conversation_id, sender="us", kind="text", at=session.now(),
                seen_at=session.now(), accepted_at=session.now() - ago, **moments,
            )
        )  # fmt: skip


@pytest.mark.parametrize(
    ("later", "since", "becomes"),
    [
        ("nothing", timedelta(0), "queued"),
        ("silence", timedelta(0), "unknown"),
        ("silence", timedelta(hours=1), "queued"),
        ("a report", timedelta(0), "queued"),
    ],
)
def test_silence_counts_only_while_the_channel_speaks_of_what_it_took_later(
    house: House, store_id: int, later: str, since: timedelta, becomes: str
) -> None:
    row_id = _doubtful(house, store_id, for_=since)
    if later != "nothing":
        _sent_later(house, store_id)
    if later == "a report":
        _sent_later(house, store_id, sent_at=house.clock.now())
    settle_overdue(house, store_id)
    with house.db.read(store_id) as session:
        assert session.get_one(Outbox, row_id).state == becomes


@pytest.mark.parametrize(("reported", "becomes"), [(10, "unknown"), (89, "unknown"), (91, "queued")])
def test_a_report_that_overtook_says_little_and_one_of_half_a_wait_later_says_enough(
    house: House, store_id: int, reported: int, becomes: str
) -> None:
    """Seconds after the attempt at which the channel took the newest message it reported on. The wait is 180 s."""
    assert house.settings.evidence_wait == 180
    row_id = _doubtful(house, store_id, for_=timedelta(seconds=200))  # 230 s ago
    _sent_later(house, store_id, ago=timedelta(seconds=230 - reported), sent_at=house.clock.now())
    _sent_later(house, store_id)
    settle_overdue(house, store_id)
    with house.db.read(store_id) as session:
        assert session.get_one(Outbox, row_id).state == becomes


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


def test_what_was_put_in_by_a_transaction_that_failed_can_be_put_in_again(house: House, store_id: int) -> None:
    with house.db.lane(store_id) as session:
        order = factories.order(session)
    with house.db.lane(store_id) as session:
        assert put_courier(session, order, "cancel/x/1", {"do": "cancel"})
        assert not put_courier(session, order, "cancel/x/1", {"do": "cancel"})
        session.rollback()
        assert put_courier(session, order, "cancel/x/1", {"do": "cancel"})
    with house.db.read(store_id) as session:
        assert len(session.scalars(select(Outbox)).all()) == 1
