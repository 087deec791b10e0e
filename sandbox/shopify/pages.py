"""Shopify over HTTP: the token endpoint and Admin API of each store, the merchant's admin, the App Bridge stand-in."""

from __future__ import annotations

import base64
import hashlib
import hmac
import random
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import orjson
from flask import Blueprint, Response, g, render_template, request, send_from_directory

from sandbox.answers import see_other
from sandbox.errors import Refusal
from sandbox.faults import Gate, VendorWords
from sandbox.shopify import Shopify
from sandbox.shopify.admin_api import AdminApi, answered_version
from sandbox.shopify.merchant import act
from sandbox.shopify.tokens import Denied, OAuthError
from sandbox.world import Record

APP_HANDLE = "dastak"
STATIC = Path(__file__).parents[1] / "static"


def json_answer(value: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(value), status, content_type="application/json; charset=utf-8")


def server_error(dice: random.Random) -> Response:
    if dice.random() < 0.5:
        return json_answer({"errors": "Internal Server Error"}, 500)
    return Response("<html><body>503 Service Unavailable</body></html>", 503, content_type="text/html")


def throttled(dice: random.Random) -> Response:
    """The edge says 429; the GraphQL API itself says 200 with THROTTLED."""
    if request.path.endswith("/graphql.json") and dice.random() < 0.5:
        cost = {
            "requestedQueryCost": 12,
            "actualQueryCost": None,
            "throttleStatus": {"maximumAvailable": 2000.0, "currentlyAvailable": 0, "restoreRate": 100.0},
        }
        error = {"message": "Throttled", "extensions": {"code": "THROTTLED"}}
        return json_answer({"errors": [error], "extensions": {"cost": cost}})
    response = json_answer({"errors": "Too many requests"}, 429)
    response.headers["Retry-After"] = "1.0"
    return response


WORDS = VendorWords(error=server_error, throttled=throttled)


def host_parameter(handle: str) -> str:
    """What Shopify calls `host`: base64 of the admin's address of the store, without padding."""
    return base64.b64encode(f"admin.shopify.com/store/{handle}".encode()).decode().rstrip("=")


def query_hmac(secret: str, parameters: dict[str, str]) -> str:
    """Hex HMAC over the sorted parameters, values percent-encoded."""
    message = "&".join(f"{key}={quote(value, safe='~')}" for key, value in sorted(parameters.items()) if key != "hmac")
    return hmac.new(secret.encode(), message.encode(), hashlib.sha256).hexdigest()


