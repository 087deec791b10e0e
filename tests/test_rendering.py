"""Every sentence a customer may read, in every language, from full facts and from the sparsest: never a blank."""

from __future__ import annotations

import itertools
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integration import catalogue
from integration.catalogue import TEMPLATES, Template, languages_to_try, pick, shelve, template_name, wording
from integration.intents import CHECKOUT, TRANSFER, PaymentIntent, TransferAccount
from integration.orders import LineItem, Order, Shipment, ShipmentEvent
from integration.rendering import (
    REASONS,
    body,
    choices,
    eta_line,
    given_values,
    isolated,
    items_line,
    order_values,
    parcel_values,
    payment_values,
    preview,
    reply_text,
)  # fmt: skip
from integration.stores import Policy, Store
from integration.values import LANGUAGES, RIGHT_TO_LEFT

NOON = datetime(2026, 5, 4, 7, tzinfo=UTC)
"""A Monday, noon in Karachi."""

REPLIES = tuple(wording("en").replies)
ISOLATE, POP = "\u2068", "\u2069"


def _store(**policy: Any) -> Store:
    return Store(
        id=1, name="Lahore Lawn", timezone="Asia/Karachi", installed_at=NOON, decisions=Policy(**policy).stored()
    )


def _order(items: int = 2, **values: Any) -> Order:
    full = {
        "id": 7, "store_id": 1, "external_id": "7", "name": "#1001", "placed_at": NOON, "changed_at": NOON,
        "seen_at": NOON, "currency": "PKR", "total": Decimal("9448.00"), "customer_name": "Ayesha Khan",
        "address": {"line1": "12 Mall Road", "city": "Lahore"}, "received": Decimal(0), **values,
    }  # fmt: skip
    order = Order(**full)
    titles = ("Khussa", "Kurta - M", "Dupatta", "Shawl", "Ring")
    lines = [LineItem(store_id=1, external_id=str(n), title=titles[n % 5], quantity=n + 1) for n in range(items)]
    order.__dict__["items"] = lines
    return order


def _shipment(order: Order, *scans: str, courier: str = "TCS", number: str = "779412345678") -> Shipment:
    parcel = Shipment(id=9, store_id=1, external_id="1", courier=courier, tracking_number=number, token="t0k3n")
    parcel.__dict__["order"] = order
    parcel.__dict__["events"] = [
        ShipmentEvent(
            store_id=1, status=word, occurred_at=NOON, seen_at=NOON, location="LAHORE", tracking_number=number,
            reason="consignee_unavailable" if word == "attempted" else "",
        )
        for word in scans
    ]  # fmt: skip
    return parcel


ACCOUNT = TransferAccount("bank", "Lahore Lawn", "0123456789", "Meezan Bank")


def _asked(order: Order, kind: str = TRANSFER, name: str = "bank", label: str = "Bank transfer") -> Order:
    """The order, whose customer was asked to pay it."""
    order.__dict__["intents"] = [
        PaymentIntent(
            id=3, store_id=1, order_id=order.id, kind=kind, name=name, label=label, reference="1001-1", token="p4y",
            amount=order.total, currency=order.currency, created_at=NOON, expires_at=NOON + timedelta(hours=24),
        )
    ]  # fmt: skip
    return order


CLAIM = {"transaction": "060935465981", "received": "Rs 9,000", "missing": "Rs 448"}
SPARSE = {"customer_name": "", "address": {}}


def _whole(text: str) -> None:
    """What every text to a customer must be."""
    assert text.strip() == text
    assert text
    assert "None" not in text
    assert not re.search(r"[{}]", text)
    assert "  " not in text
    plain = text.replace(ISOLATE, "").replace(POP, "")
    assert not re.search(r"\(\s*\)|:\s*[.।۔]|\s[,.،]", plain), plain
    assert text.count(ISOLATE) == text.count(POP)


# -- every text from every kind of order ---------------------------------------------------------------------------


