"""Who a customer is, where they can be reached, and what they agreed to: any order of the same words is the same."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from integration.customers import (
    EVERYTHING,
    GRANTED,
    MARKETING,
    REVOKED,
    UTILITY,
    Consent,
    ContactPoint,
    Customer,
    contact_for_phone,
    imply_consent,
    new_contact,
    record_consent,
    standing,
)  # fmt: skip
from integration.db import Session
from integration.errors import Unscoped
from integration.events import Person, PersonChanged
from integration.house import House
from integration.inbox import Conversation, Message, apply_person_changed, conversation_with, find_contact, meet
from integration.orders import Order
from integration.outbox import Outbox, Touchpoint

from . import factories

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
PHONE = "+923001234567"


# -- the ledger, as a function -------------------------------------------------------------------------------------

WORDS = st.builds(
    lambda purpose, state, minute: (purpose, state, NOON + timedelta(minutes=minute)),
    st.sampled_from((UTILITY, MARKETING, EVERYTHING)),
    st.sampled_from((GRANTED, REVOKED)),
    st.integers(0, 10_000),
)
LEDGERS = st.lists(WORDS, max_size=8, unique_by=lambda word: word[2])


def _rows(words: list[tuple[str, str, datetime]]) -> list[Consent]:
    return [
        Consent(id=number, store_id=1, contact_point_id=1, purpose=purpose, state=state, source="test", at=at)
        for number, (purpose, state, at) in enumerate(words, 1)
    ]


@given(LEDGERS, st.randoms())
def test_any_order_of_the_same_words_gives_the_same_standing(words: list[Any], chance: Any) -> None:
    shuffled = list(words)
    chance.shuffle(shuffled)
    assert standing(_rows(shuffled)) == standing(_rows(sorted(words, key=lambda word: word[2])))


@given(LEDGERS)
def test_the_newest_word_holds(words: list[Any]) -> None:
    """Told anew in the plainest way: nothing stands that was taken back later, and every later yes stands."""
    now = standing(_rows(words))
    for purpose in (UTILITY, MARKETING):
        about = [w for w in sorted(words, key=lambda w: w[2]) if w[0] in (purpose, EVERYTHING)]
        yes = [w for w in about if w[1] == GRANTED and (w[0] == purpose or purpose == UTILITY)]
        no = [w for w in about if w[1] == REVOKED]
        stands = bool(yes) and (not no or yes[-1][2] > no[-1][2])
        assert (purpose in now.granted) is stands
    stops = [w[2] for w in words if w[:2] == (EVERYTHING, REVOKED)]
    grants = [w[2] for w in words if w[1] == GRANTED]
    silenced = bool(stops) and (not grants or max(stops) > max(grants))
    assert now.opted_out_at == (max(stops) if silenced else None)


@given(LEDGERS)
def test_who_opted_out_has_agreed_to_nothing(words: list[Any]) -> None:
    now = standing(_rows(words))
    assert now.opted_out_at is None or not now.granted


def test_words_of_one_instant_hold_in_the_order_they_were_written() -> None:
    stop, start = (EVERYTHING, REVOKED, NOON), (EVERYTHING, GRANTED, NOON)
    assert standing(_rows([stop, start])).opted_out_at is None
    assert standing(_rows([start, stop])).opted_out_at == NOON
    assert standing([]).granted == frozenset()


# -- the ledger, as it is kept -------------------------------------------------------------------------------------


@pytest.fixture
def store_id(house: House) -> int:
    return factories.store(house)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(LEDGERS, st.randoms())
def test_what_was_written_in_any_order_reads_back_by_time(house: House, words: list[Any], chance: Any) -> None:
    """Rows inserted as they happened to arrive; the standing that is read is that of the times."""
    store_id = factories.store(house, channel=False)
    shuffled = list(words)
    chance.shuffle(shuffled)
    with house.db.lane(store_id) as session:
        contact_id = factories.contact(session, consent=False).id
        for purpose, state, at in shuffled:
            session.add(Consent(contact_point_id=contact_id, purpose=purpose, state=state, source="test", at=at))
            session.flush()
    with house.db.read(store_id) as session:
        kept = session.get_one(ContactPoint, contact_id).consents
        assert [word.at for word in kept] == sorted(at for _, _, at in words)
        assert standing(kept) == standing(_rows(sorted(words, key=lambda word: word[2])))


def test_only_news_is_written_down(house: House, store_id: int) -> None:
    with house.db.lane(store_id) as session:
        contact = new_contact(session, phone=PHONE)
        say = _say(session, contact)
        assert say(UTILITY, GRANTED) is True
        assert say(UTILITY, GRANTED) is False
        assert say(MARKETING, REVOKED) is True  # a first no is news, though nothing stood
        assert say(MARKETING, REVOKED) is False
        assert say(EVERYTHING, REVOKED) is True
        assert say(EVERYTHING, REVOKED) is False
        assert say(EVERYTHING, GRANTED) is True
        assert say(UTILITY, GRANTED) is False  # START gave it back
    with house.db.read(store_id) as session:
        rows = session.scalars(select(Consent).order_by(Consent.id)).all()
        assert [(row.purpose, row.state) for row in rows] == [
            (UTILITY, GRANTED), (MARKETING, REVOKED), (EVERYTHING, REVOKED), (EVERYTHING, GRANTED),
        ]  # fmt: skip
        assert {row.evidence for row in rows} == {"their own words"}


def _say(session: Session, contact: ContactPoint) -> Callable[[str, str], bool]:
    minutes = itertools.count()

    def say(purpose: str, state: str) -> bool:
        at = NOON + timedelta(minutes=next(minutes))
        return record_consent(session, contact, purpose, state, source="test", evidence="their own words", at=at)

    return say


@pytest.mark.parametrize(
    ("said", "implied"),
    [((), True), (((EVERYTHING, REVOKED),), False), (((UTILITY, REVOKED),), False), (((MARKETING, GRANTED),), True)],
)
def test_giving_a_number_at_the_checkout_never_undoes_a_no(
    house: House, store_id: int, said: tuple[tuple[str, str], ...], implied: bool
) -> None:
    with house.db.lane(store_id) as session:
        contact = new_contact(session, phone=PHONE)
        for word in said:
            _say(session, contact)(*word)
        at = NOON + timedelta(hours=1)
        assert imply_consent(session, contact, source="checkout", evidence="#1001", at=at) is implied
        assert imply_consent(session, contact, source="checkout", evidence="#1002", at=at) is False
        assert (UTILITY in standing(contact.consents).granted) is implied


def test_the_ledger_is_never_rewritten(house: House, store_id: int) -> None:
    with house.db.lane(store_id) as session:
        factories.contact(session)
    with pytest.raises(RuntimeError, match="append-only"), house.db.lane(store_id) as session:
        session.scalars(select(Consent)).one().state = REVOKED
    with house.db.read(store_id) as session:
        assert session.scalars(select(Consent.state)).one() == GRANTED


# -- where a person is reached -------------------------------------------------------------------------------------


def _people(house: House, store_id: int) -> tuple[int, int]:
    with house.db.read(store_id) as session:
        counts = [session.scalar(select(func.count()).select_from(table)) for table in (Customer, ContactPoint)]
    return counts[0] or 0, counts[1] or 0


@pytest.mark.parametrize(
    ("known", "written"),
    [
        ("+525512345678", "+5215512345678"), ("+5215512345678", "+525512345678"), ("+541123456789", "+5491123456789"),
        ("+5511987654321", "+551187654321"), (PHONE, PHONE),
    ],
)  # fmt: skip
def test_a_number_is_found_under_every_spelling_of_the_same_line(
    house: House, store_id: int, known: str, written: str
) -> None:
    with house.db.lane(store_id) as session:
        contact = factories.contact(session, known)
        factories.contact(session, "+923009999999")
        assert contact_for_phone(session, written) is contact
        assert meet(session, Person(phone=written)) is contact
        assert contact.phone == known
        assert contact_for_phone(session, "+923008888888") is None


def test_the_exact_number_goes_before_its_other_spelling(house: House, store_id: int) -> None:
    with house.db.lane(store_id) as session:
        other, exact = factories.contact(session, "+5215512345678"), factories.contact(session, "+525512345678")
        assert contact_for_phone(session, "+525512345678") is exact
        assert contact_for_phone(session, "+5215512345678") is other


def test_a_person_who_hides_their_number_is_known_by_their_id(house: House, store_id: int) -> None:
    """A business-scoped id alone is a person; when the number is told later, it is the same person."""
    with house.db.lane(store_id) as session:
        contact = meet(session, Person(user_id="PK.abc", name="Ayesha"))
        session.flush()
        assert meet(session, Person(user_id="PK.abc", name="Somebody Else")) is contact
        assert meet(session, Person(user_id="PK.abc", phone=PHONE)) is contact
        session.flush()
        assert meet(session, Person(phone=PHONE)) is contact
        assert (contact.phone, contact.user_id, contact.customer.name) == (PHONE, "PK.abc", "Ayesha")
    assert _people(house, store_id) == (1, 1)


def test_one_number_and_one_id_are_one_contact_each(house: House, store_id: int) -> None:
    for named in ({"phone": PHONE}, {"user_id": "PK.abc"}):
        with pytest.raises(IntegrityError), house.db.lane(store_id) as session:
            for _ in range(2):
                new_contact(session, **named)
                session.flush()


# -- two who turn out to be one ------------------------------------------------------------------------------------


@pytest.mark.parametrize("talked", list(itertools.product((False, True), repeat=2)))
def test_two_contacts_that_are_one_person_become_one(house: House, store_id: int, talked: tuple[bool, bool]) -> None:
    """All that either had is the one's: orders, words, consent; whoever is waited for is still waited for."""
    with house.db.lane(store_id) as session:
        buyer = factories.contact(session, PHONE)
        writer = factories.contact(session, consent=False, user_id="PK.abc", language="ur")
        writer.phone = None
        session.flush()
        record_consent(session, writer, EVERYTHING, REVOKED, source="message", evidence="STOP", at=session.now())
        for contact, has_talked, hours in ((buyer, talked[0], 30), (writer, talked[1], 2)):
            order = factories.order(session, contact_point_id=contact.id, customer_id=contact.customer_id)
            due = {"due_at": session.now(), "contact_point_id": contact.id, "order_id": order.id}
            touch = Touchpoint(key=f"t{order.id}", journey="x", step="x", made_at=session.now(), **due)
            session.add_all([touch, Outbox(key=f"o{order.id}", kind="message", created_at=session.now(), **due)])
            if has_talked:
                talk = conversation_with(session, contact)
                talk.last_inbound_at = NOON - timedelta(hours=hours)
                talk.needs_person = "" if contact is buyer else "the customer asked something"
                at = {"at": NOON, "seen_at": NOON}
                session.add(Message(conversation_id=talk.id, sender="customer", kind="text", text=f"{hours}", **at))
    with house.db.lane(store_id) as session:
        found = find_contact(session, Person(phone=PHONE, user_id="PK.abc"))
        assert found is not None
        assert (found.phone, found.user_id, found.language) == (PHONE, "PK.abc", "ur")

    assert _people(house, store_id) == (1, 1)
    with house.db.read(store_id) as session:
        [contact] = session.scalars(select(ContactPoint))
        for table in (Order, Touchpoint, Outbox):
            assert set(session.scalars(select(table.contact_point_id))) == {contact.id}, table.__name__
            assert session.scalar(select(func.count()).select_from(table)) == 2
        assert set(session.scalars(select(Order.customer_id))) == {contact.customer_id}
        now = standing(contact.consents)
        assert now.opted_out_at is not None  # the newer word of either holds for both
        talks = session.scalars(select(Conversation)).all()
        assert len(talks) == any(talked)
        if talks:
            assert talks[0].contact_point_id == contact.id
            assert talks[0].last_inbound_at == NOON - timedelta(hours=2 if talked[1] else 30)
            assert talks[0].needs_person == ("the customer asked something" if talked[1] else "")
            words = set(session.scalars(select(Message.text)))
            assert words == {hours for hours, did in zip(("30", "2"), talked, strict=True) if did}


