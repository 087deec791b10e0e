"""Becoming a tenant, and proving who one is: every way in, and what an attacker would try at each."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import orjson
import pytest
from flask import Flask
from joserfc import jwt
from joserfc.jwk import OctKey
from sqlalchemy import select

import adapters.http
from adapters.stores import shopify
from adapters.stores.shopify import _signed
from integration import attempts
from integration.access import open_account
from integration.customers import EVERYTHING, REVOKED, contact_for_phone, record_consent, standing
from integration.db import Database
from integration.errors import ConfigurationError, InvalidSignature, PermanentError, TransientError
from integration.house import House
from integration.orders import Order
from integration.outbox import Touchpoint
from integration.ports import Embedded, StoreProfile
from integration.stores import Connection, Store, connect, install, uninstall, valid_zone
from webapp import build_app

from . import factories
from .conftest import build, settings_for
from .world import World

SHOP = "dastak-demo.myshopify.com"


def _token(house: House, secret: str = "sandbox-shopify-secret", **changes: Any) -> str:
    now = int(house.clock.now().timestamp())
    claims = {
        "iss": f"https://{SHOP}/admin", "dest": f"https://{SHOP}", "aud": "sandbox-shopify-key", "sub": "1",
        "exp": now + 60, "nbf": now, "iat": now, "jti": "4321", "sid": "abc123", **changes,
    }  # fmt: skip
    return jwt.encode({"alg": changes.pop("alg", "HS256")}, claims, OctKey.import_key(secret))


def _adapter(house: House) -> Any:
    return house.registry.get("stores", "shopify")


# -- session tokens ------------------------------------------------------------------------------------------------


def test_a_session_token_speaks_for_its_shop(lite_house: House) -> None:
    visitor = _adapter(lite_house).visitor(_token(lite_house))
    assert (visitor.account, visitor.user) == (SHOP, "1")


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "another-app"}, {"iss": "https://evil.myshopify.com/admin"}, {"dest": "https://evil.example"},
        {"dest": None}, {"exp": 0}, {"exp": "soon"},
        {"dest": "https://evil.example/.myshopify.com", "iss": "https://evil.example/admin"},
        {"dest": "https://a.myshopify.com.evil.example", "iss": "https://a.myshopify.com.evil.example/admin"},
    ],
)  # fmt: skip
def test_a_token_for_anything_else_speaks_for_nobody(lite_house: House, changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidSignature):
        _adapter(lite_house).visitor(_token(lite_house, **changes))


def test_a_token_of_a_wrong_secret_or_no_algorithm_is_refused(lite_house: House) -> None:
    for forged in (
        _token(lite_house, secret="guessed-secret-guessed"),
        "x.y.z",
        "",
        "e30.e30.",
        "eyJhbGciOiJub25lIn0.e30.",
    ):
        with pytest.raises(InvalidSignature):
            _adapter(lite_house).visitor(forged)


def test_a_token_may_be_a_moment_early_and_no_more(lite_house: House) -> None:
    now = int(lite_house.clock.now().timestamp())
    assert _adapter(lite_house).visitor(_token(lite_house, nbf=now + 8)).account == SHOP
    for nbf, exp in ((now + 60, now + 120), (now - 200, now - 30)):
        with pytest.raises(InvalidSignature):
            _adapter(lite_house).visitor(_token(lite_house, nbf=nbf, exp=exp))


def test_the_old_secret_still_opens_while_secrets_rotate(lite_house: House) -> None:
    adapter = _adapter(lite_house)
    adapter._secrets = ("brand-new-secret-00", "sandbox-shopify-secret")
    assert adapter.visitor(_token(lite_house)).account == SHOP
    assert adapter.visitor(_token(lite_house, secret="brand-new-secret-00")).account == SHOP


@pytest.mark.parametrize(
    ("message", "digest"),
    [
        ({"code": "0907a61c0c8d55e99db179b68161bc00", "shop": "some-shop.myshopify.com", "timestamp": "1337178173"},
         "4712bf92ffc2917d15a2f5a273e39f0116667419aa4b6ac0b3baaf26fa3c4d20"),
        ({"code": "0907a61c0c8d55e99db179b68161bc00", "shop": "some-shop.myshopify.com", "state": "0.6784241404160823",
          "timestamp": "1337178173"}, "700e2dadb827fcc8609e9d5ce208b2e9cdaab9df07390d2cbca10d7c328fc4bf"),
    ],
)  # fmt: skip
def test_the_published_vectors_of_the_code_grant_hold(message: dict[str, str], digest: str) -> None:
    assert _signed({**message, "hmac": digest}, "hush")
    assert not _signed({**message, "hmac": digest[::-1]}, "hush")
    assert not _signed(message, "hush")


# -- embedded pages ------------------------------------------------------------------------------------------------


@pytest.fixture
def web(lite_world: World) -> httpx.Client:
    return httpx.Client(base_url=lite_world.app_url, follow_redirects=False, trust_env=False, timeout=30)


def _hint(**more: str) -> dict[str, str]:
    return {"shop": SHOP, "host": "YWRtaW4uc2hvcGlmeS5jb20vc3RvcmUvZGFzdGFrLWRlbW8", "embedded": "1", **more}


def test_a_document_with_a_fresh_token_is_the_page_framed_by_its_shop_only(
    lite_world: World, web: httpx.Client
) -> None:
    page = web.get("/", params=_hint(id_token=_token(lite_world.house)))
    assert page.status_code == 200
    assert "Lahore Lawn" in page.text
    ancestors = re.search(r"frame-ancestors ([^;]*)", page.headers["content-security-policy"])
    assert ancestors is not None
    assert ancestors[1].split() == [f"https://{SHOP}", lite_world.sandbox.url]
    assert "set-cookie" not in page.headers
    assert page.text.index("app-bridge.js") < page.text.index("app.js")
    assert page.headers["cache-control"] == "no-store"


def test_a_merchant_hands_over_what_a_customer_asked_for(lite_world: World, web: httpx.Client) -> None:
    """The home page says that it is ready, the page shows it, nobody else's number opens anything."""
    placed = lite_world.place("shopify", customer={"name": "Zubaida Khan"})
    shop = {"store": "shopify", "action": "privacy", "topic": "customers/data_request", "order_id": placed.order_id}
    lite_world.control("POST", "/control/stores", shop)
    lite_world.settle()

    def look(path: str) -> httpx.Response:
        return web.get(path, params=_hint(id_token=_token(lite_world.house)))

    [href] = re.findall(r'href="(/app/exports/\d+)[^"]*"', look("/app/").text)
    shown = look(href)
    assert shown.status_code == 200
    assert "Zubaida Khan" in shown.text
    assert placed.phone.number in shown.text
    assert look("/app/exports/999999").status_code == 404
    assert look(f"/app/exports/{2**70}").status_code == 404