@pytest.mark.parametrize("order", [_order(), _order(5), _order(0, **SPARSE)], ids=["full", "many items", "sparse"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_template_and_reply_is_whole(language: str, order: Order) -> None:
    """Full facts are all said; where a fact is missing there are words instead, never a hole."""
    for policy in ({}, {"delivery_days": (2, 4)}):
        values = order_values(order, _store(**policy), language, NOON)
        for place in ("", "in_transit", "out_for_delivery", "attempted", "ready_for_pickup", "delivered"):
            scans = (place,) if place else ()
            values |= parcel_values(_shipment(order, *scans), _store(**policy), language, NOON, "https://shop.example")
            values |= payment_values(order, _store(), language, "https://shop.example")
            values |= given_values({"day": "2026-05-06", "new_address": "House 7, Lahore", **CLAIM}, language)
            coming = place in ("", "in_transit")
            for key in TEMPLATES:
                if key != "dispatched" or coming:  # where it is not sent there is nothing more to expect
                    _whole(body(key, language, values))
            for key in REPLIES:
                _whole(reply_text(key, language, values))


@pytest.mark.parametrize(("key", "language"), list(itertools.product(TEMPLATES, LANGUAGES)))
def test_a_template_says_all_that_it_was_given(key: str, language: str) -> None:
    order = _asked(_order())
    values = order_values(order, _store(), language, NOON)
    values |= parcel_values(_shipment(order, "in_transit"), _store(), language, NOON, "https://shop.example")
    values |= payment_values(order, _store(transfers=(ACCOUNT.stored(),)), language, "https://shop.example")
    text = body(key, language, values)
    for name in wording(language).variables(key):
        assert values[name] in text, name


MONEY_TEMPLATES = tuple(key for key in TEMPLATES if key.startswith(("payment_", "prepaid_")))
MONEY_REPLIES = tuple(key for key in REPLIES if key.startswith("claim_"))


@pytest.mark.parametrize(
    ("order", "transfers", "means", "account"),
    [
        (_asked(_order()), (ACCOUNT.stored(),), "Bank transfer", "Meezan Bank, 0123456789, Lahore Lawn"),
        (_asked(_order()), (), "Bank transfer", ""),
        (_asked(_order(0, **SPARSE), CHECKOUT, "jazzcash", "JazzCash"), (ACCOUNT.stored(),), "JazzCash", ""),
        (_asked(_order(0, **SPARSE), CHECKOUT, "jazzcash", ""), (), "", ""),
    ],
    ids=["transfer", "account taken away", "checkout", "nameless"],
)
@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_asked_for_is_said_whole(
    language: str, order: Order, transfers: tuple[Any, ...], means: str, account: str
) -> None:
    """How much, by what, where to and on which page; where nobody knows an account no other is named."""
    words, store = wording(language), _store(transfers=transfers)
    values = order_values(order, store, language, NOON)
    values |= payment_values(order, store, language, "https://shop.example")
    values |= given_values(CLAIM, language)
    assert values["link"] == "https://shop.example/pay/p4y"
    assert values["reference"].strip(ISOLATE + POP) == "1001-1"
    assert values["means"].strip(ISOLATE + POP) == (means or words.fallbacks["means"])
    assert values["account"].strip(ISOLATE + POP) == (account or words.fallbacks["account"])
    for key in MONEY_TEMPLATES:
        _whole(body(key, language, values))
    for key in MONEY_REPLIES:
        _whole(reply_text(key, language, values))


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_sentence_of_the_page_on_which_to_pay_is_whole(language: str) -> None:
    """Only what the customer goes on writing after ends with a blank."""
    page = wording(language).pay
    values = isolated({"order": "#1001", "amount": "Rs 9,448", "means": "JazzCash", "reference": "1001-1"}, language)
    for key, said in page.items():
        text = said.format(**values)
        assert text.endswith(": ") == (key == "greeting"), key
        _whole(text.rstrip())


@pytest.mark.parametrize("language", LANGUAGES)
def test_of_a_parcel_that_went_quiet_no_date_is_told_but_that_the_shop_knows(
    language: str,
) -> None:
    """A worried customer is not told again what did not come true."""
    store, parcel = _store(delivery_days=(2, 9)), _shipment(_order(), "in_transit")
    parcel.poll_at = NOON
    said = {}
    for days in (0, 4):
        now = NOON + timedelta(days=days)
        values = order_values(parcel.order, store, language, now)
        said[days] = reply_text(
            "where_is", language, values | parcel_values(parcel, store, language, now, "https://shop.example")
        )
    quiet, promise = wording(language).fallbacks["expected_quiet"].format(store="Lahore Lawn"), said[0]
    assert quiet in said[4]
    assert quiet not in promise
    for text in said.values():
        _whole(text)
    parcel.poll_at = None  # without a number nobody follows it, so nobody was told
    values = parcel_values(parcel, store, language, NOON + timedelta(days=4), "")
    assert quiet not in values["expected"]
    for elsewhere in ("ready_for_pickup", "returning", "delivered"):
        values = parcel_values(_shipment(_order(), elsewhere), store, language, NOON + timedelta(days=4), "")
        assert values["expected"] == ""


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_message_without_an_order_needs_only_the_store(language: str) -> None:
    values = order_values(None, _store(), language, NOON)
    assert set(values) == {"store"}
    _whole(body("connection_test", language, values))
    for key in ("opted_out", "opted_in"):
        _whole(reply_text(key, language, values))
    with pytest.raises(KeyError):
        body("cod_confirmation", language, values)  # rather no message than one with a hole


@given(
    st.text(max_size=30), st.text(max_size=30), st.text(max_size=30), st.lists(st.text(max_size=80), max_size=5),
    st.sampled_from(LANGUAGES),
)  # fmt: skip
def test_whatever_a_shop_and_its_customer_are_called_no_text_breaks(
    shop: str, name: str, street: str, titles: list[str], language: str
) -> None:
    """No line break, which the channel refuses, no blank value, no placeholder that a value could smuggle in."""
    order = _order(0, customer_name=name, address={"line1": street})
    order.__dict__["items"] = [LineItem(store_id=1, title=title, quantity=1) for title in titles]
    store = _store()
    store.name = shop
    values = order_values(order, store, language, NOON)
    for key, value in values.items():
        if key != "store":
            assert value.strip(f" {ISOLATE}{POP}")
        assert not re.search(r"[\r\n\t\x00]| {2,}", value)
    text = body("cod_confirmation", language, values)
    assert values["total"] in text


# -- its parts -----------------------------------------------------------------------------------------------------


def test_items_are_listed_and_the_rest_counted() -> None:
    english = wording("en")
    assert items_line(_order(1), english) == "1 x Khussa"
    assert items_line(_order(3), english) == "1 x Khussa, 2 x Kurta - M, 3 x Dupatta"
    assert items_line(_order(5), english) == "1 x Khussa, 2 x Kurta - M, 3 x Dupatta, and 2 more"
    assert items_line(_order(0), english) == "your items"


@pytest.mark.parametrize(
    ("name", "called"),
    [
        ("Ayesha Khan", "Ayesha"), ("  عائشہ خان", "عائشہ"), ("", "there"), ("   ", "there"),
        ("O&#39;Brien", "O'Brien"), ("x" * 300, "x" * 40),
    ],
)  # fmt: skip
def test_a_customer_is_called_by_the_first_name(name: str, called: str) -> None:
    assert order_values(_order(customer_name=name), _store(), "en", NOON)["name"] == called


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", "Expected between 6 May and 8 May."), ("es", "6 de mayo"), ("pt", "6 de maio"), ("hi", "6 मई"),
        ("ur", "6 مئی"), ("ur-Latn", "6 May"),
    ],
)  # fmt: skip
def test_a_promised_date_is_said_as_that_language_writes_it(language: str, said: str) -> None:
    line = eta_line(Policy(delivery_days=(2, 4)), _order(), _store(), wording(language), NOON)
    assert said in line


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_date_is_said_that_nobody_promised(language: str) -> None:
    """Without the merchant's word, or once the parcel is with the courier, no number is in the line at all."""
    words = wording(language)
    none = eta_line(Policy(), _order(), _store(), words, NOON)
    assert none == words.fallbacks["eta_none"]
    assert not re.search(r"\d", none)
    for fulfilment in ("booked", "in_transit", "delivered"):
        gone = _order(fulfilment=fulfilment)
        assert eta_line(Policy(delivery_days=(2, 4)), gone, _store(), words, NOON) == none


