"""The page on which a customer pays: it shows what is asked for, opens a checkout when told to, and believes only the
gateway.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest
from flask import Flask, redirect, request
from playwright.sync_api import expect
from sqlalchemy import select
from werkzeug.serving import make_server

from adapters.http import call
from integration import privacy
from integration.catalogue import wording
from integration.clock import move
from integration.collecting import MOST_ATTEMPTS, collect
from integration.db import Session
from integration.errors import ConfigurationError, PermanentError, TransientError
from integration.events import PaymentChanged
from integration.house import House
from integration.intents import CHECKOUT, TRANSFER, Means, PaymentIntent, TransferAccount, open_intent
from integration.money import CLAIM
from integration.orders import LineItem, Order, append_payment
from integration.ports import ROOMS, Account, Checkout, PaymentAsked, Registry, WebhookRequest
from integration.stores import Policy, Store, change_logo, connect, uninstall
from integration.values import LANGUAGES, Money
from webapp import build_app
from webapp.paying import LOOKS
from worker import WORK

from . import factories
from .test_pages import CHROMIUM, WIDTHS, Watched, _fits, chromium  # noqa: F401
from .test_tracking_page import PNG, _unreadable, looking  # noqa: F401
from .world import World

in_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here, see test_pages.py")

NAME, PHONE, STREET = "Zubaida Marvi", "+923215557788", "44-B Sunehri Gali"
ADDRESS = {"name": NAME, "line1": STREET, "line2": "near the blue gate", "city": "Karachi", "country": "PK"}
ACCOUNT = TransferAccount("till", "Khussa Mahal", "PK36MEZN0001234567890123", "Meezan Bank")
PAY = {language: wording(language).pay for language in LANGUAGES}


# -- a gateway on loopback -----------------------------------------------------------------------------------------


@dataclass
class Till:
    """A gateway that keeps checkouts, takes posted forms and says what became of them. `mode` is how it answers."""

    url: str = ""
    mode: str = "well"
    opened: list[dict[str, Any]] = field(default_factory=list)
    posted: list[dict[str, str]] = field(default_factory=list)
    paid: set[str] = field(default_factory=set)
    calls: int = 0
    at: datetime = datetime(2026, 11, 27, 7, tzinfo=UTC)

    def served(self) -> Flask:
        app = Flask("till")

        @app.post("/checkouts")
        def open_() -> Any:
            self.calls += 1
            if self.mode.isdigit():
                return "no", int(self.mode)
            asked = request.get_json()
            self.opened.append(asked)
            address = f"{self.url}/checkout/{asked['reference']}?back={asked['return_url']}"
            return {"url": address if self.mode == "well" else self.mode}

        @app.get("/checkout/<reference>")
        def checkout(reference: str) -> Any:
            self.calls += 1
            back = request.args["back"]
            return (
                f'<title>Till</title><link rel=icon href=data:,><h1>{reference}</h1><form action="/pay/{reference}">'
                f'<input type=hidden name=back value="{back}"><button>Pay now</button></form>'
            )

        @app.get("/pay/<reference>")
        def pay(reference: str) -> Any:
            self.paid.add(reference)
            return redirect(request.args["back"] + "?status=whatever")

        @app.post("/form")
        def form() -> Any:
            self.posted.append(request.form.to_dict())
            if self.mode == "sends back at once":
                return redirect(request.form["return_url"] + "?status=failed")
            return f"<title>Till</title><link rel=icon href=data:,><h1>{request.form['reference']}</h1>"

        @app.get("/checkouts/<reference>")
        def said(reference: str) -> Any:
            self.calls += 1
            return {"reference": reference, "status": "paid" if reference in self.paid else "pending"}

        return app


class _Gate:
    """What our side knows of such a gateway."""

    regions, website, credentials, settings = ("PK",), "https://till.example", (), ()
    authenticates_by, handles, ignores, keeps = "signature", frozenset({"said"}), frozenset(), ()
    known_as, currencies, merchant_field, webhook_help = (), ("PKR",), "", ""
    shortest, longest = timedelta(minutes=15), timedelta(days=30)

    def __init__(self, name: str, till: Till) -> None:
        self.name, self.label, self.till = name, name.title(), till

    def delivery_key(self, request: WebhookRequest) -> str:
        return hashlib.sha256(request.body).hexdigest()

    def inquire(self, account: Account, reference: str, gateway_id: str) -> WebhookRequest | None:
        return WebhookRequest({}, call("GET", f"{self.till.url}/checkouts/{reference}").content)

    def parse(self, request: WebhookRequest) -> list[Any]:
        said = orjson.loads(request.body)
        return [
            PaymentChanged(
                order_ref=said["reference"],
                attempt_ref=f"t-{said['reference']}",
                status=said["status"],
                raw_status=said["status"],
                occurred_at=self.till.at,
            )
        ]


class Pages(_Gate):
    """Its checkout is a page to open."""

    def checkout(self, account: Account, asked: PaymentAsked) -> Checkout:
        said = {"reference": asked.reference, "amount": str(asked.amount.amount), "return_url": asked.return_url}
        answer = call("POST", f"{self.till.url}/checkouts", json=said)
        if answer.status_code >= 500:
            raise TransientError("the till is closed")
        if answer.status_code == 401:
            raise ConfigurationError("the till knows nobody of this name")
        if answer.status_code >= 400:
            raise PermanentError("the till does not take this")
        return Checkout(url=answer.json()["url"])


class Forms(_Gate):
    """Its checkout is a form that the browser posts, and it may come back half way."""

    def checkout(self, account: Account, asked: PaymentAsked) -> Checkout:
        return Checkout(url=f"{self.till.url}/form", fields=self.fields(asked.reference, asked.return_url))

    def go_on(self, account: Account, query: Mapping[str, str], return_url: str) -> Checkout | None:
        if "auth_token" not in query:
            return None
        return Checkout(url=f"{self.till.url}/form", fields=self.fields(query["auth_token"], return_url))

    def fields(self, reference: str, return_url: str) -> dict[str, str]:
        return {"reference": reference, "return_url": return_url, "submit": "1", "hash": '"><script>alert(1)</script>'}


@pytest.fixture(scope="module")
def _till() -> Iterator[Till]:
    till = Till()
    server = make_server("127.0.0.1", 0, till.served(), threaded=True)
    till.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield till
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def till(_till: Till) -> Till:
    """A gateway that nobody has called yet."""
    _till.mode, _till.calls = "well", 0
    for kept in (_till.opened, _till.posted, _till.paid):
        kept.clear()
    return _till


def equip(house: House, till: Till) -> House:
    """A house whose gateways are those of the till."""
    gates = {"pages": Pages("pages", till), "forms": Forms("forms", till)}
    house.registry = Registry({**{room: house.registry.room(room) for room in ROOMS}, "payments": gates})
    return house


@pytest.fixture
def here(lite_house: House, till: Till) -> House:
    return equip(lite_house, till)


# -- records -------------------------------------------------------------------------------------------------------

MEANS = {"pages": CHECKOUT, "forms": CHECKOUT, "till": TRANSFER}


def shop(house: House) -> int:
    """A store with an account to send money to, two gateways, and a number to write to."""
    ours = factories.store(house)
    furnish(house, ours)
    return ours


def furnish(house: House, ours: int) -> None:
    with house.db.lane(ours) as session:
        store = session.get_one(Store, ours)
        store.decide(Policy(brand_colour="#c81e5a", transfers=(ACCOUNT.stored(),)))
        channel = store.connection("channels")
        assert channel is not None
        channel.remember(number="+92 42 1111-0001")
    for gate in ("pages", "forms"):
        with house.db.operator_writing() as session:
            connect(
                session, store_id=ours, room="payments", adapter=gate, account=f"{gate}-{ours}",
                credentials={"key": "k"}, state={}, vault=house.vault,
            )  # fmt: skip


def asked_for(
    session: Session, by: str = "pages", *, order: Mapping[str, Any] | None = None, lives: float = 24, **of: Any
) -> PaymentIntent:
    """1,500 rupees asked for by a means, of a person with a name, a phone and a street."""
    store = session.get_one(Store, session.store_id)
    wanted: dict[str, Any] = {
        "total": Decimal(1500), "is_cod": False, "confirmation": "not_needed", "payment": "pending",
        "customer_name": NAME, "address": dict(ADDRESS), **(order or {}),
    }  # fmt: skip
    known = session.scalars(select(Order).limit(1)).first()
    contact = factories.contact(session, None if known else PHONE)
    placed = factories.order(session, contact_point_id=contact.id, customer_id=contact.customer.id, **wanted)
    for title, quantity in (("Khussa, hand-stitched", 2), ("Chikankari Kurta", 1)):
        session.add(LineItem(store_id=placed.store_id, order_id=placed.id, title=title, quantity=quantity))
    session.flush()
    gate = next((c for c in store.connections if c.adapter == by), None)
    means = Means(MEANS[by], by, "JazzCash" if by != "till" else "bank transfer", gate.id if gate else None)
    intent = open_intent(session, placed, means, placed.total, timedelta(hours=lives))
    for name, value in of.items():
        setattr(intent, name, value)
    return intent


def asked(house: House, store_id: int, *args: Any, **of: Any) -> str:
    """An intent's token."""
    with house.db.lane(store_id) as session:
        return asked_for(session, *args, **of).token


