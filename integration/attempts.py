"""Installations under way: who started one, from which browser, and the keys that came back for it.

A store's callback proves nothing about who is connecting: an attacker could begin a connection for an account of his
own and lure a merchant into approving it. So keys are only parked on the attempt, and become a connection when the
browser that began it comes back.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import LargeBinary, String, delete, select
from sqlalchemy.orm import Mapped, mapped_column

from .db import Base, Id, Instant, Session
from .ports import Grant
from .vault import Vault, new_token, token_hash

LIFE = timedelta(minutes=15)


class InstallAttempt(Base):
    """One merchant's way through a store's approval page."""

    __tablename__ = "install_attempts"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    adapter: Mapped[str] = mapped_column(String(32))
    account: Mapped[str] = mapped_column(String(255))
    state: Mapped[str] = mapped_column(String(64), unique=True)
    callback_hash: Mapped[str] = mapped_column(String(64), unique=True)
    browser_hash: Mapped[str] = mapped_column(String(64))
    sealed: Mapped[bytes | None] = mapped_column(LargeBinary, default=None)
    used: Mapped[bool] = mapped_column(default=False)
    expires_at: Mapped[datetime] = mapped_column(Instant)


@dataclass(frozen=True, slots=True)
class Begun:
    """What the browser and the store are told of a new attempt."""

    state: str
    callback_token: str
    browser_token: str


def begin(session: Session, adapter: str, account: str) -> Begun:
    """A new attempt. Old ones are forgotten on the way."""
    session.execute(delete(InstallAttempt).where(InstallAttempt.expires_at < session.now() - timedelta(days=1)))
    begun = Begun(secrets.token_hex(24), new_token(), new_token())
    session.add(
        InstallAttempt(
            adapter=adapter,
            account=account,
            state=begun.state,
            callback_hash=token_hash(begun.callback_token),
            browser_hash=token_hash(begun.browser_token),
            expires_at=session.now() + LIFE,
        )
    )
    return begun


def waiting_for_keys(session: Session, adapter: str, callback_token: str) -> InstallAttempt | None:
    """The attempt a callback is for, while it may still be used."""
    return session.scalars(
        select(InstallAttempt).where(
            InstallAttempt.adapter == adapter,
            InstallAttempt.callback_hash == token_hash(callback_token),
            InstallAttempt.used.is_(False),
            InstallAttempt.sealed.is_(None),
            InstallAttempt.expires_at > session.now(),
        )
    ).first()


def park(attempt: InstallAttempt, grant: Grant, vault: Vault) -> None:
    attempt.sealed = vault.seal(grant.credentials)


def of_browser(session: Session, adapter: str, state: str, browser_token: str) -> InstallAttempt | None:
    """The unused attempt that this very browser began."""
    return session.scalars(
        select(InstallAttempt).where(
            InstallAttempt.adapter == adapter,
            InstallAttempt.state == state,
            InstallAttempt.browser_hash == token_hash(browser_token),
            InstallAttempt.used.is_(False),
            InstallAttempt.expires_at > session.now(),
        )
    ).first()