def test_a_document_without_one_is_bounced_to_where_it_gets_one(lite_world: World, web: httpx.Client) -> None:
    page = web.get("/app/orders", params=_hint(id_token="stale"))
    assert page.status_code == 302
    there = urlsplit(page.headers["location"])
    assert there.path == "/session/bounce"
    back = parse_qs(there.query)["shopify-reload"][0]
    assert back.startswith(f"{lite_world.app_url}/app/orders?")
    assert "id_token" not in back
    bounced = web.get(page.headers["location"])
    assert bounced.status_code == 200
    assert "app-bridge.js" in bounced.text
    assert "Lahore" not in bounced.text


def test_a_fetch_with_a_dead_token_is_told_to_try_again(web: httpx.Client) -> None:
    answer = web.get("/app/orders", headers={"Authorization": "Bearer dead"})
    assert answer.status_code == 401
    assert answer.headers["x-shopify-retry-invalid-session-request"] == "1"


@pytest.mark.parametrize("path", ["/app/", "/app/orders", "/app/orders/1", "/app/journeys", "/app/whatsapp"])
def test_pages_show_nothing_to_strangers(web: httpx.Client, path: str) -> None:
    page = web.get(path)
    assert page.status_code == 302
    assert page.headers["location"] == "/"
    assert "'none'" in page.headers["content-security-policy"]


def test_a_merchant_sees_only_their_own_orders(lite_world: World, web: httpx.Client) -> None:
    placed = lite_world.place("woocommerce")
    own = lite_world.place("shopify")
    bearer = {"Authorization": f"Bearer {_token(lite_world.house)}"}
    assert web.get(f"/app/orders/{lite_world.order(placed).id}", headers=bearer).status_code == 404
    assert web.get(f"/app/orders/{lite_world.order(own).id}", headers=bearer).status_code == 200
    assert placed.name not in web.get("/app/orders", headers=bearer).text
    for number in ("0", "99999999999999999999999", "-1", "abc"):
        assert web.get(f"/app/orders/{number}", headers=bearer).status_code in (404, 405)


