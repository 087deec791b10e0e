"""The store's pages: wc-auth (how an app gets its keys) and wp-admin as the merchant sees it."""

from __future__ import annotations

import hmac
import re
import secrets
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from flask import Blueprint, Response, render_template, request

from sandbox.answers import see_other, with_query
from sandbox.delivery import Caller, Outgoing, Unreachable, is_loopback
from sandbox.errors import Refusal
from sandbox.woocommerce import OWNER, WooCommerce, orders
from sandbox.woocommerce.merchant import act
from sandbox.woocommerce.webhooks import php_json
from sandbox.world import Record

COOKIE = "wordpress_logged_in_sandbox"
REQUIRED = ("app_name", "user_id", "return_url", "callback_url", "scope")
PERMISSIONS = {
    "read": ["View coupons", "View customers", "View orders and sales reports", "View products"],
    "write": ["Create webhooks", "Create coupons", "Create customers", "Create orders", "Create products"],
    "read_write": [
        "Create webhooks",
        "View and manage coupons",
        "View and manage customers",
        "View and manage orders and sales reports",
        "View and manage products",
    ],
}


class AuthProblem(Exception):
    """wc-auth shows its refusals as a page, with status 401."""


class Pages:
    def __init__(self, woo: WooCommerce) -> None:
        self._woo = woo
        self._world = woo.world
        self._sessions = woo.world.shelf("woo_sessions")

    def blueprint(self) -> Blueprint:
        pages = Blueprint("woocommerce_pages", __name__, url_prefix="/woo")
        both = ["GET", "POST"]
        pages.add_url_rule("/", view_func=self.front)
        pages.add_url_rule("/wc-auth/v1/authorize", view_func=self.authorize, methods=both)
        pages.add_url_rule("/wc-auth/v1/authorize/", view_func=self.authorize, methods=both)
        pages.add_url_rule("/wc-auth/v1/login/", view_func=self.login, methods=both)
        pages.add_url_rule("/wc-auth/v1/access_granted/", view_func=self.granted, methods=both)
        pages.add_url_rule("/checkout/order-pay/<order_id>/", view_func=self.pay_page)
        pages.add_url_rule("/wp-admin/", view_func=self.admin)
        pages.add_url_rule("/wp-admin/orders/<order_id>", view_func=self.act, methods=["POST"])
        pages.register_error_handler(AuthProblem, self.problem)
        return pages

    def front(self) -> Response:
        return see_other("/woo/wp-admin/")

    # wc-auth

    def problem(self, error: AuthProblem) -> Response:
        return Response(render_template("woo/problem.html", problem=str(error), store=self._woo.store), 401)

    def _given(self) -> dict[str, str]:
        """The five required parameters, checked."""
        given = {name: request.values.get(name, "").strip() for name in REQUIRED}
        for name, value in given.items():
            if not value:
                raise AuthProblem(f"Missing parameter {name}")
        given["app_name"] = _sanitised(given["app_name"])
        given["user_id"] = _sanitised(given["user_id"])
        if given["scope"] not in PERMISSIONS:
            raise AuthProblem(f"Invalid scope {_sanitised(given['scope'])}")
        for name in ("return_url", "callback_url"):
            if not re.match(r"https?://", given[name]):
                given[name] = "https://" + given[name]
            try:
                parts = urlsplit(given[name])
                if not parts.hostname:
                    raise ValueError
            except ValueError:
                raise AuthProblem(f"The {name} is not a valid URL") from None
            if name == "callback_url" and parts.scheme != "https" and not self._loopback(parts.hostname):
                raise AuthProblem("The callback_url needs to be over SSL")
        return given

    def _loopback(self, host: str) -> bool:
        return self._world.settings.woocommerce_loopback_http_callback and is_loopback(host)

    def _session(self) -> Record | None:
        return self._sessions.get(request.cookies.get(COOKIE, ""))

    def authorize(self) -> Response | str:
        given = self._given()
        session = self._session()
        if session is None:
            return see_other(f"/woo/wc-auth/v1/login/?{urlencode(given)}")
        self._check_rights()
        callback_host = urlsplit(given["callback_url"]).netloc
        return render_template(
            "woo/grant.html",
            given=given,
            store=self._woo.store,
            permissions=PERMISSIONS[given["scope"]],
            callback_host=callback_host,
            nonce=session["nonce"],
            deny=with_query(given["return_url"], success="0", user_id=given["user_id"]),
            user=OWNER,
        )

    def login(self) -> Response | str:
        given = self._given()
        wrong = ""
        if request.method == "POST":
            login, password = request.form.get("username", ""), request.form.get("password", "")
            known = login in (OWNER["login"], OWNER["email"])
            if known and hmac.compare_digest(password.encode(), OWNER["password"].encode()):
                cookie = secrets.token_urlsafe(32)
                self._sessions.put(cookie, {"nonce": secrets.token_hex(5)})
                response = see_other(f"/woo/wc-auth/v1/authorize?{urlencode(given)}")
                response.set_cookie(COOKIE, cookie, path="/woo", httponly=True, samesite="Lax")
                return response
            wrong = "Error: The username or password you entered is incorrect."
        return render_template("woo/login.html", given=given, store=self._woo.store, owner=OWNER, wrong=wrong)

    def _check_rights(self) -> None:
        if not self._woo.store["owner_has_rights"]:
            raise AuthProblem("You do not have permission to access this page")

    def granted(self) -> Response:
        """Approve: the key is made, posted to the callback, and kept only if that answers exactly 200."""
        given = self._given()
        session = self._session()
        nonce = request.values.get("wc_auth_nonce", "")
        if session is None or not hmac.compare_digest(nonce.encode(), session["nonce"].encode()):
            raise AuthProblem("Invalid nonce verification")
        self._check_rights()
        key = self._new_key(given)
        body = php_json(
            {
                "key_id": key["key_id"],
                "user_id": given["user_id"],
                "consumer_key": key["consumer_key"],
                "consumer_secret": key["consumer_secret"],
                "key_permissions": given["scope"],
            }
        )
        headers = (
            ("User-Agent", f"WordPress/{orders.WORDPRESS}; {self._woo.home}"),
            ("Accept", "*/*"),
            ("Accept-Encoding", "deflate, gzip, br, zstd"),
            ("Content-Type", "application/json;charset=UTF-8"),
            ("Connection", "close"),
            ("Content-Length", str(len(body))),
        )
        status, problem = None, ""
        try:
            call = Outgoing(given["callback_url"], headers, body, "wc-auth key")
            status = Caller(self._world.settings.app_url).send(call, 60.0, keep_alive=False).status
        except Unreachable as error:
            problem = f": {error}"
        outcome = "delivered" if status == 200 else "refused, the key is deleted again"
        self._world.log.add("woocommerce", "webhook", "wc-auth key to the callback", outcome, status=status)
        if status != 200:
            self._woo.keys.keys.drop(key["consumer_key"])
            raise AuthProblem(
                f"An error occurred in the request and at the time were unable to send the consumer data{problem}"
            )
        return see_other(with_query(given["return_url"], success="1", user_id=given["user_id"]))

    def _new_key(self, given: dict[str, str]) -> Record:
        with self._world.lock:
            consumer_key = "ck_" + secrets.token_hex(20)
            now = self._world.clock.now().strftime("%Y-%m-%d %H:%M:%S")
            return self._woo.keys.keys.put(
                consumer_key,
                {
                    "key_id": self._world.next_number("woo_key"),
                    "consumer_key": consumer_key,
                    "consumer_secret": "cs_" + secrets.token_hex(20),
                    "permissions": given["scope"],
                    "description": f"{given['app_name']} - API ({now})",
                    "last_access": None,
                },
            )

    # wp-admin

    def pay_page(self, order_id: str) -> Response | str:
        order = self._woo.order(order_id)
        if order is None or request.args.get("key") != order["order_key"]:
            return Response(render_template("woo/problem.html", problem="Invalid order.", store=self._woo.store), 404)
        return render_template("woo/pay.html", order=order, total=orders.total_of(order), store=self._woo.store)

    def admin(self) -> str:
        found = self._woo.orders.values()
        install = f"{self._world.settings.app_url}/install/woocommerce?store_url={quote(self._woo.home, safe='')}"
        return render_template(
            "woo/admin.html",
            store=self._woo.store,
            home=self._woo.home,
            orders=[(order, orders.total_of(order)) for order in found[:-101:-1]],
            total=len(found),
            names=orders.NAMES,
            local=orders.local,
            hooks=self._woo.webhooks.hooks.values(),
            keys=self._woo.keys.keys.values(),
            open=request.args.get("order"),
            problem=request.args.get("problem"),
            install=install,
        )

    def act(self, order_id: str) -> Response:
        problem = ""
        try:
            order = self._woo.order(order_id)
            if order is None:
                raise Refusal(f"There is no order {order_id}.", 404)
            act(self._woo, order, {"action": request.form.get("action"), **request.form})
        except Refusal as refusal:
            problem = refusal.sentence
        query = urlencode({"order": order_id} | ({"problem": problem} if problem else {}))
        return see_other(f"/woo/wp-admin/?{query}#order-{order_id}")


def _sanitised(text: Any) -> str:
    """WordPress's sanitize_text_field, as far as it shows: no tags, no line breaks, no percent-encoding."""
    text = re.sub(r"<[^>]*>|%[a-fA-F0-9]{2}", "", str(text))
    return re.sub(r"\s+", " ", text).strip()[:500]
