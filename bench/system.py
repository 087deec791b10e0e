"""The whole of Dastak on ports of its own, as `make run` starts it, with the simulated world and its control API."""

from __future__ import annotations

import http.client
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

import run
from integration.catalogue import TEMPLATES, Template
from integration.house import House
from integration.values import LANGUAGES
from servers import redis_command

from .stage import Stage, port

STORES = ("shopify", "woocommerce")


class World:
    """The sandbox's control API."""

    def __init__(self, sandbox_port: int) -> None:
        self._port = sandbox_port

    def line(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)

    def ask(self, method: str, path: str, body: Any = None, line: http.client.HTTPConnection | None = None) -> Any:
        line = line or self.line()
        line.request(method, f"/control/{path}", None if body is None else json.dumps(body))
        answer = line.getresponse()
        content = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{method} /control/{path}: {answer.status} {content[:300]!r}")
        return json.loads(content)

    def offset(self) -> float:
        return float(self.ask("GET", "clock")["offset_seconds"])

    def idle(self) -> bool:
        return bool(self.ask("GET", "health")["idle"])

    def phones(self) -> dict[str, dict[str, Any]]:
        """Every phone by its number: how many messages it shows, and the last of them."""
        return {phone["phone"]: phone for phone in self.ask("GET", "phones?limit=100000")["phones"]}


@dataclass(frozen=True)
class System:
    """A running one."""

    world: World
    supervisor: run.Supervisor
    folder: Path
    url: str
    """Its database."""
    redis_url: str
    app: str
    """Where the app is served."""


@contextmanager
def running(
    stage: Stage,
    name: str,
    *,
    engine: str = "sqlite",
    throughput: int = 80,
    supervisor: Callable[..., run.Supervisor] = run.Supervisor,
    **given: str,
) -> Iterator[System]:
    """Both demo stores installed, all templates approved, all at rest, noon for the customers."""
    folder = stage.folder / name
    folder.mkdir()
    web, sandbox, redis = port(), port(), port()
    url = stage.database(engine)
    env = stage.environment(
        url,
        PORT=str(web),
        SANDBOX_PORT=str(sandbox),
        REDIS_URL=f"redis://127.0.0.1:{redis}/0",
        SANDBOX_DATA=str(folder / "sandbox"),
        **given,
    )
    stage.noon()
    world = World(sandbox)
    processes = supervisor(env, folder / "logs")
    try:
        processes.start("redis", redis_command(redis, folder / "redis"))
        run.start_all(processes, env, sandbox=True)
        run.wait_for(f"http://127.0.0.1:{web}/health/ready", processes, "web")
        run.wait_for(f"http://127.0.0.1:{sandbox}/control/health", processes, "sandbox")
        for number in world.ask("GET", "numbers")["numbers"]:
            world.ask("POST", "numbers", {"id": number["id"], "throughput": throughput})
        processes.once("setting up the demo stores", [sys.executable, "-m", "sandbox.demo", "--bare"])
        house = stage.house(url)
        try:
            until(lambda: _templates_approved(house), "the templates are approved")
        finally:
            house.close()
        yield System(world, processes, folder, url, env["REDIS_URL"], f"http://127.0.0.1:{web}")
    finally:
        processes.stop()


def _templates_approved(house: House) -> bool:
    with house.db.operator() as session:
        counted = session.execute(select(Template.status, func.count()).group_by(Template.status))
        approved = {row[0]: row[1] for row in counted}.get("approved", 0)
    return approved >= len(STORES) * min(len(TEMPLATES) * len(LANGUAGES), 100)  # WhatsApp takes no more in an hour


def until(true: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    """Wait until something is so. RuntimeError when it takes too long."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise RuntimeError(f"waited {seconds:.0f} s until {what}")
        time.sleep(0.2)
