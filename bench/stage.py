"""What a measurement is played on: a folder, a Redis, databases, servers on loopback. All of it ends with the stage.

Nothing here reads the machine's own `.env`: whoever measures on a laptop that also runs the real thing must not send
two thousand messages to real customers. Every setting is stated.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import psycopg
from cryptography.fernet import Fernet
from sqlalchemy import select

import run
from adapters import declared_settings, load
from integration import attempts, upkeep  # noqa: F401  between them they import every table
from integration.catalogue import TEMPLATES, Template, template_name
from integration.clock import Clock, move
from integration.house import House
from integration.ingest import DELIVERIES
from integration.migrations import upgrade
from integration.ports import StoreProfile
from integration.settings import CORE, Settings
from integration.stores import connect, install
from integration.values import LANGUAGES
from servers import PostgreSQL, Redis, free_port

from .machine import pinned
from .orders import SHOP

ENGINES = ("sqlite", "postgresql")
ZONE_OFFSET = timedelta(hours=5)
"""Pakistan's, where all the customers are."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running web server."""

    name: str
    port: int
    process: subprocess.Popen[bytes]


class Stage:
    """Begin with `Stage.begin()`. The folder lies beside the app's own data, so on the same kind of disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._keys = Fernet.generate_key().decode()
        self._postgres: PostgreSQL | None = None
        self._given = os.environ.get("TEST_DATABASE_URL", "").rpartition("/")[0]
        self._made: list[str] = []
        self._ends = contextlib.ExitStack()
        self._names = 0

    @classmethod
    @contextlib.contextmanager
    def begin(cls) -> Iterator[Stage]:
        around = run.ROOT / "var"
        around.mkdir(exist_ok=True)
        stage = cls(Path(tempfile.mkdtemp(prefix="bench-", dir=around)))
        try:
            yield stage
        finally:
            stage._ends.close()
            stage._drop()
            shutil.rmtree(stage.folder, ignore_errors=True)

    # -- Redis and databases ---------------------------------------------------------------------------------------

    def redis(self) -> Redis:
        """A Redis of its own, append-only file and all."""
        self._names += 1
        server = Redis(self.folder / f"redis{self._names}")
        self._ends.callback(server.stop)
        return server

    def database(self, engine: str) -> str:
        """The URL of a new, migrated, empty database."""
        self._names += 1
        name = f"bench_{os.getpid()}_{self._names}"
        if engine == "sqlite":
            url = f"sqlite:///{self.folder / name}.sqlite3"
        else:
            self._administer(f'CREATE DATABASE "{name}"')
            self._made.append(name)
            url = self._on_postgres(name)
        house = self.house(url)
        upgrade(house.db)
        house.close()
        return url

    def postgres_facts(self) -> dict[str, str]:
        """What the server says of itself and of its durability."""
        with psycopg.connect(self._on_postgres("postgres", driver=""), autocommit=True) as connection:
            asked = ("server_version", "fsync", "synchronous_commit", "wal_sync_method")
            return {name: str(connection.execute(f"SHOW {name}").fetchone()[0]) for name in asked}  # type: ignore

    def _on_postgres(self, database: str, driver: str = "+psycopg") -> str:
        """On the server at TEST_DATABASE_URL, or on one of our own."""
        if self._given:
            base = self._given if driver else self._given.replace("+psycopg", "")
            return f"{base}/{database}"
        if self._postgres is None:
            self._postgres = PostgreSQL()
            self._ends.callback(self._postgres.stop)
        return self._postgres.url(database, driver)

    def _administer(self, sql: str) -> None:
        with psycopg.connect(self._on_postgres("postgres", driver=""), autocommit=True) as connection:
            connection.execute(sql)

    def _drop(self) -> None:
        """Databases on somebody's server are taken away again; our own server is gone already."""
        if self._given:
            for name in self._made:
                self._administer(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    # -- the app ---------------------------------------------------------------------------------------------------

    def environment(self, database_url: str, **given: str) -> dict[str, str]:
        """As `make run` completes it, with every setting stated."""
        world = f"http://127.0.0.1:{given.get('SANDBOX_PORT', '1')}"
        stated = {setting.name: setting.default for setting in (*CORE, *declared_settings())}
        stated |= {name: value.format(sandbox=world) for name, value in run.SANDBOX_SETTINGS.items()}
        stated |= {
            "DATABASE_URL": database_url,
            "SECRET_KEY": "bench-secret-key-bench-secret-key",
            "ENCRYPTION_KEYS": self._keys,
            "CLOCK_FILE": str(self.folder / "clock"),
            "SANDBOX_DATA": str(self.folder / "sandbox"),
            "SANDBOX_PORT": "1",
            "LOG_LEVEL": "warning",
            **given,
        }
        if "PORT" in given:
            stated["PUBLIC_URL"] = stated["APP_URL"] = f"http://127.0.0.1:{given['PORT']}"
        return run.environment({name: value or "" for name, value in stated.items()}, self.folder, sandbox=True)

    def house(self, database_url: str, **given: str) -> House:
        """A house of this process over a database."""
        return build_house(self.environment(database_url, **given))

    def noon(self) -> None:
        """See to it that it is daytime for the customers: at night their messages would wait until morning."""
        local = Clock(self.folder / "clock").now() + ZONE_OFFSET
        if not 9 <= local.hour < 16:
            noon = local.replace(hour=12, minute=0, second=0, microsecond=0)
            move(self.folder / "clock", (noon if noon > local else noon + timedelta(days=1)) - local)

    # -- servers ---------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def serving(
        self,
        name: str,
        command: list[str],
        env: Mapping[str, str],
        *,
        port: int,
        core: int | None = None,
        folder: Path = run.ROOT,
    ) -> Iterator[Server]:
        """A web server, from the moment it answers."""
        log = (self.folder / f"{name}.log").open("ab")
        process = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **env}, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            preexec_fn=pinned(core),
        )  # fmt: skip
        log.close()
        try:
            self._wait(name, port, process)
            yield Server(name, port, process)
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _wait(self, name: str, port: int, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=2) as answer,
            ):
                if answer.status == 200:
                    return
            time.sleep(0.05)
        words = (self.folder / f"{name}.log").read_text(errors="replace").splitlines()[-15:]
        raise RuntimeError(f"{name} did not come up. Its last words:\n" + "\n".join(words))