@pytest.mark.parametrize(
    ("now", "days", "said"),
    [
        (datetime(2026, 5, 8, 7, tzinfo=UTC), (1, 2), ("9 May", "11 May")),  # Friday: Saturday, then Monday
        (datetime(2026, 5, 9, 7, tzinfo=UTC), (1, 1), ("11 May", "11 May")),  # Saturday: not on Sunday
        (datetime(2026, 5, 10, 7, tzinfo=UTC), (1, 1), ("11 May", "11 May")),
        (datetime(2026, 5, 4, 20, tzinfo=UTC), (0, 1), ("5 May", "6 May")),  # already tomorrow in Karachi
        (datetime(2026, 12, 30, 7, tzinfo=UTC), (2, 3), ("1 January", "2 January")),
    ],
)
def test_promised_days_are_working_days_where_the_shop_is(
    now: datetime, days: tuple[int, int], said: tuple[str, str]
) -> None:
    line = eta_line(Policy(delivery_days=days), _order(), _store(), wording("en"), now)
    assert line == f"Expected between {said[0]} and {said[1]}."


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 40_000))
def test_a_promise_never_lies_before_today_nor_on_a_sunday(first: int, more: int, hours: int) -> None:
    now = NOON + timedelta(hours=hours)
    line = eta_line(Policy(delivery_days=(first, first + more)), _order(), _store(), wording("en"), now)
    today = now.astimezone(_store().zone).date()
    ahead = {f"{day.day} {day:%B}": day for n in range(300) if (day := today + timedelta(days=n))}
    days = [ahead[shown] for shown in re.findall(r"\d+ [A-Z]\w+", line)]
    assert len(days) == 2
    assert days[0] <= days[1]
    assert all(day.weekday() != 6 or day == today for day in days)