def intents(house: House, store_id: int) -> list[PaymentIntent]:
    with house.db.read(store_id) as session:
        return list(session.scalars(select(PaymentIntent).order_by(PaymentIntent.id)))


def claim(session: Session, order: Order) -> None:
    append_payment(
        session, order, source=CLAIM, status="claimed", raw_status="060935465981", reference="claim:1",
        amount=order.total, currency="PKR", at=session.now(),
    )  # fmt: skip


def get(house: House, path: str, **how: Any) -> Any:
    return build_app(house).test_client().get(path, **how)


def post(house: House, path: str, **how: Any) -> Any:
    return build_app(house).test_client().post(path, **how)


def said(answer: Any) -> str:
    return html.unescape(answer.text)


# -- what it tells, and to whom ------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["pages", "till"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_tells_what_is_to_be_paid_and_nothing_of_the_person(here: House, language: str, by: str) -> None:
    ours = shop(here)
    token = asked(here, ours, by)
    answer = get(here, f"/pay/{token}?lang={language}")
    assert answer.status_code == 200
    assert f'<html lang="{language}" dir="{"rtl" if language == "ur" else "ltr"}">' in answer.text
    words, page = PAY[language], said(answer)
    amount = Money(Decimal(1500), "PKR").shown(language)
    for told in (words["is_open"], amount, "Khussa, hand-stitched", "Chikankari Kurta", "Store ", words["items"]):
        assert told in page, told
    for told in (ACCOUNT.number, ACCOUNT.title, ACCOUNT.bank, intents(here, ours)[0].reference):
        assert (told in page) == (by == "till"), told
    for part in (*NAME.split(), PHONE, PHONE[3:], "0321", "Sunehri", "blue gate", "Karachi"):
        assert part.casefold() not in page.casefold(), part
    assert not re.search(r"\bNone\b|\bundefined\b|built-in|{\w+}", re.sub(r"<style>.*</style>", "", page, flags=re.S))


