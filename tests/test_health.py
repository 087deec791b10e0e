"""Is it alive, may it take traffic, what is piling up: what a platform and its operator ask, and nobody else may."""

from __future__ import annotations

import base64
import hmac
import io
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import select

import worker
from integration.events import UNKNOWN, ParcelSeen, PaymentChanged, ShipmentScanned
from integration.house import House
from integration.ingest import Mailroom, process
from integration.orders import FULFILMENT, PAYMENT
from integration.outbox import Outbox
from integration.stores import Connection
from integration.unknown import UnknownWord, count_unknown, words_of
from servers import Redis, free_port
from webapp import build_app
from webapp.webhooks import Webhooks

from . import factories
from .conftest import build, settings_for
from .contract.recorded import FIXTURES

TOKEN = "metrics-token-of-the-test"
NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


def _client(house: House, mailroom: Mailroom | None = None) -> FlaskClient:
    return build_app(house, mailroom).test_client()


def _until(true: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


# -- alive and ready -----------------------------------------------------------------------------------------------


def test_a_sound_process_is_alive_and_ready(house: House) -> None:
    client = _client(house)
    assert client.get("/health/live").json == {"status": "alive"}
    ready = client.get("/health/ready")
    assert (ready.status_code, ready.json) == (200, {"status": "ready"})


def test_without_its_database_it_lives_but_takes_no_traffic(
    engine: str, fresh_url: Callable[[str], str], postgres: Callable[[str], str], tmp_path: Path
) -> None:
    """The database goes away under a running process: not ready, in a sentence that names no secret; still alive."""
    url = fresh_url(engine)
    house = build(settings_for(url, tmp_path))
    client = _client(house)
    assert client.get("/health/ready").status_code == 200
    house.db.close()
    if engine == "sqlite":
        Path(url.removeprefix("sqlite:///")).unlink()
    else:
        with psycopg.connect(postgres("postgres").replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{url.rsplit("/", 1)[1]}" WITH (FORCE)')  # type: ignore[call-overload]

    ready = client.get("/health/ready")

    assert (ready.status_code, ready.json) == (503, {"status": "the database is away or not migrated"})
    assert client.get("/health/live").status_code == 200
    house.close()


def test_without_redis_it_still_takes_webhooks_and_says_so(
    engine: str, fresh_url: Callable[[str], str], tmp_path: Path
) -> None:
    """A bell that was lost is counted and spoken of; once Redis is back nothing is left to say."""
    port = free_port()
    settings = settings_for(fresh_url(engine), tmp_path, REDIS_URL=f"redis://127.0.0.1:{port}/0", METRICS_TOKEN=TOKEN)
    house = build(settings)
    house.ring = worker.bell(settings.redis_url).ring
    client = _client(house)
    house.ring("process", 1)
    _until(lambda: "redis" in (client.get("/health/ready").json or {}))
    ready = client.get("/health/ready")
    assert ready.status_code == 200
    assert ready.json == {"status": "ready", "redis": "away: what arrives is stored, and waits until it is back"}
    assert _metrics(client)["dastak_bells_dropped_total"] == {(): 1}

    server = Redis(tmp_path / "redis", port)
    try:
        house.ring("process", 1)
        _until(lambda: client.get("/health/ready").json == {"status": "ready"})
    finally:
        server.stop()
        house.close()


# -- metrics -------------------------------------------------------------------------------------------------------


@pytest.fixture
def measured(engine: str, fresh_url: Callable[[str], str], tmp_path: Path) -> Any:
    house = build(settings_for(fresh_url(engine), tmp_path, METRICS_TOKEN=TOKEN))
    yield house
    house.close()


def _metrics(client: FlaskClient) -> dict[str, dict[tuple[str, ...], float]]:
    """Every sample as Prometheus reads it: name to label values to number."""
    answer = client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200
    assert answer.mimetype == "text/plain"
    samples: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            samples.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return samples


@pytest.mark.parametrize(
    "given", ["", "Bearer", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "Basic dXNlcjp4", "Bearer \xff\xfe", "bearer"]
)
def test_metrics_are_for_who_has_the_token(measured: House, given: str) -> None:
    """To anybody else there is no such page, and nothing of it in the answer."""
    client = _client(measured)
    answer = client.get("/metrics", headers={"Authorization": given} if given else {})
    assert answer.status_code == 404
    assert "dastak_" not in answer.text
    assert client.get(f"/metrics?token={TOKEN}").status_code == 404


@pytest.mark.parametrize("given", ["", "Bearer ", "Bearer None", f"Bearer {TOKEN}"])
def test_without_a_token_in_the_settings_metrics_stay_closed(lite_house: House, given: str) -> None:
    assert _client(lite_house).get("/metrics", headers={"Authorization": given}).status_code == 404


def test_metrics_tell_what_waits_and_what_needs_somebody(measured: House) -> None:
    """Over all stores, out of the database, so that any one process tells the whole state."""
    house = measured
    client = _client(house, Mailroom(house))
    quiet = _metrics(client)
    assert quiet["dastak_oldest_seconds"] == {("deliveries",): 0, ("outbox",): 0}
    assert quiet["dastak_broken_connections"] == {(): 0}
    for _ in range(2):
        store_id = factories.store(house)
        with house.db.lane(store_id) as session:
            now = session.now()
            for state, age in (("queued", 600), ("queued", -600), ("sent", 900)):
                due = now - timedelta(seconds=age)
                session.add(Outbox(key=f"{state}{age}", kind="message", state=state, due_at=due, created_at=now))
    with house.db.lane(store_id) as session:
        session.scalars(select(Connection).where(Connection.room == "channels")).one().broke("The token expired.")

    told = _metrics(client)

    assert told["dastak_outbox"] == {("message", "queued"): 4, ("message", "sent"): 2}
    assert 600 <= told["dastak_oldest_seconds"]["outbox",] < 900
    assert told["dastak_broken_connections"] == {(): 1}


def test_metrics_count_what_this_process_took(measured: House) -> None:
    mailroom = Mailroom(measured)
    client = _client(measured, mailroom)
    factories.store(measured, account="a.myshopify.com")
    webhooks = Webhooks(mailroom, measured.registry, 100_000)
    for number, secret in enumerate((b"sandbox-shopify-secret", b"sandbox-shopify-secret", b"nobody")):
        _post(webhooks, "orders-create__cod", number, secret)
    told = _metrics(client)
    assert told["dastak_received_total"] == {("stored",): 2, ("unauthorised",): 1}
    assert told["dastak_deliveries"] == {("shopify", "received"): 2}


# -- words that no table knows -------------------------------------------------------------------------------------


def _post(webhooks: Webhooks, fixture: str, number: int, secret: bytes = b"sandbox-shopify-secret") -> None:
    recorded = json.loads((FIXTURES / "stores" / "shopify" / f"{fixture}.json").read_text())
    body = recorded["body_raw"].replace("dastak-demo.myshopify.com", "a.myshopify.com").encode()
    headers = {name.upper(): value for name, value in recorded["headers"]} | {
        "X-SHOPIFY-SHOP-DOMAIN": "a.myshopify.com", "X-SHOPIFY-WEBHOOK-ID": f"w{number}",
        "X-SHOPIFY-HMAC-SHA256": base64.b64encode(hmac.digest(secret, body, "sha256")).decode(),
    }  # fmt: skip
    environ = {
        "REQUEST_METHOD": "POST", "PATH_INFO": "/webhooks/stores/shopify", "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body), **{f"HTTP_{k.replace('-', '_')}": v for k, v in headers.items()},
    }  # fmt: skip
    list(webhooks(environ, lambda _status, _headers: None))


def test_words_nobody_knows_are_counted_where_somebody_sees_them(measured: House) -> None:
    """A store says new words twice: each is one row with a count, in the metrics by kind, and the order stands."""
    house = measured
    store_id = factories.store(house, account="a.myshopify.com")
    webhooks = Webhooks(Mailroom(house), house.registry, 1_000_000)
    client = _client(house)
    assert "dastak_unknown_words" not in _metrics(client)
    for number in range(2):
        _post(webhooks, "orders-updated__words-nobody-knows", number)
    process(house, store_id)

    with house.db.read(store_id) as session:
        rows = {(w.adapter, w.kind, w.word): w.count for w in session.scalars(select(UnknownWord))}
    assert rows
    assert set(rows.values()) == {2}
    kinds = {("shopify", kind) for _, kind, _ in rows}
    told = _metrics(client)["dastak_unknown_words"]
    assert set(told) == kinds
    assert sum(told.values()) == sum(rows.values())


def test_each_store_counts_for_itself_and_metrics_add_them_up(measured: House) -> None:
    stores = [factories.store(measured), factories.store(measured)]
    scan = ShipmentScanned(tracking_number="1", status=UNKNOWN, raw_code="TELEPORTED", occurred_at=NOON)
    long = ShipmentScanned(tracking_number="1", status=UNKNOWN, raw_text="x" * 500, occurred_at=NOON)
    for store_id in (*stores, stores[0]):
        with measured.db.lane(store_id) as session:
            for fact in (scan, scan, long):
                count_unknown(session, "tcs", fact)
    with measured.db.read(stores[0]) as session:
        counts = {w.word: w.count for w in session.scalars(select(UnknownWord))}
    assert counts == {"TELEPORTED": 4, "x" * 120: 2}
    assert _metrics(_client(measured))["dastak_unknown_words"] == {("tcs", "scan"): 9}


KNOWN = [word for word in {*PAYMENT, *FULFILMENT, ""} if word != UNKNOWN]


@given(st.sampled_from(KNOWN), st.sampled_from(KNOWN), st.sampled_from(KNOWN), st.text(max_size=20))
def test_a_word_we_know_is_never_counted_whatever_its_raw_form(payment: str, goods: str, parcel: str, raw: str) -> None:
    seen = ParcelSeen(external_id="1", status=parcel, raw_status=raw)
    order = factories.order_fact(
        NOON, payment=payment, raw_payment=raw, fulfilment=goods, raw_fulfilment=raw, parcels=(seen,)
    )
    paid = PaymentChanged(order_ref="1", attempt_ref="1", status=payment, raw_status=raw, occurred_at=NOON)
    assert [*words_of(order), *words_of(paid)] == []


@given(st.lists(st.booleans(), min_size=5, max_size=5), st.text(min_size=1, max_size=20))
def test_every_unknown_word_is_named_with_its_kind(unknown: list[bool], raw: str) -> None:
    words = [UNKNOWN if is_unknown else "paid" for is_unknown in unknown]
    order = factories.order_fact(
        NOON, payment=words[0], raw_payment=raw, fulfilment=words[1], raw_fulfilment=raw,
        parcels=(ParcelSeen(external_id="1", status=words[2], raw_status=raw),),
    )  # fmt: skip
    paid = PaymentChanged(order_ref="1", attempt_ref="1", status=words[3], raw_status=raw, occurred_at=NOON)
    scan = ShipmentScanned(tracking_number="1", status=words[4], raw_text=raw, occurred_at=NOON)
    told = [*words_of(order), *words_of(paid), *words_of(scan)]
    kinds = ("payment", "fulfilment", "parcel", "payment", "scan")
    assert told == [(kind, raw) for kind, is_unknown in zip(kinds, unknown, strict=True) if is_unknown]
