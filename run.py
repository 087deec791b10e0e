"""All of Dastak on one machine: embedded Redis, migrations, web, workers, clock and, unless SANDBOX=0, the simulated
world.

A process that ends is started again; Ctrl-C ends them all. In production the Procfile names the same processes and a
platform supervises them.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

from cryptography.fernet import Fernet
from dotenv import dotenv_values, set_key

from adapters import declared_settings
from integration.settings import CORE
from servers import die_with_parent, free_port, redis_command

ROOT = Path(__file__).resolve().parent
WORKERS = (("in", "out"), ("out", "in"), ("slow",))
"""One puts arriving mail first, one outgoing mail, one talks to shops and may wait for them."""

SANDBOX_SETTINGS = {
    "SHOPIFY_API_KEY": "sandbox-shopify-key",
    "SHOPIFY_API_SECRET": "sandbox-shopify-secret",
    "SHOPIFY_ADMIN_URL": "{sandbox}/shopify/{{shop}}",
    "SHOPIFY_ADMIN_ORIGIN": "{sandbox}",
    "SHOPIFY_APP_BRIDGE_URL": "{sandbox}/shopify/app-bridge.js",
    "SHOPIFY_POLARIS_URL": "",
    "WHATSAPP_APP_ID": "sandbox-app",
    "WHATSAPP_APP_SECRET": "sandbox-whatsapp-secret",
    "WHATSAPP_VERIFY_TOKEN": "sandbox-verify-token",
    "WHATSAPP_GRAPH_URL": "{sandbox}/graph",
    "WHATSAPP_SIGNUP_CONFIG": "sandbox-signup",
    "WHATSAPP_SDK_URL": "{sandbox}/facebook/sdk.js",
    "TRUSTED_STORE_ORIGINS": "{sandbox}",
    "TCS_URL": "{sandbox}/couriers/tcs",
    "TCS_CLASSIC_URL": "{sandbox}/couriers/tcs/classic",
    "LEOPARDS_URL": "{sandbox}/couriers/leopards",
    "POSTEX_URL": "{sandbox}/couriers/postex",
    "TRAX_URL": "{sandbox}/couriers/trax",
    "SHIPROCKET_URL": "{sandbox}/couriers/shiprocket",
    "RAZORPAY_URL": "{sandbox}/gateways/razorpay/v1",
    "CASHFREE_URL": "{sandbox}/gateways/cashfree/pg",
    "SAFEPAY_URL": "{sandbox}/gateways/safepay",
    "SAFEPAY_CHECKOUT_URL": "{sandbox}/gateways/safepay",
    "JAZZCASH_URL": "{sandbox}/gateways/jazzcash",
    "EASYPAISA_URL": "{sandbox}/gateways/easypaisa",
}
"""What points the app at the simulated world instead of the real one."""


def environment(env: Mapping[str, str], var: Path, *, sandbox: bool) -> dict[str, str]:
    """The environment of every process: what is given, completed by what one machine needs."""
    given = {k: v for k, v in dotenv_values(ROOT / ".env").items() if v} | dict(env)
    port, sandbox_port = given.get("PORT", "8000"), given.get("SANDBOX_PORT", "8100")
    filled = {
        "PORT": port,
        "SANDBOX_PORT": sandbox_port,
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
        "DATABASE_URL": f"sqlite:///{var / 'dastak.sqlite3'}",
        **_own_keys(var),
    }
    if sandbox:
        world = f"http://127.0.0.1:{sandbox_port}"
        filled |= {name: value.format(sandbox=world) for name, value in SANDBOX_SETTINGS.items()}
        filled |= {
            "CLOCK_FILE": str(var / "clock"),
            "SANDBOX_DATA": str(var / "sandbox"),
            "APP_URL": filled["PUBLIC_URL"],
        }
    return filled | {name: value for name, value in given.items() if value or name not in filled}


def _own_keys(var: Path) -> dict[str, str]:
    """Keys of this machine's own, made once. Real ones come from the environment."""
    path = var / "keys.env"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(f"SECRET_KEY={secrets.token_urlsafe(32)}\nENCRYPTION_KEYS={Fernet.generate_key().decode()}\n")
    return {name: value for name, value in dotenv_values(path).items() if value}


def remember(env: Mapping[str, str], path: Path) -> None:
    """What this machine runs with, for `flask --app webapp <command>` in another window."""
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    for setting in (*CORE, *declared_settings()):
        if setting.name in env:
            set_key(path, setting.name, env[setting.name])


