"""The payment gateways of the sandbox: each in its own shape, with its own proof and its own way of saying no. It knows
nothing of the app.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import hmac
import io
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import httpx
import orjson
import pytest

from sandbox import Running, serve
from sandbox.browser import Page
from sandbox.gateways import ACCOUNTS, GATEWAYS
from sandbox.gateways.easypaisa import encrypted
from sandbox.gateways.jazzcash import secure_hash
from sandbox.testing import FAST, Reply, StandIn, Told, quiet, sandbox, stand_in, until

__all__ = ["sandbox", "stand_in"]

RAZORPAY, CASHFREE, SAFEPAY = ACCOUNTS["razorpay"], ACCOUNTS["cashfree"], ACCOUNTS["safepay"]
JAZZCASH, EASYPAISA = ACCOUNTS["jazzcash"], ACCOUNTS["easypaisa"]
BASIC = (RAZORPAY["key_id"], RAZORPAY["key_secret"])
HEADERS = {
    "x-client-id": CASHFREE["client_id"], "x-client-secret": CASHFREE["client_secret"], "x-api-version": "2025-01-01",
}  # fmt: skip
CREDENTIALS = base64.b64encode(f"{EASYPAISA['username']}:{EASYPAISA['password']}".encode()).decode()
ORDERS = dict.fromkeys(GATEWAYS, "1001-1") | {"jazzcash": "10011"}


class Shop:
    """A merchant with an account everywhere, whose app is the stand-in."""

    def __init__(self, running: Running, app: StandIn) -> None:
        self.running, self.app = running, app
        self.http = httpx.Client(base_url=running.url, trust_env=False)
        for name in GATEWAYS:
            url = f"{app.url}/webhooks/payments/{name}/t0k"
            assert self.http.post("/control/gateways", json={"gateway": name, "push_url": url}).status_code == 200
        app.answers = self.answered

    @staticmethod
    def answered(told: Told) -> Reply | None:
        """JazzCash wants to read more than a status."""
        return Reply(body=acknowledgement()) if "/payments/jazzcash/" in told.path else None

    @property
    def back(self) -> str:
        return f"{self.app.url}/pay/t0k/back"

    def open(self, gateway: str, **changes: Any) -> httpx.Response:
        """A checkout of this gateway, opened as an app and a browser open one; the answer to the last step."""
        return getattr(self, f"_{gateway}")(**changes)  # type: ignore[no-any-return]

    def _razorpay(self, **changes: Any) -> httpx.Response:
        stated = {
            "amount": 150050, "currency": "INR", "reference_id": "1001-1", "description": "Order #1001",
            "callback_url": self.back, "callback_method": "get", "notes": {"reference": "1001-1"},
            "expire_by": self.now() + 3600, "notify": {"sms": False, "email": False}, "reminder_enable": False,
        } | changes  # fmt: skip
        return self.http.post("/gateways/razorpay/v1/payment_links", json=stated, auth=BASIC)

    def _cashfree(self, **changes: Any) -> httpx.Response:
        stated = {
            "link_id": "1001-1", "link_amount": 1500.5, "link_currency": "INR", "link_purpose": "Order #1001",
            "customer_details": {"customer_phone": "9876543210", "customer_name": "Rohan"},
            "link_meta": {"return_url": self.back}, "link_notes": {"reference": "1001-1"},
            "link_expiry_time": (self.clock() + timedelta(hours=1)).isoformat(timespec="seconds"),
        } | changes  # fmt: skip
        return self.http.post("/gateways/cashfree/pg/links", json=stated, headers=HEADERS)

    def _safepay(self, **changes: Any) -> httpx.Response:
        stated = {"client": SAFEPAY["api_key"], "amount": 1500.5, "currency": "PKR", "environment": "sandbox"}
        page = {"order_id": "1001-1", "source": "dastak", "redirect_url": self.back, "cancel_url": self.back}
        given = {name: value for name, value in changes.items() if name in stated}
        answer = self.http.post("/gateways/safepay/order/v1/init", json=stated | given)
        if answer.status_code != 200:
            return answer
        page |= {name: value for name, value in changes.items() if name not in stated}
        return self.http.get("/gateways/safepay/checkout/pay", params=page | {"beacon": answer.json()["data"]["token"]})

    def _jazzcash(self, **changes: Any) -> httpx.Response:
        form = self.jazzcash_form(**changes)
        return self.http.post("/gateways/jazzcash/CustomerPortal/transactionmanagement/merchantform/", data=form)

    def jazzcash_form(self, **changes: Any) -> dict[str, str]:
        salt = changes.pop("salt", JAZZCASH["integrity_salt"])
        now = (self.clock() + timedelta(hours=5)).replace(tzinfo=None)
        stated = {
            "pp_Version": "1.1", "pp_TxnType": "", "pp_Language": "EN", "pp_MerchantID": JAZZCASH["merchant_id"],
            "pp_SubMerchantID": "", "pp_Password": JAZZCASH["password"], "pp_BankID": "", "pp_ProductID": "",
            "pp_TxnRefNo": "10011", "pp_Amount": "150050", "pp_TxnCurrency": "PKR",
            "pp_TxnDateTime": f"{now:%Y%m%d%H%M%S}", "pp_BillReference": "1001", "pp_Description": "Order 1001",
            "pp_TxnExpiryDateTime": f"{now + timedelta(hours=1):%Y%m%d%H%M%S}", "pp_ReturnURL": self.back,
            "ppmpf_1": "tenant7",
        } | changes  # fmt: skip
        return stated | {"pp_SecureHash": signed(stated, salt)}

    def _easypaisa(self, **changes: Any) -> httpx.Response:
        key = changes.pop("key", EASYPAISA["hash_key"])
        expiry = self.clock() + timedelta(hours=6)
        stated = {
            "storeId": EASYPAISA["store_id"], "amount": "1500.50", "postBackURL": self.back, "orderRefNum": "1001-1",
            "expiryDate": f"{expiry:%Y%m%d %H%M%S}", "autoRedirect": "1",
        } | changes  # fmt: skip
        stated["merchantHashedReq"] = encrypted(stated, key)
        return self.http.post("/gateways/easypaisa/easypay/Index.jsf", data=stated)

    def clock(self) -> datetime:
        return datetime.fromisoformat(self.http.get("/control/clock").json()["now"])

    def now(self) -> int:
        return int(self.clock().timestamp())

    def happens(self, gateway: str, outcome: str = "paid", **more: Any) -> httpx.Response:
        stated = {"gateway": gateway, "order_id": ORDERS[gateway], "outcome": outcome} | more
        return self.http.post("/control/payments", json=stated)

    def happened(self, gateway: str, outcome: str = "paid", **more: Any) -> dict[str, Any]:
        answer = self.happens(gateway, outcome, **more)
        assert answer.status_code == 200, answer.text
        return answer.json()  # type: ignore[no-any-return]

    def told(self, gateway: str) -> list[Told]:
        """What the gateway told, once nothing is on its way any more."""
        quiet(self.running)
        return [told for told in self.app.told if told.path.startswith(f"/webhooks/payments/{gateway}/")]

    def checkout(self, gateway: str) -> dict[str, Any]:
        [checkout] = self.http.get("/control/gateways", params={"gateway": gateway}).json()["checkouts"]
        return checkout  # type: ignore[no-any-return]

    def press(self, gateway: str, outcome: str) -> httpx.Response:
        """A button of the customer's page; where the browser is sent then, not followed."""
        page = Page(self.http.get(self.checkout(gateway)["page"]).text)
        return self.http.post(page.forms[0].action, data={"outcome": outcome})

    def standing(self, gateway: str) -> dict[str, Any]:
        """What the gateway's API says of the checkout when it is asked."""
        checkout, http = self.checkout(gateway), self.http
        answer = {
            "razorpay": lambda: http.get(f"/gateways/razorpay/v1/payment_links/{checkout['id']}", auth=BASIC),
            "cashfree": lambda: http.get(f"/gateways/cashfree/pg/links/{checkout['id']}", headers=HEADERS),
            "safepay": lambda: http.get(f"/gateways/safepay/order/v1/{checkout['id']}"),
            "jazzcash": self.inquired,
            "easypaisa": self.asked,
        }[gateway]()
        said: dict[str, Any] = answer.json()
        return said["data"] if gateway == "safepay" else said  # type: ignore[no-any-return]

    def inquired(self, salt: str = JAZZCASH["integrity_salt"], **changes: str) -> httpx.Response:
        asked = {
            "pp_TxnRefNo": "10011", "pp_MerchantID": JAZZCASH["merchant_id"], "pp_Password": JAZZCASH["password"],
        } | changes  # fmt: skip
        asked["pp_SecureHash"] = signed(asked, salt)
        return self.http.post("/gateways/jazzcash/ApplicationAPI/API/PaymentInquiry/Inquire", json=asked)

    def asked(self, credentials: str = CREDENTIALS, **changes: str) -> httpx.Response:
        asked = {
            "orderId": "1001-1", "storeId": EASYPAISA["store_id"], "accountNum": EASYPAISA["account_number"],
        } | changes  # fmt: skip
        url = "/gateways/easypaisa/easypay-service/rest/v4/inquire-transaction"
        return self.http.post(url, json=asked, headers={"Credentials": credentials})