MONEY = {
    "en": ("Rs 9,448", "Rs 1,250.50"), "ur-Latn": ("Rs 9,448", "Rs 1,250.50"), "ur": ("Rs 9,448", "Rs 1,250.50"),
}  # fmt: skip


@pytest.mark.parametrize("language", sorted(MONEY))
def test_money_is_written_as_at_home(language: str) -> None:
    """Whole amounts without decimals, others with; digits that every phone shows."""
    for amount, shown in zip(("9448.00", "1250.50"), MONEY[language], strict=True):
        value = order_values(_order(total=Decimal(amount)), _store(), language, NOON)["total"]
        assert value.strip(ISOLATE + POP) == shown


@pytest.mark.parametrize(
    ("language", "currency", "amount", "shown"),
    [
        ("es", "MXN", "1250", "$ 1,250"), ("es", "ARS", "1250.5", "$ 1.250,50"), ("es", "CLP", "12500", "$ 12.500"),
        ("pt", "BRL", "89.90", "R$ 89,90"), ("hi", "INR", "125000", "₹ 1,25,000"),
        ("en", "INR", "125000", "₹ 1,25,000"),
        ("en", "USD", "5", "$ 5"), ("es", "PEN", "10", "S/ 10"),
    ],
)  # fmt: skip
def test_money_of_other_countries(language: str, currency: str, amount: str, shown: str) -> None:
    order = _order(currency=currency, total=Decimal(amount))
    assert order_values(order, _store(), language, NOON)["total"] == shown


