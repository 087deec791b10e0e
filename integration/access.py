"""Opening a merchant's account: credentials that work now, refreshed in time and by one process only.

A vendor that rotates refresh tokens punishes two refreshes at once: one of the two results is dead on arrival. So a
refresh is done by whoever holds the connection's lease, outside any transaction, and everybody else waits for its
result.
"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

from sqlalchemy import select

from .db import Session
from .errors import ConfigurationError, TransientError
from .house import House
from .ports import Account, Grant, RefreshesAccess
from .stores import Connection

_LEASE = timedelta(seconds=30)
_PATIENCE = 20.0


def open_account(house: House, store_id: int, connection_id: int) -> Account:
    """The account with credentials that are good now. Raises ConfigurationError or TransientError."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        with house.db.read(store_id) as session:
            account, adapter = _opened(house, session, connection_id)
        if not _due(house, adapter, account):
            return account
        if claim_refresh(house, store_id, connection_id):
            with house.db.read(store_id) as session:
                account, adapter = _opened(house, session, connection_id)
            if _due(house, adapter, account):
                return _refresh(house, store_id, connection_id, adapter, account)
            _release(house, store_id, connection_id)  # somebody finished between our look and our claim
            return account
        if time.monotonic() > deadline:
            raise TransientError("another process is refreshing this access and has not finished", retry_after=10)
        time.sleep(0.1)


def _opened(house: House, session: Session, connection_id: int) -> tuple[Account, Any]:
    connection = session.get(Connection, connection_id)
    if connection is None or connection.removed_at is not None or not connection.sealed:
        raise ConfigurationError("This connection was removed. Connect it again to go on.")
    return connection.opened(house.vault), house.registry.get(connection.room, connection.adapter)


def _due(house: House, adapter: Any, account: Account) -> bool:
    return isinstance(adapter, RefreshesAccess) and adapter.refresh_due(account, house.clock.now())


def claim_refresh(house: House, store_id: int, connection_id: int) -> bool:
    """Take the lease under which credentials of this connection may be replaced. False: somebody else holds it."""
    machine = house.clock.machine()
    with house.db.lane(store_id) as session:
        connection = session.get(Connection, connection_id)
        if connection is None or (connection.refreshing_until is not None and connection.refreshing_until >= machine):
            return False
        connection.refreshing_until = machine + _LEASE
        return True


def _release(house: House, store_id: int, connection_id: int) -> None:
    with house.db.lane(store_id) as session:
        session.get_one(Connection, connection_id).refreshing_until = None


def keep_grant(house: House, store_id: int, connection_id: int, grant: Grant) -> None:
    """Store new credentials and give the lease back."""
    with house.db.lane(store_id) as session:
        connection = session.get_one(Connection, connection_id)
        connection.sealed = house.vault.seal(grant.credentials)
        connection.remember(**grant.state)
        connection.refreshing_until = None
        if connection.health == "broken":
            connection.mended()


def _refresh(house: House, store_id: int, connection_id: int, adapter: RefreshesAccess, account: Account) -> Account:
    try:
        grant = adapter.refresh(account)
    except ConfigurationError as fault:
        with house.db.lane(store_id) as session:
            connection = session.get_one(Connection, connection_id)
            connection.broke(str(fault))
            connection.refreshing_until = None
        raise
    except TransientError:
        _release(house, store_id, connection_id)
        raise
    keep_grant(house, store_id, connection_id, grant)
    return Account(account.name, grant.credentials, {**account.state, **grant.state})


def live_connection(session: Session, room: str) -> Connection | None:
    """The session's store's living connection of a room."""
    return session.scalars(
        select(Connection).where(Connection.room == room, Connection.removed_at.is_(None)).limit(1)
    ).first()