def signed(fields: dict[str, Any], salt: str) -> str:
    """A second reading of JazzCash's rule, so that the sandbox's own is not its only witness."""
    values = [str(value) for name, value in sorted(fields.items()) if name[:2] == "pp" and value not in ("", None)]
    return hmac.new(salt.encode(), "&".join([salt, *values]).encode(), "sha256").hexdigest()


def acknowledgement() -> bytes:
    said = {"pp_ResponseCode": "000", "pp_ResponseMessage": "IPN received successfully", "pp_SecureHash": ""}
    return orjson.dumps(said | {"pp_SecureHash": signed(said, JAZZCASH["integrity_salt"])})


@pytest.fixture
def shop(sandbox: Running, stand_in: StandIn) -> Shop:
    return Shop(sandbox, stand_in)


every = pytest.mark.parametrize("gateway", GATEWAYS)


# What is signed, by the vendors' own examples and by those computed from their rules


def test_jazzcash_signs_as_its_guide_does() -> None:
    guide = {"pp_Amount": "2995", "pp_MerchantID": "MER123", "pp_OrderInfo": "A48cvE28"}
    assert secure_hash(guide, "0F5DD14AE2").lower() == (
        "c7689cda7474eb1adcd343fd0c0b676bad0ba66361cc46db589bdb0da4c1c867"
    )
    notified = {
        "pp_Version": "2.0", "pp_TxnType": "MWALLET", "pp_BankID": None, "pp_ProductID": None,
        "pp_Password": "demoPass01", "pp_TxnRefNo": "T20261121100000", "pp_TxnDateTime": "20261121100000",
        "pp_ResponseCode": "121", "pp_ResponseMessage": "Transaction has been marked confirmed by Merchant.",
        "pp_AuthCode": "060935465981", "pp_SettlementExpiry": None, "pp_RetreivalReferenceNo": "261121718258",
        "pp_SecureHash": "left out",
    }  # fmt: skip
    assert secure_hash(notified, "demo0salt9") == "FE4CDAD22037B88BF4C58EB2891D988076BA3C023AA56AF8E48BC05BF42CCCF6"


def test_easypaisa_encrypts_as_its_guide_does() -> None:
    fields = {
        "storeId": "28", "amount": "10.0", "postBackURL": "https://shop.example/ep/confirm",
        "orderRefNum": "SHOP1001", "expiryDate": "20261231 235959", "emailAddr": "", "merchantHashedReq": "left out",
    }  # fmt: skip
    assert encrypted(fields, "DEMOKEY123456789") == (
        "ihwkU+1q8ePkMhM3htvCKRstdZtVptZXwsmw5EcfQe7y5OUR/6CK9xmliyH7xWWMlsb1mdAMcULJQHRDEQjAHAG5npR7Q6EzdKSGZ1QgZtwdh"
        "YgL/alYbBfh75GFJ5Q7ghd5EFFdttAZaT6iqtgogoJ6zoH1/7Xg6Bd9T+jZqno="
    )


def proven(gateway: str, told: Told) -> bool:
    """Whether what a gateway told carries its proof, as its guide says to check it."""
    if gateway == "razorpay":
        right = hmac.new(RAZORPAY["webhook_secret"].encode(), told.body, "sha256").hexdigest()
        return told.header("X-Razorpay-Signature") == right
    if gateway == "cashfree":
        text = (told.header("x-webhook-timestamp") or "").encode() + told.body
        right = base64.b64encode(hmac.new(CASHFREE["client_secret"].encode(), text, hashlib.sha256).digest()).decode()
        return told.header("x-webhook-signature") == right
    if gateway == "safepay":
        text = told.body.removeprefix(b'{"data":').removesuffix(b"}")
        return (
            told.header("X-SFPY-Signature") == hmac.new(SAFEPAY["webhook_secret"].encode(), text, "sha512").hexdigest()
        )
    said = told.json
    return str(said["pp_SecureHash"]).lower() == signed(
        {name: value for name, value in said.items() if name != "pp_SecureHash"}, JAZZCASH["integrity_salt"]
    )


SIGNING = [name for name in GATEWAYS if name != "easypaisa"]


@pytest.mark.parametrize("gateway", SIGNING)
def test_what_a_gateway_tells_is_signed_and_a_forgery_is_not_and_changes_nothing(shop: Shop, gateway: str) -> None:
    shop.open(gateway)
    shop.happened(gateway, forged=True)
    forged = shop.told(gateway)
    assert forged and not any(proven(gateway, told) for told in forged)
    assert shop.checkout(gateway)["state"] == "open"
    shop.happened(gateway)
    true = shop.told(gateway)[len(forged) :]
    assert true and all(proven(gateway, told) for told in true)
    assert shop.checkout(gateway)["state"] == "paid"


