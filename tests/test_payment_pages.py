"""The merchant's pages for payments: claims are decided, statements read, orders asked for their money again, and the
accounts that money comes to are set up. Over HTTP, against the running app.
"""

from __future__ import annotations

import html
import itertools
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, cast

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey
from sqlalchemy import select

from integration.access import open_account
from integration.claims import Claim, Picture
from integration.errors import ConfigurationError, TransientError
from integration.events import PaymentChanged
from integration.intents import CHECKOUT, Means, PaymentIntent, TransferAccount, open_intent
from integration.orders import Book, Order, whole
from integration.payments import apply_payment
from integration.ports import Account, AdapterConfig, Field, WebhookRequest
from integration.stores import Connection, Policy, Store
from integration.values import Money

from .world import Placed, World

SHOP = "dastak-demo.myshopify.com"
WALLET = TransferAccount("jazzcash", "Lahore Lawn", "0300 1112223")
_numbers = itertools.count(1)
HEADER = "Transaction ID,Date,Amount,Sender"


class Merchant(httpx.Client):
    """The merchant of the Shopify store, whose session token comes with every request."""

    def __init__(self, world: World) -> None:
        super().__init__(base_url=world.app_url, trust_env=False, timeout=30)
        self._world = world

    def send(self, request: httpx.Request, **given: Any) -> httpx.Response:
        now = int(self._world.house.clock.now().timestamp())
        claims = {
            "iss": f"https://{SHOP}/admin", "dest": f"https://{SHOP}", "aud": "sandbox-shopify-key", "sub": "1",
            "exp": now + 60, "nbf": now, "iat": now, "jti": "4321", "sid": "abc123",
        }  # fmt: skip
        token = jwt.encode({"alg": "HS256"}, claims, OctKey.import_key("sandbox-shopify-secret"))
        request.headers["Authorization"] = f"Bearer {token}"
        return super().send(request, **given)

    def page(self, path: str = "/app/payments/") -> str:
        answer = self.get(path)
        assert answer.status_code == 200, answer.text
        return html.unescape(answer.text)

    def does(self, path: str, data: Any = None, status: int = 303, **given: Any) -> str:
        """Post a form of a page; answers the page."""
        answer = self.post(f"/app/{path}", data=data or {}, **given)
        assert answer.status_code == status, answer.text
        self._world.settle()
        return html.unescape(answer.text)


@pytest.fixture
def merchant(lite_world: World) -> Iterator[Merchant]:
    with lite_world.deciding("shopify") as store:
        store.decide(replace(Policy(), transfers=(WALLET.stored(),)))
    with Merchant(lite_world) as client:
        yield client


def newest_claim(world: World, placed: Placed) -> Claim:
    with world.looking(placed.store) as session:
        order_id = world.order(placed).id
        claim = session.scalars(select(Claim).where(Claim.order_id == order_id).order_by(Claim.id.desc())).first()
        assert claim is not None, world.why(placed)
        session.expunge_all()
        return claim


def claimed(world: World, transaction: str) -> tuple[Placed, Claim]:
    """An order whose customer says it is paid."""
    placed = world.place("shopify", "jazzcash")
    placed.phone.write(f"TID {transaction}")
    return placed, newest_claim(world, placed)


def card(page: str, claim: Claim) -> str:
    """The part of the page that one claim is decided in."""
    found = re.search(rf'<article[^>]* id="claim-{claim.id}".*?</article>', page, re.DOTALL)
    assert found is not None, page
    return found[0]


def section(page: str, name: str) -> str:
    found = re.search(rf'<section[^>]* id="{name}".*?</section>', page, re.DOTALL)
    assert found is not None, page
    return found[0]


def upload(merchant: Merchant, content: bytes | str, status: int = 200, wallet: str = "jazzcash") -> str:
    raw = content.encode() if isinstance(content, str) else content
    files = {"file": ("statement.csv", raw, "text/csv")}
    return section(merchant.does("payments/statement", {"wallet": wallet}, status, files=files), "statement")