def test_the_page_lets_nothing_in_and_leaves_nothing_behind(here: House) -> None:
    """No cookie, no script, no other place, nothing kept; its style is the one of the hash; nobody lists it."""
    answer = get(here, f"/pay/{asked(here, shop(here))}")
    assert "Set-Cookie" not in answer.headers
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Robots-Tag"] == "noindex, nofollow"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    policy = answer.headers["Content-Security-Policy"]
    style = re.search(r"<style>(.*?)</style>", answer.text, re.DOTALL)
    assert style is not None
    assert policy == (
        f"default-src 'none'; style-src '{digest(style[1])}'; img-src 'self' data:; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'none'"
    )
    assert not re.search(r"<script|\bon\w+=|style=|@import|url\(|<iframe|http-equiv", answer.text)


def digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


NOWHERE = (
    "/pay/", "/pay/x", "/pay/" + "A" * 22, "/pay/" + "A" * 5000, "/pay/a/b/c", "/pay/%00", "/pay/%ff%fe",
    "/pay/..%2f..%2fapp", "/pay/ٹوکن", "/pay/" + "A" * 22 + "/back", "/pay/" + "A" * 22 + "/logo",
)  # fmt: skip


@pytest.mark.parametrize("path", NOWHERE)
def test_an_address_of_no_payment_is_a_friendly_404(here: House, path: str) -> None:
    asked(here, shop(here))
    answer = get(here, path)
    assert answer.status_code == 404
    assert PAY["en"]["missing_title"] in answer.text
    assert "Store " not in answer.text
    assert answer.headers["X-Robots-Tag"] == "noindex, nofollow"
    assert "Set-Cookie" not in answer.headers
    assert answer.text == get(here, "/pay/x").text


@pytest.mark.parametrize("path", ["/pay/" + "A" * 22, "/pay/" + "A" * 22 + "/back", "/pay/x", "/pay/x/back"])
def test_nothing_can_be_posted_to_an_address_of_no_payment(here: House, till: Till, path: str) -> None:
    answer = post(here, path, data={"pp_ResponseCode": "000"})
    assert (answer.status_code, till.calls) == (404, 0)
    assert answer.text == get(here, "/pay/x").text


def test_the_404_is_in_the_readers_own_language(here: House) -> None:
    urdu = get(here, "/pay/x", headers={"Accept-Language": "ur-PK,ur;q=0.9,en;q=0.5"})
    assert 'lang="ur" dir="rtl"' in urdu.text
    assert PAY["hi"]["missing_text"] in said(get(here, "/pay/x?lang=hi"))


@pytest.mark.parametrize("leaves", ["uninstalls", "has its data erased", "forgets the customer"])
def test_who_left_asks_for_nothing_any_more(here: House, till: Till, leaves: str) -> None:
    ours = shop(here)
    token = asked(here, ours)
    with here.db.lane(ours) as session:
        change_logo(session, PNG)
    assert get(here, f"/pay/{token}").status_code == 200
    assert get(here, f"/pay/{token}/logo").data == PNG
    with here.db.lane(ours) as session:
        store = session.get_one(Store, ours)
        if leaves == "uninstalls":
            assert uninstall(store, session.now() + timedelta(minutes=1))
        elif leaves == "has its data erased":
            privacy.erase_store(session, store)
        else:
            customers, orders = privacy.find_people(session, {"phone": PHONE}, store)
            privacy.erase(session, customers, orders, {"phone": PHONE})
    for answer in (get(here, f"/pay/{token}"), post(here, f"/pay/{token}"), post(here, f"/pay/{token}/back")):
        if answer.status_code == 303:
            answer = get(here, answer.headers["Location"])
        assert answer.status_code == 404
        assert answer.text == get(here, "/pay/x").text
    assert till.calls == 0


def test_a_token_opens_its_own_payment_and_no_other(here: House) -> None:
    ours, theirs = shop(here), shop(here)
    one = asked(here, ours, order={"name": "#AAA111"})
    two = asked(here, theirs, order={"name": "#BBB222"})
    first, second = get(here, f"/pay/{one}").text, get(here, f"/pay/{two}").text
    assert "AAA111" in first
    assert "BBB222" not in first
    assert "BBB222" in second
    assert "AAA111" not in second


def test_hostile_words_are_words(here: House) -> None:
    ours, bad = shop(here), '"><img src=x onerror=alert(1)>\u202e{{7*7}}{0.__class__}'
    with here.db.lane(ours) as session:
        store = session.get_one(Store, ours)
        store.name = bad
        store.decide(Policy(transfers=(TransferAccount("till", bad, bad, bad).stored(),)))
        tokens = [asked_for(session, by, label=bad[:60], order={"name": bad}).token for by in ("pages", "till")]
        session.add(LineItem(store_id=ours, order_id=1, title=bad, quantity=1))
    for token in tokens:
        for language in ("en", "ur"):
            page = get(here, f"/pay/{token}?lang={language}")
            assert page.status_code == 200
            assert "<img" not in page.text
            assert "\u202e" not in page.text
            assert "{{7*7}}" in page.text
            assert "&lt;class" not in page.text


# -- how it stands -------------------------------------------------------------------------------------------------

NO_BUTTON, GO, AGAIN = "", "Pay Rs 1,500 by JazzCash", "Try again"


