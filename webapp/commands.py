"""The admin CLI: `flask --app webapp <command> [--json]`."""

from __future__ import annotations

import json
from typing import Any

import click
from flask import Flask, current_app
from sqlalchemy import func, select

from integration import privacy
from integration.errors import ConfigurationError
from integration.events import PrivacyRequested
from integration.house import House
from integration.ingest import WebhookDelivery, replay
from integration.orders import Order, find_order
from integration.outbox import Outbox
from integration.stores import Chore, Connection, Store
from integration.story import tell, why
from integration.unknown import UnknownWord
from integration.vault import Vault


def _house() -> House:
    house: House = current_app.extensions["house"]
    return house


def _say(as_json: bool, value: Any, lines: list[str]) -> None:
    click.echo(json.dumps(value, default=str, ensure_ascii=False, indent=2) if as_json else "\n".join(lines))


def _store_of(order: str, store: int | None) -> tuple[int, str]:
    """(store id, order reference) for `why` and friends, over all stores when none is named."""
    with _house().db.operator() as session:
        names = {order, f"#{order.lstrip('#')}", order.lstrip("#")}
        query = select(Order.store_id, Order.id).where(Order.name.in_(names) | (Order.external_id == order))
        if store is not None:
            query = query.where(Order.store_id == store)
        found = session.execute(query.order_by(Order.id.desc())).all()
    if not found:
        raise click.ClickException(f"no order {order} is known")
    if len({row.store_id for row in found}) > 1:
        raise click.ClickException(f"several stores have an order {order}; name one with --store (see `stores`)")
    return found[0].store_id, f"id:{found[0].id}"


def register(app: Flask) -> None:
    @app.cli.command("stores")
    @click.option("--json", "as_json", is_flag=True)
    def stores(as_json: bool) -> None:
        """Every store and what it is connected to."""
        with _house().db.operator() as session:
            rows: list[dict[str, Any]] = [
                {
                    "id": s.id,
                    "name": s.name,
                    "active": s.active,
                    "orders": session.scalar(select(func.count()).select_from(Order).where(Order.store_id == s.id)),
                    "connections": [
                        {
                            "room": c.room,
                            "adapter": c.adapter,
                            "account": c.account,
                            "health": c.health,
                            "sentence": c.sentence,
                        }
                        for c in s.connections
                        if c.removed_at is None
                    ],
                }
                for s in session.scalars(select(Store).order_by(Store.id))
            ]
        lines = [
            f"{r['id']:>4}  {r['name']}  ({'active' if r['active'] else 'removed'}, {r['orders']} orders)  "
            + ", ".join(f"{c['adapter']}: {c['health']}" for c in r["connections"])
            for r in rows
        ]
        _say(as_json, rows, lines or ["no store is installed yet"])

    @app.cli.command("why")
    @click.argument("order")
    @click.option("--store", type=int)
    @click.option("--json", "as_json", is_flag=True)
    def why_command(order: str, store: int | None, as_json: bool) -> None:
        """One order's story: every event, message and silence, with its reason."""
        store_id, reference = _store_of(order, store)
        with _house().db.read(store_id) as session:
            found = find_order(session, reference)
            assert found is not None
            told = tell(session, found)
            value = {
                "order": found.name,
                "store": store_id,
                "confirmation": found.confirmation,
                "payment": found.payment,
                "fulfilment": found.fulfilment,
                "held": found.held,
                "story": [
                    {
                        "at": m.at,
                        "kind": m.kind,
                        "title": m.title,
                        "detail": m.detail,
                        "planned": m.planned,
                        "checks": list(m.checks),
                    }
                    for m in (*told.past, *told.planned)
                ],
            }
            lines = why(session, found, session.get_one(Store, store_id))
        _say(as_json, value, lines)

    @app.cli.command("replay")
    @click.argument("delivery", type=int)
    @click.option("--json", "as_json", is_flag=True)
    def replay_command(delivery: int, as_json: bool) -> None:
        """Understand a stored request again."""
        with _house().db.operator() as session:
            row = session.get(WebhookDelivery, delivery)
            if row is None or row.store_id is None:
                raise click.ClickException(f"no delivery {delivery} of a known store")
            if not row.body:
                raise click.ClickException(f"what delivery {delivery} held was erased; nothing is left to understand")
            store_id = row.store_id
        state = replay(_house(), store_id, delivery)
        _say(as_json, {"delivery": delivery, "state": state}, [f"delivery {delivery}: {state}"])

    @app.cli.command("doctor")
    @click.option("--json", "as_json", is_flag=True)
    def doctor(as_json: bool) -> None:
        """What is not as it should be, in sentences. Ends with 1 when anything is."""
        ills = _ills(_house())
        _say(as_json, {"well": not ills, "ills": ills}, ills or ["all is well"])
        raise SystemExit(1 if ills else 0)

    @app.cli.command("redact")
    @click.argument("store", type=int)
    @click.option("--phone", default="")
    @click.option("--email", default="")
    @click.option("--json", "as_json", is_flag=True)
    def redact(store: int, phone: str, email: str, as_json: bool) -> None:
        """Erase a person's data from one store."""
        if not phone and not email:
            raise click.ClickException("name the person by --phone or --email")
        with _house().db.lane(store) as session:
            if session.get(Store, store) is None:
                raise click.ClickException(f"there is no store {store}")
            privacy.record(
                session, PrivacyRequested(kind="erase_customer", phone=phone, email=email, occurred_at=session.now())
            )
            session.flush()
            privacy.meet_requests(session)
            done = session.scalars(
                select(privacy.PrivacyRequest).order_by(privacy.PrivacyRequest.id.desc()).limit(1)
            ).one()
            sentence = done.sentence
        _say(as_json, {"store": store, "done": sentence}, [sentence])

    @app.cli.command("rotate-keys")
    @click.option("--json", "as_json", is_flag=True)
    def rotate_keys(as_json: bool) -> None:
        """Seal all credentials anew with the first of ENCRYPTION_KEYS; afterwards the old key may go."""
        vault: Vault = _house().vault
        with _house().db.operator_writing() as session:
            rows = session.scalars(select(Connection).where(Connection.sealed.is_not(None))).all()
            for row in rows:
                assert row.sealed is not None
                try:
                    row.sealed = vault.rotate(row.sealed)
                except ConfigurationError as fault:
                    raise click.ClickException(f"connection {row.id} of store {row.store_id}: {fault}") from None
        _say(as_json, {"rotated": len(rows)}, [f"{len(rows)} connections sealed anew"])


