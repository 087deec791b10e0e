"""The merchant's own hand in the Shopify admin, and how the control API tells of an order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sandbox.errors import Refusal
from sandbox.shopify import CANCEL_REASONS, Shopify, orders
from sandbox.world import Record


def act(shopify: Shopify, order: Record, stated: dict[str, Any]) -> None:
    action = stated.get("action")
    perform = ACTIONS.get(action) if isinstance(action, str) else None
    if perform is None:
        raise Refusal(f"A Shopify order has no action {action!r}. It has: {', '.join(ACTIONS)}.")
    perform(shopify, order, stated)


def _text(stated: dict[str, Any], name: str) -> str | None:
    value = stated.get(name)
    if value is not None and (not isinstance(value, str) or len(value) > 5000):
        raise Refusal(f"{name} is a text of at most 5000 characters.")
    return value or None


def _tags(stated: dict[str, Any]) -> list[str]:
    tags = stated.get("tags", stated.get("tag"))
    tags = [tags] if isinstance(tags, str) else tags
    if not isinstance(tags, list) or not tags or not all(isinstance(tag, str) and len(tag) <= 40 for tag in tags):
        raise Refusal("tags is a list of texts of at most 40 characters.")
    return tags


def _cancel(shopify: Shopify, order: Record, stated: dict[str, Any]) -> None:
    reason = stated.get("reason") or "customer"
    if reason not in CANCEL_REASONS:
        raise Refusal(f"There is no reason {reason!r}. Reasons: {', '.join(CANCEL_REASONS)}.")
    shopify.cancel(order, reason, refund=order["body"]["financial_status"] == "paid")


def _fulfil(shopify: Shopify, order: Record, stated: dict[str, Any]) -> None:
    company, number, url = (_text(stated, name) for name in ("company", "tracking_number", "tracking_url"))
    shopify.fulfil(order, company, number, url)


def _shipment(shopify: Shopify, order: Record, stated: dict[str, Any]) -> None:
    shopify.shipment(order, str(stated.get("status")))


ACTIONS: dict[str, Callable[[Shopify, Record, dict[str, Any]], None]] = {
    "pay": lambda shopify, order, stated: shopify.pay(order),
    "cancel": _cancel,
    "fulfil": _fulfil,
    "shipment": _shipment,
    "split": lambda shopify, order, stated: shopify.split(order),
    "refund": lambda shopify, order, stated: shopify.refund(order),
    "edit_note": lambda shopify, order, stated: shopify.update(order, note=_text(stated, "note")),
    "tag": lambda shopify, order, stated: shopify.add_tags(order, _tags(stated)),
    "untag": lambda shopify, order, stated: shopify.remove_tags(order, _tags(stated)),
}


def told(order: Record) -> dict[str, Any]:
    """The order as its store sees it, in the control API's words."""
    body = order["body"]
    customer = body["customer"] or {}
    shipping = body["shipping_address"] or {}
    return {
        "store": "shopify",
        "shop": order["shop"],
        "order_id": str(body["id"]),
        "name": body["name"],
        "status": "cancelled" if body["cancelled_at"] else "closed" if body["closed_at"] else "open",
        "payment_status": body["financial_status"],
        "fulfillment_status": body["fulfillment_status"] or "unfulfilled",
        "payment_method": body["payment_gateway_names"][0],
        "tags": orders.tag_list(body),
        "note": body["note"] or "",
        "notes": [],
        "meta": {name: field["value"] for name, field in order["metafields"].items()},
        "attributes": {pair["name"]: pair["value"] for pair in body["note_attributes"]},
        "cancelled_at": body["cancelled_at"],
        "cancel_reason": body["cancel_reason"],
        "customer": {
            "name": shipping.get("name"),
            "phone": shipping.get("phone"),
            "email": customer.get("email"),
            "city": shipping.get("city"),
            "locale": body["customer_locale"],
        },
        "phone": order["phone"],
        "items": [
            {"sku": line["sku"], "name": line["name"], "quantity": line["quantity"], "price": line["price"]}
            for line in body["line_items"]
        ],
        "tracking": [
            {
                "company": one["tracking_company"],
                "number": one["tracking_number"],
                "url": one["tracking_url"],
                "status": one["shipment_status"],
                "state": one["status"],
                "events": [e["status"] for e in order.get("events", ()) if e["fulfillment_id"] == one["id"]],
            }
            for one in body["fulfillments"]
        ],
        "total": body["total_price"],
        "currency": body["currency"],
        "created_at": body["created_at"],
        "updated_at": body["updated_at"],
    }