@pytest.mark.parametrize(
    ("by", "order", "intent", "headline", "sentence", "tone", "button"),
    [
        ("pages", {}, {}, "is_open", "", "going", GO),
        ("till", {}, {}, "is_open", "", "going", NO_BUTTON),
        ("pages", {"payment": "paid"}, {"state": "paid"}, "is_paid", "paid_text", "good", NO_BUTTON),
        ("till", {"payment": "paid"}, {}, "is_paid", "paid_text", "good", NO_BUTTON),
        ("pages", {"payment": "partially_refunded"}, {}, "is_paid", "paid_text", "good", NO_BUTTON),
        ("pages", {"payment": "cod_due", "is_cod": True}, {"state": "paid"}, "is_paid", "", "good", NO_BUTTON),
        ("pages", {"payment": "refunded"}, {"state": "paid"}, "is_closed", "", "going", NO_BUTTON),
        ("pages", {"payment": "failed"}, {"state": "failed"}, "is_failed", "failed_text", "bad", AGAIN),
        ("pages", {"payment": "failed"}, {}, "is_open", "", "going", GO),
        ("pages", {"confirmation": "cancelled"}, {}, "is_closed", "closed_text", "going", NO_BUTTON),
        ("pages", {"fulfilment": "in_transit"}, {}, "is_closed", "closed_text", "going", NO_BUTTON),
        ("pages", {}, {"state": "closed"}, "is_closed", "", "going", NO_BUTTON),
        ("pages", {}, {"state": "expired"}, "is_expired", "", "wait", AGAIN),
        ("pages", {}, {"lives": -1}, "is_expired", "", "wait", AGAIN),
        ("till", {}, {"lives": -1}, "is_expired", "expired_text", "wait", NO_BUTTON),
        ("till", {}, {"name": "another"}, "is_expired", "expired_text", "wait", NO_BUTTON),  # an account taken away
        ("pages", {"payment": "cod_due", "is_cod": True}, {}, "is_open", "", "going", GO),
    ],
)  # fmt: skip
def test_the_page_is_about_how_it_stands(
    here: House, by: str, order: Any, intent: Any, headline: str, sentence: str, tone: str, button: str
) -> None:
    page = said(get(here, f"/pay/{asked(here, shop(here), by, order=order, **intent)}"))
    words = PAY["en"]
    heading = re.search(r'<h1 id="how">(.*?)</h1>', page)
    assert heading is not None
    assert heading[1] == words[headline]
    told = [name for name in ("claimed_text", "paid_text", "failed_text", "closed_text", "expired_text")
            if words[name] in page]  # fmt: skip
    assert told == [sentence] * bool(sentence)
    assert f'class="card hero {tone}"' in page
    assert re.findall(r"<button[^>]*>(.*?)</button>", page) == [button] * bool(button)
    assert (ACCOUNT.number in page) == (by == "till" and headline == "is_open")


@pytest.mark.parametrize("is_cod", [False, True])
def test_a_claim_is_being_checked_and_never_called_paid(here: House, is_cod: bool) -> None:
    """Of an order that would be paid at the door, too."""
    ours = shop(here)
    with here.db.lane(ours) as session:
        intent = asked_for(session, "till", order={"is_cod": is_cod, "payment": "cod_due" if is_cod else "claimed"})
        claim(session, intent.order)
        token = intent.token
    page = said(get(here, f"/pay/{token}"))
    assert PAY["en"]["is_claimed"] in page
    assert PAY["en"]["is_paid"] not in page
    assert ACCOUNT.number not in page
    assert "060935465981" not in page


def test_the_page_is_about_what_is_asked_for_now(here: House) -> None:
    """Whichever of an order's intents the address names."""
    ours = shop(here)
    with here.db.lane(ours) as session:
        first = asked_for(session, "pages")
        gate = Means(TRANSFER, "till", "bank transfer")
        second = open_intent(session, first.order, gate, Decimal(1400), timedelta(hours=1))
        tokens, reference = (first.token, second.token), second.reference
    pages = [said(get(here, f"/pay/{token}")) for token in tokens]
    for page in pages:
        assert "Rs 1,400" in page
        assert "Rs 1,500" not in page
        assert reference in page
        assert ACCOUNT.number in page


def test_a_new_attempt_is_for_what_is_due_by_then(here: House) -> None:
    ours = shop(here)
    token = asked(here, ours, state="failed", order={"received": Decimal(500)})
    page = said(get(here, f"/pay/{token}"))
    assert "Rs 1,000" in page
    assert "Rs 1,500" not in page


def test_who_paid_by_hand_tells_the_shop_with_a_greeting_laid_ready(here: House) -> None:
    ours = shop(here)
    token = asked(here, ours, "till", order={"name": "#10&7"})
    link = re.search(r'href="(https://wa\.me/[^"]+)"', said(get(here, f"/pay/{token}")))
    assert link is not None
    assert urlsplit(link[1]).path == "/924211110001"
    assert parse_qs(urlsplit(link[1]).query)["text"] == ["I have paid for order #10&7. The transaction ID is: "]
    assert "wa.me" not in get(here, f"/pay/{asked(here, ours, 'pages')}").text


@pytest.mark.parametrize(
    ("by", "of", "asks"),
    [("pages", {"state": "closed"}, True), ("till", {"lives": -1}, True), ("pages", {"lives": -1}, False),
     ("pages", {"state": "failed"}, False), ("pages", {}, False)],
)  # fmt: skip
def test_who_is_told_to_write_to_the_shop_can(here: House, by: str, of: Any, asks: bool) -> None:
    page = said(get(here, f"/pay/{asked(here, shop(here), by, order={'name': '#10'}, **of)}"))
    greetings = [parse_qs(urlsplit(link).query)["text"] for link in re.findall(r'href="(https://wa\.me/[^"]+)"', page)]
    assert greetings == [["Hello, I have a question about my order #10."]] * asks