@every
def test_a_replay_is_the_last_event_byte_for_byte(shop: Shop, gateway: str) -> None:
    shop.open(gateway)
    assert shop.happens(gateway, replay=True).status_code == 409
    shop.happened(gateway)
    before = shop.told(gateway)
    shop.happened(gateway, replay=True)
    [again] = shop.told(gateway)[len(before) :]
    last = shop.checkout(gateway)["events"][-1]
    assert (last["replayed"], last["answers"]) == (True, [{"status": 200, "accepted": True}])
    assert (again.path, again.body, again.headers) in [(told.path, told.body, told.headers) for told in before]


# What each tells


# gateway, outcome -> what the events are called, and what the API says afterwards
TOLD: list[tuple[str, str, list[str], dict[str, Any]]] = [
    ("razorpay", "paid", ["payment.authorized", "payment.captured", "order.paid", "payment_link.paid"],
     {"status": "paid", "amount_paid": 150050}),
    ("razorpay", "failed", ["payment.failed"], {"status": "created", "payments": None}),
    ("razorpay", "expired", ["payment_link.expired"], {"status": "expired"}),
    ("razorpay", "late", ["payment.failed", "payment.authorized", "payment.captured", "order.paid",
                          "payment_link.paid"], {"status": "paid"}),
    ("cashfree", "paid", ["PAYMENT_SUCCESS_WEBHOOK", "PAYMENT_LINK_EVENT"], {"link_status": "PAID"}),
    ("cashfree", "failed", ["PAYMENT_FAILED_WEBHOOK"], {"link_status": "ACTIVE", "link_amount_paid": 0}),
    ("cashfree", "expired", ["PAYMENT_LINK_EVENT"], {"link_status": "EXPIRED"}),
    ("cashfree", "late", ["PAYMENT_FAILED_WEBHOOK", "PAYMENT_SUCCESS_WEBHOOK", "PAYMENT_LINK_EVENT"],
     {"link_status": "PAID"}),
    ("safepay", "paid", ["payment:created"], {"state": "TRACKER_ENDED", "amount": 1500.5}),
    ("safepay", "failed", ["error:occurred"], {"state": "TRACKER_STARTED"}),
    ("safepay", "expired", [], {"state": "TRACKER_EXPIRED"}),
    ("safepay", "late", ["error:occurred", "payment:created"], {"state": "TRACKER_ENDED"}),
    ("jazzcash", "paid", ["121"], {"pp_ResponseCode": "000", "pp_PaymentResponseCode": "121",
                                   "pp_Status": "Completed"}),
    ("jazzcash", "failed", ["405"], {"pp_ResponseCode": "000", "pp_PaymentResponseCode": "405",
                                     "pp_Status": "Failed"}),
    ("jazzcash", "expired", [], {"pp_PaymentResponseCode": "116", "pp_Status": "Dropped"}),
    ("jazzcash", "late", ["405", "121"], {"pp_PaymentResponseCode": "121"}),
    ("easypaisa", "paid", ["IPN"], {"transactionStatus": "PAID", "transactionAmount": 1500.5}),
    ("easypaisa", "failed", [], {"responseCode": "0000", "transactionStatus": "FAILED"}),
    ("easypaisa", "expired", [], {"transactionStatus": "EXPIRED"}),
    ("easypaisa", "late", ["IPN"], {"transactionStatus": "PAID"}),
]  # fmt: skip


def named(gateway: str, told: Told) -> str:
    if gateway == "easypaisa":
        return "IPN"
    said = told.json
    return str(
        {
            "razorpay": lambda: said["event"],
            "cashfree": lambda: said["type"],
            "safepay": lambda: said["data"]["type"],
            "jazzcash": lambda: said["pp_ResponseCode"],
        }[gateway]()
    )


@pytest.mark.parametrize(("gateway", "outcome", "events", "standing"), TOLD, ids=[f"{one[0]}-{one[1]}" for one in TOLD])
def test_what_becomes_of_a_payment_is_told_and_stands_there(
    shop: Shop, gateway: str, outcome: str, events: list[str], standing: dict[str, Any]
) -> None:
    assert shop.open(gateway).status_code == 200
    shop.happened(gateway, outcome)
    assert sorted(named(gateway, told) for told in shop.told(gateway)) == sorted(events)
    said = shop.standing(gateway)
    assert {name: said[name] for name in standing} == standing


REFUNDS = ("razorpay", "cashfree", "safepay")


@pytest.mark.parametrize("gateway", REFUNDS)
def test_money_paid_back_is_told_in_part_and_then_whole(shop: Shop, gateway: str) -> None:
    shop.open(gateway)
    shop.happened(gateway)
    before = len(shop.told(gateway))
    assert shop.happened(gateway, "partially_refunded", amount="500.50")["state"] == "partially_refunded"
    assert shop.happened(gateway, "refunded")["state"] == "refunded"
    said = [told.json for told in shop.told(gateway)[before:]]
    if gateway == "razorpay":
        totals = {
            (one["payload"]["payment"]["entity"]["amount_refunded"], one["payload"]["refund"]["entity"]["amount"])
            for one in said
        }
        assert totals == {(50050, 50050), (150050, 100000)}
    elif gateway == "cashfree":
        assert {one["data"]["refund"]["refund_amount"] for one in said} == {500.5, 1000}
        assert b'"refund_amount":500.50,' in shop.told(gateway)[before].body + shop.told(gateway)[before + 1].body
    else:
        told = {(one["data"]["notification"]["state"], one["data"]["notification"]["balance"]) for one in said}
        assert told == {("PARTIALLY REFUNDED", "1000"), ("REFUNDED", "0")}
    assert shop.happens(gateway, "refunded").status_code == 409


@pytest.mark.parametrize(("gateway", "told"), [("jazzcash", ("131", "126")), ("easypaisa", ("REVERSED", ""))])
def test_what_only_an_inquiry_tells(shop: Shop, gateway: str, told: tuple[str, str]) -> None:
    shop.open(gateway)
    shop.happened(gateway)
    before = len(shop.told(gateway))
    name = {"jazzcash": "pp_PaymentResponseCode", "easypaisa": "transactionStatus"}[gateway]
    answer = shop.happens(gateway, "disputed")
    assert answer.status_code == (200 if told[1] else 400)
    if told[1]:
        assert shop.standing(gateway)[name] == told[1]
    shop.happened(gateway, "refunded")
    assert shop.standing(gateway)[name] == told[0]
    assert len(shop.told(gateway)) == before
    assert shop.happens(gateway, "partially_refunded").status_code == 400


def test_a_dispute_is_told_by_those_who_tell_of_one(shop: Shop) -> None:
    for gateway in ("razorpay", "cashfree"):
        shop.open(gateway)
        shop.happened(gateway)
        shop.happened(gateway, "disputed")
    names = [named(one, told) for one in ("razorpay", "cashfree") for told in shop.told(one)]
    assert {"payment.dispute.created", "DISPUTE_CREATED"} <= set(names)


