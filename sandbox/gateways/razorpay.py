"""Razorpay's Payment Links: JSON, amounts in paise, basic auth, a reference that is taken once and for ever.

One payment is told of by several events (the payment's, its order's, the link's), in no order that anybody may rely on.
A failed attempt leaves the link open, and may turn out paid after all under its own id (UPI). Links that nobody pays
in time expire by themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import orjson
from flask import Response, g, request

from sandbox.answers import as_json, see_other, with_query
from sandbox.delivery import Outgoing, Policy
from sandbox.gateways.gateway import (
    CANCELLED,
    DISPUTED,
    EXPIRED,
    FAILED,
    OPEN,
    PAID,
    PARTIALLY_REFUNDED,
    REFUNDED,
    Gateway,
    Rule,
    hexed,
    json_body,
    minor,
    part_of,
    refunded,
    text_of,
)
from sandbox.world import Record

ACCOUNT_ID = "acc_SandboxTraders"
SOONEST, LATEST = 15 * 60, 183 * 86400  # how far ahead expire_by may be, in seconds; six months at most
LONGEST_REFERENCE, MOST_NOTES, LONGEST_NOTE, LONGEST_DESCRIPTION = 40, 15, 256, 2048
FIELDS = frozenset(
    {"amount", "currency", "accept_partial", "first_min_partial_amount", "expire_by", "reference_id", "description",
     "customer", "notify", "reminder_enable", "notes", "callback_url", "callback_method", "upi_link", "options"}
)  # fmt: skip
STATUS = {OPEN: "created", FAILED: "created", EXPIRED: "expired", CANCELLED: "cancelled"}  # else paid


class Razorpay(Gateway):
    name = "razorpay"
    title = "Razorpay"
    account = {
        "key_id": "rzp_test_SandboxKeyId01",
        "key_secret": "sandbox-razorpay-secret",
        "webhook_secret": "sandbox-razorpay-webhook",
    }
    secret = "webhook_secret"
    currencies = ("INR", "PKR", "USD", "AED", "EUR", "GBP")
    says = {
        PAID: ("payment.authorized", "payment.captured", "order.paid", "payment_link.paid"),
        FAILED: ("payment.failed",),
        EXPIRED: ("payment_link.expired",),
        CANCELLED: ("payment_link.cancelled",),
        REFUNDED: ("refund.created", "refund.processed"),
        PARTIALLY_REFUNDED: ("refund.created", "refund.processed"),
        DISPUTED: ("payment.dispute.created",),
    }

    def policy(self) -> Policy:
        # real: 5 s to answer, then again and again for a day, after which the webhook is switched off
        return Policy(self.name, 2, 5.0, range(200, 300), 8, self.world.settings.gateway_first_retry, 60.0)

    def api(self) -> Sequence[Rule]:
        return [
            ("POST", "/v1/payment_links", self.create),
            ("POST", "/v1/payment_links/", self.create),
            ("GET", "/v1/payment_links", self.find),
            ("GET", "/v1/payment_links/", self.find),
            ("GET", "/v1/payment_links/<id>", self.fetch),
            ("POST", "/v1/payment_links/<id>/cancel", self.cancel),
            ("GET", "/v1/payments/<id>", self.fetch_payment),
            ("GET", "/v1/payments/<id>/refunds", self.fetch_refunds),
        ]

    def pages(self) -> Sequence[Rule]:
        return [("GET", "/i/<code>", self.short)]

    # The API

    def _refused(self) -> Response | None:
        given = request.authorization
        wanted = (self.account["key_id"], self.account["key_secret"])
        if given is not None and given.type == "basic" and (given.username, given.password) == wanted:
            self.pass_time()
            return None
        return _no("Authentication failed", status=401)

    def create(self) -> Response:
        refused = self._refused()
        if refused is not None:
            return refused
        stated = json_body()
        if stated is None:
            return _no("The request body is not valid JSON.")  # assumed
        fault = self._fault(stated)
        if fault is not None:
            return fault
        amount, customer = Decimal(stated["amount"]) / 100, part_of(stated, "customer")
        id = self.code("plink_", 14)
        checkout = self.open(
            id,
            text_of(stated.get("reference_id")),
            amount,
            stated.get("currency", "INR"),
            description=text_of(stated.get("description")),
            customer={name: text_of(customer.get(name)) for name in ("name", "contact", "email")},
            return_url=text_of(stated.get("callback_url")),
            expires=stated.get("expire_by") or self.now() + LATEST,
            notes=stated.get("notes") or None,
            expire_by=stated.get("expire_by") or 0,
            notify={"sms": False, "email": False} | part_of(stated, "notify"),
            reminder_enable=bool(stated.get("reminder_enable", False)),
            code=self.code("", 7),
            order=self.code("", 14),
        )
        self.known_as(checkout, f"code:{checkout['code']}")
        g.what = f"payment link {id} for {checkout['reference'] or 'no reference'}"
        return as_json(self._link(checkout))

    def _fault(self, stated: Record) -> Response | None:
        extra = sorted(set(stated) - FIELDS)
        if extra:
            return _no(f"{', '.join(extra)} is/are not required and should not be sent", field=extra[0])
        amount, expires, reference = stated.get("amount"), stated.get("expire_by"), stated.get("reference_id", "")
        notes, callback = stated.get("notes") or {}, stated.get("callback_url")
        if isinstance(amount, bool) or not isinstance(amount, int):
            return _no("The amount must be an integer.", field="amount")
        if amount < 100:
            return _no("amount: amount should be minimum 1.00 for INR", field="amount")
        if stated.get("currency", "INR") not in self.currencies:
            return _no("The currency is not supported.", field="currency")  # assumed
        if expires is not None and (isinstance(expires, bool) or not isinstance(expires, int)):
            return _no("expire_by must be a valid timestamp", field="expire_by")  # assumed
        if expires is not None and not SOONEST <= expires - self.now() <= LATEST:
            sentence = "expire_by should be at least 15 minutes after current time and at most six months"  # assumed
            return _no(sentence, field="expire_by")
        if not isinstance(reference, str) or len(reference) > LONGEST_REFERENCE:
            return _no("The reference id may not be greater than 40 characters.", field="reference_id")
        if len(text_of(stated.get("description"))) > LONGEST_DESCRIPTION:
            return _no("The description may not be greater than 2048 characters.", field="description")
        if not isinstance(notes, dict) or len(notes) > MOST_NOTES:
            return _no("The notes may not have more than 15 pairs.", field="notes")
        if any(len(str(value)) > LONGEST_NOTE for value in notes.values()):
            return _no("A note may not be greater than 256 characters.", field="notes")
        if callback is not None and not text_of(callback).startswith(("http://", "https://")):
            return _no("The callback url format is invalid.", field="callback_url")
        if callback is not None and stated.get("callback_method") != "get":
            return _no("callback_method is invalid", field="callback_method")
        if reference and self.by_reference(reference):
            return _no(
                f"payment link with given reference_id: {reference} already exists. "
                "Please create a payment link with a different reference_id"
            )
        return None

    def find(self) -> Response:
        """All links, or the one with a reference."""
        refused = self._refused()
        if refused is not None:
            return refused
        reference, payment = request.args.get("reference_id"), request.args.get("payment_id")
        found = self.all()[::-1]
        if reference is not None:
            found = [checkout for checkout in found if checkout["reference"] == reference]
        if payment is not None:
            found = [checkout for checkout in found if any(one["id"] == payment for one in checkout["payments"])]
        return as_json({"payment_links": [self._link(checkout) for checkout in found]})

    def fetch(self, id: str) -> Response:
        refused = self._refused()
        if refused is not None:
            return refused
        checkout = self.checkout(id)
        return _no("The id provided does not exist") if checkout is None else as_json(self._link(checkout))

    def cancel(self, id: str) -> Response:
        refused = self._refused()
        if refused is not None:
            return refused
        checkout = self.checkout(id)
        if checkout is None:
            return _no("The id provided does not exist")
        if checkout["state"] != OPEN:
            status = STATUS.get(checkout["state"], "paid")
            return _no(f"Payment Link cannot be cancelled as it is in {status} state")  # assumed: the sentence
        g.what = f"cancelling {id}"
        self.happen(checkout, CANCELLED)
        return as_json(self._link(checkout))

    def fetch_payment(self, id: str) -> Response:
        refused = self._refused()
        if refused is not None:
            return refused
        found = self._paid(id)
        return _no("The id provided does not exist") if found is None else as_json(self._payment(*found))

    def fetch_refunds(self, id: str) -> Response:
        refused = self._refused()
        if refused is not None:
            return refused
        found = self._paid(id)
        if found is None:
            return _no("The id provided does not exist")
        items = [self._refund(found[1], refund) for refund in found[1]["refunds"]]
        return as_json({"entity": "collection", "count": len(items), "items": items})

    def _paid(self, id: str) -> tuple[Record, Record] | None:
        checkout = self.by_name(f"payment:{id}")
        payment = next((one for one in checkout["payments"] if one["id"] == id), None) if checkout else None
        return (checkout, payment) if checkout and payment else None

    # What it says of things

    def _link(self, checkout: Record) -> Record:
        payment = self.payment(checkout)
        taken = payment if payment and payment["state"] == PAID else None
        status = STATUS.get(checkout["state"], "paid")
        return {
            "accept_partial": False,
            "amount": minor(checkout["amount"]),
            "amount_paid": minor(taken["amount"]) if taken else 0,
            "callback_method": "get" if checkout["return_url"] else "",
            "callback_url": checkout["return_url"],
            "cancelled_at": checkout["changed"] if status == "cancelled" else 0,
            "created_at": checkout["created"],
            "currency": taken["currency"] if taken else checkout["currency"],
            "customer": checkout["customer"],
            "description": checkout["description"],
            "expire_by": checkout["expire_by"],
            "expired_at": checkout["changed"] if status == "expired" else 0,
            "first_min_partial_amount": 0,
            "id": checkout["id"],
            "notes": checkout["notes"],
            "notify": checkout["notify"],
            **({"order_id": f"order_{checkout['order']}"} if payment else {}),
            "payments": [self._listed(checkout, taken)] if taken else None,  # those that were captured, and no others
            "reference_id": checkout["reference"],
            "reminder_enable": checkout["reminder_enable"],
            "reminders": [],
            "short_url": f"{self.home}/i/{checkout['code']}",
            "status": status,
            "updated_at": checkout["changed"],
            "upi_link": False,
            "user_id": "",
            "whatsapp_link": False,
        }

    @staticmethod
    def _listed(checkout: Record, payment: Record) -> Record:
        return {
            "amount": minor(payment["amount"]), "created_at": payment["at"], "method": "upi",
            "payment_id": payment["id"], "plink_id": checkout["id"], "status": "captured",
            "updated_at": payment["at"],
        }  # fmt: skip

    def _payment(self, checkout: Record, payment: Record, status: str = "") -> Record:
        back, failed = refunded(payment), payment["state"] == FAILED
        whole = back >= Decimal(payment["amount"])
        status = status or ("failed" if failed else "refunded" if back and whole else "captured")
        contact = checkout["customer"].get("contact") or "+919876543210"
        return {
            "id": payment["id"],
            "entity": "payment",
            "amount": minor(payment["amount"]),
            "currency": payment["currency"],
            "status": status,
            "order_id": f"order_{checkout['order']}",
            "invoice_id": None,
            "international": False,
            "method": "upi",
            "amount_refunded": minor(back),
            "refund_status": ("full" if whole else "partial") if back else None,
            "captured": status in ("captured", "refunded"),
            "description": f"#{checkout['id'].removeprefix('plink_')}",
            "card_id": None,
            "bank": None,
            "wallet": None,
            "vpa": "customer@upi",
            "email": checkout["customer"].get("email") or "void@razorpay.com",
            "contact": contact,
            "notes": checkout["notes"] or [],  # an empty list, where others have an empty object
            "fee": None if failed else minor(payment["amount"]) // 50,
            "tax": None if failed else 0,
            "error_code": "BAD_REQUEST_ERROR" if failed else None,
            "error_description": "Payment was unsuccessful as the bank did not answer in time." if failed else None,
            "error_source": "customer" if failed else None,
            "error_step": "payment_authentication" if failed else None,
            "error_reason": "payment_timed_out" if failed else None,
            "acquirer_data": {"rrn": payment["rrn"]},
            "created_at": payment["at"],
        }

    @staticmethod
    def _order(checkout: Record, payment: Record, id: str) -> Record:
        return {
            "id": id, "entity": "order", "amount": minor(payment["amount"]),
            "amount_paid": minor(payment["amount"]), "amount_due": 0, "currency": payment["currency"],
            "receipt": checkout["reference"], "offer_id": None, "status": "paid",
            "attempts": len(checkout["payments"]), "notes": checkout["notes"] or [],
            "created_at": checkout["created"],
        }  # fmt: skip

    @staticmethod
    def _refund(payment: Record, refund: Record) -> Record:
        return {
            "id": f"rfnd_{refund['id']}", "entity": "refund", "amount": minor(refund["amount"]),
            "currency": payment["currency"], "payment_id": payment["id"], "notes": [], "receipt": None,
            "acquirer_data": {"rrn": None}, "created_at": refund["at"], "batch_id": None, "status": "processed",
            "speed_processed": "normal", "speed_requested": "normal",
        }  # fmt: skip

    def new_payment(self) -> Record:
        return {"id": self.code("pay_", 14), "rrn": self.code("", 12, "123456789")}

    def another_id(self, checkout: Record) -> str:
        return self.code("plink_", 14)

    # Events

    def pushed(self, checkout: Record, event: str, address: str, forged: bool) -> Outgoing:
        payload = {name: {"entity": entity} for name, entity in self._told(checkout, event).items()}
        body = orjson.dumps(
            {
                "entity": "event",
                "account_id": ACCOUNT_ID,
                "event": event,
                "contains": list(payload),
                "payload": payload,
                "created_at": checkout["changed"],
            }
        )
        headers = [
            ("Content-Type", "application/json"),
            ("User-Agent", "Razorpay-Webhook/v1"),
            ("X-Razorpay-Event-Id", self.code("", 14)),
            ("X-Razorpay-Signature", hexed(self.key(forged), body)),
        ]
        return Outgoing(address, headers, body, f"{event} of {checkout['reference']}")

    def _told(self, checkout: Record, event: str) -> dict[str, Any]:
        payment = self.payment(checkout)
        if event.startswith("payment_link.") and (payment is None or event != "payment_link.paid"):
            return {"payment_link": self._link(checkout)}
        assert payment is not None
        if event == "payment_link.paid":
            # the order's id without its prefix, as in the samples; the payment's order_id has it
            order = self._order(checkout, payment, checkout["order"])
            return {"payment_link": self._link(checkout), "order": order,
                    "payment": self._payment(checkout, payment)}  # fmt: skip
        if event == "order.paid":
            order = self._order(checkout, payment, f"order_{checkout['order']}")
            return {"payment": self._payment(checkout, payment), "order": order}
        if event.startswith("refund."):
            return {"refund": self._refund(payment, payment["refunds"][-1]),
                    "payment": self._payment(checkout, payment)}  # fmt: skip
        if event.startswith("payment.dispute."):
            return {"payment": self._payment(checkout, payment), "dispute": self._dispute(payment)}
        if event == "payment.authorized":
            return {"payment": self._payment(checkout, payment, "authorized")}
        return {"payment": self._payment(checkout, payment)}

    @staticmethod
    def _dispute(payment: Record) -> Record:
        dispute = payment["dispute"]
        return {
            "id": f"disp_{dispute['id']}", "entity": "dispute", "payment_id": payment["id"],
            "amount": minor(dispute["amount"]), "currency": payment["currency"], "amount_deducted": 0,
            "reason_code": "goods_or_services_not_received_or_partially_received",
            "respond_by": dispute["at"] + 7 * 86400, "status": "open", "phase": "chargeback",
            "created_at": dispute["at"],
        }  # fmt: skip

    # The customer's page

    def page_url(self, checkout: Record) -> str:
        return f"{self.home}/i/{checkout['code']}"

    def short(self, code: str) -> Response:
        checkout = self.by_name(f"code:{code}")
        if checkout is None:
            return self.trouble("404", "There is nothing to pay here.", 404)
        self.pass_time()
        return self.shown(checkout)

    def returned(self, checkout: Record, outcome: str) -> Response:
        """Only whoever has paid is sent back; others stay, and may try again."""
        payment = self.payment(checkout)
        if outcome != PAID or not checkout["return_url"] or payment is None:
            return self.shown(checkout, outcome)
        text = f"{checkout['id']}|{checkout['reference']}|paid|{payment['id']}"
        return see_other(
            with_query(
                checkout["return_url"],
                razorpay_payment_id=payment["id"],
                razorpay_payment_link_id=checkout["id"],
                razorpay_payment_link_reference_id=checkout["reference"],
                razorpay_payment_link_status="paid",
                razorpay_signature=hexed(self.account["key_secret"].encode(), text.encode()),
            )
        )


def _no(description: str, *, field: str | None = None, status: int = 400) -> Response:
    error: Record = {"code": "BAD_REQUEST_ERROR", "description": description}
    if status == 400:
        error |= {"source": "business", "step": "payment_initiation", "reason": "input_validation_failed",
                  "metadata": {}, "field": field}  # fmt: skip
    return as_json({"error": error}, status)
