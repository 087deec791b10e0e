"""Paid by hand: the customer is told how, says so in whatever words, and nothing moves before the money was seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select

from integration.claims import Claim, Undecidable, ask_for_id, claim_of, reject, take_in, verify
from integration.db import Session
from integration.dispatch import READY
from integration.intents import TransferAccount
from integration.journeys import Settled
from integration.orders import Order
from integration.outbox import Desk
from integration.statements import Line
from integration.stores import Store
from tests.world import Placed, World

ACCOUNTS = (
    TransferAccount("jazzcash", "Lahore Lawn", "0300 1112223"),
    TransferAccount("bank", "Lahore Lawn", "PK36SCBL0000001123456702", "Standard Bank"),
)


@pytest.fixture(autouse=True)
def _accounts(world: World) -> None:
    for store in ("shopify", "woocommerce"):
        with world.deciding(store) as merchant:
            merchant.decide(replace(merchant.policy, transfers=tuple(one.stored() for one in ACCOUNTS)))


@contextmanager
def deciding(world: World, store: str) -> Iterator[tuple[Session, Desk, Settled]]:
    """A merchant decides something about money."""
    with world.house.db.lane(world.store_id(store)) as session:
        merchant = session.get_one(Store, world.store_id(store))
        yield session, Desk(session, merchant, world.house.registry), Settled(session, merchant)
        bells = set(session.bells)
    world.house.ring_all(bells, world.store_id(store))


def claims(world: World, placed: Placed) -> list[Claim]:
    with world.looking(placed.store) as session:
        order_id = world.order(placed).id
        found = session.scalars(select(Claim).where(Claim.order_id == order_id).order_by(Claim.id)).all()
        session.expunge_all()
        return list(found)


def decide(world: World, placed: Placed, decision: Callable[..., None], *given: Any, nth: int = -1) -> None:
    claim_id = claims(world, placed)[nth].id
    with deciding(world, placed.store) as (session, desk, settled):
        claim = claim_of(session, claim_id)
        assert claim is not None
        decision(session, desk, settled, claim, *given, by="merchant@shop")
    world.settle()


def may_be_sent(world: World, placed: Placed) -> bool:
    with world.looking(placed.store) as session:
        return session.scalar(select(Order.id).where(READY, Order.id == world.order(placed).id)) is not None


def line(transaction: str, amount: Decimal, *, at: datetime | None = None, sender: str = "") -> Line:
    return Line(transaction, amount, at, sender, "", f"{transaction} {amount}", 7)


@pytest.mark.parametrize("store", ["shopify", "woocommerce"])
def test_paid_by_hand_from_instructions_to_confirmation(world: World, store: str) -> None:
    placed = world.place(store, "jazzcash")
    told = placed.phone.last
    assert "0300 1112223" in told.text
    assert "Lahore Lawn" in told.text
    assert "/pay/" in told.text
    assert f"{placed.name.lstrip('#')}-1" in told.text
    assert world.states(placed)[1] == "pending"
    assert not may_be_sent(world, placed)

    placed.phone.write("bhai paise bhej diye, TID 060935465981 hai")
    assert "060935465981" in placed.phone.last.text
    assert "checking" in placed.phone.last.text
    assert world.states(placed)[1] == "claimed"
    assert not may_be_sent(world, placed)

    decide(world, placed, verify, world.order(placed).total)
    assert world.states(placed)[1] == "paid", world.why(placed)
    assert may_be_sent(world, placed)
    assert [m.template for m in placed.phone.heard][-1:] != ["dastak_order_confirmation_v1"]
    assert "confirmed" in placed.phone.last.text
    assert len([m for m in placed.phone.heard if "has arrived" in m.text]) == 1
    assert world.in_store(placed)["payment_status"] == "paid"
    world.advance("30h")
    assert world.order(placed).held == ""


def test_reminders_then_a_hold_and_a_late_payment_lets_go(world: World) -> None:
    placed = world.place("shopify", "jazzcash")
    world.advance("3h")
    world.advance("18h")
    assert [m.text.startswith("Hello") for m in placed.phone.heard] == [True] * 3, world.why(placed)
    world.advance("6h")
    order = world.order(placed)
    assert (order.held, order.payment) == ("not_paid", "pending")
    placed.phone.write("TID: 060935465982")
    decide(world, placed, verify, order.total)
    assert world.order(placed).held == ""
    assert may_be_sent(world, placed)


def test_a_transaction_pays_once_for_ever(world: World) -> None:
    first, second = world.place("shopify", "jazzcash"), world.place("shopify", "jazzcash")
    first.phone.write("TID 060935465983")
    second.phone.write("mera TID 060935465983 hai")
    assert "another order" in second.phone.last.text
    assert claims(world, second)[0].finding == "used"
    decide(world, first, verify, world.order(first).total)
    with pytest.raises(Undecidable, match="already paid order"):
        decide(world, second, verify, world.order(second).total)
    assert world.states(second)[1] == "claimed"
    decide(world, second, reject)
    assert world.states(second)[1] == "pending"


def test_an_id_that_paid_elsewhere_under_another_spelling_is_shown_and_breaks_nothing(world: World) -> None:
    """The merchant saw the money of the first under the id that the second wrote; a statement with it comes later."""
    first, second = world.place("shopify", "jazzcash"), world.place("shopify", "jazzcash")
    first.phone.write("TID 060935466001")
    second.phone.write("TID 060935466002")
    with deciding(world, "shopify") as (session, desk, settled):
        mine = claim_of(session, claims(world, first)[0].id)
        assert mine is not None
        verify(session, desk, settled, mine, world.order(first).total, by="merchant@shop", reference="60935466002")
    with deciding(world, "shopify") as (session, desk, settled):
        take_in(session, desk, settled, "jazzcash", [line("060935466002", world.order(second).total)])
    world.settle()
    assert [world.states(placed)[1] for placed in (first, second)] == ["paid", "claimed"]
    assert claims(world, second)[0].finding == "used"
    third = world.place("shopify", "jazzcash")
    third.phone.write("TID 060935466001")  # what the first was claimed under at the beginning
    assert world.states(third)[1] == "claimed"


def test_the_same_id_twice_is_one_claim(world: World) -> None:
    placed = world.place("shopify", "jazzcash")
    for text in ("TID 060935465984", "0609 3546 5984"):
        placed.phone.write(text)
    assert len(claims(world, placed)) == 1
    assert "already have" in placed.phone.last.text


def test_a_claim_that_is_not_found_is_told_and_may_be_made_anew(world: World) -> None:
    placed = world.place("woocommerce", "jazzcash")
    placed.phone.write("TID 060935465985")
    decide(world, placed, reject)
    assert "found no payment" in placed.phone.last.text
    assert world.states(placed)[1] == "pending"
    placed.phone.write("sorry TID 060935465986")
    decide(world, placed, ask_for_id)
    assert "write the transaction ID" in placed.phone.last.text
    placed.phone.write("TID 060935465986")
    assert [claim.state for claim in claims(world, placed)][-1] == "open"
    assert world.states(placed)[1] == "claimed"


def test_less_than_what_was_asked_leaves_the_rest_to_be_paid(world: World) -> None:
    placed = world.place("shopify", "jazzcash")
    placed.phone.write("TID 060935465987")
    total = world.order(placed).total
    decide(world, placed, verify, total - 500)
    order = world.order(placed)
    assert (order.payment, order.due.amount) == ("pending", 500)
    assert "still missing" in placed.phone.last.text
    assert not may_be_sent(world, placed)
    placed.phone.write("baqi bhi bhej diye TID 060935465988")
    decide(world, placed, verify, Decimal(500))
    assert world.states(placed)[1] == "paid"


def test_a_statement_proves_what_fits_exactly(world: World) -> None:
    fits, short, older = (world.place("shopify", "jazzcash") for _ in range(3))
    for placed, transaction in ((fits, "060935465991"), (short, "060935465992"), (older, "060935465993")):
        placed.phone.write(f"TID {transaction}")
    total = world.order(fits).total
    long_ago = datetime(2026, 1, 5, tzinfo=UTC)
    lines = [
        line("060935465991", total),
        line("060935465992", total - 100),
        line("060935465993", total, at=long_ago),
        line("060935465999", Decimal(17)),
    ]
    with deciding(world, "shopify") as (session, desk, settled):
        assert take_in(session, desk, settled, "jazzcash", lines) == (4, 1)
    with deciding(world, "shopify") as (session, desk, settled):
        assert take_in(session, desk, settled, "jazzcash", lines) == (0, 0)
    world.settle()
    assert [world.states(placed)[1] for placed in (fits, short, older)] == ["paid", "claimed", "claimed"]
    assert [claims(world, placed)[0].finding for placed in (fits, short, older)] == ["exact", "short", "older"]
    assert "has arrived" in fits.phone.last.text


def test_a_statement_read_before_the_customer_wrote_proves_it_at_once(world: World) -> None:
    placed = world.place("shopify", "jazzcash")
    with deciding(world, "shopify") as (session, desk, settled):
        take_in(session, desk, settled, "jazzcash", [line("060935465994", world.order(placed).total)])
    placed.phone.write("TID 060935465994")
    assert world.states(placed)[1] == "paid"
    assert "has arrived" in placed.phone.last.text


def test_a_picture_alone_is_kept_and_asked_about(world: World) -> None:
    placed = world.place("shopify", "jazzcash")
    world.control("POST", f"/control/phones/{placed.phone.number}/send", {"image": "receipt.png"})
    world.settle()
    assert "also write the transaction ID" in placed.phone.last.text
    assert world.states(placed)[1] == "claimed"
    assert not may_be_sent(world, placed)
    placed.phone.write("060935465995")
    (claim,) = claims(world, placed)
    assert claim.reference == "060935465995"


def test_after_it_is_paid_its_id_is_known_and_any_other_number_is_a_persons(world: World) -> None:
    placed = world.place("shopify", "jazzcash")
    placed.phone.write("TID 060935465996")
    decide(world, placed, verify, world.order(placed).total)
    placed.phone.write("TID 060935465996 mila?")
    assert "already paid" in placed.phone.last.text
    count = len(placed.phone.heard)
    placed.phone.write("TID 060935465997")
    assert len(placed.phone.heard) == count
    assert len(claims(world, placed)) == 1


def test_words_that_are_no_claim_are_a_persons(world: World) -> None:
    placed = world.place("shopify", "jazzcash")
    placed.phone.write("kal bhej dunga 0300 1234567 par call karna")
    assert claims(world, placed) == []
    assert world.states(placed)[1] == "pending"