def test_a_payment_that_comes_late_at_razorpay_is_the_one_that_failed(shop: Shop) -> None:
    shop.open("razorpay")
    shop.happened("razorpay", "failed")
    shop.happened("razorpay", "late")
    said = [told.json["payload"] for told in shop.told("razorpay")]
    assert len({one["payment"]["entity"]["id"] for one in said}) == 1
    [listed] = shop.standing("razorpay")["payments"]
    assert listed["payment_id"] == said[0]["payment"]["entity"]["id"]
    found = shop.http.get(f"/gateways/razorpay/v1/payments/{listed['payment_id']}", auth=BASIC).json()
    assert (found["status"], found["amount"], found["notes"]) == ("captured", 150050, {"reference": "1001-1"})


def test_a_customer_who_tries_again_at_razorpay_makes_another_payment(shop: Shop) -> None:
    shop.open("razorpay")
    shop.happened("razorpay", "failed")
    shop.happened("razorpay")
    ids = {told.json["payload"]["payment"]["entity"]["id"] for told in shop.told("razorpay")}
    assert len(ids) == 2


# gateway, what is stated, where in the event it stands
STATED: list[tuple[str, dict[str, Any], str]] = [
    ("razorpay", {"amount": "1.00"}, '"amount":100,'),
    ("razorpay", {"currency": "USD"}, '"currency":"USD"'),
    ("razorpay", {"reference": "9999-1"}, '"reference_id":"9999-1"'),
    ("cashfree", {"amount": "1.00"}, '"payment_amount":1.00'),
    ("cashfree", {"currency": "USD"}, '"payment_currency":"USD"'),
    ("cashfree", {"reference": "9999-1"}, '"link_id":"9999-1"'),
    ("safepay", {"amount": "1.00"}, '"amount":"1"'),
    ("safepay", {"currency": "USD"}, '"currency":"USD"'),
    ("safepay", {"reference": "9999-1"}, '"order_id":"9999-1"'),
    ("jazzcash", {"reference": "99991"}, '"pp_TxnRefNo":"99991"'),
    ("easypaisa", {"reference": "9999-1"}, "9999-1"),
]


@pytest.mark.parametrize(("gateway", "more", "stands"), STATED)
def test_what_is_stated_is_told_as_stated_and_truly_signed(
    shop: Shop, gateway: str, more: dict[str, Any], stands: str
) -> None:
    shop.open(gateway)
    shop.happened(gateway, **more)
    told = shop.told(gateway)
    assert any(stands in (one.body.decode() or one.path) for one in told)
    if gateway != "easypaisa":
        assert all(proven(gateway, one) for one in told)
    assert shop.checkout(gateway)["state"] == ("open" if "reference" in more else "paid")


@pytest.mark.parametrize(
    ("gateway", "more"),
    [("jazzcash", {"amount": 5}), ("jazzcash", {"currency": "INR"}), ("easypaisa", {"currency": "INR"})],
)
def test_nothing_is_stated_where_a_gateway_has_no_place_for_it(shop: Shop, gateway: str, more: dict[str, Any]) -> None:
    shop.open(gateway)
    answer = shop.happens(gateway, **more)
    assert answer.status_code == 400
    assert "states no" in answer.json()["error"]


def test_an_underpayment_is_what_easypaisa_tells_when_asked(shop: Shop) -> None:
    shop.open("easypaisa")
    shop.happened("easypaisa", amount="1.00")
    assert shop.standing("easypaisa")["transactionAmount"] == 1


def test_easypaisas_notification_is_an_address_to_ask(shop: Shop) -> None:
    shop.open("easypaisa")
    shop.happened("easypaisa")
    [told] = shop.told("easypaisa")
    assert (told.method, told.body) == ("GET", b"")
    [address] = parse_qs(urlsplit(told.path).query)["url"]
    path = f"/gateways/easypaisa/easypay-service/rest/v1/order-status/{EASYPAISA['account_number']}/1001-1"
    assert address == f"{shop.running.url}{path}"
    said = httpx.get(address, trust_env=False).json()
    assert (said["transaction_status"], said["order_id"], said["transaction_amount"]) == ("PAID", "1001-1", "1500.50")
    assert shop.http.get(path.replace("1001-1", "1002-1")).json()["responseCode"] == "0003"


def test_a_notification_of_jazzcash_has_no_amount_and_is_repeated_until_it_is_answered_rightly(shop: Shop) -> None:
    answers = iter(
        [
            Reply(body=b"OK"),
            Reply(body=acknowledgement().replace(b"received", b"recieved")),  # not what was signed
        ]
    )
    shop.app.answers = lambda told: next(answers, Reply(body=acknowledgement()))
    shop.open("jazzcash")
    shop.happened("jazzcash")
    told = shop.told("jazzcash")
    assert len({one.body for one in told}) == 1
    assert [one["accepted"] for one in shop.checkout("jazzcash")["events"][0]["answers"]] == [False, False, True]
    said = told[0].json
    assert not {"pp_Amount", "pp_MerchantID", "pp_BillReference"} & set(said)
    assert said["pp_BankID"] is None


@pytest.mark.parametrize(("gateway", "tries"), [("jazzcash", 3), ("cashfree", 4), ("easypaisa", 1)])
def test_a_gateway_gives_up_when_it_does(shop: Shop, gateway: str, tries: int) -> None:
    shop.app.answers = lambda told: Reply(503)
    shop.open(gateway)
    shop.happened(gateway)
    quiet(shop.running)
    assert {len(event["answers"]) for event in shop.checkout(gateway)["events"]} == {tries}


def test_a_link_with_its_own_address_at_cashfree_tells_that_one(shop: Shop) -> None:
    own = f"{shop.app.url}/own"
    shop.open("cashfree", link_meta={"notify_url": own})
    shop.happened("cashfree")
    assert shop.told("cashfree") == []
    assert {told.path for told in shop.app.told} == {"/own"}


def test_shops_that_name_themselves_are_each_told(shop: Shop) -> None:
    told = {"gateway": "jazzcash", "push_url": f"{shop.app.url}/second", "shop": "second"}
    shop.http.post("/control/gateways", json=told)
    shop.open("jazzcash")
    shop.happened("jazzcash")
    quiet(shop.running)
    assert {one.path for one in shop.app.told} == {"/webhooks/payments/jazzcash/t0k", "/second"}


def test_events_are_lost_and_doubled_when_faults_say_so(shop: Shop) -> None:
    for mode, came in (("drop", 0), ("duplicate", 2)):
        shop.http.post("/control/faults", json={"target": "jazzcash", "mode": mode, "count": 1})
        shop.open("jazzcash", pp_TxnRefNo=f"10{came}1")
        shop.http.post("/control/payments", json={"gateway": "jazzcash", "order_id": f"10{came}1", "outcome": "paid"})
        assert [told.json["pp_TxnRefNo"] for told in shop.told("jazzcash")].count(f"10{came}1") == came


