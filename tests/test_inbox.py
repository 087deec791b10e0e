"""What was said: statuses that only rise, messages that come late or twice, things nobody can read."""

from __future__ import annotations

import hmac
import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from integration import inbox
from integration.customers import ContactPoint
from integration.db import Session
from integration.events import MessageEchoed, MessageReceived, MessageStatusChanged, Person
from integration.house import House
from integration.inbox import SERVICE_WINDOW, Conversation, Message, apply_echo, apply_message, conversation_with
from integration.ingest import Mailroom, WebhookDelivery, process, replay
from integration.outbox import Outbox, Post, Touchpoint, apply_message_status, put_message
from integration.stores import Connection, connect
from webapp.webhooks import Webhooks

from . import factories
from .contract.recorded import FIXTURES

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
AYESHA = Person(phone="+923001234567", channel_id="923001234567", name="Ayesha Khan")
NUMBER = "100000000000011"
"""The sending number of the recorded WhatsApp requests."""

RANK = {"sending": 0, "accepted": 1, "sent": 2, "failed": 3, "delivered": 4, "read": 5}
WORDS = ("accepted", "sent", "failed", "delivered", "read", "played")
HEARD = st.lists(st.sampled_from(WORDS), max_size=14)
"""Any statuses in any order, any number of times over."""


def _means(heard: list[str]) -> str:
    known = {"read" if word == "played" else word for word in heard}
    return max(known, key=lambda word: RANK[word], default="sending")


def _message(**values: Any) -> Message:
    return Message(**{"store_id": 1, "sender": "us", "kind": "text", "at": NOON, "seen_at": NOON, **values})


# -- statuses ------------------------------------------------------------------------------------------------------


@given(HEARD)
def test_a_status_only_rises_whatever_comes_in_whatever_order(heard: list[str]) -> None:
    message, ranks = _message(), []
    for minute, word in enumerate(heard):
        message.note(word, NOON + timedelta(minutes=minute))
        ranks.append(RANK[message.status])
    assert ranks == sorted(ranks)
    assert message.status == _means(heard)


@given(HEARD, st.randoms())
def test_order_and_repetition_of_statuses_mean_nothing(heard: list[str], chance: Any) -> None:
    """Every moment has its own time at the vendor, so the same moments in another order leave the same message."""
    told = [(word, NOON + timedelta(minutes=RANK["read" if word == "played" else word])) for word in heard]
    one, other = _message(), _message()
    for word, at in told:
        one.note(word, at)
    again = [*told, *told]
    chance.shuffle(again)
    for word, at in again:
        other.note(word, at)
    moments = [f"{name}_at" for name in (*inbox.MOMENTS, "failed")]
    assert [getattr(one, moment) for moment in moments] == [getattr(other, moment) for moment in moments]
    assert one.status == other.status


@given(st.text(max_size=20).filter(lambda word: word not in (*WORDS, "played")))
def test_a_status_nobody_knows_changes_nothing(word: str) -> None:
    message = _message()
    message.note(word, NOON)
    assert message.status == "sending"


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(heard=st.lists(st.sampled_from([word for word in WORDS if word != "failed"]), max_size=10), chance=st.randoms())
def test_the_same_statuses_over_several_deliveries_end_the_same(house: House, heard: list[str], chance: Any) -> None:
    """In the database, in transactions cut anywhere: the message and the send end as the set of words says."""
    store_id = factories.store(house)
    with house.db.lane(store_id) as session:
        contact = factories.contact(session)
        due = {"due_at": NOON, "contact_point_id": contact.id}
        touch = Touchpoint(key="t", journey="x", step="x", made_at=NOON, state="unknown", **due)
        session.add(touch)
        session.flush()
        row = Outbox(
            key="o", kind="message", state="unknown", attempts=1, created_at=NOON, touchpoint_id=touch.id, **due
        )
        session.add(row)
        session.flush()
        said = _message(store_id=store_id, outbox_id=row.id, conversation_id=conversation_with(session, contact).id)
        session.add(said)
    words = list(heard)
    failure = house.registry.get("channels", "whatsapp").failure
    while words:
        cut = chance.randint(1, len(words))
        with house.db.lane(store_id) as session:
            post = Post(session)
            for word in words[:cut]:
                fact = MessageStatusChanged(vendor_id="wamid.1", reference=row.reference, status=word, occurred_at=NOON)
                apply_message_status(house, session, post, fact, failure)
        words = words[cut:]
    with house.db.read(store_id) as session:
        kept = session.scalars(select(Message)).one()
        proven = bool(heard)
        assert kept.status == _means(heard)
        assert kept.vendor_id == ("wamid.1" if proven else None)
        assert session.scalars(select(Outbox.state)).one() == ("sent" if proven else "unknown")
        assert session.scalars(select(Touchpoint.state)).one() == ("sent" if proven else "unknown")