def test_who_changes_their_number_stays_the_same_person(house: House, store_id: int) -> None:
    """Consent and history go along; when the new number was known already, the two become one."""
    with house.db.lane(store_id) as session:
        contact = factories.contact(session, PHONE)
        factories.contact(session, "+923007777777", consent=False)
    with house.db.lane(store_id) as session:
        for number in ("+923001111111", "+923007777777"):
            now = contact_for_phone(session, PHONE if number.endswith("1") else "+923001111111")
            old = Person(phone=now.phone if now else None)
            apply_person_changed(session, PersonChanged(old=old, new=Person(phone=number), occurred_at=NOON))
            session.flush()
        stranger = Person(phone="+923000000009")
        apply_person_changed(session, PersonChanged(old=stranger, new=Person(phone="+923000000008"), occurred_at=NOON))
    assert _people(house, store_id) == (1, 1)
    with house.db.read(store_id) as session:
        [kept] = session.scalars(select(ContactPoint))
        assert (kept.id, kept.phone) == (contact.id, "+923007777777")
        assert UTILITY in standing(kept.consents).granted


# -- of one store only ---------------------------------------------------------------------------------------------


def test_two_stores_with_the_same_customer_know_nothing_of_each_other(house: House) -> None:
    ours, theirs = factories.store(house), factories.store(house)
    with house.db.lane(theirs) as session:
        factories.contact(session, PHONE, user_id="PK.abc")
    with house.db.lane(ours) as session:
        assert contact_for_phone(session, PHONE) is None
        assert find_contact(session, Person(phone=PHONE, user_id="PK.abc")) is None
        contact = meet(session, Person(phone=PHONE, user_id="PK.abc"))
        session.flush()
        record_consent(session, contact, EVERYTHING, REVOKED, source="message", evidence="STOP", at=session.now())
    with house.db.read(theirs) as session:
        [contact] = session.scalars(select(ContactPoint))
        assert standing(contact.consents).opted_out_at is None
    with pytest.raises(Unscoped), house.db.lane(ours) as session:
        foreign = ContactPoint(id=contact.id, store_id=theirs, customer_id=contact.customer_id)
        record_consent(session, foreign, UTILITY, REVOKED, source="x", evidence="", at=NOON)
