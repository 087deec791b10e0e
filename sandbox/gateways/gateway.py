"""What every gateway has: checkouts, what becomes of them, and a page on which a customer pays.

A gateway's file knows its wire format; what a checkout is, and what may happen to it, is said here once. Amounts are
kept as decimal texts of the currency's units, times as seconds since the epoch.
"""

from __future__ import annotations

import copy
import hmac
import string
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
from typing import Any, ClassVar

import orjson
from flask import Response, render_template, request

from sandbox.delivery import Outgoing, Policy
from sandbox.errors import Refusal
from sandbox.world import Record, World

MERCHANT = "Sandbox Traders"
"""Whose account it is at every gateway."""
PKT = timezone(timedelta(hours=5))
IST = timezone(timedelta(hours=5, minutes=30))
CENT = Decimal("0.01")
MOST = Decimal(10) ** 9
DIGITS, WORD, CAPITALS = string.digits, string.ascii_letters + string.digits, string.ascii_uppercase + string.digits

OPEN, PAID, FAILED, EXPIRED, CANCELLED = "open", "paid", "failed", "expired", "cancelled"
PARTIALLY_REFUNDED, REFUNDED, DISPUTED, LATE = "partially_refunded", "refunded", "disputed", "late"
OUTCOMES = (PAID, FAILED, EXPIRED, LATE, REFUNDED, PARTIALLY_REFUNDED, DISPUTED)
HELD = frozenset({PAID, PARTIALLY_REFUNDED, DISPUTED})
"""States in which the gateway holds money of the customer's."""

# outcome -> the states of a checkout to which it can happen
POSSIBLE = {
    PAID: frozenset({OPEN, FAILED, EXPIRED}),
    FAILED: frozenset({OPEN}),
    EXPIRED: frozenset({OPEN}),
    CANCELLED: frozenset({OPEN}),
    LATE: frozenset({OPEN, FAILED, EXPIRED}),
    REFUNDED: HELD,
    PARTIALLY_REFUNDED: HELD,
    DISPUTED: frozenset({PAID, PARTIALLY_REFUNDED}),
}

Rule = tuple[str, str, Callable[..., Response]]
Tell = Callable[[Record, str, bool, Record], None]
"""Of a checkout, an event's name, whether it is forged; and the checkout in whose history it is written down."""


