"""Hostile input to the fakes is refused in their words, never a 500, and never stops the world."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from sandbox import Running, testing
from sandbox.testing import quiet
from tests.test_sandbox_woocommerce import API, SECRET, Store

sandbox, stand_in = testing.sandbox, testing.stand_in

ROUNDS = 400
JUNK: list[Any] = [
    None, "", " ", "x" * 6000, "\x00", "😀\u202e", "../../etc", "%00", "{{1}}", "<script>", "gid://shopify/Order/1",
    0, -1, 2**31, 2**63, 1.5, 1e308, True, False, [], {}, [[]], [{}], {"a": {"b": []}}, [None], "NaN", "2026-99-99",
]  # fmt: skip
RAW = [
    b"",
    b"{",
    b"[" * 5000,
    b"\xff\xfe\x00",
    b"null",
    b"1",
    b'"x"',
    b"[1]",
    b'{"a":' * 900,
    b'{"a": NaN}',
    b"a=b&c=%ff",
]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from places(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from places(inner, (*path, index))


def spoiled(body: Any, dice: random.Random) -> Any:
    """The body with one to three of its places replaced by junk, or missing."""
    body = copy.deepcopy(body)
    for _ in range(dice.randint(1, 3)):
        path = dice.choice(list(places(body)))
        if not path:
            return dice.choice(JUNK)
        holder = body
        for step in path[:-1]:
            holder = holder[step]
        if dice.random() < 0.2:
            del holder[path[-1]]
        else:
            holder[path[-1]] = copy.deepcopy(dice.choice(JUNK))
    return body


@pytest.fixture
def client(sandbox: Running) -> FlaskClient:
    sandbox.world.app.testing = True  # an exception fails the test with its own trace
    return sandbox.world.app.test_client()


def attack(send: Callable[[Any], Any], bodies: list[Any], seed: int, rounds: int = ROUNDS) -> set[int]:
    dice = random.Random(seed)
    statuses = set()
    for number in range(rounds):
        raw = number % 25 == 0
        payload = dice.choice(RAW) if raw else json.dumps(spoiled(dice.choice(bodies), dice)).encode()
        answer = send(payload)
        assert answer.status_code < 500 or answer.status_code == 501, (answer.status_code, payload[:300])
        statuses.add(answer.status_code)
    return statuses


ORDER = {
    "store": "shopify",
    "payment": "cod",
    "customer": {"name": "Ali", "phone": "0300 1234567", "city": "Lahore", "locale": "ur"},
    "items": [{"sku": "KHS-01", "quantity": 1}],
    "note": "n",
    "opt_in": True,
}
CONTROL = {
    "/control/orders": [ORDER, ORDER | {"store": "woocommerce"}],
    "/control/checkouts": [ORDER],
    "/control/clock": [{"advance": "1s"}],
    "/control/faults": [{"target": "shopify.webhooks", "mode": "delay", "rate": 0.0, "count": 1}],
    "/control/payments": [{"order_id": "17", "outcome": "paid"}],
    "/control/phones/+923001234567": [{"on_whatsapp": True, "name": "Ali"}],
    "/control/phones/+923001234567/tap": [{"message_id": "wamid.x", "button": "Confirm"}],
    "/control/phones/+923001234567/send": [{"text": "Hi", "to": "100000000000011"}, {"image": "x", "caption": "y"}],
    "/control/templates": [{"name": "cod_v1", "language": "en", "status": "PAUSED", "category": "UTILITY"}],
    "/control/whatsapp": [
        {"event": event, "phone": "+923001234567", "code": 131026, "when": "send", "count": 1, "kind": "image"}
        for event in ("unsupported", "media", "reaction", "preference", "echo", "fail_next", "number_changed", "status")
    ],
    "/control/numbers": [{"name": "A", "throughput": 80, "waba_id": "1"}, {"id": "100000000000011"}],
    "/control/codes": [{"waba_id": "100000000000001"}],
    "/control/stores": [
        {"store": "shopify", "action": "privacy", "topic": "shop/redact"},
        {"store": "shopify", "action": "scopes", "scopes": ["read_orders"]},
        {"store": "woocommerce", "action": "leak_draft"},
    ],
    "/control/orders/17": [
        {"action": "cancel"},
        {"action": "status", "status": "pending"},
        {"action": "note", "note": "x"},
    ],
    "/control/orders/6100000000001": [{"action": "tag", "tags": ["a"]}, {"action": "fulfil", "company": "TCS"}],
}


@pytest.mark.parametrize("path", CONTROL)
def test_the_control_api(client: FlaskClient, path: str):
    client.post("/control/orders", json=ORDER)
    client.post("/control/orders", json=ORDER | {"store": "woocommerce"})
    attack(lambda body: client.post(path, data=body), CONTROL[path], seed=1, rounds=200)
    assert client.get("/control/health").get_json()["ready"]
    assert client.get("/face/state?phone=%2B923001234567").status_code == 200
    assert client.get("/").status_code == 200


def test_strange_addresses(client: FlaskClient):
    for path in (
        "/control/phones/",
        "/control/phones/%00",
        "/control/phones/" + "9" * 400,
        "/control/orders/%2e%2e",
        "/nothing",
        "/control/orders/" + "x" * 3000,
        "/control/log?since=x",
        "/control/log?limit=-1",
        "/control/log?since=" + "9" * 99,
        "/control/faults/999999999999999999999",
        "/face/state?since=x",
        "/face/state?phone=%ff",
        "/shopify/admin/store/%3Cscript%3E",
        "/shopify/x.myshopify.com/admin/oauth/authorize?client_id=%00",
        "/shopify/dastak-demo.myshopify.com/admin/oauth/authorize?redirect_uri=http://[",
        "/woo/wc-auth/v1/authorize?app_name=a&scope=read&user_id=1&return_url=http://[&callback_url=http://[",
        "/woo/wp-json/wc/v3/orders?oauth_consumer_key[]=1",
        "/woo/wp-json/x/%00",
        "/graph/",
        "/graph/v26.0/",
        "/graph/v26.0/%2F/messages",
        "/graph/download/1?ext=x",
        "/graph/v999.9/1",
        "/woo/wp-admin/orders/1",
        "/woo/checkout/order-pay/17/",
        "/shopify/admin/store/dastak-demo/apps/dastak/%2e%2e/x?embedded=0&hmac=1",
    ):
        for method in ("GET", "POST", "PUT", "DELETE"):
            answer = client.open(path, method=method, data=b"x=1")
            assert answer.status_code < 500, (method, path, answer.status_code)


MESSAGES = [
    {"type": "text", "text": {"body": "Hi", "preview_url": True}, "context": {"message_id": "wamid.x"}},
    {
        "type": "template",
        "biz_opaque_callback_data": "o",
        "template": {
            "name": "cod_v1",
            "language": {"code": "en"},
            "components": [
                {"type": "body", "parameters": [{"type": "text", "parameter_name": "name", "text": "Ali"}]},
                {
                    "type": "button",
                    "sub_type": "quick_reply",
                    "index": "0",
                    "parameters": [{"type": "payload", "payload": "x"}],
                },
                {"type": "button", "sub_type": "url", "index": 1, "parameters": [{"type": "text", "text": "abc"}]},
            ],
        },
    },
    {
        "type": "interactive",
        "interactive": {
            "type": "list",
            "header": {"type": "text", "text": "H"},
            "body": {"text": "B"},
            "footer": {"text": "F"},
            "action": {
                "button": "Go",
                "sections": [{"title": "S", "rows": [{"id": "1", "title": "T", "description": "D"}]}],
            },
        },
    },
    {
        "type": "interactive",
        "interactive": {
            "type": "button",
            "body": {"text": "B"},
            "action": {"buttons": [{"type": "reply", "reply": {"id": "1", "title": "T"}}]},
        },
    },
    {"type": "document", "document": {"link": "https://x.test/a.pdf", "caption": "c", "filename": "a.pdf"}},
    {"type": "location", "location": {"latitude": 31.5, "longitude": 74.3, "name": "Home"}},
    {"type": "reaction", "reaction": {"message_id": "wamid.x", "emoji": "👍"}},
    {"status": "read", "message_id": "wamid.x", "typing_indicator": {"type": "text"}},
]
TEMPLATE = {
    "name": "cod_v1",
    "language": "en",
    "category": "UTILITY",
    "parameter_format": "NAMED",
    "message_send_ttl_seconds": 60,
    "components": [
        {"type": "HEADER", "format": "TEXT", "text": "Order"},
        {
            "type": "BODY",
            "text": "Hi {{name}}, please confirm your order now.",
            "example": {"body_text_named_params": [{"param_name": "name", "example": "Ali"}]},
        },
        {"type": "FOOTER", "text": "Dastak"},
        {
            "type": "BUTTONS",
            "buttons": [
                {"type": "QUICK_REPLY", "text": "Yes"},
                {"type": "URL", "text": "Go", "url": "https://x.test/{{1}}", "example": ["abc"]},
            ],
        },
    ],
}


def test_the_graph_api(client: FlaskClient, sandbox: Running):
    headers = {"Authorization": "Bearer sandbox-token-shopify"}
    base = "/graph/v26.0"
    client.post(f"{base}/100000000000001/message_templates", json=TEMPLATE, headers=headers)
    client.post("/control/phones/+923001234567/send", json={"text": "Hi", "to": "100000000000011"})
    envelope = {"messaging_product": "whatsapp", "to": "+923001234567", "recipient": "PK.1"}
    sandbox.world.whatsapp.accounts.numbers["100000000000011"]["throughput"] = 100_000

    def send(body: bytes) -> Any:
        sandbox.world.whatsapp.accounts.forget_pace()
        return client.post(f"{base}/100000000000011/messages", data=body, headers=headers)

    assert 200 in attack(send, [envelope | message for message in MESSAGES], seed=2, rounds=2500)
    for path, bodies in (
        ("100000000000001/message_templates", [TEMPLATE, TEMPLATE | {"parameter_format": "POSITIONAL"}]),
        ("100000000000001/subscribed_apps", [{"override_callback_uri": None}]),
        ("100000000000011/register", [{"messaging_product": "whatsapp", "pin": "123456"}]),
        ("100000000000011/media", [{"messaging_product": "whatsapp"}]),
        ("sandbox-app/uploads", [{"file_length": 1, "file_type": "image/png"}]),
        ("900000000000001", [{"components": TEMPLATE["components"]}]),
        ("oauth/access_token", [{"client_id": "sandbox-app", "client_secret": "x", "code": "y"}]),
    ):
        attack(lambda body, path=path: client.post(f"{base}/{path}", data=body, headers=headers), bodies, seed=3)
    quiet(sandbox)


QUERIES = [
    {"query": "query($id: ID!) { order(id: $id) { id name } }", "variables": {"id": "gid://shopify/Order/1"}},
    {"query": "query($n: Int, $q: String) { orders(first: $n, query: $q) { nodes { id } } }",
     "variables": {"n": 5, "q": "tag:x"}},
    {
        "query": "mutation($id: ID!, $t: [String!]!) { tagsAdd(id: $id, tags: $t) { userErrors { message } } }",
        "variables": {"id": "gid://shopify/Order/6100000000001", "t": ["a", "b"]},
        "operationName": None,
    },
    {
        "query": "mutation($m: [MetafieldsSetInput!]!) { metafieldsSet(metafields: $m) { userErrors { code } } }",
        "variables": {
            "m": [{"ownerId": "gid://shopify/Order/6100000000001", "namespace": "n", "key": "kk", "type": "t",
                   "value": "v"}]
        },
    },
    {"query": "mutation($i: OrderInput!) { orderUpdate(input: $i) { userErrors { message } } }",
     "variables": {"i": {"id": "gid://shopify/Order/6100000000001", "note": "x", "tags": ["a"]}}},
]  # fmt: skip


def test_the_admin_api_and_the_token_endpoint(client: FlaskClient):
    client.post("/control/stores", json={"store": "shopify", "action": "install"})
    client.post("/control/orders", json=ORDER)
    base = "/shopify/dastak-demo.myshopify.com/admin"
    token = client.get("/shopify/admin/store/dastak-demo/id-token").get_json()["id_token"]
    grant = {
        "client_id": "sandbox-shopify-key",
        "client_secret": "sandbox-shopify-secret",
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token": token,
        "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
        "requested_token_type": "urn:shopify:params:oauth:token-type:offline-access-token",
        "expiring": "1",
    }
    grants = [grant, grant | {"grant_type": "refresh_token", "refresh_token": "shprt_x"}, {**grant, "code": "abc"}]
    attack(
        lambda body: client.post(f"{base}/oauth/access_token", data=body, content_type="application/json"),
        grants,
        seed=4,
    )
    access = client.post(f"{base}/oauth/access_token", json=grant).get_json()["access_token"]
    headers = {"X-Shopify-Access-Token": access}
    statuses = attack(
        lambda body: client.post(f"{base}/api/2026-07/graphql.json", data=body, headers=headers),
        QUERIES,
        seed=5,
        rounds=1500,
    )
    assert statuses <= {200, 400}
    nested = "query { " + "shop { " * 200 + "name" + " }" * 201
    for query in (
        nested,
        "{" * 20000,
        "fragment A on Shop { ...A } { shop { ...A } }",
        "query A { shop { name } } query B { shop { name } }",
    ):
        answer = client.post(f"{base}/api/2026-07/graphql.json", json={"query": query}, headers=headers)
        assert answer.status_code == 200
        assert answer.get_json()["errors"]


def test_the_woocommerce_api(client: FlaskClient, sandbox: Running):
    key = {
        "key_id": 1,
        "consumer_key": "ck_x",
        "consumer_secret": "cs_x",
        "permissions": "read_write",
        "description": "d",
    }
    sandbox.world.woocommerce.keys.keys.put("ck_x", key)
    store = Store(sandbox, key)
    client.post("/control/orders", json=ORDER | {"store": "woocommerce"})
    order = {
        "status": "processing",
        "payment_method": "cod",
        "billing": {"first_name": "A", "phone": "0300"},
        "line_items": [{"product_id": 11, "quantity": 2}],
        "shipping_lines": [{"method_id": "flat_rate", "total": "250.00"}],
        "meta_data": [{"key": "_a", "value": "b"}],
        "set_paid": True,
    }
    hook = {
        "name": "d",
        "topic": "order.created",
        "delivery_url": "http://127.0.0.1:9/x",
        "secret": SECRET,
        "status": "paused",
    }
    for method, path, bodies in (
        ("POST", "/orders", [order]),
        ("PUT", "/orders/17", [order]),
        ("POST", "/orders/batch", [{"create": [order], "update": [{"id": 17, "status": "on-hold"}], "delete": [18]}]),
        ("POST", "/orders/17/notes", [{"note": "x", "customer_note": True}]),
        ("POST", "/orders/17/refunds", [{"amount": "1.00", "reason": "r", "api_refund": False}]),
        ("POST", "/webhooks", [hook]),
    ):

        def send(body: bytes, method: str = method, path: str = path) -> Any:
            return client.open(
                API + path,
                method=method,
                data=body,
                query_string=store.signed(method, API + path),
                content_type="application/json",
            )

        statuses = attack_allowing_refund_500(send, bodies)
        assert statuses & {200, 201}, path
    dice = random.Random(7)
    for _ in range(ROUNDS):
        query = {
            name: str(dice.choice(JUNK))[:200]
            for name in dice.sample(
                [
                    "status",
                    "modified_after",
                    "after",
                    "orderby",
                    "order",
                    "page",
                    "per_page",
                    "search",
                    "_fields",
                    "include",
                ],
                3,
            )
        }
        answer = client.get(f"{API}/orders", query_string=store.signed("GET", f"{API}/orders", query))
        assert answer.status_code in (200, 400), (answer.status_code, query)
    store.http.close()


def attack_allowing_refund_500(send: Callable[[bytes], Any], bodies: list[Any]) -> set[int]:
    """An impossible refund really is a 500 in WooCommerce: with its own code, not a crash."""

    def checked(body: bytes) -> Any:
        answer = send(body)
        if answer.status_code == 500:
            assert answer.get_json()["code"] == "woocommerce_rest_cannot_create_order_refund"
            answer.status_code = 400
        return answer

    return attack(checked, bodies, seed=6, rounds=250)
