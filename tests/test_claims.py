"""What a customer says they paid by hand: proven once, by one payment, and told truthfully."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select
from sqlalchemy.orm import selectinload

from integration.claims import Claim, ask_for_id, claim_of, compare, reject, take_in, verify
from integration.db import Session
from integration.events import MessageReceived, Person
from integration.house import House
from integration.inbox import apply_message
from integration.intents import TRANSFER, Means, close_intents, open_intent
from integration.journeys import Settled
from integration.orders import Order, whole
from integration.outbox import Desk, Touchpoint
from integration.replies import hear
from integration.statements import Line
from integration.stores import Store

from . import factories

TID, RRN = "060935460100", "420017765512"


class Shop:
    """A shop that takes JazzCash by hand, and its customers."""

    def __init__(self, house: House) -> None:
        self.house, self.store_id, self._said = house, factories.store(house), 0

    @contextmanager
    def deciding(self) -> Iterator[tuple[Session, Desk, Settled]]:
        with self.house.db.lane(self.store_id) as session:
            store = session.get_one(Store, self.store_id)
            yield session, Desk(session, store, self.house.registry), Settled(session, store)

    def order(self, *, cod: bool = False, asked: Decimal | None = None) -> int:
        """An order whose customer was asked for its money."""
        with self.house.db.lane(self.store_id) as session:
            contact = factories.contact(session)
            payment = "cod_due" if cod else "pending"
            order = factories.order(
                session,
                is_cod=cod,
                payment=payment,
                confirmation="confirmed" if cod else "not_needed",
                contact_point_id=contact.id,
                customer_id=contact.customer_id,
                customer_name="Ayesha",
            )
            order_id = order.id
        with self.house.db.lane(self.store_id) as session:
            order = session.scalars(select(Order).where(Order.id == order_id).options(*whole())).one()
            open_intent(session, order, Means(TRANSFER, "jazzcash", "JazzCash"), asked or order.due.amount)
        return order_id

    def writes(self, order_id: int, text: str) -> None:
        """Its customer does."""
        self._said += 1
        with self.deciding() as (session, desk, settled):
            order = session.get_one(Order, order_id)
            assert order.contact is not None
            fact = MessageReceived(
                person=Person(phone=order.contact.phone), vendor_id=f"wamid.{self._said}", kind="text", text=text,
                occurred_at=session.now(),
            )  # fmt: skip
            message = apply_message(session, fact)
            assert message is not None
            hear(session, desk, settled, message)

    def statement(self, *lines: Line) -> int:
        with self.deciding() as (session, desk, settled):
            return take_in(session, desk, settled, "jazzcash", lines)[1]

    def seen(self, order_id: int) -> Order:
        with self.house.db.read(self.store_id) as session:
            found = session.scalars(
                select(Order).where(Order.id == order_id).options(selectinload(Order.payments))
            ).one()
            session.expunge_all()
            return found

    def claims(self, order_id: int) -> list[Claim]:
        with self.house.db.read(self.store_id) as session:
            return list(session.scalars(select(Claim).where(Claim.order_id == order_id).order_by(Claim.id)).all())

    def told(self, order_id: int) -> list[str]:
        with self.house.db.read(self.store_id) as session:
            rows = session.scalars(
                select(Touchpoint)
                .where(Touchpoint.order_id == order_id, Touchpoint.reply != "")
                .order_by(Touchpoint.id)
            )
            return [touch.reply for touch in rows]


@pytest.fixture
def shop(house: House) -> Shop:
    return Shop(house)


def line(at: datetime, number: int, transaction: str = TID, note: str = f"IBFT RRN {RRN}") -> Line:
    """A payment of a whole order, as the merchant's statement lists it."""
    return Line(transaction, Decimal(7248), at, "", "", f"{number},{transaction},{note}", number, note)


def test_a_payment_that_is_listed_twice_pays_one_order(shop: Shop) -> None:
    """The next export numbers its rows anew, and a number in the description names it as well as its id does."""
    first, second = shop.order(), shop.order()
    at = shop.house.clock.now()
    shop.writes(first, f"TID {TID}")
    assert shop.statement(line(at, 5)) == 1
    shop.writes(second, f"TID {RRN}")
    assert shop.statement(line(at, 12)) == 0
    assert (shop.seen(first).payment, shop.seen(second).payment) == ("paid", "claimed")
    (claim,) = shop.claims(second)
    assert (claim.finding, claim.why) == ("used", "this payment of your statement has proven another order")


def test_a_payment_that_the_merchant_saw_pays_nothing_again_when_the_statement_comes(shop: Shop) -> None:
    first, second = shop.order(), shop.order()
    shop.writes(first, f"TID {TID}")
    with shop.deciding() as (session, desk, settled):
        claim = claim_of(session, shop.claims(first)[0].id)
        assert claim is not None
        verify(session, desk, settled, claim, Decimal(7248), by="Sana")
    shop.writes(second, f"TID {RRN}")
    assert shop.statement(line(shop.house.clock.now(), 1)) == 0
    assert shop.seen(second).payment == "claimed"