def hidden(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found is not None, page
    return found[1]


# -- deciding ------------------------------------------------------------------------------------------------------


def test_a_claim_shows_what_is_needed_and_the_money_that_was_seen_pays_the_order(
    lite_world: World, merchant: Merchant
) -> None:
    placed, claim = claimed(lite_world, "060935460001")
    order = lite_world.order(placed)
    shown = card(merchant.page(), claim)
    for part in (placed.name, "Ayesha Khan", "060935460001", "JazzCash", order.due.shown("en"), "No statement"):
        assert part in shown
    assert placed.phone.number not in shown
    assert placed.phone.number[-4:] in shown
    assert re.search(r"\d payments? to check", merchant.page("/app/"))

    typed = {"reference": "0609-3546 0001", "amount": f"Rs {order.total:,}"}
    merchant.does(f"payments/claims/{claim.id}/verify", typed)
    assert lite_world.states(placed)[1] == "paid", lite_world.why(placed)
    page = merchant.page(f"/app/payments/?done={claim.id}")
    assert f'id="claim-{claim.id}"' not in page
    assert f"{placed.name}: the money is there. It is paid." in page
    assert f'Decided by <span dir="auto">{SHOP}</span>' in page
    decided = newest_claim(lite_world, placed)
    assert (decided.state, decided.reference, decided.decided_by) == ("verified", "060935460001", SHOP)


@pytest.mark.parametrize("amount", ["", "0", "-5", "lots", "1e9", "NaN", "9" * 30, "1.2.3", "٬", "\x00"])
def test_an_amount_that_is_none_comes_back_at_its_claim_and_decides_nothing(
    lite_world: World, merchant: Merchant, amount: str
) -> None:
    placed, claim = claimed(lite_world, f"06093547{next(_numbers):04d}")
    page = merchant.does(f"payments/claims/{claim.id}/verify", {"reference": "060935461234", "amount": amount}, 422)
    assert "Give " in card(page, claim)
    assert 'value="060935461234"' in card(page, claim)
    assert newest_claim(lite_world, placed).state == "open"
    assert lite_world.states(placed)[1] == "claimed"


def test_a_transaction_that_paid_already_pays_nothing_else_however_it_is_typed(
    lite_world: World, merchant: Merchant
) -> None:
    first, one = claimed(lite_world, "060935460003")
    second, other = claimed(lite_world, "060935460004")
    amount = str(lite_world.order(first).total)
    merchant.does(f"payments/claims/{one.id}/verify", {"reference": one.reference, "amount": amount})
    for typed in ("060935460003", " 0609 3546 0003 ", "0609-3546-0003", "۰۶۰۹۳۵۴۶۰۰۰۳"):
        page = merchant.does(f"payments/claims/{other.id}/verify", {"reference": typed, "amount": amount}, 422)
        assert f"already paid order {first.name}" in card(page, other)
    page = merchant.does(f"payments/claims/{other.id}/verify", {"reference": " - ", "amount": amount}, 422)
    assert "Give the transaction id" in card(page, other)
    assert lite_world.states(second)[1] == "claimed"


def test_an_id_that_was_given_before_is_shown_with_where(lite_world: World, merchant: Merchant) -> None:
    first, _ = claimed(lite_world, "060935460005")
    _, other = claimed(lite_world, "060935460005")
    shown = card(merchant.page(), other)
    assert "Given before" in shown
    assert f"for {first.name}" in re.sub("<[^>]*>", "", shown)


def test_what_is_not_there_is_refused_with_a_note_or_asked_for_again_and_both_are_kept(
    lite_world: World, merchant: Merchant
) -> None:
    placed, claim = claimed(lite_world, "060935460006")
    merchant.does(f"payments/claims/{claim.id}/reject", {"note": "looked twice <b>"})
    assert "found no payment" in placed.phone.last.text
    page = merchant.does(f"payments/claims/{claim.id}/reject", status=422)
    assert "This was decided already." in page
    placed.phone.write("TID 060935460007")
    second = newest_claim(lite_world, placed)
    merchant.does(f"payments/claims/{second.id}/ask")
    assert "write the transaction ID" in placed.phone.last.text
    told = merchant.get("/app/payments/").text
    assert "looked twice &lt;b&gt;" in told
    assert "Asked for the id" in told
    story = merchant.page(f"/app/orders/{claim.order_id}")
    assert "060935460006 was not found, says" in story
    assert "060935460007 is asked for again, says" in story


@pytest.mark.parametrize("decision", ["verify", "reject", "ask"])
@pytest.mark.parametrize("claim_id", ["0", "99999999", "9" * 25, "-1", "x"])
def test_a_claim_that_is_not_there_is_said_so(merchant: Merchant, decision: str, claim_id: str) -> None:
    answer = merchant.post(f"/app/payments/claims/{claim_id}/{decision}", data={"amount": "1", "reference": "12345678"})
    assert answer.status_code in (404, 405)


def test_no_merchant_decides_anothers_claim(lite_world: World, merchant: Merchant) -> None:
    with lite_world.deciding("woocommerce") as store:
        store.decide(replace(store.policy, transfers=(WALLET.stored(),)))
    placed = lite_world.place("woocommerce", "jazzcash")
    placed.phone.write("TID 060935460008")
    claim = newest_claim(lite_world, placed)
    for decision in ("verify", "reject", "ask"):
        answer = merchant.post(
            f"/app/payments/claims/{claim.id}/{decision}", data={"amount": "1", "reference": "12345678"}
        )
        assert answer.status_code == 404
    assert placed.name not in merchant.page()
    order_id = lite_world.order(placed).id
    assert merchant.post(f"/app/payments/orders/{order_id}/again").status_code == 404
    assert merchant.post(f"/app/orders/{order_id}/ask", data={"amount": "1", "means": "jazzcash"}).status_code == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""), ("GET", "setup"), ("GET", "pictures/1"), ("GET", "pictures/1/large"), ("POST", "claims/1/verify"),
        ("POST", "statement"), ("POST", "orders/1/again"), ("POST", "setup/accounts"), ("POST", "setup/terms"),
        ("POST", "setup/accounts/jazzcash/remove"), ("POST", "acorn/connect"), ("POST", "acorn/disconnect"),
    ],
)  # fmt: skip
def test_strangers_see_and_change_nothing(lite_world: World, method: str, path: str) -> None:
    with httpx.Client(base_url=lite_world.app_url, trust_env=False, timeout=30) as stranger:
        answer = stranger.request(method, f"/app/payments/{path}")
    assert (answer.status_code, answer.headers["location"]) == (302, "/")


