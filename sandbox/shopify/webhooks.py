"""Shopify's webhooks: app-specific subscriptions (declared in the app's TOML, nothing to register), signed, retried.

Success is 2xx within 5 seconds; eight retries follow, with the same webhook id and the body of the first attempt.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import uuid
from typing import Any

import orjson

from sandbox.delivery import DeliveryQueue, Outgoing, Policy
from sandbox.settings import Settings
from sandbox.world import Record, World

API_VERSION = "2026-07"
PATH = "/webhooks/stores/shopify"
TOPICS = (
    "orders/create",
    "orders/updated",
    "orders/paid",
    "orders/cancelled",
    "orders/fulfilled",
    "orders/partially_fulfilled",
    "refunds/create",
    "fulfillments/create",
    "fulfillments/update",
    "fulfillment_events/create",
    "checkouts/create",
    "checkouts/update",
    "app/uninstalled",
    "app/scopes_update",
    "customers/data_request",
    "customers/redact",
    "shop/redact",
)


def policy(settings: Settings) -> Policy:
    return Policy(
        vendor="shopify",
        threads=4,
        timeout=5.0,
        accepted=range(200, 300),
        retries=8,
        first_retry=settings.shopify_first_retry,
        longest_wait=3600.0,
    )


def as_rails_json(value: Any) -> bytes:
    """JSON as Rails writes it: UTF-8, with &, < and > escaped."""
    written = orjson.dumps(value)
    for sign, escape in ((b"&", b"\\u0026"), (b"<", b"\\u003c"), (b">", b"\\u003e")):
        written = written.replace(sign, escape)
    return written


def signature(secret: str, body: bytes) -> str:
    return base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()


class Webhooks:
    def __init__(self, world: World) -> None:
        self._world = world
        self._secret = world.settings.shopify_api_secret
        self._url = world.settings.app_url + PATH
        self.queue = DeliveryQueue(world, policy(world.settings), self._prepare)

    def put(self, shop: str, topic: str, body: Any, event_id: str, what: str = "", after: float = 0.0) -> None:
        now = self._world.clock.now()
        self.queue.put(
            {
                "what": f"{topic} {what}".rstrip(),
                "topic": topic,
                "shop": shop,
                "webhook_id": str(uuid.uuid4()),
                "event_id": event_id,
                "triggered_at": now.strftime("%Y-%m-%dT%H:%M:%S.") + f"{now.microsecond:06d}000Z",
                "body": as_rails_json(body).decode(),
            },
            after=after,
        )

    def _prepare(self, payloads: list[Record]) -> Outgoing:
        payload = payloads[0]
        body = payload["body"].encode()
        headers = (
            ("User-Agent", "Shopify-Captain-Hook"),
            ("Accept", "*/*"),
            ("Accept-Encoding", "gzip;q=1.0,deflate;q=0.6,identity;q=0.3"),
            ("Content-Type", "application/json"),
            ("X-Shopify-Topic", payload["topic"]),
            ("X-Shopify-Shop-Domain", payload["shop"]),
            ("X-Shopify-API-Version", API_VERSION),
            ("X-Shopify-Hmac-SHA256", signature(self._secret, body)),
            ("X-Shopify-Webhook-Id", payload["webhook_id"]),
            ("X-Shopify-Event-Id", payload["event_id"]),
            ("X-Shopify-Triggered-At", payload["triggered_at"]),
        )
        return Outgoing(self._url, headers, body, payload["what"])