def test_the_shops_picture_is_under_the_payments_own_address(here: House) -> None:
    ours = shop(here)
    token = asked(here, ours)
    assert get(here, f"/pay/{token}/logo").status_code == 404
    with here.db.lane(ours) as session:
        change_logo(session, PNG)
    source = re.search(r'<img class="logo" src="([^"]+)"', get(here, f"/pay/{token}").text)
    assert source is not None
    assert source[1].startswith(f"/pay/{token}/logo?v=")
    served = get(here, source[1])
    assert (served.data, served.headers["Content-Type"]) == (PNG, "image/png")
    assert served.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"


# -- to the gateway ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["pages", "forms"])
def test_looking_calls_nobody_and_changes_nothing(here: House, till: Till, by: str) -> None:
    ours = shop(here)
    token = asked(here, ours, by)
    for method in ("GET", "HEAD", "OPTIONS"):
        assert build_app(here).test_client().open(f"/pay/{token}", method=method).status_code == 200
    assert till.calls == 0
    (intent,) = intents(here, ours)
    assert (intent.opened_at, intent.state) == (None, "open")


def test_a_page_of_the_gateway_is_opened_by_a_link_and_by_itself(here: House, till: Till) -> None:
    ours = shop(here)
    token = asked(here, ours)
    answer = post(here, f"/pay/{token}?lang=es")
    assert answer.status_code == 200
    address = f"{till.url}/checkout/{intents(here, ours)[0].reference}?back={till.opened[0]['return_url']}"
    assert f'<meta http-equiv="refresh" content="0; url={address}">' in said(answer)
    assert f'<a class="button" href="{address}">' in said(answer)
    assert PAY["es"]["continue"].format(means="JazzCash") in said(answer)
    assert till.opened[0]["amount"] == "1500"
    assert till.opened[0]["return_url"] == f"{here.settings.public_url}/pay/{token}/back"
    policy = answer.headers["Content-Security-Policy"]
    assert "form-action 'none'" in policy
    assert "script-src" not in policy
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Referrer-Policy"] == "strict-origin"
    assert answer.headers["X-Robots-Tag"] == "noindex, nofollow"
    assert "Set-Cookie" not in answer.headers
    assert "<form" not in answer.text


def test_two_taps_open_one_checkout(here: House, till: Till) -> None:
    token = asked(here, shop(here))
    assert post(here, f"/pay/{token}").text == post(here, f"/pay/{token}").text
    assert len(till.opened) == 1


def test_a_form_goes_to_the_gateway_alone_by_the_one_script_it_may_run(here: House, till: Till) -> None:
    ours = shop(here)
    answer = post(here, f"/pay/{asked(here, ours, 'forms')}")
    assert answer.status_code == 200
    assert re.search(f'<form class="act" method="post" action="{till.url}/form">', answer.text)
    hidden = dict(re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', answer.text))
    assert html.unescape(hidden["hash"]) == '"><script>alert(1)</script>'
    assert hidden["reference"] == intents(here, ours)[0].reference
    (script,) = re.findall(r"<script>(.*?)</script>", answer.text, re.DOTALL)
    policy = answer.headers["Content-Security-Policy"]
    assert f"script-src '{digest(script)}'; " in policy
    assert f"form-action 'self' {till.url}; " in policy
    assert "unsafe" not in policy
    assert "http-equiv" not in answer.text


@pytest.mark.parametrize(
    ("mode", "status", "row"),
    [("503", 503, "away"), ("500", 503, "away"), ("401", 422, "refused"), ("422", 422, "refused")],
)
def test_a_fault_of_the_gateway_is_the_page_again_with_a_sentence(
    here: House, till: Till, mode: str, status: int, row: str
) -> None:
    token = asked(here, shop(here))
    till.mode = mode
    answer = post(here, f"/pay/{token}")
    assert answer.status_code == status
    assert f'role="alert">{PAY["en"][row].format(means="JazzCash")}</p>' in said(answer)
    assert re.findall(r"<button[^>]*>(.*?)</button>", answer.text) == ["Try again"]
    assert ("https://wa.me/" in answer.text) == (row == "refused")
    till.mode = "well"
    assert f"{till.url}/checkout/" in post(here, f"/pay/{token}").text


def test_whoever_presses_on_and_on_gets_no_more_checkouts_until_the_next_day(here: House) -> None:
    """Each press on a form's button is a new attempt; a machine that presses is none of the shop's business."""
    ours = shop(here)
    token = asked(here, ours, "forms")
    pressed = [post(here, f"/pay/{token}").status_code for _ in range(MOST_ATTEMPTS + 2)]
    assert pressed == [200] * MOST_ATTEMPTS + [422, 422]
    assert len(intents(here, ours)) == MOST_ATTEMPTS
    assert "https://wa.me/" in post(here, f"/pay/{token}").text
    move(here.settings.clock_file, timedelta(hours=25))
    assert post(here, f"/pay/{token}").status_code == 200


def test_a_gateway_that_is_not_there_is_the_page_again(here: House, till: Till) -> None:
    token = asked(here, shop(here))
    here.registry.get("payments", "pages").till = Till("http://127.0.0.1:1")
    answer = post(here, f"/pay/{token}")
    assert answer.status_code == 503
    assert PAY["en"]["away"].format(means="JazzCash") in said(answer)


def test_a_gateway_that_was_taken_away_is_the_page_again(here: House, till: Till) -> None:
    ours = shop(here)
    token = asked(here, ours)
    with here.db.lane(ours) as session:
        gate = session.get_one(Store, ours).connection("payments")
        assert gate is not None
        gate.removed_at = session.now()
    answer = post(here, f"/pay/{token}")
    assert answer.status_code == 422
    assert PAY["en"]["refused"].format(means="JazzCash") in said(answer)
    assert till.calls == 0


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)", "data:text/html,x", "//till.example/1", "/app", "", "http://[", "https://a b/",
        "https://user:pass@till.example/", "https://till.example;script-src */", 'https://till.example/"><b>',
        "https://till.example/\u202e", "https://till.example/\n", "https://till.example:port/",
    ],
)  # fmt: skip
def test_a_browser_is_sent_only_to_what_is_an_address(here: House, till: Till, address: str) -> None:
    till.mode = address
    answer = post(here, f"/pay/{asked(here, shop(here))}")
    assert answer.status_code == 422
    assert PAY["en"]["refused"].format(means="JazzCash") in said(answer)
    assert "http-equiv" not in answer.text
    assert "till.example" not in answer.text