# -- statements ----------------------------------------------------------------------------------------------------


def test_a_statement_of_a_known_kind_is_taken_in_at_once_and_says_what_it_could_not_read(
    lite_world: World, merchant: Merchant
) -> None:
    fits, _ = claimed(lite_world, "060935460011")
    short, claim = claimed(lite_world, "060935460012")
    total = lite_world.order(fits).total
    today = f"{lite_world.house.clock.now():%Y-%m-%d %H:%M}"
    rows = [
        HEADER, f"060935460011,{today},{total},03001234567", f"060935460012,{today},{total - 100},03007654321",
        f"060935460099,{today},half a crown,0300", f"060935460098,{today},-700,0300",
    ]  # fmt: skip
    told = upload(merchant, "\n".join(rows))
    assert "2 lines read, 1 payment proven." in told
    assert "1 line could not be read" in told
    assert "line 4: The amount cannot be read." in told
    assert "1 line of money that went out" in told
    assert (lite_world.states(fits)[1], lite_world.states(short)[1]) == ("paid", "claimed")
    shown = card(merchant.page(), claim)
    assert "Less than what was asked" in shown
    assert "row 3" in shown
    assert f'name="amount" value="{total - 100:f}"' in shown
    assert "03007654321" not in shown
    assert "All of them were read before." in upload(merchant, "\n".join(rows))