class Gateway:
    name: ClassVar[str]
    title: ClassVar[str]
    account: ClassVar[dict[str, str]]  # what opens the merchant's account, by the names under which apps ask for it
    secret: ClassVar[str]  # the name of the one that signs what it pushes; empty for one that signs nothing
    currencies: ClassVar[tuple[str, ...]]
    outcomes: ClassVar[tuple[str, ...]] = OUTCOMES  # what can become of a checkout here, and is to be seen from outside
    states: ClassVar[frozenset[str]] = frozenset({"amount", "currency", "reference"})  # what its events speak of
    says: ClassVar[Mapping[str, Sequence[str]]]  # what happened -> the events it pushes of that
    tries_again: ClassVar[bool] = True  # a failed attempt leaves the checkout open
    late_after: ClassVar[str] = FAILED  # what it has said of a payment that then comes after all

    def __init__(self, world: World, tell: Tell) -> None:
        self.world = world
        self._tell = tell
        self._checkouts = world.shelf("gateway_checkouts")
        self._names = world.shelf("gateway_names")

    def policy(self) -> Policy:
        """How it pushes, at the pace of this world."""
        raise NotImplementedError

    def api(self) -> Sequence[Rule]:
        """What the merchant's app calls."""
        raise NotImplementedError

    def pages(self) -> Sequence[Rule]:
        """What the customer's browser opens."""
        raise NotImplementedError

    def pushed(self, checkout: Record, event: str, address: str, forged: bool) -> Outgoing:
        """The request that tells an address of an event."""
        raise NotImplementedError

    def returned(self, checkout: Record, outcome: str) -> Response:
        """What the customer's browser is shown after a choice on the page: usually the way back to the shop."""
        raise NotImplementedError

    def page_url(self, checkout: Record) -> str:
        """Where the customer's browser finds the page again."""
        return f"{self.home}/page/{checkout['id']}"

    def addresses(self, checkout: Record, told: Sequence[str]) -> Sequence[str]:
        """Where events of this checkout go; `told` are the addresses that the merchant's shops stated."""
        return told

    def taken(self, body: bytes) -> bool:
        """Whether the body of an answer to a push says that it was taken."""
        return True

    @property
    def home(self) -> str:
        return f"{self.world.settings.url}/gateways/{self.name}"

    # Checkouts

    def open(self, id: str, reference: str, amount: Decimal, currency: str, **told: Any) -> Record:
        """A new one. `told` may hold description, customer, return_url, notify_url, expires and what only this gateway
        knows.
        """
        now = self.now()
        checkout: Record = {
            "gateway": self.name,
            "id": id,
            "reference": reference,
            "amount": written(amount),
            "currency": currency,
            "description": "",
            "customer": {},
            "return_url": "",
            "notify_url": "",
            "state": OPEN,
            "created": now,
            "changed": now,
            "expires": None,
            "payments": [],
            "events": [],
            **told,
        }
        with self.world.lock:
            checkout["made"] = self.world.next_number("gateway_checkout")
            self._checkouts.put(f"{self.name}:{id}", checkout)
            if reference:
                self.known_as(checkout, f"reference:{reference}")
        return checkout

    def known_as(self, checkout: Record, name: str) -> None:
        """Find it by another name too."""
        self._names.put(f"{self.name}:{name}", {"checkout": f"{self.name}:{checkout['id']}"})

    def checkout(self, id: object) -> Record | None:
        return self._checkouts.get(f"{self.name}:{id}")

    def by_name(self, name: str) -> Record | None:
        filed = self._names.get(f"{self.name}:{name}")
        return self._checkouts.get(filed["checkout"]) if filed else None

    def by_reference(self, reference: object) -> Record | None:
        return self.by_name(f"reference:{reference}")

    def all(self) -> list[Record]:
        return [checkout for checkout in self._checkouts.values() if checkout["gateway"] == self.name]

    def payment(self, checkout: Record) -> Record | None:
        """The payment that a checkout's state speaks of: the one that was taken, else the last that failed."""
        payments: list[Record] = checkout["payments"]
        return next((one for one in payments if one["state"] == PAID), payments[-1] if payments else None)

    def new_payment(self) -> Record:
        """What this gateway writes down of a payment beside its money: its `id` at least."""
        raise NotImplementedError

    # What becomes of them

    def happen(
        self,
        checkout: Record,
        outcome: str,
        *,
        amount: Decimal | None = None,
        currency: str = "",
        reference: str = "",
        forged: bool = False,
    ) -> None:
        """Let it happen, and tell of it. A forged event, or one that names another reference, is told and did not
        happen: the checkout stays as it is.
        """
        with self.world.lock:
            if checkout["state"] not in POSSIBLE[outcome]:
                state = checkout["state"]
                raise Refusal(f"{checkout['reference']} is {state}: it cannot become {outcome}.", 409)
            played = checkout
            if forged or reference:
                played = copy.deepcopy(checkout)
                if reference:
                    played = renamed(played, checkout["reference"], reference) | {"id": self.another_id(checkout)}
            steps = [outcome]
            if outcome == LATE:
                began = played["state"] in (FAILED, EXPIRED) or bool(played["payments"])
                steps = [PAID] if began else [self.late_after, PAID]
            for step in steps:
                self._step(played, step, amount, currency, same=outcome == LATE)
                for event in self.says.get(step, ()):
                    self._tell(played, event, forged, checkout)
            self._checkouts.touch(f"{self.name}:{checkout['id']}")

    def another_id(self, checkout: Record) -> str:
        """An id as of a checkout of somebody else's; the same where its id is its reference."""
        return str(checkout["id"])

    def _step(self, checkout: Record, step: str, amount: Decimal | None, currency: str, *, same: bool) -> None:
        now = self.now()
        checkout["changed"] = now
        payment = self.payment(checkout)
        if step in (PAID, FAILED):
            if payment is None or not same:
                payment = {**self.new_payment(), "refunds": [], "dispute": None}
                checkout["payments"].append(payment)
                self.known_as(checkout, f"payment:{payment['id']}")
            payment |= {
                "state": step,
                "amount": written(amount) if amount is not None else checkout["amount"],
                "currency": currency or checkout["currency"],
                "at": now,
            }
            if step == PAID or not self.tries_again:
                checkout["state"] = step
        elif step in (REFUNDED, PARTIALLY_REFUNDED):
            assert payment is not None
            left = Decimal(payment["amount"]) - refunded(payment)
            back = amount if amount is not None else left if step == REFUNDED else (left / 2).quantize(CENT)
            payment["refunds"].append({"id": self.code("", 14), "amount": written(back), "at": now})
            checkout["state"] = REFUNDED if back >= left else PARTIALLY_REFUNDED
        elif step == DISPUTED:
            assert payment is not None
            payment["dispute"] = {"id": self.code("", 14), "amount": payment["amount"], "at": now}
            checkout["state"] = DISPUTED
        else:
            checkout["state"] = step

    def pass_time(self) -> None:
        """What is overdue expires, as it does at the vendor without being asked."""
        with self.world.lock:
            now = self.now()
            for checkout in self.all():
                if checkout["state"] == OPEN and checkout["expires"] is not None and checkout["expires"] <= now:
                    self.happen(checkout, EXPIRED)

    # The customer's page

    def shown(self, checkout: Record, said: str = "") -> Response:
        """The page on which to pay; `said` is what became of the last attempt."""
        page = render_template(
            "gateways/pay.html", gateway=self, checkout=checkout, merchant=MERCHANT, said=said,
            action=f"{self.home}/page/{checkout['id']}",
        )  # fmt: skip
        return _page(page)

    def trouble(self, code: str, sentence: str, status: int = 400) -> Response:
        """The page of a gateway that will not open a checkout."""
        return _page(render_template("gateways/trouble.html", gateway=self, code=code, sentence=sentence), status)

    def page(self, id: str) -> Response:
        checkout = self.checkout(id)
        return self.shown(checkout) if checkout else self.trouble("404", "There is nothing to pay here.", 404)

    def choose(self, id: str) -> Response:
        """The customer pays, fails to, or waits too long."""
        checkout, outcome = self.checkout(id), request.form.get("outcome", "")
        if checkout is None or outcome not in (PAID, FAILED, EXPIRED):
            return self.trouble("404", "There is nothing to pay here.", 404)
        self.pass_time()
        if checkout["state"] != OPEN:
            return self.shown(checkout)
        return self.chosen(checkout, outcome)

    def chosen(self, checkout: Record, outcome: str) -> Response:
        self.happen(checkout, outcome)
        return self.returned(checkout, outcome)

    # Small things

    def now(self) -> int:
        return int(self.world.clock.time())

    def code(self, prefix: str, length: int, letters: str = WORD) -> str:
        """An id as gateways make them."""
        return prefix + "".join(self.world.dice.choice(letters) for _ in range(length))

    def key(self, forged: bool) -> bytes:
        """What it signs with; forgers do not have it."""
        return (self.account[self.secret] if not forged else "a-guess").encode()


