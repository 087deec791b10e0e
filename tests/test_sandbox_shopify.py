"""The fake Shopify tells the truth: tokens, Admin API, webhooks, admin pages."""

from __future__ import annotations

import base64
import hashlib
import hmac
import html
import re
from dataclasses import replace
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey

from sandbox import Running, serve, testing
from sandbox.shopify import admin_api
from sandbox.shopify.pages import host_parameter, query_hmac
from sandbox.shopify.webhooks import signature
from sandbox.testing import FAST, Reply, StandIn, quiet, until

sandbox, stand_in = testing.sandbox, testing.stand_in

SHOP = "dastak-demo.myshopify.com"
BASE = f"/shopify/{SHOP}/admin"
EXCHANGE = {
    "client_id": "sandbox-shopify-key",
    "client_secret": "sandbox-shopify-secret",
    "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
    "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
    "requested_token_type": "urn:shopify:params:oauth:token-type:offline-access-token",
    "expiring": "1",
}


class Store:
    """The app's side of one store."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self.http = httpx.Client(base_url=running.url, timeout=60)
        self.http.post("/control/stores", json={"store": "shopify", "action": "install"})
        self.access = ""

    def id_token(self) -> str:
        answer = self.http.get("/shopify/admin/store/dastak-demo/id-token")
        return answer.json()["id_token"]

    def exchange(self, **changes: Any) -> httpx.Response:
        form = EXCHANGE | {"subject_token": self.id_token()} | changes
        answer = self.http.post(f"{BASE}/oauth/access_token", data={k: v for k, v in form.items() if v is not None})
        if answer.status_code == 200:
            self.access = answer.json()["access_token"]
        return answer

    def refresh(self, token: str) -> httpx.Response:
        form = {key: EXCHANGE[key] for key in ("client_id", "client_secret")}
        form |= {"grant_type": "refresh_token", "refresh_token": token}
        return self.http.post(f"{BASE}/oauth/access_token", data=form)

    def ask(self, query: str, variables: dict[str, Any] | None = None, **given: Any) -> httpx.Response:
        headers = {"X-Shopify-Access-Token": given.get("token", self.access)}
        version = given.get("version", "2026-07")
        body = {"query": query, "variables": variables or {}}
        return self.http.post(f"{BASE}/api/{version}/graphql.json", json=body, headers=headers)

    def data(self, query: str, variables: dict[str, Any] | None = None) -> dict[str, Any]:
        reply = self.ask(query, variables).json()
        assert "errors" not in reply, reply["errors"]
        return reply["data"]

    def order(self, **stated: Any) -> tuple[str, str]:
        placed = self.http.post("/control/orders", json={"store": "shopify", **stated}).json()
        return placed["order_id"], f"gid://shopify/Order/{placed['order_id']}"

    def advance(self, duration: str) -> None:
        self.http.post("/control/clock", json={"advance": duration})


@pytest.fixture
def store(sandbox: Running):
    one = Store(sandbox)
    yield one
    one.http.close()


@pytest.fixture
def connected(store: Store) -> Store:
    assert store.exchange().status_code == 200
    return store


# Signatures of the reference


def test_query_signatures_match_the_published_vectors():
    message = {"code": "0907a61c0c8d55e99db179b68161bc00", "shop": "some-shop.myshopify.com"}
    assert query_hmac("hush", message | {"timestamp": "1337178173", "hmac": "ignored"}) == (
        "4712bf92ffc2917d15a2f5a273e39f0116667419aa4b6ac0b3baaf26fa3c4d20"
    )
    with_state = message | {"state": "0.6784241404160823", "timestamp": "1337178173"}
    assert query_hmac("hush", with_state) == "700e2dadb827fcc8609e9d5ce208b2e9cdaab9df07390d2cbca10d7c328fc4bf"


def test_webhook_signatures_match_the_published_vector():
    assert signature("test_secret_key", b'{"foo": "bar"}') == "B23tXN681gZ0qIWNRrgtzBE9XSDo5yaUu6wfmhu3a7g="


# Tokens


def test_an_id_token_has_the_claims_of_a_session_token(store: Store):
    claims = jwt.decode(store.id_token(), OctKey.import_key("sandbox-shopify-secret"), algorithms=["HS256"]).claims
    assert claims["iss"] == f"https://{SHOP}/admin"
    assert claims["dest"] == f"https://{SHOP}"
    assert claims["aud"] == "sandbox-shopify-key"
    assert claims["exp"] - claims["nbf"] == 60
    assert {"sub", "iat", "jti", "sid"} <= set(claims)


def test_an_id_token_is_given_to_the_apps_origin_only(store: Store, stand_in: StandIn):
    answer = store.http.get("/shopify/admin/store/dastak-demo/id-token", headers={"Origin": stand_in.url})
    assert answer.headers["Access-Control-Allow-Origin"] == stand_in.url
    store.http.post("/control/stores", json={"store": "shopify", "action": "uninstall"})
    assert store.http.get("/shopify/admin/store/dastak-demo/id-token").status_code == 409


def test_token_exchange_gives_an_expiring_pair(store: Store):
    pair = store.exchange().json()
    assert pair["access_token"].startswith("shpat_")
    assert pair["refresh_token"].startswith("shprt_")
    assert (pair["expires_in"], pair["refresh_token_expires_in"]) == (3600, 7776000)
    assert "read_orders" in pair["scope"].split(",")


def test_a_token_that_does_not_expire_is_not_accepted(store: Store):
    reply = store.exchange(expiring=None).json()
    assert set(reply) == {"access_token", "scope"}
    refused = store.ask("{shop{name}}")
    assert refused.status_code == 401
    assert "Non-expiring access tokens are no longer accepted" in refused.json()["errors"]


@pytest.mark.parametrize(
    "changes",
    [{"subject_token": "nonsense"}, {"subject_token": ""}, {"subject_token": "a.b.c"}],
)
def test_a_bad_id_token_is_an_invalid_subject(store: Store, changes):
    answer = store.exchange(**changes)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_subject_token")


def test_an_old_id_token_is_an_invalid_subject(store: Store):
    token = store.id_token()
    store.advance("2m")
    answer = store.exchange(subject_token=token)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_subject_token")


def test_an_id_token_of_another_store_is_an_invalid_subject(store: Store):
    store.http.post("/control/stores", json={"store": "shopify", "action": "add", "shop": "other.myshopify.com"})
    form = EXCHANGE | {"subject_token": store.id_token()}
    answer = store.http.post("/shopify/other.myshopify.com/admin/oauth/access_token", data=form)
    assert answer.json()["error"] == "invalid_subject_token"


def test_wrong_client_credentials_are_refused(store: Store):
    assert store.exchange(client_secret="wrong").status_code == 400
    assert store.exchange(client_id="wrong").status_code == 400
    assert store.exchange(grant_type="password").json()["error"] == "unsupported_grant_type"


def test_an_access_token_lives_one_hour_of_domain_time(connected: Store):
    assert connected.ask("{shop{name}}").status_code == 200
    connected.advance("59m")
    assert connected.ask("{shop{name}}").status_code == 200
    connected.advance("2m")
    assert connected.ask("{shop{name}}").status_code == 401


def test_a_refresh_retires_the_pair_but_the_old_access_token_lives_out_its_hour(connected: Store):
    first = connected.exchange().json()
    second = connected.refresh(first["refresh_token"]).json()
    assert connected.ask("{shop{name}}", token=first["access_token"]).status_code == 200
    assert connected.ask("{shop{name}}", token=second["access_token"]).status_code == 200


def test_a_presented_refresh_token_stays_usable_until_its_replacement_is_used(connected: Store):
    first = connected.exchange().json()["refresh_token"]
    lost = connected.refresh(first).json()["refresh_token"]
    kept = connected.refresh(first).json()["refresh_token"]
    assert connected.refresh(lost).status_code == 401, "a second answer retires the first one"
    assert connected.refresh(kept).status_code == 200
    refused = connected.refresh(first)
    assert refused.status_code == 401
    assert refused.json()["error"] == "invalid_request"


def test_a_new_acquisition_kills_the_old_refresh_token_at_once(connected: Store):
    first = connected.exchange().json()
    connected.exchange()
    assert connected.refresh(first["refresh_token"]).status_code == 401
    assert connected.ask("{shop{name}}", token=first["access_token"]).status_code == 200


def test_a_refresh_token_ends_after_ninety_days_or_thirty_after_first_use(connected: Store):
    first = connected.exchange().json()["refresh_token"]
    connected.advance("89d")
    second = connected.refresh(first).json()["refresh_token"]
    connected.advance("31d")
    assert connected.refresh(first).status_code == 401
    assert connected.refresh(second).status_code == 200


def test_uninstalling_kills_every_token_and_says_so(connected: Store, stand_in: StandIn):
    pair = connected.exchange().json()
    connected.http.post("/control/stores", json={"store": "shopify", "action": "uninstall"})
    assert connected.ask("{shop{name}}").status_code == 401
    assert connected.refresh(pair["refresh_token"]).status_code == 401
    told = stand_in.webhooks("app/uninstalled")[0]
    assert told.json["myshopify_domain"] == SHOP


def test_the_code_grant_redirects_signed_and_its_code_works_once(store: Store, stand_in: StandIn):
    query = {
        "client_id": "sandbox-shopify-key",
        "scope": "read_orders",
        "redirect_uri": f"{stand_in.url}/install/shopify/callback",
        "state": "abcDEF_123-x",
    }
    page = store.http.get(f"{BASE}/oauth/authorize", params=query)
    assert page.status_code == 200
    assert "Approve" in page.text
    answer = store.http.post(f"{BASE}/oauth/authorize", params=query)
    target = httpx.URL(answer.headers["Location"])
    given = dict(target.params)
    assert str(target).startswith(f"{stand_in.url}/install/shopify/callback?")
    assert (given["shop"], given["state"], given["host"]) == (SHOP, "abcDEF_123-x", host_parameter("dastak-demo"))
    message = "&".join(f"{k}={v}" for k, v in sorted(given.items()) if k != "hmac")
    assert given["hmac"] == hmac.new(b"sandbox-shopify-secret", message.encode(), hashlib.sha256).hexdigest()
    form = {"client_id": "sandbox-shopify-key", "client_secret": "sandbox-shopify-secret", "code": given["code"]}
    first = store.http.post(f"{BASE}/oauth/access_token", json=form | {"expiring": 1})
    assert first.json()["refresh_token"]
    assert store.http.post(f"{BASE}/oauth/access_token", json=form).status_code == 400


def test_the_code_grant_sends_nobody_elsewhere(store: Store):
    query = {"client_id": "sandbox-shopify-key", "redirect_uri": "https://evil.example/", "state": "x"}
    assert store.http.get(f"{BASE}/oauth/authorize", params=query).status_code == 400


# The Admin API

ORDER = """
fragment Whole on Order {
  id legacyResourceId name createdAt updatedAt processedAt cancelledAt cancelReason closedAt test confirmed
  currencyCode presentmentCurrencyCode
  currentTotalPriceSet { shopMoney { amount currencyCode } presentmentMoney { amount } }
  totalPriceSet { shopMoney { amount } } totalOutstandingSet { shopMoney { amount } }
  totalReceivedSet { shopMoney { amount } } totalRefundedSet { shopMoney { amount } }
  displayFinancialStatus displayFulfillmentStatus paymentGatewayNames email phone customerLocale tags note
  sourceName statusPageUrl canMarkAsPaid
  customer { id firstName lastName displayName locale numberOfOrders
             defaultPhoneNumber { phoneNumber } defaultEmailAddress { emailAddress } }
  shippingAddress { ...Address } billingAddress { ...Address }
  lineItems(first: 20) { nodes { id title variantTitle name sku quantity currentQuantity
    originalUnitPriceSet { shopMoney { amount } } discountedTotalSet { shopMoney { amount } }
    image { url } product { id } variant { id } } }
  fulfillments { id status displayStatus trackingInfo { company number url } createdAt updatedAt }
  transactions { id kind status gateway manualPaymentGateway amountSet { shopMoney { amount } } createdAt }
  metafield(namespace: "$app:dastak", key: "confirmation") { value }
  metafields(first: 5) { nodes { namespace key value } }
}
fragment Address on MailingAddress {
  firstName lastName name phone address1 address2 city province provinceCode zip country countryCodeV2 company
}
"""


def test_an_order_is_told_whole(connected: Store):
    _, gid = connected.order(
        payment="cod",
        customer={"name": "Ali Raza", "phone": "0300 7654321", "city": "Karachi", "locale": "ur"},
        items=[{"sku": "KRT-M", "quantity": 2}, {"sku": "DUP-01"}],
        note="Call first",
    )
    query = ORDER + "query One($id: ID!) { order(id: $id) { ...Whole } }"
    order = connected.data(query, {"id": gid})["order"]
    assert order["totalPriceSet"]["shopMoney"]["amount"] == "6100.00"
    assert order["totalOutstandingSet"]["shopMoney"]["amount"] == "6100.00"
    assert order["displayFinancialStatus"] == "PENDING"
    assert order["paymentGatewayNames"] == ["Cash on Delivery (COD)"]
    assert order["canMarkAsPaid"] is True
    assert order["shippingAddress"]["phone"] == "0300 7654321"
    assert order["customer"]["defaultPhoneNumber"]["phoneNumber"] == "+923007654321"
    assert order["customerLocale"] == "ur"
    assert order["transactions"][0]["manualPaymentGateway"] is True
    assert [line["variantTitle"] for line in order["lineItems"]["nodes"]] == ["M", None]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", order["updatedAt"])


def test_the_store_and_the_installation_tell_of_themselves(connected: Store):
    data = connected.data(
        "{ shop { id name email myshopifyDomain ianaTimezone currencyCode primaryDomain { host url }"
        " billingAddress { countryCodeV2 } plan { displayName } }"
        " currentAppInstallation { id accessScopes { handle } } }"
    )
    assert data["shop"]["name"] == "Lahore Lawn"
    assert (data["shop"]["currencyCode"], data["shop"]["ianaTimezone"]) == ("PKR", "Asia/Karachi")
    assert data["shop"]["billingAddress"] == {"countryCodeV2": "PK"}
    handles = {scope["handle"] for scope in data["currentAppInstallation"]["accessScopes"]}
    assert {"read_orders", "write_orders"} <= handles


def test_orders_are_paged_by_the_time_they_changed(connected: Store):
    gids = [connected.order()[1] for _ in range(5)]
    connected.advance("10m")
    mark = connected.http.get("/control/clock").json()["now"]
    connected.advance("10m")
    for gid in (gids[3], gids[1]):
        connected.data('mutation($id: ID!) { tagsAdd(id: $id, tags: ["seen"]) { node { id } } }', {"id": gid})
        connected.advance("1m")
    query = """query($after: String, $query: String) {
      orders(first: 1, after: $after, sortKey: UPDATED_AT, query: $query) {
        nodes { id } pageInfo { hasNextPage endCursor } } }"""
    variables: dict[str, Any] = {"query": f"updated_at:>='{mark}'"}
    found = []
    while True:
        page = connected.data(query, variables)["orders"]
        found += [node["id"] for node in page["nodes"]]
        if not page["pageInfo"]["hasNextPage"]:
            break
        variables["after"] = page["pageInfo"]["endCursor"]
    assert found == [gids[3], gids[1]]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", [0, 1, 2]),
        ("status:cancelled", [2]),
        ("status:open", [0, 1]),
        ("tag:VIP", [1]),
        ("tag_not:vip", [0, 2]),
        ("-tag:vip", [0, 2]),
        ("name:#1002", [1]),
        ("financial_status:paid", [1]),
        ("created_at:>'2100-01-01'", []),
        ("status:any nonsense_field:1", [0, 1, 2]),
    ],
)
def test_orders_are_found_by_search(connected: Store, query, expected):
    gids = [connected.order(payment=payment)[1] for payment in ("cod", "prepaid", "cod")]
    connected.data('mutation($id: ID!) { tagsAdd(id: $id, tags: ["vip"]) { node { id } } }', {"id": gids[1]})
    connected.http.post(f"/control/orders/{gids[2].rpartition('/')[2]}", json={"action": "cancel"})
    quiet(connected.running)
    found = connected.data(
        "query($q: String) { orders(first: 50, sortKey: ID, query: $q) { nodes { id } } }", {"q": query}
    )
    assert [node["id"] for node in found["orders"]["nodes"]] == [gids[index] for index in expected]


def test_orders_older_than_sixty_days_are_out_of_sight(connected: Store):
    _, gid = connected.order()
    connected.advance("61d")
    connected.exchange()
    assert connected.data("query($id: ID!) { order(id: $id) { id } }", {"id": gid})["order"] is None


def test_tags_are_added_once_and_the_store_echoes(connected: Store, stand_in: StandIn):
    _, gid = connected.order()
    stand_in.webhooks("orders/create")
    mutation = "mutation($id: ID!, $tags: [String!]!) { tagsAdd(id: $id, tags: $tags) { userErrors { message } } }"
    connected.data(mutation, {"id": gid, "tags": ["COD confirmed", "Dastak"]})
    echo = stand_in.webhooks("orders/updated")[0]
    assert echo.json["tags"] == "COD confirmed, Dastak"
    connected.data(mutation, {"id": gid, "tags": ["cod CONFIRMED"]})
    connected.data(mutation.replace("tagsAdd", "tagsRemove"), {"id": gid, "tags": ["dastak"]})
    echoes = stand_in.webhooks("orders/updated", 2)
    assert [told.json["tags"] for told in echoes] == ["COD confirmed, Dastak", "COD confirmed"]


def test_cancelling_is_a_job_and_final(connected: Store, stand_in: StandIn):
    id, gid = connected.order()
    mutation = """mutation($id: ID!) { orderCancel(orderId: $id, restock: true, reason: CUSTOMER, refund: false) {
      job { id done } orderCancelUserErrors { code field message } } }"""
    first = connected.data(mutation, {"id": gid})["orderCancel"]
    assert first["job"]["done"] is False
    cancelled = stand_in.webhooks("orders/cancelled")[0].json
    assert (cancelled["cancel_reason"], cancelled["financial_status"]) == ("customer", "voided")
    assert connected.data("query($id: ID!) { job(id: $id) { done } }", {"id": first["job"]["id"]})["job"]["done"]
    again = connected.data(mutation, {"id": gid})["orderCancel"]
    assert again["job"] is None
    assert again["orderCancelUserErrors"][0]["field"] == ["orderId"]
    assert connected.http.get(f"/control/orders/{id}").json()["cancel_reason"] == "customer"
    unknown = connected.data(mutation, {"id": "gid://shopify/Order/1"})["orderCancel"]
    assert unknown["orderCancelUserErrors"][0]["code"] == "NOT_FOUND"


def test_an_order_is_marked_as_paid_once(connected: Store, stand_in: StandIn):
    _, gid = connected.order()
    mutation = """mutation($id: ID!) { orderMarkAsPaid(input: {id: $id}) {
      order { displayFinancialStatus canMarkAsPaid } userErrors { message } } }"""
    assert connected.data(mutation, {"id": gid})["orderMarkAsPaid"]["order"] == {
        "displayFinancialStatus": "PAID",
        "canMarkAsPaid": False,
    }
    paid = stand_in.webhooks("orders/paid")[0].json
    assert (paid["financial_status"], paid["total_outstanding"]) == ("paid", "0.00")
    assert paid["payment_gateway_names"] == ["Cash on Delivery (COD)"], "a paid COD order keeps its gateway"
    assert connected.data(mutation, {"id": gid})["orderMarkAsPaid"]["userErrors"]


def test_marking_as_paid_captures_a_card_that_was_authorised(connected: Store):
    id, gid = connected.order()
    order = connected.running.world.shopify.order(id)
    order["body"]["financial_status"] = "authorized"
    order["transactions"][0] |= {"kind": "AUTHORIZATION", "status": "SUCCESS", "gateway": "card", "manual": False}
    mutation = """mutation($id: ID!) { orderMarkAsPaid(input: {id: $id}) {
      order { displayFinancialStatus totalReceivedSet { shopMoney { amount } } transactions { kind gateway } }
      userErrors { message } } }"""
    paid = connected.data(mutation, {"id": gid})["orderMarkAsPaid"]["order"]
    assert paid["displayFinancialStatus"] == "PAID"
    assert paid["totalReceivedSet"]["shopMoney"]["amount"] == order["body"]["total_price"]
    assert paid["transactions"] == [{"kind": kind, "gateway": "card"} for kind in ("AUTHORIZATION", "CAPTURE")]


def test_a_cancelled_order_cannot_be_marked_as_paid(connected: Store):
    id, gid = connected.order()
    connected.http.post(f"/control/orders/{id}", json={"action": "cancel"})
    query = "query($id: ID!) { order(id: $id) { cancelledAt canMarkAsPaid } }"
    until(lambda: connected.data(query, {"id": gid})["order"]["cancelledAt"])
    assert connected.data(query, {"id": gid})["order"]["canMarkAsPaid"] is False
    mutation = "mutation($id: ID!) { orderMarkAsPaid(input: {id: $id}) { order { id } userErrors { message } } }"
    refused = connected.data(mutation, {"id": gid})["orderMarkAsPaid"]
    assert refused["order"] is None
    assert refused["userErrors"]


def test_order_update_overwrites(connected: Store):
    _, gid = connected.order(note="old")
    mutation = """mutation($input: OrderInput!) { orderUpdate(input: $input) {
      order { note tags customAttributes { key value } } userErrors { message } } }"""
    first = {"id": gid, "note": "new", "tags": ["a", "b"], "customAttributes": [{"key": "k", "value": "v"}]}
    connected.data(mutation, {"input": first})
    order = connected.data(mutation, {"input": {"id": gid, "tags": ["c"]}})["orderUpdate"]["order"]
    assert order == {"note": "new", "tags": ["c"], "customAttributes": [{"key": "k", "value": "v"}]}


def test_metafields_are_written_all_or_none_and_compared(connected: Store):
    id, gid = connected.order()
    mutation = """mutation($fields: [MetafieldsSetInput!]!) { metafieldsSet(metafields: $fields) {
      metafields { namespace key value compareDigest } userErrors { code elementIndex } } }"""
    field = {
        "ownerId": gid,
        "namespace": "$app:dastak",
        "key": "confirmation",
        "type": "single_line_text_field",
        "value": "confirmed",
    }
    written = connected.data(mutation, {"fields": [field]})["metafieldsSet"]["metafields"][0]
    assert written["namespace"].startswith("app--")
    stale = field | {"value": "again", "compareDigest": "0" * 64}
    both = [field | {"key": "other"}, stale]
    reply = connected.data(mutation, {"fields": both})["metafieldsSet"]
    assert reply["userErrors"] == [{"code": "STALE_OBJECT", "elementIndex": 1}]
    fresh = field | {"value": "again", "compareDigest": written["compareDigest"]}
    assert connected.data(mutation, {"fields": [fresh]})["metafieldsSet"]["userErrors"] == []
    read = connected.data(
        'query($id: ID!) { order(id: $id) { metafield(namespace: "$app:dastak", key: "confirmation") { value }'
        ' other: metafield(namespace: "$app:dastak", key: "other") { value } } }',
        {"id": gid},
    )["order"]
    assert read == {"metafield": {"value": "again"}, "other": None}
    assert list(connected.http.get(f"/control/orders/{id}").json()["meta"].values()) == ["again"]
    too_many = connected.data(mutation, {"fields": [field] * 26})["metafieldsSet"]
    assert too_many["userErrors"][0]["code"] == "LESS_THAN_OR_EQUAL_TO"


WORK = """query($id: ID!) { order(id: $id) { fulfillmentOrders(first: 5) {
  nodes { id status orderName assignedLocation { name } lineItems(first: 5) { nodes { remainingQuantity } } } } } }"""
FULFIL = """mutation($f: FulfillmentInput!) { fulfillmentCreate(fulfillment: $f) {
  fulfillment { id status displayStatus trackingInfo { number url company } } userErrors { field message } } }"""
EVENT = """mutation($e: FulfillmentEventInput!) { fulfillmentEventCreate(fulfillmentEvent: $e) {
  fulfillmentEvent { id status happenedAt } userErrors { field message } } }"""
CANCEL = """mutation($id: ID!) { fulfillmentCancel(id: $id) {
  fulfillment { id status displayStatus } userErrors { field message } } }"""


def work_of(store: Store, gid: str) -> list[dict[str, Any]]:
    return store.data(WORK, {"id": gid})["order"]["fulfillmentOrders"]["nodes"]


def fulfil(store: Store, *works: dict[str, Any], number: str = "77900") -> dict[str, Any]:
    tracking = {"number": number, "url": "https://t.test/7", "company": "TCS"}
    parts = [{"fulfillmentOrderId": work["id"]} for work in works]
    return store.data(FULFIL, {"f": {"lineItemsByFulfillmentOrder": parts, "trackingInfo": tracking}})[
        "fulfillmentCreate"
    ]


def test_an_app_fulfils_an_order_once(connected: Store, stand_in: StandIn):
    id, gid = connected.order(items=[{"sku": "KHS-01", "quantity": 2}])
    (work,) = work_of(connected, gid)
    assert (work["status"], work["orderName"]) == ("OPEN", "#1001")
    assert work["lineItems"]["nodes"] == [{"remainingQuantity": 2}]
    made = fulfil(connected, work)
    assert made["userErrors"] == []
    assert made["fulfillment"]["status"] == "SUCCESS"
    assert made["fulfillment"]["displayStatus"] == "FULFILLED"
    assert made["fulfillment"]["trackingInfo"] == [{"number": "77900", "url": "https://t.test/7", "company": "TCS"}]
    created = stand_in.webhooks("fulfillments/create")[0].json
    assert (created["order_id"], created["tracking_number"]) == (int(id), "77900")
    assert stand_in.webhooks("orders/fulfilled")[0].json["fulfillment_status"] == "fulfilled"
    assert stand_in.webhooks("orders/updated")
    (work,) = work_of(connected, gid)
    assert work["status"] == "CLOSED"
    refused = fulfil(connected, work)
    assert refused["fulfillment"] is None
    assert refused["userErrors"][0]["field"] == ["fulfillment"]
    assert "unfulfillable status= closed" in refused["userErrors"][0]["message"]


def test_a_fulfilment_order_that_never_was_is_no_user_error(connected: Store):
    variables = {"f": {"lineItemsByFulfillmentOrder": [{"fulfillmentOrderId": "gid://shopify/FulfillmentOrder/1"}]}}
    reply = connected.ask(FULFIL, variables).json()
    assert reply["data"]["fulfillmentCreate"] is None
    assert (reply["errors"][0]["message"], reply["errors"][0]["extensions"]["code"]) == (
        "invalid id",
        "RESOURCE_NOT_FOUND",
    )


def test_what_lies_at_two_locations_is_fulfilled_twice(connected: Store, stand_in: StandIn):
    id, gid = connected.order(items=[{"sku": "KHS-01"}, {"sku": "DUP-01"}])
    connected.http.post(f"/control/orders/{id}", json={"action": "split"})
    here, there = work_of(connected, gid)
    assert here["assignedLocation"] != there["assignedLocation"]
    assert "same location" in fulfil(connected, here, there)["userErrors"][0]["message"]
    first = fulfil(connected, here, number="1")["fulfillment"]
    assert stand_in.webhooks("orders/partially_fulfilled")[0].json["fulfillment_status"] == "partial"
    second = fulfil(connected, there, number="2")["fulfillment"]
    assert stand_in.webhooks("orders/fulfilled")[0].json["fulfillment_status"] == "fulfilled"
    assert first["id"] != second["id"]
    numbers = [told.json["tracking_number"] for told in stand_in.webhooks("fulfillments/create", 2)]
    assert sorted(numbers) == ["1", "2"]


def test_an_event_of_a_fulfilment_is_told_by_three_topics(connected: Store, stand_in: StandIn):
    id, gid = connected.order()
    made = fulfil(connected, *work_of(connected, gid))["fulfillment"]
    event = {"fulfillmentId": made["id"], "status": "OUT_FOR_DELIVERY", "happenedAt": "2026-11-26T08:30:00Z"}
    written = connected.data(EVENT, {"e": event})["fulfillmentEventCreate"]
    assert written["userErrors"] == []
    assert written["fulfillmentEvent"]["happenedAt"] == "2026-11-26T08:30:00Z"
    told = stand_in.webhooks("fulfillment_events/create")[0].json
    assert (told["status"], told["happened_at"]) == ("out_for_delivery", "2026-11-26T13:30:00+05:00")
    assert (told["order_id"], told["fulfillment_id"]) == (int(id), int(made["id"].rpartition("/")[2]))
    assert stand_in.webhooks("fulfillments/update")[0].json["shipment_status"] == "out_for_delivery"
    shown = [told.json["fulfillments"][0]["shipment_status"] for told in stand_in.webhooks("orders/updated", 2)]
    assert "out_for_delivery" in shown, "in whichever order they come"
    connected.data(EVENT, {"e": event | {"status": "DELIVERED", "happenedAt": "2026-11-26T09:00:00Z"}})
    query = """query($id: ID!) { order(id: $id) { fulfillments { displayStatus
      events(first: 1, sortKey: HAPPENED_AT, reverse: true) { nodes { status } } } } }"""
    seen = connected.data(query, {"id": gid})["order"]["fulfillments"]
    assert seen == [{"displayStatus": "DELIVERED", "events": {"nodes": [{"status": "DELIVERED"}]}}]
    unknown = connected.data(EVENT, {"e": event | {"fulfillmentId": "gid://shopify/Fulfillment/1"}})
    error = unknown["fulfillmentEventCreate"]["userErrors"][0]
    assert error == {"field": ["fulfillmentEvent", "fulfillmentId"], "message": "Fulfillment does not exist."}
    wrong = connected.ask(EVENT, {"e": event | {"status": "LOST"}}).json()
    assert "data" not in wrong or wrong["data"] is None


def test_a_cancelled_fulfilment_leaves_its_goods_open_again(connected: Store, stand_in: StandIn):
    id, gid = connected.order()
    made = fulfil(connected, *work_of(connected, gid))["fulfillment"]
    gone = connected.data(CANCEL, {"id": made["id"]})["fulfillmentCancel"]
    assert gone["fulfillment"] == {"id": made["id"], "status": "CANCELLED", "displayStatus": "CANCELED"}
    assert stand_in.webhooks("fulfillments/update")[0].json["status"] == "cancelled"
    assert connected.http.get(f"/control/orders/{id}").json()["fulfillment_status"] == "unfulfilled"
    event = {"fulfillmentId": made["id"], "status": "DELIVERED"}
    assert connected.data(EVENT, {"e": event})["fulfillmentEventCreate"]["userErrors"]
    assert fulfil(connected, *work_of(connected, gid))["fulfillment"]["id"] != made["id"]
    unknown = connected.data(CANCEL, {"id": "gid://shopify/Fulfillment/1"})["fulfillmentCancel"]
    assert unknown["userErrors"] == [{"field": ["id"], "message": "Fulfillment not found."}]


def test_fulfilments_and_their_events_are_two_permissions(connected: Store):
    _, gid = connected.order()
    made = fulfil(connected, *work_of(connected, gid))["fulfillment"]

    def denied(query: str, variables: dict[str, Any], scopes: list[str]) -> bool:
        body = {"store": "shopify", "action": "scopes", "scopes": ["read_orders", *scopes]}
        connected.http.post("/control/stores", json=body)
        errors = connected.ask(query, variables).json().get("errors") or []
        return [error["extensions"]["code"] for error in errors] == ["ACCESS_DENIED"]

    event = {"e": {"fulfillmentId": made["id"], "status": "DELIVERED"}}
    assert denied(WORK, {"id": gid}, ["write_fulfillments"])
    assert denied(CANCEL, {"id": made["id"]}, ["write_fulfillments"])
    assert denied(EVENT, event, ["write_merchant_managed_fulfillment_orders"])
    assert not denied(EVENT, event, ["write_fulfillments"])
    assert not denied(WORK, {"id": gid}, ["write_merchant_managed_fulfillment_orders"])


def test_a_wrong_query_fails_as_the_real_api_would(connected: Store):
    reply = connected.ask("{ shop { phoneNumber } }")
    assert reply.status_code == 200
    assert reply.json()["errors"][0]["message"] == "Field 'phoneNumber' doesn't exist on type 'Shop'"
    assert reply.json()["errors"][0]["extensions"]["code"] == "undefinedField"
    for query in ("", "{", "query { order(id: 1) }", "mutation { tagsAdd { node { id } } }", "{" * 9000):
        answer = connected.ask(query)
        assert answer.status_code == 200
        assert answer.json()["errors"]
    invalid = connected.ask("query($id: ID!) { order(id: $id) { id } }", {"id": "1002"}).json()
    assert "Invalid global id" in invalid["errors"][0]["message"]
    missing = connected.ask("{ orders { nodes { id } } }").json()
    assert missing["errors"][0]["message"] == "you must provide one of first or last"


def test_the_version_that_answered_is_in_the_header(connected: Store):
    assert connected.ask("{shop{name}}", version="2026-07").headers["X-Shopify-API-Version"] == "2026-07"
    fallen = connected.ask("{shop{name}}", version="2024-10")
    assert fallen.headers["X-Shopify-API-Version"] == "2026-01", "an expired version falls forward"
    assert connected.ask("{shop{name}}", version="2031-01").status_code == 404
    assert connected.ask("{shop{name}}", version="newest").status_code == 404


def test_cost_is_told_and_what_was_not_used_is_given_back(connected: Store):
    connected.order()
    cost = connected.ask("{ orders(first: 50) { nodes { id customer { id } } } }").json()["extensions"]["cost"]
    assert cost["actualQueryCost"] < cost["requestedQueryCost"]
    assert cost["throttleStatus"]["maximumAvailable"] == 2000
    assert cost["throttleStatus"]["restoreRate"] == 100
    assert cost["throttleStatus"]["currentlyAvailable"] >= 2000 - cost["actualQueryCost"] - 1
    assert connected.ask("{shop{name}}").json()["extensions"]["cost"]["requestedQueryCost"] == 1
    mutation = 'mutation { tagsAdd(id: "gid://shopify/Order/1", tags: []) { userErrors { message } } }'
    assert connected.ask(mutation).json()["extensions"]["cost"]["requestedQueryCost"] == 10


def test_the_cost_of_a_connection_grows_slowly():
    """A published reply: product + variants(first: 250) with one object in each costs 25."""
    assert 1 + 2 + admin_api.weight_of_connection(250) * 2 == 25
    assert [admin_api.weight_of_connection(size) for size in (0, 1, 2)] == [0, 1, 1]


def test_an_empty_bucket_throttles_with_http_200(connected: Store):
    expensive = (
        "mutation {"
        + "".join(
            f' a{n}: tagsAdd(id: "gid://shopify/Order/1", tags: []) {{ userErrors {{ message }} }}' for n in range(90)
        )
        + "}"
    )
    replies = [connected.ask(expensive) for _ in range(4)]
    assert {answer.status_code for answer in replies} == {200}
    throttled = [answer.json() for answer in replies if "errors" in answer.json()]
    assert throttled
    assert throttled[0]["errors"][0]["extensions"]["code"] == "THROTTLED"
    assert throttled[0]["extensions"]["cost"]["actualQueryCost"] is None
    too_big = (
        "mutation {"
        + "".join(
            f' a{n}: tagsAdd(id: "gid://shopify/Order/1", tags: []) {{ userErrors {{ message }} }}' for n in range(101)
        )
        + "}"
    )
    assert connected.ask(too_big).json()["errors"][0]["extensions"]["code"] == "MAX_COST_EXCEEDED"


def test_a_missing_scope_is_access_denied(connected: Store, stand_in: StandIn):
    _, gid = connected.order()
    scopes = {"store": "shopify", "action": "scopes", "scopes": ["read_orders"]}
    connected.http.post("/control/stores", json=scopes)
    assert stand_in.webhooks("app/scopes_update")[0].json["current"] == ["read_orders"]
    reply = connected.ask('mutation($id: ID!) { tagsAdd(id: $id, tags: ["x"]) { node { id } } }', {"id": gid}).json()
    assert reply["errors"][0]["extensions"]["code"] == "ACCESS_DENIED"
    partial = connected.ask("query($id: ID!) { order(id: $id) { name customer { id } } }", {"id": gid}).json()
    assert partial["data"]["order"] == {"name": "#1001", "customer": None}
    assert partial["errors"][0]["extensions"]["code"] == "ACCESS_DENIED"


# Webhooks

HEADERS = [
    "X-Shopify-Topic",
    "X-Shopify-Hmac-SHA256",
    "X-Shopify-Shop-Domain",
    "X-Shopify-API-Version",
    "X-Shopify-Webhook-Id",
    "X-Shopify-Event-Id",
    "X-Shopify-Triggered-At",
]
ORDER_FIELDS = """id admin_graphql_api_id name order_number number confirmation_number created_at updated_at
processed_at cancelled_at cancel_reason closed_at confirmed test currency presentment_currency total_price
subtotal_price total_outstanding total_tax total_discounts current_total_price current_total_price_set
financial_status fulfillment_status payment_gateway_names email contact_email phone customer shipping_address
billing_address line_items note note_attributes tags landing_site landing_site_ref referring_site source_name
source_identifier app_id cart_token checkout_token customer_locale buyer_accepts_marketing order_status_url
discount_codes fulfillments refunds returns shipping_lines merchant_business_entity_id user_id location_id"""
LINE_FIELDS = """id product_id variant_id title variant_title name quantity current_quantity fulfillable_quantity
price price_set sku properties requires_shipping fulfillment_status total_discount vendor"""
GONE = {"gateway", "processing_method", "checkout_id"}


def test_an_order_webhook_has_the_headers_and_the_shape_of_2026_07(store: Store, stand_in: StandIn):
    store.order(payment="cod", customer={"name": "آمنہ & co", "phone": "0300 7654321"})
    told = stand_in.webhooks("orders/create")[0]
    assert told.path == "/webhooks/stores/shopify"
    assert [name for name in HEADERS if told.header(name) is None] == []
    assert told.header("X-Shopify-Shop-Domain") == SHOP
    assert told.header("X-Shopify-API-Version") == "2026-07"
    expected = base64.b64encode(hmac.new(b"sandbox-shopify-secret", told.body, hashlib.sha256).digest()).decode()
    assert told.header("X-Shopify-Hmac-SHA256") == expected
    body = told.json
    assert [field for field in ORDER_FIELDS.split() if field not in body] == []
    assert [field for field in LINE_FIELDS.split() if field not in body["line_items"][0]] == []
    assert not GONE & set(body)
    assert not {"tags", "email_marketing_consent", "sms_marketing_consent", "orders_count"} & set(body["customer"])
    assert body["created_at"].endswith("+05:00")
    assert isinstance(body["id"], int)
    assert body["shipping_address"]["phone"] == "0300 7654321"
    assert b"\\u0026" in told.body, "Rails escapes the ampersand"
    assert "آمنہ".encode() in told.body, "and leaves other scripts alone"


@pytest.mark.parametrize(
    ("payment", "status", "gateway"),
    [
        ("cod", "pending", "Cash on Delivery (COD)"),
        ("jazzcash", "pending", "JazzCash"),
        ("easypaisa", "pending", "Easypaisa"),
        ("bank", "pending", "Bank Deposit"),
        ("safepay", "pending", "Safepay"),
        ("razorpay", "pending", "Razorpay"),
        ("cashfree", "pending", "Cashfree Payments"),
        ("prepaid", "paid", "shopify_payments"),
    ],
)
def test_a_payment_shows_in_status_and_gateway(store: Store, stand_in: StandIn, payment, status, gateway):
    store.order(payment=payment)
    body = stand_in.webhooks("orders/create")[0].json
    assert (body["financial_status"], body["payment_gateway_names"]) == (status, [gateway])
    if status == "paid":
        assert stand_in.webhooks("orders/paid")


def test_nothing_is_sent_before_the_app_is_installed(sandbox: Running, stand_in: StandIn):
    httpx.post(f"{sandbox.url}/control/orders", json={"store": "shopify"})
    quiet(sandbox)
    assert stand_in.told == []


def test_a_delivery_is_tried_again_with_the_same_id_and_a_new_one_has_its_own(store: Store, stand_in: StandIn):
    refusals = iter([500, 302, 404])
    stand_in.answers = lambda told: Reply(next(refusals, 200))
    store.order()
    tries = stand_in.webhooks("orders/create", 4)
    assert len({told.header("X-Shopify-Webhook-Id") for told in tries}) == 1
    assert len({told.body for told in tries}) == 1
    quiet(store.running)
    store.order()
    assert stand_in.webhooks("orders/create", 5)[4].header("X-Shopify-Webhook-Id") != tries[0].header(
        "X-Shopify-Webhook-Id"
    )


def test_a_delivery_is_given_up_after_eight_retries(stand_in: StandIn):
    running = serve(replace(FAST, app_url=stand_in.url, shopify_first_retry=0.0))
    try:
        store = Store(running)
        stand_in.answers = lambda told: Reply(503)
        store.order()
        quiet(running)
        assert len(stand_in.webhooks("orders/create", 9)) == 9
        last = store.http.get("/control/log", params={"vendor": "shopify", "limit": 1}).json()["log"][0]
        assert last["outcome"] == "refused; given up"
        store.http.close()
    finally:
        running.stop()


def test_one_action_shares_an_event_id_between_topics(store: Store, stand_in: StandIn):
    store.order(payment="prepaid")
    told = [stand_in.webhooks(topic)[0] for topic in ("orders/create", "orders/paid", "orders/updated")]
    assert len({one.header("X-Shopify-Event-Id") for one in told}) == 1
    assert len({one.header("X-Shopify-Webhook-Id") for one in told}) == 3


def test_fulfilment_refund_and_shipment_are_told(store: Store, stand_in: StandIn):
    id, _ = store.order(payment="prepaid")
    tracking = {"action": "fulfil", "company": "TCS", "tracking_number": "77900", "tracking_url": "https://t.test/7"}
    store.http.post(f"/control/orders/{id}", json=tracking)
    created = stand_in.webhooks("fulfillments/create")[0].json
    assert (created["tracking_company"], created["tracking_numbers"]) == ("TCS", ["77900"])
    assert created["order_id"] == int(id)
    assert created["destination"]["phone"]
    assert stand_in.webhooks("orders/fulfilled")[0].json["fulfillment_status"] == "fulfilled"
    store.http.post(f"/control/orders/{id}", json={"action": "shipment", "status": "delivered"})
    assert stand_in.webhooks("fulfillments/update")[0].json["shipment_status"] == "delivered"
    assert stand_in.webhooks("fulfillment_events/create")[0].json["status"] == "delivered"
    store.http.post(f"/control/orders/{id}", json={"action": "refund"})
    assert stand_in.webhooks("refunds/create")[0].json["order_id"] == int(id)
    refused = store.http.post(f"/control/orders/{id}", json={"action": "cancel"})
    assert refused.status_code == 409


def test_a_cart_left_behind_is_told_twice_and_has_no_id(store: Store, stand_in: StandIn):
    left = store.http.post("/control/checkouts", json={"store": "shopify"}).json()
    created = stand_in.webhooks("checkouts/create")[0].json
    updated = stand_in.webhooks("checkouts/update")[0].json
    assert created["phone"] is None
    assert updated["phone"] == "+923001234567"
    assert updated["token"] == left["checkout_token"]
    assert "id" not in updated
    assert updated["completed_at"] is None
    assert store.http.post("/control/checkouts", json={"store": "woocommerce"}).status_code == 501


def test_the_compliance_topics_come_with_a_dead_installation_too(store: Store, stand_in: StandIn):
    id, _ = store.order()
    store.http.post("/control/stores", json={"store": "shopify", "action": "uninstall"})
    for topic in ("customers/data_request", "customers/redact", "shop/redact"):
        body = {"store": "shopify", "action": "privacy", "topic": topic, "order_id": id}
        assert store.http.post("/control/stores", json=body).status_code == 200
        told = stand_in.webhooks(topic)[0].json
        assert told["shop_domain"] == SHOP
    assert stand_in.webhooks("customers/redact")[0].json["orders_to_redact"] == [int(id)]


# The admin


def test_the_admin_opens_the_app_in_a_signed_frame(store: Store, stand_in: StandIn):
    page = store.http.get("/shopify/admin/store/dastak-demo/apps/dastak/app/orders?tab=2").text
    source = html.unescape(re.search(r'<iframe[^>]* src="([^"]+)"', page)[1])
    address = httpx.URL(source)
    given = dict(address.params)
    assert str(address).startswith(f"{stand_in.url}/app/orders?")
    assert (given["embedded"], given["shop"], given["locale"], given["tab"]) == ("1", SHOP, "en", "2")
    padded = given["host"] + "=" * (-len(given["host"]) % 4)
    assert base64.b64decode(padded).decode() == "admin.shopify.com/store/dastak-demo"
    assert jwt.decode(given["id_token"], OctKey.import_key("sandbox-shopify-secret"), algorithms=["HS256"])


def test_the_admin_shows_orders_escaped_and_acts(store: Store):
    id, _ = store.order(customer={"name": "<script>alert(1)</script>"}, note='"><img src=x>')
    page = store.http.get("/shopify/admin/store/dastak-demo")
    assert "<script>alert" not in page.text
    assert "<img src=x" not in page.text
    answer = store.http.post(f"/shopify/admin/store/dastak-demo/orders/{id}", data={"action": "pay"})
    assert answer.status_code == 302
    assert store.http.get(f"/control/orders/{id}").json()["payment_status"] == "paid"
    again = store.http.post(f"/shopify/admin/store/dastak-demo/orders/{id}", data={"action": "pay"})
    assert "cannot+be+marked" in again.headers["Location"]


def test_installing_and_uninstalling_by_the_buttons(sandbox: Running, stand_in: StandIn):
    with httpx.Client(base_url=sandbox.url) as browser:
        assert "Install Dastak" in browser.get("/shopify/admin/store/dastak-demo").text
        assert "not installed" in browser.get("/shopify/admin/store/dastak-demo/apps/dastak").text
        answer = browser.post("/shopify/admin/store/dastak-demo/install", data={"action": "install"})
        assert answer.headers["Location"].endswith("/apps/dastak")
        until(lambda: stand_in.told == [], lambda: "managed installation calls nobody")
        browser.post("/shopify/admin/store/dastak-demo/install", data={"action": "uninstall"})
        assert stand_in.webhooks("app/uninstalled")
        assert browser.get("/shopify/admin/store/nobody").status_code == 404


def test_app_bridge_is_served_as_a_script(sandbox: Running):
    answer = httpx.get(f"{sandbox.url}/shopify/app-bridge.js")
    assert answer.headers["Content-Type"].startswith("text/javascript")
    assert "X-Shopify-Retry-Invalid-Session-Request" in answer.text