def _ills(house: House) -> list[str]:
    ills = []
    with house.db.operator() as session:
        now = session.now()
        for c in session.scalars(
            select(Connection).where(Connection.health == "broken", Connection.removed_at.is_(None))
        ):
            if c.store.active:
                ills.append(f"store {c.store_id}: {c.adapter} is broken: {c.sentence}")
        states = dict(
            session.execute(select(WebhookDelivery.state, func.count()).group_by(WebhookDelivery.state)).all()
        )
        for state in ("not_understood", "failed"):
            if states.get(state):
                ills.append(f"{states[state]} stored requests are {state.replace('_', ' ')}; see `replay`")
        oldest = session.scalar(
            select(func.min(WebhookDelivery.received_at)).where(WebhookDelivery.state == "received")
        )
        if oldest is not None and (now - oldest).total_seconds() > 60:
            waited = (now - oldest).total_seconds()
            ills.append(f"the oldest unprocessed request has waited {waited:.0f} s: is a worker running?")
        unknown = session.scalar(select(func.count()).select_from(Outbox).where(Outbox.state == "unknown"))
        if unknown:
            ills.append(f"{unknown} messages have an unknown outcome and wait for evidence")
        named, met = (UnknownWord.adapter, UnknownWord.kind, UnknownWord.word), func.sum(UnknownWord.count)
        words = select(*named, met).group_by(*named).order_by(met.desc()).limit(20)
        for adapter, kind, word, times in session.execute(words):
            ills.append(f"{adapter} says “{word}” of a {kind}, which no table knows ({times} times)")
        failing = session.scalars(select(Chore).where(Chore.failures > 2)).all()
        ills += [f"store {c.store_id}: {c.name} failed {c.failures} times: {c.last_sentence}" for c in failing]
    return ills
