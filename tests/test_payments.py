"""Words about money are matched to what was asked for; what fits counts, what does not is kept and shown."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import selectinload

from integration.dispatch import READY
from integration.errors import NotUnderstood
from integration.events import PaymentChanged
from integration.house import House
from integration.inbox import Conversation
from integration.ingest import APPLY, Work
from integration.intents import CHECKOUT, Means, PaymentIntent, close_intents, open_intent
from integration.journeys import Settled, react
from integration.orders import Book, Order, Payment, apply_order, whole
from integration.outbox import Desk, Outbox, Touchpoint
from integration.payments import apply_payment, misfits
from integration.stores import Store
from integration.values import Money

from . import factories

TOTAL = Money(Decimal(7248), "PKR")


class Till:
    """One order that waits for its money, and what is said of that."""

    def __init__(self, house: House, *, cod: bool = False) -> None:
        self.house, self.store_id = house, factories.store(house)
        now, self.changes = house.clock.now(), 0
        self.gateways = ("cash on delivery",) if cod else ("Card",)
        fact = factories.order_fact(now, payment="pending", gateways=self.gateways, total=TOTAL, outstanding=TOTAL)
        with house.db.lane(self.store_id) as session:
            changes = apply_order(Book(session, session.get_one(Store, self.store_id)), fact)
            self._react(session, changes)
        self.references = [self.ask()]

    def _react(self, session: Any, changes: Any) -> None:
        store = session.get_one(Store, self.store_id)
        react(session, Desk(session, store, self.house.registry), Settled(session, store), changes)

    def ask(self, amount: Decimal | None = None) -> str:
        with self.house.db.lane(self.store_id) as session:
            order = session.scalars(select(Order).options(*whole())).one()
            intent = open_intent(
                session, order, Means(CHECKOUT, "dummy", "Dummy"), amount or order.due.amount, timedelta(days=1)
            )
            return intent.reference

    def hears(self, status: str, **said: Any) -> None:
        given = {
            "order_ref": self.references[0],
            "attempt_ref": "pay_1",
            "raw_status": status.upper(),
            "amount": TOTAL if status in ("paid", "refunded") else None,
            "occurred_at": self.house.clock.now(),
            **said,
        }
        merchant = given.pop("we_are", "")
        fact = PaymentChanged(status=status, **given)
        with self.house.db.lane(self.store_id) as session:
            book = Book(session, session.get_one(Store, self.store_id))
            self._react(session, apply_payment(book, fact, "dummy", merchant=merchant, label="Dummy"))

    def edited(self, total: Money, **said: Any) -> None:
        """The shop changes the order, and its store says so."""
        self.changes += 1
        at = self.house.clock.now() + timedelta(seconds=self.changes)
        said = {"payment": "pending", "outstanding": total, **said}
        fact = factories.order_fact(at, gateways=self.gateways, total=total, **said)
        with self.house.db.lane(self.store_id) as session:
            work, letter = Work(self.house, session, self.store_id), SimpleNamespace(id=None)
            APPLY[type(fact)](work, fact, letter, set())  # type: ignore[arg-type]

    def order(self) -> Order:
        with self.house.db.read(self.store_id) as session:
            found = session.scalars(
                select(Order).options(selectinload(Order.payments), selectinload(Order.intents))
            ).one()
            session.expunge_all()
            return found

    @property
    def calls_for_person(self) -> str:
        """Why somebody should look."""
        return " ".join(conversation.needs_person for conversation in self.rows(Conversation))

    @property
    def may_be_sent(self) -> bool:
        with self.house.db.read(self.store_id) as session:
            return session.scalar(select(Order.id).where(READY)) is not None

    def rows(self, table: Any) -> list[Any]:
        with self.house.db.read(self.store_id) as session:
            return list(session.scalars(select(table)).all())


def test_the_right_money_pays_an_order_once(house: House) -> None:
    till = Till(house)
    assert till.order().payment == "pending"
    assert not till.may_be_sent
    for _ in range(3):
        till.hears("paid")
    order = till.order()
    assert (order.payment, order.received, order.intents[0].state) == ("paid", TOTAL.amount, "paid")
    assert till.may_be_sent
    assert len(order.payments) == 1
    assert [row.change["whole"] for row in till.rows(Outbox) if row.kind == "write_back"] == [True]
    assert [touch.template for touch in till.rows(Touchpoint)] == ["payment_received"]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"amount": Money(Decimal("7247.99"), "PKR")}, "asked for"),
        ({"amount": Money(Decimal(72480), "PKR")}, "asked for"),
        ({"amount": Money(Decimal(7248), "INR")}, "currency"),
        ({"amount": Money(Decimal(0), "PKR")}, "nothing"),
        ({"merchant": "theirs", "we_are": "ours"}, "another account"),
    ],
)
def test_money_that_does_not_fit_moves_nothing_and_is_shown(house: House, said: dict[str, Any], why: str) -> None:
    till = Till(house)
    till.hears("paid", **said)
    order = till.order()
    assert (order.payment, order.received, order.intents[0].state) == ("pending", 0, "open")
    assert not till.may_be_sent
    assert not [row for row in till.rows(Outbox) if row.kind == "write_back"]
    with house.db.read(till.store_id) as session:
        ((payment, _),) = misfits(session)
        assert why in payment.sentence
    till.hears("paid")  # the right one may still come
    assert till.order().payment == "paid"


def test_money_nobody_asked_for_is_not_understood(house: House) -> None:
    till, theirs = Till(house), Till(house)
    for reference in ("1001-9", "", theirs.order().intents[0].reference + "x"):
        with pytest.raises(NotUnderstood):
            till.hears("paid", order_ref=reference)
    assert till.order().payments == []


def test_a_gateway_without_amounts_is_bound_by_what_was_asked(house: House) -> None:
    till = Till(house)
    till.hears("paid", amount=None)
    assert till.order().received == TOTAL.amount


def test_a_failed_payment_may_be_paid_later_and_paid_is_never_failed(house: House) -> None:
    till = Till(house)
    till.hears("failed", attempt_ref="pay_0")
    assert till.order().payment == "failed"
    till.hears("paid")
    till.hears("failed", attempt_ref="pay_1")
    till.hears("expired", attempt_ref="")
    order = till.order()
    assert (order.payment, order.intents[0].state) == ("paid", "paid")


def test_money_for_an_older_attempt_counts_as_well(house: House) -> None:
    till = Till(house)
    till.hears("expired", attempt_ref="")
    newer = till.ask()
    assert newer != till.references[0]
    till.hears("paid")
    assert till.order().payment == "paid"


def test_a_refund_is_told_as_a_total(house: House) -> None:
    till = Till(house)
    till.hears("paid")
    till.hears("refunded", amount=Money(Decimal(1000), "PKR"))
    order = till.order()
    assert (order.payment, order.received) == ("partially_refunded", TOTAL.amount - 1000)
    till.hears("refunded")
    assert till.order().payment == "refunded"
    assert not till.may_be_sent


def test_an_advance_on_a_cash_order_lowers_what_the_rider_collects(house: House) -> None:
    till = Till(house, cod=True)
    with house.db.lane(till.store_id) as session:
        order = session.scalars(select(Order).options(*whole())).one()
        order.confirmation = "confirmed"
        close_intents(session, order, "anew")
    part = till.ask(Decimal(1000))
    till.hears("paid", order_ref=part, amount=Money(Decimal(1000), "PKR"))
    order = till.order()
    assert (order.payment, order.received, order.due.amount) == ("cod_due", 1000, TOTAL.amount - 1000)
    assert [row.change["whole"] for row in till.rows(Outbox) if row.kind == "write_back"] == [False]
    assert till.may_be_sent


def test_two_orders_whose_names_differ_in_signs_only_have_references_of_their_own(house: House) -> None:
    store_id = factories.store(house)
    with house.db.lane(store_id) as session:
        book = Book(session, session.get_one(Store, store_id))
        for number, name in enumerate(("#1001", "1001", "آرڈر")):
            fact = factories.order_fact(house.clock.now(), external_id=str(number), name=name, payment="pending")
            apply_order(book, fact)
        session.flush()
        for order in session.scalars(select(Order).options(*whole()).order_by(Order.id)).all():
            open_intent(session, order, Means(CHECKOUT, "dummy", "Dummy"), Decimal(1), timedelta(days=1))
    with house.db.read(store_id) as session:
        found = session.scalars(select(PaymentIntent.reference).order_by(PaymentIntent.id)).all()
    assert found[0].startswith("1001-1X")
    assert len(set(found)) == 3
    assert all(reference.isascii() and len(reference) <= 20 for reference in found)


def test_an_order_that_costs_more_by_now_is_asked_for_the_rest(house: House) -> None:
    """Edited before it is paid it is asked for anew; edited after that, for what is missing."""
    till = Till(house)
    dearer = Money(Decimal(8000), "PKR")
    till.edited(dearer)
    first, second = till.order().intents
    assert (first.state, second.state, second.amount) == ("closed", "open", 8000)
    till.hears("paid")  # by the old link
    order = till.order()
    assert (order.payment, order.received, order.due.amount) == ("pending", TOTAL.amount, 8000 - TOTAL.amount)
    assert not till.may_be_sent
    assert (order.intents[-1].state, order.intents[-1].amount) == ("open", 8000 - TOTAL.amount)
    rest = Money(order.due.amount, "PKR")
    till.hears("paid", order_ref=order.intents[-1].reference, attempt_ref="pay_2", amount=rest)
    assert (till.order().payment, till.may_be_sent) == ("paid", True)


def test_a_part_that_was_asked_for_is_not_made_the_whole(house: House) -> None:
    till = Till(house, cod=True)
    part = till.ask(Decimal(1000))
    till.edited(Money(Decimal(8000), "PKR"))
    assert [intent.reference for intent in till.order().intents if intent.state == "open"] == [part]
    till.hears("paid", order_ref=part, amount=Money(Decimal(1000), "PKR"))
    order = till.order()
    assert (order.payment, order.due.amount, order.intents[-1].state) == ("cod_due", 7000, "paid")


def test_two_stores_that_share_an_account_do_not_pay_each_others_orders(house: House) -> None:
    """Both have an order 1001 over the same amount, and the gateway tells both of every payment."""
    ours, theirs = Till(house), Till(house)
    assert ours.references[0] != theirs.references[0]
    with pytest.raises(NotUnderstood):
        theirs.hears("paid", order_ref=ours.references[0])
    assert theirs.order().payment == "pending"


def test_no_interleaving_sends_what_is_unpaid_or_loses_a_payment(lite_house: House) -> None:
    """Webhooks, polls, refunds, cancellations and stores' own words over the real tables, shuffled and doubled."""
    dice = Random(20261127)
    for _ in range(60):
        till = Till(lite_house)
        really_paid = dice.random() < 0.6
        words: list[tuple[str, dict[str, Any]]] = [("pending", {}), ("failed", {"attempt_ref": "pay_0"})]
        if really_paid:
            words += [("paid", {}), ("paid", {"raw_status": "CAPTURED"})]
        words += [
            ("paid", {"amount": Money(Decimal(1), "PKR"), "attempt_ref": "pay_2"}),
            ("paid", {"amount": Money(Decimal(7248), "USD"), "attempt_ref": "pay_3"}),
            ("expired", {"attempt_ref": ""}),
        ]
        words += dice.choices(words, k=3)
        dice.shuffle(words)
        for status, said in words:
            till.hears(status, **said)
            if dice.random() < 0.15:
                till.ask()
            assert till.may_be_sent == (till.order().payment == "paid")
        order = till.order()
        assert (order.payment == "paid") == really_paid
        assert order.received == (TOTAL.amount if really_paid else 0)
        assert len(
            {(p.source, p.status, p.reference, p.amount, p.currency, p.raw_status) for p in order.payments}
        ) == len([p for p in order.payments if isinstance(p, Payment)])