def renamed(value: Any, old: str, new: str) -> Any:
    """The same with another reference, wherever it stands: apps repeat theirs in notes."""
    if isinstance(value, dict):
        return {key: renamed(one, old, new) for key, one in value.items()}
    if isinstance(value, list):
        return [renamed(one, old, new) for one in value]
    return new if value == old else value


def written(amount: Decimal) -> str:
    return str(amount.quantize(CENT))


def money_of(stated: object) -> Decimal | None:
    """An amount above nothing with at most two decimals; None for anything else."""
    if isinstance(stated, bool) or not isinstance(stated, int | float | str) or len(str(stated)) > 20:
        return None
    try:
        amount = Decimal(str(stated))
    except InvalidOperation:
        return None
    if not amount.is_finite() or not 0 < amount < MOST or amount != amount.quantize(CENT):
        return None
    return amount


def minor(amount: str | Decimal) -> int:
    """In paise or paisa."""
    return int(Decimal(amount) * 100)


def refunded(payment: Record) -> Decimal:
    return sum((Decimal(one["amount"]) for one in payment["refunds"]), Decimal(0))


def stamp(at: int, form: str, zone: timezone = UTC) -> str:
    return datetime.fromtimestamp(at, zone).strftime(form)


def hexed(key: bytes, text: bytes, digest: str = "sha256") -> str:
    return hmac.new(key, text, digest).hexdigest()


def proves(one: object, other: str) -> bool:
    """Whether a proof is the right one; the letters of hexadecimal proofs may be capitals."""
    return isinstance(one, str) and hmac.compare_digest(one.lower().encode(), other.lower().encode())


def json_body() -> Record | None:
    """The JSON object of the request; None when it is none."""
    try:
        value = orjson.loads(request.get_data(cache=True))
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def text_of(value: object) -> str:
    return value if isinstance(value, str) else ""


def part_of(body: Record, name: str) -> Record:
    part = body.get(name)
    return part if isinstance(part, dict) else {}


def posted(url: str, fields: Mapping[str, str], title: str) -> Response:
    """A page that sends the browser on with a form, as gateways do that return by POST."""
    return _page(render_template("gateways/posted.html", url=url, fields=fields, title=title))


def _page(text: str, status: int = 200) -> Response:
    response = Response(text, status, content_type="text/html; charset=utf-8")
    response.headers["Cache-Control"] = "no-store"
    response.headers["Referrer-Policy"] = "strict-origin"
    return response
