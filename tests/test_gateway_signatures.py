"""Proof that a gateway said it: published and computed vectors to the letter, and what is refused."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass, replace

import pytest

from adapters import discover, signing
from integration.errors import InvalidSignature
from integration.ports import Account, WebhookRequest

from .contract.recorded import build

# -- texts that are signed, as published or computed by hand ---------------------------------------------------------

RAZORPAY_PUBLISHED = b"""{
  "event": "payment.authorized",
  "entity": "event",
  "contains": [
    "payment"
  ],
  "payload": {
    "payment": {
      "entity": {
        "id": "pay_6koWN7bvxujzxM",
        "entity": "payment",
        "amount": 1000000,
        "currency": "INR",
        "status": "captured",
        "order_id": "order_100000000order",
        "international": false,
        "method": "card",
        "amount_refunded": 0,
        "refund_status": null,
        "captured": true,
        "description": "random description",
        "card_id": "card_6koWNAT6LASUqy",
        "bank": null,
        "wallet": null,
        "vpa": null,
        "email": "a@b.com",
        "contact": "+919999999999",
        "notes": {
          "merchant_order_id": "random order id"
        },
        "fee": 23000,
        "service_tax": 3000,
        "error_code": null,
        "error_description": null,
        "created_at": 1479978483
      }
    }
  },
  "created_at": 1400826760
}
"""
"""Its published signature covers the last line's end."""

RAZORPAY_COMPUTED = (
    b'{"entity":"event","event":"payment_link.paid","contains":["payment_link","payment"],"payload":{"payment_link":'
    b'{"entity":{"id":"plink_demo1","reference_id":"SHOP1001-1","status":"paid","amount":150000,"amount_paid":150000,'
    b'"currency":"INR"}},"payment":{"entity":{"id":"pay_demo1","status":"captured","amount":150000,"currency":"INR",'
    b'"order_id":"order_demo1"}}},"created_at":1795240800}'
)

CASHFREE_COMPUTED = (
    b'{"data":{"order":{"order_id":"SHOP1001","order_amount":1500.00,"order_currency":"INR"},"payment":'
    b'{"cf_payment_id":"1453002795","payment_status":"SUCCESS","payment_amount":1500.00,"payment_currency":"INR"}},'
    b'"event_time":"2026-11-21T11:30:00+05:30","type":"PAYMENT_SUCCESS_WEBHOOK"}'
)

SAFEPAY_PUBLISHED = {
    "client_id": "sec_55ca6960-e2ea-4643-b0cf-7cd65a4d3112",
    "created_at": "2021-09-29T12:00:40Z",
    "endpoint": "http://127.0.0.1:9000",
    "notification": {
        "amount": "150",
        "currency": "PKR",
        "fee": "4.92",
        "intent": "PAYFAST",
        "metadata": {"order_id": "XG102312", "source": "shopify"},
        "net": "145.08",
        "state": "PAID",
        "tracker": "tracker_c5a5apsbcv41om3fg0u0",
        "user": "johndoe@gmail.com",
    },
    "token": "C5A5APSBCV41R2QF2MHG",
    "type": "payment:created",
    "updated_at": "2021-09-29T12:00:40Z",
}


@dataclass(frozen=True)
class Signed:
    """One request of a gateway's with a signature that is known from elsewhere."""

    gateway: str
    credentials: dict[str, str]
    header: str
    signature: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    secret: str = "webhook_secret"
    """The credential it is signed with."""

    @property
    def request(self) -> WebhookRequest:
        return WebhookRequest({**dict(self.headers), self.header: self.signature}, self.body)

    def verify(self) -> None:
        adapter, _ = build("payments", self.gateway)
        adapter.verify(self.request, Account("acc", self.credentials))


SIGNED = {
    "razorpay-published": Signed(
        "razorpay",
        {"webhook_secret": "key_secret"},
        "x-razorpay-signature",
        "d60e67fd884556c045e9be7dad57903e33efc7172c17c6e3ef77db42d2b366e9",
        RAZORPAY_PUBLISHED,
    ),
    "razorpay-computed": Signed(
        "razorpay",
        {"webhook_secret": "demo_whsec"},
        "x-razorpay-signature",
        "1d5650c4cc77f7bc36a364e9f943d2bb7c9dd8d3d4c1012af1c76d3214718fc3",
        RAZORPAY_COMPUTED,
    ),
    "cashfree-computed": Signed(
        "cashfree",
        {"client_secret": "demo_cf_secret"},
        "x-webhook-signature",
        "lOo+bJRt4wwOvuimjRHt6HTRCGfpaVwwepdRIndZliQ=",
        CASHFREE_COMPUTED,
        (("x-webhook-timestamp", "1795240800123"),),
        secret="client_secret",
    ),
    "safepay-published": Signed(
        "safepay",
        {"webhook_secret": "foo"},
        "x-sfpy-signature",
        "ba4c442df5067b679f55919ebc282cb113e376d5a5e5d9c6655647d734823da7"
        "5a4371759f921bce40963cb90505ed1f8c0405cb78257fd605d259d452a1a7c7",
        json.dumps({"data": SAFEPAY_PUBLISHED}, indent=1).encode(),
    ),
}
"""Add a gateway's here and it is held to all of what follows."""

