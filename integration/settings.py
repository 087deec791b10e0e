"""Every setting, read once at boot. A missing or malformed one stops the boot with one message that lists them all.

The core's settings are declared here, a vendor's in its adapter (`settings`); `.env.example` lists both in this order.
Nothing else in the house reads the environment.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from cryptography.fernet import Fernet


class BadSettings(SystemExit):
    """The boot stops here; the message is written for whoever reads the terminal."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One environment variable. `default=None` means it must be given."""

    name: str
    help: str
    default: str | None = None
    parse: Callable[[str], Any] = str
    secret: bool = False


def url(raw: str) -> str:
    parts = urlsplit(raw)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError("must be a whole URL, such as https://dastak.example.com")
    return raw.rstrip("/")


def public_url(raw: str) -> str:
    value = url(raw)
    if value.startswith("http://") and urlsplit(value).hostname not in ("127.0.0.1", "localhost"):
        raise ValueError("must be https (only 127.0.0.1 and localhost may be http)")
    return value


def words(raw: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in raw.split(",") if word.strip())


def some_words(raw: str) -> tuple[str, ...]:
    found = words(raw)
    if not found:
        raise ValueError("must hold at least one value")
    return found


def fernet_keys(raw: str) -> tuple[str, ...]:
    keys = some_words(raw)
    for key in keys:
        try:
            Fernet(key)
        except ValueError:
            raise ValueError(
                "each must be 32 url-safe base64 bytes; make one with: python -m integration.vault"
            ) from None
    return keys


def secret(raw: str) -> str:
    if len(raw) < 16:
        raise ValueError("must be at least 16 characters")
    return raw


def positive(raw: str) -> int:
    number = int(raw)
    if number <= 0:
        raise ValueError("must be above zero")
    return number


def switch(raw: str) -> bool:
    if raw.lower() in ("1", "true", "yes", "on"):
        return True
    if raw.lower() in ("", "0", "false", "no", "off"):
        return False
    raise ValueError("must be 1 or 0")


CORE: tuple[Setting, ...] = (
    Setting("DATABASE_URL", "where everything is kept: SQLite or PostgreSQL", "sqlite:///var/dastak.sqlite3"),
    Setting("REDIS_URL", "the doorbell; nothing is kept there that may not be lost", "redis://127.0.0.1:6390/0"),
    Setting("PORT", "where the web process listens", "8000", positive),
    Setting("PUBLIC_URL", "this app as vendors and browsers reach it", "http://127.0.0.1:8000", public_url),
    Setting("SECRET_KEY", "signs the sign-in cookie and the install state", None, secret, secret=True),
    Setting(
        "ENCRYPTION_KEYS", "encrypts credentials; newest first, old ones behind a comma while rotating",
        None, fernet_keys, secret=True,
    ),
    Setting("WEB_THREADS", "threads of the web process", "32", positive),
    Setting("MAX_BODY_BYTES", "the largest webhook body taken, in bytes", str(4 * 1024 * 1024), positive),
    Setting("METRICS_TOKEN", "bearer token of /metrics; empty leaves /metrics closed", "", secret=True),
    Setting(
        "TRUSTED_STORE_ORIGINS",
        "store addresses exempt from the https and private-network rules (the sandbox's; leave empty)", "", words,
    ),
    Setting("CLOCK_FILE", "offset file of the movable clock (the sandbox's; leave empty)", ""),
    Setting("EVIDENCE_WAIT", "seconds to wait for proof of a send whose outcome is unknown", "180", positive),
    Setting("SEND_LEASE", "seconds after which a send in flight counts as lost with its process", "60", positive),
    Setting("CHAOS", "label=probability pairs of points where the process kills itself (make chaos)", ""),
    Setting("COURIER_RATE", "calls a second to one courier under one account", "2", positive),
    Setting("LOG_LEVEL", "debug, info, warning or error", "info"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Settings:
    """What the boot found. `vendor` holds what the adapters declared, by name."""

    database_url: str
    redis_url: str
    port: int
    public_url: str
    secret_key: str = field(repr=False)
    encryption_keys: tuple[str, ...] = field(repr=False)
    web_threads: int
    max_body_bytes: int
    metrics_token: str = field(repr=False)
    trusted_store_origins: tuple[str, ...]
    clock_file: str
    evidence_wait: int
    send_lease: int
    chaos: str
    courier_rate: int
    log_level: str
    vendor: Mapping[str, Any] = field(repr=False)

    @classmethod
    def from_env(
        cls, declared: Iterable[Setting] = (), env: Mapping[str, str] | None = None, dotenv: Path | None = None
    ) -> Settings:
        """Read and check everything. Raises `BadSettings` naming every fault at once."""
        given = dict(_dotenv(dotenv)) | dict(os.environ if env is None else env)
        faults: list[str] = []
        core = {setting.name.lower(): _read(setting, given, faults) for setting in CORE}
        vendor = {setting.name: _read(setting, given, faults) for setting in declared}
        if faults:
            raise BadSettings(
                "Dastak cannot start, these settings need attention:\n  "
                + "\n  ".join(faults)
                + "\nEvery setting is explained in .env.example."
            )
        return cls(**core, vendor=MappingProxyType(vendor))

    @property
    def secure(self) -> bool:
        """Are we reached over https? Decides the cookie's Secure flag."""
        return self.public_url.startswith("https://")


def database_url(env: Mapping[str, str] | None = None, dotenv: Path | None = None) -> str:
    """Only where the database is: a migration needs no more, and must run before the other settings are complete."""
    given = dict(_dotenv(dotenv)) | dict(os.environ if env is None else env)
    return str(_read(next(setting for setting in CORE if setting.name == "DATABASE_URL"), given, []))


def dotenv_path() -> Path:
    """What `make run` last ran with, where it was used; else `.env`."""
    path = Path(os.environ.get("VAR", "var")) / "run.env"
    return path if path.exists() else Path(".env")


def _read(setting: Setting, given: Mapping[str, str], faults: list[str]) -> Any:
    raw = given.get(setting.name)
    if raw is None or (not raw.strip() and (setting.parse is not str or setting.default is None)):
        raw = setting.default  # an empty line is no answer, but where a plain text may be empty it is one
    if raw is None:
        faults.append(f"{setting.name} is missing: {setting.help}")
        return None
    try:
        return setting.parse(raw.strip())
    except (ValueError, TypeError) as fault:
        shown = "(secret)" if setting.secret else repr(raw)
        faults.append(f"{setting.name}={shown} {fault}")
        return None


def _dotenv(path: Path | None) -> Mapping[str, str]:
    if path is None or not path.exists():
        return {}
    from dotenv import dotenv_values  # only where a .env is used: production sets its environment

    return {name: value for name, value in dotenv_values(path).items() if value is not None}