def test_a_gateways_api_fails_when_faults_say_so_and_the_customers_page_does_not(shop: Shop) -> None:
    shop.open("razorpay")
    page = shop.checkout("razorpay")["page"]
    shop.http.post("/control/faults", json={"target": "razorpay", "mode": "throttle_429"})
    assert shop.open("razorpay").status_code == 429
    assert shop.http.get(page).status_code == 200


# Refusals


def test_wrong_keys_are_refused_in_each_ones_way(shop: Shop) -> None:
    link, http = "/gateways/razorpay/v1/payment_links", shop.http
    assert http.post(link, json={}, auth=(BASIC[0], "wrong")).status_code == 401
    assert http.get(link).json()["error"]["description"] == "Authentication failed"
    wrong = http.post("/gateways/cashfree/pg/links", json={}, headers=HEADERS | {"x-client-secret": "wrong"})
    assert (wrong.status_code, wrong.json()["type"]) == (401, "authentication_error")
    unversioned = http.post("/gateways/cashfree/pg/links", json={}, headers=HEADERS | {"x-api-version": "1"})
    assert unversioned.status_code == 400
    assert shop.open("safepay", client="sec_wrong").status_code == 401
    assert "101" in shop.open("jazzcash", pp_Password="wrong").text
    assert "0006" in shop.open("easypaisa", storeId="2").text
    assert shop.asked("wrong").json()["responseCode"] == "0010"
    assert http.get("/control/gateways").json()["checkouts"] == []


def test_a_form_with_a_wrong_proof_opens_nothing(shop: Shop) -> None:
    assert "115" in shop.open("jazzcash", salt="wrong").text
    # its spaces are put in before the proof is checked
    assert "115" in shop.open("jazzcash", pp_Description="Order: 1001").text
    assert "0023" in shop.open("easypaisa", key="WRONGKEY12345678").text
    assert shop.http.get("/control/gateways").json()["checkouts"] == []


@pytest.mark.parametrize(
    ("gateway", "refusal"),
    [
        ("razorpay", "1001-1 already exists"),
        ("cashfree", "already exists"),
        ("easypaisa", "0003"),
        ("jazzcash", "valid value for pp_TxnRefNo"),
    ],
)
def test_a_reference_is_taken_once(shop: Shop, gateway: str, refusal: str) -> None:
    shop.open(gateway)
    assert refusal in shop.open(gateway).text
    assert shop.checkout(gateway)["state"] == "open"


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("razorpay", {"amount": 99}, "minimum"),
    ("razorpay", {"amount": 1500.5}, "integer"),
    ("razorpay", {"expire_by": 5}, "15 minutes"),
    ("razorpay", {"reference_id": "x" * 41}, "40 characters"),
    ("razorpay", {"callback_method": "post"}, "callback_method"),
    ("razorpay", {"notes": {str(n): "x" for n in range(16)}}, "15 pairs"),
    ("razorpay", {"notify_url": "https://shop.example"}, "should not be sent"),
    ("cashfree", {"link_amount": "1500"}, "link_amount"),
    ("cashfree", {"link_id": "#1001"}, "link_id"),
    ("cashfree", {"customer_details": {}}, "customer_phone"),
    ("cashfree", {"link_expiry_time": "2020-01-01T00:00:00+05:30"}, "link_expiry_time"),
    ("cashfree", {"link_meta": {"notify_url": "ftp://x"}}, "notify_url"),
    ("safepay", {"amount": "1500"}, "amount"),
    ("safepay", {"currency": "INR"}, "currency"),
    ("safepay", {"environment": "live"}, "environment"),
    ("jazzcash", {"pp_Amount": "1500.50"}, "pp_Amount"),
    ("jazzcash", {"pp_BillReference": "#1001"}, "pp_BillReference"),
    ("jazzcash", {"pp_TxnRefNo": "1001-1"}, "pp_TxnRefNo"),
    ("jazzcash", {"pp_TxnRefNo": "x" * 21}, "pp_TxnRefNo"),
    ("jazzcash", {"pp_TxnCurrency": "INR"}, "pp_TxnCurrency"),
    ("jazzcash", {"pp_TxnExpiryDateTime": "20200101000000"}, "pp_TxnExpiryDateTime"),
    ("easypaisa", {"amount": "1500"}, "0028"),
    ("easypaisa", {"orderRefNum": "#1001"}, "0003"),
    ("easypaisa", {"expiryDate": "2026-12-31"}, "0002"),
]


@pytest.mark.parametrize(("gateway", "changes", "named"), WRONG)
def test_a_wrong_request_opens_nothing(shop: Shop, gateway: str, changes: dict[str, Any], named: str) -> None:
    assert named in shop.open(gateway, **changes).text
    assert not [one for one in shop.http.get("/control/gateways").json()["checkouts"] if one["reference"]]


def test_a_time_that_is_not_pakistans_is_refused_by_jazzcash(shop: Shop) -> None:
    utc = shop.clock().astimezone(UTC)
    answer = shop.open(
        "jazzcash",
        pp_TxnDateTime=f"{utc:%Y%m%d%H%M%S}",
        pp_TxnExpiryDateTime=f"{utc + timedelta(hours=8):%Y%m%d%H%M%S}",
    )
    form = Page(answer.text).forms[0]
    assert form.action == shop.back
    assert (form.fields["pp_ResponseCode"], "pp_TxnDateTime" in form.fields["pp_ResponseMessage"]) == ("110", True)
    assert form.fields["pp_SecureHash"].lower() == signed(
        {name: value for name, value in form.fields.items() if name != "pp_SecureHash"}, JAZZCASH["integrity_salt"]
    )


def test_inquiries_say_what_is_wrong_with_them(shop: Shop) -> None:
    assert shop.inquired(pp_Password="wrong").json()["pp_ResponseCode"] == "101"
    assert shop.inquired(salt="wrong").json()["pp_ResponseCode"] == "115"
    assert shop.inquired().json()["pp_ResponseCode"] == "109"
    assert shop.asked().json()["responseCode"] == "0003"
    assert shop.asked(storeId="2").json()["responseCode"] == "0006"
    assert shop.asked(accountNum="2").json()["responseCode"] == "0004"
    assert shop.asked(orderId="").json()["responseCode"] == "0002"
    assert shop.http.get("/gateways/safepay/order/v1/track_0").status_code == 404
    assert shop.http.get("/gateways/cashfree/pg/links/0", headers=HEADERS).status_code == 404
    assert shop.http.get("/gateways/razorpay/v1/payment_links/plink_0", auth=BASIC).status_code == 400


# Withdrawn, found, overdue


def test_links_are_cancelled_while_nobody_has_paid(shop: Shop) -> None:
    for gateway, path, more, word in (
        ("razorpay", "/gateways/razorpay/v1/payment_links/{id}/cancel", {"auth": BASIC}, "status"),
        ("cashfree", "/gateways/cashfree/pg/links/{id}/cancel", {"headers": HEADERS}, "link_status"),
    ):
        shop.open(gateway)
        url = path.format(id=shop.checkout(gateway)["id"])
        done = shop.http.post(url, **more)  # type: ignore[arg-type]
        assert (done.status_code, done.json()[word].lower()) == (200, "cancelled")
        assert shop.http.post(url, **more).status_code == 400  # type: ignore[arg-type]
        assert len(shop.told(gateway)) == 1
        assert shop.happens(gateway).status_code == 409