@pytest.mark.parametrize(
    ("by", "order", "of"),
    [("pages", {"payment": "paid"}, {}), ("pages", {"confirmation": "cancelled"}, {}), ("till", {}, {}),
     ("pages", {}, {"state": "closed"})],
)  # fmt: skip
def test_where_nothing_is_to_be_paid_the_page_says_how_it_stands(
    here: House, till: Till, by: str, order: Any, of: Any
) -> None:
    token = asked(here, shop(here), by, order=order, **of)
    answer = post(here, f"/pay/{token}?lang=ur")
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/pay/{token}?lang=ur")
    assert till.calls == 0


@pytest.mark.parametrize("of", [{"state": "failed"}, {"state": "expired"}, {"lives": -1}])
def test_who_tries_again_gets_a_new_checkout(here: House, till: Till, of: Any) -> None:
    ours = shop(here)
    token = asked(here, ours, **of)
    assert post(here, f"/pay/{token}").status_code == 200
    first, second = intents(here, ours)
    assert till.opened[0]["reference"] == second.reference != first.reference
    assert PAY["en"]["is_open"] in said(get(here, f"/pay/{token}"))


# -- and back ------------------------------------------------------------------------------------------------------

LIES = {"pp_ResponseCode": "000", "status": "paid", "amount": "1", "name": "<b>hostile</b>", "": "", "x" * 300: "y"}


@pytest.mark.parametrize("by", ["pages", "forms"])
@pytest.mark.parametrize("how", [
    {"method": "GET", "query_string": LIES}, {"method": "POST", "data": LIES},
    {"method": "POST", "data": b"\xff\xfe{not json", "content_type": "application/json"},
    {"method": "POST", "data": b"--x\r\nnonsense", "content_type": "multipart/form-data; boundary=x"},
    {"method": "POST", "data": b"%ff=%00&a=b&a=c", "content_type": "application/x-www-form-urlencoded"},
])  # fmt: skip
def test_whatever_a_browser_brings_back_is_not_believed_and_not_shown(
    here: House, till: Till, by: str, how: dict[str, Any]
) -> None:
    """But the gateway is to be asked, in a moment."""
    ours = shop(here)
    token = asked(here, ours, by)
    assert post(here, f"/pay/{token}").status_code == 200
    answer = build_app(here).test_client().open(f"/pay/{token}/back", **how)
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/pay/{token}?back=1")
    assert "Set-Cookie" not in answer.headers
    (intent,) = intents(here, ours)
    assert intent.state == "open"
    assert intent.poll_at is not None
    assert intent.poll_at <= here.clock.now() + timedelta(seconds=1)
    page = said(get(here, answer.headers["Location"]))
    assert PAY["en"]["waiting_text"] in page
    assert "hostile" not in page


def test_who_comes_back_before_they_went_finds_the_page(here: House, till: Till) -> None:
    token = asked(here, shop(here))
    assert get(here, f"/pay/{token}/back?lang=ur").headers["Location"] == f"/pay/{token}?lang=ur&back=1"
    assert till.calls == 0


def test_a_very_large_return_is_not_even_read(here: House, till: Till) -> None:
    token = asked(here, shop(here))
    form = {"content_type": "application/x-www-form-urlencoded"}
    answer = post(here, f"/pay/{token}/back", data=b"x" * 2_000_000, **form)
    assert answer.status_code == 413
    assert "Set-Cookie" not in answer.headers


def test_a_checkout_that_comes_back_half_way_goes_on(here: House, till: Till) -> None:
    """By GET with a token, as one of the gateways here has it."""
    token = asked(here, shop(here), "forms")
    post(here, f"/pay/{token}")
    answer = get(here, f"/pay/{token}/back", query_string={"auth_token": "half-way"})
    assert answer.status_code == 200
    assert f'action="{till.url}/form"' in answer.text
    assert 'name="reference" value="half-way"' in answer.text
    assert f"form-action 'self' {till.url}; " in answer.headers["Content-Security-Policy"]
    assert f'value="{here.settings.public_url}/pay/{token}/back"' in answer.text


def test_a_link_of_before_leads_to_the_next_step_of_what_is_asked_for_now(here: House, till: Till) -> None:
    """Whoever still has the first message open pays by what was asked for since, and comes back by the first link."""
    ours = shop(here)
    token = asked(here, ours, "pages")
    with here.db.lane(ours) as session:
        intent = session.scalars(select(PaymentIntent)).one()
        gate = next(c for c in session.get_one(Store, ours).connections if c.adapter == "forms")
        open_intent(session, intent.order, Means(CHECKOUT, "forms", "Forms", gate.id), Decimal(1500))
    post(here, f"/pay/{token}")
    answer = get(here, f"/pay/{token}/back", query_string={"auth_token": "half-way"})
    assert answer.status_code == 200
    assert 'name="reference" value="half-way"' in answer.text


