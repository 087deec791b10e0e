"""WooCommerce's webhooks with all their recorded oddities.

One delivery after another; the payload is built when it is delivered; one pending job per webhook and resource; no
retry, ever; 200 to 302 is success; a delivery id that is not unique; disabled at the seventh failure in a row, with a
counter that re-activation does not clear; a ping inside the request that creates the webhook.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import html
import json
import re
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from sandbox.delivery import Answer, Caller, DeliveryQueue, Outgoing, Policy, Unreachable
from sandbox.woocommerce.orders import VERSION, WORDPRESS, gmt, local
from sandbox.world import Record, World

FAILURES_ALLOWED = 5  # the counter stops one above; the next failure disables
STATUSES = ("active", "paused", "disabled")
RESOURCES = {
    "coupon": ("created", "updated", "deleted", "restored"),
    "customer": ("created", "updated", "deleted"),
    "order": ("created", "updated", "deleted", "restored"),
    "product": ("created", "updated", "deleted", "restored", "published"),
}
HOOKS = {
    "order.created": ["woocommerce_new_order"],
    "order.updated": ["woocommerce_update_order", "woocommerce_order_refunded"],
    "order.deleted": ["wp_trash_post", "woocommerce_trash_order"],
    "order.restored": ["untrashed_post", "woocommerce_untrash_order"],
    "product.created": ["woocommerce_process_product_meta", "woocommerce_new_product"],
    "product.updated": ["woocommerce_process_product_meta", "woocommerce_update_product"],
    "product.deleted": ["wp_trash_post"],
    "product.restored": ["untrashed_post"],
}
AGENT = f"WooCommerce/{VERSION} Hookshot (WordPress/{WORDPRESS})"
POLICY = Policy(
    vendor="woocommerce",
    threads=1,
    timeout=60.0,
    accepted=range(200, 303),
    retries=0,
    first_retry=0.0,
    longest_wait=0.0,
    keep_alive=False,
)


def php_json(value: Any) -> bytes:
    """JSON as PHP's json_encode writes it: slashes and everything outside ASCII escaped."""
    return json.dumps(value, separators=(",", ":")).replace("/", "\\/").encode()


def signature(secret: str, body: bytes) -> str:
    """base64 of the HMAC-SHA256; the stored secret is HTML-entity-decoded first."""
    return base64.b64encode(hmac.new(html.unescape(secret).encode(), body, hashlib.sha256).digest()).decode()


def is_topic(topic: Any) -> bool:
    if not isinstance(topic, str):
        return False
    resource, _, event = topic.partition(".")
    if resource == "action":
        return bool(re.fullmatch(r"(woocommerce|wc)_\w+", event))
    return event in RESOURCES.get(resource, ())