def test_a_link_is_found_by_its_reference(shop: Shop) -> None:
    shop.open("razorpay")
    url = "/gateways/razorpay/v1/payment_links"
    for reference, count in (("1001-1", 1), ("1001-2", 0)):
        found = shop.http.get(url, params={"reference_id": reference}, auth=BASIC).json()["payment_links"]
        assert len(found) == count


def test_the_orders_of_a_link_are_there_once_somebody_paid(shop: Shop) -> None:
    shop.open("cashfree")
    url = "/gateways/cashfree/pg/links/1001-1/orders"
    assert shop.http.get(url, headers=HEADERS).json() == []
    shop.happened("cashfree", "failed")
    assert shop.http.get(url, headers=HEADERS).json() == []
    assert len(shop.http.get(url, params={"status": "ALL"}, headers=HEADERS).json()) == 1
    shop.happened("cashfree")
    [order] = shop.http.get(url, headers=HEADERS).json()
    assert (order["order_status"], order["order_tags"]["link_id"]) == ("PAID", "1001-1")
    of_order = f"/gateways/cashfree/pg/orders/{order['order_id']}"
    payments = shop.http.get(f"{of_order}/payments", headers=HEADERS).json()
    assert [payment["payment_status"] for payment in payments] == ["SUCCESS", "FAILED"]
    assert shop.http.get(of_order, headers=HEADERS).json()["order_id"] == order["order_id"]
    of_link = next(one.json for one in shop.told("cashfree") if one.json["type"] == "PAYMENT_LINK_EVENT")
    assert str(of_link["data"]["order"]["transaction_id"]) == payments[0]["cf_payment_id"]


@every
def test_a_checkout_that_nobody_paid_in_time_expires_by_itself(shop: Shop, gateway: str) -> None:
    shop.open(gateway)
    shop.http.post("/control/clock", json={"advance": "25h"})
    assert shop.checkout(gateway)["state"] == "expired"


# The customer's page


def test_the_page_says_what_is_paid_to_whom(shop: Shop) -> None:
    for gateway in GATEWAYS:
        shop.open(gateway)
        page = shop.http.get(shop.checkout(gateway)["page"]).text
        for shown in ("Sandbox Traders", "1,500.50", ORDERS[gateway], ">Pay<", ">Fail<", ">Expire<"):
            assert shown in page, (gateway, shown)


def test_a_page_of_nothing_is_a_page_that_says_so(shop: Shop) -> None:
    for path in ("razorpay/i/x", "cashfree/links/x", "safepay/checkout/pay?beacon=x", "jazzcash/page/x"):
        answer = shop.http.get(f"/gateways/{path}")
        assert (answer.status_code, "cannot be opened" in answer.text) == (404, True)


def test_a_hostile_description_stays_text(shop: Shop) -> None:
    shop.open("razorpay", description="<script>alert(1)</script>")
    assert "<script>alert" not in shop.http.get(shop.checkout("razorpay")["page"]).text


def test_the_browser_may_come_from_the_apps_own_page(shop: Shop) -> None:
    shop.open("easypaisa")
    answer = shop.http.post(
        "/gateways/easypaisa/easypay/Confirm.jsf", data={}, headers={"Origin": "http://127.0.0.1:1"}
    )
    assert answer.status_code == 400  # for what it lacks, and not for where it comes from


def test_whoever_has_paid_at_razorpay_comes_back_with_a_proof(shop: Shop) -> None:
    shop.open("razorpay")
    assert "You can try again" in shop.press("razorpay", "failed").text
    answer = shop.press("razorpay", "paid")
    url = urlsplit(answer.headers["Location"])
    given = dict(parse_qsl(url.query))
    assert f"{url.scheme}://{url.netloc}{url.path}" == shop.back
    parts = [given[f"razorpay_payment_{name}"] for name in ("link_id", "link_reference_id", "link_status", "id")]
    text = "|".join(parts)
    assert given["razorpay_signature"] == hmac.new(BASIC[1].encode(), text.encode(), "sha256").hexdigest()
    assert given["razorpay_payment_link_reference_id"] == "1001-1"
    assert "Paid. Thank you." in shop.http.get(shop.checkout("razorpay")["page"]).text


@pytest.mark.parametrize(("outcome", "code"), [("paid", "000"), ("failed", "405"), ("expired", "116")])
def test_jazzcash_sends_the_browser_back_with_a_signed_form(shop: Shop, outcome: str, code: str) -> None:
    shop.open("jazzcash")
    form = Page(shop.press("jazzcash", outcome).text).forms[0]
    assert (form.action, form.method) == (shop.back, "post")
    assert (form.fields["pp_ResponseCode"], form.fields["pp_Amount"], form.fields["ppmpf_1"]) == (
        code,
        "150050",
        "tenant7",
    )
    assert "pp_Password" not in form.fields
    assert form.fields["pp_SecureHash"].lower() == signed(
        {name: value for name, value in form.fields.items() if name != "pp_SecureHash"}, JAZZCASH["integrity_salt"]
    )


@pytest.mark.parametrize(("outcome", "status", "state"), [("paid", "0000", "paid"), ("failed", "0013", "failed")])
def test_easypaisa_sends_the_browser_back_twice_and_pays_in_between(
    shop: Shop, outcome: str, status: str, state: str
) -> None:
    shop.open("easypaisa")
    first = urlsplit(shop.press("easypaisa", outcome).headers["Location"])
    token = parse_qs(first.query)["auth_token"][0]
    assert shop.checkout("easypaisa")["state"] == "open"
    given = {"auth_token": token, "postBackURL2": shop.back}
    second = shop.http.post("/gateways/easypaisa/easypay/Confirm.jsf", data=given)
    told = dict(parse_qsl(urlsplit(second.headers["Location"]).query))
    assert (told["status"], told["orderRefNumber"]) == (status, "1001-1")
    assert shop.checkout("easypaisa")["state"] == state
    wrong = shop.http.post("/gateways/easypaisa/easypay/Confirm.jsf", data=given | {"auth_token": "guessed"})
    assert wrong.status_code == 400


def test_safepay_proves_the_tracker_and_sends_whoever_gives_up_elsewhere(shop: Shop) -> None:
    shop.open("safepay", cancel_url=f"{shop.app.url}/cancelled")
    assert shop.press("safepay", "failed").headers["Location"] == f"{shop.app.url}/cancelled"
    given = dict(parse_qsl(urlsplit(shop.press("safepay", "paid").headers["Location"]).query))
    right = hmac.new(SAFEPAY["secret_key"].encode(), given["tracker"].encode(), "sha256").hexdigest()
    assert (given["sig"], given["order_id"]) == (right, "1001-1")


