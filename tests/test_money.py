"""How an order's money stands follows from what was said of it, whatever order it came in and however often."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random

from integration.money import SETTLED, Word, becomes, standing
from integration.orders import PAYMENT

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
TOTAL = Decimal(1500)


def word(source: str, status: str, reference: str = "", amount: int | None = None, minutes: int = 0) -> Word:
    return Word(
        source, status, reference, None if amount is None else Decimal(amount), NOON + timedelta(minutes=minutes)
    )


def stands(*words: Word, is_cod: bool = False) -> str:
    return standing(words, TOTAL, is_cod=is_cod).status


def test_nothing_said_is_nothing_paid() -> None:
    assert stands() == "pending"
    assert stands(is_cod=True) == "cod_due"


def test_a_claim_pays_nothing_and_a_proof_pays() -> None:
    claim = word("claim", "claimed", "1", 1500)
    assert stands(claim) == "claimed"
    assert stands(claim, word("claim", "rejected", "1", minutes=5)) == "pending"
    assert stands(word("claim", "paid", "1", 1500)) == "pending"
    assert stands(claim, word("merchant", "paid", "T1", 1500, 5)) == "paid"


def test_a_failed_payment_may_be_paid_later_and_a_paid_one_never_fails() -> None:
    failed, paid = word("g", "failed", "p1"), word("g", "paid", "p1", 1500, 30)
    assert stands(failed) == "failed"
    assert stands(failed, paid) == "paid"
    assert stands(paid, word("g", "failed", "p1", minutes=60)) == "paid"


def test_two_words_of_one_payment_are_one_payment() -> None:
    pushed, polled = word("g", "paid", "p1", 1000), word("g", "paid", "p1", 1000, 3)
    assert standing([pushed, polled], TOTAL, is_cod=True).received == 1000
    assert stands(pushed, polled) == "pending"
    assert stands(pushed, word("g", "paid", "p2", 500)) == "paid"


def test_what_was_paid_back_is_a_total_and_not_added_up() -> None:
    paid = word("g", "paid", "p1", 1500)
    assert stands(paid, word("g", "refunded", "p1", 500, 5)) == "partially_refunded"
    assert stands(paid, word("g", "refunded", "p1", 500, 5), word("g", "refunded", "p1", 1500, 9)) == "refunded"
    assert stands(word("g", "refunded", "p1", 500)) == "pending"  # its payment is still under way to us


def test_an_advance_leaves_the_rest_due_at_the_door() -> None:
    told = standing([word("g", "paid", "p1", 300)], TOTAL, is_cod=True)
    assert (told.status, told.received) == ("cod_due", 300)


def test_an_overpayment_that_is_returned_leaves_the_order_paid() -> None:
    assert stands(word("g", "paid", "p1", 2000), word("g", "refunded", "p1", 500, 5)) == "paid"


def test_any_order_of_a_hundred_thousand_histories_ends_the_same_and_nothing_unpaid_is_sent() -> None:
    """What really happened to the money is drawn first; then it is told, doubled, shuffled, among claims and lies."""
    dice = Random(20261127)
    for _ in range(100_000):
        is_cod = dice.random() < 0.3
        words: list[Word] = []
        paid: dict[str, int] = {}
        back: dict[str, int] = {}
        for nth in range(dice.randint(0, 3)):
            name = f"p{nth}"
            words.append(word("g", "pending", name, 1500, dice.randint(0, 90)))
            if dice.random() < 0.5:
                over = dice.choice(["failed", "expired", "cancelled"])
                words.append(word("g", over, name, None, dice.randint(0, 90)))
            if dice.random() < 0.5:
                paid[name] = dice.choice([500, 1000, 1500])
                words.append(word("g", "paid", name, paid[name], dice.randint(0, 90)))
                if dice.random() < 0.3:
                    back[name] = dice.choice([part for part in (250, 500, 1500) if part <= paid[name]])
                    words.append(word("g", "refunded", name, back[name], dice.randint(0, 90)))
        for nth in range(dice.randint(0, 2)):
            words.append(word("claim", dice.choice(["claimed", "rejected", "paid"]), f"c{nth}", 1500))
        words += dice.choices(words, k=dice.randint(0, 3)) if words else []
        dice.shuffle(words)
        told = standing(words, TOTAL, is_cod=is_cod)
        dice.shuffle(words)
        assert standing(words, TOTAL, is_cod=is_cod) == told
        got, returned = sum(paid.values()), sum(back.values())
        assert told.received == got - returned, "money was lost or made up"
        assert told.refunded == returned
        if told.status in SETTLED - {"cod_due"}:
            assert got >= TOTAL, "an order counts as paid without the money"
        if got >= TOTAL and not returned:
            assert told.status == "paid"
        assert (told.status == "cod_due") <= is_cod


class Life:
    """An order's money as it is moved word by word, beside what really happened to it."""

    def __init__(self, dice: Random) -> None:
        self.dice, self.is_cod = dice, dice.random() < 0.2
        self.words: list[Word] = []
        self.status = "cod_due" if self.is_cod else "pending"
        self.cancelled = self.sent = False
        self.gained: dict[str, int] = {}
        self.returned: dict[str, int] = {}

    def hear(self, source: str, status: str, reference: str, amount: int | None, at: int) -> None:
        if source != "claim" and status == "paid":
            self.gained[reference] = max(self.gained.get(reference, 0), amount or 0)
        if status == "refunded":
            self.returned[reference] = max(self.returned.get(reference, 0), amount or 0)
            self.gained[reference] = max(self.gained.get(reference, 0), amount or 0)
        self.words.append(word(source, status, reference, amount, at))
        became = becomes(self.status, standing(self.words, TOTAL, is_cod=self.is_cod))
        assert became == self.status or became in PAYMENT[self.status], f"{self.status} cannot become {became}"
        self.status = became

    def book(self) -> None:
        """As dispatch.READY has it, asked when the courier is about to be told."""
        if self.status in SETTLED and not self.cancelled and not self.sent:
            self.sent = True
            assert self.is_cod or sum(self.gained.values()) >= TOTAL, "it was sent unpaid"