def test_a_nonsensical_host_is_no_crash(web: httpx.Client) -> None:
    for host in ("####", "aGVsbG8", "", "YWRtaW4", "\x00"):
        assert web.get("/", params={"host": host, "embedded": "1"}).status_code == 200


def test_a_store_is_installed_by_its_first_visit_and_by_two_at_once_only_once(lite_world: World) -> None:
    """Two documents open together; one exchange happens, and the credentials that are kept work."""
    lite_world.control(
        "POST", "/control/stores", {"store": "shopify", "action": "add", "shop": "twice.myshopify.com", "name": "Twice"}
    )
    lite_world.control(
        "POST", "/control/stores", {"store": "shopify", "action": "install", "shop": "twice.myshopify.com"}
    )
    token = _token(lite_world.house, iss="https://twice.myshopify.com/admin", dest="https://twice.myshopify.com")
    answers: list[int] = []

    def visit() -> None:
        with httpx.Client(base_url=lite_world.app_url, trust_env=False, timeout=30) as client:
            answers.append(client.get("/", params={"shop": "twice.myshopify.com", "id_token": token}).status_code)

    threads = [threading.Thread(target=visit) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 5
    log = lite_world.control("GET", "/control/log?vendor=shopify&limit=500")["log"]
    exchanges = [entry for entry in log if "twice" in str(entry) and "access_token" in str(entry)]
    assert len(exchanges) == 1
    lite_world.settle()
    with lite_world.house.db.operator() as session:
        found = session.scalars(select(Connection).where(Connection.account == "twice.myshopify.com")).one()
        assert (found.health, found.store.name) == ("ok", "Twice")


# -- access that expires -------------------------------------------------------------------------------------------


def test_an_expired_access_is_refreshed_by_one_process_while_the_others_wait(lite_world: World) -> None:
    """Many at once find the token expired; one refreshes, all get the new one, and it works."""
    lite_world.control("POST", "/control/clock", {"advance": "2h"})
    house, store_id = lite_world.house, lite_world.store_id("shopify")
    with house.db.read(store_id) as session:
        connection_id = session.scalars(select(Connection.id).where(Connection.room == "stores")).one()
        before = session.get_one(Connection, connection_id).opened(house.vault).credentials["access_token"]
    tokens: list[str] = []
    threads = [
        threading.Thread(
            target=lambda: tokens.append(open_account(house, store_id, connection_id).credentials["access_token"])
        )
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tokens) == 6
    assert len(set(tokens)) == 1
    assert before not in tokens
    assert _adapter(house).profile(open_account(house, store_id, connection_id)).name == "Lahore Lawn"


def test_an_access_that_was_taken_away_is_said_and_the_next_visit_mends_it(
    lite_world: World, web: httpx.Client
) -> None:
    house, store_id = lite_world.house, lite_world.store_id("shopify")
    with house.db.lane(store_id) as session:
        connection = session.scalars(select(Connection).where(Connection.room == "stores")).one()
        connection.sealed = house.vault.seal({"access_token": "shpat_dead", "refresh_token": "shprt_dead"})
        connection.remember(expires_at=(house.clock.now() - timedelta(hours=1)).isoformat())
        connection_id = connection.id
    with pytest.raises(ConfigurationError, match="Open Dastak from the Shopify admin"):
        open_account(house, store_id, connection_id)
    with house.db.read(store_id) as session:
        assert session.get_one(Connection, connection_id).health == "broken"
    assert web.get("/", params=_hint(id_token=_token(house))).status_code == 200
    with house.db.read(store_id) as session:
        assert session.get_one(Connection, connection_id).health == "ok"


# -- the code grant, where managed install is not offered ----------------------------------------------------------


def test_the_code_grant_installs_and_its_state_is_the_browsers_own(lite_world: World) -> None:
    lite_world.control(
        "POST",
        "/control/stores",
        {"store": "shopify", "action": "add", "shop": "by-code.myshopify.com", "name": "By Code"},
    )
    with httpx.Client(base_url=lite_world.app_url, follow_redirects=False, trust_env=False, timeout=30) as browser:
        away = browser.get("/install/shopify", params={"shop": "by-code.myshopify.com"})
        assert away.status_code == 302
        form = httpx.get(away.headers["location"], trust_env=False).text
        action = re.search(r'action="([^"]+)"', form)
        fields = dict(re.findall(r'name="([^"]+)" value="([^"]*)"', form))
        approve = re.search(r'<button[^>]*name="([^"]+)"[^>]*value="([^"]+)"', form)
        if approve:
            fields[approve[1]] = approve[2]
        target = httpx.URL(away.headers["location"]).join(action[1].replace("&amp;", "&") if action else "")
        back = httpx.post(target, data={k: v.replace("&amp;", "&") for k, v in fields.items()}, trust_env=False)
        assert back.status_code in (302, 303), back.text[:300]
        with httpx.Client(base_url=lite_world.app_url, trust_env=False) as stranger:
            assert stranger.get(back.headers["location"]).status_code == 403
        done = browser.get(back.headers["location"])
        assert done.status_code == 302, done.text[:400]
        assert "/store/by-code/apps/" in done.headers["location"]
        assert browser.get(back.headers["location"]).status_code == 403  # the state was for one use
    with lite_world.house.db.operator() as session:
        found = session.scalars(select(Connection).where(Connection.account == "by-code.myshopify.com")).one()
        assert lite_world.house.vault.open(found.sealed)["refresh_token"]


@pytest.mark.parametrize(
    "shop", ["", "evil.example", "a.myshopify.com.evil.example", "a.myshopify.com/x", "a b.myshopify.com"]
)
def test_the_code_grant_begins_for_real_shops_only(web: httpx.Client, shop: str) -> None:
    assert web.get("/install/shopify", params={"shop": shop}).status_code == 400


# -- the store's own approval page ---------------------------------------------------------------------------------


def _begin(world: World, browser: httpx.Client) -> httpx.Response:
    page = browser.get("/install/woocommerce")
    token = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
    assert token is not None
    return browser.post("/install/woocommerce", data={"store_url": f"{world.sandbox.url}/woo", "csrf_token": token[1]})


def _keys(user_id: str, **changes: Any) -> dict[str, Any]:
    return {
        "key_id": 2, "user_id": user_id, "consumer_key": "ck_" + "a" * 40, "consumer_secret": "cs_" + "b" * 40,
        "key_permissions": "read_write", **changes,
    }  # fmt: skip


@pytest.fixture
def browser(lite_world: World) -> httpx.Client:
    return httpx.Client(base_url=lite_world.app_url, follow_redirects=False, trust_env=False, timeout=30)


def test_a_form_without_its_token_begins_nothing(lite_world: World, browser: httpx.Client) -> None:
    assert browser.post("/install/woocommerce", data={"store_url": f"{lite_world.sandbox.url}/woo"}).status_code == 403


def test_what_the_store_is_told_names_no_tenant_and_two_secrets(lite_world: World, browser: httpx.Client) -> None:
    away = _begin(lite_world, browser)
    assert away.status_code == 302
    query = {name: values[0] for name, values in parse_qs(urlsplit(away.headers["location"]).query).items()}
    assert urlsplit(away.headers["location"]).path == "/woo/wc-auth/v1/authorize"
    assert query["scope"] == "read_write"
    assert re.fullmatch(r"[A-Za-z0-9_-]{32,}", query["user_id"])
    assert re.search(r"/install/woocommerce/callback/[A-Za-z0-9_-]{40,}$", query["callback_url"])
    assert query["user_id"] not in query["callback_url"]


def test_keys_are_parked_once_and_only_for_their_own_attempt(lite_world: World, browser: httpx.Client) -> None:
    query = parse_qs(urlsplit(_begin(lite_world, browser).headers["location"]).query)
    state, callback = query["user_id"][0], query["callback_url"][0]
    stranger = httpx.Client(trust_env=False)
    for wrong in (
        _keys("someone-else"), _keys(state, key_permissions="read"), _keys(state, consumer_key="x"), {}, [], "text",
        _keys(state, consumer_secret=None),
    ):  # fmt: skip
        assert stranger.post(callback, json=wrong).status_code == 401
    assert stranger.post(callback, content=b"\xff{").status_code == 401
    assert stranger.post(callback[:-1] + "x", json=_keys(state)).status_code == 404
    assert stranger.post(callback, json=_keys(state)).status_code == 200
    assert stranger.post(callback, json=_keys(state)).status_code == 404


def test_an_attacker_who_lures_a_merchant_into_approving_gets_nothing(lite_world: World, browser: httpx.Client) -> None:
    """The attacker begins, the merchant approves and comes back in a browser of their own: keys stay parked."""
    query = parse_qs(urlsplit(_begin(lite_world, browser).headers["location"]).query)
    state, callback = query["user_id"][0], query["callback_url"][0]
    assert httpx.post(callback, json=_keys(state), trust_env=False).status_code == 200
    with httpx.Client(base_url=lite_world.app_url, trust_env=False) as merchant:
        back = merchant.get("/install/woocommerce/return", params={"success": "1", "user_id": state})
        assert back.status_code == 403
        assert "another browser" in back.text
    with lite_world.house.db.operator() as session:
        attempt = session.scalars(select(attempts.InstallAttempt).where(attempts.InstallAttempt.state == state)).one()
        assert attempt.used is False


def test_forged_keys_of_another_store_fail_before_anything_is_kept(lite_world: World, browser: httpx.Client) -> None:
    """The right browser comes back, but the keys do not open the store it named."""
    query = parse_qs(urlsplit(_begin(lite_world, browser).headers["location"]).query)
    state, callback = query["user_id"][0], query["callback_url"][0]
    httpx.post(callback, json=_keys(state), trust_env=False)
    back = browser.get("/install/woocommerce/return", params={"success": "1", "user_id": state})
    assert back.status_code == 409
    assert "no longer accepts our keys" in back.text


def test_a_declined_or_expired_attempt_changes_nothing(lite_world: World, browser: httpx.Client) -> None:
    assert browser.get("/install/woocommerce/return", params={"success": "0", "user_id": "x"}).status_code == 422
    query = parse_qs(urlsplit(_begin(lite_world, browser).headers["location"]).query)
    lite_world.control("POST", "/control/clock", {"advance": "16m"})
    assert httpx.post(query["callback_url"][0], json=_keys(query["user_id"][0]), trust_env=False).status_code == 404
    assert (
        browser.get("/install/woocommerce/return", params={"success": "1", "user_id": query["user_id"][0]}).status_code
        == 403
    )


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1:9/woo", "must begin with https"), ("https://127.0.0.1/", "private network"),
        ("https://localhost/", "private network"), ("https://user:pw@example.com/", "must begin with https"),
        ("file:///etc/passwd", "must begin with https"), ("https://[::1]/", "private network"),
        ("https://10.0.0.8/x", "private network"),
        ("https://169.254.169.254/latest/meta-data", "private network"), ("javascript:alert(1)", "No website answers"),
        ("", "must begin with https"), ("https://", "must begin with https"), ("https://[abc", "no web address"),
        ("https://a]b", "no web address"), ("https://\u2100.com", "no web address"),
    ],
)  # fmt: skip
def test_addresses_that_lead_inside_are_refused(lite_world: World, browser: httpx.Client, url: str, said: str) -> None:
    page = browser.get("/install/woocommerce")
    token = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
    assert token is not None
    answer = browser.post("/install/woocommerce", data={"store_url": url, "csrf_token": token[1]})
    assert answer.status_code == 422
    assert said in answer.text