def test_a_status_of_a_message_that_is_not_ours_is_nobodys_business(house: House) -> None:
    store_id = factories.store(house)
    failure = house.registry.get("channels", "whatsapp").failure
    with house.db.lane(store_id) as session:
        for reference in ("", "dk:999:1", "somebody else's"):
            fact = MessageStatusChanged(vendor_id="wamid.x", reference=reference, status="read", occurred_at=NOON)
            apply_message_status(house, session, Post(session), fact, failure)
        assert session.scalar(select(func.count()).select_from(Message)) == 0


# -- what customers say --------------------------------------------------------------------------------------------


def _said(number: int, minutes: int, **values: Any) -> MessageReceived:
    at = NOON + timedelta(minutes=minutes)
    given: dict[str, Any] = {"person": AYESHA, "vendor_id": f"wamid.in{number}", "kind": "text", "text": f"{minutes}"}
    return MessageReceived(occurred_at=at, **given | values)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.integers(-3000, 3000), min_size=1, max_size=6, unique=True), st.randoms())
def test_messages_that_come_late_or_twice_leave_one_conversation(house: House, minutes: list[int], chance: Any) -> None:
    """Each is kept once; the window counts from the newest the customer wrote, not from the last to arrive."""
    store_id = factories.store(house, channel=False)
    arrived = [_said(number, minute) for number, minute in enumerate(minutes)] * 2
    chance.shuffle(arrived)
    with house.db.lane(store_id) as session:
        news = [apply_message(session, fact) is not None for fact in arrived]
    assert sum(news) == len(minutes)
    with house.db.read(store_id) as session:
        [talk] = session.scalars(select(Conversation))
        newest = NOON + timedelta(minutes=max(minutes))
        assert talk.last_inbound_at == newest
        assert talk.window_open(newest + SERVICE_WINDOW - timedelta(seconds=1))
        assert not talk.window_open(newest + SERVICE_WINDOW)
        texts = session.scalars(select(Message.text).order_by(Message.at)).all()
        assert texts == [str(minute) for minute in sorted(minutes)]


def test_who_answers_has_read_what_they_answer(house: House) -> None:
    """And the answer is about the same order."""
    store_id = factories.store(house)
    with house.db.lane(store_id) as session:
        contact = factories.contact(session, AYESHA.phone)
        order = factories.order(session)
        talk = conversation_with(session, contact)
        ours = _message(store_id=store_id, conversation_id=talk.id, vendor_id="wamid.ours", order_id=order.id)
        session.add(ours)
        session.flush()
        answer = apply_message(session, _said(1, 5, context="wamid.ours"))
        assert answer is not None
        assert answer.order_id == order.id
        assert ours.status == "read"
        assert ours.read_at == NOON + timedelta(minutes=5)
        elsewhere = apply_message(session, _said(2, 6, context="wamid.of-another-system"))
        assert elsewhere is not None
        assert elsewhere.order_id is None


def test_where_a_chat_came_from_is_kept_from_its_first_message(house: House) -> None:
    store_id = factories.store(house, channel=False)
    with house.db.lane(store_id) as session:
        for number, ad in enumerate(("first ad", "second ad")):
            apply_message(session, _said(number, number, referral={"headline": ad}))
        assert session.scalars(select(Conversation)).one().referral == {"headline": "first ad"}


def test_two_stores_may_hold_the_same_message(house: House) -> None:
    for store_id in (factories.store(house), factories.store(house)):
        with house.db.lane(store_id) as session:
            assert apply_message(session, _said(1, 0)) is not None


# -- what the merchant writes from the phone -----------------------------------------------------------------------


def test_an_echo_is_part_of_the_talk_and_looks_after_the_customer(house: House) -> None:
    """Stored once, said by the owner; it opens no service window, and nobody needs to look any more."""
    store_id = factories.store(house)
    fact = MessageEchoed(person=AYESHA, vendor_id="wamid.echo", text="Leaves today!", occurred_at=NOON)
    with house.db.lane(store_id) as session:
        talk = conversation_with(session, factories.contact(session, AYESHA.phone))
        talk.call_for_person("the customer asked something", NOON)
        for again in (fact, replace(fact, text="changed")):
            apply_echo(session, again)
            session.flush()
    with house.db.read(store_id) as session:
        [said] = session.scalars(select(Message))
        assert (said.sender, said.text, said.status) == ("owner", "Leaves today!", "sent")
        [talk] = session.scalars(select(Conversation))
        assert (talk.needs_person, talk.needs_person_since, talk.last_inbound_at) == ("", None, None)


