"""Becoming a tenant: turning a platform's word about a merchant into a store with credentials that work."""

from __future__ import annotations

import threading
from typing import Any

import structlog
from sqlalchemy import select

from integration.access import claim_refresh
from integration.house import House
from integration.ports import Account, Embedded, Grant, Visitor, WatchesWebhooks
from integration.stores import Connection, install
from integration.vault import new_token, token_hash

log = structlog.get_logger(__name__)

_installing: dict[str, threading.Lock] = {}
_installing_guard = threading.Lock()


def enter(house: House, name: str, adapter: Embedded, visitor: Visitor, token: str) -> int:
    """The store of an embedded page's visitor; installed now when it is new, came back, or lost its access.

    Two documents opening at once must not both exchange their token: the second exchange would kill the first one's
    refresh token. Raises InvalidSignature, TransientError or ConfigurationError.
    """
    found = _working(house, name, visitor.account)
    if found is not None:
        return found
    with _installing_guard:
        lock = _installing.setdefault(f"{name}/{visitor.account}", threading.Lock())
    with lock:
        found = _working(house, name, visitor.account)
        if found is not None:
            return found
        known = _connection(house, name, visitor.account)
        if known is not None:
            claim_refresh(house, known.store_id, known.id)
        grant = adapter.exchange(visitor.account, token)
        return admit(house, name, visitor.account, grant)


def admit(house: House, name: str, account: str, grant: Grant) -> int:
    """Install a store with credentials just granted: ask it who it is, remember it, start its chores."""
    adapter: Any = house.registry.get("stores", name)
    credentials = dict(grant.credentials)
    token = None
    if isinstance(adapter, WatchesWebhooks):
        known = _connection(house, name, account)
        old = house.vault.open(known.sealed) if known is not None else {}
        token = old.get("webhook_token") or new_token()
        secret = old.get("webhook_secret") or new_token().replace("-", "x").replace("_", "y")
        credentials |= {"webhook_token": token, "webhook_secret": secret}
    profile = adapter.profile(Account(account, credentials, grant.state))
    with house.db.operator_writing() as session:
        store = install(
            session,
            adapter=name,
            profile=profile,
            credentials=credentials,
            state=grant.state,
            vault=house.vault,
            token_hash=token_hash(token) if token else None,
        )
        store_id = store.id
        for connection in store.connections:
            connection.refreshing_until = None
    log.info("store.installed", store_id=store_id, adapter=name)
    house.ring("chores", store_id)
    return store_id


def _working(house: House, name: str, account: str) -> int | None:
    connection = _connection(house, name, account)
    if connection is None or not connection.sealed or connection.health == "broken" or not connection.store.active:
        return None
    return connection.store_id


def _connection(house: House, name: str, account: str) -> Connection | None:
    with house.db.operator() as session:
        return session.scalars(
            select(Connection).where(Connection.adapter == name, Connection.account == account)
        ).first()