def test_the_next_step_is_not_taken_for_an_order_that_was_cancelled(here: House, till: Till) -> None:
    ours = shop(here)
    token = asked(here, ours, "forms")
    post(here, f"/pay/{token}")
    with here.db.lane(ours) as session:
        session.scalars(select(Order)).one().confirmation = "cancelled"
    answer = get(here, f"/pay/{token}/back", query_string={"auth_token": "half-way"})
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/pay/{token}?back=1")


def test_a_next_step_that_fails_leaves_the_customer_on_the_page(here: House, till: Till) -> None:
    ours = shop(here)
    token = asked(here, ours, "forms")
    post(here, f"/pay/{token}")
    with here.db.lane(ours) as session:
        for gate in session.get_one(Store, ours).connections:
            gate.removed_at = session.now() if gate.room == "payments" else None
    answer = get(here, f"/pay/{token}/back", query_string={"auth_token": "half-way"})
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/pay/{token}?back=1")


def test_the_page_looks_again_by_itself_and_not_for_ever(here: House) -> None:
    token, words = asked(here, shop(here)), PAY["en"]
    for looked in range(1, LOOKS + 1):
        page = said(get(here, f"/pay/{token}?lang=en&back={looked}"))
        again = f'<meta http-equiv="refresh" content="5; url=/pay/{token}?lang=en&back={looked + 1}">'
        assert again in page
        assert words["waiting_text"] in page
        assert f'href="/pay/{token}?lang=en&back=1">{words["look_again"]}</a>' in page
        assert "<button" not in page  # who has paid must not pay twice for lack of patience
    page = said(get(here, f"/pay/{token}?lang=en&back={LOOKS + 1}"))
    assert "http-equiv" not in page
    assert words["look_again"] in page
    assert GO in page


@pytest.mark.parametrize("back", ["", "0", "-1", "x", "1e9", "99999999999999999999", "٣", "1&back=x", "%00"])
def test_what_is_no_count_does_not_wait(here: House, back: str) -> None:
    page = get(here, f"/pay/{asked(here, shop(here))}?back={back}")
    assert page.status_code == 200
    assert ("http-equiv" in page.text) == (back == "1&back=x")


@pytest.mark.parametrize(
    ("order", "of", "row"),
    [
        ({"payment": "paid"}, {}, "is_paid"),
        ({}, {"state": "failed"}, "is_failed"),
        ({}, {"state": "closed"}, "is_closed"),
    ],
)
def test_what_is_known_is_not_waited_for(here: House, order: Any, of: Any, row: str) -> None:
    page = said(get(here, f"/pay/{asked(here, shop(here), order=order, **of)}?back=1"))
    assert PAY["en"][row] in page
    assert PAY["en"]["waiting_text"] not in page
    assert "http-equiv" not in page


# -- words ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_every_word_of_the_page(language: str) -> None:
    assert PAY[language].keys() == PAY["en"].keys()
    for key, text in PAY[language].items():
        assert text.strip(), key
        assert sorted(re.findall(r"{\w+}", text)) == sorted(re.findall(r"{\w+}", PAY["en"][key])), key


# -- in a browser --------------------------------------------------------------------------------------------------

STATES: dict[str, tuple[str, dict[str, Any]]] = {
    "a checkout": ("pages", {}),
    "a transfer": ("till", {}),
    "paid": ("pages", {"order": {"payment": "paid"}, "state": "paid"}),
    "claimed": ("till", {"order": {"payment": "claimed"}}),
    "failed": ("pages", {"state": "failed"}),
    "closed": ("pages", {"order": {"confirmation": "cancelled"}}),
    "expired": ("pages", {"state": "expired"}),
    "an expired transfer": ("till", {"lives": -1}),
}


@pytest.fixture(scope="module")
def equipped(lite_world: World, _till: Till) -> World:
    """A world with a shop that has a colour, a logo, an account and two gateways."""
    ours = lite_world.store_id("shopify")
    equip(lite_world.house, _till)
    furnish(lite_world.house, ours)
    with lite_world.house.db.lane(ours) as session:
        change_logo(session, PNG)
    return lite_world


@pytest.fixture(scope="module")
def tokens(equipped: World) -> dict[str, str]:
    """A payment in every state."""
    made: dict[str, str] = {}
    for name, (by, of) in STATES.items():
        with equipped.house.db.lane(equipped.store_id("shopify")) as session:
            intent = asked_for(session, by, **of)
            if name == "claimed":
                claim(session, intent.order)
            made[name] = intent.token
    return made


def own(world: World, by: str, **of: Any) -> str:
    """The address of a new payment."""
    return f"{world.app_url}/pay/{asked(world.house, world.store_id('shopify'), by, **of)}"


@in_chromium
@pytest.mark.parametrize("language", ["en", "ur"])
@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (360, "dark"), (1280, "light")])
def test_every_state_fits_is_readable_and_asks_nobody_else(
    equipped: World,
    tokens: dict[str, str],
    looking: Callable[..., Watched],  # noqa: F811
    width: int,
    language: str,
    scheme: str,
) -> None:
    here = looking(width, color_scheme=scheme)
    met: set[str] = set()
    here.page.on("request", lambda request: met.add(request.url))
    for name, token in tokens.items():
        assert here.page.goto(f"{equipped.app_url}/pay/{token}?lang={language}").status == 200, name
        _fits(here.page)
        assert here.page.get_by_role("heading", level=1).count() == 1
        assert _unreadable(here) == [], name
        for target in here.page.locator("button, a.button, summary").all():
            box = target.bounding_box()
            assert box is not None
            assert box["height"] >= 44
    ours = urlsplit(equipped.app_url).netloc
    assert {urlsplit(url).netloc for url in met if not url.startswith("data:")} == {ours}
    assert here.page.context.cookies() == []
    here.silent()


