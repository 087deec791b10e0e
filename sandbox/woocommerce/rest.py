"""WooCommerce's REST API v3 over http: routes, permissions, paging, and refusals in WordPress's words."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import orjson
from flask import Blueprint, Response, g, request

from sandbox.catalogue import PRODUCTS
from sandbox.faults import Gate, VendorWords
from sandbox.woocommerce import WooCommerce, orders
from sandbox.woocommerce.oauth1 import AuthenticationError
from sandbox.woocommerce.webhooks import STATUSES as WEBHOOK_STATUSES
from sandbox.woocommerce.webhooks import is_topic, php_json
from sandbox.world import Record

ORDER_INVALID = "woocommerce_rest_shop_order_invalid_id"
WEBHOOK_INVALID = "woocommerce_rest_shop_webhook_invalid_id"
LIST = ("woocommerce_rest_cannot_view", "Sorry, you cannot list resources.")
VIEW = ("woocommerce_rest_cannot_view", "Sorry, you cannot view this resource.")
CREATE = ("woocommerce_rest_cannot_create", "Sorry, you are not allowed to create resources.")
EDIT = ("woocommerce_rest_cannot_edit", "Sorry, you are not allowed to edit this resource.")
DELETE = ("woocommerce_rest_cannot_delete", "Sorry, you are not allowed to delete this resource.")
BATCH = ("woocommerce_rest_cannot_batch", "Sorry, you are not allowed to batch manipulate this resource.")


class RestError(Exception):
    def __init__(self, code: str, message: str, status: int, data: Record | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"code": code, "message": message, "data": {"status": status} | (data or {})}


def invalid_parameter(name: str, message: str, code: str = "rest_invalid_param") -> RestError:
    details = {name: {"code": code, "message": message, "data": None}}
    return RestError(
        "rest_invalid_param",
        f"Invalid parameter(s): {name}",
        400,
        {"params": {name: message}, "details": details},
    )


def not_in(name: str, allowed: tuple[str, ...]) -> RestError:
    return invalid_parameter(
        name, f"{name} is not one of {', '.join(allowed[:-1])}, and {allowed[-1]}.", "rest_not_in_enum"
    )


def answer(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    response = Response(php_json(value), status, content_type="application/json; charset=UTF-8")
    response.headers["X-Robots-Tag"] = "noindex"
    response.headers.update(headers or {})
    return response


def server_error(dice: random.Random) -> Response:
    if dice.random() < 0.5:
        page = "<!DOCTYPE html><html><head><title>503 Service Unavailable</title></head><body></body></html>"
        return Response(page, 503, content_type="text/html")
    message = "<p>There has been a critical error on this website.</p>"
    return answer({"code": "internal_server_error", "message": message, "data": {"status": 500}}, 500)


def throttled(dice: random.Random) -> Response:
    page = "<html><head><title>429 Too Many Requests</title></head><body><center>nginx</center></body></html>"
    response = Response(page, 429, content_type="text/html")
    response.headers["Retry-After"] = "2"
    return response


WORDS = VendorWords(error=server_error, throttled=throttled)
Handler = Callable[..., Response]


class Rest:
    def __init__(self, woo: WooCommerce) -> None:
        self._woo = woo
        self._world = woo.world
        number = r"(?P<id>\d{1,15})"
        self._routes: list[tuple[str, re.Pattern[str], Handler, tuple[str, str], str]] = [
            (methods, re.compile(path), handler, right, scope)
            for methods, path, handler, right, scope in (
                ("GET", r"orders", self.list_orders, LIST, "read"),
                ("POST", r"orders", self.create_order, CREATE, "write"),
                ("POST PUT PATCH", r"orders/batch", self.batch_orders, BATCH, "write"),
                ("GET", rf"orders/{number}", self.get_order, VIEW, "read"),
                ("POST PUT PATCH", rf"orders/{number}", self.update_order, EDIT, "write"),
                ("DELETE", rf"orders/{number}", self.delete_order, DELETE, "write"),
                ("GET", rf"orders/{number}/notes", self.list_notes, LIST, "read"),
                ("POST", rf"orders/{number}/notes", self.create_note, CREATE, "write"),
                ("GET", rf"orders/{number}/notes/(?P<note>\d{{1,15}})", self.get_note, VIEW, "read"),
                ("DELETE", rf"orders/{number}/notes/(?P<note>\d{{1,15}})", self.delete_note, DELETE, "write"),
                ("GET", rf"orders/{number}/refunds", self.list_refunds, LIST, "read"),
                ("POST", rf"orders/{number}/refunds", self.create_refund, CREATE, "write"),
                ("GET", r"webhooks", self.list_webhooks, LIST, "read"),
                ("POST", r"webhooks", self.create_webhook, CREATE, "write"),
                ("GET", rf"webhooks/{number}", self.get_webhook, VIEW, "read"),
                ("POST PUT PATCH", rf"webhooks/{number}", self.update_webhook, EDIT, "write"),
                ("DELETE", rf"webhooks/{number}", self.delete_webhook, DELETE, "write"),
                ("GET", r"products", self.list_products, LIST, "read"),
                ("GET", rf"products/{number}", self.get_product, VIEW, "read"),
                ("GET", r"system_status", self.system_status, LIST, "read"),
                ("GET", r"payment_gateways", self.payment_gateways, LIST, "read"),
                ("GET", r"settings/general", self.general_settings, LIST, "read"),
                ("GET", r"reports/orders/totals", self.order_totals, LIST, "read"),
            )
        ]

    def blueprint(self) -> Blueprint:
        rest = Blueprint("woocommerce_rest", __name__, url_prefix="/woo/wp-json")
        Gate(self._world, "woocommerce", WORDS).guard(rest)
        rest.add_url_rule("/", view_func=self.index)
        rest.add_url_rule("/wc/v3", view_func=self.namespace)
        methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
        rest.add_url_rule("/wc/v3/<path:path>", view_func=self.dispatch, methods=methods)
        rest.add_url_rule("/<path:path>", view_func=self.nothing, methods=methods)
        return rest

    # Finding the handler and the caller

    def index(self) -> Response:
        home = self._woo.home
        return answer(
            {
                "name": self._woo.store["name"],
                "description": "",
                "url": home,
                "home": home,
                "gmt_offset": 5,
                "timezone_string": "Asia/Karachi",
                "page_for_posts": 0,
                "page_on_front": 0,
                "show_on_front": "posts",
                "namespaces": ["oembed/1.0", "wc/store", "wc/store/v1", "wc/v1", "wc/v2", "wc/v3", "wp/v2"],
                "authentication": {},
                "routes": {"/wc/v3": {"namespace": "wc/v3", "methods": ["GET"]}},
                "site_logo": 0,
                "site_icon": 0,
                "site_icon_url": "",
                "_links": {"help": [{"href": "https://developer.wordpress.org/rest-api/"}]},
            }
        )

    def namespace(self) -> Response:
        return answer({"namespace": "wc/v3", "routes": {}})

    def nothing(self, path: str = "") -> Response:
        return answer(
            {
                "code": "rest_no_route",
                "message": "No route was found matching the URL and request method.",
                "data": {"status": 404},
            },
            404,
        )

    def dispatch(self, path: str) -> Response:
        path = path.rstrip("/")
        for methods, pattern, handler, right, scope in self._routes:
            match = pattern.fullmatch(path)
            if match is None or request.method not in methods.split():
                continue
            try:
                self._authorise(right, scope)
                with self._world.lock:
                    found = {name: int(value) for name, value in match.groupdict().items()}
                    unlocked = handler in (self.create_webhook, self.update_webhook)
                    if not unlocked:
                        return handler(**found)
                return handler(**found)  # these ping the app, which may call the store meanwhile
            except AuthenticationError as error:
                return answer({"code": error.code, "message": error.message, "data": {"status": 401}}, 401)
            except RestError as error:
                return answer(error.body, error.status)
        return self.nothing()

    def _authorise(self, right: tuple[str, str], scope: str) -> None:
        key = self._woo.keys.of_request(
            request.method,
            f"{self._woo.home}{request.path.removeprefix('/woo')}",
            request.query_string.decode("utf-8", "replace"),
            request.headers.get("Authorization", ""),
        )
        if key is not None and scope not in key["permissions"]:
            raise AuthenticationError(f"The API key provided does not have {scope} permissions.")
        if key is None or not self._woo.store["owner_has_rights"]:
            raise RestError(*right, 401)
        key["last_access"] = int(self._world.clock.time())
        self._woo.keys.keys.touch(key["consumer_key"])

    # Reading a request

    @staticmethod
    def _body() -> Record:
        if request.mimetype == "application/x-www-form-urlencoded":
            return dict(request.form)
        raw = request.get_data(cache=True)
        if not raw:
            return {}
        try:
            body = orjson.loads(raw)
        except ValueError:
            message = "Invalid JSON body passed."
            raise RestError("rest_invalid_json", message, 400, {"json_error_code": 4}) from None
        return body if isinstance(body, dict) else {}

    @staticmethod
    def _int(name: str, usual: int, least: int, most: int) -> int:
        raw = request.args.get(name)
        if raw is None or raw == "":
            return usual
        if not re.fullmatch(r"-?\d{1,12}", raw):
            raise invalid_parameter(name, f"{name} is not of type integer.", "rest_invalid_type")
        value = int(raw)
        if not least <= value <= most:
            message = f"{name} must be between {least} (inclusive) and {most} (inclusive)"
            raise invalid_parameter(name, message, "rest_out_of_bounds")
        return value

    @staticmethod
    def _choice(name: str, usual: str, allowed: tuple[str, ...]) -> str:
        value = request.args.get(name) or usual
        if value not in allowed:
            raise not_in(name, allowed)
        return value

    @staticmethod
    def _time(name: str) -> float | None:
        """A date without zone is the store's local time, unless dates_are_gmt says otherwise."""
        raw = request.args.get(name)
        if not raw:
            return None
        try:
            at = datetime.fromisoformat(raw)
        except ValueError:
            raise invalid_parameter(name, "Invalid date.", "rest_invalid_date") from None
        if at.tzinfo is None:
            in_gmt = (request.args.get("dates_are_gmt") or "").lower() in ("1", "true")
            at = at.replace(tzinfo=orders.UTC if in_gmt else orders.ZONE)
        try:
            return at.timestamp()
        except (OverflowError, ValueError):
            raise invalid_parameter(name, "Invalid date.", "rest_invalid_date") from None

    @staticmethod
    def _fields(value: Record) -> Record:
        asked = [name.strip().partition(".")[0] for name in request.args.get("_fields", "").split(",") if name.strip()]
        return {key: inner for key, inner in value.items() if key in asked} if asked else value

    def _page(self, found: list[Record], render: Callable[[Record], Record]) -> Response:
        page = self._int("page", 1, 1, 10**9)
        per_page = self._int("per_page", 10, 1, 100)
        pages = -(-len(found) // per_page)
        headers = {"X-WP-Total": str(len(found)), "X-WP-TotalPages": str(pages)}
        address = f"{self._woo.home}{request.path.removeprefix('/woo')}"
        links = []
        for rel, number, there in (("prev", page - 1, page > 1), ("next", page + 1, page < pages)):
            if there:
                query = [(k, v) for k, v in request.args.items(multi=True) if k != "page" and "oauth_" not in k]
                links.append(f'<{address}?{urlencode([*query, ("page", number)])}>; rel="{rel}"')
        if links:
            headers["Link"] = ", ".join(links)
        chosen = found[(page - 1) * per_page : page * per_page]
        return answer([self._fields(render(one)) for one in chosen], 200, headers)

    # Orders

    def _rendered(self, order: Record) -> Record:
        return orders.rendered(order, self._woo.home)

    def _order(self, id: int) -> Record:
        order = self._woo.orders.get(str(id))
        if order is None:
            raise RestError(ORDER_INVALID, "Invalid ID.", 404)
        return order

    def list_orders(self) -> Response:
        wanted = [
            status.removeprefix("wc-")
            for values in (request.args.getlist("status"), request.args.getlist("status[]"))
            for value in values
            for status in value.split(",")
            if status
        ] or ["any"]
        for status in wanted:
            if status not in ("any", "trash", *orders.SETTABLE):
                raise not_in("status[0]", ("any", "trash", *orders.SETTABLE))
        order_by = self._choice("orderby", "date", ("date", "id", "include", "title", "slug", "modified"))
        backwards = self._choice("order", "desc", ("asc", "desc")) == "desc"
        bounds = {name: self._time(name) for name in ("after", "before", "modified_after", "modified_before")}
        include = {int(part) for part in request.args.get("include", "").split(",") if part.strip().isdigit()}
        search = request.args.get("search", "").casefold()
        via = request.args.get("created_via")

        def chosen(order: Record) -> bool:
            if order["status"] not in wanted and ("any" not in wanted or order["status"] == "trash"):
                return False
            created, modified = order["created"], order["modified"]
            if bounds["after"] is not None and not created > bounds["after"]:
                return False
            if bounds["before"] is not None and not created < bounds["before"]:
                return False
            if bounds["modified_after"] is not None and not modified > bounds["modified_after"]:
                return False
            if bounds["modified_before"] is not None and not modified < bounds["modified_before"]:
                return False
            if include and order["id"] not in include:
                return False
            if via and order["created_via"] not in via.split(","):
                return False
            billing = order["billing"]
            return not search or any(
                search in str(value).casefold() for value in (order["id"], billing["email"], billing["phone"])
            )

        found = [order for order in self._woo.orders.values() if chosen(order)]
        key = {"date": "created", "modified": "modified"}.get(order_by, "id")
        found.sort(key=lambda order: (order[key], order["id"]), reverse=backwards)
        return self._page(found, self._rendered)

    def get_order(self, id: int) -> Response:
        return answer(self._fields(self._rendered(self._order(id))))

    def create_order(self) -> Response:
        return answer(self._rendered(self._created(self._body())), 201)

    def _created(self, stated: Record) -> Record:
        status = self._status_in(stated)
        order = orders.blank(self._world, "rest-api")
        self._apply(order, stated)
        for line in self._objects(stated, "line_items"):
            product = next(
                (
                    product
                    for product in PRODUCTS.values()
                    if line.get("sku") == product.sku
                    or (
                        line.get("product_id") == product.product_number
                        and line.get("variation_id", 0) in (0, product.variant_number)
                    )
                ),
                None,
            )
            if product is None:
                raise RestError("woocommerce_rest_invalid_product_id", "Product ID provided does not exist.", 400)
            quantity = line.get("quantity", 1)
            if not isinstance(quantity, int) or isinstance(quantity, bool) or not 0 < quantity <= 10**6:
                raise invalid_parameter("line_items", "line_items[0][quantity] is not of type integer.")
            order["lines"].append(orders.product_line(self._world, product, quantity))
        for line in self._objects(stated, "shipping_lines"):
            shipping = orders.shipping_line(self._world, (), False)
            for name in ("method_title", "method_id"):
                if isinstance(line.get(name), str):
                    shipping[name] = line[name]
            if re.fullmatch(r"\d{1,9}(\.\d{1,2})?", str(line.get("total", ""))):
                shipping["total"] = orders.money(orders.Decimal(str(line["total"])))
            order["shipping_lines"].append(shipping)
        self._woo.create_by_rest(order, status or "pending")
        if stated.get("set_paid") is True:
            self._woo.complete_payment(order, order["transaction_id"])
        return order

    def update_order(self, id: int) -> Response:
        return answer(self._rendered(self._updated(self._order(id), self._body())))

    def _updated(self, order: Record, stated: Record) -> Record:
        status = self._status_in(stated)
        self._apply(order, stated)
        self._woo.save(order, status)
        if stated.get("set_paid") is True and orders.needs_payment(order):
            self._woo.complete_payment(order, order["transaction_id"])
        return order

    @staticmethod
    def _status_in(stated: Record) -> str | None:
        status = stated.get("status")
        if status is None:
            return None
        if not isinstance(status, str) or status not in orders.SETTABLE:
            raise not_in("status", orders.SETTABLE)
        return status

    @staticmethod
    def _objects(stated: Record, name: str) -> list[Record]:
        value = stated.get(name)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
            raise invalid_parameter(name, f"{name} is not of type array.", "rest_invalid_type")
        return value

    def _apply(self, order: Record, stated: Record) -> None:
        """The plain fields of a write. Checked whole before anything is changed."""
        texts = ("transaction_id", "customer_note", "payment_method", "payment_method_title")
        for name in texts:
            if name in stated and not isinstance(stated[name], str):
                raise invalid_parameter(name, f"{name} is not of type string.", "rest_invalid_type")
        for name in ("billing", "shipping"):
            if name in stated and not isinstance(stated[name], dict):
                raise invalid_parameter(name, f"{name} is not of type object.", "rest_invalid_type")
        meta = self._objects(stated, "meta_data")
        for name in texts:
            if name in stated:
                order[name] = stated[name]
        for name in ("billing", "shipping"):
            for key, value in stated.get(name, {}).items():
                if key in order[name] and isinstance(value, str):
                    order[name][key] = value
        orders.set_meta(self._world, order, meta)

    def delete_order(self, id: int) -> Response:
        order = self._order(id)
        shown = self._rendered(order)
        if (request.args.get("force") or "").lower() in ("1", "true"):
            self._woo.erase(order)
            return answer(shown)
        if order["status"] == "trash":
            raise RestError("woocommerce_rest_already_trashed", "The order has already been deleted.", 410)
        self._woo.trash(order)
        return answer(self._rendered(order))

    def batch_orders(self) -> Response:
        body = self._body()
        create, update, delete = (body.get(name) or [] for name in ("create", "update", "delete"))
        if not all(isinstance(part, list) for part in (create, update, delete)):
            raise invalid_parameter("create", "create is not of type array.", "rest_invalid_type")
        if len(create) + len(update) + len(delete) > 100:
            message = "Unable to accept more than 100 items for this request."
            raise RestError("woocommerce_rest_request_entity_too_large", message, 413)
        reply: Record = {}
        for name, items, act in (
            ("create", create, self._created),
            ("update", update, lambda item: self._updated(self._order(int(item.get("id") or 0)), item)),
        ):
            if items:
                reply[name] = [self._one(item, act) for item in items]
        if delete:
            reply["delete"] = [self._one({"id": id}, lambda item: self._trashed(item["id"])) for id in delete]
        return answer(reply)

    def _trashed(self, id: Any) -> Record:
        order = self._order(id if isinstance(id, int) else 0)
        if order["status"] != "trash":
            self._woo.trash(order)
        return order

    def _one(self, item: Any, act: Callable[[Record], Record]) -> Record:
        """One entry of a batch: its result or its own error, the whole is 200."""
        try:
            if not isinstance(item, dict):
                raise invalid_parameter("id", "id is not of type integer.")
            return self._rendered(act(item))
        except (TypeError, ValueError):
            return {"id": 0, "error": RestError(ORDER_INVALID, "Invalid ID.", 404).body}
        except RestError as error:
            id = item.get("id", 0) if isinstance(item, dict) else 0
            return {"id": id if isinstance(id, int) else 0, "error": error.body}

    # Notes and refunds

    def list_notes(self, id: int) -> Response:
        order = self._order(id)
        kind = self._choice("type", "any", ("any", "customer", "internal"))
        found = [note for note in order["notes"] if kind == "any" or note["customer_note"] == (kind == "customer")]
        return answer([orders.rendered_note(note, order, self._woo.home) for note in reversed(found)])

    def _note(self, order: Record, id: int) -> Record:
        note: Record | None = next((note for note in order["notes"] if note["id"] == id), None)
        if note is None:
            raise RestError("woocommerce_rest_order_note_invalid_id", "Invalid resource ID.", 404)
        return note

    def get_note(self, id: int, note: int) -> Response:
        order = self._order(id)
        return answer(orders.rendered_note(self._note(order, note), order, self._woo.home))

    def create_note(self, id: int) -> Response:
        order, stated = self._order(id), self._body()
        text = stated.get("note")
        if not isinstance(text, str) or not text:
            missing = {"params": ["note"]}
            raise RestError("rest_missing_callback_param", "Missing parameter(s): note", 400, missing)
        author = "merchant" if stated.get("added_by_user") in (True, "true") else "WooCommerce"
        note = orders.note(self._world, order, text, stated.get("customer_note") in (True, "true"), author)
        self._woo.orders.touch(str(id))  # a note saves no order: no webhook, no new modification date
        return answer(orders.rendered_note(note, order, self._woo.home), 201)

    def delete_note(self, id: int, note: int) -> Response:
        order = self._order(id)
        if (request.args.get("force") or "").lower() not in ("1", "true"):
            message = "Webhooks do not support trashing."
            raise RestError("woocommerce_rest_trash_not_supported", message, 501)
        found = self._note(order, note)
        order["notes"].remove(found)
        self._woo.orders.touch(str(id))
        return answer(orders.rendered_note(found, order, self._woo.home))

    def _rendered_refund(self, one: Record) -> Record:
        return {
            "id": one["id"],
            "date_created": orders.local(one["at"]),
            "date_created_gmt": orders.gmt(one["at"]),
            "amount": one["amount"],
            "reason": one["reason"],
            "refunded_by": 1,
            "refunded_payment": False,
            "meta_data": [],
            "line_items": [],
        }

    def list_refunds(self, id: int) -> Response:
        return answer([self._rendered_refund(one) for one in self._order(id)["refunds"]])

    def create_refund(self, id: int) -> Response:
        order, stated = self._order(id), self._body()
        amount = str(stated.get("amount", ""))
        if not re.fullmatch(r"\d{1,9}(\.\d{1,2})?", amount) or float(amount) <= 0:
            raise RestError("woocommerce_rest_invalid_order_refund", "Refund amount must be greater than zero.", 400)
        left = float(orders.total_of(order)) - sum(float(one["amount"]) for one in order["refunds"])
        if float(amount) > left + 0.001:
            raise RestError("woocommerce_rest_cannot_create_order_refund", "Invalid refund amount.", 500)
        if stated.get("api_refund", True) is not False:
            message = "The payment gateway for this order does not support automatic refunds."
            raise RestError("woocommerce_rest_cannot_create_order_refund", message, 500)
        reason = stated.get("reason") if isinstance(stated.get("reason"), str) else ""
        one = self._woo.refund(order, orders.money(orders.Decimal(amount)), reason or "")
        return answer(self._rendered_refund(one), 201)

    # Webhooks

    def _webhook(self, id: int) -> Record:
        hook = self._woo.webhooks.hooks.get(str(id))
        if hook is None:
            raise RestError(WEBHOOK_INVALID, "Invalid ID.", 404)
        return hook

    def list_webhooks(self) -> Response:
        status = self._choice("status", "all", ("all", *WEBHOOK_STATUSES))
        found = [hook for hook in self._woo.webhooks.hooks.values() if status in ("all", hook["status"])]
        found.sort(key=lambda hook: hook["id"], reverse=self._choice("order", "desc", ("asc", "desc")) == "desc")
        return self._page(found, self._woo.webhooks.rendered)

    def get_webhook(self, id: int) -> Response:
        return answer(self._fields(self._woo.webhooks.rendered(self._webhook(id))))

    def _checked_webhook(self, stated: Record, new: bool) -> Record:
        for name in ("topic", "delivery_url"):
            if new and name not in stated:
                missing = {"params": [name]}
                raise RestError("rest_missing_callback_param", f"Missing parameter(s): {name}", 400, missing)
        if ("topic" in stated or new) and not is_topic(stated.get("topic")):
            message = "Webhook topic must be valid."
            raise RestError("woocommerce_rest_shop_webhook_invalid_topic", message, 400)
        url = stated.get("delivery_url")
        if ("delivery_url" in stated or new) and not (
            isinstance(url, str) and re.match(r"https?://[^\s/]+", url) and len(url) < 2000
        ):
            message = "Webhook delivery URL must be a valid URL starting with http:// or https://."
            raise RestError("woocommerce_rest_shop_webhook_invalid_delivery_url", message, 400)
        if stated.get("status") is not None and stated["status"] not in WEBHOOK_STATUSES:
            raise not_in("status", WEBHOOK_STATUSES)
        for name in ("name", "secret"):
            if stated.get(name) is not None and not isinstance(stated[name], str):
                raise invalid_parameter(name, f"{name} is not of type string.", "rest_invalid_type")
        return stated

    def create_webhook(self) -> Response:
        hook = self._woo.webhooks.create(self._checked_webhook(self._body(), new=True))
        g.what = f"create webhook {hook['topic']}"
        return answer(self._woo.webhooks.rendered(hook), 201)

    def update_webhook(self, id: int) -> Response:
        hook = self._webhook(id)
        self._woo.webhooks.update(hook, self._checked_webhook(self._body(), new=False))
        return answer(self._woo.webhooks.rendered(hook))

    def delete_webhook(self, id: int) -> Response:
        hook = self._webhook(id)
        if (request.args.get("force") or "").lower() not in ("1", "true"):
            message = "Webhooks do not support trashing."
            raise RestError("woocommerce_rest_trash_not_supported", message, 501)
        self._woo.webhooks.hooks.drop(str(id))
        return answer(self._woo.webhooks.rendered(hook))

    # The rest

    def list_products(self) -> Response:
        found = sorted(self._woo.products.values(), key=lambda product: product["id"], reverse=True)
        if sku := request.args.get("sku"):
            found = [product for product in found if product["sku"] in sku.split(",")]
        return self._page(found, self._woo.rendered_product)

    def get_product(self, id: int) -> Response:
        product = self._woo.products.get(str(id))
        if product is None:
            raise RestError("woocommerce_rest_product_invalid_id", "Invalid ID.", 404)
        return answer(self._fields(self._woo.rendered_product(product)))

    def general_settings(self) -> Response:
        """The options that say where the shop is; country and state share one value."""
        return answer(
            [
                {
                    "id": "woocommerce_default_country",
                    "label": "Country / State",
                    "type": "select",
                    "value": "PK:SD",
                },
                {"id": "woocommerce_currency", "label": "Currency", "type": "select", "value": "PKR"},
            ]
        )

    def system_status(self) -> Response:
        return answer(
            {
                "environment": {
                    "home_url": self._woo.home,
                    "site_url": self._woo.home,
                    "version": orders.VERSION,
                    "wp_version": orders.WORDPRESS,
                    "wp_multisite": False,
                    "wp_memory_limit": 268435456,
                    "wp_debug_mode": False,
                    "wp_cron": True,
                    "language": "en_US",
                    "server_info": "nginx",
                    "php_version": "8.3.14",
                },
                "database": {"wc_database_version": orders.VERSION},
                "active_plugins": [
                    {
                        "plugin": "woocommerce/woocommerce.php",
                        "name": "WooCommerce",
                        "version": orders.VERSION,
                    }
                ],
                "inactive_plugins": [],
                "theme": {"name": "Twenty Twenty-Five", "version": "1.3"},
                "settings": {
                    "api_enabled": False,
                    "force_ssl": False,
                    "currency": "PKR",
                    "currency_symbol": "&#8360;",
                    "currency_position": "left",
                    "thousand_separator": ",",
                    "decimal_separator": ".",
                    "number_of_decimals": 2,
                    "HPOS_enabled": True,
                    "order_datastore": "Automattic\\WooCommerce\\Internal\\DataStores\\Orders\\OrdersTableDataStore",
                },
                "security": {"secure_connection": False, "hide_errors": True},
                "pages": [
                    {
                        "page_name": "Checkout",
                        "page_id": "8",
                        "page_set": True,
                        "page_exists": True,
                        "page_visible": True,
                        "shortcode": "[woocommerce_checkout]",
                        "block": "woocommerce/checkout",
                        "shortcode_present": False,
                        "block_present": True,
                    }
                ],
                "post_type_counts": [],
                "logging": {
                    "logging_enabled": True,
                    "default_handler": "LogHandlerFileV2",
                    "retention_period_days": 30,
                },
            }
        )

    def payment_gateways(self) -> Response:
        base = f"{self._woo.home}/wp-json/wc/v3/payment_gateways"
        return answer(
            [
                {
                    "id": gateway,
                    "title": title,
                    "description": "",
                    "order": place,
                    "enabled": True,
                    "method_title": title,
                    "method_description": "",
                    "method_supports": ["products"],
                    "settings": {},
                    "needs_setup": False,
                    "post_install_scripts": [],
                    "settings_url": f"{self._woo.home}/wp-admin/",
                    "connection_url": None,
                    "setup_help_text": None,
                    "required_settings_keys": [],
                    "_links": {"self": [{"href": f"{base}/{gateway}"}], "collection": [{"href": base}]},
                }
                for place, (gateway, title) in enumerate(orders.TITLES.items())
            ]
        )

    def order_totals(self) -> Response:
        held = [order["status"] for order in self._woo.orders.values()]
        return answer(
            [{"slug": status, "name": orders.NAMES[status], "total": held.count(status)} for status in orders.STATUSES]
        )
