"""Razorpay, India: Payment Links that we send ourselves, signed webhooks, amounts in paise.

Webhooks come unordered and more than once, `payment.failed` may come before the `payment.captured` of the same payment
(a retry in the customer's UPI app), and only what is captured is money. Notes of a link are repeated by its payments,
whose description is "#" and the link's id (seen in samples): that is how a payment, a refund or a dispute is known to
be of a link of ours. Payments of the shop's own checkout are told here too and mean nothing to us.

A link lists its captured payments when it is asked for by id; when links are listed it does not. The time of an event
about a link is that of the link's making, so the latest stamp in it is taken.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import orjson

from integration.errors import NotUnderstood, OutcomeUnknown, PermanentError, TransientError
from integration.events import Fact, PaymentChanged
from integration.ports import Account, AdapterConfig, Checkout, Field, PaymentAsked, WebhookRequest
from integration.settings import Setting, url, words
from integration.values import Money

from .. import bookings, gateways, http, scans, signing
from ..gateways import NOTE, said


class Razorpay:
    """See integration.ports.PaymentAdapter, FindsCheckouts and Withdraws."""

    name = "razorpay"
    label = "Razorpay"
    regions = ("IN", "MY", "SG")
    website = "https://razorpay.com"
    credentials = (
        Field("key_id", "Key id", "Account & Settings > API keys", secret=False),
        Field("key_secret", "Key secret", "Shown once, when the key is made"),
        Field(
            "webhook_secret",
            "Webhook secret",
            "What you enter at Razorpay under Webhooks. While you change it, give the new one and the old one, "
            "separated by a comma: what is told again is still signed with the old one.",
        ),
        Field(
            "account_id",
            "Merchant id",
            "acc_ and the id at the top right of the dashboard: what was paid to another account is then not taken",
            secret=False,
            optional=True,
        ),
    )
    settings = (Setting("RAZORPAY_URL", "Razorpay's API", "https://api.razorpay.com/v1", url),)
    authenticates_by = "signature"
    handles = frozenset(
        {
            "payment_link.paid", "payment_link.partially_paid", "payment_link.cancelled", "payment_link.expired",
            "payment.authorized", "payment.captured", "payment.failed", "order.paid",
            "refund.created", "refund.processed", "refund.failed",
            "payment.dispute.created", "payment.dispute.under_review", "payment.dispute.action_required",
            "payment.dispute.won", "payment.dispute.lost", "payment.dispute.closed",
            "inquiry",
        }
    )  # fmt: skip
    """`inquiry` is an answer to a question of ours."""
    ignores = frozenset(
        {
            "refund.speed_changed", "payment.downtime.started", "payment.downtime.updated",
            "payment.downtime.resolved", "settlement.processed", "order.notification.delivered",
            "order.notification.failed", "invoice.paid", "invoice.partially_paid", "invoice.expired",
        }
    )  # fmt: skip
    keeps = ("x-razorpay-event-id",)
    known_as = ("razorpay secure", "razorpay secure (upi, cards, wallets, netbanking)", "razorpay magic checkout")
    currencies: tuple[str, ...] = ()
    shortest = timedelta(minutes=16)
    """Razorpay wants 15, counted from when it reads the request."""
    longest = timedelta(days=180)
    merchant_field = "account_id"
    webhook_help = (
        "Account & Settings > Webhooks > Add new webhook. Choose the events of payment_link, payment, payment.dispute, "
        "order.paid and refund, and make up a secret, which you enter here too."
    )

    statuses: dict[str, str] = {
        "created": "pending", "authorized": "pending", "captured": "paid", "failed": "failed", "refunded": "refunded",
        "paid": "paid", "partially_paid": "paid", "cancelled": "cancelled", "expired": "expired",
    }  # fmt: skip
    """Of payments and of links, which share no word that differs in meaning."""
    refunds: dict[str, str] = {"processed": "refunded", "pending": "", "failed": ""}
    """Of refunds. One that is under way or came to nothing moves no money."""
    disputes: dict[str, str] = {
        "open": "disputed", "under_review": "disputed", "lost": "disputed", "won": "", "closed": "",
    }  # fmt: skip
    """Of disputes. What is decided for the merchant says nothing new of the money."""

    def __init__(self, config: AdapterConfig) -> None:
        self._url: str = config.settings["RAZORPAY_URL"]

    # -- asking --------------------------------------------------------------------------------------------------------

    def checkout(self, account: Account, asked: PaymentAsked) -> Checkout:
        customer = {"name": asked.name, "contact": asked.phone, "email": asked.email}
        link = self._changed(
            account,
            "payment_links",
            "make a payment link",
            {
                "amount": gateways.minor_units(asked.amount, self.label),
                "currency": asked.amount.currency,
                "accept_partial": False,
                "reference_id": asked.reference,
                "description": bookings.cut(f"{asked.store_name}: {asked.order_name}", 190),
                "customer": {name: value for name, value in customer.items() if value},
                "notify": {"sms": False, "email": False},
                "reminder_enable": False,
                "expire_by": int(asked.expires_at.timestamp()),
                "notes": {NOTE: asked.reference},
                "callback_url": asked.return_url,
                "callback_method": "get",
            },
            private=gateways.whose(asked),
        )
        if (opened := _checkout(link)) is None:
            raise OutcomeUnknown("Razorpay said yes to a payment link and gave no address of it")
        return opened

    def inquire(self, account: Account, reference: str, gateway_id: str) -> WebhookRequest | None:
        """One link with its payments: those it lists, else those of the order beneath it."""
        gateway_id = gateway_id or said((self._search(account, reference) or {}).get("id"))
        told = self._told(account, f"payment_links/{quote(gateway_id, safe='')}") if gateway_id else None
        link = gateways.part(orjson.loads(told.body)) if told is not None else {}
        beneath = said(link.get("order_id"))
        if link.get("status") not in ("paid", "partially_paid") or link.get("payments") or not beneath:
            return told
        order = self._told(account, f"orders/{quote(beneath, safe='')}/payments")
        items = gateways.part(orjson.loads(order.body)).get("items") if order is not None else []
        return WebhookRequest({}, orjson.dumps(link | {"payments": items}))

    def find_checkout(self, account: Account, reference: str) -> Checkout | None:
        return _checkout(self._search(account, reference) or {})

    def withdraw(self, account: Account, reference: str, gateway_id: str) -> None:
        """Razorpay cancels only what nobody paid for yet; why it will not, it says in a sentence. So it is asked."""
        gateway_id = gateway_id or said((self._search(account, reference) or {}).get("id"))
        if not gateway_id:
            return
        path = f"payment_links/{quote(gateway_id, safe='')}"
        try:
            self._changed(account, f"{path}/cancel", "cancel a payment link")
        except PermanentError:
            told = self._told(account, path)
            if told is not None and gateways.part(orjson.loads(told.body)).get("status") == "created":
                raise

    def _search(self, account: Account, reference: str) -> dict[str, Any] | None:
        """The link under a reference of ours, without its payments. Raises TransientError rather than to say none."""
        told = self._told(account, "payment_links", {"reference_id": reference})
        links = gateways.part(orjson.loads(told.body)).get("payment_links") if told is not None else None
        if not isinstance(links, list):
            raise TransientError("Razorpay could not be asked for a payment link by its reference")
        return next((link for link in scans.records(links) if link.get("reference_id") == reference), None)

    def _told(self, account: Account, path: str, query: Mapping[str, str] | None = None) -> WebhookRequest | None:
        response = http.read("GET", f"{self._url}/{path}", query=query, headers=_key(account))
        return http.told(response, self.label)

    def _changed(
        self,
        account: Account,
        path: str,
        task: str,
        asked: dict[str, Any] | None = None,
        private: Iterable[str] = (),
    ) -> dict[str, Any]:
        response = http.call("POST", f"{self._url}/{path}", json=asked, headers=_key(account))
        return bookings.answer(response, self, account, task, _verdict, private=private)

    # -- hearing -------------------------------------------------------------------------------------------------------

    def verify(self, request: WebhookRequest, account: Account | None) -> None:
        """Hex HMAC-SHA256 over the raw body, with any live webhook secret (which is not the API's)."""
        secrets = words(account.credentials.get("webhook_secret", "")) if account is not None else ()
        given = request.header("x-razorpay-signature").lower()
        signing.require(given, [signing.hmac_hex(secret, request.body) for secret in secrets])

    def delivery_key(self, request: WebhookRequest) -> str:
        return request.header("x-razorpay-event-id")[:128] or signing.body_hash(request.body)

    def parse(self, request: WebhookRequest) -> list[Fact]:
        body = gateways.body_of(request)
        if "event" not in body and "reference_id" in body:
            return list(self._of_link(body, scans.records(body.get("payments")), "", None))
        event, payload = said(body.get("event")), body.get("payload")
        if event in self.ignores:
            return []
        if event not in self.handles:
            raise NotUnderstood(f"an event of Razorpay's that is not known: {event[:40]!r}")
        told, merchant = body.get("created_at"), said(body.get("account_id"))
        payment, link = gateways.part(payload, "payment", "entity"), gateways.part(payload, "payment_link", "entity")
        if event.startswith("payment_link."):
            named = [payment] if payment else scans.records(link.get("payments"))
            return list(self._of_link(link, named, merchant, told))
        asked = _asked(link, payment, gateways.part(payload, "order", "entity"))
        if asked == ("", ""):
            return []  # of the shop's own checkout, or made by hand: nothing that we asked for
        if event.startswith("refund."):
            return list(self._of_refund(payment, gateways.part(payload, "refund", "entity"), asked, merchant, told))
        if event.startswith("payment.dispute."):
            return list(self._of_dispute(payment, gateways.part(payload, "dispute", "entity"), asked, merchant, told))
        if not link:  # who pays at the shop's own checkout can write notes and a description: neither proves a link
            if not asked[0]:
                return []  # of a link, its own event tells
            asked = asked[0], ""
        # one that is authorized is told again when it is captured; its own status may run ahead of the event
        word = "authorized" if event == "payment.authorized" else payment.get("status")
        return [self._of_payment(payment, word, payment.get("currency"), asked, merchant, told)]

    def _of_link(
        self, link: dict[str, Any], payments: Iterable[dict[str, Any]], merchant: str, told: Any
    ) -> Iterator[Fact]:
        """What is paid is told payment by payment, so that it is one with what else is told of them."""
        asked, word, paid = _asked(link), said(link.get("status")), False
        for payment in payments:
            currency, paid = payment.get("currency") or link.get("currency"), True
            yield self._of_payment(payment, payment.get("status"), currency, asked, merchant, told)
        status = gateways.meaning(self.statuses, word)
        if status == "paid" and not paid:
            raise NotUnderstood("a link that is paid and does not say by which payment")
        if status != "paid":
            stamps = (link.get(name) for name in ("created_at", "updated_at", "cancelled_at", "expired_at"))
            amount = gateways.minor_money(link.get("amount"), link.get("currency"))
            yield _fact(asked, "", status, word, amount, merchant, *stamps)

    def _of_payment(
        self, payment: dict[str, Any], word: Any, currency: Any, asked: _Asked, merchant: str, told: Any
    ) -> Fact:
        status = gateways.meaning(self.statuses, word)
        amount = payment.get("amount_refunded" if status == "refunded" else "amount")
        paid = None if status == "refunded" and amount is None else gateways.minor_money(amount, currency)
        return _fact(asked, _attempt(payment), status, word, paid, merchant, told, payment.get("created_at"))

    def _of_refund(
        self, payment: dict[str, Any], refund: dict[str, Any], asked: _Asked, merchant: str, told: Any
    ) -> Iterator[Fact]:
        """All that was paid back so far stands in the payment, one that is still under way included. What was never
        captured goes back by itself: that payment came to nothing.
        """
        word = refund.get("status")
        status = gateways.meaning(self.refunds, word)
        if status == "refunded" and payment.get("captured") is False:
            status = "failed"
        if status:
            amount = gateways.minor_money(payment.get("amount_refunded"), payment.get("currency"))
            yield _fact(asked, _attempt(payment), status, word, amount, merchant, told, refund.get("created_at"))

    def _of_dispute(
        self, payment: dict[str, Any], dispute: dict[str, Any], asked: _Asked, merchant: str, told: Any
    ) -> Iterator[Fact]:
        word = dispute.get("status")
        if status := gateways.meaning(self.disputes, word):
            amount = gateways.minor_money(dispute.get("amount"), dispute.get("currency"))
            yield _fact(asked, _attempt(payment), status, word, amount, merchant, told, dispute.get("created_at"))


_Asked = tuple[str, str]
"""Our reference and the id of the link, of which one may be empty."""

_OF_LINK = re.compile(r"#([A-Za-z0-9]{8,32})")
"""How a payment's description names its link."""


def _asked(link: dict[str, Any], *others: dict[str, Any]) -> _Asked:
    """What a link, or a payment or order of one, says of what was asked for."""
    noted = (said(gateways.part(one, "notes").get(NOTE)) for one in (link, *others))
    named = (_OF_LINK.fullmatch(said(one.get("description"))) for one in others)
    gateway_id = said(link.get("id")) or next((f"plink_{found[1]}" for found in named if found), "")
    return said(link.get("reference_id")) or next(filter(None, noted), ""), gateway_id


def _attempt(payment: dict[str, Any]) -> str:
    """A payment's id. Raises NotUnderstood."""
    if not (found := said(payment.get("payment_id") or payment.get("id"))):
        raise NotUnderstood("a payment without its id")
    return found


def _fact(
    asked: _Asked, attempt: str, status: str, word: Any, amount: Money | None, merchant: str, *stamps: Any
) -> PaymentChanged:
    return PaymentChanged(
        order_ref=asked[0],
        attempt_ref=attempt,
        status=status,
        raw_status=said(word),
        amount=amount,
        checkout_ref=asked[1],
        merchant=merchant,
        occurred_at=gateways.moment(*stamps),
    )


def _checkout(link: dict[str, Any]) -> Checkout | None:
    address, gateway_id = said(link.get("short_url")), said(link.get("id"))
    return Checkout(url=address, gateway_id=gateway_id) if address and gateway_id else None


def _key(account: Account) -> dict[str, str]:
    pair = f"{account.credentials.get('key_id', '')}:{account.credentials.get('key_secret', '')}"
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def _verdict(found: dict[str, Any]) -> bookings.No | bool:
    if "error" in found:
        return bookings.No(gateways.part(found, "error").get("description"))
    return bool(found.get("id"))


ADAPTER = Razorpay
