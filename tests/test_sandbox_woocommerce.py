"""The fake WooCommerce store is the recorded one: bodies, headers, refusals and oddities."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from sandbox import Running, testing
from sandbox.browser import Page
from sandbox.testing import Reply, StandIn, Told, quiet, until
from sandbox.woocommerce.orders import ZONE, datetime
from sandbox.woocommerce.webhooks import php_json, signature

sandbox, stand_in = testing.sandbox, testing.stand_in

CAPTURES = Path(__file__).parent / "fixtures" / "stores" / "woocommerce"
API = "/woo/wp-json/wc/v3"
SECRET = "A" * 48
HOOK = "/webhooks/stores/woocommerce/token"


def capture(name: str) -> dict[str, Any]:
    return json.loads((CAPTURES / f"{name}.json").read_text(encoding="utf-8"))


def recorded(name: str) -> dict[str, Any]:
    return json.loads(capture(name)["body_raw"])


class Store:
    """The app's side of the store: signs every request as OAuth 1.0a asks."""

    def __init__(self, running: Running, keys: dict[str, str]) -> None:
        self.running = running
        self.keys = keys
        self.http = httpx.Client(base_url=running.url, timeout=60)

    def signed(self, method: str, path: str, query: dict[str, Any] | None = None, **changes: Any) -> dict[str, str]:
        parameters = {name: str(value) for name, value in (query or {}).items()} | {
            "oauth_consumer_key": self.keys["consumer_key"],
            "oauth_timestamp": str(int(time.time())),
            "oauth_nonce": secrets.token_hex(8),
            "oauth_signature_method": "HMAC-SHA256",
        }
        parameters |= {name: str(value) for name, value in changes.items() if name.startswith("oauth_")}

        def encoded(text: str) -> str:
            return quote(text, safe="~")

        base = changes.get("base") or self.running.url
        pairs = "&".join(f"{encoded(k)}={encoded(v)}" for k, v in sorted(parameters.items()))
        message = "&".join((method, encoded(base + path), encoded(pairs)))
        digest = {"HMAC-SHA256": hashlib.sha256, "HMAC-SHA1": hashlib.sha1}.get(
            parameters["oauth_signature_method"], hashlib.sha256
        )
        key = f"{changes.get('secret') or self.keys['consumer_secret']}&"
        mac = hmac.new(key.encode(), message.encode(), digest).digest()
        return parameters | {"oauth_signature": base64.b64encode(mac).decode()}

    def call(self, method: str, path: str, query: dict[str, Any] | None = None, body: Any = None) -> httpx.Response:
        path = API + path
        return self.http.request(method, path, params=self.signed(method, path, query), json=body)

    def get(self, path: str, **query: Any) -> Any:
        answer = self.call("GET", path, query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def hook(self, stand_in: StandIn, topic: str, path: str = HOOK) -> dict[str, Any]:
        body = {"name": "Dastak", "topic": topic, "delivery_url": stand_in.url + path, "secret": SECRET}
        answer = self.call("POST", "/webhooks", body=body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def order(self, **stated: Any) -> str:
        return self.http.post("/control/orders", json={"store": "woocommerce", **stated}).json()["order_id"]

    def act(self, order_id: str, action: str, **more: Any) -> httpx.Response:
        return self.http.post(f"/control/orders/{order_id}", json={"action": action, **more})


def connect(running: Running, stand_in: StandIn, **changes: str) -> tuple[httpx.Response, httpx.Client]:
    """Walk through wc-auth as a browser would; the answer is that of pressing Approve."""
    browser = httpx.Client(base_url=running.url)
    query = {
        "app_name": "Dastak",
        "scope": "read_write",
        "user_id": "st_4f9a",
        "return_url": f"{stand_in.url}/install/woocommerce/return?x=1",
        "callback_url": f"{stand_in.url}/install/woocommerce/callback/tok123",
    } | changes
    login = browser.get("/woo/wc-auth/v1/authorize", params=query)
    assert login.status_code == 302, login.text
    form = Page(browser.get(login.headers["Location"]).text).forms[0]
    granted = browser.post(form.action, data=form.fields)
    form = Page(browser.get(granted.headers["Location"]).text).forms[0]
    return browser.post(form.action, data=form.fields), browser


def is_key(told: Told) -> bool:
    return told.path.startswith("/install/woocommerce/callback/")


@pytest.fixture
def store(sandbox: Running, stand_in: StandIn):
    answer, browser = connect(sandbox, stand_in)
    assert answer.status_code == 302, answer.text
    one = Store(sandbox, stand_in.wait_for(is_key)[0].json)
    yield one
    one.http.close()
    browser.close()


# The recordings


RECORDED = """action-order-status-completed coupon-created order-created-bacs-pending order-created-blocks-bacs-on-hold
order-created-blocks-checkout-cod order-created-rest-cod-processing order-created-set-paid order-deleted-trash
order-updated-blocks-bacs-on-hold order-updated-blocks-checkout-arrives-first order-updated-completed-cod
order-updated-full-refund order-updated-meta-only order-updated-on-hold order-updated-right-after-create
product-updated-stock-reduced"""


@pytest.mark.parametrize("name", RECORDED.split())
def test_json_and_signatures_are_those_of_the_recorded_store(name):
    recording = capture(name)
    raw = recording["body_raw"].encode()
    assert php_json(recording["body_json"]) == raw
    assert signature(recording["webhook_secret"], raw) == dict(recording["headers"])["X-WC-Webhook-Signature"]


def shape(value: Any) -> Any:
    """Keys in their order, and the kinds of the values."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return None if value is None else type(value).__name__


def test_a_block_checkout_is_told_as_recorded(store: Store, stand_in: StandIn):
    store.hook(stand_in, "order.created")
    customer = {"name": "Bilal Ahmed", "phone": "03211234567", "city": "Karachi"}
    items = [{"sku": "KHS-01", "quantity": 1}, {"sku": "KRT-L", "quantity": 1}]
    body = {"customer": customer, "items": items, "note": "Ring the bell", "payment": "cod", "opt_in": True}
    id = store.order(**body)
    told = stand_in.webhooks("order.created")[0]
    recording = capture("order-created-blocks-checkout-cod")
    theirs, ours = recorded("order-created-blocks-checkout-cod"), told.json
    assert list(ours) == list(theirs)
    for part in ("billing", "shipping", "_links"):
        assert shape(ours[part]) == shape(theirs[part]), part
    for line, recorded_line in zip(ours["line_items"], theirs["line_items"], strict=True):
        assert shape(line) == shape(recorded_line)
    assert shape(ours["shipping_lines"]) == shape(theirs["shipping_lines"])
    same = [key for key in ours if shape(ours[key]) != shape(theirs[key])]
    assert same == [], "every field has the recorded kind"
    fixed = (
        "status",
        "total",
        "shipping_total",
        "payment_method",
        "payment_method_title",
        "created_via",
        "version",
        "currency_symbol",
        "needs_payment",
        "needs_processing",
        "is_editable",
        "customer_note",
        "prices_include_tax",
    )
    for key in fixed:
        assert ours[key] == theirs[key], key
    assert ours["shipping_lines"][0]["meta_data"][0]["value"] == theirs["shipping_lines"][0]["meta_data"][0]["value"]
    meta = {entry["key"] for entry in ours["meta_data"]}
    assert {"_shipping_hash", "_coupons_hash", "_fees_hash", "_taxes_hash", "is_vat_exempt"} <= meta
    assert [name for name, _ in told.headers] == [name for name, _ in recording["headers"]]
    for name in ("User-Agent", "Accept", "Accept-Encoding", "Content-Type", "Connection"):
        assert told.header(name) == dict(recording["headers"])[name]
    assert told.header("X-WC-Webhook-Source") == f"{store.running.url}/woo/"
    assert told.header("X-WC-Webhook-Signature") == signature(SECRET, told.body)
    assert b"\\/" in told.body
    assert b"\\u20a8" in told.body
    assert store.get(f"/orders/{id}")["status"] == "processing"


def test_a_rest_order_is_told_as_recorded(store: Store, stand_in: StandIn):
    store.hook(stand_in, "order.created")
    theirs = recorded("order-created-rest-cod-processing")
    body = {
        "status": "processing",
        "payment_method": "cod",
        "payment_method_title": "Cash on delivery",
        "billing": theirs["billing"],
        "shipping": theirs["shipping"],
        "customer_note": "Call before delivery",
        "line_items": [{"product_id": 11, "quantity": 2}, {"product_id": 14, "variation_id": 15, "quantity": 1}],
        "shipping_lines": [{"method_id": "flat_rate", "method_title": "Standard courier", "total": "250.00"}],
    }
    answer = store.call("POST", "/orders", body=body)
    assert answer.status_code == 201
    ours = stand_in.webhooks("order.created")[0].json
    assert list(ours) == list(theirs)
    assert shape(ours) == shape(theirs)
    unequal = {key for key in ours if ours[key] != theirs[key]}
    assert unequal <= {
        "id",
        "number",
        "date_created",
        "date_modified",
        "date_created_gmt",
        "date_modified_gmt",
        "order_key",
        "line_items",
        "shipping_lines",
        "payment_url",
        "_links",
    }
    assert answer.json() == ours
    assert list(answer.json()) == list(capture("rest-order_rest")["body_json"])


def test_the_other_bodies_are_as_recorded(store: Store, stand_in: StandIn):
    for topic in ("order.updated", "order.deleted", "product.updated", "action.woocommerce_order_status_completed"):
        store.hook(stand_in, topic)
    id = store.order(payment="cod", items=[{"sku": "KHS-01"}])
    assert shape(stand_in.webhooks("product.updated")[0].json) == shape(recorded("product-updated-stock-reduced"))
    store.act(id, "complete")
    action = stand_in.webhooks("action.woocommerce_order_status_completed")[0]
    assert action.json == {"action": "woocommerce_order_status_completed", "arg": int(id)}
    assert action.header("X-WC-Webhook-Resource") == "action"
    assert action.header("X-WC-Webhook-Event") == "woocommerce_order_status_completed"
    until(lambda: [one for one in stand_in.webhooks("order.updated") if one.json["status"] == "completed"])
    completed = [told.json for told in stand_in.webhooks("order.updated") if told.json["status"] == "completed"]
    assert completed[0]["date_paid"]
    assert completed[0]["date_completed"]
    refunded = store.call(
        "POST", f"/orders/{id}/refunds", body={"amount": "3749.00", "api_refund": False, "reason": "RTO"}
    )
    assert refunded.status_code == 201
    until(lambda: [one for one in stand_in.webhooks("order.updated") if one.json["status"] == "refunded"])
    body = stand_in.webhooks("order.updated")[-1].json
    assert shape(body["refunds"]) == shape(recorded("order-updated-full-refund")["refunds"])
    store.act(id, "trash")
    deleted = stand_in.webhooks("order.deleted")[0]
    assert deleted.body == f'{{"id":{id}}}'.encode()


# wc-auth


def test_the_key_is_delivered_as_recorded_and_the_browser_returns(sandbox: Running, stand_in: StandIn):
    answer, browser = connect(sandbox, stand_in)
    told = stand_in.wait_for(is_key)[0]
    recording = capture("wc-auth-callback")
    assert [name for name, _ in told.headers] == [name for name, _ in recording["headers"]]
    assert told.header("Content-Type") == "application/json;charset=UTF-8"
    assert told.header("User-Agent") == f"WordPress/7.0.4; {sandbox.url}/woo"
    assert list(told.json) == list(recording["body_json"])
    assert (told.json["user_id"], told.json["key_permissions"]) == ("st_4f9a", "read_write")
    assert isinstance(told.json["key_id"], int)
    assert answer.status_code == 302
    back = httpx.URL(answer.headers["Location"])
    assert dict(back.params) == {"x": "1", "success": "1", "user_id": "st_4f9a"}
    browser.close()


@pytest.mark.parametrize("status", [201, 204, 302, 404, 500])
def test_anything_but_200_deletes_the_key_again(sandbox: Running, stand_in: StandIn, status):
    stand_in.answers = lambda told: Reply(status) if is_key(told) else None
    answer, browser = connect(sandbox, stand_in)
    assert answer.status_code == 401
    assert "unable to send the consumer data" in answer.text
    told = stand_in.wait_for(is_key)[0]
    store = Store(sandbox, told.json)
    assert store.call("GET", "/orders").json()["message"] == "Consumer key is invalid."
    store.http.close()
    browser.close()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"app_name": ""}, "Missing parameter app_name"),
        ({"user_id": ""}, "Missing parameter user_id"),
        ({"scope": "everything"}, "Invalid scope"),
        ({"callback_url": "http://shop.example/cb"}, "needs to be over SSL"),
    ],
)
def test_a_bad_request_for_keys_is_a_401_page(sandbox: Running, stand_in: StandIn, changes, said):
    query = {
        "app_name": "Dastak",
        "scope": "read_write",
        "user_id": "x",
        "return_url": stand_in.url,
        "callback_url": stand_in.url,
    } | changes
    answer = httpx.get(f"{sandbox.url}/woo/wc-auth/v1/authorize", params=query)
    assert answer.status_code == 401
    assert said in answer.text


def test_denying_and_a_wrong_password_and_a_wrong_nonce(sandbox: Running, stand_in: StandIn):
    query = {
        "app_name": "<b>Dastak</b>",
        "scope": "read",
        "user_id": "x",
        "return_url": f"{stand_in.url}/return",
        "callback_url": f"{stand_in.url}/install/woocommerce/callback/t",
    }
    with httpx.Client(base_url=sandbox.url) as browser:
        login = browser.get("/woo/wc-auth/v1/authorize", params=query, follow_redirects=True)
        form = Page(login.text).forms[0]
        assert "incorrect" in browser.post(form.action, data=form.fields | {"password": "wrong"}).text
        page = browser.post(form.action, data=form.fields, follow_redirects=True)
        assert "success=0&amp;user_id=x" in page.text
        assert "<b>Dastak</b>" not in page.text
        grant = Page(page.text).forms[0]
        refused = browser.post(grant.action, data=grant.fields | {"wc_auth_nonce": "0" * 10})
        assert refused.status_code == 401
    assert not [told for told in stand_in.told if is_key(told)]


# Who may call


def test_basic_auth_is_nothing_over_http(store: Store):
    answer = store.http.get(f"{API}/orders", auth=(store.keys["consumer_key"], store.keys["consumer_secret"]))
    assert answer.status_code == 401
    assert answer.json() == {
        "code": "woocommerce_rest_cannot_view",
        "message": "Sorry, you cannot list resources.",
        "data": {"status": 401},
    }
    query = {"consumer_key": store.keys["consumer_key"], "consumer_secret": store.keys["consumer_secret"]}
    assert store.http.get(f"{API}/orders", params=query).status_code == 401


def test_oauth_works_in_query_and_header_with_both_digests(store: Store):
    for method in ("HMAC-SHA256", "HMAC-SHA1"):
        parameters = store.signed("GET", f"{API}/orders", oauth_signature_method=method)
        assert store.http.get(f"{API}/orders", params=parameters).status_code == 200
    parameters = store.signed("GET", f"{API}/orders", {"per_page": 5, "search": "a b~ü/&"})
    own = {k: v for k, v in parameters.items() if k.startswith("oauth_")}
    header = "OAuth " + ", ".join(f'{k}="{quote(v, safe="~")}"' for k, v in own.items())
    rest = {k: v for k, v in parameters.items() if k not in own}
    assert store.http.get(f"{API}/orders", params=rest, headers={"Authorization": header}).status_code == 200


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"secret": "cs_wrong"}, "Invalid signature - provided signature does not match."),
        ({"base": "http://localhost:1"}, "Invalid signature - provided signature does not match."),
        ({"oauth_signature_method": "PLAINTEXT"}, "Invalid signature - signature method is invalid."),
        ({"oauth_timestamp": "1000000000"}, "Invalid timestamp."),
        ({"oauth_timestamp": "soon"}, "Invalid timestamp."),
        ({"oauth_consumer_key": "ck_nobody"}, "Consumer key is invalid."),
    ],
)
def test_a_bad_signature_is_refused_in_the_stores_words(store: Store, changes, message):
    answer = store.http.get(f"{API}/orders", params=store.signed("GET", f"{API}/orders", **changes))
    assert answer.status_code == 401
    assert answer.json()["code"] == "woocommerce_rest_authentication_error"
    assert answer.json()["message"] == message


def test_a_nonce_works_once_and_a_missing_parameter_is_named(store: Store):
    parameters = store.signed("GET", f"{API}/orders")
    assert store.http.get(f"{API}/orders", params=parameters).status_code == 200
    again = store.http.get(f"{API}/orders", params=parameters).json()
    assert again["message"] == "Invalid nonce - nonce has already been used."
    del parameters["oauth_nonce"]
    missing = store.http.get(f"{API}/orders", params=parameters).json()
    assert missing["code"] == "woocommerce_rest_authentication_missing_parameter"
    assert missing["message"] == "Missing OAuth parameter oauth_nonce"


def test_a_read_key_cannot_write(sandbox: Running, stand_in: StandIn):
    _, browser = connect(sandbox, stand_in, scope="read")
    store = Store(sandbox, stand_in.wait_for(is_key)[0].json)
    assert store.call("GET", "/orders").status_code == 200
    refused = store.call("POST", "/orders", body={})
    assert refused.json()["message"] == "The API key provided does not have write permissions."
    store.http.close()
    browser.close()


def test_the_index_is_public(sandbox: Running):
    index = httpx.get(f"{sandbox.url}/woo/wp-json/").json()
    assert index["name"] == "Karachi Khussa"
    assert index["home"] == f"{sandbox.url}/woo"
    assert index["timezone_string"] == "Asia/Karachi"
    assert "wc/v3" in index["namespaces"]
    nothing = httpx.get(f"{sandbox.url}/woo/wp-json/wc/v3/nothing")
    assert (nothing.status_code, nothing.json()["code"]) == (404, "rest_no_route")


# Orders over REST


def test_orders_are_listed_by_modification_strictly_after(store: Store):
    first, second = store.order(), store.order()
    store.http.post("/control/clock", json={"advance": "10m"})
    store.call("PUT", f"/orders/{first}", body={"customer_note": "later"})
    told = store.get(f"/orders/{first}")
    cursor = told["date_modified_gmt"]
    query = {"dates_are_gmt": "true", "orderby": "modified", "order": "asc", "per_page": 100}
    assert store.get("/orders", modified_after=cursor, **query) == []
    earlier = store.get(f"/orders/{second}")["date_modified_gmt"]
    assert [one["id"] for one in store.get("/orders", modified_after=earlier, **query)] == [int(first)]
    assert [one["id"] for one in store.get("/orders", modified_after=earlier + "Z", order="asc")] == [int(first)]
    local = store.get(f"/orders/{second}")["date_modified"]
    assert [one["id"] for one in store.get("/orders", modified_after=local)] == [int(first)], "zone-less is local"
    offset = datetime.fromisoformat(local).replace(tzinfo=ZONE).isoformat()
    assert [one["id"] for one in store.get("/orders", modified_after=offset)] == [int(first)]


def test_lists_have_totals_links_and_limits(store: Store):
    for _ in range(3):
        store.order()
    page = store.call("GET", "/orders", {"per_page": 2, "page": 1})
    assert (page.headers["X-WP-Total"], page.headers["X-WP-TotalPages"]) == ("3", "2")
    assert 'rel="next"' in page.headers["Link"]
    assert store.get("/orders", per_page=2, page=9) == []
    too_many = store.call("GET", "/orders", {"per_page": 101})
    assert (too_many.status_code, too_many.json()["code"]) == (400, "rest_invalid_param")
    assert "per_page" in too_many.json()["data"]["params"]
    trimmed = store.get("/orders", _fields="id,status")[0]
    assert set(trimmed) == {"id", "status"}
    assert store.call("GET", "/orders", {"status": "shipped"}).status_code == 400
    assert store.call("GET", "/orders", {"modified_after": "soon"}).status_code == 400


def test_trashed_and_erased_orders_leave_the_list(store: Store):
    kept, trashed, erased = store.order(), store.order(), store.order()
    assert store.call("DELETE", f"/orders/{trashed}").json()["status"] == "trash"
    assert store.call("DELETE", f"/orders/{erased}", {"force": "true"}).status_code == 200
    assert [one["id"] for one in store.get("/orders")] == [int(kept)]
    assert store.get(f"/orders/{trashed}")["status"] == "trash"
    gone = store.call("GET", f"/orders/{erased}")
    assert gone.status_code == 404
    assert gone.json() == {
        "code": "woocommerce_rest_shop_order_invalid_id",
        "message": "Invalid ID.",
        "data": {"status": 404},
    }
    assert [one["id"] for one in store.get("/orders", status="trash")] == [int(trashed)]


def test_meta_data_is_changed_in_place(store: Store):
    id = store.order()
    before = len(store.get(f"/orders/{id}")["meta_data"])

    def put(entries: list[dict[str, Any]]) -> dict[str, Any]:
        answer = store.call("PUT", f"/orders/{id}", body={"meta_data": entries})
        assert answer.status_code == 200
        return {entry["key"]: entry for entry in answer.json()["meta_data"]}

    first = put([{"key": "_dastak_cod", "value": "asked"}])["_dastak_cod"]
    second = put([{"key": "_dastak_cod", "value": {"state": "confirmed", "at": [1]}}])["_dastak_cod"]
    assert second["id"] == first["id"]
    assert second["value"] == {"state": "confirmed", "at": [1]}
    put([{"id": first["id"], "value": None}])
    assert len(store.get(f"/orders/{id}")["meta_data"]) == before


def test_a_tracking_plugins_entry_is_meta_of_the_order_and_announced(store: Store, stand_in: StandIn):
    store.hook(stand_in, "order.updated")
    id = store.order()
    quiet(store.running)
    assert store.act(id, "track").status_code == 400
    for number in ("77900", "77901"):
        assert store.act(id, "track", company="TCS", tracking_number=number).status_code == 200
        quiet(store.running)
    key = "_wc_shipment_tracking_items"
    told = [entry for entry in stand_in.webhooks("order.updated")[-1].json["meta_data"] if entry["key"] == key]
    assert [one["tracking_number"] for entry in told for one in entry["value"]] == ["77900", "77901"]
    assert told[0]["value"][0] | {"tracking_id": "", "date_shipped": ""} == {
        "tracking_provider": "",
        "custom_tracking_provider": "TCS",
        "custom_tracking_link": "",
        "tracking_number": "77900",
        "date_shipped": "",
        "tracking_id": "",
    }
    sent = len(stand_in.told)
    change = {"id": told[0]["id"], "key": key, "value": None}
    answer = store.call("PUT", f"/orders/{id}", body={"meta_data": [change]})
    assert key not in [entry["key"] for entry in answer.json()["meta_data"]]
    quiet(store.running)
    assert len(stand_in.told) == sent + 1
    assert store.call("POST", f"/orders/{id}/notes", body={"note": "TCS 77900: delivered"}).status_code == 201
    quiet(store.running)
    assert len(stand_in.told) == sent + 1, "a note saves no order"


def test_any_status_goes_and_an_unknown_one_is_named(store: Store):
    id = store.order()
    for status in ("completed", "pending", "failed", "refunded", "cancelled", "processing", "on-hold"):
        assert store.call("PUT", f"/orders/{id}", body={"status": status}).json()["status"] == status
    refused = store.call("PUT", f"/orders/{id}", body={"status": "shipped"})
    assert refused.status_code == 400
    assert "cancelled" in refused.json()["data"]["params"]["status"]


def test_the_date_of_payment_stays(store: Store):
    id = store.order(payment="cod")
    assert store.get(f"/orders/{id}")["date_paid"] is None, "COD in processing is not paid"
    store.call("PUT", f"/orders/{id}", body={"status": "completed"})
    paid = store.get(f"/orders/{id}")["date_paid"]
    assert paid
    for status in ("cancelled", "failed", "processing"):
        assert store.call("PUT", f"/orders/{id}", body={"status": status}).json()["date_paid"] == paid


@pytest.mark.parametrize(
    ("payment", "method", "status", "needs_payment"),
    [
        ("cod", "cod", "processing", False),
        ("bank", "bacs", "on-hold", False),
        ("jazzcash", "jazzcash", "pending", True),
        ("easypaisa", "easypay_pk", "on-hold", False),
        ("safepay", "safepay_gateway", "pending", True),
        ("razorpay", "razorpay", "pending", True),
        ("cashfree", "cashfree", "pending", True),
    ],
)
def test_a_gateway_leaves_its_status(store: Store, payment, method, status, needs_payment):
    order = store.get(f"/orders/{store.order(payment=payment)}")
    assert (order["payment_method"], order["status"], order["needs_payment"]) == (method, status, needs_payment)


@pytest.mark.parametrize(
    ("payment", "status", "becomes", "paid"),
    [
        ("jazzcash", "pending", "processing", True),
        ("jazzcash", "failed", "processing", True),
        ("bank", "on-hold", "on-hold", False),
        ("jazzcash", "cancelled", "cancelled", False),
        ("cod", "processing", "processing", False),
        ("cod", "pending", "completed", True),
    ],
)
def test_an_order_is_set_paid_only_while_it_needs_payment(store: Store, payment, status, becomes, paid):
    """And one of cash on delivery is completed by it."""
    id = store.order(payment=payment)
    if store.get(f"/orders/{id}")["status"] != status:
        store.call("PUT", f"/orders/{id}", body={"status": status})
    answer = store.call("PUT", f"/orders/{id}", body={"set_paid": True, "transaction_id": "1001-1"}).json()
    assert (answer["status"], answer["date_paid"] is not None) == (becomes, paid)
    assert answer["transaction_id"] == "1001-1", "a field like any other"
    assert store.get(f"/orders/{id}")["status"] == becomes


def test_an_order_on_hold_that_is_moved_on_has_a_date_of_payment(store: Store):
    id = store.order(payment="bank")
    answer = store.call("PUT", f"/orders/{id}", body={"status": "processing", "transaction_id": "1001-1"}).json()
    assert answer["date_paid"]
    assert answer["transaction_id"] == "1001-1"


@pytest.mark.parametrize(("method", "status"), [("bacs", "processing"), ("cod", "completed")])
def test_an_order_is_created_as_paid(store: Store, method, status):
    body = {"payment_method": method, "set_paid": True, "line_items": [{"product_id": 11, "quantity": 1}]}
    created = store.call("POST", "/orders", body=body).json()
    assert created["status"] == status
    assert created["date_paid"]


def test_setting_an_order_paid_is_told_once(store: Store, stand_in: StandIn):
    store.hook(stand_in, "order.updated")
    id = store.order(payment="jazzcash")
    quiet(store.running)
    sent = len(stand_in.webhooks("order.updated"))
    store.call("PUT", f"/orders/{id}", body={"set_paid": True})
    quiet(store.running)
    told = stand_in.webhooks("order.updated")[sent:]
    assert [one.json["status"] for one in told] == ["processing"]


def test_an_online_payment_is_pending_and_then_paid(store: Store, stand_in: StandIn):
    store.hook(stand_in, "order.updated")
    id = store.order(payment="prepaid")
    until(lambda: store.get(f"/orders/{id}")["status"] == "processing")
    order = store.get(f"/orders/{id}")
    assert order["date_paid"]
    assert order["transaction_id"].startswith("pay_")
    quiet(store.running)
    told = [one.json["status"] for one in stand_in.webhooks("order.updated")]
    assert told in (["pending", "processing"], ["processing"]), "a slow delivery carries only the last state"


def test_notes_are_written_and_fire_nothing(store: Store, stand_in: StandIn):
    id = store.order()
    quiet(store.running)
    store.hook(stand_in, "order.updated")
    note = store.call("POST", f"/orders/{id}/notes", body={"note": "Confirmed <b>on</b> WhatsApp"})
    assert note.status_code == 201
    assert (note.json()["author"], note.json()["customer_note"]) == ("WooCommerce", False)
    quiet(store.running)
    assert not [told for told in stand_in.told if told.topic == "order.updated"]
    assert store.get(f"/orders/{id}/notes")[0]["note"] == "Confirmed <b>on</b> WhatsApp"
    assert store.get(f"/orders/{id}/notes", type="customer") == []
    assert store.call("POST", f"/orders/{id}/notes", body={}).json()["code"] == "rest_missing_callback_param"
    told = store.http.get(f"/control/orders/{id}").json()
    assert told["notes"][-1]["note"] == "Confirmed <b>on</b> WhatsApp"
    page = store.http.get("/woo/wp-admin/").text
    assert "<b>on</b>" not in page


def test_a_batch_answers_per_item(store: Store):
    id = store.order()
    body = {"update": [{"id": int(id), "status": "on-hold"}, {"id": 999999}], "create": [{"status": "nope"}]}
    answer = store.call("POST", "/orders/batch", body=body)
    assert answer.status_code == 200
    assert answer.json()["update"][0]["status"] == "on-hold"
    assert answer.json()["update"][1]["error"]["code"] == "woocommerce_rest_shop_order_invalid_id"
    assert answer.json()["create"][0]["error"]["code"] == "rest_invalid_param"
    assert store.call("POST", "/orders/batch", body={"delete": list(range(101))}).status_code == 413


def test_the_shop_tells_of_itself(store: Store):
    status = store.get("/system_status")
    assert status["environment"]["home_url"] == f"{store.running.url}/woo"
    assert status["settings"]["HPOS_enabled"] is True
    assert {"cod", "bacs"} <= {gateway["id"] for gateway in store.get("/payment_gateways")}
    assert {product["sku"] for product in store.get("/products")} >= {"KHS-01", "LWN-3P", "DUP-01"}
    assert {line["slug"] for line in store.get("/reports/orders/totals")} >= {"processing", "cancelled"}


# Webhooks


def test_creating_a_webhook_pings_inside_the_request(store: Store, stand_in: StandIn):
    seen: list[bool] = []
    hook = store.hook(stand_in, "order.created")
    told = stand_in.wait_for(lambda told: told.path == HOOK)[0]
    seen.append(told.body == f"webhook_id={hook['id']}".encode())
    recording = capture("webhook-ping-on-create")
    assert [name for name, _ in told.headers] == [name for name, _ in recording["headers"]]
    assert told.header("User-Agent") == dict(recording["headers"])["User-Agent"]
    assert told.header("Content-Type") == "application/x-www-form-urlencoded"
    assert seen == [True]
    assert {"secret", "failure_count", "api_version"} & set(hook) == set()
    assert (hook["status"], hook["resource"], hook["event"]) == ("active", "order", "created")


def test_the_store_answers_while_its_ping_waits(store: Store, stand_in: StandIn):
    """The app may ask the store something from inside the ping."""
    answers: list[int] = []

    def ask() -> None:
        if not answers:
            answers.append(0)
            answers[0] = store.call("GET", "/webhooks").status_code

    stand_in.answers = lambda told: Reply(after=ask) if told.path == HOOK else None
    store.hook(stand_in, "order.created")
    assert answers == [200]


def test_a_failing_ping_changes_nothing(store: Store, stand_in: StandIn):
    stand_in.answers = lambda told: Reply(500)
    assert store.hook(stand_in, "order.updated")["status"] == "active"


@pytest.mark.parametrize("topic", ["order.published", "nothing", "order", "customer.restored", None, 5])
def test_a_wrong_topic_is_refused(store: Store, stand_in: StandIn, topic):
    body = {"topic": topic, "delivery_url": stand_in.url, "secret": SECRET}
    refused = store.call("POST", "/webhooks", body=body)
    assert (refused.status_code, refused.json()["code"]) == (400, "woocommerce_rest_shop_webhook_invalid_topic")


def test_webhooks_are_listed_changed_and_deleted_by_force(store: Store, stand_in: StandIn):
    hook = store.hook(stand_in, "order.created")
    paused = store.call("PUT", f"/webhooks/{hook['id']}", body={"status": "paused"}).json()
    assert paused["status"] == "paused"
    assert [one["id"] for one in store.get("/webhooks", status="paused")] == [hook["id"]]
    assert store.call("DELETE", f"/webhooks/{hook['id']}").status_code == 501
    assert store.call("DELETE", f"/webhooks/{hook['id']}", {"force": "true"}).status_code == 200
    assert store.call("GET", f"/webhooks/{hook['id']}").status_code == 404


def order_of_topics(stand_in: StandIn, id: str) -> list[str | None]:
    return [told.topic for told in stand_in.told if told.topic and told.json.get("id") == int(id)]


def test_a_block_checkout_says_updated_before_created(store: Store, stand_in: StandIn):
    store.hook(stand_in, "order.created")
    store.hook(stand_in, "order.updated")
    id = store.order()
    quiet(store.running)
    assert order_of_topics(stand_in, id) == ["order.updated", "order.created"]


def test_a_rest_order_says_created_before_updated(store: Store, stand_in: StandIn):
    store.hook(stand_in, "order.created")
    store.hook(stand_in, "order.updated")
    id = str(store.call("POST", "/orders", body={"line_items": [{"sku": "DUP-01"}]}).json()["id"])
    quiet(store.running)
    assert order_of_topics(stand_in, id) == ["order.created", "order.updated"]


def test_two_changes_before_a_delivery_become_one_with_the_last_state(store: Store, stand_in: StandIn):
    """One pending job per webhook and order, the body built when it leaves."""
    store.hook(stand_in, "order.updated")
    id = store.order()
    quiet(store.running)
    other = store.order()
    quiet(store.running)
    before = len(stand_in.told)
    held = False

    def hold() -> None:
        until(lambda: held)

    stand_in.answers = lambda told: Reply(after=hold)
    store.act(other, "hold")
    until(lambda: len(stand_in.told) == before + 1)
    store.act(id, "hold")
    store.act(id, "cancel")
    held = True
    stand_in.answers = lambda told: None
    quiet(store.running)
    assert [told.json["status"] for told in stand_in.told[before:]] == ["on-hold", "cancelled"]


def test_delivery_ids_are_not_unique(store: Store, stand_in: StandIn):
    store.hook(stand_in, "order.updated")
    for _ in range(6):
        store.order()
    quiet(store.running)
    told = stand_in.webhooks("order.updated", 6)
    ids = [one.header("X-WC-Webhook-Delivery-ID") for one in told]
    assert len(set(ids)) < len(ids)
    assert all(len(id or "") == 32 for id in ids)


@pytest.mark.parametrize(("status", "delivered"), [(200, True), (204, True), (302, True), (303, False), (404, False)])
def test_success_is_200_to_302_and_nothing_is_sent_twice(store: Store, stand_in: StandIn, status, delivered):
    store.hook(stand_in, "order.created")
    stand_in.answers = lambda told: Reply(status)
    store.order()
    quiet(store.running)
    assert len(stand_in.webhooks("order.created")) == 1
    hooks = store.http.get("/control/stores").json()["woocommerce"]["webhooks"]
    assert hooks[0]["failures"] == (0 if delivered else 1)


def test_the_seventh_failure_disables_and_the_counter_sticks(store: Store, stand_in: StandIn):
    hook = store.hook(stand_in, "order.created")

    def orders(count: int) -> str:
        for _ in range(count):
            store.order()
            quiet(store.running)
        return store.get(f"/webhooks/{hook['id']}")["status"]

    stand_in.answers = lambda told: Reply(500)
    assert orders(6) == "active"
    assert orders(1) == "disabled"
    sent = len(stand_in.webhooks("order.created"))
    assert orders(1) == "disabled"
    assert len(stand_in.webhooks("order.created")) == sent, "a disabled webhook is silent"
    store.call("PUT", f"/webhooks/{hook['id']}", body={"status": "active"})
    assert orders(1) == "disabled", "the hidden counter was not cleared"
    store.call("PUT", f"/webhooks/{hook['id']}", body={"status": "active"})
    stand_in.answers = lambda told: None
    assert orders(1) == "active"
    stand_in.answers = lambda told: Reply(500)
    assert orders(6) == "active", "one success cleared it"


def test_trash_restore_and_a_status_from_the_trash(store: Store, stand_in: StandIn):
    for topic in ("order.deleted", "order.restored", "order.updated"):
        store.hook(stand_in, topic)
    id = store.order()
    quiet(store.running)
    store.act(id, "trash")
    store.act(id, "restore")
    restored = stand_in.webhooks("order.restored")[0].json
    assert (restored["id"], restored["status"]) == (int(id), "processing")
    store.act(id, "trash")
    quiet(store.running)
    before = len(stand_in.told)
    assert store.call("PUT", f"/orders/{id}", body={"status": "on-hold"}).json()["status"] == "on-hold"
    quiet(store.running)
    assert len(stand_in.told) == before, "a status set on a trashed order is announced to nobody"


def test_an_owner_without_rights_makes_validly_signed_errors(store: Store, stand_in: StandIn):
    store.hook(stand_in, "order.created")
    store.http.post("/control/stores", json={"store": "woocommerce", "action": "break_owner"})
    store.order()
    told = stand_in.webhooks("order.created")[0]
    assert told.json["code"] == "woocommerce_rest_cannot_view"
    assert told.json["data"] == {"status": 401}
    assert told.header("X-WC-Webhook-Signature") == signature(SECRET, told.body)
    assert store.call("GET", "/orders").status_code == 401
    store.http.post("/control/stores", json={"store": "woocommerce", "action": "mend_owner"})
    assert store.call("GET", "/orders").status_code == 200


def test_every_seventh_checkout_leaks_its_draft(store: Store, stand_in: StandIn):
    store.hook(stand_in, "order.updated")
    ids = [store.order() for _ in range(7)]
    quiet(store.running)
    drafts = {told.json["id"] for told in stand_in.webhooks("order.updated") if told.json["status"] == "checkout-draft"}
    assert drafts == {int(id) for id in ids if int(id) % 7 == 0}
    for id in ids:
        assert store.get(f"/orders/{id}")["status"] == "processing"
    store.http.post("/control/stores", json={"store": "woocommerce", "action": "leak_draft"})
    quiet(store.running)
    assert stand_in.webhooks("order.updated")[-1].json["status"] == "checkout-draft"


def test_the_merchants_hand_says_what_it_cannot_do(store: Store):
    id = store.order()
    assert store.act(id, "restore").status_code == 409
    assert store.act(id, "process").status_code == 409
    refused = store.act(id, "explode")
    assert (refused.status_code, "complete" in refused.json()["error"]) == (400, True)
    assert store.act("999999", "cancel").status_code == 404
    form = store.http.post(f"/woo/wp-admin/orders/{id}", data={"action": "complete"})
    assert form.status_code == 302
    assert store.get(f"/orders/{id}")["status"] == "completed"