def test_safepay_tells_nothing_of_a_checkout_that_declined_its_events(shop: Shop) -> None:
    shop.open("safepay", webhooks="false")
    shop.happened("safepay")
    assert shop.told("safepay") == []


def test_cashfree_sends_the_browser_back_whatever_happened(shop: Shop) -> None:
    shop.open("cashfree")
    assert shop.press("cashfree", "failed").headers["Location"] == shop.back


# The control API


def test_an_order_is_paid_on_its_newest_open_checkout(shop: Shop) -> None:
    order = shop.http.post("/control/orders", json={"store": "woocommerce", "payment": "razorpay"}).json()
    number = order["order_id"]
    for attempt in (1, 2):
        shop.open("razorpay", reference_id=f"{number}-{attempt}")
    shop.open("razorpay", reference_id=f"{number}0-1")  # of another order, whose number begins alike
    for expected in (2, 1):
        paid = shop.http.post(
            "/control/payments", json={"gateway": "razorpay", "order_id": order["name"], "outcome": "paid"}
        )
        assert paid.json()["reference"] == f"{number}-{expected}"
    back = {"gateway": "razorpay", "order_id": f"{number}-1", "outcome": "refunded"}
    assert shop.http.post("/control/payments", json=back).json()["reference"] == f"{number}-1"


IMPOSSIBLE: list[tuple[dict[str, Any], int, str]] = [
    ({"gateway": "paypal"}, 400, "There is no gateway"),
    ({"gateway": "razorpay", "outcome": "lost"}, 400, "There is no outcome"),
    ({"gateway": "razorpay", "outcome": "paid", "reference": "1-1"}, 404, "no checkout"),
    ({"gateway": "razorpay", "outcome": "paid", "order_id": "nobody's"}, 404, "There is no order"),
    ({"gateway": "easypaisa", "outcome": "disputed", "order_id": "1001-1"}, 400, "tells of no outcome"),
    ({"gateway": "easypaisa", "outcome": "paid", "order_id": "1001-1", "amount": "1.001"}, 400, "amount is"),
    ({"gateway": "easypaisa", "outcome": "refunded", "order_id": "1001-1"}, 409, "is open: it cannot"),
    ({"outcome": "failed", "order_id": "1001"}, 400, "Without a gateway"),
]


@pytest.mark.parametrize(("stated", "status", "said"), IMPOSSIBLE)
def test_what_is_impossible_is_refused_with_what_exists(
    shop: Shop, stated: dict[str, Any], status: int, said: str
) -> None:
    shop.open("easypaisa")
    answer = shop.http.post("/control/payments", json=stated)
    assert (answer.status_code, said in answer.json()["error"]) == (status, True), answer.text


def test_a_reset_that_keeps_the_connections_keeps_where_to_tell(shop: Shop) -> None:
    shop.open("jazzcash")
    shop.http.post("/control/reset", json={"keep_connections": True})
    assert shop.http.get("/control/gateways").json()["checkouts"] == []
    shop.open("jazzcash")
    shop.happened("jazzcash")
    assert len(shop.told("jazzcash")) == 1


def test_checkouts_and_what_is_still_to_tell_survive_a_restart(stand_in: StandIn, tmp_path: Any) -> None:
    settings = replace(FAST, app_url=stand_in.url, data=tmp_path)
    running = serve(settings)
    shop = Shop(running, stand_in)
    shop.open("jazzcash")
    shop.happened("jazzcash")
    quiet(running)
    running.stop()
    running = serve(settings)
    again = httpx.get(f"{running.url}/control/gateways", trust_env=False).json()["checkouts"]
    assert [(one["state"], len(one["events"])) for one in again] == [("paid", 1)]
    running.stop()


def test_neither_secrets_nor_proofs_stand_in_the_log(shop: Shop) -> None:
    for gateway in GATEWAYS:
        shop.open(gateway)
        shop.happened(gateway)
    shop.inquired()
    quiet(shop.running)
    log = shop.http.get("/control/log", params={"limit": 500}).text
    for secret in (JAZZCASH["password"], RAZORPAY["key_secret"], EASYPAISA["password"], CASHFREE["client_secret"]):
        assert secret not in log
    assert signed({"pp_TxnRefNo": "10011", "pp_MerchantID": JAZZCASH["merchant_id"],
                   "pp_Password": JAZZCASH["password"]}, JAZZCASH["integrity_salt"]) not in log  # fmt: skip


# The customer's browser


class Walk:
    """A stand-in for the app's pages: a link on a phone, a page with a button, and whatever the button leads to."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        order = shop.http.post("/control/orders", json={"store": "woocommerce", "payment": "jazzcash"}).json()
        self.order_id = order["order_id"]
        self.phone = shop.running.world.phones.phone("+923001234567")
        self.leads = Reply(body=b"nothing here")
        shop.app.answers = self.answered

    def write(self, text: str) -> None:
        """A message of the shop's on the phone."""
        world = self.shop.running.world
        number = next(iter(world.whatsapp.accounts.numbers.values()))
        world.whatsapp.customer_writes(number, self.phone, "text", {"body": "Salaam"}, "Salaam")
        sent = httpx.post(
            f"{self.shop.running.url}/graph/v23.0/{number['id']}/messages",
            json={"messaging_product": "whatsapp", "to": "923001234567", "type": "text", "text": {"body": text}},
            headers={"Authorization": f"Bearer {number['token']}"},
            trust_env=False,
        )
        assert sent.status_code == 200, sent.text

    def answered(self, told: Told) -> Reply | None:
        if "/payments/" in told.path:
            return Shop.answered(told)
        if told.path == "/pay/t0k" and told.method == "GET":
            return Reply(body=b'<form method="post"><input name="x" value="1"><button>Pay</button></form>')
        return self.leads if told.path == "/pay/t0k" else None

    def pay(self, gateway: str) -> httpx.Response:
        stated = {"gateway": gateway, "order_id": self.order_id, "outcome": "paid"}
        return self.shop.http.post("/control/payments", json=stated)


def test_without_a_checkout_the_customers_browser_opens_one(shop: Shop) -> None:
    walk = Walk(shop)
    assert walk.pay("easypaisa").status_code == 409  # nothing was written to the phone
    walk.write(f"Please pay here: {shop.app.url}/pay/t0k.")
    refused = walk.pay("easypaisa")
    assert (refused.status_code, "leads to no gateway" in refused.json()["error"]) == (409, True)
    fields = {"storeId": EASYPAISA["store_id"], "amount": "3749.0", "postBackURL": shop.back,
              "orderRefNum": f"{walk.order_id}-1"}  # fmt: skip
    fields["merchantHashedReq"] = encrypted(fields, EASYPAISA["hash_key"])
    inputs = "".join(f'<input type="hidden" name="{name}" value="{value}">' for name, value in fields.items())
    form = f'<form method="post" action="{shop.running.url}/gateways/easypaisa/easypay/Index.jsf">{inputs}</form>'
    walk.leads = Reply(body=form.encode())
    paid = walk.pay("easypaisa")
    assert (paid.status_code, paid.json()["state"], paid.json()["amount"]) == (200, "paid", "3749.00"), paid.text
    posted = next(told for told in shop.app.told if told.path == "/pay/t0k" and told.method == "POST")
    assert posted.body == b"x=1"
    assert walk.pay("razorpay").status_code == 409  # the link leads elsewhere


