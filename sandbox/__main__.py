"""`python -m sandbox`: serve the world with granian until told to stop."""

from __future__ import annotations

import multiprocessing.util

from flask import Flask
from granian import Granian
from granian.constants import Interfaces
from granian.log import LogLevels

from sandbox.settings import Settings

# Waiting is what most threads do (an answer withheld by a fault, a ping inside a request), so there are more than
# the 32 that work needs; granian starts them only when they are wanted.
THREADS = 256


def world() -> Flask:
    """The app, made inside granian's worker; saves what it holds when the worker ends."""
    from sandbox import Sandbox

    sandbox = Sandbox(Settings.from_env())
    multiprocessing.util.Finalize(None, sandbox.close, exitpriority=10)
    sandbox.greet_app()
    return sandbox.app


def main() -> None:
    settings = Settings.from_env()
    print(f"The sandbox is at {settings.url} and calls the app at {settings.app_url}", flush=True)
    Granian(
        "sandbox.__main__:world",
        factory=True,
        address="127.0.0.1",
        port=settings.port,
        interface=Interfaces.WSGI,
        workers=1,
        blocking_threads=THREADS,
        websockets=False,
        log_level=LogLevels.error,
        workers_kill_timeout=5,
    ).serve()


if __name__ == "__main__":
    main()