def test_a_person_is_waited_for_since_the_first_call(house: House) -> None:
    talk = Conversation(store_id=1, contact_point_id=1)
    talk.call_for_person("first", NOON)
    talk.call_for_person("x" * 500, NOON + timedelta(hours=1))
    assert (talk.needs_person, talk.needs_person_since) == ("x" * 200, NOON)


# -- through the real endpoint, as WhatsApp sends it ---------------------------------------------------------------


def _store(house: House) -> int:
    store_id = factories.store(house)
    with house.db.operator_writing() as session:
        found = select(Connection).where(Connection.store_id == store_id, Connection.room == "channels")
        session.scalars(found).one().account = NUMBER
    return store_id


def _recorded(fixture: str) -> bytes:
    recorded = json.loads((FIXTURES / "channels" / "whatsapp" / f"{fixture}.json").read_text())
    body: str = recorded["body_raw"]
    return body.encode()


def _deliver(house: House, store_id: int, *fixtures: str | bytes) -> None:
    webhooks = Webhooks(Mailroom(house), house.registry, 100_000)
    for fixture in fixtures:
        body = fixture if isinstance(fixture, bytes) else _recorded(fixture)
        seen: list[str] = []
        environ = {
            "REQUEST_METHOD": "POST", "PATH_INFO": "/webhooks/channels/whatsapp", "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": io.BytesIO(body),
            "HTTP_X_HUB_SIGNATURE_256": "sha256=" + hmac.digest(b"sandbox-whatsapp-secret", body, "sha256").hex(),
        }  # fmt: skip
        list(webhooks(environ, lambda status, _headers, seen=seen: seen.append(status)))
        assert seen == ["200 OK"]
    process(house, store_id)


def _talk(session: Session) -> tuple[Conversation, list[Message]]:
    [talk] = session.scalars(select(Conversation))
    return talk, list(session.scalars(select(Message).order_by(Message.id)))


@pytest.mark.parametrize(
    ("fixture", "kind", "text", "needs"),
    [
        ("messages__unsupported", "unsupported", "", "the customer sent something WhatsApp does not pass on"),
        ("messages__unknown-type", "unsupported", "", "the customer sent something WhatsApp does not pass on"),
        ("messages__image", "media", "", "the customer sent a file"),
        ("messages__audio", "media", "", "the customer sent a file"),
        ("messages__location", "location", "Home, 12 Mall Road, Lahore", "the customer sent a location"),
        ("messages__text", "text", "mera order kahan hai? آرڈر 👍", "the customer wrote"),
        ("messages__reaction", "reaction", "👍", ""),
    ],
)
def test_whatever_a_phone_sends_is_kept_and_a_person_called_where_one_is_needed(
    house: House, fixture: str, kind: str, text: str, needs: str
) -> None:
    """A thumb under a message asks for nothing; what no table knows is shown, never dropped and never guessed at."""
    store_id = _store(house)
    _deliver(house, store_id, fixture)
    with house.db.read(store_id) as session:
        talk, [message] = _talk(session)
        assert (message.kind, message.sender) == (kind, "customer")
        assert message.text == text or (kind == "media" and message.media is not None)
        assert talk.needs_person == needs
        assert talk.contact.phone == AYESHA.phone
        assert session.scalars(select(WebhookDelivery.state)).all() == ["processed"]
        assert session.scalar(select(func.count()).select_from(Outbox)) == 0


def test_what_one_request_holds_is_heard_though_its_neighbour_is_not_understood(house: House) -> None:
    """WhatsApp puts up to a thousand updates into one request and never repeats it. A word nobody knows yet costs that
    one update; the request stays to be replayed, and replaying it says nothing twice.
    """
    store_id = _store(house)
    batch = json.loads(_recorded("messages__text"))
    [spoken] = batch["entry"][0]["changes"]
    said, number = spoken["value"]["messages"], spoken["value"]["metadata"]
    status = {"id": "wamid.1", "status": "warning", "timestamp": said[0]["timestamp"], "recipient_id": said[0]["from"]}
    batch["entry"][0]["changes"] = [
        {"field": "messages", "value": {"metadata": number, "statuses": [status, {"id": "wamid.2"}]}},
        {"field": "telepathy", "value": {"metadata": number}},
        {"field": "messages", "value": spoken["value"] | {
            "messages": [{**said[0], "id": "wamid.3", "type": "text", "text": 5}, *said], "statuses": [status],
        }},
    ]  # fmt: skip
    _deliver(house, store_id, json.dumps(batch).encode())
    for _ in range(2):
        with house.db.read(store_id) as session:
            talk, [message] = _talk(session)
            assert (message.text, talk.contact.phone) == ("mera order kahan hai? آرڈر 👍", AYESHA.phone)
            row = session.scalars(select(WebhookDelivery)).one()
            assert row.state == "not_understood"
            assert "the status 'warning' is not one we know" in row.sentence
            assert row.subjects == [f"contact:{talk.contact_point_id}"]
        assert replay(house, store_id, row.id) == "not_understood"


