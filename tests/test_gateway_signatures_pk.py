"""Pakistan's gateways: what proves a payment, what only looks like proof, and what is never done with what they say."""

from __future__ import annotations

import base64
import hmac
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from adapters.payments import easypaisa
from integration.errors import InvalidSignature, NotUnderstood, PermanentError
from integration.events import UNKNOWN, PaymentChanged, PaymentHinted
from integration.ports import Account, Answers, Gets, GoesOn, PaymentAsked, Redacts, WebhookRequest, offers
from integration.values import Money

from .contract import exchanges, recorded

SALT = "demo0salt9"
IPN = {
    "pp_Version": "2.0",
    "pp_TxnType": "MWALLET",
    "pp_BankID": None,
    "pp_ProductID": "",
    "pp_Password": "demoPass01",
    "pp_TxnRefNo": "A10011",
    "pp_TxnDateTime": "20261121100000",
    "pp_ResponseCode": "121",
    "pp_ResponseMessage": "Transaction has been marked confirmed by Merchant.",
    "pp_AuthCode": "060935465981",
    "pp_SettlementExpiry": None,
    "pp_RetreivalReferenceNo": "261121718258",
}


@pytest.fixture(scope="module")
def jazzcash() -> tuple[Any, Account]:
    return recorded.build("payments", "jazzcash")


def _salted(salts: str) -> Account:
    return Account("acc", {"merchant_id": "MC00001", "password": "demoPass01", "integrity_salt": salts})


def _signed(fields: Mapping[str, Any], salt: str = SALT) -> dict[str, Any]:
    named = sorted(name for name in fields if name.startswith("pp") and fields[name] not in (None, ""))
    text = "&".join([salt, *(str(fields[name]) for name in named)])
    return {**fields, "pp_SecureHash": hmac.digest(salt.encode(), text.encode(), "sha256").hex().upper()}


def _request(fields: Any, **how: Any) -> WebhookRequest:
    return WebhookRequest({}, json.dumps(fields, **how).encode())


def _refused(adapter: Any, account: Account | None, request: WebhookRequest) -> None:
    with pytest.raises(InvalidSignature):
        adapter.verify(request, account)


# -- JazzCash: the hash ----------------------------------------------------------------------------------------------

OFFICIAL = (
    "0F5DD14AE2",
    {"pp_Amount": "2995", "pp_MerchantID": "MER123", "pp_OrderInfo": "A48cvE28"},
    "c7689cda7474eb1adcd343fd0c0b676bad0ba66361cc46db589bdb0da4c1c867",
)
VECTORS = [
    OFFICIAL,
    (
        SALT,
        {**IPN, "pp_TxnRefNo": "T20261121100000"},
        "FE4CDAD22037B88BF4C58EB2891D988076BA3C023AA56AF8E48BC05BF42CCCF6",
    ),
    (
        SALT,
        {
            "ppmpf_1": "tenant7",
            "pp_Amount": "150000",
            "pp_BillReference": "SHOP1001",
            "pp_Language": "EN",
            "pp_MerchantID": "MC00001",
            "pp_ResponseCode": "000",
            "pp_ResponseMessage": "Success",
            "pp_RetreivalReferenceNo": "261121718258",
            "pp_TxnCurrency": "PKR",
            "pp_TxnDateTime": "20261121100000",
            "pp_TxnRefNo": "T20261121100000",
            "pp_TxnType": "MWALLET",
            "pp_Version": "1.1",
        },
        "86DD8B1FD725BB01AD7BCEBB1EA54203741440FE25B679055AA58534892E89E6",
    ),
    (
        SALT,
        {"pp_TxnRefNo": "T20261121100000", "pp_MerchantID": "MC00001", "pp_Password": "demoPass01"},
        "BFEE8894F18BCFBA9A4A25CE99AC7E344CAD901EAFE5650285A994959FE016BB",
    ),
]