def test_columns_that_are_not_clear_are_asked_for_once_and_remembered(lite_world: World, merchant: Merchant) -> None:
    placed, _ = claimed(lite_world, "060935460021")
    total = lite_world.order(placed).total
    today = f"{lite_world.house.clock.now():%d.%m.%Y}"
    odd = f"Alpha;Beta;Gamma;Delta\nx1;{total};060935460021;{today}\nx2;17;060935460022;{today}\n"
    asked = upload(merchant, odd)
    assert "Say which column is which" in asked
    assert "060935460021" in asked
    assert lite_world.states(placed)[1] == "claimed"
    form = {"wallet": "jazzcash", "content": hidden(asked, "content"), "step": "said"}

    page = merchant.does("payments/statement", {**form, "column-transaction": "2", "column-at": "3"}, 422)
    assert "Say which column holds the amount." in section(page, "statement")
    page = merchant.does("payments/statement", {**form, "column-amount": "1", "column-at": "77"}, 422)
    assert "Say which column holds the transaction ids." in section(page, "statement")

    said = {**form, "column-transaction": "2", "column-amount": "1", "column-at": "3", "column-name": "²"}
    page = merchant.does("payments/statement", said, 200)
    assert "2 lines read, 1 payment proven." in section(page, "statement")
    assert lite_world.states(placed)[1] == "paid"

    again, _ = claimed(lite_world, "060935460023")
    more = f"Alpha;Beta;Gamma;Delta\nx3;{lite_world.order(again).total};060935460023;{today}\n"
    told = upload(merchant, more)
    assert "1 line read, 1 payment proven." in told

    wrong = {"wallet": "jazzcash", "content": hidden(told, "content"), "step": "ask"}
    asked = section(merchant.does("payments/statement", wrong, 200), "statement")
    assert re.search(r'name="column-amount">.*?<option value="1" selected>Beta', asked, re.DOTALL)


def test_a_large_statement_is_read_and_one_that_is_too_large_is_said_so(merchant: Merchant) -> None:
    rows = "".join(f"0709{nth:08d},2026-11-01 10:00,{nth + 1},0300{nth:07d}{'x' * 60}\n" for nth in range(12_000))
    assert len(rows) > 1024 * 1024
    assert "12000 lines read" in upload(merchant, f"{HEADER}\n{rows}")
    assert "larger than 5 MB" in upload(merchant, b"a,b\n" * 1_300_000, 422)
    assert merchant.post("/app/payments/statement", content=b"x" * 9_000_000).status_code == 413
    assert merchant.post("/app/payments/setup/terms", content=b"x" * 2_000_000).status_code == 413


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"PK\x03\x04 a workbook", "This is a spreadsheet."), (b"%PDF-1.7", "This is a PDF."), (b"   \n", "is empty"),
        (b"\x00\x01\x02\xff" * 99, "file"), ("1,2,3\n4,5,6\n", "No row with the names of columns"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_statement_says_what_to_do(merchant: Merchant, content: Any, sentence: str) -> None:
    assert sentence in upload(merchant, content, 422)


@pytest.mark.parametrize("content", ["", "!!!", "eJw", "AAAA" * 50, "é", "eNoDAAAAAAE="])
def test_a_carried_file_that_was_changed_on_the_way_is_said_so(merchant: Merchant, content: str) -> None:
    page = merchant.does("payments/statement", {"wallet": "jazzcash", "content": content, "step": "said"}, 422)
    assert re.search("lost on the way|Choose a file|is empty", section(page, "statement"))


def test_a_statement_is_of_one_of_the_accounts_there_are(merchant: Merchant) -> None:
    assert "Choose the account" in upload(merchant, f"{HEADER}\n", 422, wallet="nobody's")


# -- pictures ------------------------------------------------------------------------------------------------------


def test_a_picture_is_shown_to_its_merchant_alone_and_can_run_nothing(lite_world: World, merchant: Merchant) -> None:
    placed = lite_world.place("shopify", "jazzcash")
    lite_world.control("POST", f"/control/phones/{placed.phone.number}/send", {"image": "receipt.png"})
    lite_world.settle()
    claim = newest_claim(lite_world, placed)
    with lite_world.looking("shopify") as session:
        picture = session.scalars(select(Picture).where(Picture.claim_id == claim.id)).one()
    path = f"/app/payments/pictures/{picture.id}"
    assert f'{path}"' in card(merchant.page(), claim)
    assert f'{path}/large"' in card(merchant.page(), claim)
    answer = merchant.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, picture.kind)
    assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"].startswith("private")
    assert placed.name in merchant.page(f"{path}/large")
    for wrong in ("0", "99999999", "9" * 25):
        assert merchant.get(f"/app/payments/pictures/{wrong}").status_code == 404
        assert merchant.get(f"/app/payments/pictures/{wrong}/large").status_code == 404
    with lite_world.house.db.lane(lite_world.store_id("shopify")) as session:
        session.get_one(Picture, picture.id).content = None
    assert merchant.get(path).status_code == 404


