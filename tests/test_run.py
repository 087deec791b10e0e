"""`make run` as a newcomer meets it: one command brings up everything, one signal ends it, and nothing is forgotten."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from servers import free_port

ROOT = Path(__file__).parent.parent
STORES = {"shopify": "+923005550101", "woocommerce": "+923005550102"}


def _until(true: Callable[[], Any], seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := true()):
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)
    return value


class Machine:
    """A machine with nothing on it but Python: what `make run` finds there and leaves there."""

    def __init__(self, var: Path) -> None:
        ports = {"PORT": str(free_port()), "SANDBOX_PORT": str(free_port())}
        self._env = {"PATH": os.environ["PATH"], "HOME": str(var), "VAR": str(var), **ports}
        self.app = f"http://127.0.0.1:{ports['PORT']}"
        self.world = httpx.Client(base_url=f"http://127.0.0.1:{ports['SANDBOX_PORT']}", timeout=30, trust_env=False)
        self.banner = ""

    def start(self) -> None:
        """Until it says that it is running; what it prints before is its excuse when it ends instead."""
        self._process = subprocess.Popen(
            [sys.executable, "run.py"],
            cwd=ROOT,
            env=self._env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self._process.stdout is not None
        self.banner = ""
        while "Ctrl-C ends it" not in self.banner:
            line = self._process.stdout.readline()
            assert line, f"it ended instead of running:\n{self.banner}"
            self.banner += line

    def stop(self) -> tuple[int, str]:
        """SIGTERM, as a platform sends it. Returns the exit code and the last words."""
        self._process.send_signal(signal.SIGTERM)
        said, _ = self._process.communicate(timeout=30)
        return self._process.returncode, said

    def leave(self) -> None:
        """However the test went, nothing of it outlives the test."""
        self.world.close()
        self._process.terminate()
        self._process.communicate(timeout=30)

    def family(self) -> dict[int, str]:
        """Every process that stems from `run.py`, itself left out: pid to its command line."""
        found: dict[int, str] = {}
        parents = [self._process.pid]
        while parents:
            for task in Path(f"/proc/{parents.pop()}/task").glob("*/children"):
                for pid in map(int, task.read_text().split()):
                    found[pid] = _command(pid)
                    parents.append(pid)
        return found

    def flask(self, *command: str) -> Any:
        """What `flask --app webapp <command> --json` says in another window."""
        done = subprocess.run(
            [sys.executable, "-m", "flask", "--app", "webapp", *command, "--json"],
            cwd=ROOT, env=self._env, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def control(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.world.request(method, path, json=body)
        assert answer.status_code < 300, f"{method} {path}: {answer.status_code} {answer.text[:300]}"
        return answer.json()

    def place(self, store: str, phone: str) -> dict[str, str]:
        customer = {"name": "Ayesha Khan", "phone": phone, "city": "Lahore", "locale": "en"}
        order = {"store": store, "payment": "cod", "customer": customer, "items": [{"sku": "KHS-01", "quantity": 1}]}
        placed: dict[str, str] = self.control("POST", "/control/orders", order)
        return placed

    def heard(self, phone: str) -> list[dict[str, Any]]:
        messages = self.control("GET", f"/control/phones/{phone}")["messages"]
        return [message for message in messages if message["from"] == "business"]


def _command(pid: int) -> str:
    """A living process's command line; empty once it is gone, or dead and only not yet collected."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def test_one_command_runs_everything_and_one_signal_ends_it_without_loss(tmp_path: Path) -> None:
    """Both shops sell for cash; both customers are asked and confirm; the machine is switched off and on again."""
    machine = Machine(tmp_path / "var")
    try:
        machine.start()
        assert "Dastak is running. Open http://127.0.0.1:" in machine.banner
        assert httpx.get(f"{machine.app}/health/ready", trust_env=False).json()["status"] == "ready"

        placed = {store: machine.place(store, phone) for store, phone in STORES.items()}
        for store, phone in STORES.items():
            [asked] = _until(lambda phone=phone: machine.heard(phone))
            assert placed[store]["name"] in asked["text"]
            assert [button["title"] for button in asked["buttons"]] == ["Confirm", "Cancel"]
            machine.control("POST", f"/control/phones/{phone}/tap", {"message_id": asked["id"], "button": "Confirm"})
        for store, phone in STORES.items():
            _until(lambda phone=phone: len(machine.heard(phone)) == 2)
            assert machine.heard(phone)[1]["text"].startswith("Thank you Ayesha, your order")
            _until(lambda store=store: _store_knows(machine, placed[store]["order_id"]))
            told = machine.flask("why", placed[store]["name"])
            assert (told["order"], told["confirmation"]) == (placed[store]["name"], "confirmed")
            titles = [moment["title"] for moment in told["story"]]
            assert titles[0] == f"Order {placed[store]['name']} placed"
            assert "The customer tapped" in titles
            assert "The store was told: confirmed" in titles

        family = machine.family()
        for part in (
            "granian",
            "sandbox",
            "worker.py work in out",
            "worker.py work out in",
            "worker.py work slow",
            "worker.py clock",
            "valkey",
        ):
            assert any(part in command for command in family.values()), f"{part} is not among {family}"
        code, said = machine.stop()
        assert code == 0
        assert "ending …" in said
        assert "Traceback" not in said
        _until(lambda: not [pid for pid, was in family.items() if _command(pid) == was])

        machine.start()
        assert [store["orders"] for store in machine.flask("stores")] == [1, 1]
        for store, phone in STORES.items():
            assert _store_knows(machine, placed[store]["order_id"])
            assert len(machine.heard(phone)) == 2  # and nobody is asked again
        fresh = machine.place("shopify", "+923005550103")
        [asked] = _until(lambda: machine.heard("+923005550103"))
        assert fresh["name"] in asked["text"]
        assert fresh["name"] not in {order["name"] for order in placed.values()}
    finally:
        machine.leave()


def _store_knows(machine: Machine, order_id: str) -> bool:
    """Does the shop itself show the customer's yes, as a merchant would see it there?"""
    order = machine.control("GET", f"/control/orders/{order_id}")
    return (
        "dastak-confirmed" in order.get("tags", ()) or order.get("meta", {}).get("_dastak_confirmation") == "confirmed"
    )
