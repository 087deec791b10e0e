"""Easypaisa: a form whose fields are encrypted into a proof, a way back half way, and a notification that is no more
than an address to ask.

The browser comes back with a token, which the merchant's page posts again; only then is the payment made, and the
browser sent back a second time with a status that nobody signed. The notification is a GET without any proof, and is
sent only of what became paid. The inquiry knows all.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7
from flask import Response, g, request

from sandbox.answers import see_other, with_query
from sandbox.delivery import Outgoing, Policy
from sandbox.gateways.gateway import (
    DIGITS,
    EXPIRED,
    FAILED,
    LATE,
    OPEN,
    PAID,
    PKT,
    REFUNDED,
    WORD,
    Gateway,
    Rule,
    json_body,
    money_of,
    stamp,
    text_of,
)
from sandbox.world import Record

STORE_NAME = "Sandbox Traders"
STATUS = {OPEN: "PENDING", PAID: "PAID", FAILED: "FAILED", EXPIRED: "EXPIRED", REFUNDED: "REVERSED"}
METHODS = {"": "MA", "OTC_PAYMENT_METHOD": "OTC", "MA_PAYMENT_METHOD": "MA", "CC_PAYMENT_METHOD": "CC"}
FAULTS = {
    "0002": "REQUIRED FIELD IS MISSING",
    "0003": "INVALID ORDER ID",
    "0004": "INVALID MERCHANT ACCOUNT NUMBER",
    "0006": "INVALID STORE ID",
    "0010": "INVALID CREDENTIALS",
    "0013": "LOW BALANCE",
    "0022": "INVALID JSON REQUEST",
    "0023": "INVALID SIGNATURE",
    "0028": "INVALID AMOUNT",
}


def encrypted(fields: Mapping[str, str], key: str) -> str:
    """merchantHashedReq: the posted fields that are not empty, `name=value` sorted by name, joined by `&` as they are;
    AES in ECB mode with PKCS 5 padding, base64.
    """
    text = "&".join(f"{name}={fields[name]}" for name in sorted(fields) if fields[name] and name != "merchantHashedReq")
    padder = PKCS7(128).padder()
    padded = padder.update(text.encode()) + padder.finalize()
    cipher = Cipher(algorithms.AES(key.encode()), modes.ECB()).encryptor()
    return base64.b64encode(cipher.update(padded) + cipher.finalize()).decode()


class Easypaisa(Gateway):
    name = "easypaisa"
    title = "Easypaisa"
    account = {
        "store_id": "10001",
        "hash_key": "SANDBOXKEY123456",
        "username": "sandbox-easypaisa",
        "password": "sandbox-easypaisa-pass",
        "account_number": "300000001",
    }
    secret = ""
    currencies = ("PKR",)
    outcomes = (PAID, FAILED, EXPIRED, LATE, REFUNDED)
    states = frozenset({"amount", "reference"})
    says = {PAID: ("IPN",)}
    tries_again = False
    late_after = EXPIRED

    def policy(self) -> Policy:
        # assumed: one try, for no guide speaks of another
        return Policy(self.name, 1, 30.0, range(200, 201), 0, self.world.settings.gateway_first_retry, 60.0)

    def api(self) -> Sequence[Rule]:
        return [
            ("POST", "/easypay-service/rest/v4/inquire-transaction", self.inquire),
            ("GET", "/easypay-service/rest/v1/order-status/<account>/<order>", self.order_status),
        ]

    def pages(self) -> Sequence[Rule]:
        return [("POST", "/easypay/Index.jsf", self.index), ("POST", "/easypay/Confirm.jsf", self.confirm)]

    # The two forms

    def index(self) -> Response:
        fields = {name: value for name, value in request.form.items() if value}
        wrong = self._wrong(fields)
        if wrong:
            return self.trouble(wrong, FAULTS[wrong])
        self.pass_time()
        amount = money_of(fields["amount"])
        assert amount is not None
        checkout = self.open(
            fields["orderRefNum"],
            fields["orderRefNum"],
            amount,
            "PKR",
            customer={"phone": fields.get("mobileNum", ""), "email": fields.get("emailAddr", "")},
            return_url=fields["postBackURL"],
            expires=_expiry(fields.get("expiryDate", "")),
            method=METHODS[fields.get("paymentMethod", "")],
            chosen="",
        )
        return self.shown(checkout)

    def _wrong(self, fields: Record) -> str:
        """The code of what is not as it should be; empty when all is."""
        if any(not fields.get(name) for name in ("storeId", "amount", "postBackURL", "orderRefNum")):
            return "0002"
        if fields["storeId"] != self.account["store_id"]:
            return "0006"
        # assumed: that an account whose key is set takes no form without the proof
        if fields.get("merchantHashedReq") != encrypted(fields, self.account["hash_key"]):
            return "0023"
        if money_of(fields["amount"]) is None or not re.fullmatch(r"\d+\.\d{1,2}", fields["amount"], re.ASCII):
            return "0028"
        expiry = _expiry(fields.get("expiryDate", ""))
        if fields.get("expiryDate") and (expiry is None or expiry <= self.now()):
            return "0002"
        if fields.get("paymentMethod", "") not in METHODS:
            return "0002"
        # assumed: that an order's reference is taken once, and what is answered to its second use
        reference = fields["orderRefNum"]
        right = re.fullmatch(r"[\w-]{1,50}", reference, re.ASCII) and not self.by_reference(reference)
        return "" if right else "0003"

    def chosen(self, checkout: Record, outcome: str) -> Response:
        """What the customer entered is only done when the merchant's page confirms it."""
        if outcome == EXPIRED:
            return super().chosen(checkout, outcome)
        with self.world.lock:
            checkout["chosen"] = outcome
            token = self.code("", 24, WORD)
            self.known_as(checkout, f"token:{token}")
        return see_other(with_query(checkout["return_url"], auth_token=token))

    def confirm(self) -> Response:
        checkout = self.by_name(f"token:{request.form.get('auth_token', '')}")
        back = request.form.get("postBackURL2", "")
        if checkout is None or not back.startswith(("http://", "https://")):
            return self.trouble("0002", FAULTS["0002"])
        self.pass_time()
        if checkout["state"] == OPEN:
            self.happen(checkout, checkout["chosen"])
        ok = checkout["state"] == PAID
        status, words = ("0000", "SUCCESS") if ok else ("0013", FAULTS["0013"])
        return see_other(with_query(back, status=status, desc=words, orderRefNumber=checkout["reference"]))

    def returned(self, checkout: Record, outcome: str) -> Response:
        return self.shown(checkout)

    def new_payment(self) -> Record:
        return {"id": self.code("2", 10, DIGITS)}

    # The notification, and the questions

    def pushed(self, checkout: Record, event: str, address: str, forged: bool) -> Outgoing:
        path = f"/easypay-service/rest/v1/order-status/{self.account['account_number']}/{checkout['reference']}"
        url = with_query(address, url=f"{self.home}{path}")
        return Outgoing(url, [], b"", f"IPN of {checkout['reference']}", "GET")

    def order_status(self, account: str, order: str) -> Response:
        """What the notification points to: the attributes that the merchant chose in the portal."""
        checkout = self.by_reference(order)
        if account != self.account["account_number"] or checkout is None:
            return _answer({"responseCode": "0003", "responseDesc": FAULTS["0003"]})
        self.pass_time()
        payment = self.payment(checkout)
        return _answer(
            {
                "transaction_status": STATUS[checkout["state"]],
                "store_id": self.account["store_id"],
                "order_id": checkout["reference"],
                "transaction_id": payment["id"] if payment else "",
                "transaction_amount": payment["amount"] if payment else checkout["amount"],
                "payment_method": checkout["method"],
            }
        )

    def inquire(self) -> Response:
        wanted = base64.b64encode(f"{self.account['username']}:{self.account['password']}".encode()).decode()
        if request.headers.get("Credentials") != wanted:
            return _no("0010")
        asked = json_body()
        if asked is None:
            return _no("0022")
        g.what = f"inquiry after {text_of(asked.get('orderId'))[:40]}"
        if any(not asked.get(name) for name in ("orderId", "storeId", "accountNum")):
            return _no("0002")
        if str(asked["storeId"]) != self.account["store_id"]:
            return _no("0006")
        if str(asked["accountNum"]) != self.account["account_number"]:
            return _no("0004")
        self.pass_time()
        checkout = self.by_reference(asked["orderId"])
        return _no("0003") if checkout is None else _answer(self._told(checkout))

    def _told(self, checkout: Record) -> Record:
        payment = self.payment(checkout)
        told: dict[str, Any] = {
            "msisdn": checkout["customer"]["phone"] or "03001234567",
            "orderId": checkout["reference"],
            "storeId": self.account["store_id"],
            "storeName": STORE_NAME,
            "accountNum": self.account["account_number"],
            "paymentMode": checkout["method"],
            "responseCode": "0000",  # the inquiry worked; of the payment it says nothing
            "responseDesc": "SUCCESS",
            "transactionAmount": orjson.Fragment(_plain(payment["amount"] if payment else checkout["amount"])),
            "transactionStatus": STATUS[checkout["state"]],
            "transactionDateTime": stamp(payment["at"] if payment else checkout["created"], "%d/%m/%Y %I:%M %p", PKT),
        }
        if checkout["state"] == FAILED:
            told |= {"errorCode": "LOW_BALANCE", "errorReason": "The balance is not sufficient."}
        if checkout["state"] in (PAID, REFUNDED):
            told["settlementStatus"] = "FAILED"  # of paying the merchant out, not of the payment
        return told


def _plain(amount: str) -> bytes:
    """A number as the inquiry writes it: 3000 and 2500.5, not 3000.00."""
    return (amount.rstrip("0").rstrip(".") if "." in amount else amount).encode()


def _expiry(text: str) -> int | None:
    """`20261231 235959`, Pakistan's time, as seconds."""
    try:
        return int(datetime.strptime(text, "%Y%m%d %H%M%S").replace(tzinfo=PKT).timestamp())
    except ValueError:
        return None


def _answer(value: Record) -> Response:
    return Response(orjson.dumps(value), 200, content_type="application/json;charset=UTF-8")


def _no(code: str) -> Response:
    return _answer({"responseCode": code, "responseDesc": FAULTS[code]})
