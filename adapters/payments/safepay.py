"""Safepay, Pakistan: a hosted page for cards and wallets, signed webhooks in two generations.

A checkout is a tracker, and the tracker is all that every message names: it is the payment. Making one tells nobody
its address, so one whose answer was lost is simply made again. Version 1 speaks in rupees, and its events say what
happened in `notification.state`, whatever their type; version 2 is flat and speaks in paisa.

Version 1 is signed over its `data` as JavaScript writes it again: no blanks, nothing escaped that need not be. Numbers
are kept as they were written. That version 2 is signed over the raw body is an assumption; so is that a tracker is
asked for at /order/v1/<tracker> and answers like a notification, its amount in rupees (seen in clients).

Of a refund only its own amount is told: of several in part of one payment the largest is known here.
"""

from __future__ import annotations

import hmac
import json
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

import orjson

from integration.errors import NotUnderstood, TransientError
from integration.events import Fact, PaymentChanged
from integration.ports import Account, AdapterConfig, Checkout, Field, PaymentAsked, WebhookRequest
from integration.settings import Setting, url, words
from integration.values import Money

from .. import bookings, gateways, http, signing
from ..gateways import said
from ..scans import PAKISTAN


class Safepay:
    """See integration.ports.PaymentAdapter."""

    name = "safepay"
    label = "Safepay"
    regions = ("PK",)
    website = "https://getsafepay.pk"
    credentials = (
        Field("api_key", "API key", "Dashboard > Developers: it begins with sec_", secret=False),
        Field("secret_key", "Secret key", "Dashboard > Developers"),
        Field(
            "webhook_secret",
            "Webhook secret",
            "Dashboard > Developers > Endpoints. While you change it, give the new one and the old one, separated by "
            "a comma.",
        ),
    )
    settings = (
        Setting("SAFEPAY_URL", "Safepay's API", "https://api.getsafepay.com", url),
        Setting("SAFEPAY_CHECKOUT_URL", "Safepay's payment page", "https://getsafepay.com", url),
        Setting("SAFEPAY_ENVIRONMENT", "production or sandbox: which of Safepay's worlds both belong to", "production"),
    )
    authenticates_by = "signature"
    handles = frozenset(
        {
            "payment:created", "refund:created", "error:occurred",
            "payment.succeeded", "payment.failed", "payment.refunded", "authorization.reversed", "void.succeeded",
            "inquiry",
        }
    )  # fmt: skip
    """`inquiry` is an answer to a question of ours."""
    ignores: frozenset[str] = frozenset()
    keeps = ()
    known_as = ("safepay checkout", "pay with safepay")
    currencies = ("PKR", "USD", "GBP", "AED", "EUR", "CAD", "SAR")
    shortest = timedelta(minutes=5)
    longest = timedelta(days=7)
    """Both ours: Safepay says of no tracker how long it lives."""
    merchant_field = "api_key"
    webhook_help = "Dashboard > Developers > Endpoints: enter it for payments, refunds and errors."

    statuses: dict[str, str] = {
        "PAID": "paid", "REFUNDED": "refunded", "PARTIALLY REFUNDED": "refunded",
        "error:occurred": "failed",
        "payment.succeeded": "paid", "payment.failed": "failed", "payment.refunded": "refunded",
        "authorization.reversed": "failed", "void.succeeded": "refunded",
        "TRACKER_STARTED": "pending", "TRACKER_ENDED": "paid",
    }  # fmt: skip
    """States of version 1, types of events, and states of a tracker that was asked for (seen in clients)."""

    def __init__(self, config: AdapterConfig) -> None:
        self._url: str = config.settings["SAFEPAY_URL"]
        self._page: str = config.settings["SAFEPAY_CHECKOUT_URL"]
        self._environment: str = config.settings["SAFEPAY_ENVIRONMENT"]

    # -- asking --------------------------------------------------------------------------------------------------------

    def checkout(self, account: Account, asked: PaymentAsked) -> Checkout:
        response = http.read(
            "POST",
            f"{self._url}/order/v1/init",
            json={
                "client": account.credentials["api_key"],
                "amount": orjson.Fragment(format(asked.amount.amount, "f")),
                "currency": asked.amount.currency,
                "environment": self._environment,
            },
        )
        made = bookings.answer(
            response, self, account, "open a checkout", _verdict, private=gateways.whose(asked), unsure=TransientError
        )
        tracker = said(gateways.part(made, "data").get("token"))
        query = {
            "env": self._environment,
            "beacon": tracker,
            "source": "custom",
            "order_id": asked.reference,
            "redirect_url": asked.return_url,
            "cancel_url": asked.return_url,
            "webhooks": "true",
        }
        return Checkout(url=f"{self._page}/checkout/pay?{urlencode(query)}", gateway_id=tracker)

    def inquire(self, account: Account, reference: str, gateway_id: str) -> WebhookRequest | None:
        """A tracker knows no reference of ours, so without its name there is nothing to ask for."""
        if not gateway_id:
            return None
        response = http.read(
            "GET",
            f"{self._url}/order/v1/{quote(gateway_id, safe='')}",
            headers={"X-SFPY-MERCHANT-SECRET": account.credentials["secret_key"]},
        )
        return http.told(response, self.label)

    # -- hearing -------------------------------------------------------------------------------------------------------

    def verify(self, request: WebhookRequest, account: Account | None) -> None:
        """Hex HMAC-SHA512, with any live webhook secret. Only version 1, all of which is in its `data`, may be signed
        over that.
        """
        secrets = words(account.credentials.get("webhook_secret", "")) if account is not None else ()
        signed = [text for text in (request.body, _rewritten(request.body)) if text]
        expected = [hmac.digest(secret.encode(), text, "sha512").hex() for secret in secrets for text in signed]
        signing.require(request.header("x-sfpy-signature").lower(), expected)

    def delivery_key(self, request: WebhookRequest) -> str:
        """A notification's own id, for each delivery of it says how many there were."""
        try:
            body = gateways.body_of(request)
        except NotUnderstood:
            return signing.body_hash(request.body)
        told = _notified(body) or body
        marks = said(told.get("type")), said(told.get("token"))
        return signing.body_hash(*marks) if all(marks) else signing.body_hash(request.body)

    def parse(self, request: WebhookRequest) -> list[Fact]:
        body = gateways.body_of(request)
        told, data = _notified(body), gateways.part(body, "data")
        event = said((told or body).get("type"))
        if not told and not event and "state" in data:  # an answer
            amount = gateways.money(data.get("amount"), data.get("currency"))
            at = gateways.stamp(data.get("updated_at") or data.get("created_at"), PAKISTAN)
            return [self._fact(data.get("token"), data.get("state"), amount, data, "", at)]
        if event not in self.handles or (":" in event) != bool(told):
            raise NotUnderstood(f"an event of Safepay's that is not known: {event[:40]!r}")
        if told:
            return [self._of_notification(told, event)]
        at = gateways.moment(gateways.part(body, "created_at").get("seconds"))
        whole = event in ("payment.succeeded", "payment.refunded")
        paid = gateways.minor_money(data.get("amount"), data.get("currency")) if whole else None
        return [self._fact(data.get("tracker"), event, paid, data, "", at)]

    def _of_notification(self, told: dict[str, Any], event: str) -> Fact:
        """Version 1. What is refunded whole is all of it, whatever the last part was."""
        note = gateways.part(told, "notification")
        word = note.get("state") or event
        stated = said(word) in ("PAID", "PARTIALLY REFUNDED")
        amount = gateways.money(note.get("amount"), note.get("currency")) if stated else None
        at = gateways.stamp(told.get("created_at"), PAKISTAN)
        return self._fact(note.get("tracker"), word, amount, note, said(told.get("client_id")), at)

    def _fact(
        self, tracker: Any, word: Any, amount: Money | None, told: dict[str, Any], merchant: str, at: datetime
    ) -> Fact:
        if not (named := said(tracker)):
            raise NotUnderstood("a payment without its tracker")
        return PaymentChanged(
            order_ref=said(gateways.part(told, "metadata").get("order_id")),
            attempt_ref=named,
            status=gateways.meaning(self.statuses, word),
            raw_status=said(word),
            amount=amount,
            checkout_ref=named,
            merchant=merchant,
            occurred_at=at,
        )


def _notified(body: dict[str, Any]) -> dict[str, Any]:
    """A notification of version 1; empty where this is none."""
    data = gateways.part(body, "data")
    return data if gateways.part(data, "notification") else {}


def _rewritten(raw: bytes) -> bytes:
    """The `data` of a notification of version 1 as it was signed; empty where this is none."""
    try:
        body = json.loads(raw, parse_int=orjson.Fragment, parse_float=orjson.Fragment)
        return orjson.dumps(_notified(body)) if isinstance(body, dict) and _notified(body) else b""
    except (ValueError, TypeError, RecursionError):
        return b""


def _verdict(found: dict[str, Any]) -> bookings.No | bool:
    if said(gateways.part(found, "data").get("token")):
        return True
    errors = gateways.part(found, "status").get("errors")
    return bookings.No(errors) if errors else False


ADAPTER = Safepay