class Webhooks:
    def __init__(self, world: World, home: Callable[[], str], payload: Callable[[str, int], Any]) -> None:
        """`payload(topic, id)` states a resource at the moment of delivery."""
        self._world = world
        self._home = home
        self._payload = payload
        self.hooks = world.shelf("woo_webhooks")
        self._salt = secrets.token_bytes(16)
        self.queue = DeliveryQueue(world, POLICY, self._prepare, self._settled)

    # Events

    def event(self, topic: str, resource: int, after: float = 0.0) -> None:
        for hook in self.hooks.values():
            if hook["status"] == "active" and hook["topic"] == topic:
                self.queue.put(
                    {"what": f"{topic} {resource}", "hook": hook["id"], "resource": resource},
                    after=after,
                    key=f"{hook['id']}:{resource}",
                )

    def _prepare(self, jobs: list[Record]) -> Outgoing | None:
        job = jobs[0]
        with self._world.lock:
            hook = self.hooks.get(str(job["hook"]))
            if hook is None:
                return None
            body = php_json(self._payload(hook["topic"], job["resource"]))
            resource, _, event = hook["topic"].partition(".")
            headers = (
                ("User-Agent", AGENT),
                ("Accept", "*/*"),
                ("Accept-Encoding", "deflate, gzip, br, zstd"),
                ("Content-Type", "application/json"),
                ("X-WC-Webhook-Source", f"{self._home()}/"),
                ("X-WC-Webhook-Topic", hook["topic"]),
                ("X-WC-Webhook-Resource", resource),
                ("X-WC-Webhook-Event", event),
                ("X-WC-Webhook-Signature", signature(hook["secret"], body)),
                ("X-WC-Webhook-ID", str(hook["id"])),
                ("X-WC-Webhook-Delivery-ID", self.delivery_id(hook["id"])),
                ("Connection", "close"),
                ("Content-Length", str(len(body))),
            )
            return Outgoing(hook["delivery_url"], headers, body, f"{hook['topic']} {job['resource']}")

    def delivery_id(self, hook: int) -> str:
        """A hash of the webhook's id and the current second: two deliveries in one second share it."""
        return hmac.new(self._salt, f"{hook}{int(self._world.clock.time())}".encode(), "md5").hexdigest()

    def _settled(self, jobs: list[Record], accepted: bool, answer: Answer | None) -> None:
        with self._world.lock:
            hook = self.hooks.get(str(jobs[0]["hook"]))
            if hook is None:
                return
            if accepted:
                hook["failures"] = 0
            elif hook["failures"] > FAILURES_ALLOWED:
                hook["status"] = "disabled"
            else:
                hook["failures"] += 1
            self.hooks.touch(str(hook["id"]))

    # The webhooks themselves

    def create(self, stated: Record) -> Record:
        now = int(self._world.clock.time())
        with self._world.lock:
            id = self._world.next_number("woo_webhook")
            written = datetime.fromtimestamp(now, UTC).strftime("%b %d, %Y @ %I:%M %p")
            hook = self.hooks.put(
                str(id),
                {
                    "id": id,
                    "name": stated.get("name") or f"Webhook created on {written}",
                    "status": stated.get("status") or "active",
                    "topic": stated["topic"],
                    "delivery_url": stated["delivery_url"],
                    "secret": stated.get("secret") or secrets.token_urlsafe(40)[:50],
                    "created": now,
                    "modified": now,
                    "failures": 0,
                },
            )
        if hook["status"] == "active":
            self.ping(hook)
        return hook

    def update(self, hook: Record, stated: Record) -> None:
        with self._world.lock:
            moved = "delivery_url" in stated and stated["delivery_url"] != hook["delivery_url"]
            for name in ("name", "status", "topic", "delivery_url", "secret"):
                if stated.get(name):
                    hook[name] = stated[name]
            hook["modified"] = int(self._world.clock.time())
            self.hooks.touch(str(hook["id"]))
        if moved and hook["status"] == "active":
            self.ping(hook)

    def ping(self, hook: Record) -> None:
        """Unsigned, form-encoded, inside the request that saved the webhook. Through REST a failure changes nothing."""
        body = f"webhook_id={hook['id']}".encode()
        headers = (
            ("User-Agent", AGENT),
            ("Accept", "*/*"),
            ("Accept-Encoding", "deflate, gzip, br, zstd"),
            ("Connection", "close"),
            ("Content-Length", str(len(body))),
            ("Content-Type", "application/x-www-form-urlencoded"),
        )
        outcome: str
        status = None
        try:
            ping = Outgoing(hook["delivery_url"], headers, body, "ping")
            status = Caller(self._world.settings.app_url).send(ping, POLICY.timeout, keep_alive=False).status
            outcome = "delivered" if status == 200 else "refused"
        except Unreachable as error:
            outcome = f"unreachable: {error}"
        self._world.log.add(
            "woocommerce",
            "webhook",
            f"ping of webhook {hook['id']} ({hook['topic']})",
            outcome,
            status=status,
        )

    def rendered(self, hook: Record) -> Record:
        """Without the secret, the failure counter and the API version: they are never told."""
        resource, _, event = hook["topic"].partition(".")
        base = f"{self._home()}/wp-json/wc/v3/webhooks"
        return {
            "id": hook["id"],
            "name": hook["name"],
            "status": hook["status"],
            "topic": hook["topic"],
            "resource": resource,
            "event": event,
            "hooks": HOOKS.get(hook["topic"], [event] if resource == "action" else []),
            "delivery_url": hook["delivery_url"],
            "date_created": local(hook["created"]),
            "date_created_gmt": gmt(hook["created"]),
            "date_modified": local(hook["modified"]),
            "date_modified_gmt": gmt(hook["modified"]),
            "_links": {
                "self": [
                    {
                        "href": f"{base}/{hook['id']}",
                        "targetHints": {"allow": ["GET", "POST", "PUT", "PATCH", "DELETE"]},
                    }
                ],
                "collection": [{"href": base}],
            },
        }