@pytest.mark.parametrize(("salt", "fields", "digest"), VECTORS, ids=["official", "ipn", "return", "inquiry"])
def test_published_hashes_are_accepted_in_either_case_and_nothing_near_them(
    salt: str, fields: dict[str, Any], digest: str, jazzcash: tuple[Any, Account]
) -> None:
    adapter, account = jazzcash[0], _salted(salt)
    for given_ in (digest, digest.lower(), digest.upper()):
        adapter.verify(_request({**fields, "pp_SecureHash": given_}), account)
    for wrong in (digest[:-1], digest + "0", digest[:-1] + "x", "", None, 7, ["x"], {}, "é" * 64, "\x00"):
        _refused(adapter, account, _request({**fields, "pp_SecureHash": wrong}))
    for name, value in fields.items():
        if value:
            for changed in (value + "0", value[:-1], "", None):
                _refused(adapter, account, _request({**fields, name: changed, "pp_SecureHash": digest}))
    _refused(adapter, account, _request(fields))
    _refused(adapter, account, _request({**fields, "pp_Added": "1", "pp_SecureHash": digest}))
    _refused(adapter, _salted("another"), _request({**fields, "pp_SecureHash": digest}))
    _refused(adapter, None, _request({**fields, "pp_SecureHash": digest}))


def test_our_acknowledgement_has_the_published_hash(jazzcash: tuple[Any, Account]) -> None:
    adapter, account = jazzcash
    assert offers(adapter, Answers)
    status, body = adapter.taken(account)
    assert (status, json.loads(body)) == (
        200,
        {
            "pp_ResponseCode": "000",
            "pp_ResponseMessage": "IPN received successfully",
            "pp_SecureHash": "C8C9B39BBFE991F7C2CD79BA365720FC0C5AE89F57DC1364F959F97175C9B90D",
        },
    )


def test_while_salts_rotate_both_are_accepted_and_the_first_signs(jazzcash: tuple[Any, Account]) -> None:
    adapter, both = jazzcash[0], _salted(f"new0salt, {SALT}")
    for salt in ("new0salt", SALT):
        adapter.verify(_request(_signed(IPN, salt)), both)
    for salt in ("", " ", ",", f"new0salt, {SALT}", "older0salt"):
        _refused(adapter, both, _request(_signed(IPN, salt)))
    yes = json.loads(adapter.taken(both)[1])
    assert yes == _signed({name: yes[name] for name in ("pp_ResponseCode", "pp_ResponseMessage")}, "new0salt")


@pytest.mark.parametrize("salts", ["", " ", ",", " , "])
def test_without_a_salt_nothing_is_signed(salts: str, jazzcash: tuple[Any, Account]) -> None:
    for salt in ("", " ", ","):
        _refused(jazzcash[0], _salted(salts), _request(_signed(IPN, salt)))
    _refused(jazzcash[0], Account("acc", {}), _request(_signed(IPN, "")))


@pytest.mark.parametrize("escaped", [True, False])
def test_a_message_in_urdu_is_signed_in_utf8_however_its_json_is_written(
    escaped: bool, jazzcash: tuple[Any, Account]
) -> None:
    adapter, account = jazzcash
    spoken = _signed({**IPN, "pp_ResponseMessage": "ادائیگی مکمل ہوئی"})
    adapter.verify(_request(spoken, ensure_ascii=escaped), account)
    _refused(adapter, account, _request({**spoken, "pp_ResponseMessage": "ادائیگی نامکمل"}, ensure_ascii=escaped))


@pytest.mark.parametrize("value", [True, False, 1.5, [], {}, ["121"], {"a": 1}, 2**70])
def test_a_signed_field_that_is_no_text_is_refused_and_breaks_nothing(
    value: Any, jazzcash: tuple[Any, Account]
) -> None:
    _refused(*jazzcash, _request(_signed({**IPN, "pp_AuthCode": value})))


