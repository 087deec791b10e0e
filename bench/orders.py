"""What is sent: a cash on delivery order as Shopify posts it, 2.5 KB, signed, no two alike."""

from __future__ import annotations

import base64
import hmac
import random
from collections.abc import Iterator
from dataclasses import dataclass

import orjson

from run import SANDBOX_SETTINGS

SHOP = "bench.myshopify.com"
SECRET = SANDBOX_SETTINGS["SHOPIFY_API_SECRET"].encode()
PATH = "/webhooks/stores/shopify"
DUPLICATES = 0.1
"""The share of requests that a vendor sends a second time: the same bytes, the same webhook id."""

_ADDRESS = {
    "first_name": "Ayesha", "last_name": "Khan", "name": "Ayesha Khan", "address1": "12 Mall Road", "address2": None,
    "phone": "+92%(phone)010d", "city": "Lahore", "zip": "54000", "province": "Punjab", "country": "Pakistan",
    "country_code": "PK", "province_code": "PB",
}  # fmt: skip
_MONEY = {"amount": "9448.00", "currency_code": "PKR"}
_AT = "%(at)s"
_LINE = {
    "current_quantity": 2, "fulfillment_status": None, "name": "Khussa Leather Shoes", "price": "3499.00",
    "product_id": 8200000000011, "quantity": 2, "requires_shipping": True, "sku": "KHS-01", "taxable": True,
    "title": "Khussa Leather Shoes", "total_discount": "0.00", "variant_id": 44300000000011, "variant_title": None,
}  # fmt: skip
_ORDER = {
    "id": "%(id)d", "admin_graphql_api_id": "gid://shopify/Order/%(id)d", "app_id": 580111, "cancelled_at": None,
    "cancel_reason": None, "confirmed": True, "contact_email": "ayesha@example.test", "created_at": _AT,
    "currency": "PKR", "current_subtotal_price": "9198.00", "current_total_price": "9448.00",
    "current_total_price_set": {"shop_money": _MONEY, "presentment_money": _MONEY}, "customer_locale": "en",
    "email": "ayesha@example.test", "financial_status": "pending", "fulfillment_status": None, "name": "#%(name)d",
    "note": None, "number": 1, "token": "260fee5c5fd1bd42d42a06470434f462",
    "order_status_url": "https://bench.myshopify.com/60100000001/orders/260fee5c5fd1bd42d42a06470434f462/authenticate",
    "payment_gateway_names": ["Cash on Delivery (COD)"], "phone": None,
    "processed_at": _AT, "source_name": "web", "subtotal_price": "9198.00", "tags": "", "test": False,
    "total_discounts": "0.00", "total_outstanding": "9448.00", "total_price": "9448.00", "total_tax": "0.00",
    "updated_at": _AT, "user_id": None, "billing_address": _ADDRESS, "shipping_address": _ADDRESS,
    "customer": {
        "id": "%(customer)d", "created_at": _AT, "first_name": "Ayesha", "last_name": "Khan", "state": "disabled",
        "email": "ayesha@example.test", "phone": "+92%(phone)010d", "currency": "PKR",
    },
    "fulfillments": [],
    "line_items": [
        {"id": "%(id)d10", **_LINE},
        {"id": "%(id)d11", **_LINE, "name": "Kurta - M", "title": "Kurta", "sku": "KRT-M", "variant_title": "M"},
    ],
    "refunds": [],
}  # fmt: skip


def _template() -> bytes:
    """The order with places for what differs. Numbers stand as numbers, so their quotes go."""
    written = orjson.dumps(_ORDER)
    for place in (b'"%(id)d"', b'"%(customer)d"', b'"%(id)d10"', b'"%(id)d11"'):
        written = written.replace(place, place[1:-1])
    return written


_BODY = _template()
_HEAD = (
    b"POST " + PATH.encode() + b" HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: Shopify-Captain-Hook\r\nAccept: */*\r\n"
    b"Content-Type: application/json\r\nX-Shopify-Topic: orders/create\r\nX-Shopify-Shop-Domain: %s\r\n"
    b"X-Shopify-API-Version: 2026-07\r\nX-Shopify-Hmac-SHA256: %s\r\nX-Shopify-Webhook-Id: %s\r\n"
    b"X-Shopify-Event-Id: %s\r\nX-Shopify-Triggered-At: 2026-11-21T07:00:00.000000000Z\r\n"
    b"Content-Length: %d\r\n\r\n"
)


def body(number: int, at: str = "2026-11-21T12:00:00+05:00") -> bytes:
    """Order number so-and-so, placed at that time: its own id, name, customer and phone."""
    return _BODY % {
        b"id": 6_100_000_000_000 + number,
        b"name": 1000 + number,
        b"customer": 7_600_000_000_000 + number,
        b"phone": 3_000_000_000 + number,
        b"at": at.encode(),
    }


def webhook_id(number: int) -> str:
    """The vendor's id of the request, by which a redelivery is known."""
    return f"00000000-0000-4000-8000-{number:012d}"


def signature(of: bytes, secret: bytes = SECRET) -> bytes:
    return base64.b64encode(hmac.digest(secret, of, "sha256"))


def request(number: int, secret: bytes = SECRET) -> bytes:
    """The whole HTTP request, ready to be written to a socket."""
    content, name = body(number), webhook_id(number).encode()
    return _HEAD % (SHOP.encode(), signature(content, secret), name, name, len(content)) + content


@dataclass(frozen=True, slots=True)
class Shot:
    """One request and the number of its order."""

    number: int
    wire: bytes


def volley(first: int, count: int, duplicates: float = DUPLICATES) -> Iterator[Shot]:
    """`count` requests beginning with order `first`; now and then one of the last thousand comes again."""
    dice, number = random.Random(first), first
    recent: list[Shot] = []
    for _ in range(count):
        if recent and dice.random() < duplicates:
            yield dice.choice(recent)
            continue
        shot = Shot(number, request(number))
        number += 1
        yield shot
        if len(recent) < 1000:
            recent.append(shot)
        else:
            recent[number % 1000] = shot
