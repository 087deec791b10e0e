"""Bells and jobs over a real Redis: they coalesce, they never make anybody wait, and none that is lost is missed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis import Redis as Client
from rq import Queue, SimpleWorker

import worker
from integration.house import DOORS, House
from servers import Redis, free_port

from . import factories

ROOT = Path(__file__).parent.parent


def _until(true: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


@pytest.fixture
def client(redis: Redis) -> Iterator[Client]:
    client = Client.from_url(redis.url)
    client.flushall()
    yield client
    client.close()


def test_every_door_has_a_queue_and_work() -> None:
    assert set(worker.QUEUES) == set(worker.WORK) == set(DOORS)


def test_bells_of_one_door_become_one_job(redis: Redis, client: Client) -> None:
    """A thousand rings for one store are one job; another store and another door are their own."""
    bell = worker.Bell(worker.connect(redis.url))
    for _ in range(1000):
        bell.ring("process", 7)
    bell.ring("process", 8)
    bell.ring("deliver", 7)
    _until(lambda: sum(len(Queue(name, connection=client)) for name in ("in", "out")) == 3)
    assert sorted(tuple(job.args) for job in Queue("in", connection=client).jobs) == [("process", 7), ("process", 8)]
    bell.ring("process", 7)
    bell.ring("process", 9)
    _until(lambda: len(Queue("in", connection=client)) == 3)  # 9 came, 7 was still flagged


def test_whoever_attends_can_be_rung_for_again(redis: Redis, client: Client) -> None:
    bell = worker.Bell(worker.connect(redis.url))
    bell.ring("process", 7)
    _until(lambda: len(Queue("in", connection=client)) == 1)
    bell.answered("process", 7)
    bell.ring("process", 7)
    _until(lambda: len(Queue("in", connection=client)) == 2)


def test_ringing_never_waits_for_a_redis_that_is_away() -> None:
    """The caller is a vendor's request: it goes on at once, and the sweep will ring again."""
    bell = worker.Bell(worker.connect(f"redis://127.0.0.1:{free_port()}/0"))
    began = time.monotonic()
    for store_id in range(500):
        bell.ring("process", store_id)
    assert time.monotonic() - began < 1
    _until(lambda: bell.dropped > 0)


def test_jobs_carry_a_door_and_an_id_and_nothing_else(redis: Redis, client: Client) -> None:
    bell = worker.Bell(worker.connect(redis.url))
    bell.ring("write", 12)
    _until(lambda: len(Queue("slow", connection=client)) == 1)
    [job] = Queue("slow", connection=client).jobs
    assert job.args == ["write", 12] or job.args == ("write", 12)
    assert job.kwargs == {}
    assert job.func_name == "worker.attend"
    assert job.description == "write 12"


def test_a_job_does_its_slice_and_rings_again_when_more_is_left(
    redis: Redis, client: Client, lite_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[int] = []
    monkeypatch.setitem(worker.WORK, "process", lambda _house, store_id: done.append(store_id) or len(done) < 3)
    bell = worker.bell(redis.url)
    lite_house.ring = bell.ring
    monkeypatch.setattr(worker, "house", lambda: lite_house)
    object.__setattr__(lite_house.settings, "redis_url", redis.url)
    bell.ring("process", 5)
    queue = Queue("in", connection=client)
    while len(done) < 3:
        _until(lambda: len(queue) == 1)
        SimpleWorker([queue], connection=client).work(burst=True, logging_level="ERROR")
    assert done == [5, 5, 5]
    assert len(queue) == 0


def test_a_tick_rings_for_what_waits_and_only_for_that(lite_house: House) -> None:
    rung: list[tuple[str, int]] = []
    lite_house.ring = lambda door, store_id: rung.append((door, store_id))
    assert worker.tick(lite_house) == 0
    store_id = factories.store(lite_house)
    assert worker.tick(lite_house) == 1
    assert rung == [("chores", store_id)]


def test_the_command_line_says_what_it_takes() -> None:
    done = subprocess.run([sys.executable, "worker.py", "dance"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "python worker.py work" in done.stderr


def test_a_missing_setting_stops_the_boot_with_one_message() -> None:
    env = {"PATH": os.environ["PATH"], "DATABASE_URL": "sqlite:///nowhere/x.sqlite3", "HOME": "/nonexistent"}
    for command in (["worker.py", "clock"], ["-m", "adapters", "check"]):
        done = subprocess.run(
            [sys.executable, *command], cwd=ROOT, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        assert "these settings need attention" in done.stderr
        assert "SHOPIFY_API_KEY is missing" in done.stderr
        assert "Traceback" not in done.stderr