class Pages:
    def __init__(self, shopify: Shopify) -> None:
        self._shopify = shopify
        self._world = shopify.world
        self._settings = shopify.world.settings
        self._api = AdminApi(shopify)

    def forget_pace(self) -> None:
        self._api.forget_pace()

    def blueprints(self) -> list[Blueprint]:
        api = Blueprint("shopify_api", __name__, url_prefix="/shopify")
        Gate(self._world, "shopify", WORDS).guard(api)
        shop = "/<shop>.myshopify.com/admin"
        api.add_url_rule(f"{shop}/oauth/access_token", view_func=self.access_token, methods=["POST"])
        api.add_url_rule(f"{shop}/api/<version>/graphql.json", view_func=self.graphql, methods=["POST"])
        pages = Blueprint("shopify_pages", __name__, url_prefix="/shopify")
        pages.add_url_rule(f"{shop}/oauth/authorize", view_func=self.authorize, methods=["GET", "POST"])
        pages.add_url_rule("/app-bridge.js", view_func=self.app_bridge)
        admin = "/admin/store/<handle>"
        pages.add_url_rule(admin, view_func=self.admin)
        pages.add_url_rule(f"{admin}/install", view_func=self.install, methods=["POST"])
        pages.add_url_rule(f"{admin}/orders/<order_id>", view_func=self.act, methods=["POST"])
        pages.add_url_rule(f"{admin}/id-token", view_func=self.id_token)
        pages.add_url_rule(f"{admin}/apps/{APP_HANDLE}", view_func=self.app, defaults={"path": ""})
        pages.add_url_rule(f"{admin}/apps/{APP_HANDLE}/", view_func=self.app, defaults={"path": ""})
        pages.add_url_rule(f"{admin}/apps/{APP_HANDLE}/<path:path>", view_func=self.app)
        return [api, pages]

    # The API of a store

    def access_token(self, shop: str) -> Response:
        store = self._shopify.shops.get(f"{shop}.myshopify.com")
        if store is None:
            return Response("Not Found", 404)
        form = _given()
        g.what = f"token: {str(form.get('grant_type', 'code')).rpartition(':')[2][:40]}"
        try:
            return json_answer(self._shopify.tokens.grant(store, form))
        except OAuthError as error:
            return json_answer({"error": error.error, "error_description": error.description}, error.status)

    def graphql(self, shop: str, version: str) -> Response:
        store = self._shopify.shops.get(f"{shop}.myshopify.com")
        answered = answered_version(version)
        if store is None or answered is None:
            return json_answer({"errors": "Not Found"}, 404)
        denied: Denied | None = self._shopify.tokens.check(store, request.headers.get("X-Shopify-Access-Token", ""))
        if denied is not None:
            return json_answer({"errors": denied.message}, 401)
        try:
            body = orjson.loads(request.get_data(cache=True))
        except ValueError:
            return json_answer({"errors": "Bad Request"}, 400)
        g.what = _operation_name(body)
        response = json_answer(self._api.run(store, body))
        response.headers["X-Shopify-API-Version"] = answered
        return response

    # The authorization-code grant

    def authorize(self, shop: str) -> Response | str:
        store = self._shopify.shops.get(f"{shop}.myshopify.com")
        if store is None:
            return Response("Not Found", 404)
        given = request.values
        wrong = ""
        if given.get("client_id") != self._settings.shopify_api_key:
            wrong = "Oauth error application_cannot_be_found: The app cannot be found"
        elif not self._own_address(given.get("redirect_uri", "")):
            wrong = "Oauth error invalid_request: The redirect_uri is not whitelisted"
        if wrong:
            return Response(render_template("shopify/problem.html", problem=wrong), 400)
        if request.method == "GET":
            scopes = given.get("scope") or ",".join(self._settings.shopify_scopes)
            return render_template("shopify/authorize.html", shop=store, scopes=scopes.split(","), given=given)
        self._shopify.install(store)
        parameters = {
            "code": self._shopify.tokens.new_code(store["domain"]),
            "host": host_parameter(store["handle"]),
            "shop": store["domain"],
            "state": given.get("state", ""),
            "timestamp": str(int(self._world.clock.time())),
        }
        parameters["hmac"] = query_hmac(self._settings.shopify_api_secret, parameters)
        return see_other(f"{given['redirect_uri']}?{urlencode(parameters)}")

    def _own_address(self, address: str) -> bool:
        """Redirects go only to the app (its TOML lists the addresses)."""
        try:
            asked, own = urlsplit(address), urlsplit(self._settings.app_url)
        except ValueError:
            return False
        return (asked.scheme, asked.netloc) == (own.scheme, own.netloc)

    # The admin

    def document_parameters(self, store: Record) -> dict[str, str]:
        """What the admin puts behind the app's address when it opens it in its frame."""
        parameters = {
            "embedded": "1",
            "host": host_parameter(store["handle"]),
            "id_token": self._shopify.tokens.id_token(store["domain"]),
            "locale": "en",
            "shop": store["domain"],
            "timestamp": str(int(self._world.clock.time())),
        }
        parameters["hmac"] = query_hmac(self._settings.shopify_api_secret, parameters)
        return parameters

    def admin(self, handle: str) -> str:
        store = self._shopify.shop_by_handle(handle)
        orders = [order for order in self._shopify.orders.values() if order["shop"] == store["domain"]]
        return render_template(
            "shopify/orders.html",
            shop=store,
            orders=orders[:-101:-1],
            total=len(orders),
            open=request.args.get("order"),
            problem=request.args.get("problem"),
            app_path=f"/shopify/admin/store/{handle}/apps/{APP_HANDLE}",
        )

    def install(self, handle: str) -> Response:
        store = self._shopify.shop_by_handle(handle)
        if request.form.get("action") == "uninstall":
            self._shopify.uninstall(store)
            return see_other(f"/shopify/admin/store/{handle}")
        self._shopify.install(store)
        return see_other(f"/shopify/admin/store/{handle}/apps/{APP_HANDLE}")

    def act(self, handle: str, order_id: str) -> Response:
        """The merchant's own hand: the buttons of the orders page."""
        problem = ""
        try:
            order = self._shopify.order(order_id)
            if order is None:
                raise Refusal(f"There is no order {order_id}.", 404)
            act(self._shopify, order, {"action": request.form.get("action"), **request.form})
        except Refusal as refusal:
            problem = refusal.sentence
        query = urlencode({"order": order_id} | ({"problem": problem} if problem else {}))
        return see_other(f"/shopify/admin/store/{handle}?{query}#order-{order_id}")

    def app(self, handle: str, path: str) -> str:
        store = self._shopify.shop_by_handle(handle)
        source = ""
        if store["installed"]:
            query = dict(request.args) | self.document_parameters(store)
            source = f"{self._settings.app_url}/{quote(path)}?{urlencode(query)}"
        return render_template(
            "shopify/app.html",
            shop=store,
            source=source,
            app_origin=origin_of(self._settings.app_url),
            app_path=f"/shopify/admin/store/{handle}/apps/{APP_HANDLE}",
            path=path,
        )

    def id_token(self, handle: str) -> Response:
        """A fresh ID token for App Bridge, which runs on the app's origin and on no other."""
        store = self._shopify.shop_by_handle(handle)
        if not store["installed"]:
            raise Refusal(f"Dastak is not installed on {store['domain']}.", 409)
        response = json_answer({"id_token": self._shopify.tokens.id_token(store["domain"])})
        response.headers["Access-Control-Allow-Origin"] = origin_of(self._settings.app_url)
        response.headers["Vary"] = "Origin"
        response.headers["Cache-Control"] = "no-store"
        return response

    def app_bridge(self) -> Response:
        response = send_from_directory(STATIC, "app-bridge.js", mimetype="text/javascript")
        response.headers["Cache-Control"] = "no-cache"
        return response


def origin_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _given() -> dict[str, Any]:
    """The parameters of a token request, sent as a form or as JSON."""
    if request.is_json:
        try:
            body = orjson.loads(request.get_data(cache=True))
        except ValueError:
            return {}
        return body if isinstance(body, dict) else {}
    return dict(request.form)


def _operation_name(body: Any) -> str:
    """A few words for the log: the first field asked for."""
    query = body.get("query") if isinstance(body, dict) else None
    if not isinstance(query, str):
        return "graphql"
    match = re.search(r"\{\s*(?:\w+\s*:\s*)?(\w+)", query)
    return f"graphql {match[1]}" if match else "graphql"