def test_the_picture_of_another_store_is_not_there(lite_world: World, merchant: Merchant) -> None:
    with lite_world.deciding("woocommerce") as store:
        store.decide(replace(store.policy, transfers=(WALLET.stored(),)))
    placed = lite_world.place("woocommerce", "jazzcash")
    lite_world.control("POST", f"/control/phones/{placed.phone.number}/send", {"image": "receipt.png"})
    lite_world.settle()
    with lite_world.looking("woocommerce") as session:
        picture = session.scalars(select(Picture).order_by(Picture.id.desc())).first()
    assert picture is not None
    assert picture.state == "kept"
    assert merchant.get(f"/app/payments/pictures/{picture.id}").status_code == 404
    assert merchant.get(f"/app/payments/pictures/{picture.id}/large").status_code == 404


# -- orders that wait ----------------------------------------------------------------------------------------------


def test_an_order_that_waits_is_told_again_how_to_pay(lite_world: World, merchant: Merchant) -> None:
    placed = lite_world.place("shopify", "jazzcash")
    order = lite_world.order(placed)
    before = len(placed.phone.heard)
    waiting = section(merchant.page(), "waiting")
    assert placed.name in waiting
    assert order.due.shown("en") in waiting
    merchant.does(f"payments/orders/{order.id}/again")
    assert len(placed.phone.heard) == before + 1, lite_world.why(placed)
    assert "0300 1112223" in placed.phone.last.text
    assert f"{placed.name}: the instructions are on their way" in merchant.page(f"/app/payments/?told={order.id}")
    assert merchant.get("/app/payments/?told=²&done=x").status_code == 200


def test_an_order_that_nobody_can_be_asked_to_pay_says_why(lite_world: World, merchant: Merchant) -> None:
    with lite_world.deciding("shopify") as store:
        store.decide(Policy())
    placed = lite_world.place("shopify", "bank")
    order = lite_world.order(placed)
    page = merchant.does(f"payments/orders/{order.id}/again", status=422)
    assert "No account or gateway is known" in section(page, "waiting")
    lite_world.hand(placed, "cancel")
    assert "The order is cancelled." in merchant.does(f"payments/orders/{order.id}/again", status=422)
    assert placed.name not in section(merchant.page(), "waiting")