def test_a_shop_that_redirects_to_nonsense_is_no_crash(lite_house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([httpx.Response(302, headers={"location": "https://[abc"})])
    monkeypatch.setattr(adapters.http, "guard", lambda url, trusted: url)
    monkeypatch.setattr(adapters.http, "read", lambda *args, **more: next(answers))
    with pytest.raises(ConfigurationError, match="no web address"):
        lite_house.registry.get("stores", "woocommerce").find_store("shop.example")


def test_an_answer_that_cannot_be_unpacked_is_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-encoding": "gzip"}, stream=httpx.ByteStream(b"no gzip"))

    monkeypatch.setattr(adapters.http, "client", lambda: httpx.Client(transport=httpx.MockTransport(answer)))
    with pytest.raises(TransientError, match="broke off"):
        adapters.http.read("GET", "https://shop.example/wp-json/")


@pytest.mark.parametrize(
    ("given", "account"),
    [
        ("my-shop.com", "https://my-shop.com"), ("My-Shop.com", "https://my-shop.com"),
        ("https://my-shop.com:443/", "https://my-shop.com"), ("HTTPS://MY-SHOP.COM:/", "https://my-shop.com"),
        ("my-shop.com:8443", "https://my-shop.com:8443"), ("my-shop.com/Store", "https://my-shop.com/Store"),
    ],
)  # fmt: skip
def test_a_shop_is_one_store_however_its_address_is_spelled(
    lite_house: House, monkeypatch: pytest.MonkeyPatch, given: str, account: str
) -> None:
    index = httpx.Response(200, json={"namespaces": ["wc/v3"]})
    monkeypatch.setattr(adapters.http, "guard", lambda url, trusted: url)
    monkeypatch.setattr(adapters.http, "read", lambda *args, **more: index)
    assert lite_house.registry.get("stores", "woocommerce").find_store(given) == account


def test_keys_made_by_hand_connect_a_store_whose_page_does_not_work(lite_world: World, browser: httpx.Client) -> None:
    page = browser.get("/install/woocommerce")
    token = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
    assert token is not None
    form = {
        "store_url": f"{lite_world.sandbox.url}/woo",
        "csrf_token": token[1],
        "consumer_key": "ck_x",
        "consumer_secret": "cs_x",
    }
    for key in ("ck_x", "ck_\u0627"):
        wrong = browser.post("/install/woocommerce/keys", data={**form, "consumer_key": key})
        assert wrong.status_code == 422
        assert "These are no WooCommerce keys" in wrong.text
        assert "cs_x" not in wrong.text
    with lite_world.house.db.operator() as session:
        known = session.scalars(select(Connection).where(Connection.adapter == "woocommerce")).one()
        keys = lite_world.house.vault.open(known.sealed)
    right = browser.post(
        "/install/woocommerce/keys",
        data={**form, "consumer_key": keys["consumer_key"], "consumer_secret": keys["consumer_secret"]},
    )
    assert right.status_code == 302
    assert browser.get("/app/").status_code == 200


def test_a_signed_in_merchants_forms_need_their_token(lite_world: World, browser: httpx.Client) -> None:
    test_keys_made_by_hand_connect_a_store_whose_page_does_not_work(lite_world, browser)
    assert browser.post("/app/journeys/cod_confirmation", data={"enabled": "0"}).status_code == 403
    page = browser.get("/app/journeys")
    token = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
    assert token is not None
    assert (
        browser.post("/app/journeys/cod_confirmation", data={"enabled": "1", "csrf_token": token[1]}).status_code == 303
    )
    cookie = next(c for c in browser.cookies.jar if c.name == "dastak")
    assert cookie.has_nonstandard_attr("HttpOnly")


# -- leaving -------------------------------------------------------------------------------------------------------


def _signed_in(world: World, browser: httpx.Client) -> None:
    test_keys_made_by_hand_connect_a_store_whose_page_does_not_work(world, browser)


def _form_token(browser: httpx.Client, path: str) -> str:
    token = re.search(r'name="csrf_token" value="([^"]+)"', browser.get(path).text)
    assert token is not None
    return token[1]


def test_a_merchant_who_leaves_takes_webhooks_keys_and_if_asked_the_data_along(
    fresh_url: Callable[[str], str], tmp_path: Path
) -> None:
    with World.begin(fresh_url("sqlite"), tmp_path, settings_for, build) as world:
        world.install()
        placed = world.place("woocommerce")
        store_id, shopify_id = world.store_id("woocommerce"), world.store_id("shopify")
        kept = world.place("shopify")
        with httpx.Client(base_url=world.app_url, trust_env=False, timeout=30) as browser:
            _signed_in(world, browser)
            assert "Disconnect this store" in browser.get("/app/").text
            assert browser.post("/app/leave", data={}).status_code == 403
            form = {"csrf_token": _form_token(browser, "/app/"), "erase": "on"}
            assert browser.post("/app/leave", data=form).status_code == 303
            assert browser.get("/app/").headers["location"] == "/"
        world.settle()
        with world.house.db.operator() as session:
            connection = session.scalars(select(Connection).where(Connection.adapter == "woocommerce")).one()
            assert connection.sealed is None
            assert not session.get_one(Store, store_id).active
            assert session.scalars(select(Order.store_id)).all() == [shopify_id]
        calls = world.control("GET", "/control/log?limit=500")["log"]
        assert sum("DELETE" in call["what"] for call in calls) >= 3, "the webhooks went before the keys"
        before = len(placed.phone.messages)
        world.place("woocommerce", phone=placed.phone)
        assert len(placed.phone.messages) == before
        assert world.states(kept)[0] == "awaiting"


def test_a_store_that_cannot_be_reached_is_left_all_the_same(fresh_url: Callable[[str], str], tmp_path: Path) -> None:
    with World.begin(fresh_url("sqlite"), tmp_path, settings_for, build) as world:
        world.install()
        with httpx.Client(base_url=world.app_url, trust_env=False, timeout=60) as browser:
            _signed_in(world, browser)
            form = {"csrf_token": _form_token(browser, "/app/")}
            world.fault("woocommerce", "error_500", rate=1.0)
            assert browser.post("/app/leave", data=form).status_code == 303
        with world.looking("woocommerce") as session:
            assert not session.get_one(Store, session.store_id).active


# -- the channel's signup window -----------------------------------------------------------------------------------


def test_a_code_of_the_signup_window_connects_a_fresh_number(lite_world: World, browser: httpx.Client) -> None:
    _signed_in(lite_world, browser)
    waba = lite_world.control("POST", "/control/numbers", {"name": "Multan Mangoes"})
    lite_world.control("POST", "/control/numbers", {"id": waba["phone_number_id"], "registered": False})
    issued = lite_world.control("POST", "/control/codes", {"waba_id": waba["waba_id"]})
    form = {"csrf_token": _form_token(browser, "/app/whatsapp"), "code": issued["code"], "waba_id": waba["waba_id"]}
    connected = browser.post("/app/whatsapp/connect", data=form)  # some ways through the window name no number
    assert connected.status_code == 303, connected.text
    again = browser.post("/app/whatsapp/connect", data=form)
    assert again.status_code == 422
    assert "lives only 30 seconds" in again.text
    lite_world.settle()
    assert "Multan Mangoes" in browser.get("/app/whatsapp").text


def test_a_test_message_does_not_lift_a_stop(lite_house: House) -> None:
    store_id = factories.store(lite_house, account=SHOP)
    with lite_house.db.lane(store_id) as session:
        contact = factories.contact(session, "+923001234567")
        record_consent(session, contact, EVERYTHING, REVOKED, source="reply", evidence="STOP", at=session.now())
    answer = (
        build_app(lite_house)
        .test_client()
        .post(
            "/app/whatsapp/test",
            data={"phone": "0300 1234567"},
            headers={"Authorization": f"Bearer {_token(lite_house)}"},
        )
    )
    assert answer.status_code == 422
    assert "This person wrote STOP; only their START lifts it." in answer.text
    with lite_house.db.read(store_id) as session:
        kept = contact_for_phone(session, "+923001234567")
        assert kept is not None
        assert standing(kept.consents).opted_out_at is not None
        assert session.scalars(select(Touchpoint)).all() == []


# -- long orders ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [30, 31, 50])
def test_a_poll_tells_every_line_of_a_long_order(
    lite_world: World, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """However many pages they fill: the sandbox's longest order fills one, so the pages are made smaller."""
    monkeypatch.setattr(shopify, "_LINES_QUERY", shopify._LINES_QUERY.replace("first: 250", "first: 9"))
    since = lite_world.house.clock.now() - timedelta(minutes=1)
    lines = [{"sku": "KHS-01", "quantity": 1}] * count
    placed = lite_world.place("shopify", items=lines, settle=False)
    with lite_world.looking("shopify") as session:
        shop = session.scalars(select(Connection).where(Connection.adapter == "shopify")).one()
    account = open_account(lite_world.house, shop.store_id, shop.id)
    told = [orjson.loads(request.body) for request in _adapter(lite_world.house).fetch_orders(account, since)]
    [long] = [body for body in told if str(body["id"]) == placed.order_id]
    assert len({line["id"] for line in long["line_items"]}) == count


# -- slow and hostile visitors -------------------------------------------------------------------------------------


class _Slow(io.BytesIO):
    """A body that arrives while somebody else wants to write. `held_up` says that they could not."""

    def __init__(self, db: Database, body: bytes) -> None:
        super().__init__(body)
        self._db, self.held_up, self.was_read = db, False, False

    def readinto(self, buffer: Any, /) -> int:
        if not self.was_read:
            self.was_read = True
            other = threading.Thread(target=self._write)
            other.start()
            other.join(2)
            self.held_up = other.is_alive()
        return super().readinto(buffer)

    def _write(self) -> None:
        with self._db.operator_writing():
            pass


def test_a_body_that_comes_slowly_holds_no_writer_up(lite_house: House) -> None:
    factories.store(lite_house, account=SHOP)
    with lite_house.db.operator_writing() as session:
        begun = attempts.begin(session, "woocommerce", "https://shop.example")
    client = build_app(lite_house).test_client()
    bearer = {"Authorization": f"Bearer {_token(lite_house)}"}
    form = "application/x-www-form-urlencoded"
    for path, body, kind, status in (
        (f"/install/woocommerce/callback/{begun.callback_token}", orjson.dumps(_keys(begun.state)), "application/json",
         200),
        ("/app/journeys/order_confirmation", b"enabled=1", form, 303),
        ("/app/whatsapp/test", b"phone=1", form, 422),
    ):  # fmt: skip
        slow = _Slow(lite_house.db, body)
        answer = client.post(path, input_stream=slow, content_length=len(body), content_type=kind, headers=bearer)
        assert (answer.status_code, slow.was_read, slow.held_up) == (status, True, False), path


def test_what_a_database_or_a_shop_cannot_take_is_no_crash(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    factories.store(house, account=SHOP)
    client = build_app(house).test_client()
    bearer = {"Authorization": f"Bearer {_token(house)}"}
    assert client.get("/app/orders?q=a%00b", headers=bearer).status_code == 200
    assert client.get(f"/app/whatsapp?test={'9' * 23}", headers=bearer).status_code == 200
    assert client.get("/install/woocommerce/return?success=1&user_id=%00").status_code in (400, 403)

    def refuse(*_: Any) -> None:
        raise PermanentError("the store refused: HTTP 418")

    with house.db.operator_writing() as session:
        begun = attempts.begin(session, "woocommerce", "https://shop.example")
    with client.session_transaction() as cookie:
        cookie["attempt"] = begun.browser_token
    assert client.post(f"/install/woocommerce/callback/{begun.callback_token}", json=_keys(begun.state)).text == "ok"
    monkeypatch.setattr(house.registry.get("stores", "woocommerce"), "profile", refuse)
    answer = client.get(f"/install/woocommerce/return?success=1&user_id={begun.state}")
    assert answer.status_code == 422
    assert "the store refused: HTTP 418" in answer.text


def test_a_notice_of_a_removal_from_before_the_newest_install_changes_nothing(lite_house: House) -> None:
    """Removed and installed again before we heard: the new access stays, though the store never looked inactive."""
    store_id = factories.store(lite_house, account="back.myshopify.com")
    removed_at = lite_house.clock.now()
    profile = StoreProfile("Back", "back.myshopify.com", "Asia/Karachi", "PKR", "PK")
    with lite_house.db.operator_writing() as session:
        connection = session.scalars(select(Connection).where(Connection.store_id == store_id)).first()
        assert connection is not None
        connection.connected_at = removed_at - timedelta(days=9)
    with lite_house.db.operator_writing() as session:
        install(
            session, adapter="shopify", profile=profile, credentials={"access_token": "new"}, state={},
            vault=lite_house.vault,
        )  # fmt: skip
        store = session.get_one(Store, store_id)
        assert uninstall(store, removed_at - timedelta(seconds=5)) is False
        assert store.active
        assert uninstall(store, session.now() + timedelta(seconds=5)) is True


@pytest.mark.parametrize("name", ["America", "", "x" * 300, "../etc", "Asia/Karachi"])
def test_a_zone_is_one_we_know_or_utc(name: str) -> None:
    assert valid_zone(name) == (name if name == "Asia/Karachi" else "UTC")


# -- one account, one store ----------------------------------------------------------------------------------------


def test_a_number_belongs_to_one_living_store(lite_house: House) -> None:
    first, second = factories.store(lite_house, channel=False), factories.store(lite_house, channel=False)

    def join(store_id: int) -> None:
        with lite_house.db.operator_writing() as session:
            connect(
                session,
                store_id=store_id,
                room="channels",
                adapter="whatsapp",
                account="777",
                credentials={},
                state={},
                vault=lite_house.vault,
            )

    join(first)
    join(first)
    with pytest.raises(ConfigurationError, match="already connected to another store"):
        join(second)
    with lite_house.db.operator_writing() as session:
        session.get_one(Store, first).uninstalled_at = session.now()
    join(second)  # the first store is gone, so the number may move
    with lite_house.db.operator() as session:
        living = session.scalars(select(Connection).where(Connection.account == "777")).one()
        assert living.store_id == second


def test_platforms_that_frame_pages_are_found_by_what_they_can(lite_house: House) -> None:
    app: Flask = build_app(lite_house)
    assert app.secret_key
    embedded = [name for name, adapter in lite_house.registry.room("stores").items() if isinstance(adapter, Embedded)]
    assert embedded == ["shopify"]
    assert _adapter(lite_house).frame_ancestors("evil.example") == "'none'"
    assert _adapter(lite_house).account_hint({"host": "YWRtaW4uc2hvcGlmeS5jb20vc3RvcmUvYWJj"}) == "abc.myshopify.com"