@given(body=st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)))
def test_any_body_is_refused_and_breaks_nothing(body: bytes) -> None:
    adapter, account = recorded.build("payments", "jazzcash")
    request = WebhookRequest({}, body)
    _refused(adapter, account, request)
    assert 0 < len(adapter.delivery_key(request)) <= 128
    assert isinstance(adapter.redacted(body), bytes)
    with pytest.raises(NotUnderstood):
        adapter.parse(request)


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"a":' * 100_000, b'{"pp_Password":"x","a":' + b"[" * 5000])
def test_a_bottomless_body_is_refused_and_breaks_nothing(body: bytes, jazzcash: tuple[Any, Account]) -> None:
    _refused(*jazzcash, WebhookRequest({}, body))
    assert jazzcash[0].redacted(body) == b""


def test_a_truncated_ipn_is_refused(jazzcash: tuple[Any, Account]) -> None:
    whole = _request(_signed(IPN))
    jazzcash[0].verify(whole, jazzcash[1])
    for length in range(len(whole.body)):
        _refused(*jazzcash, WebhookRequest({}, whole.body[:length]))


# -- JazzCash: what is proven ----------------------------------------------------------------------------------------


def test_an_ipn_told_again_is_the_same_delivery_however_it_is_written(jazzcash: tuple[Any, Account]) -> None:
    adapter, _ = jazzcash
    key = adapter.delivery_key(_request(_signed(IPN)))
    again = _signed(
        {**dict(reversed(IPN.items())), "pp_ResponseMessage": "Confirmed.", "pp_TxnDateTime": "20261121100500"}
    )
    assert adapter.delivery_key(_request(again, indent=1)) == key
    assert adapter.delivery_key(WebhookRequest({}, adapter.redacted(_request(_signed(IPN)).body))) == key
    for other in ({"pp_TxnRefNo": "A10012"}, {"pp_ResponseCode": "199"}, {"pp_RetreivalReferenceNo": "261121718259"}):
        assert adapter.delivery_key(_request(_signed({**IPN, **other}))) != key
    right = {name: value for name, value in IPN.items() if name != "pp_RetreivalReferenceNo"}
    right["pp_RetrievalReferenceNo"] = IPN["pp_RetreivalReferenceNo"]
    assert adapter.delivery_key(_request(_signed(right))) == key


def test_what_our_own_form_signs_says_nothing_under_other_names(jazzcash: tuple[Any, Account]) -> None:
    """The hash covers values, not names. The customer's browser has our form; whichever of its values is renamed to
    the response code, it is none.
    """
    adapter, account = jazzcash
    for order, amount in (("#121", "10.00"), ("200", "121.00"), ("000", "200.00")):
        fields = adapter.checkout(account, _asked(order, amount)).fields
        values = [fields[name] for name in sorted(fields) if fields[name] and name != "pp_SecureHash"]
        for code in range(len(values)):
            for named in range(code + 1, len(values)):
                names = [f"pp_A{n:02}" if n < code else f"pp_S{n:02}" for n in range(len(values))]
                names[code], names[named] = "pp_ResponseCode", "pp_TxnRefNo"
                names[named + 1 :] = [f"pp_U{n:02}" for n in range(named + 1, len(values))]
                forged = dict(zip(names, values), pp_SecureHash=fields["pp_SecureHash"])
                adapter.verify(_request(forged), account)
                forged["pp_TxnDateTime"] = "20261121100000"  # as if that could be had too
                assert _statuses(adapter, forged) <= {UNKNOWN}


def _asked(order_name: str, amount: str) -> PaymentAsked:
    told = json.loads((recorded.FIXTURES / "payments/asked.json").read_text())["PK"]
    return PaymentAsked(
        **told
        | {name: datetime.fromisoformat(told[name]) for name in ("at", "expires_at")}
        | {
            "order_name": order_name,
            "store_name": "",
            "reference": re.sub(r"\W", "", order_name) + "-1",
            "amount": Money(Decimal(amount), "PKR"),
        }
    )


def _statuses(adapter: Any, body: Any) -> set[str]:
    try:
        return {fact.status for fact in adapter.parse(_request(body))}
    except NotUnderstood:
        return set()


def test_what_stands_unsigned_beside_an_ipn_is_not_heard(jazzcash: tuple[Any, Account]) -> None:
    adapter, account = jazzcash
    answer = {"pp_ResponseCode": "000", "pp_PaymentResponseCode": "121", "pp_Status": "Completed"}
    beside = {"asked_at": "2026-11-21T05:00:00+00:00", "reference": "9999-1", "inquiry": answer}
    body = {**beside, **_signed({**IPN, "pp_ResponseCode": "112"}), "PP_ResponseCode": "121"}
    adapter.verify(_request(body), account)
    assert [(fact.order_ref, fact.status) for fact in adapter.parse(_request(body))] == [("1001-1", "cancelled")]
    _refused(adapter, account, _request(beside))
    _refused(adapter, account, _request({**beside, **_signed({})}))


@pytest.mark.parametrize(
    "word", ["", "Pending", "Completed", "Dropped", "Failed", "Validation Failed", "Paid", "completed!"]
)
def test_an_inquiry_says_paid_only_where_code_and_status_do(word: str, jazzcash: tuple[Any, Account]) -> None:
    adapter, _ = jazzcash
    for code in ("", "777", *adapter.statuses):
        inquiry = {"pp_ResponseCode": "000", "pp_PaymentResponseCode": code, "pp_Status": word}
        envelope = {"asked_at": "2026-11-21T05:00:00+00:00", "reference": "1001-1", "inquiry": inquiry}
        [fact] = adapter.parse(_request(envelope))
        paid = code in ("000", "121", "200") and (word == "Completed" or (code == "121" and not word))
        assert (fact.status == "paid") == paid, code
        if code in adapter.unclear:
            assert fact.status in ("pending", UNKNOWN), code


_PART = st.text("abcXYZ019", min_size=1, max_size=18)
_REFERENCES = st.tuples(_PART, _PART).map("-".join).filter(lambda reference: len(reference) <= 20)


@given(references=st.lists(_REFERENCES, min_size=2, max_size=6, unique=True))
def test_references_become_names_that_jazzcash_takes_and_come_back(references: list[str]) -> None:
    adapter, account = recorded.build("payments", "jazzcash")
    asked = _asked("#1001", "1500.00")
    named = []
    for reference in references:
        fields = adapter.checkout(account, replace(asked, reference=reference)).fields
        named.append(fields["pp_TxnRefNo"])
        [fact] = adapter.parse(_request(_signed({**IPN, "pp_TxnRefNo": fields["pp_TxnRefNo"]})))
        assert (fact.order_ref, fact.attempt_ref, fact.amount) == (reference, fields["pp_TxnRefNo"], None)
    assert len(set(named)) == len(named)
    assert all(re.fullmatch("[A-Z][A-Za-z0-9]{2,19}", name) for name in named)


@given(named=st.one_of(st.text(max_size=24), st.text("ABZ019az-", max_size=22)))
def test_a_name_that_we_cannot_have_given_is_nobodys(named: str) -> None:
    adapter, account = recorded.build("payments", "jazzcash")
    try:
        [fact] = adapter.parse(_request({**IPN, "pp_TxnRefNo": named}))
    except NotUnderstood:
        return
    fields = adapter.checkout(account, replace(_asked("#1", "10.00"), reference=fact.order_ref)).fields
    assert fields["pp_TxnRefNo"] == fact.attempt_ref


@pytest.mark.parametrize(
    "reference", ["", "1001", "1001-", "-1", "1001-1-1", "10 01-1", "#1001-1", "۱۰۰۱-1", "a" * 19 + "-1"]
)
def test_a_reference_that_is_not_ours_is_not_asked_about(reference: str, jazzcash: tuple[Any, Account]) -> None:
    with pytest.raises(PermanentError):
        jazzcash[0].inquire(jazzcash[1], reference, "")


# -- JazzCash: what is kept ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("told", recorded.recordings("payments", "jazzcash"), ids=str)
def test_what_is_kept_holds_no_password_and_says_the_same(
    told: recorded.Recorded, jazzcash: tuple[Any, Account]
) -> None:
    adapter, account = jazzcash
    assert offers(adapter, Redacts)
    kept = adapter.redacted(told.request.body)
    assert account.credentials["password"].encode() not in kept
    assert recorded.understood(adapter, WebhookRequest({}, kept)) == told.facts
    before, after = json.loads(told.request.body), json.loads(kept)
    assert list(after) == list(before)
    assert {name: value for name, value in after.items() if name != "pp_Password"} == {
        name: value for name, value in before.items() if name != "pp_Password"
    }
    assert adapter.redacted(kept) == kept


def test_secrets_are_blanked_wherever_they_are(jazzcash: tuple[Any, Account]) -> None:
    body = {
        "a": [{"PP_PASSWORD": "s3cret"}],
        "pp_TokenizedCardNumber": "s3cret",
        "pp_CNIC": "s3cret",
        "b": {"pp_Password": ["s3cret"]},
    }
    kept = jazzcash[0].redacted(json.dumps(body).encode())
    assert json.loads(kept) == {
        "a": [{"PP_PASSWORD": ""}],
        "pp_TokenizedCardNumber": "",
        "pp_CNIC": "",
        "b": {"pp_Password": ""},
    }


def test_an_answer_that_repeats_the_password_comes_without_it() -> None:
    with exchanges.fake_vendor() as vendor:
        recorded_ = next(
            e for e in exchanges.exchanges("inquire", room="payments") if str(e) == "jazzcash/inquire__paid"
        )
        answer = recorded_.told["exchanges"][0]["response"]
        assert answer["body"]["pp_Password"]
        vendor.answers.append(answer)
        adapter, account = exchanges.build(recorded_, vendor.origin)
        request = adapter.inquire(account, "1001-1", "")
        assert request is not None
        assert account.credentials["password"].encode() not in request.body
        assert json.loads(request.body)["inquiry"] == {**answer["body"], "pp_Password": ""}


# -- Easypaisa: the form ---------------------------------------------------------------------------------------------


def test_the_published_encryption_of_the_form_is_reproduced() -> None:
    fields = {
        "storeId": "28",
        "amount": "10.0",
        "postBackURL": "https://shop.example/ep/confirm",
        "orderRefNum": "SHOP1001",
        "expiryDate": "20261231 235959",
        "emailAddr": "",
    }
    assert easypaisa.hashed(fields, "DEMOKEY123456789") == (
        "ihwkU+1q8ePkMhM3htvCKRstdZtVptZXwsmw5EcfQe7y5OUR/6CK9xmliyH7xWWMlsb1mdAMcULJQHRDEQjAHAG5npR7Q6EzdKSGZ1QgZtwdhYgL"
        "/alYbBfh75GFJ5Q7ghd5EFFdttAZaT6iqtgogoJ6zoH1/7Xg6Bd9T+jZqno="
    )


@pytest.mark.parametrize("key", ["DEMOKEY123456789", "DEMOKEY123456789DEMOKEY1", "DEMOKEY123456789DEMOKEY123456789"])
@given(value=st.text(max_size=40))
def test_whoever_has_the_key_reads_the_form(key: str, value: str) -> None:
    """Fields that are posted and fields that are hashed are the same text, in UTF-8, padded to whole blocks."""
    raw = base64.b64decode(easypaisa.hashed({"b": value, "a": "1"}, key))
    decryptor = Cipher(algorithms.AES(key.encode()), modes.ECB()).decryptor()
    plain = decryptor.update(raw) + decryptor.finalize()
    text = f"a=1&b={value}" if value else "a=1"
    assert plain[: -plain[-1]].decode() == text
    assert plain[-plain[-1] :] == bytes([plain[-1]]) * plain[-1]


# -- Easypaisa: the address in an IPN --------------------------------------------------------------------------------

HOST = "easypay.easypaisa.com.pk"
PATH = "/easypay-service/rest/v1/order-status/"
GOOD = f"https://{HOST}{PATH}12345/1001-1"


@pytest.fixture(scope="module")
def wallet() -> tuple[Any, Account]:
    return recorded.build("payments", "easypaisa")


def _hints(adapter: Any, query: bytes) -> list[str]:
    """The references of what a query string hints at; nothing else ever comes of one."""
    try:
        facts = adapter.parse(WebhookRequest({}, query))
    except NotUnderstood:
        return []
    assert all(isinstance(fact, PaymentHinted) for fact in facts)
    return [fact.order_ref for fact in facts]


def _as_queries(address: str) -> Iterator[bytes]:
    yield b"url=" + quote(address, safe="").encode()
    yield b"url=" + quote(address, safe="").lower().encode()
    yield b"url=" + address.encode("utf-8", "surrogateescape")


def test_it_tells_by_get_and_the_address_is_all_it_tells(wallet: tuple[Any, Account]) -> None:
    adapter, account = wallet
    assert offers(adapter, Gets) and adapter.tells_by_get
    assert offers(adapter, GoesOn)
    assert adapter.authenticates_by == "secret_url"
    for query in (b"url=" + quote(GOOD, safe="").encode(), b"url=" + GOOD.encode()):
        adapter.verify(WebhookRequest({}, query), account)
        assert _hints(adapter, query) == ["1001-1"]


@pytest.mark.parametrize(
    "address",
    [
        GOOD.replace("https", "http"),
        GOOD.replace("https", "HTTPS"),
        GOOD.replace(HOST, HOST.upper()),
        GOOD.replace(HOST, "easypay.example"),
        GOOD.replace(HOST, f"{HOST}.example"),
        GOOD.replace(HOST, f"x{HOST}"),
        GOOD.replace(HOST, HOST + "."),
        GOOD.replace(HOST, f"{HOST}:443"),
        GOOD.replace(HOST, f"{HOST}:8080"),
        GOOD.replace(HOST, f"{HOST}@easypay.example"),
        GOOD.replace(HOST, f"{HOST}:x@easypay.example"),
        GOOD.replace(HOST, f"x@{HOST}"),
        GOOD.replace(HOST, f"easypay.example\\@{HOST}"),
        GOOD.replace(HOST, f"easypay.example#@{HOST}"),
        GOOD.replace(HOST, f"easypay.example/{HOST}"),
        GOOD.replace(HOST, f"easypay.example?{HOST}"),
        GOOD.replace(HOST, "easypay。easypaisa。com。pk"),
        GOOD.replace(HOST, "easypay․easypaisa․com․pk"),
        GOOD.replace(HOST, "easypaу.easypaisa.com.pk"),
        GOOD.replace(HOST, "169.254.169.254"),
        GOOD.replace(HOST, "[::1]"),
        GOOD.replace("https:", ""),
        GOOD.replace("https://", "https:/"),
        GOOD.replace("https://", "https:///"),
        GOOD.replace("https://", "https:\\\\"),
        GOOD.replace("https://", "file://"),
        " " + GOOD,
        GOOD + " ",
        GOOD + "\n",
        "\ufeff" + GOOD,
        GOOD + "/",
        GOOD + "?x=1",
        GOOD + "#x",
        GOOD + ";x",
        GOOD + "%00",
        GOOD.replace("12345/", "12345//"),
        GOOD.replace("12345/", "12345%2F"),
        GOOD.replace("12345/", "12345/../"),
        GOOD.replace("12345/", ""),
        GOOD.replace(PATH, "/" + PATH),
        GOOD.replace(PATH, PATH.replace("v1", "v2")),
        GOOD.replace(PATH, PATH.upper()),
        GOOD.replace(PATH, "/x/.." + PATH),
        GOOD.replace("order-status", "order%2Dstatus"),
        GOOD.replace("1001-1", "1001"),
        GOOD.replace("1001-1", "1001-1-1"),
        GOOD.replace("1001-1", "۱۰۰۱-1"),
        GOOD.replace("1001-1", "a" * 19 + "-1"),
        GOOD.replace("1001-1", "1001-1/1002-1"),
        "",
    ],
)
def test_an_address_that_is_not_exactly_easypaisas_hints_at_nothing(address: str, wallet: tuple[Any, Account]) -> None:
    for query in _as_queries(address):
        # raw, what follows a # or a blank end may be no part of the value, and %2D is the hyphen it stands for
        whole = parse_qs(query.decode("utf-8", "replace"), keep_blank_values=True).get("url", [""])[0]
        assert _hints(wallet[0], query) == ([] if whole != GOOD else ["1001-1"])
    assert _hints(wallet[0], next(_as_queries(address))) == []


def test_one_address_and_no_more(wallet: tuple[Any, Account]) -> None:
    good = b"url=" + GOOD.encode()
    for odd in (
        good + b"&" + good,
        good + b"&url=",
        b"URL=" + GOOD.encode(),
        b"x" + good,
        good + b"&a=b" * 40,
        b"\xff&" + good,
    ):
        assert _hints(wallet[0], odd) == []


_PIECES = st.sampled_from(
    [
        "url=", "&", "=", "https://", "http://", HOST, HOST.upper(), "easypay.example", PATH, "12345", "/", "//",
        "1001-1", "@", ":", ":443", "#", "?", ";", "\\", ".", "。", "..", "%2F", "%2f", "%252F", "%40", "%00", "%0a",
        "%C0%AF", "%", "+", " ", "\t", "\x00", "é", "{", "}", '"', GOOD, quote(GOOD, safe=""), "[::1]", "127.0.0.1",
        "\u202e",
    ]
)  # fmt: skip


@given(pieces=st.lists(_PIECES, max_size=12), encoding=st.sampled_from(["utf-8", "latin-1", "utf-16"]))
def test_no_query_string_is_more_than_a_hint_or_of_another_host(pieces: list[str], encoding: str) -> None:
    adapter, _ = recorded.build("payments", "easypaisa")
    query = "".join(pieces).encode(encoding, "replace")
    for reference in _hints(adapter, query):
        [address] = parse_qs(query.decode("ascii"), strict_parsing=False)["url"]
        parts = urlsplit(address)
        assert (parts.scheme, parts.netloc, parts.query, parts.fragment) == ("https", HOST, "", "")
        assert re.fullmatch(re.escape(PATH) + "[A-Za-z0-9]+/" + re.escape(reference), parts.path)


@given(body=st.one_of(st.binary(max_size=300), st.text(max_size=300).map(str.encode)))
def test_no_bytes_break_it(body: bytes) -> None:
    adapter, _ = recorded.build("payments", "easypaisa")
    assert _hints(adapter, body) == []
    assert 0 < len(adapter.delivery_key(WebhookRequest({}, body))) <= 128


@given(at=st.integers(0, len(f"https://{HOST}{PATH}") - 1), sign=st.characters(exclude_categories=["Cs"]))
def test_an_address_with_one_other_sign_in_it_is_another(at: int, sign: str) -> None:
    adapter, _ = recorded.build("payments", "easypaisa")
    for other in (GOOD[:at] + sign + GOOD[at:], GOOD[:at] + sign + GOOD[at + 1 :], GOOD[:at] + GOOD[at + 1 :]):
        if other != GOOD:
            assert _hints(adapter, b"url=" + quote(other, safe="").encode()) == []


@pytest.mark.parametrize("told", [r for r in recorded.recordings("payments", "easypaisa") if r.asked_for], ids=str)
def test_an_answer_that_was_not_asked_for_is_refused_at_the_door(
    told: recorded.Recorded, wallet: tuple[Any, Account]
) -> None:
    """Whoever knows our address may say what they like: they cannot speak for the inquiry."""
    adapter, account = wallet
    _refused(adapter, account, told.request)
    for before in (b" ", b"\n", b"\xef\xbb\xbf", b"\x00", b"&", b"url="):
        body = before + told.request.body
        adapter.verify(WebhookRequest({}, body), account)
        assert _hints(adapter, body) == []


def test_an_address_of_the_configured_host_is_taken_and_only_of_that() -> None:
    exchange = next(e for e in exchanges.exchanges("inquire", room="payments") if e.adapter == "easypaisa")
    adapter, _ = exchanges.build(exchange, "http://127.0.0.1:8100")
    assert _hints(adapter, f"url=http://127.0.0.1:8100{PATH}12345/1001-1".encode()) == ["1001-1"]
    for other in (GOOD, f"http://127.0.0.1:8101{PATH}12345/1001-1", f"https://127.0.0.1:8100{PATH}12345/1001-1"):
        assert _hints(adapter, b"url=" + other.encode()) == []


def test_payments_are_known_alike_in_every_answer_about_them(wallet: tuple[Any, Account]) -> None:
    """With a transaction id or without, paid or reversed: else money that came once would count twice."""
    refs = set()
    for status in wallet[0].statuses:
        for extra in ({}, {"transactionId": "21154867845"}):
            inquiry = {"responseCode": "0000", "transactionStatus": status, "transactionAmount": 1500, **extra}
            envelope = {"asked_at": "2026-11-21T05:00:00+00:00", "reference": "1001-1", "inquiry": inquiry}
            [fact] = wallet[0].parse(_request(envelope))
            assert isinstance(fact, PaymentChanged)
            refs.add(fact.attempt_ref)
    assert refs == {"1001-1"}


@pytest.mark.parametrize(
    "amount", ["NaN", "1e400", "-1e-9", "1e-999999999", "9" * 5000, '"1,500"', "true", "null", "[]"]
)
def test_no_amount_is_guessed(amount: str, wallet: tuple[Any, Account]) -> None:
    body = (
        '{"asked_at":"2026-11-21T05:00:00+00:00","reference":"1001-1","inquiry":'
        f'{{"responseCode":"0000","transactionStatus":"PAID","transactionAmount":{amount}}}}}'
    )
    assert "not_understood" in recorded.understood(wallet[0], WebhookRequest({}, body.encode()))