def test_a_number_in_many_descriptions_spends_nothing(shop: Shop) -> None:
    """The account that they were all sent to stands in each line; a merchant typed it as an id once."""
    account = "0210998877665544"
    first, second = shop.order(), shop.order()
    shop.writes(first, "TID 060935460111")
    with shop.deciding() as (session, desk, settled):
        claim = claim_of(session, shop.claims(first)[0].id)
        assert claim is not None
        verify(session, desk, settled, claim, Decimal(7248), by="Sana", reference=account)
    shop.writes(second, f"TID {TID}")
    at = shop.house.clock.now()
    other = Line(RRN, Decimal(100), at, "", "", RRN, 2, f"to {account}")
    assert shop.statement(line(at, 1, note=f"to {account}"), other) == 1
    assert shop.seen(second).payment == "paid"


@pytest.mark.parametrize("decide", [reject, ask_for_id])
def test_whose_order_is_paid_is_not_told_to_pay_it(shop: Shop, decide: object) -> None:
    """A slip of the thumb first, then the right id, which the statement proves."""
    order_id = shop.order()
    shop.writes(order_id, "TID 060935460199")
    shop.writes(order_id, f"TID {TID}")
    assert shop.statement(line(shop.house.clock.now(), 1)) == 1
    assert shop.seen(order_id).payment == "paid"
    assert [claim.state for claim in shop.claims(order_id)] == ["rejected", "verified"], "nothing is left to decide"
    before = shop.told(order_id)
    with shop.deciding() as (session, desk, settled):
        claim = claim_of(session, shop.claims(order_id)[0].id)
        assert claim is not None
        claim.state = "open"  # as one that was listed when it was decided
        decide(session, desk, settled, claim, by="Sana")  # type: ignore[operator]
    assert shop.told(order_id) == before


def test_an_id_that_nobody_has_seen_does_not_pay_a_cash_order_by_being_repeated(shop: Shop) -> None:
    order_id = shop.order(cod=True, asked=Decimal(2000))
    shop.writes(order_id, f"TID {TID}")
    with shop.deciding() as (session, _, _):
        order = session.scalars(select(Order).where(Order.id == order_id).options(*whole())).one()
        close_intents(session, order, "the order was sent")
    shop.writes(order_id, f"TID {TID}")
    assert "claim_paid" not in shop.told(order_id)


def test_an_advance_that_came_is_acknowledged_with_what_is_left(shop: Shop) -> None:
    order_id = shop.order(cod=True, asked=Decimal(2000))
    shop.writes(order_id, f"TID {TID}")
    with shop.deciding() as (session, desk, settled):
        claim = claim_of(session, shop.claims(order_id)[0].id)
        assert claim is not None
        verify(session, desk, settled, claim, Decimal(2000), by="Sana")
    order = shop.seen(order_id)
    assert (order.payment, order.due.amount) == ("cod_due", 5248)
    assert shop.told(order_id)[-1] == "advance_received"


def test_two_parts_of_one_message_are_both_proven(shop: Shop) -> None:
    order_id = shop.order(asked=Decimal(2000))
    shop.writes(order_id, f"TID {TID} and TID {RRN}")
    at = shop.house.clock.now()
    parts = [Line(t, Decimal(2000), at, "", "", t, n, "") for n, t in enumerate((TID, RRN))]
    assert shop.statement(*parts) == 2
    assert shop.seen(order_id).received == 4000


def test_a_line_that_was_suggested_and_is_not_the_one_stays_free(shop: Shop) -> None:
    """The merchant saw another payment than the one that merely fitted."""
    first, second = shop.order(), shop.order()
    with shop.deciding() as (session, _, _):
        order = session.get_one(Order, first)
        assert order.contact is not None
        phone = order.contact.phone
        session.add(
            Claim(
                store_id=shop.store_id, order_id=first, wallet="jazzcash", amount=Decimal(7248), currency="PKR",
                made_at=session.now(),
            )
        )  # fmt: skip
    at = shop.house.clock.now()
    shop.statement(Line(RRN, Decimal(7248), at, phone or "", "", "x", 1, ""))
    (claim,) = shop.claims(first)
    assert (claim.finding, claim.line_id is not None) == ("likely", True)
    with shop.deciding() as (session, desk, settled):
        found = claim_of(session, claim.id)
        assert found is not None
        verify(session, desk, settled, found, Decimal(7248), by="Sana", reference=TID)
    shop.writes(second, f"TID {RRN}")
    assert shop.seen(second).payment == "paid"


def test_an_answer_to_a_question_ends_the_question(shop: Shop) -> None:
    """However many ids are asked for again, claims that nobody decides do not keep others from being compared."""
    order_id = shop.order()
    for nth in range(3):
        shop.writes(order_id, f"TID 06093546010{nth}")
        with shop.deciding() as (session, desk, settled):
            claim = claim_of(session, shop.claims(order_id)[-1].id)
            assert claim is not None
            ask_for_id(session, desk, settled, claim, by="Sana")
    assert [claim.state for claim in shop.claims(order_id)] == ["rejected", "rejected", "asked"]
    with shop.deciding() as (session, desk, settled):
        assert compare(session, desk, settled, "jazzcash") == 0
        late = session.now() + timedelta(minutes=1)
    assert shop.statement(line(late, 1, "060935460102", "")) == 1