signed = pytest.mark.parametrize("case", SIGNED.values(), ids=SIGNED.keys())


@signed
def test_what_was_signed_elsewhere_is_accepted(case: Signed) -> None:
    case.verify()


@signed
def test_a_signature_that_is_wrong_short_or_missing_is_refused(case: Signed) -> None:
    given = case.signature
    other = ("A" if given[0] != "A" else "B") + given[1:]
    for wrong in ("", " ", given[:-1], given[:32], given + "0", other, "é" * len(given), given[::-1]):
        with pytest.raises(InvalidSignature):
            replace(case, signature=wrong).verify()


@signed
def test_a_body_that_was_changed_is_refused(case: Signed) -> None:
    """Cut short, grown, or with one amount or state in it that is another."""
    changed = [case.body[:-2], case.body[: len(case.body) // 2], case.body + b"0", b"", b"{}", b"[]", b"null"]
    changed += [case.body.replace(old, new) for old, new in ((b"00", b"01"), (b"PAID", b"VOID"), (b"15", b"16"))]
    for body in changed:
        if body != case.body:
            with pytest.raises(InvalidSignature):
                replace(case, body=body).verify()


@signed
def test_only_a_secret_that_is_live_signs(case: Signed) -> None:
    """While two are live either does; an old one does no more, and an account without one takes nothing."""
    live = case.credentials[case.secret]
    for both in (f"{live},another", f" another , {live} "):
        replace(case, credentials={case.secret: both}).verify()
    empty = ("", ",", " , ")
    for dead in ("another", "another,third", live + "x", *empty):
        with pytest.raises(InvalidSignature):
            replace(case, credentials={case.secret: dead}).verify()
    for account in (None, Account("acc", {})):
        adapter, _ = build("payments", case.gateway)
        with pytest.raises(InvalidSignature):
            adapter.verify(case.request, account)


@signed
def test_what_is_sent_again_has_the_same_key(case: Signed) -> None:
    """A replay is accepted, for gateways repeat themselves, and is known by its key: it says nothing twice."""
    adapter, _ = build("payments", case.gateway)
    again = WebhookRequest(dict(case.request.headers), bytes(case.body))
    assert adapter.delivery_key(again) == adapter.delivery_key(case.request)
    assert adapter.parse(again) == adapter.parse(case.request)


@pytest.mark.parametrize(
    ("gateway", "first", "again"),
    [
        ("cashfree", CASHFREE_COMPUTED, CASHFREE_COMPUTED.replace(b"11:30:00", b"11:40:00")),
        ("safepay", json.dumps({"data": SAFEPAY_PUBLISHED | {"delivery_attempts": 1}}).encode(),
         json.dumps({"data": SAFEPAY_PUBLISHED | {"delivery_attempts": 2}}).encode()),
    ],
    ids=["cashfree-stamped-anew", "safepay-counts-its-tries"],
)  # fmt: skip
def test_a_retry_that_is_written_anew_has_the_same_key(gateway: str, first: bytes, again: bytes) -> None:
    adapter, _ = build("payments", gateway)
    assert first != again
    assert adapter.delivery_key(WebhookRequest({}, first)) == adapter.delivery_key(WebhookRequest({}, again))


@pytest.mark.parametrize("name", sorted({case.gateway for case in SIGNED.values()}))
@pytest.mark.parametrize("body", [b"\xff\xfe\x00", b'"\\ud800"', b"[" * 5000, b'{"data":{"notification":{"a":NaN}}}'])
def test_bytes_that_are_no_text_are_refused_like_any_other(name: str, body: bytes) -> None:
    adapter, account = build("payments", name)
    header = next(case.header for case in SIGNED.values() if case.gateway == name)
    with pytest.raises(InvalidSignature):
        adapter.verify(WebhookRequest({header: "ab" * 32}, body), account)
    assert adapter.delivery_key(WebhookRequest({}, body))


# -- bodies that are not plain ASCII ---------------------------------------------------------------------------------

URDU = 'عائشہ خان / "گلبرگ" <a href="https://shop.example/?q=1&r=2">\u2028\t'


def test_razorpay_signs_the_bytes_whatever_they_spell() -> None:
    body = json.dumps({"event": "payment.captured", "name": URDU}, ensure_ascii=False).encode()
    given = hmac.new(b"s3cret", body, hashlib.sha256).hexdigest()
    case = Signed("razorpay", {"webhook_secret": "s3cret"}, "x-razorpay-signature", given, body)
    case.verify()
    replace(case, signature=given.upper()).verify()  # hex is hex in either case
    with pytest.raises(InvalidSignature):
        replace(case, body=json.dumps(json.loads(body)).encode()).verify()


def test_cashfree_signs_stamp_and_bytes_and_its_base64_is_exact() -> None:
    body, stamp = json.dumps({"data": {"name": URDU}}, ensure_ascii=False).encode(), "1795240800123"
    given = base64.b64encode(hmac.new(b"s3cret", stamp.encode() + body, hashlib.sha256).digest()).decode()
    case = Signed(
        "cashfree", {"client_secret": "s3cret"}, "x-webhook-signature", given, body, (("x-webhook-timestamp", stamp),),
        secret="client_secret",
    )  # fmt: skip
    case.verify()
    for wrong in (replace(case, headers=()), replace(case, headers=(("x-webhook-timestamp", "1795240800124"),))):
        with pytest.raises(InvalidSignature):
            wrong.verify()
    with pytest.raises(InvalidSignature):
        replace(case, signature=given.swapcase()).verify()


@pytest.mark.parametrize(
    ("written", "stringified"),
    [
        (r'{"token":"t","notification":{"user":"\u0639 \/ \u2028 \u007f \u0001 \ud83d\ude00"}}',
         '{"token":"t","notification":{"user":"ع / \u2028 \x7f \\u0001 😀"}}'),
        ('{ "b" : 1.50 ,\n "a":\t[ 10 , 1e5, -0 ], "notification" : { "z" : null, "y": true } }',
         '{"b":1.50,"a":[10,1e5,-0],"notification":{"z":null,"y":true}}'),
        ('{"notification":{"amount":"2,500.00 \\"net\\" \\\\ \\b\\f\\n\\r\\t"}}',
         '{"notification":{"amount":"2,500.00 \\"net\\" \\\\ \\b\\f\\n\\r\\t"}}'),
    ],
    ids=["escapes", "numbers-and-blanks", "what-must-be-escaped"],
)  # fmt: skip
def test_safepay_signs_what_javascript_writes(written: str, stringified: str) -> None:
    """Blanks and needless escapes are no part of it, the order of keys is, and numbers are as they were written."""
    given = hmac.new(b"s3cret", stringified.encode(), hashlib.sha512).hexdigest()
    body = ('{"data": ' + written + "}").encode()
    Signed("safepay", {"webhook_secret": "s3cret"}, "x-sfpy-signature", given, body).verify()


def test_safepay_signs_the_whole_of_an_event_that_says_its_type_outside() -> None:
    """Else whoever heard of a payment that failed could have it told as one that did not."""
    data = {"tracker": "track_1", "state": "TRACKER_ENDED", "amount": 249950, "currency": "PKR"}
    body = json.dumps({"token": "evt_1", "type": "payment.succeeded", "data": data}, separators=(",", ":")).encode()
    inner = json.dumps(data, separators=(",", ":")).encode()
    whole = Signed(
        "safepay", {"webhook_secret": "s3cret"}, "x-sfpy-signature", hmac.digest(b"s3cret", body, "sha512").hex(), body
    )
    whole.verify()
    with pytest.raises(InvalidSignature):
        replace(whole, signature=hmac.digest(b"s3cret", inner, "sha512").hex()).verify()


# -- what a browser brings back --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("secret", "text", "expected"),
    [
        ("key_secret", b"fake_order_id|fake_payment_id",
         "b2335e3b0801106b84a7faff035df56ecffde06918c9ddd1f0fafbb37a51cc89"),
        ("bar", b"1234", "530fdbcf1bf498aff65e42faff0791c366b0794dbe2e7bc1681ba1837b0c7a25"),
    ],
    ids=["razorpay-checkout-published", "safepay-redirect-published"],
)  # fmt: skip
def test_a_return_is_signed_as_published(secret: str, text: bytes, expected: str) -> None:
    """Returns prove nothing of the money and are only a reason to ask; this is for whoever wants to tell whose they
    are.
    """
    assert signing.hmac_hex(secret, text) == expected


def test_every_gateway_that_signs_has_a_vector() -> None:
    signing_ones = {name for name, cls in discover()["payments"].items() if cls.authenticates_by == "signature"}
    assert signing_ones == {case.gateway for case in SIGNED.values()} | {"jazzcash"}  # its are a file of their own
