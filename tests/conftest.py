"""What tests share: both engines, a house over a fresh database, a simulated world. The network ends at loopback."""

from __future__ import annotations

import itertools
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from cryptography.fernet import Fernet
from hypothesis import settings

import run
from adapters import declared_settings, load
from integration import attempts, upkeep  # noqa: F401  between them they import every table
from integration.clock import Clock, move
from integration.db import Database
from integration.house import House
from integration.migrations import upgrade
from integration.settings import Settings
from servers import PostgreSQL, Redis
from worker import spare_the_collector

from .world import World

ENGINES = ("sqlite", "postgresql")
LONG = {
    "test_bad_input.py", "test_parcel_messages.py", "test_booking.py", "test_pages.py", "test_run.py",
    "test_a_new_vendor.py",
}  # fmt: skip
_numbers = itertools.count(1)

settings.register_profile("shared machine", deadline=None)  # how long one example takes says nothing there
settings.load_profile("shared machine")


def pytest_configure(config: pytest.Config) -> None:
    spare_the_collector()  # as the house's own processes do
    config.addinivalue_line("markers", "in_turn: its cases take turns on the databases, instead of each on all")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Each case that is `in_turn` on one database; the long files first, so that all processes end together."""
    cases: dict[tuple[str, str], list[tuple[str, ...]]] = {}
    for item in [item for item in items if item.get_closest_marker("in_turn")]:
        params = dict(item.callspec.params)  # type: ignore[attr-defined]
        engine = ENGINES.index(params.pop("world", None) or params.pop("engine"))
        of_test = cases.setdefault((str(item.path), item.originalname), [])  # type: ignore[attr-defined]
        case = tuple(repr(value) for value in params.values())
        if case not in of_test:
            of_test.append(case)
        if of_test.index(case) % len(ENGINES) != engine:
            items.remove(item)
    items.sort(key=lambda item: 0 if item.path.name in LONG else 1 if item.path.parent.name == "stories" else 2)


@pytest.fixture(autouse=True)
def _loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.socket.connect

    def connect(self: socket.socket, address: Any) -> None:
        if isinstance(address, tuple) and not str(address[0]).startswith(("127.", "::1", "localhost")):
            raise AssertionError(f"a test reached for {address[0]}; only loopback is allowed")
        real(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)


# -- databases -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def postgres() -> Iterator[Callable[[str], str]]:
    """The URL of a database on a real PostgreSQL: the one at TEST_DATABASE_URL, or one of our own."""
    given = os.environ.get("TEST_DATABASE_URL")
    if given:
        base = given.rsplit("/", 1)[0]
        yield lambda name: f"{base}/{name}"
        return
    server = PostgreSQL()
    yield server.url
    server.stop()


@pytest.fixture(scope="session")
def migrated(postgres: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """One migrated database per engine, to copy from."""
    sqlite = tmp_path_factory.mktemp("template") / "template.sqlite3"
    template = f"template_{os.getpid()}"
    _administer(postgres, f'CREATE DATABASE "{template}"')
    for url in (f"sqlite:///{sqlite}", postgres(template)):
        db = Database(url, Clock())
        upgrade(db)
        db.checkpoint()
        db.close()
    return {"sqlite": str(sqlite), "postgresql": template}


@pytest.fixture(scope="session")
def fresh_url(
    migrated: dict[str, str], postgres: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], str]:
    """A new migrated database of an engine, by its URL."""

    def make(engine: str) -> str:
        number = next(_numbers)
        if engine == "sqlite":
            path = tmp_path_factory.mktemp("db") / f"{number}.sqlite3"
            shutil.copy(migrated["sqlite"], path)
            return f"sqlite:///{path}"
        name = f"dastak_{os.getpid()}_{number}"
        _administer(postgres, f'CREATE DATABASE "{name}" TEMPLATE "{migrated["postgresql"]}"')
        return postgres(name)

    return make


def _administer(postgres: Callable[[str], str], sql: str) -> None:
    with psycopg.connect(postgres("postgres").replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(sql)  # type: ignore[call-overload]


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# -- houses --------------------------------------------------------------------------------------------------------


def settings_for(database_url: str, var: Path, **env: str) -> Settings:
    """The settings of `make run`, over a database of the test's own. It begins at eleven in the morning for the
    customers, whatever the time here: at night some messages wait.
    """
    clock = Clock(var / "clock")
    move(var / "clock", (clock.now().replace(hour=6, minute=0) + timedelta(days=1)) - clock.now())
    sandbox = {name: value.format(sandbox="http://127.0.0.1:1") for name, value in run.SANDBOX_SETTINGS.items()}
    return Settings.from_env(
        declared_settings(),
        {
            **sandbox,
            "DATABASE_URL": database_url,
            "SECRET_KEY": "test-secret-key-test-secret-key",
            "ENCRYPTION_KEYS": Fernet.generate_key().decode(),
            "CLOCK_FILE": str(var / "clock"),
            **env,
        },
    )


def build(settings: Settings) -> House:
    clock = Clock(settings.clock_file or None)
    return House.build(settings, load(settings, clock), clock)


@pytest.fixture
def house(engine: str, fresh_url: Callable[[str], str], tmp_path: Path) -> Iterator[House]:
    """A house over a fresh database, on both engines."""
    here = build(settings_for(fresh_url(engine), tmp_path))
    yield here
    here.close()


@pytest.fixture
def lite_house(fresh_url: Callable[[str], str], tmp_path: Path) -> Iterator[House]:
    """A house on SQLite, for what no engine changes."""
    here = build(settings_for(fresh_url("sqlite"), tmp_path))
    yield here
    here.close()


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    server = Redis(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


# -- worlds --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=ENGINES)
def world(
    request: pytest.FixtureRequest, fresh_url: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """A whole world with both demo stores installed: shops, phones, the app. One per module and engine."""
    with World.begin(fresh_url(request.param), tmp_path_factory.mktemp("world"), settings_for, build) as here:
        here.install()
        yield here


@pytest.fixture(scope="module")
def lite_world(fresh_url: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The same on SQLite only."""
    with World.begin(fresh_url("sqlite"), tmp_path_factory.mktemp("world"), settings_for, build) as here:
        here.install()
        yield here


@pytest.fixture(autouse=True)
def _calm(request: pytest.FixtureRequest) -> Iterator[None]:
    """No story leaves its faults behind for the next."""
    yield
    for name in ("world", "lite_world"):
        if name in request.fixturenames:
            request.getfixturevalue(name).calm()
