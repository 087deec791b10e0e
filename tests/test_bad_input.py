"""Ten thousand hostile bodies on every endpoint: 200, 401, 404 or 413 as designed, never a 500, nothing signed lost."""

from __future__ import annotations

import base64
import hmac
import io
import json
import random
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select, update

from integration.errors import NotUnderstood
from integration.house import House
from integration.ingest import WebhookDelivery, process
from integration.ports import WebhookRequest
from integration.stores import Connection
from integration.vault import token_hash
from webapp import assemble

from . import factories
from .contract.recorded import FIXTURES

BODIES = 10_000

_json = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**63), st.floats(allow_nan=False), st.text(max_size=12)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
_bodies = st.one_of(
    st.binary(max_size=200), _json.map(lambda value: json.dumps(value).encode()), st.text(max_size=60).map(str.encode)
)


@pytest.fixture(scope="module")
def bodies() -> list[bytes]:
    """Ten thousand bodies that hypothesis makes up, for every endpoint: making them costs more than reading them."""
    made: list[bytes] = []

    @settings(
        max_examples=BODIES, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(_bodies)
    def make(body: bytes) -> None:
        made.append(body)

    make()
    assert len(made) >= BODIES
    return made


_LETTERS = (
    "".join(map(chr, range(128))),
    '{}[]:,"\\0123456789.-+eE',
    "\u0000\u0085\u200b\u200e\u202e\u2028\ufeff\ufffe\uffff\U0010ffff",
    "\ud800\udbff\udc00\udfff",
    "آپ کا آرڈر ہے؟ आपका ऑर्डर ñãç",
    "👍🏽👨‍👩‍👧🇵🇰é",
)
"""What strings are made of: plain, JSON's own, invisible, halves of letters, other scripts, pictures of several."""
_STRANGE = (
    None, True, False, 0, -1, 2**31, -(2**63), 2**64, 10**400, 0.0, -0.0, 5e-324, 1.7e308, float("inf"), "", " ", "0",
    "-1", "1e999", "NaN", "null", "9" * 40, "2026-02-30T25:61:00Z", "+92 300", [], {}, [[]], [None], {"": ""},
)  # fmt: skip


class Dice(random.Random):
    """More hostile content, the same for the same name, so that what failed can be thrown again."""

    def text(self, most: int) -> str:
        letters = self.choice(_LETTERS)
        return "".join(self.choices(letters, k=self.randint(0, most)))

    def value(self, depth: int = 3) -> Any:
        """Anything that JSON can say, and some that it should not."""
        match self.randint(0, 6 if depth else 4):
            case 0 | 1:
                return deepcopy(self.choice(_STRANGE))
            case 2:
                return self.randint(-(2**63), 2**63)
            case 3:
                return self.uniform(-1e9, 1e9)
            case 4:
                return self.text(12)
            case 5:
                return [self.value(depth - 1) for _ in range(self.randint(0, 4))]
        return {self.text(8): self.value(depth - 1) for _ in range(self.randint(0, 4))}

    def body(self) -> bytes:
        match self.randint(0, 2):
            case 0:
                return self.randbytes(self.randint(0, 200))
            case 1:
                return self.text(60).encode(errors="surrogatepass")
        return json.dumps(self.value(), ensure_ascii=self.random() < 0.5).encode(errors="surrogatepass")

    def mangled(self, seeds: list[dict[str, Any]]) -> bytes:
        """A recorded body with one to three of its values replaced."""
        body = json.loads(json.dumps(self.choice(seeds)))
        for _ in range(self.randint(1, 3)):
            at = body
            while isinstance(at, dict | list) and at:
                key = self.choice(sorted(at)) if isinstance(at, dict) else self.randrange(len(at))
                if not isinstance(at[key], dict | list) or not at[key] or self.randint(0, 3) == 0:
                    at[key] = self.value()
                    break
                at = at[key]
        return json.dumps(body).encode()


def _recorded(room: str, adapter: str) -> list[dict[str, Any]]:
    found = [
        json.loads(p.read_text())
        for p in sorted((FIXTURES / room / adapter).glob("*.json"))
        if not p.name.endswith("facts.json")
    ]
    return [
        json.loads(raw["body_raw"])
        for raw in found
        if raw.get("path") == "/wh" and raw["body_raw"].startswith(("{", "["))
    ]


class Endpoint:
    """One endpoint of the running app, and how its vendor signs."""

    def __init__(
        self, name: str, path: str, sign: Callable[[bytes], dict[str, str]], seeds: list[dict[str, Any]]
    ) -> None:
        self.name, self.path, self.sign, self.seeds = name, path, sign, seeds


def _endpoints() -> list[Endpoint]:
    def shopify(body: bytes) -> dict[str, str]:
        digest = base64.b64encode(hmac.digest(b"sandbox-shopify-secret", body, "sha256")).decode()
        topic = random.Random(body).choice(
            ["orders/create", "orders/updated", "app/uninstalled", "shop/redact", "nonsense", ""]
        )
        return {"X-Shopify-Hmac-Sha256": digest, "X-Shopify-Topic": topic, "X-Shopify-Shop-Domain": "bad.myshopify.com"}

    def woocommerce(body: bytes) -> dict[str, str]:
        digest = base64.b64encode(hmac.digest(b"woo-secret", body, "sha256")).decode()
        topic = random.Random(body).choice(["order.created", "order.updated", "order.deleted", "coupon.created", "x"])
        return {"X-WC-Webhook-Signature": digest, "X-WC-Webhook-Topic": topic}

    def whatsapp(body: bytes) -> dict[str, str]:
        return {"X-Hub-Signature-256": "sha256=" + hmac.digest(b"sandbox-whatsapp-secret", body, "sha256").hex()}

    return [
        Endpoint("shopify", "/webhooks/stores/shopify", shopify, _recorded("stores", "shopify")),
        Endpoint(
            "woocommerce", "/webhooks/stores/woocommerce/bad-token", woocommerce, _recorded("stores", "woocommerce")
        ),
        Endpoint("whatsapp", "/webhooks/channels/whatsapp", whatsapp, _recorded("channels", "whatsapp")),
    ]


@pytest.fixture
def app(lite_house: House) -> Any:
    return _app(lite_house)


def _app(house: House) -> Any:
    """The whole app, with an account behind each endpoint."""
    factories.store(house, account="bad.myshopify.com")
    store_id = factories.store(house)
    with house.db.operator_writing() as session:
        shop = session.scalars(
            select(Connection).where(Connection.store_id == store_id, Connection.room == "stores")
        ).one()
        shop.adapter, shop.account, shop.token_hash = "woocommerce", "https://bad.example.test", token_hash("bad-token")
        shop.sealed = house.vault.seal({"webhook_secret": "woo-secret"})
        session.execute(
            update(Connection)
            .where(Connection.room == "channels", Connection.store_id == store_id)
            .values(account="100000000000011")
        )
    return assemble(house)


def _post(app: Any, path: str, body: bytes, headers: dict[str, str]) -> int:
    seen: list[str] = []
    environ = {
        "REQUEST_METHOD": "POST", "PATH_INFO": path, "CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body),
        **{f"HTTP_{k.upper().replace('-', '_')}": v for k, v in headers.items()},
    }  # fmt: skip
    list(app(environ, lambda status, _headers: seen.append(status)))
    return int(seen[0][:3])


def _stored(house: House) -> int:
    with house.db.operator() as session:
        return session.scalar(select(func.count()).select_from(WebhookDelivery)) or 0


@pytest.mark.parametrize("endpoint", _endpoints(), ids=lambda e: e.name)
def test_unsigned_and_wrongly_signed_bodies_are_401_and_leave_nothing(
    app: Any, lite_house: House, endpoint: Endpoint, bodies: list[bytes]
) -> None:
    answers: Counter[int] = Counter()
    for number, body in enumerate(bodies):
        dice = Dice(f"unsigned {number}")
        headers = endpoint.sign(body)
        signed = next(name for name in headers if "ignature" in name or "Hmac" in name)
        how = dice.randint(0, 2)
        if how == 0:
            del headers[signed]
        elif how == 1:
            headers[signed] = dice.text(50)
        else:
            headers[signed] = endpoint.sign(body + b"x")[signed]
        status = _post(app, endpoint.path, body, headers)
        assert status in (401, 200), f"{status} to {body!r}"
        answers[status] += 1
    assert answers[200] <= 5, "only an unsigned ping may be answered 200"
    assert _stored(lite_house) == 0


@pytest.mark.parametrize("endpoint", _endpoints(), ids=lambda e: e.name)
def test_signed_nonsense_is_kept_processed_and_never_a_500(
    house: House, engine: str, endpoint: Endpoint, bodies: list[bytes]
) -> None:
    """Any bytes, and recorded bodies with anything in them replaced: each is stored once, or names an unknown account.

    All are validly signed. Then the worker reads them all, and none is left and none broke the code.
    """
    app, answers = _app(house), Counter[int]()
    accepted: set[tuple[str, ...]] = set()

    for number in range(BODIES // 2 if engine == "sqlite" else BODIES // 5):
        dice = Dice(f"signed {number}")
        body = (bodies[number], dice.body(), dice.mangled(endpoint.seeds), dice.mangled(endpoint.seeds))[number % 4]
        headers = endpoint.sign(body)
        status = _post(app, endpoint.path, body, headers)
        assert status in (200, 404), f"{status} to {body!r}"
        answers[status] += 1
        if status == 200:
            accepted.update(_posted(house, endpoint, body, headers))
    assert answers[200] > 200
    stored = _stored(house)
    assert stored == len(accepted)
    with house.db.operator() as session:
        stores = {store_id for store_id in session.scalars(select(WebhookDelivery.store_id).distinct()) if store_id}
    for store_id in stores:
        while process(house, store_id):
            pass
    with house.db.operator() as session:
        left = dict(session.execute(select(WebhookDelivery.state, func.count()).group_by(WebhookDelivery.state)).all())
        broken = session.scalars(
            select(WebhookDelivery.sentence).where(WebhookDelivery.state == "failed").distinct()
        ).all()
    assert "received" not in left
    assert broken == []
    assert sum(left.values()) == stored


def _posted(house: House, endpoint: Endpoint, body: bytes, headers: dict[str, str]) -> set[tuple[str, ...]]:
    """What an accepted request must leave behind: each known account's part of it, told apart by topic and content."""
    topic = next((value for name, value in headers.items() if "Topic" in name), "")
    if endpoint.name != "whatsapp":
        return {(topic, str(body))} if endpoint.name == "woocommerce" else {(str(body),)}
    with house.db.operator() as session:
        known = set(session.scalars(select(Connection.account))) | set(session.scalars(select(Connection.alias)))
    try:
        parts = house.registry.get("channels", "whatsapp").split(WebhookRequest({}, body))
    except NotUnderstood:
        return {("", str(body))}
    return {(account, str(part)) for account, part in parts if account in known}


@pytest.mark.parametrize(
    "path", ["/", "/app/", "/install/woocommerce", "/install/shopify", "/session/bounce", "/health/ready", "/t/x"]
)
def test_pages_never_answer_500_to_nonsense(app: Any, path: str) -> None:
    """Any query and any form on any page: a page, a redirect or a refusal."""
    answers: Counter[int] = Counter()

    @settings(max_examples=150, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(
        query=st.dictionaries(
            st.sampled_from(["shop", "host", "id_token", "embedded", "hmac", "state", "success", "user_id", "x"]),
            st.text(max_size=40), max_size=5,
        ),
        method=st.sampled_from(["GET", "POST"]), body=st.binary(max_size=100), bearer=st.text(max_size=40),
    )  # fmt: skip
    def ask(query: dict[str, str], method: str, body: bytes, bearer: str) -> None:
        seen: list[str] = []
        environ = {
            "REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": urlencode(query),
            "CONTENT_TYPE": "application/x-www-form-urlencoded", "CONTENT_LENGTH": str(len(body)),
            "SERVER_NAME": "127.0.0.1", "SERVER_PORT": "8000", "SERVER_PROTOCOL": "HTTP/1.1",
            "wsgi.url_scheme": "http", "wsgi.input": io.BytesIO(body), "wsgi.errors": io.StringIO(),
        }  # fmt: skip
        if bearer:
            environ["HTTP_AUTHORIZATION"] = f"Bearer {bearer.encode('latin-1', 'replace').decode('latin-1')}"
        list(app(environ, lambda status, *_rest: seen.append(status)))
        answers[int(seen[0][:3])] += 1

    ask()
    assert not [status for status in answers if status >= 500], answers
