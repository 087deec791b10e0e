"""The merchant's own hand in wp-admin, and how the control API tells of an order."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from sandbox.errors import Refusal
from sandbox.woocommerce import WooCommerce, orders
from sandbox.world import Record


def act(woo: WooCommerce, order: Record, stated: dict[str, Any]) -> None:
    action = stated.get("action")
    perform = ACTIONS.get(action) if isinstance(action, str) else None
    if perform is None:
        raise Refusal(f"A WooCommerce order has no action {action!r}. It has: {', '.join(ACTIONS)}.")
    with woo.world.lock:
        perform(woo, order, stated)


def _to(status: str) -> Callable[[WooCommerce, Record, dict[str, Any]], None]:
    def move(woo: WooCommerce, order: Record, stated: dict[str, Any]) -> None:
        if order["status"] == status:
            raise Refusal(f"Order {order['id']} is {status} already.", 409)
        if order["status"] == "trash":
            raise Refusal(f"Order {order['id']} is in the trash: restore it first.", 409)
        woo.save(order, status)

    return move


def _status(woo: WooCommerce, order: Record, stated: dict[str, Any]) -> None:
    status = stated.get("status")
    if status not in orders.STATUSES:
        raise Refusal(f"There is no status {status!r}. Statuses: {', '.join(orders.STATUSES)}.")
    _to(str(status))(woo, order, stated)


def _track(woo: WooCommerce, order: Record, stated: dict[str, Any]) -> None:
    """A tracking plugin's box on the order screen: one entry more in its meta, in a save of the order."""
    given = {name: stated.get(name) or "" for name in ("company", "tracking_number", "tracking_url")}
    if not given["tracking_number"] or not all(isinstance(v, str) and len(v) <= 500 for v in given.values()):
        raise Refusal("A parcel has a tracking_number, and perhaps a company and a tracking_url, as texts.")
    kept: list[Record] = next((e["value"] for e in order["meta"] if e["key"] == orders.TRACKING), [])
    entry = {
        "tracking_provider": "",
        "custom_tracking_provider": given["company"],
        "custom_tracking_link": given["tracking_url"],
        "tracking_number": given["tracking_number"],
        "date_shipped": str(int(woo.world.clock.time())),
        "tracking_id": hashlib.md5(f"{order['id']}{given['tracking_number']}".encode()).hexdigest(),
    }
    orders.set_meta(woo.world, order, [{"key": orders.TRACKING, "value": [*kept, entry]}])
    woo.save(order)


def _note(woo: WooCommerce, order: Record, stated: dict[str, Any]) -> None:
    text = stated.get("note")
    if not isinstance(text, str) or not 0 < len(text) <= 5000:
        raise Refusal("note is a text of 1 to 5000 characters.")
    orders.note(woo.world, order, text, author="merchant")
    woo.orders.touch(str(order["id"]))


def _refund(woo: WooCommerce, order: Record, stated: dict[str, Any]) -> None:
    if order["refunds"]:
        raise Refusal(f"Order {order['id']} is refunded already.", 409)
    woo.refund(order, orders.total_of(order), str(stated.get("reason") or "")[:500])


ACTIONS: dict[str, Callable[[WooCommerce, Record, dict[str, Any]], None]] = {
    "pay": lambda woo, order, stated: woo.pay(order),
    "cancel": _to("cancelled"),
    "complete": _to("completed"),
    "fulfil": _to("completed"),
    "hold": _to("on-hold"),
    "process": _to("processing"),
    "fail": _to("failed"),
    "status": _status,
    "trash": lambda woo, order, stated: woo.trash(order),
    "restore": lambda woo, order, stated: woo.restore(order),
    "delete": lambda woo, order, stated: woo.erase(order),
    "refund": _refund,
    "edit_note": _note,
    "note": _note,
    "track": _track,
}


def told(order: Record) -> dict[str, Any]:
    """The order as its store sees it, in the control API's words."""
    status = order["status"]
    billing = order["billing"]
    refunded = bool(order["refunds"]) and status == "refunded"
    return {
        "store": "woocommerce",
        "shop": None,
        "order_id": str(order["id"]),
        "name": f"#{order['id']}",
        "status": status,
        "payment_status": "refunded" if refunded else "paid" if order["paid"] is not None else "pending",
        "fulfillment_status": "fulfilled" if status == "completed" else "unfulfilled",
        "payment_method": order["payment_method"],
        "tags": [],
        "note": order["customer_note"],
        "notes": [
            {"note": note["note"], "author": note["author"], "customer_note": note["customer_note"]}
            for note in order["notes"]
        ],
        "meta": {entry["key"]: entry["value"] for entry in order["meta"]},
        "attributes": {},
        "cancelled_at": orders.local(order["modified"]) if status == "cancelled" else None,
        "cancel_reason": None,
        "customer": {
            "name": f"{billing['first_name']} {billing['last_name']}".strip(),
            "phone": billing["phone"],
            "email": billing["email"],
            "city": billing["city"],
            "locale": None,
        },
        "phone": order.get("phone"),
        "items": [
            {
                "sku": line["sku"],
                "name": line["name"],
                "quantity": line["quantity"],
                "price": str(line["price"]),
            }
            for line in order["lines"]
        ],
        "tracking": [
            {
                "company": one.get("custom_tracking_provider"),
                "number": one.get("tracking_number"),
                "url": one.get("custom_tracking_link"),
            }
            for entry in order["meta"]
            if entry["key"] == orders.TRACKING and isinstance(entry["value"], list)
            for one in entry["value"]
            if isinstance(one, dict)
        ],
        "total": orders.total_of(order),
        "currency": orders.CURRENCY,
        "created_at": orders.local(order["created"]),
        "updated_at": orders.local(order["modified"]),
    }