def test_what_does_not_fit_is_shown_with_its_sentence_here_and_in_the_orders_story(
    lite_world: World, merchant: Merchant
) -> None:
    placed = lite_world.place("shopify", "jazzcash")
    order_id, store_id = lite_world.order(placed).id, lite_world.store_id("shopify")
    with lite_world.house.db.lane(store_id) as session:
        order = session.get_one(Order, order_id, options=whole())
        intent = open_intent(session, order, Means(CHECKOUT, "acorn", "Acorn"), Decimal(900), timedelta(days=1))
        reference = intent.reference
    with lite_world.house.db.lane(store_id) as session:
        fact = PaymentChanged(
            order_ref=reference, attempt_ref="pay_7", status="paid", raw_status="DONE", amount=Money.parse("9", "PKR"),
            occurred_at=session.now(),
        )  # fmt: skip
        apply_payment(Book(session, session.get_one(Store, store_id)), fact, "acorn", label="Acorn")
    assert "Rs 9 came where Rs 900 was asked for" in merchant.page()
    story = merchant.page(f"/app/orders/{order_id}")
    assert "Acorn says: paid" in story
    assert f"does not count: Rs 9 came where Rs 900 was asked for (Rs 9, reference {reference}, DONE)" in story
    assert lite_world.states(placed)[1] == "pending"


# -- asking from an order's page -----------------------------------------------------------------------------------


def test_a_part_of_a_cash_order_can_be_asked_for_in_advance(lite_world: World, merchant: Merchant) -> None:
    placed = lite_world.place("shopify")
    placed.phone.tap("Confirm")
    order = lite_world.order(placed)
    money = section(merchant.page(f"/app/orders/{order.id}"), "money")
    assert f'value="{order.total:f}"' in money
    assert "Nothing was asked for yet." in money
    merchant.does(f"orders/{order.id}/ask", {"amount": "500", "means": "jazzcash"})
    assert "0300 1112223" in placed.phone.last.text, lite_world.why(placed)
    assert "500" in placed.phone.last.text
    money = section(merchant.page(f"/app/orders/{order.id}"), "money")
    assert "Rs 500 by JazzCash" in money
    placed.phone.write("TID 060935460031")
    claim = newest_claim(lite_world, placed)
    merchant.does(f"payments/claims/{claim.id}/verify", {"reference": "060935460031", "amount": "500"})
    order = lite_world.order(placed)
    assert (order.payment, order.received, order.due.amount) == ("cod_due", Decimal(500), order.total - 500)
    money = section(merchant.page(f"/app/orders/{order.id}"), "money")
    assert order.due.shown("en") in money


