"""/health and /metrics: is this process alive, may it take traffic, and what is piling up."""

from __future__ import annotations

import hmac

from flask import Blueprint, Response, abort, jsonify, request
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError

import worker
from integration.house import House
from integration.ingest import WebhookDelivery
from integration.outbox import Outbox
from integration.stores import Connection
from integration.unknown import UnknownWord

from .auth import house, mailroom

pages = Blueprint("health", __name__)


@pages.get("/health/live")
def live() -> Response:
    return jsonify(status="alive")


@pages.get("/health/ready")
def ready() -> tuple[Response, int]:
    """Ready means that a webhook could be stored. Redis is not asked, only spoken of: without it webhooks are still
    taken.
    """
    try:
        with house().db.operator() as session:
            session.execute(text("SELECT 1"))
            session.execute(select(WebhookDelivery.id).limit(1))
    except DBAPIError:
        return jsonify(status="the database is away or not migrated"), 503
    if _bell().away:
        return jsonify(status="ready", redis="away: what arrives is stored, and waits until it is back"), 200
    return jsonify(status="ready"), 200


def _bell() -> worker.Bell:
    return worker.bell(house().settings.redis_url)


@pages.get("/metrics")
def metrics() -> Response:
    """For Prometheus, with the token of METRICS_TOKEN. Read from the database, so any one process tells the whole
    state.
    """
    expected = house().settings.metrics_token
    given = request.headers.get("Authorization", "").removeprefix("Bearer ")
    if not expected or not hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode()):
        abort(404)
    registry = CollectorRegistry()
    registry.register(_State(house()))
    return Response(generate_latest(registry), mimetype="text/plain; version=0.0.4")


class _State(Collector):
    def __init__(self, here: House) -> None:
        self._house = here

    def collect(self) -> list[Metric]:
        with self._house.db.operator() as session:
            deliveries = GaugeMetricFamily("dastak_deliveries", "Stored requests by state", labels=["adapter", "state"])
            rows = session.execute(
                select(WebhookDelivery.adapter, WebhookDelivery.state, func.count()).group_by(
                    WebhookDelivery.adapter, WebhookDelivery.state
                )
            )
            for adapter, state, count in rows:
                deliveries.add_metric([adapter, state], count)
            outbox = GaugeMetricFamily(
                "dastak_outbox", "What is meant to leave, by kind and state", labels=["kind", "state"]
            )
            for kind, state, count in session.execute(
                select(Outbox.kind, Outbox.state, func.count()).group_by(Outbox.kind, Outbox.state)
            ):
                outbox.add_metric([kind, state], count)
            oldest = session.scalar(
                select(func.min(WebhookDelivery.received_at)).where(WebhookDelivery.state == "received")
            )
            waiting = session.scalar(select(func.min(Outbox.due_at)).where(Outbox.state == "queued"))
            words = GaugeMetricFamily(
                "dastak_unknown_words", "Vendor words that no table knows", labels=["adapter", "kind"]
            )
            unknown = select(UnknownWord.adapter, UnknownWord.kind, func.sum(UnknownWord.count))
            for adapter, kind, count in session.execute(unknown.group_by(UnknownWord.adapter, UnknownWord.kind)):
                words.add_metric([adapter, kind], count)
            broken = session.scalar(select(func.count()).select_from(Connection).where(Connection.health == "broken"))
            now = session.now()
        age = GaugeMetricFamily("dastak_oldest_seconds", "Age of the oldest that waits", labels=["queue"])
        for queue, since in (("deliveries", oldest), ("outbox", waiting)):
            age.add_metric([queue], max((now - since).total_seconds(), 0.0) if since else 0.0)
        counted = CounterMetricFamily("dastak_received", "Requests taken by this process", labels=["outcome"])
        room = mailroom()
        for outcome, count in (room.counts if room is not None else {}).items():
            counted.add_metric([outcome], count)
        return [
            deliveries,
            outbox,
            age,
            words,
            GaugeMetricFamily("dastak_broken_connections", "Connections that need somebody", broken or 0),
            counted,
            CounterMetricFamily(
                "dastak_bells_dropped", "Bells of this process that Redis did not take", _bell().dropped
            ),
        ]