DEPOSIT = Money(Decimal(2248), "PKR")


@pytest.mark.parametrize("cod", [False, True])
def test_a_part_that_the_store_has_is_not_asked_for_again(house: House, cod: bool) -> None:
    """A deposit or a gift card: what is left of the order is all of it."""
    till = Till(house, cod=cod)
    rest = Money(TOTAL.amount - DEPOSIT.amount, "PKR")
    till.edited(TOTAL, outstanding=rest)
    assert till.order().due == rest
    asked = till.order().intents[-1]
    assert asked.amount == rest.amount
    till.hears("paid", order_ref=asked.reference, amount=rest)
    order = till.order()
    assert (order.payment, order.due.amount) == ("paid", 0)
    assert [row.change["whole"] for row in till.rows(Outbox) if row.kind == "write_back"] == [True]


def test_an_order_that_grew_after_it_was_paid_is_shown(house: House) -> None:
    till = Till(house)
    till.hears("paid")
    till.edited(Money(Decimal(9000), "PKR"))
    assert "is missing since it was changed" in till.calls_for_person


def test_money_that_came_in_two_ways_is_shown(house: House) -> None:
    till = Till(house)
    till.edited(TOTAL, payment="paid", outstanding=None)
    assert till.order().payment == "paid"
    till.hears("paid")
    assert "perhaps twice" in till.calls_for_person
    assert till.order().payment == "paid"


