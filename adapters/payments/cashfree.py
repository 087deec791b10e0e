"""Cashfree, India: Payment Links that we send ourselves, signed webhooks, amounts in rupees with decimals.

A link is named by us (`link_id`). Paying it makes an order of Cashfree's beneath it, and of one order there are many
tries. Only webhooks of payments name the try, but all that speaks of money names the order: so the order is the payment
here, and its amount what was asked for, also where an offer lets the customer pay less of it. The order's id is
"CFPay_", the last part of the link's address, and more (seen in samples, not documented): that is how a payment or a
refund whose webhook does not name the link is known to be of it, so that part is the link's id to us.

A refund is told one by one and never their sum: of several in part of one payment the largest is known here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlsplit

import orjson

from integration.errors import NotUnderstood, OutcomeUnknown, PermanentError, TransientError
from integration.events import UNKNOWN, Fact, PaymentChanged
from integration.ports import Account, AdapterConfig, Checkout, Field, PaymentAsked, WebhookRequest
from integration.settings import Setting, url, words
from integration.values import Money

from .. import bookings, gateways, http, scans, signing
from ..gateways import NOTE, said
from ..scans import INDIA


class Cashfree:
    """See integration.ports.PaymentAdapter, FindsCheckouts and Withdraws."""

    name = "cashfree"
    label = "Cashfree"
    regions = ("IN",)
    website = "https://www.cashfree.com"
    credentials = (
        Field("client_id", "App id", "Developers > API keys", secret=False),
        Field(
            "client_secret",
            "Secret key",
            "It signs webhooks too. While you change it, give the new one and the old one, separated by a comma.",
        ),
    )
    settings = (
        Setting("CASHFREE_URL", "Cashfree's API", "https://api.cashfree.com/pg", url),
        Setting("CASHFREE_VERSION", "Its version", "2025-01-01"),
    )
    authenticates_by = "signature"
    handles = frozenset(
        {
            "PAYMENT_LINK_EVENT", "PAYMENT_SUCCESS_WEBHOOK", "PAYMENT_FAILED_WEBHOOK", "PAYMENT_USER_DROPPED_WEBHOOK",
            "REFUND_STATUS_WEBHOOK", "REFUND_SUCCESS_WEBHOOK", "inquiry",
        }
    )  # fmt: skip
    """A refund is of the first of its two types by the documentation, of the second by the vendor's client: both are
    taken. `inquiry` is an answer to a question of ours."""
    ignores = frozenset({"PAYMENT_CHARGES_WEBHOOK", "AUTO_REFUND_STATUS_WEBHOOK", "WEBHOOK"})
    """Money of tries that came to nothing goes back by itself; the last is the dashboard's test (names assumed)."""
    keeps = ("x-idempotency-key", "x-webhook-attempt", "x-webhook-version")
    known_as = ("cashfree payments", "cashfree payment gateway")
    currencies = ("INR",)
    shortest = timedelta(minutes=16)
    """An assumption: no shortest life of a link is documented, so it is Razorpay's."""
    longest = timedelta(days=30)
    merchant_field = ""
    webhook_help = "Nowhere for what a link tells: Cashfree is told with each. For refunds: Developers > Webhooks."

    statuses: dict[str, str] = {
        "ACTIVE": "pending", "PAID": "paid", "PARTIALLY_PAID": "paid", "CANCELLED": "cancelled", "EXPIRED": "expired",
        "SUCCESS": "paid", "FAILED": "failed", "USER_DROPPED": "failed", "PENDING": "pending", "FLAGGED": "pending",
        "NOT_ATTEMPTED": "pending",
    }  # fmt: skip
    """Of links, of the orders beneath them and of tries; only SUCCESS of a try, or PAID of an order, is money."""
    refunds: dict[str, str] = {"SUCCESS": "refunded", "PENDING": "", "ONHOLD": "", "CANCELLED": "", "FAILED": ""}
    """Of refunds. One that is under way or came to nothing moves no money."""

    def __init__(self, config: AdapterConfig) -> None:
        self._url: str = config.settings["CASHFREE_URL"]
        self._version: str = config.settings["CASHFREE_VERSION"]

    # -- asking --------------------------------------------------------------------------------------------------------

    def checkout(self, account: Account, asked: PaymentAsked) -> Checkout:
        if not asked.phone:
            raise PermanentError("Cashfree needs the customer's phone number, and there is none.")
        customer = {
            "customer_phone": asked.phone.removeprefix("+91"),
            "customer_name": asked.name,
            "customer_email": asked.email,
        }
        meta = {"notify_url": asked.notify_url, "return_url": asked.return_url}
        link = self._changed(
            account,
            "links",
            "make a payment link",
            {
                "link_id": asked.reference,
                "link_amount": orjson.Fragment(format(asked.amount.amount, "f")),
                "link_currency": asked.amount.currency,
                "link_purpose": bookings.cut(f"{asked.store_name}: {asked.order_name}", 500),
                "link_partial_payments": False,
                "link_expiry_time": asked.expires_at.astimezone(INDIA).isoformat(timespec="seconds"),
                "link_notify": {"send_sms": False, "send_email": False},
                "link_auto_reminders": False,
                "link_notes": {NOTE: asked.reference},
                "link_meta": {name: value for name, value in meta.items() if value},
                "customer_details": {name: value for name, value in customer.items() if value},
            },
            private=gateways.whose(asked),
        )
        if (opened := _checkout(link)) is None:
            raise OutcomeUnknown("Cashfree said yes to a payment link and gave no address of it")
        return opened

    def inquire(self, account: Account, reference: str, gateway_id: str) -> WebhookRequest | None:
        """The link, and where something was paid the orders beneath it, each as it was put."""
        link = self._told(account, reference)
        if link is None or gateways.part(orjson.loads(link.body)).get("link_status") not in ("PAID", "PARTIALLY_PAID"):
            return link
        orders = self._told(account, reference, "/orders")
        below = orders.body if orders is not None else b"[]"
        return WebhookRequest({}, b'{"link":' + link.body + b',"orders":' + below + b"}")

    def find_checkout(self, account: Account, reference: str) -> Checkout | None:
        told = self._told(account, reference)
        link = gateways.part(orjson.loads(told.body)) if told is not None else None
        if link is not None and link.get("link_id") != reference:
            raise TransientError("Cashfree told of another payment link than it was asked for")
        return _checkout(link) if link is not None else None

    def withdraw(self, account: Account, reference: str, gateway_id: str) -> None:
        """Only an active link can be cancelled. Why another cannot, Cashfree says in a sentence, so it is asked."""
        try:
            self._changed(account, f"links/{quote(reference, safe='')}/cancel", "cancel a payment link")
        except PermanentError:
            told = self._told(account, reference)
            if told is not None and gateways.part(orjson.loads(told.body)).get("link_status") == "ACTIVE":
                raise

    def _told(self, account: Account, reference: str, below: str = "") -> WebhookRequest | None:
        response = http.read(
            "GET", f"{self._url}/links/{quote(reference, safe='')}{below}", headers=self._headers(account)
        )
        return http.told(response, self.label)

    def _changed(
        self,
        account: Account,
        path: str,
        task: str,
        asked: dict[str, Any] | None = None,
        private: Iterable[str] = (),
    ) -> dict[str, Any]:
        response = http.call("POST", f"{self._url}/{path}", json=asked, headers=self._headers(account))
        return bookings.answer(response, self, account, task, _verdict, private=private)

    def _headers(self, account: Account) -> dict[str, str]:
        return {
            "x-client-id": account.credentials["client_id"],
            "x-client-secret": next(iter(_secrets(account)), ""),
            "x-api-version": self._version,
        }

    # -- hearing -------------------------------------------------------------------------------------------------------

    def verify(self, request: WebhookRequest, account: Account | None) -> None:
        """Base64 HMAC-SHA256 over the stamp and the raw body. Old stamps are taken: what is told again keeps its own
        (an assumption), and a request told twice is known by its key.
        """
        signed = request.header("x-webhook-timestamp").encode("utf-8", "replace") + request.body
        expected = [signing.hmac_base64(secret, signed) for secret in _secrets(account)]
        signing.require(request.header("x-webhook-signature"), expected)

    def delivery_key(self, request: WebhookRequest) -> str:
        if given := request.header("x-idempotency-key")[:128]:
            return given
        try:
            body = gateways.body_of(request)
        except NotUnderstood:
            return signing.body_hash(request.body)
        data = gateways.part(body, "data")
        payment, refund, order = (gateways.part(data, name) for name in ("payment", "refund", "order"))
        ids = (data.get("cf_link_id"), payment.get("cf_payment_id"), refund.get("cf_refund_id"))
        if not any(map(said, ids)):
            return signing.body_hash(request.body)
        states = (data.get("link_status"), payment.get("payment_status"), refund.get("refund_status"))
        return signing.body_hash(*map(said, (body.get("type"), *ids, *states, order.get("order_id"))))

    def parse(self, request: WebhookRequest) -> list[Fact]:
        body = gateways.body_of(request)
        if "type" not in body and ("link_status" in body or "link" in body):
            link = gateways.part(body, "link") or body
            told = link.get("link_expiry_time" if link.get("link_status") == "EXPIRED" else "link_created_at")
            orders = [(row, row.get("order_status")) for row in scans.records(body.get("orders"))]
            return self._of_link(link, orders, told)
        event, data, told = said(body.get("type")), gateways.part(body, "data"), body.get("event_time")
        if event in self.ignores:
            return []
        if event not in self.handles:
            raise NotUnderstood(f"an event of Cashfree's that is not known: {event[:40]!r}")
        order, payment, refund = (gateways.part(data, name) for name in ("order", "payment", "refund"))
        if event == "PAYMENT_LINK_EVENT":
            return self._of_link(data, [(order, order.get("transaction_status"))] if order else [], told)
        asked = _asked({}, refund or order)
        if asked == ("", ""):
            return []  # of the shop's own checkout: nothing that we asked for
        if event.startswith("REFUND_"):
            return self._of_refund(refund, asked, told)
        return [self._of_order(order, payment.get("payment_status"), order.get("order_currency"), asked, told)]

    def _of_link(self, link: dict[str, Any], orders: Sequence[tuple[dict[str, Any], Any]], told: Any) -> list[Fact]:
        """What is paid is told order by order, so that it is one with what else is told of them. An order that is open
        or over says nothing of the link.
        """
        asked, word, currency = _asked(link), link.get("link_status"), link.get("link_currency")
        facts: list[Fact] = [
            self._of_order(order, said_of_it, currency, asked, order.get("created_at") or told)
            for order, said_of_it in orders
            if gateways.meaning(self.statuses, said_of_it) in ("paid", "failed", UNKNOWN)
        ]
        status = gateways.meaning(self.statuses, word)
        if status == "paid" and not facts:
            raise NotUnderstood("a link that is paid and does not say by which order")
        if status != "paid":
            facts.append(_fact(asked, "", status, word, gateways.money(link.get("link_amount"), currency), told))
        return facts

    def _of_order(self, order: dict[str, Any], word: Any, currency: Any, asked: tuple[str, str], told: Any) -> Fact:
        status, amount = gateways.meaning(self.statuses, word), gateways.money(order.get("order_amount"), currency)
        return _fact(asked, _attempt(order), status, word, amount, told)

    def _of_refund(self, refund: dict[str, Any], asked: tuple[str, str], told: Any) -> list[Fact]:
        word = refund.get("refund_status")
        if not (status := gateways.meaning(self.refunds, word)):
            return []
        amount = gateways.money(refund.get("refund_amount"), refund.get("refund_currency"))
        return [_fact(asked, _attempt(refund), status, word, amount, told)]


