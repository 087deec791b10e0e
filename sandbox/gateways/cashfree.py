"""Cashfree's Payment Links: JSON with the account in the headers, amounts in rupees, times of India.

A link has orders, made when somebody tries to pay, and an order has payments, so that a payment's own events name the
order and not the link. Their amounts have two decimals, and whoever writes them anew breaks the proof.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import orjson
from flask import Response, g, request

from sandbox.answers import see_other
from sandbox.delivery import Outgoing, Policy
from sandbox.gateways.gateway import (
    CANCELLED,
    DIGITS,
    DISPUTED,
    EXPIRED,
    FAILED,
    IST,
    OPEN,
    PAID,
    PARTIALLY_REFUNDED,
    REFUNDED,
    Gateway,
    Rule,
    json_body,
    money_of,
    part_of,
    stamp,
    text_of,
)
from sandbox.world import Record

VERSIONS = ("2022-09-01", "2023-08-01", "2025-01-01", "2026-01-01")
VERSION = "2025-01-01"  # of the events
STATUS = {OPEN: "ACTIVE", FAILED: "ACTIVE", EXPIRED: "EXPIRED", CANCELLED: "CANCELLED"}  # else PAID
LONGEST_ID, LONGEST_PURPOSE, LONGEST_URL, MOST_NOTES = 50, 500, 250, 5
LIVES = 30 * 86400
CODES = "abcdefghijklmnopqrstuvwxyz0123456789"
OF_LINK, OF_SUCCESS, OF_FAILURE = "PAYMENT_LINK_EVENT", "PAYMENT_SUCCESS_WEBHOOK", "PAYMENT_FAILED_WEBHOOK"
OF_REFUND, OF_DISPUTE = "REFUND_STATUS_WEBHOOK", "DISPUTE_CREATED"


class Cashfree(Gateway):
    name = "cashfree"
    title = "Cashfree"
    account = {"client_id": "TEST-sandbox-client", "client_secret": "sandbox-cashfree-secret"}
    secret = "client_secret"
    currencies = ("INR", "PKR", "USD")
    says = {
        PAID: (OF_SUCCESS, OF_LINK),
        FAILED: (OF_FAILURE,),
        EXPIRED: (OF_LINK,),
        CANCELLED: (OF_LINK,),
        REFUNDED: (OF_REFUND,),
        PARTIALLY_REFUNDED: (OF_REFUND,),
        DISPUTED: (OF_DISPUTE,),
    }

    def policy(self) -> Policy:
        # real: three more tries, after 2, 10 and 30 minutes
        return Policy(self.name, 2, 10.0, range(200, 201), 3, self.world.settings.gateway_first_retry, 60.0)

    def api(self) -> Sequence[Rule]:
        return [
            ("POST", "/pg/links", self.create),
            ("GET", "/pg/links/<id>", self.fetch),
            ("GET", "/pg/links/<id>/orders", self.orders),
            ("POST", "/pg/links/<id>/cancel", self.cancel),
            ("GET", "/pg/orders/<order>", self.order),
            ("GET", "/pg/orders/<order>/payments", self.payments),
            ("GET", "/pg/orders/<order>/refunds", self.refunds),
        ]

    def pages(self) -> Sequence[Rule]:
        return [("GET", "/links/<code>", self.link_page)]

    # The API

    def _refused(self) -> Response | None:
        given = (request.headers.get("x-client-id"), request.headers.get("x-client-secret"))
        if given != (self.account["client_id"], self.account["client_secret"]):
            return _no("authentication Failed", "request_failed", 401, kind="authentication_error")
        if request.headers.get("x-api-version") not in VERSIONS:
            return _no("version : is missing or invalid", "version_invalid")  # assumed: the words
        self.pass_time()
        return None

    def create(self) -> Response:
        refused = self._refused()
        if refused is not None:
            return refused
        stated = json_body()
        if stated is None:
            return _no("Invalid JSON body", "request_invalid")  # assumed, as the codes of all that is refused
        wrong = self._wrong(stated)
        if wrong:
            return _no(f"{wrong} : is missing or invalid", f"{wrong.replace('.', '_')}_invalid")
        id = stated["link_id"]
        if self.checkout(id):
            return _no("Link ID already exists", "link_already_exists", 409)
        amount, code, meta = money_of(stated["link_amount"]), self.code("", 12, CODES), part_of(stated, "link_meta")
        assert amount is not None
        customer = part_of(stated, "customer_details")
        checkout = self.open(
            id,
            id,
            amount,
            stated["link_currency"],
            description=stated["link_purpose"],
            customer={name: text_of(customer.get(f"customer_{name}")) for name in ("name", "phone", "email")},
            return_url=text_of(meta.get("return_url")),
            notify_url=text_of(meta.get("notify_url")),
            expires=_time(stated["link_expiry_time"]) if stated.get("link_expiry_time") else self.now() + LIVES,
            notes=part_of(stated, "link_notes"),
            notify=part_of(stated, "link_notify"),
            number=self.world.next_number("cashfree_link", 1_576_977),
            code=code,
            order=f"CFPay_{code}_{self.code('', 12, CODES)}",  # how the order of a link is called
        )
        self.known_as(checkout, f"code:{code}")
        self.known_as(checkout, f"order:{checkout['order']}")
        g.what = f"payment link {id}"
        return _yes(self._link(checkout))

    def _wrong(self, stated: Record) -> str:
        """The field that is not as it should be; empty when all are."""
        meta, notes, customer = (stated.get(name) or {} for name in ("link_meta", "link_notes", "customer_details"))
        if not re.fullmatch(rf"[\w-]{{1,{LONGEST_ID}}}", text_of(stated.get("link_id")), re.ASCII):
            return "link_id"
        if isinstance(stated.get("link_amount"), str) or money_of(stated.get("link_amount")) is None:
            return "link_amount"
        if stated.get("link_currency") not in self.currencies:
            return "link_currency"
        if not 0 < len(text_of(stated.get("link_purpose"))) <= LONGEST_PURPOSE:
            return "link_purpose"
        phone = customer.get("customer_phone") if isinstance(customer, dict) else None
        if not re.fullmatch(r"\+?\d{10,15}", text_of(phone), re.ASCII):
            return "customer_details.customer_phone"
        if stated.get("link_expiry_time") is not None and (_time(stated["link_expiry_time"]) or 0) <= self.now():
            return "link_expiry_time"
        if not isinstance(meta, dict):
            return "link_meta"
        for name in ("return_url", "notify_url"):
            if meta.get(name) and not re.fullmatch(rf"https?://\S{{1,{LONGEST_URL}}}", str(meta[name])):
                return f"link_meta.{name}"
        if not isinstance(notes, dict) or len(notes) > MOST_NOTES:
            return "link_notes"
        return ""

    def fetch(self, id: str) -> Response:
        refused = self._refused()
        if refused is not None:
            return refused
        checkout = self.checkout(id)
        return _missing("link") if checkout is None else _yes(self._link(checkout))

    def cancel(self, id: str) -> Response:
        refused = self._refused()
        if refused is not None:
            return refused
        checkout = self.checkout(id)
        if checkout is None:
            return _missing("link")
        if checkout["state"] != OPEN:
            return _no("only a link in ACTIVE status can be cancelled", "link_not_active")
        g.what = f"cancelling {id}"
        self.happen(checkout, CANCELLED)
        return _yes(self._link(checkout))

    def orders(self, id: str) -> Response:
        """The link's orders: those that were paid, unless `status` asks for all."""
        refused = self._refused()
        if refused is not None:
            return refused
        checkout = self.checkout(id)
        if checkout is None:
            return _missing("link")
        tried = bool(checkout["payments"])
        shown = tried and (self._paid(checkout) is not None or request.args.get("status") == "ALL")
        return _yes([self._order(checkout)] if shown else [])

    def order(self, order: str) -> Response:
        refused = self._refused()
        if refused is not None:
            return refused
        checkout = self.by_name(f"order:{order}")
        return _missing("order") if checkout is None or not checkout["payments"] else _yes(self._order(checkout))

    def payments(self, order: str) -> Response:
        refused = self._refused()
        if refused is not None:
            return refused
        checkout = self.by_name(f"order:{order}")
        if checkout is None:
            return _missing("order")
        return _yes([self._listed(checkout, payment) for payment in reversed(checkout["payments"])])

    def refunds(self, order: str) -> Response:
        refused = self._refused()
        if refused is not None:
            return refused
        checkout = self.by_name(f"order:{order}")
        if checkout is None:
            return _missing("order")
        payment = self._paid(checkout)
        return _yes([self._refund(checkout, payment, one) for one in payment["refunds"]] if payment else [])

    # What it says of things

    def _paid(self, checkout: Record) -> Record | None:
        payment = self.payment(checkout)
        return payment if payment and payment["state"] == PAID else None

    def _link(self, checkout: Record) -> Record:
        paid = self._paid(checkout)
        return {
            "cf_link_id": str(checkout["number"]),
            "link_id": checkout["id"],
            "link_status": STATUS.get(checkout["state"], "PAID"),
            "link_currency": checkout["currency"],
            "link_amount": exact(checkout["amount"]),
            "link_amount_paid": exact(paid["amount"] if paid else "0.00"),
            "link_partial_payments": False,
            "link_minimum_partial_amount": None,
            "link_purpose": checkout["description"],
            "link_created_at": _indian(checkout["created"]),
            "customer_details": self._customer(checkout) | {"country_code": "+91"},
            "link_meta": self._meta(checkout),
            "link_url": f"{self.home}/links/{checkout['code']}",
            "link_expiry_time": _indian(checkout["expires"]),
            "link_notes": checkout["notes"],
            "link_auto_reminders": False,
            "link_notify": {"send_sms": False, "send_email": False} | checkout["notify"],
            "link_qrcode": "",
        }

    @staticmethod
    def _customer(checkout: Record) -> Record:
        return {f"customer_{name}": value for name, value in checkout["customer"].items()}

    @staticmethod
    def _meta(checkout: Record) -> Record:
        return {name: checkout[name] for name in ("return_url", "notify_url") if checkout[name]}

    def _order(self, checkout: Record) -> Record:
        payment = self.payment(checkout)
        assert payment is not None
        return {
            "cf_order_id": str(checkout["number"] + 1_000_000),
            "order_id": checkout["order"],
            "entity": "order",
            "order_currency": payment["currency"],
            "order_amount": exact(payment["amount"]),
            "order_status": "PAID" if payment["state"] == PAID else "ACTIVE",
            "order_expiry_time": _indian(checkout["expires"]),
            "order_note": checkout["description"],
            "created_at": _indian(checkout["created"]),
            "customer_details": self._customer(checkout),
            "order_meta": self._meta(checkout),
            "order_tags": self._tags(checkout),
        }

    @staticmethod
    def _tags(checkout: Record) -> Record:
        """assumed: what an order that was made for a link says of it."""
        return {"link_id": checkout["reference"], "cf_link_id": str(checkout["number"]), **checkout["notes"]}

    def _payment(self, payment: Record) -> Record:
        paid = payment["state"] == PAID
        return {
            "cf_payment_id": payment["id"],
            "payment_status": "SUCCESS" if paid else "FAILED",
            "payment_amount": exact(payment["amount"]),
            "payment_currency": payment["currency"],
            "payment_message": "00::Transaction success" if paid else "ZM::Invalid MPIN",
            "payment_time": _indian(payment["at"]),
            "bank_reference": payment["bank"],
            "auth_id": None,
            "payment_method": {"upi": {"channel": None, "upi_id": "customer@upi"}},
            "payment_group": "upi",
        }

    def _listed(self, checkout: Record, payment: Record) -> Record:
        return {
            **self._payment(payment), "entity": "payment", "order_id": checkout["order"],
            "order_amount": exact(payment["amount"]), "is_captured": payment["state"] == PAID,
            "error_details": None,
        }  # fmt: skip

    @staticmethod
    def _refund(checkout: Record, payment: Record, refund: Record) -> Record:
        return {
            "cf_refund_id": f"refund_{refund['id']}",
            "cf_payment_id": payment["id"],
            "refund_id": f"dashboard_{refund['id']}",
            "order_id": checkout["order"],
            "refund_amount": exact(refund["amount"]),
            "refund_currency": payment["currency"],
            "entity": "refund",
            "refund_type": "MERCHANT_INITIATED",
            "refund_arn": payment["bank"],
            "refund_status": "SUCCESS",
            "status_description": "Refund processed successfully",
            "created_at": _indian(refund["at"]),
            "processed_at": _indian(refund["at"]),
            "refund_charge": exact("0.00"),
            "refund_note": "",
        }

    def new_payment(self) -> Record:
        return {"id": self.code("5", 9, DIGITS), "bank": self.code("3", 11, DIGITS)}

    def another_id(self, checkout: Record) -> str:
        return self.code("", 12, CODES)

    # Events

    def addresses(self, checkout: Record, told: Sequence[str]) -> Sequence[str]:
        """assumed: a link with an address of its own tells that one and no other."""
        return [checkout["notify_url"]] if checkout["notify_url"] else told

    def pushed(self, checkout: Record, event: str, address: str, forged: bool) -> Outgoing:
        said: Record = {"data": self._told(checkout, event), "event_time": _indian(checkout["changed"]), "type": event}
        if event == OF_LINK:
            said["version"] = 1
        body = orjson.dumps(said)
        millis = str(int(self.world.clock.time() * 1000))
        proof = hmac.new(self.key(forged), millis.encode() + body, "sha256").digest()
        headers = [
            ("Content-Type", "application/json"),
            ("x-webhook-attempt", "1"),  # and so it stays, however often it is sent
            ("x-webhook-signature", base64.b64encode(proof).decode()),
            ("x-webhook-timestamp", millis),
            ("x-webhook-version", VERSION),
            ("x-idempotency-key", self.code("", 32, "0123456789abcdef")),
        ]
        return Outgoing(address, headers, body, f"{event} of {checkout['reference']}")

    def _told(self, checkout: Record, event: str) -> Record:
        if event == OF_LINK:
            return self._of_link(checkout)
        payment = self.payment(checkout)
        assert payment is not None
        if event == OF_REFUND:
            return {"refund": self._refund(checkout, payment, payment["refunds"][-1])}
        order = {
            "order_id": checkout["order"],
            "order_amount": exact(payment["amount"]),
            "order_currency": payment["currency"],
        }
        if event == OF_DISPUTE:
            return {
                "dispute": self._dispute(payment),
                "order_details": {**order, "cf_payment_id": payment["id"], "payment_amount": exact(payment["amount"]),
                                  "payment_currency": payment["currency"]},
                "customer_details": self._customer(checkout),
            }  # fmt: skip
        told = {
            "order": order | {"order_tags": self._tags(checkout)},
            "payment": self._payment(payment),
            "customer_details": self._customer(checkout) | {"customer_id": None},
        }
        if event == OF_FAILURE:
            told["error_details"] = {"error_code": "TRANSACTION_DECLINED", "error_description": "Invalid MPIN",
                                     "error_reason": "invalid_mpin", "error_source": "customer"}  # fmt: skip
        return told

    def _of_link(self, checkout: Record) -> Record:
        """The link, its amounts as texts, with the order that was paid if one was."""
        link, paid = self._link(checkout), self._paid(checkout)
        del link["link_qrcode"]
        link |= {
            "cf_link_id": checkout["number"],
            "link_amount": checkout["amount"],
            "link_amount_paid": paid["amount"] if paid else "0.00",
            "link_currency": paid["currency"] if paid else checkout["currency"],
            "link_id": checkout["reference"],
        }
        if paid is not None:
            link["order"] = {
                "order_amount": paid["amount"],
                "order_id": checkout["order"],
                "order_expiry_time": _indian(checkout["expires"]),
                "order_hash": self.code("", 20),
                "transaction_id": int(paid["id"]),  # assumed: the cf_payment_id of the payment's own events
                "transaction_status": "SUCCESS",
            }
        return link

    @staticmethod
    def _dispute(payment: Record) -> Record:
        dispute = payment["dispute"]
        return {
            "dispute_id": dispute["id"], "dispute_type": "CHARGEBACK", "reason_code": "4855",
            "reason_description": "Goods or Services Not Provided", "dispute_amount": exact(dispute["amount"]),
            "dispute_amount_currency": payment["currency"], "created_at": _indian(dispute["at"]),
            "updated_at": _indian(dispute["at"]), "respond_by": _indian(dispute["at"] + 7 * 86400),
            "dispute_status": "CHARGEBACK_CREATED", "cf_dispute_remarks": "",
        }  # fmt: skip

    # The customer's page

    def page_url(self, checkout: Record) -> str:
        return f"{self.home}/links/{checkout['code']}"

    def link_page(self, code: str) -> Response:
        checkout = self.by_name(f"code:{code}")
        if checkout is None:
            return self.trouble("404", "This link does not exist.", 404)
        self.pass_time()
        return self.shown(checkout)

    def returned(self, checkout: Record, outcome: str) -> Response:
        return see_other(checkout["return_url"]) if checkout["return_url"] else self.shown(checkout, outcome)


def exact(amount: str) -> Any:
    """A number with both its decimals, as the vendor writes them and few others would."""
    return orjson.Fragment(amount.encode())


def _indian(at: int) -> str:
    return stamp(at, "%Y-%m-%dT%H:%M:%S+05:30", IST)


def _time(text: object) -> int | None:
    """An ISO time with its zone, as seconds."""
    try:
        at = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return int(at.timestamp()) if at.tzinfo else None


def _yes(value: Any) -> Response:
    return Response(orjson.dumps(value), 200, content_type="application/json")


def _no(message: str, code: str, status: int = 400, kind: str = "invalid_request_error") -> Response:
    return Response(
        orjson.dumps({"message": message, "code": code, "type": kind}), status, content_type="application/json"
    )


def _missing(what: str) -> Response:
    return _no(f"{what} not found", f"{what}_not_found", 404)
