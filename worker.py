"""The only file that knows RQ: bells, the jobs they start, and the clock that rings when nobody did.

A job carries a door and a store's id, nothing else, and attends to whatever waits behind that door for a bounded
slice of time; if more is left it rings again and goes to the end of the queue, so a busy store cannot starve the
others. Redis holds nothing that may not be lost: every bell is also found by the clock's sweep, a few seconds later.

    python worker.py work [queue ...]    attend to bells (queues in their order: in, out, slow)
    python worker.py clock               sweep what has come due or was not rung for
"""

from __future__ import annotations

import gc
import logging
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from functools import cache

import structlog
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from rq import Queue, SimpleWorker

from adapters import build_house
from integration import couriers, ingest, journeys, outbox, upkeep
from integration.house import House
from integration.logs import set_up_logs

log = structlog.get_logger(__name__)

QUEUES = {"process": "in", "advance": "in", "deliver": "out", "write": "slow", "courier": "slow", "chores": "slow"}
"""Which queue a door's bell goes to. What waits for shops and couriers and their rate limits has one of its own, so
that no customer waits behind them.
"""

BELL_LIFE = 5
"""Seconds for which one bell silences the next of the same door; a bell lost with its job is rung again after that."""

PAUSE = 0.1
"""Seconds between two tellings of one process. The first bell after a quiet moment is told at once; those that follow
it gather, so that a busy store's mail is attended to ten times a second in batches and not letter by letter: a job and
a transaction for each letter cost more than ten times as much, and kept vendors waiting for their turn to write.
"""

WORK: dict[str, Callable[[House, int], object]] = {
    "process": ingest.process,
    "advance": journeys.advance,
    "deliver": outbox.deliver,
    "courier": couriers.instruct,
    "write": outbox.write,
    "chores": upkeep.run,
}


# -- bells ---------------------------------------------------------------------------------------------------------


class Bell:
    """Rings without ever making the caller wait: a thread of its own talks to Redis, and drops bells while Redis is
    away.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._queues = {name: Queue(name, connection=redis) for name in set(QUEUES.values())}
        self._wanted: set[tuple[str, int]] = set()
        self._lock = threading.Lock()
        self._news = threading.Event()
        self._thread: threading.Thread | None = None
        self.dropped = 0
        self.away = False
        """Did Redis not answer when it was last spoken to?"""

    def ring(self, door: str, store_id: int) -> None:
        if (door, store_id) in self._wanted:  # it is still to be told, so it will be told after this
            return
        with self._lock:
            self._wanted.add((door, store_id))
            if self._thread is None:
                self._thread = threading.Thread(target=self._talk, name="bell", daemon=True)
                self._thread.start()
        self._news.set()

    def answered(self, door: str, store_id: int) -> None:
        """Somebody attends to this door: the next ring is a new one."""
        self._redis.delete(_flag(door, store_id))

    def _talk(self) -> None:
        while True:
            self._news.wait()
            self._news.clear()
            with self._lock:
                wanted, self._wanted = self._wanted, set()
            if wanted:
                try:
                    self._enqueue(wanted)
                except (RedisError, OSError) as fault:
                    self.dropped, self.away = self.dropped + len(wanted), True
                    log.warning("bell.redis_away", fault=type(fault).__name__)
                    time.sleep(0.5)
                else:
                    self.away = False
                    time.sleep(PAUSE)

    def _enqueue(self, wanted: Iterable[tuple[str, int]]) -> None:
        """Bells of one door coalesce: only the one that sets the flag becomes a job."""
        wanted = sorted(wanted)
        with self._redis.pipeline(transaction=False) as pipe:
            for door, store_id in wanted:
                pipe.set(_flag(door, store_id), 1, nx=True, ex=BELL_LIFE)
            fresh = [bell for bell, was_set in zip(wanted, pipe.execute(), strict=True) if was_set]
        for name, queue in self._queues.items():
            jobs = [
                Queue.prepare_data(
                    attend,
                    args=[door, store_id],
                    timeout=600 if name == "slow" else 180,
                    result_ttl=10,
                    failure_ttl=86_400,
                    description=f"{door} {store_id}",
                )
                for door, store_id in fresh
                if QUEUES[door] == name
            ]
            if jobs:
                queue.enqueue_many(jobs)


def _flag(door: str, store_id: int) -> str:
    return f"dastak:bell:{door}:{store_id}"


def connect(url: str) -> Redis:
    """A client that fails at once rather than making a caller wait: the defaults retry for seconds."""
    return Redis.from_url(
        url, socket_connect_timeout=0.5, socket_timeout=5, retry=Retry(NoBackoff(), 0), health_check_interval=30
    )


@cache
def bell(redis_url: str) -> Bell:
    """This process's bell."""
    return Bell(connect(redis_url))


@cache
def house() -> House:
    """This process's house, built at its first use."""
    built = build_house()
    built.ring = bell(built.settings.redis_url).ring
    return built


# -- the job -------------------------------------------------------------------------------------------------------


def attend(door: str, store_id: int) -> None:
    """Attend to one door of one store. The flag goes first: who rings while this runs is heard again afterwards."""
    here = house()
    bell(here.settings.redis_url).answered(door, store_id)
    if WORK[door](here, store_id):
        here.ring(door, store_id)


# -- processes -----------------------------------------------------------------------------------------------------


def spare_the_collector() -> None:
    """Look for garbage less often, and never among what was loaded at the start: a batch makes tens of thousands of
    objects and keeps most of them to its end, and going through them again and again took a tenth of the time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def work(queues: list[str]) -> None:
    """An RQ worker in this process. Ends when Redis goes away in the middle of a job; its supervisor starts another."""
    here = house()
    spare_the_collector()
    redis = Redis.from_url(here.settings.redis_url, socket_connect_timeout=2)
    while True:
        try:
            redis.ping()
            break
        except (RedisError, OSError):
            time.sleep(1)
    worker = SimpleWorker([Queue(name, connection=redis) for name in queues], connection=redis)
    worker.log.setLevel(logging.WARNING)
    worker.work(logging_level="WARNING")


def tick(here: House) -> int:
    """Ring for everything that waits. Returns how many bells."""
    rung = 0
    for door, store_id in (*ingest.sweep(here), *upkeep.due_chores(here)):
        here.ring(door, store_id)
        rung += 1
    return rung


def clock() -> None:
    """Sweep once a second. Any number of clocks may run: bells coalesce and work is claimed."""
    here, ended = house(), threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: ended.set())
    while not ended.wait(1.0 + random.random() / 10):
        try:
            tick(here)
        except Exception as fault:
            log.error("clock.missed_a_tick", fault=type(fault).__name__)


def main() -> None:
    match sys.argv[1:]:
        case ["work", *queues] if set(queues) <= set(QUEUES.values()):
            set_up_logs(house().settings.log_level)
            work(queues or ["in", "out", "slow"])
        case ["clock"]:
            set_up_logs(house().settings.log_level)
            clock()
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    import worker  # RQ finds jobs under this name; the module must not exist twice

    worker.main()