_OF_LINK = re.compile(r"CFPay_([A-Za-z0-9]+)_\w+")
"""How an order's id names its link."""


def _asked(link: dict[str, Any], order: dict[str, Any] | None = None) -> tuple[str, str]:
    """Our reference and the id of the link, of which one may be empty."""
    order = order or gateways.part(link, "order")
    tags = gateways.part(order, "order_tags")
    found = _OF_LINK.fullmatch(said(order.get("order_id")))
    gateway_id = _last(link.get("link_url")) or (found[1] if found else "")
    return said(link.get("link_id") or tags.get("link_id") or tags.get(NOTE)), gateway_id


def _last(address: Any) -> str:
    """The last part of a link's address."""
    try:
        return urlsplit(said(address)).path.rstrip("/").rpartition("/")[2]
    except ValueError:
        return ""


def _attempt(order: dict[str, Any]) -> str:
    """The id of what was paid. Raises NotUnderstood."""
    if not (found := said(order.get("order_id"))):
        raise NotUnderstood("a payment without its order")
    return found


def _fact(
    asked: tuple[str, str], attempt: str, status: str, word: Any, amount: Money | None, told: Any
) -> PaymentChanged:
    return PaymentChanged(
        order_ref=asked[0],
        attempt_ref=attempt,
        status=status,
        raw_status=said(word),
        amount=amount,
        checkout_ref=asked[1],
        occurred_at=gateways.stamp(told, INDIA),
    )


def _checkout(link: dict[str, Any]) -> Checkout | None:
    address = said(link.get("link_url"))
    return Checkout(url=address, gateway_id=_last(address)) if address else None


def _secrets(account: Account | None) -> tuple[str, ...]:
    return words(account.credentials.get("client_secret", "")) if account is not None else ()


def _verdict(found: dict[str, Any]) -> bookings.No | bool:
    if "link_id" in found:
        return True
    return bookings.No(found["message"]) if "message" in found and "code" in found else False


ADAPTER = Cashfree