def test_no_interleaving_of_a_hundred_thousand_sends_what_is_unpaid() -> None:
    """Webhooks and polls that say the same, claims, verifications, refunds, cancellations and bookings, doubled and in
    any order: every move is a legal one, nothing is paid without evidence, and no payment is lost.
    """
    dice = Random(4)
    paid_at_last = 0
    for _ in range(100_000):
        life = Life(dice)
        happens: list[tuple[str, str, str, int | None]] = []
        for nth in range(dice.randint(1, 2)):
            name = f"p{nth}"
            if dice.random() < 0.4:
                happens.append(("g", dice.choice(["failed", "expired", "cancelled", "pending"]), name, None))
            if dice.random() < 0.45:
                amount = dice.choice([500, 1500, 1500])
                happens += [("g", "paid", name, amount)] * dice.randint(1, 2)
                if dice.random() < 0.25:
                    happens.append(("g", "refunded", name, dice.choice([250, amount])))
        if dice.random() < 0.4:
            happens.append(("claim", "claimed", "c", 1500))
            if dice.random() < 0.5:
                happens += [("merchant", "paid", "wallet:1", 1500), ("claim", "verified", "c", 1500)]
            elif dice.random() < 0.5:
                happens.append(("claim", "rejected", "c", 1500))
        happens += [("", dice.choice(["book", "book", "cancel"]), "", None) for _ in range(dice.randint(1, 3))]
        happens += dice.choices(happens, k=dice.randint(0, 2))
        dice.shuffle(happens)
        for at, (source, what, reference, amount) in enumerate(happens):
            if what == "book":
                life.book()
            elif what == "cancel":
                life.cancelled = True
            else:
                life.hear(source, what, reference, amount, at)
        told = standing(life.words, TOTAL, is_cod=life.is_cod)
        assert told.received == sum(life.gained.values()) - sum(life.returned.values()), "a payment was lost or made up"
        if life.status in SETTLED - {"cod_due"}:
            assert sum(life.gained.values()) >= TOTAL, "paid without evidence"
            paid_at_last += 1
    assert paid_at_last > 20_000