@pytest.mark.parametrize(
    ("amount", "means", "sentence"),
    [
        ("99999999", "jazzcash", "of it is due"), ("0", "jazzcash", "more than nothing"),
        ("", "jazzcash", "in figures"), ("500", "", "Choose how"), ("500", "easypaisa", "Choose how"),
        ("500", "' OR 1=1", "Choose how"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_for_says_why_and_asks_nothing(
    lite_world: World, merchant: Merchant, amount: str, means: str, sentence: str
) -> None:
    placed = lite_world.place("shopify")
    order = lite_world.order(placed)
    page = merchant.does(f"orders/{order.id}/ask", {"amount": amount, "means": means}, 422)
    assert sentence in section(page, "money")
    with lite_world.looking("shopify") as session:
        assert session.scalars(select(PaymentIntent).where(PaymentIntent.order_id == order.id)).all() == []


def test_nothing_is_asked_for_an_order_that_is_paid(lite_world: World, merchant: Merchant) -> None:
    placed = lite_world.place("shopify", "prepaid")
    order = lite_world.order(placed)
    page = merchant.does(f"orders/{order.id}/ask", {"amount": "500", "means": "jazzcash"}, 422)
    assert "nothing can be asked for it" in page
    assert "Ask for payment" not in merchant.page(f"/app/orders/{order.id}")


# -- setting up ----------------------------------------------------------------------------------------------------


def test_an_account_is_added_shown_to_customers_and_removed(lite_world: World, merchant: Merchant) -> None:
    with lite_world.deciding("shopify") as store:
        store.decide(Policy())
    typed = {"wallet": "bank", "title": "Lahore <Lawn>", "number": "pk36 scbl 0000 0011 2345 6702", "bank": "A Bank",
             "names": "Wire me, , Bank jama"}  # fmt: skip
    merchant.does("payments/setup/accounts", typed)
    with lite_world.looking("shopify") as session:
        policy = session.get_one(Store, lite_world.store_id("shopify")).policy
    account = TransferAccount("bank", "Lahore <Lawn>", "PK36SCBL0000001123456702", "A Bank", ("Wire me", "Bank jama"))
    assert [TransferAccount.of(stored) for stored in policy.transfers] == [account]
    assert "Lahore &lt;Lawn&gt;" in merchant.get("/app/payments/setup").text
    page = merchant.does("payments/setup/accounts", typed, 422)
    assert "There is an account for Bank transfer already." in page
    assert 'value="pk36 scbl 0000 0011 2345 6702"' in page
    merchant.does("payments/setup/terms", {"payment_hours": "30", "prepaid_with": "bank"})
    merchant.does("payments/setup/accounts/bank/remove")
    with lite_world.looking("shopify") as session:
        policy = session.get_one(Store, lite_world.store_id("shopify")).policy
    assert (policy.transfers, policy.payment_hours, policy.prepaid_with) == ((), 30, "")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"wallet": "gold"}, "Choose what kind"), ({"wallet": ""}, "Choose what kind"),
        ({"title": " \u200f "}, "Give the name"), ({"number": ""}, "Give the number"),
        ({"number": "abc"}, "Give the number"),
        ({"number": "0300<script>"}, "Give the number"), ({"number": "PK36SCBL0000001123456703"}, "does not add up"),
        ({"number": "PK36SCBL000000112345670"}, "does not add up"),
    ],
)  # fmt: skip
def test_an_account_that_nobody_could_send_to_is_not_taken(
    lite_world: World, merchant: Merchant, changes: dict[str, str], sentence: str
) -> None:
    typed = {"wallet": "easypaisa", "title": "Lahore Lawn", "number": "0345 1112223", **changes}
    assert sentence in section(merchant.does("payments/setup/accounts", typed, 422), "accounts")
    with lite_world.looking("shopify") as session:
        policy = session.get_one(Store, lite_world.store_id("shopify")).policy
    assert [stored["wallet"] for stored in policy.transfers] == ["jazzcash"]


@pytest.mark.parametrize(
    ("hours", "prepaid", "sentence"),
    [("0", "", "whole number"), ("169", "", "whole number"), ("1.5", "", "whole number"), ("", "", "whole number"),
     ("9" * 400, "", "whole number"), ("24", "gold", "Choose one of"), ("24", "bank", "Choose one of")],
)  # fmt: skip
def test_terms_that_make_no_sense_change_nothing(merchant: Merchant, hours: str, prepaid: str, sentence: str) -> None:
    page = merchant.does("payments/setup/terms", {"payment_hours": hours, "prepaid_with": prepaid}, 422)
    assert sentence in section(page, "terms")
    assert 'name="payment_hours" value="24"' in merchant.page("/app/payments/setup")


# -- gateways ------------------------------------------------------------------------------------------------------


class Acorn:
    """A gateway of the tests, asked over HTTP."""

    name, label, regions, website = "acorn", "Acorn", ("PK",), "https://acorn.example"
    credentials = (
        Field("merchant_id", "Merchant ID", secret=False),
        Field("key", "Key"),
        Field("salt", "Salt", optional=True),
    )
    settings: tuple[Any, ...] = ()
    authenticates_by = "signature"
    handles: frozenset[str] = frozenset({"paid"})
    ignores: frozenset[str] = frozenset()
    keeps: tuple[str, ...] = ()
    known_as: tuple[str, ...] = ()
    currencies = ("PKR",)
    shortest, longest = timedelta(minutes=5), timedelta(days=9)
    merchant_field = "merchant_id"
    webhook_help = "Enter it under Settings, Webhooks."
    url: ClassVar[str] = ""

    def __init__(self, config: AdapterConfig) -> None:
        pass

    def inquire(self, account: Account, reference: str, gateway_id: str) -> WebhookRequest | None:
        try:
            answer = httpx.get(self.url, headers={"Key": account.credentials["key"]}, trust_env=False, timeout=10)
        except httpx.HTTPError:
            raise TransientError("Acorn does not answer") from None
        if answer.status_code == 401:
            raise ConfigurationError("Acorn refuses this key. Copy it again.")
        return None


