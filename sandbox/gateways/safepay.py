"""Safepay, its first API: a tracker made by a call, a page that learns whose order it is by its own address, events
whose proof is over their data alone.

Amounts are rupees, events' are texts of rupees. A payment that failed is told without its state and without the order;
one that nobody made in time is not told of at all.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import orjson
from flask import Response, g, request

from sandbox.answers import as_json, see_other, with_query
from sandbox.delivery import Outgoing, Policy
from sandbox.gateways.gateway import (
    CAPITALS,
    CENT,
    EXPIRED,
    FAILED,
    LATE,
    OPEN,
    PAID,
    PARTIALLY_REFUNDED,
    REFUNDED,
    Gateway,
    Rule,
    hexed,
    json_body,
    money_of,
    refunded,
    stamp,
    text_of,
)
from sandbox.world import Record

ENVIRONMENTS = ("sandbox", "production")
FORM = "%Y-%m-%dT%H:%M:%SZ"
LONGEST_REFERENCE = 60
FEE = Decimal("0.0328")  # as in the vendor's sample
LIVES = 86400  # assumed: how long a tracker can be paid
# STARTED and ENDED as public clients read them; the rest is assumed
STATES = {
    OPEN: "TRACKER_STARTED", FAILED: "TRACKER_STARTED", PAID: "TRACKER_ENDED", EXPIRED: "TRACKER_EXPIRED",
    REFUNDED: "TRACKER_REFUNDED", PARTIALLY_REFUNDED: "TRACKER_PARTIALLY_REFUNDED",
}  # fmt: skip


class Safepay(Gateway):
    name = "safepay"
    title = "Safepay"
    account = {
        "api_key": "sec_00000000-0000-4000-8000-000000005afe",
        "secret_key": "sandbox-safepay-secret",
        "webhook_secret": "sandbox-safepay-webhook",
    }
    secret = "webhook_secret"
    currencies = ("PKR", "USD")
    outcomes = (PAID, FAILED, EXPIRED, LATE, REFUNDED, PARTIALLY_REFUNDED)
    says = {
        PAID: ("payment:created",),
        FAILED: ("error:occurred",),
        # the refund's sample carries this type too, beside the documented refund:created
        REFUNDED: ("payment:created",),
        PARTIALLY_REFUNDED: ("payment:created",),
    }

    def policy(self) -> Policy:
        # assumed: that it tries for some time, as `delivery_attempts` and `next_attempt_at` let one think
        return Policy(self.name, 1, 10.0, range(200, 300), 5, self.world.settings.gateway_first_retry, 60.0)

    def api(self) -> Sequence[Rule]:
        return [("POST", "/order/v1/init", self.init), ("GET", "/order/v1/<token>", self.tracker)]

    def pages(self) -> Sequence[Rule]:
        return [("GET", "/checkout/pay", self.checkout_page), ("GET", "/components", self.checkout_page)]

    # The API

    def init(self) -> Response:
        stated = json_body()
        if stated is None:
            return _no("invalid request body")
        if stated.get("client") != self.account["api_key"]:
            return _no("could not find client", 401)  # assumed: the sentences and the statuses
        amount, currency = money_of(stated.get("amount")), stated.get("currency")
        if amount is None or isinstance(stated["amount"], str):
            return _no("amount must be a number greater than zero")
        if currency not in self.currencies:
            return _no("currency is not supported")
        if stated.get("environment") not in ENVIRONMENTS:
            return _no("environment must be sandbox or production")
        token = self.code("track_", 24, "0123456789abcdef")
        checkout = self.open(
            token, "", amount, currency, environment=stated["environment"], expires=self.now() + LIVES, source="",
            cancel_url="", tells=True,
        )  # fmt: skip
        g.what = f"tracker {token}"
        return _yes(self._tracker(checkout))

    def tracker(self, token: str) -> Response:
        self.pass_time()
        checkout = self.checkout(token)
        return _no("tracker not found", 404) if checkout is None else _yes(self._tracker(checkout))

    def _tracker(self, checkout: Record) -> Record:
        payment = self.payment(checkout)
        taken = payment if payment and payment["state"] == PAID else None
        amount = Decimal((taken or checkout)["amount"])
        return {
            "token": checkout["id"],
            "created_at": stamp(checkout["created"], FORM),
            "updated_at": stamp(checkout["changed"], FORM),
            "user": "",
            "billing": "",
            "client": self.account["api_key"],
            "environment": checkout["environment"],
            "state": STATES[checkout["state"]],
            "state_reason": "",
            "amount": orjson.Fragment(rupees(amount).encode()),
            "currency": (taken or checkout)["currency"],
            "default_currency": "PKR",
            "conversion_rate": 1,
        }

    # The customer's page

    def checkout_page(self) -> Response:
        asked = {name: value for name, value in request.args.items() if len(value) <= 2000}
        checkout = self.checkout(asked.get("beacon"))
        if checkout is None:
            return self.trouble("404", "This checkout does not exist.", 404)
        self.pass_time()
        with self.world.lock:
            reference = asked.get("order_id", "")[:LONGEST_REFERENCE]
            if reference and not checkout["reference"]:
                checkout["reference"] = reference
                self.known_as(checkout, f"reference:{reference}")
            checkout["source"] = asked.get("source", "custom")[:LONGEST_REFERENCE]
            checkout["return_url"], checkout["cancel_url"] = _url(asked, "redirect_url"), _url(asked, "cancel_url")
            checkout["tells"] = asked.get("webhooks") != "false"  # assumed: that events come unless declined
            self._checkouts.touch(f"{self.name}:{checkout['id']}")
        return self.shown(checkout)

    def returned(self, checkout: Record, outcome: str) -> Response:
        """Back with a proof of the tracker, and of nothing else; or to where one goes who gives up."""
        if outcome != PAID:
            return see_other(checkout["cancel_url"]) if checkout["cancel_url"] else self.shown(checkout, outcome)
        if not checkout["return_url"]:
            return self.shown(checkout, outcome)
        sig = hexed(self.account["secret_key"].encode(), checkout["id"].encode())
        url = with_query(checkout["return_url"], order_id=checkout["reference"], tracker=checkout["id"], sig=sig)
        return see_other(url)

    def new_payment(self) -> Record:
        return {"id": self.code("", 20, CAPITALS)}

    def another_id(self, checkout: Record) -> str:
        return self.code("track_", 24, "0123456789abcdef")

    # Events

    def addresses(self, checkout: Record, told: Sequence[str]) -> Sequence[str]:
        return told if checkout["tells"] else ()

    def pushed(self, checkout: Record, event: str, address: str, forged: bool) -> Outgoing:
        at = stamp(checkout["changed"], FORM)
        data = {
            "token": self.code("", 20, CAPITALS),
            "client_id": self.account["api_key"],
            "type": event,
            "endpoint": address,
            "notification": self._notification(checkout, event),
            "delivery_attempts": 1,
            "resource": "notification",
            "next_attempt_at": at,
            "created_at": at,
        }
        signed = orjson.dumps(data)  # as JSON.stringify writes it: no spaces, letters and slashes as they are
        headers = [
            ("Content-Type", "application/json"),
            ("X-SFPY-Signature", hexed(self.key(forged), signed, "sha512")),
        ]
        return Outgoing(address, headers, orjson.dumps({"data": data}), f"{event} of {checkout['reference']}")

    def _notification(self, checkout: Record, event: str) -> Record:
        payment = self.payment(checkout)
        assert payment is not None
        told: dict[str, Any] = {"tracker": checkout["id"], "intent": "PAYFAST"}
        if event == "error:occurred":
            return told | {"message": "55 : Incorrect OTP"}
        amount, back = Decimal(payment["amount"]), refunded(payment)
        if back:
            state = "REFUNDED" if back >= amount else "PARTIALLY REFUNDED"
            of_this = Decimal(payment["refunds"][-1]["amount"])
            money = {"amount": rupees(of_this), "balance": rupees(amount - back)}
        else:
            fee = (amount * FEE).quantize(CENT)
            state, money = "PAID", {"amount": rupees(amount), "fee": str(fee), "net": str(amount - fee)}
        return {
            **told,
            "user": "customer@example.test",
            "state": state,
            **money,
            "currency": payment["currency"],
            "metadata": {"order_id": checkout["reference"], "source": checkout["source"]},
        }


def rupees(amount: Decimal) -> str:
    """150 and 150.5, as its samples have them."""
    text = f"{amount:.2f}"
    return re.sub(r"\.?0+$", "", text)


def _url(asked: Record, name: str) -> str:
    url = text_of(asked.get(name))
    return url if url.startswith(("http://", "https://")) else ""


def _yes(data: Record) -> Response:
    return as_json({"data": data, "status": {"errors": [], "message": "success"}})


def _no(error: str, status: int = 400) -> Response:
    return as_json({"data": None, "status": {"errors": [error], "message": "error"}}, status)