def test_a_locked_number_breaks_itself_and_no_number_that_came_after_it(house: House) -> None:
    """News of a number the store has left, or from before this one was connected, says nothing about this one."""
    store_id = _store(house)

    def health() -> str:
        with house.db.read(store_id) as session:
            return session.scalars(select(Connection.health).where(Connection.account == "222")).one()

    def mail(number: str, at: datetime | None = None) -> None:
        value: dict[str, Any] = {"metadata": {"phone_number_id": number}}
        undated = {"field": "messages", "value": value | {"errors": [{"code": 131031}]}}
        dated = {"field": "account_update", "value": value | {"event": "ACCOUNT_RESTRICTION"}}
        entry = {"id": "1", "time": int(at.timestamp()) if at else 0, "changes": [dated if at else undated]}
        _deliver(house, store_id, json.dumps({"entry": [entry]}).encode())

    with house.db.operator_writing() as session:
        connect(
            session, store_id=store_id, room="channels", adapter="whatsapp", account="222", credentials={}, state={},
            vault=house.vault,
        )  # fmt: skip
    mail(NUMBER)
    mail("222", house.clock.now() - timedelta(hours=1))
    assert health() == "ok"
    mail("222")
    assert health() == "broken"
    with house.db.lane(store_id) as session:
        session.scalars(select(Connection).where(Connection.account == "222")).one().mended()
    mail("222", house.clock.now())
    assert health() == "broken"


@pytest.mark.parametrize("first", ["message", "status"])
@pytest.mark.parametrize("together", [True, False], ids=["one body", "two bodies"])
def test_a_message_and_a_status_that_tell_of_one_person_are_both_heard(
    house: House, first: str, together: bool
) -> None:
    """The customer writes by user id alone, and in the same moment a status tells whose number that is."""
    ours = _store(house)
    with house.db.lane(ours) as session:
        contact = factories.contact(session, "+923001234567")
        touch = Touchpoint(
            store_id=ours, key="ask", journey="x", step="x", due_at=session.now(), made_at=session.now(),
            contact_point_id=contact.id,
        )  # fmt: skip
        session.add(touch)
        put_message(session, touch)
        session.flush()
        row = session.scalars(select(Outbox)).one()
        row.attempts, row.state = 1, "sent"
        sent = Message(store_id=ours, sender="us", kind="text", at=session.now(), seen_at=session.now())
        sent.outbox_id, sent.vendor_id, sent.attempt = row.id, "wamid.out", 1
        sent.conversation = conversation_with(session, contact)
        session.add(sent)
        reference = row.reference
    at, number = str(int(house.clock.now().timestamp())), {"display_phone_number": "1", "phone_number_id": NUMBER}
    message = {"from_user_id": "PK.abc", "id": "wamid.in", "timestamp": at, "type": "text", "text": {"body": "hello"}}
    status = {
        "id": "wamid.out", "status": "delivered", "timestamp": at, "recipient_id": "923001234567",
        "recipient_user_id": "PK.abc", "biz_opaque_callback_data": reference,
    }  # fmt: skip
    changes = [
        {"field": "messages", "value": {"messaging_product": "whatsapp", "metadata": number, **said}}
        for said in ({"messages": [message]}, {"statuses": [status]})
    ]
    if first == "status":
        changes.reverse()
    entries = [changes] if together else [[change] for change in changes]
    bodies = [
        json.dumps({"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": entry}]}).encode()
        for entry in entries
    ]
    _deliver(house, ours, *bodies)
    with house.db.read(ours) as session:
        assert {row.state for row in session.scalars(select(WebhookDelivery))} == {"processed"}
        [person] = session.scalars(select(ContactPoint))
        assert (person.phone, person.user_id) == ("+923001234567", "PK.abc")
        talk, messages = _talk(session)
        assert {m.sender: m.conversation_id for m in messages} == {"customer": talk.id, "us": talk.id}
        assert next(m for m in messages if m.sender == "us").delivered_at is not None


def test_the_merchants_own_answer_ends_the_call(house: House) -> None:
    """And what the customer wrote before, coming again, does not call anybody anew."""
    store_id = _store(house)
    _deliver(house, store_id, "messages__text", "smb_message_echoes__text", "messages__text")
    with house.db.read(store_id) as session:
        talk, messages = _talk(session)
        assert [m.sender for m in messages] == ["customer", "owner"]
        assert talk.needs_person == ""
        assert talk.last_inbound_at is not None