@contextmanager
def acorn(world: World) -> Iterator[list[str]]:
    """The gateway's own server, which takes one key, among the house's gateways. Yields the keys it was asked with."""
    asked: list[str] = []

    class Counter(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers.get("Key", ""))
            self.send_response(404 if asked[-1] == "right-key" else 401)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Counter)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    Acorn.url = f"http://127.0.0.1:{server.server_port}/"
    gateways = cast("dict[str, Any]", world.house.registry.room("payments"))
    gateways["acorn"] = Acorn(AdapterConfig({}, world.house.clock, world.app_url))
    try:
        yield asked
    finally:
        del gateways["acorn"]
        server.shutdown()
        server.server_close()


def test_a_gateway_is_connected_once_its_key_works_and_never_shows_it_again(
    lite_world: World, merchant: Merchant
) -> None:
    def connection() -> tuple[Account, Connection]:
        with lite_world.looking("shopify") as session:
            mine = select(Connection).where(Connection.room == "payments", Connection.adapter == "acorn")
            found = session.scalars(mine).one()
        return open_account(lite_world.house, found.store_id, found.id), found

    with acorn(lite_world) as asked:
        given = {"merchant_id": "M-17", "key": "wrong-key", "salt": "first-salt"}
        page = merchant.does("payments/acorn/connect", given, 422)
        assert "Acorn refuses this key. Copy it again." in section(page, "acorn")
        assert "Please fill in: Key." in merchant.does("payments/acorn/connect", {"merchant_id": "M-17"}, 422)
        assert asked == ["wrong-key"]
        assert "wrong-key" not in page
        assert "readonly" not in section(merchant.page("/app/payments/setup"), "acorn")

        answer = merchant.post("/app/payments/acorn/connect", data={**given, "key": "right-key"})
        assert answer.headers["location"].startswith("/app/payments/setup?")
        assert answer.headers["location"].endswith("#acorn")
        account, kept = connection()
        assert (kept.account, kept.state["merchant"]) == (f"acorn/{kept.store_id}", "M-17")
        token = account.credentials["address_token"]
        shown = section(merchant.page("/app/payments/setup?done=acorn"), "acorn")
        assert f'readonly dir="ltr" value="{lite_world.app_url}/webhooks/payments/acorn/{token}"' in shown
        assert "Acorn is connected." in shown
        assert Acorn.webhook_help in shown
        assert "right-key" not in shown
        assert "first-salt" not in shown

        merchant.does("payments/acorn/connect", {"merchant_id": "M-18", "key": "right-key"})
        account, kept = connection()
        assert (account.credentials["address_token"], account.credentials["salt"]) == (token, "first-salt")
        assert kept.state["merchant"] == "M-18"
        merchant.does("payments/setup/terms", {"payment_hours": "24", "prepaid_with": "acorn"})

        placed = lite_world.place("shopify")
        with lite_world.house.db.lane(kept.store_id) as session:
            order = session.scalars(select(Order).where(Order.external_id == placed.order_id)).one()
            asked_for = open_intent(session, order, Means(CHECKOUT, "acorn", "Acorn", kept.id), order.due.amount)
            session.flush()
            intent_id = asked_for.id

        merchant.does("payments/acorn/disconnect")
        with lite_world.looking("shopify") as session:
            left = session.get_one(PaymentIntent, intent_id)
            assert (left.state, left.sentence) == ("closed", "the account was disconnected")
        assert "readonly" not in section(merchant.page("/app/payments/setup"), "acorn")
        with lite_world.looking("shopify") as session:
            assert session.get_one(Connection, kept.id).sealed is None
            assert session.get_one(Store, kept.store_id).policy.prepaid_with == ""
    assert merchant.post("/app/payments/acorn/connect").status_code == 404