def web_command(port: int, processes: int, target: str = "webapp:application") -> list[str]:
    """What `make run` starts, with as many processes, or another app in the same server."""
    command = run.web_command(port)
    command[command.index("--workers") + 1] = str(processes)
    command[command.index("--factory") + 1] = target
    return command


def port() -> int:
    return free_port()


def build_house(env: Mapping[str, str], *, pool_size: int = 8) -> House:
    """A house from a stated environment, and from nothing else."""
    settings = Settings.from_env(declared_settings(), env)
    clock = Clock(settings.clock_file or None)
    return House.build(settings, load(settings, clock), clock, pool_size=pool_size)


def open_store(house: House, *, rate: int = 1_000_000) -> int:
    """A Shopify store with a connected number whose templates are approved. Returns its id."""
    with house.db.operator_writing() as session:
        store = install(
            session,
            adapter="shopify",
            profile=StoreProfile("Bench", SHOP, timezone="Asia/Karachi", currency="PKR", country="PK"),
            credentials={"access_token": "shpat_bench", "refresh_token": "shprt_bench"},
            state={"expires_at": (session.now() + timedelta(hours=1)).isoformat()},
            vault=house.vault,
        )
        store.installed_at = session.now() - timedelta(days=365)
        channel = connect(
            session,
            store_id=store.id,
            room="channels",
            adapter="whatsapp",
            account="1",
            alias="waba:1",
            credentials={"access_token": "bench", "waba_id": "1"},
            state={"rate": rate},
            vault=house.vault,
        )
        adapter = house.registry.get("channels", "whatsapp")
        session.add_all(
            Template(
                store_id=store.id,
                connection_id=channel.id,
                key=key,
                language=language,
                name=template_name(key, language),
                code=adapter.language_code(language),
                wanted="utility",
                status="approved",
                category="utility",
            )
            for key in TEMPLATES
            for language in LANGUAGES
        )
        return store.id


def stored(house: House) -> dict[str, int]:
    """How often each webhook id is stored."""
    counts: dict[str, int] = {}
    with house.db.engine.connect() as connection:
        for (key,) in connection.execute(select(DELIVERIES.c.key)):
            counts[key] = counts.get(key, 0) + 1
    return counts