class Supervisor:
    """Starts processes, starts them again when they end, ends them when it ends."""

    def __init__(self, env: Mapping[str, str], logs: Path) -> None:
        self._env = {**os.environ, **env, "PYTHONUNBUFFERED": "1"}
        self._logs = logs
        self._commands: dict[str, list[str]] = {}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._started: dict[str, float] = {}
        logs.mkdir(parents=True, exist_ok=True)

    def start(self, name: str, command: list[str]) -> None:
        self._commands[name] = command
        log = (self._logs / f"{name}.log").open("ab")
        self._running[name] = subprocess.Popen(
            command,
            cwd=ROOT,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=die_with_parent,
        )
        self._started[name] = time.monotonic()
        log.close()

    def once(self, name: str, command: list[str]) -> None:
        """Run to the end. SystemExit with its output when it fails."""
        done = subprocess.run(command, cwd=ROOT, env=self._env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{name} failed:\n{done.stdout}{done.stderr}")

    def mend(self) -> list[str]:
        """Start again what has ended. Returns the names; whoever falls over at once waits a little longer."""
        mended = []
        for name, process in list(self._running.items()):
            if process.poll() is not None and time.monotonic() - self._started[name] > 1.0:
                self.start(name, self._commands[name])
                mended.append(name)
        return mended

    def running(self, name: str) -> subprocess.Popen[bytes]:
        return self._running[name]

    def names(self) -> Iterator[str]:
        yield from self._running

    def tail(self, name: str, lines: int = 15) -> str:
        path = self._logs / f"{name}.log"
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else ""

    def stop(self) -> None:
        """Everybody first, then Redis, so that nobody's last words are about its absence."""
        everybody = [process for name, process in self._running.items() if name != "redis"]
        for group in (everybody, [p for name, p in self._running.items() if name == "redis"]):
            for process in group:
                if process.poll() is None:
                    process.terminate()
            deadline = time.monotonic() + 8
            for process in group:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(max(deadline - time.monotonic(), 0.1))
                if process.poll() is None:
                    process.kill()


def web_command(port: int, threads: str = "32") -> list[str]:
    """The web server: one process, because SQLite has one writer; on PostgreSQL run more of them."""
    return [
        sys.executable,
        "-m",
        "granian",
        "--interface",
        "wsgi",
        "--factory",
        "webapp:application",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--workers",
        "1",
        "--blocking-threads",
        threads,
        "--no-ws",
        "--respawn-failed-workers",
    ]


def start_all(supervisor: Supervisor, env: Mapping[str, str], *, sandbox: bool) -> None:
    """Every process of one machine, in an order in which each finds what it needs."""
    supervisor.once("the database migration", [sys.executable, "-m", "integration.migrations"])
    if sandbox:
        supervisor.start("sandbox", [sys.executable, "-m", "sandbox"])
    supervisor.start("web", web_command(int(env["PORT"]), env.get("WEB_THREADS", "32")))
    for number, queues in enumerate(WORKERS, 1):
        supervisor.start(f"worker{number}", [sys.executable, "worker.py", "work", *queues])
    supervisor.start("clock", [sys.executable, "worker.py", "clock"])


def wait_for(url: str, supervisor: Supervisor, name: str, seconds: float = 60) -> None:
    """Until an address answers 200. SystemExit with the process's last words when it never does."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(urllib.error.URLError, OSError), urllib.request.urlopen(url, timeout=2) as answer:
            if answer.status == 200:
                return
        if supervisor.running(name).poll() not in (None, 0) and time.monotonic() > deadline - seconds + 5:
            break
        time.sleep(0.1)
    raise SystemExit(f"{name} did not come up. Its last words:\n{supervisor.tail(name)}")


def main() -> None:
    var = Path(os.environ.get("VAR", ROOT / "var")).resolve()
    sandbox = os.environ.get("SANDBOX", "1").lower() not in ("0", "no", "false", "off")
    env = environment(os.environ, var, sandbox=sandbox)
    for name in ("PORT", "SANDBOX_PORT") if sandbox else ("PORT",):
        if free_port(int(env[name])) != int(env[name]):
            raise SystemExit(f"Port {env[name]} is taken. Choose another: make run {name}=…")
    supervisor = Supervisor(env, var / "logs")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if not os.environ.get("REDIS_URL") and "REDIS_URL" not in dotenv_values(ROOT / ".env"):
            port = free_port(6390)
            env["REDIS_URL"] = f"redis://127.0.0.1:{port}/0"
            supervisor = Supervisor(env, var / "logs")
            supervisor.start("redis", redis_command(port, var / "redis"))
        remember(env, var / "run.env")
        supervisor.once("checking the settings", [sys.executable, "-m", "adapters", "check"])
        start_all(supervisor, env, sandbox=sandbox)
        home = f"http://127.0.0.1:{env['PORT']}"
        wait_for(f"{home}/health/ready", supervisor, "web")
        if sandbox:
            world = f"http://127.0.0.1:{env['SANDBOX_PORT']}"
            wait_for(f"{world}/control/health", supervisor, "sandbox")
            supervisor.once("setting up the demo stores", [sys.executable, "-m", "sandbox.demo"])
            print(
                f"\n  Dastak is running. Open {world} : place an order there and watch the phone.\n\n"
                f"  the app itself      {home}\n  its logs            {var / 'logs'}\n  Ctrl-C ends it.\n",
                flush=True,
            )
        else:
            print(f"\n  Dastak is running at {home} . Ctrl-C ends it; logs are in {var / 'logs'}.\n", flush=True)
        while True:
            time.sleep(0.5)
            for name in supervisor.mend():
                print(f"  {name} ended and was started again; see {var / 'logs' / name}.log", flush=True)
    except KeyboardInterrupt:
        print("\n  ending …", flush=True)
    finally:
        supervisor.stop()


if __name__ == "__main__":
    main()