@in_chromium
@pytest.mark.parametrize(("width", "scripts"), [(360, False), (1280, True)])
def test_a_customer_pays_on_the_gateways_page_and_is_told_so(
    equipped: World,
    till: Till,
    looking: Callable[..., Watched],  # noqa: F811
    width: int,
    scripts: bool,
) -> None:
    """From the button to the gateway, back to a page that waits, and to the news, without another tap."""
    here, address = looking(width, java_script_enabled=scripts), own(equipped, "pages")
    page = here.page
    page.goto(address)
    page.get_by_role("button", name="Pay Rs 1,500 by JazzCash").click()
    page.get_by_role("button", name="Pay now").click()
    expect(page.get_by_role("status")).to_have_text(PAY["en"]["waiting_text"])
    _fits(page)
    ours = equipped.store_id("shopify")
    gate = intents(equipped.house, ours)[-1].connection_id
    assert gate is not None
    equipped.advance("2s")
    collect(equipped.house, ours, gate)
    WORK["process"](equipped.house, ours)
    expect(page.get_by_role("heading", level=1)).to_have_text("Paid, thank you")
    assert len(till.opened) == 1
    here.silent()


@in_chromium
@pytest.mark.parametrize("scripts", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
def test_a_form_is_posted_by_itself_or_by_its_button(
    equipped: World,
    till: Till,
    looking: Callable[..., Watched],  # noqa: F811
    width: int,
    scripts: bool,
) -> None:
    here, address = looking(width, java_script_enabled=scripts), own(equipped, "forms")
    page = here.page
    page.goto(f"{address}?lang=ur")
    page.locator("main button").click()
    if not scripts:
        expect(page.locator("#going")).to_be_visible()  # a click waits for no page
        _fits(page)
        assert _unreadable(here) == []
        page.locator("main button").click()
    reference = intents(equipped.house, equipped.store_id("shopify"))[-1].reference
    expect(page.get_by_role("heading", level=1)).to_have_text(reference)
    (posted,) = till.posted
    assert posted == Forms("forms", till).fields(reference, f"{address}/back")
    here.silent()


@in_chromium
def test_who_goes_back_from_a_form_is_on_the_page_again(
    equipped: World,
    till: Till,
    looking: Callable[..., Watched],  # noqa: F811
) -> None:
    """And not on the form, which would post itself once more."""
    here, address = looking(360, java_script_enabled=True), own(equipped, "forms") + "?lang=en"
    here.page.goto(address)
    here.page.get_by_role("button", name="Pay Rs 1,500 by JazzCash").click()
    here.page.wait_for_url(f"{till.url}/form")
    here.page.go_back()
    expect(here.page).to_have_url(address)
    expect(here.page.get_by_role("button", name="Pay Rs 1,500 by JazzCash")).to_be_visible()
    assert len(till.posted) == 1
    here.silent()


@in_chromium
@pytest.mark.parametrize("scripts", [False, True])
def test_a_gateway_may_send_a_form_back_at_once(
    equipped: World,
    till: Till,
    looking: Callable[..., Watched],  # noqa: F811
    scripts: bool,
) -> None:
    till.mode = "sends back at once"
    here, address = looking(360, java_script_enabled=scripts), own(equipped, "forms")
    here.page.goto(address)
    here.page.locator("main button").click()
    if not scripts:
        here.page.locator("main button").click()
    expect(here.page.get_by_role("status")).to_have_text(PAY["en"]["waiting_text"])
    assert len(till.posted) == 1
    here.silent()


@in_chromium
def test_a_fault_is_told_on_the_page_and_the_button_is_still_there(
    equipped: World,
    till: Till,
    looking: Callable[..., Watched],  # noqa: F811
) -> None:
    till.mode = "503"
    here = looking(360)
    here.page.goto(own(equipped, "pages"))
    here.page.get_by_role("button", name="Pay Rs 1,500 by JazzCash").click()
    expect(here.page.get_by_role("alert")).to_have_text(PAY["en"]["away"].format(means="JazzCash"))
    _fits(here.page)
    assert _unreadable(here) == []
    till.mode = "well"
    here.page.get_by_role("button", name="Try again").click()
    expect(here.page.get_by_role("button", name="Pay now")).to_be_visible()
    assert {text.split(":")[0] for text in here.said} <= {"Failed to load resource"}  # the 503 itself


@in_chromium
@pytest.mark.parametrize("width", WIDTHS)
def test_what_is_to_be_copied_is_taken_whole_by_one_tap(
    equipped: World,
    tokens: dict[str, str],
    looking: Callable[..., Watched],  # noqa: F811
    width: int,
) -> None:
    page = looking(width).page
    page.goto(f"{equipped.app_url}/pay/{tokens['a transfer']}?lang=ur")
    reference = page.locator(".copied .number").last.inner_text()
    for place, whole in ((1, ACCOUNT.number), (2, reference)):
        number = page.locator(".copied .number").nth(place)
        assert number.evaluate("e => parseFloat(getComputedStyle(e).fontSize)") >= 17
        assert number.evaluate("e => e.getClientRects().length") == 1, "it is broken into two lines"
        number.click()
        assert page.evaluate("getSelection().toString().trim()") == whole