# -- right to left -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
def test_values_keep_their_direction_in_a_right_to_left_sentence_only(language: str) -> None:
    """In Urdu every value stands in an isolate, or `#1001` would be shown as `1001#`; elsewhere no mark is added."""
    values = order_values(_order(), _store(), language, NOON)
    marked = {name for name, value in values.items() if value[0] == ISOLATE and value[-1] == POP}
    assert marked == (set(values) if language in RIGHT_TO_LEFT else set())
    text = body("cod_confirmation", language, values)
    assert (f"{ISOLATE}#1001{POP}" in text) is (language in RIGHT_TO_LEFT)
    assert isolated({}, language) == {}


# -- what can be tapped --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
def test_choices_carry_what_they_mean_and_of_which_order(language: str) -> None:
    order = _order()
    for key in ("cod_confirmation", "cod_reminder", "changed_since"):
        yes, no = choices(key, order, language)
        assert (yes.id, no.id) == (f"confirm:7:{order.revision}", f"decline:7:{order.revision}")
        assert (yes.title, no.title) == wording(language).buttons("cod_confirmation")
    why = choices("order_cancelled", order, language)
    assert [choice.id for choice in why] == [f"reason:7:{code}" for code in REASONS]
    assert all(choice.title for choice in why)
    assert len({choice.title for choice in why}) == 4
    assert choices("order_confirmation", order, language) == ()
    assert choices("cod_confirmation", None, language) == ()


@pytest.mark.parametrize(("key", "language"), list(itertools.product(TEMPLATES, LANGUAGES)))
def test_a_merchant_sees_what_a_customer_will(key: str, language: str) -> None:
    text, buttons = preview(key, language, _store())
    _whole(text)
    assert "Lahore Lawn" in text
    assert len(buttons) == len(wording("en").buttons(key))


# -- which template in which language ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "shop", "tried"),
    [
        ("en", "en", ("en",)), ("ur", "en", ("ur", "ur-Latn", "en")), ("ur-Latn", "es", ("ur-Latn", "ur", "es", "en")),
        ("hi", "ur", ("hi", "ur", "en")), ("pt", "pt", ("pt", "en")),
    ],
)  # fmt: skip
def test_languages_are_tried_from_the_nearest(wanted: str, shop: str, tried: tuple[str, ...]) -> None:
    assert languages_to_try(wanted, shop) == tried


STATUSES = ("missing", "pending", "approved", "rejected", "paused", "disabled", "unknown")


@given(st.dictionaries(st.sampled_from(LANGUAGES), st.sampled_from(STATUSES)), st.permutations(LANGUAGES))
def test_the_first_approved_language_is_taken_and_else_the_first_at_all(
    held: dict[str, str], wanted: list[str]
) -> None:
    """Templates of an older wording, or of a key that is gone, are never taken."""
    rows = [_template(language, status) for language, status in held.items()]
    old = _template("en", "approved")
    old.name = "dastak_cod_confirmation_v0"
    gone = _template("en", "approved")
    gone.key = "no_longer_used"
    taken = pick(shelve([*rows, old, gone]), "cod_confirmation", wanted)
    approved = [language for language in wanted if held.get(language) == "approved"]
    known = [language for language in wanted if language in held]
    expected = (approved or known or [None])[0]
    assert (taken.language if taken else None) == expected
    assert pick(shelve(rows), "order_cancelled", wanted) is None


def _template(language: str, status: str) -> Template:
    key = "cod_confirmation"
    return Template(
        store_id=1, connection_id=1, key=key, language=language, name=template_name(key, language), code=language,
        wanted="utility", status=status,
    )  # fmt: skip


def test_a_language_we_do_not_speak_is_answered_in_english() -> None:
    assert wording("fr") == wording("en")
    assert catalogue.fill("Hello {{name}}", {"name": "{{total}}"}) == "Hello {{total}}"