def test_a_part_that_exceeds_what_is_due_by_now_is_asked_for_anew(house: House) -> None:
    till = Till(house, cod=True)
    till.ask(Decimal(5000))
    till.edited(Money(Decimal(3000), "PKR"))
    asked = till.order().intents[-1]
    assert (asked.state, asked.amount) == ("open", 3000)


def test_who_pays_in_advance_after_the_question_expired_may_be_sent_to(house: House) -> None:
    till = Till(house, cod=True)
    with house.db.lane(till.store_id) as session:
        order = session.scalars(select(Order)).one()
        order.confirmation, order.held = "expired", "no_answer"
    till.hears("paid")
    order = till.order()
    assert (order.payment, order.confirmation, order.held) == ("paid", "not_needed", "")
    assert till.may_be_sent


@pytest.mark.parametrize(("axis", "wanted", "sentence"), [
    ("asked_by", "checkout", ""), ("asked_by", "transfer", "asked for its money in another way"),
    ("asked_for_all", "yes", ""),
])  # fmt: skip
def test_a_reminder_goes_only_while_what_it_speaks_of_is_asked_for(
    house: House, axis: str, wanted: str, sentence: str
) -> None:
    till = Till(house, cod=True)
    with house.db.lane(till.store_id) as session:
        order = session.scalars(select(Order).options(*whole())).one()
        touch = Touchpoint(
            store_id=till.store_id, key="reminder", journey="payment_request", step="remind",
            template="payment_link_reminder", relevance={axis: [wanted]}, due_at=session.now(),
            stale_at=session.now() + timedelta(hours=1), made_at=session.now(),
        )  # fmt: skip
        touch.order, touch.contact = order, order.contact
        desk = Desk(session, session.get_one(Store, till.store_id), house.registry)
        assert sentence in desk.consider(touch).sentence
        assert (desk.consider(touch).outcome == "skip") == bool(sentence)
        open_intent(session, order, Means(CHECKOUT, "dummy", "Dummy"), Decimal(2000))
        part = desk.consider(touch)
        assert (part.outcome == "skip") == (axis == "asked_for_all" or bool(sentence))
        close_intents(session, order, "it is paid")
        assert desk.consider(touch).outcome == "skip"
        session.rollback()


def test_a_payment_of_another_checkout_pays_nothing_however_it_names_us(house: House) -> None:
    """Who pays elsewhere in the shop may have typed our reference into what the gateway repeats."""
    till = Till(house)
    with house.db.lane(till.store_id) as session:
        intent = session.scalars(select(PaymentIntent)).one()
        intent.gateway_id, intent.opened_at = "plink_ours", session.now()
    till.hears("paid", checkout_ref="plink_of_another")
    assert till.order().payment == "pending"
    with house.db.read(till.store_id) as session:
        assert "another checkout" in misfits(session)[0][0].sentence
    till.hears("paid", checkout_ref="")
    assert till.order().payment == "pending", "what names no checkout is a reason to ask, and no more"
    till.hears("paid", checkout_ref="plink_ours")
    assert till.order().payment == "paid"