def test_the_browser_follows_a_page_that_sends_it_on_and_a_redirect(shop: Shop) -> None:
    walk = Walk(shop)
    walk.write(f"{shop.app.url}/pay/t0k")
    token = shop.http.post("/gateways/safepay/order/v1/init", json={
        "client": SAFEPAY["api_key"], "amount": 3749, "currency": "PKR", "environment": "sandbox"}
    ).json()["data"]["token"]  # fmt: skip
    page = f"{shop.running.url}/gateways/safepay/checkout/pay?beacon={token}&amp;order_id={walk.order_id}-1"
    walk.leads = Reply(body=f'<meta http-equiv="refresh" content="0; url={page}">'.encode())
    assert walk.pay("safepay").json()["reference"] == f"{walk.order_id}-1"
    shop.open("razorpay", reference_id="unlike")
    walk.leads = Reply(
        303, headers={"Location": shop.http.get("/control/gateways?gateway=razorpay").json()["checkouts"][0]["page"]}
    )
    assert "opened no checkout" in walk.pay("razorpay").json()["error"]


def test_a_gateway_that_opens_nothing_is_quoted(shop: Shop) -> None:
    walk = Walk(shop)
    walk.write(f"{shop.app.url}/pay/t0k")
    jazzcash = "jazzcash/CustomerPortal/transactionmanagement/merchantform/"
    for path, fields, said in (
        ("easypaisa/easypay/Index.jsf", {}, "0002: REQUIRED FIELD IS MISSING"),
        (jazzcash, shop.jazzcash_form(salt="wrong"), "115: Please provide a valid value for pp_SecureHash."),
        (jazzcash, shop.jazzcash_form(pp_Amount="0.5"), "back at once: Please provide a valid value for pp_Amount."),
    ):
        inputs = "".join(f'<input name="{name}" value="{value}">' for name, value in fields.items())
        form = f'<form method="post" action="{shop.running.url}/gateways/{path}">{inputs}</form>'
        walk.leads = Reply(body=form.encode())
        refused = walk.pay(path.partition("/")[0])
        assert (refused.status_code, said in refused.json()["error"]) == (409, True), refused.text


def test_the_browser_leaves_this_machine_for_nobody(shop: Shop) -> None:
    walk = Walk(shop)
    walk.write("https://shop.example/pay/t0k")
    refused = walk.pay("easypaisa")
    assert (refused.status_code, "only pages of this machine" in refused.json()["error"]) == (409, True)


# Statements, pictures


LINES = [
    {"transaction": "060935465981", "amount": "2500", "at": "2026-11-21T12:00:00+05:00", "sender": "03001234567",
     "name": "Ayesha Khan"},
    {"transaction": "060935465982", "amount": -300.5, "at": "2026-11-21T13:00:00+05:00"},
]  # fmt: skip


def test_three_statements_are_written_in_three_ways(shop: Shop) -> None:
    files = {}
    for channel in ("jazzcash", "easypaisa", "bank"):
        answer = shop.http.post("/control/statements", json={"channel": channel, "lines": LINES})
        assert answer.headers["Content-Type"].startswith("text/csv")
        files[channel] = answer.content
    assert files["jazzcash"].startswith(b"\xef\xbb\xbf")
    wallet = list(csv.DictReader(io.StringIO(files["jazzcash"].decode("utf-8-sig"))))
    assert [(row["Transaction ID"], row["Credit"], row["Debit"]) for row in wallet] == [
        ("060935465981", "2,500.00", ""),
        ("060935465982", "", "300.50"),
    ]
    second = list(csv.DictReader(io.StringIO(files["easypaisa"].decode()), delimiter=";"))
    assert [row["Amount (PKR)"] for row in second] == ["۲,۵۰۰.۰۰", "-۳۰۰.۵۰"]
    rows = list(csv.reader(io.StringIO(files["bank"].decode())))
    assert rows[0] == ["Account Statement"]
    header = next(n for n, row in enumerate(rows) if "Narration" in row)
    assert rows[header + 1][2:6] == ["RAAST P2P FROM AYESHA KHAN 03001234567", "060935465981", "", "2500.00"]


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ({"channel": "paypal", "lines": []}, "There is no channel"),
        ({"channel": "bank", "lines": {}}, "lines looks like"),
        ({"channel": "bank", "lines": [5]}, "A line looks like"),
        ({"channel": "bank", "lines": [{"amount": "lots"}]}, "is no amount"),
        ({"channel": "bank", "lines": [{"amount": 5, "at": "noon"}]}, "a time like"),
        ({"channel": "bank", "lines": [{"amount": 5, "name": ["x"]}]}, "are texts"),
    ],
)
def test_an_impossible_statement_is_refused(shop: Shop, stated: dict[str, Any], said: str) -> None:
    answer = shop.http.post("/control/statements", json=stated)
    assert (answer.status_code, said in answer.json()["error"]) == (400, True)


def test_a_picture_sent_twice_is_the_same_and_another_is_another(shop: Shop) -> None:
    number = next(iter(shop.running.world.whatsapp.accounts.numbers.values()))
    bearer = {"Authorization": f"Bearer {number['token']}"}
    contents = []
    for name in ("receipt.jpg", "receipt.jpg", "other.jpg"):
        shop.http.post("/control/phones/+923001234567/send", json={"image": name, "to": number["id"]})
    media = list(shop.running.world.whatsapp.media)
    for id in media:
        about = shop.http.get(f"/graph/v23.0/{id}", headers=bearer).json()
        contents.append(shop.http.get(about["url"], headers=bearer).content)
        assert (hashlib.sha256(contents[-1]).hexdigest(), len(contents[-1])) == (about["sha256"], about["file_size"])
        assert about["mime_type"] == "image/jpeg" and contents[-1].startswith(b"\xff\xd8\xff")
        assert shop.http.get(about["url"]).status_code >= 400  # not without the token
    assert len(media) == 3
    assert contents[0] == contents[1] != contents[2]


# The face


def test_the_face_shows_who_is_paying_and_the_keys(shop: Shop) -> None:
    shop.open("easypaisa")
    shop.happened("easypaisa")
    state = shop.http.get("/face/state").json()
    assert [(one["reference"], one["state"]) for one in state["checkouts"]] == [("1001-1", "paid")]
    assert state["checkouts_total"] == 1
    page = shop.http.get("/").text
    for account in ACCOUNTS.values():
        for value in account.values():
            assert value in page
    assert re.search(r'data-target="cashfree"', page)
    until(lambda: shop.http.get("/face/state").json()["checkouts"][0]["events"][0]["answers"])
